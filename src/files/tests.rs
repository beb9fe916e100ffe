//! Paths, places and files as the rest of the engine asks for them.

use super::*;

#[test]
fn a_path_can_be_typed_into_a_shell() {
    for (path, typed) in [
        ("runs/a-1.b", "runs/a-1.b"),
        ("my runs/it's", "'my runs/it'\\''s'"),
        ("-5", "./-5"),
        ("~/x", "'~/x'"),
        ("", "''"),
    ] {
        assert_eq!(quoted(Path::new(path)), typed);
    }
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.csv");
    write_bytes(&path, b"old").unwrap();
    let failed = write_atomic(&path, |out| {
        out.write_all(b"half").unwrap();
        Err(Error::new(Kind::Interrupted, "stopped"))
    });
    assert_eq!(failed.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn two_writers_of_one_number_share_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("images.cache");
    let [first, second] = [0, 1].map(|_| create_beside(&target).unwrap().1);
    assert_ne!(first, second);
    for path in [first, second] {
        assert_eq!(of_temporary(path.file_name().unwrap().to_str().unwrap()), Some("images.cache"));
    }
    for other in [
        "a.partial",
        "a.b.partial",
        "a..partial",
        "a.1",
        "a.1.partial.x",
        "a.2024-05-01.partial",
        "a.-1.partial",
    ] {
        assert_eq!(of_temporary(other), None, "{other}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_stays_one_and_a_file_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    write_bytes(&link, b"new").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    // One that leads to nothing yet, by another, is written through as well.
    for (link, to) in [("first", "second"), ("second", "made")] {
        std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
    }
    write_bytes(&dir.path().join("first"), b"new").unwrap();
    assert!(fs::symlink_metadata(dir.path().join("first")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(dir.path().join("made")).unwrap().is_file());
    // A circle leads nowhere, and ends.
    std::os::unix::fs::symlink("round", dir.path().join("round")).unwrap();
    real(&dir.path().join("round")).unwrap();
}

#[test]
fn text_of_strangers_is_one_short_line() {
    assert_eq!(shorten("fc1.kernel", 40), "fc1.kernel");
    assert_eq!(shorten("a\u{1b}[2J\nb", 40), "a\\u{1b}[2J\\nb");
    assert_eq!(shorten("äöüß", 3), "äöü…");
    assert_eq!(shorten("äöüß", 4), "äöüß");
}

#[test]
fn a_file_and_its_bytes_have_the_same_hash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    // More than one piece, and not a whole number of them.
    let bytes: Vec<u8> = (0..(1 << 20) + 77).map(|i| (i % 251) as u8).collect();
    write_bytes(&path, &bytes).unwrap();
    assert_eq!(sha256_file(&path).unwrap(), (bytes.len() as u64, sha256_hex(&bytes)));
}

#[test]
fn an_unwritable_place_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = write_bytes(&dir.path().join("no/such/folder/x"), b"1").unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    let text = error.to_string();
    let folder = dir.path().join("no/such/folder");
    assert!(text.starts_with(&format!("cannot write {}\n", folder.join("x").display())), "{text}");
    assert!(text.contains(&format!("the folder {}", folder.display())), "{text}");
    assert!(!text.contains("partial"), "{text}");
    write_bytes(&dir.path().join("file"), b"mine").unwrap();
    for error in [write_bytes(&dir.path().join("file/x"), b"1"), create_dir(&dir.path().join("file/x/y"))] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains("file, which is a file") && !text.contains("partial"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_leads_where_the_system_would_go() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap();
    fs::create_dir_all(here.join("a/b")).unwrap();
    std::os::unix::fs::symlink("a/b", here.join("link")).unwrap();
    for (path, leads) in [
        ("a/./b/", "a/b"),
        ("link", "a/b"),
        ("link/new", "a/b/new"),
        ("link/../c", "a/c"),
        ("none/../a", "a"),
        ("none/deep", "none/deep"),
    ] {
        assert_eq!(real(&here.join(path)).unwrap(), here.join(leads), "{path}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_not_taken_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    fs::write(place("file"), b"").unwrap();
    assert!(is_there(&place("file")).unwrap() && !is_there(&place("none")).unwrap());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place("gone"), place("link")).unwrap();
        assert!(is_there(&place("link")).unwrap(), "a volume that is not mounted is no reason to begin anew");
        // A file is no folder: another answer than that nothing is there.
        assert_eq!(is_there(&place("file/deep")).unwrap_err().kind(), Kind::Io);
    }
}

/// A pipe would be waited for, and the new file would take a device's place.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_neither_read_nor_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("run.toml");
    let name = std::ffi::CString::new(pipe.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the name ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert!(read_text(&pipe).unwrap_err().to_string().contains("not a regular file"));
    let link = dir.path().join("report.html");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for path in [&pipe, &link] {
        assert!(write_bytes(path, b"page").unwrap_err().to_string().contains("not a regular file"));
    }
    assert!(!fs::metadata(&pipe).unwrap().is_file());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
