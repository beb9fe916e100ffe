//! What is named, in which order, and what is passed over.

use super::*;
use crate::data::resize::{Resize, Size};
use std::fs;

fn names(inputs: Inputs) -> Vec<String> {
    let mut names = Vec::new();
    for part in inputs.parts {
        let Part::Paths(paths) = part else { panic!("stdin") };
        names.extend(paths.iter().map(|path| path.to_str().unwrap().replace('\\', "/")));
    }
    names
}

/// Files are empty: nothing here is opened.
fn find(files: &[&str], argument: &str) -> Result<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    let found = names(Inputs::find(&[dir.path().join(argument)], false)?);
    let root = format!("{}/", dir.path().to_str().unwrap().replace('\\', "/"));
    Ok(found.iter().map(|name| name.strip_prefix(&root).unwrap().to_owned()).collect())
}

#[test]
fn folders_and_patterns_give_images_in_the_order_of_the_data_readers() {
    let files = ["d/b/2.png", "d/b/10.png", "d/b-c/1.JPG", "d/z.png", "d/b/notes.txt", "d/b/odd.dat"];
    let all = ["d/z.png", "d/b/10.png", "d/b/2.png", "d/b-c/1.JPG"];
    assert_eq!(find(&files, "d").unwrap(), all);
    assert_eq!(find(&files, "d/**/*").unwrap(), all, "each once");
    assert_eq!(find(&files, "d/b*").unwrap(), all[1..]);
    assert_eq!(find(&files, "d/b/*").unwrap(), all[1..3]);
    assert_eq!(find(&files, "d/?/[12].png").unwrap(), ["d/b/2.png"]);
    assert_eq!(find(&files, "d/b/*.dat").unwrap(), ["d/b/odd.dat"], "an ending that is named counts");
}

#[test]
fn runs_are_passed_over_unless_they_are_named() {
    let files = [
        "d/1.png",
        "d/runs/a/curves.png",
        "d/runs/a/run.toml",
        "d/runs/b/curves.png",
        "d/runs/b/job.toml",
        "d/runs/b/deep/x.png",
        "d/z/2.png",
    ];
    let all = ["d/1.png", "d/z/2.png"];
    for argument in ["d", "d/**/*", "d/**/*.png"] {
        assert_eq!(find(&files, argument).unwrap(), all, "{argument}");
    }
    assert_eq!(find(&files, "d/runs/a/curves.png").unwrap(), ["d/runs/a/curves.png"]);
    assert_eq!(find(&files, "d/runs/a/*.png").unwrap(), ["d/runs/a/curves.png"]);
    for argument in ["d/runs", "d/runs/a", "d/runs/*", "d/runs/*/*.png"] {
        let error = find(&files, argument).unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{error}");
        assert!(error.to_string().contains("runs/a") && error.to_string().contains("passed over"), "{error}");
    }
}

#[test]
fn what_exists_is_no_pattern_and_what_matches_nothing_is_said() {
    assert_eq!(find(&["a[1].png", "a1.png"], "a[1].png").unwrap(), ["a[1].png"]);
    assert_eq!(find(&["a1.png"], "a[1].png").unwrap(), ["a1.png"]);
    assert_eq!(find(&[], "missing.png").unwrap(), ["missing.png"], "reading will say so");
    for (argument, kind) in [("*.png", Kind::Data), ("none", Kind::Data), ("a[", Kind::Usage)] {
        let error = find(&["none/x.txt"], argument).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(argument) && error.to_string().contains("help:"), "{error}");
    }
    let dash = PathBuf::from("-");
    let twice = Inputs::find(&[dash.clone(), dash], false).err().unwrap();
    assert_eq!(twice.kind(), Kind::Usage);
}

#[test]
fn batches_hold_what_can_be_read_and_say_what_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let good = |name: &str, level: u8| {
        image::RgbImage::from_pixel(2, 3, image::Rgb([level; 3])).save(dir.path().join(name)).unwrap();
    };
    good("1.png", 10);
    fs::write(dir.path().join("2.png"), b"no").unwrap();
    good("3.png", 30);
    good("4.png", 40);
    let load = |batch, strict| -> Vec<Loaded> {
        let how = Loading { size: Size { h: 1, w: 1 }, resize: Resize::NEAREST, batch, strict };
        let inputs = Inputs::find(&[dir.path().to_owned()], false).unwrap();
        assert_eq!(inputs.count(), Some(4));
        inputs.load(how).unwrap().collect::<Result<_>>().unwrap()
    };
    let all = load(3, false);
    assert_eq!(
        all.iter().map(|b| b.pixels.clone()).collect::<Vec<_>>(),
        [vec![10, 10, 10, 30, 30, 30], vec![40; 3]]
    );
    assert_eq!((all[0].paths.len(), all[0].unreadable.len(), all[1].unreadable.len()), (2, 1, 0));
    assert!(all[0].unreadable[0].error.message().contains("2.png"));
    let strict = load(4, true);
    assert_eq!((strict.len(), strict[0].pixels.len(), strict[0].unreadable.len()), (1, 3, 1));
}

/// A list that breaks off takes nothing along that was named before.
#[test]
fn what_was_named_before_a_failure_is_loaded_and_after_a_stop_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("1.png");
    image::RgbImage::from_pixel(2, 3, image::Rgb([10; 3])).save(&image).unwrap();
    let batches = |kind| {
        let how = Loading { size: Size { h: 1, w: 1 }, resize: Resize::NEAREST, batch: 16, strict: false };
        let paths = vec![Ok(image.clone()), Ok(image.clone()), Err(Error::new(kind, "no path"))];
        let batches = Batches { paths: paths.into_iter(), how, over: false, failed: None };
        batches.map(|batch| batch.map(|loaded| loaded.paths.len()).map_err(|e| e.kind())).collect::<Vec<_>>()
    };
    assert_eq!(batches(Kind::Usage), [Ok(2), Err(Kind::Usage)]);
    assert_eq!(batches(Kind::Interrupted), [Err(Kind::Interrupted)]);
}

#[test]
fn lists_of_other_programs_are_read_or_named() {
    let read = |bytes: &[u8], end| -> Vec<String> {
        let shown = |item: Result<PathBuf>| item.map_or_else(|e| e.to_string(), |p| p.display().to_string());
        listed(bytes, end).take(4).map(shown).collect()
    };
    assert_eq!(read(b"\xef\xbb\xbfa.png\r\n\r\nb c.png", b'\n'), ["a.png", "b c.png"]);
    assert_eq!(read(b"a\nb\0c\0", 0), ["a\nb", "c"]);
    assert!(read(b"a\0b\0", b'\n')[0].contains("--null"));
    assert!(read(b"\xff\xfea\0\n\0", b'\n')[0].contains("UTF-16"));
    // Not all of an endless line.
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    assert!(listed(endless, b'\n').next().unwrap().unwrap_err().to_string().contains("65536"));
}

/// Of names that are no UTF-8, too, of which the crate `glob` makes a panic; hidden ones match what begins with a dot
/// alone.
#[cfg(unix)]
#[test]
fn a_pattern_matches_names_that_are_no_text_and_no_hidden_ones() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("d").join(std::ffi::OsStr::from_bytes(b"k\xe4tzchen"));
    fs::create_dir_all(&odd).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff.png");
    for file in [odd.join(name), odd.join("1.png"), odd.join(".2.png"), dir.path().join("d/.h/3.png")] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, b"").unwrap();
    }
    let find = |pattern: &str| -> Vec<PathBuf> {
        let inputs = Inputs::find(&[dir.path().join(pattern)], false).unwrap();
        let mut found: Vec<PathBuf> = inputs.named().map(Path::to_owned).collect();
        found.sort();
        found
    };
    for pattern in ["d/**/*.png", "d/*/*.png", "d/k?tzchen/[!x]*", "d/k*/"] {
        let hidden = (pattern == "d/k*/").then(|| odd.join(".2.png"));
        let want: Vec<PathBuf> = hidden.into_iter().chain([odd.join("1.png"), odd.join(name)]).collect();
        assert_eq!(find(pattern), want, "{pattern}");
    }
    assert_eq!(find("d/.*/*.png"), [dir.path().join("d/.h/3.png")]);
    assert_eq!(find("d/**/.*.png"), [odd.join(".2.png")]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_where_classes_are_and_no_image_is_found_twice() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for file in ["d/cats/1.png", "other/2.png", "other/deep/3.png", "parted/train/a/4.png"] {
        fs::create_dir_all(at(file).parent().unwrap()).unwrap();
        fs::write(at(file), b"").unwrap();
    }
    // Around, each other, to a folder that is found anyway, twice elsewhere, and below a class.
    for (to, link) in [
        (".", "d/latest"),
        ("..", "d/up"),
        ("cats", "d/copy"),
        ("../other", "d/dogs"),
        ("../other/deep", "d/hounds"),
        ("../../other", "d/cats/more"),
        ("../../other", "parted/train/b"),
    ] {
        symlink(to, at(link)).unwrap();
    }
    let find = |pattern: &str| -> (Vec<String>, Vec<String>) {
        let inputs = Inputs::find(&[at(pattern)], false).unwrap();
        let root = format!("{}/", dir.path().display());
        let links = inputs.links.iter().map(|link| link.display().to_string().replace(&root, "")).collect();
        (names(inputs).into_iter().map(|name| name.replace(&root, "")).collect(), links)
    };
    let linked = ["d/cats/1.png", "d/dogs/2.png", "d/dogs/deep/3.png"];
    let (images, links) = find("d");
    assert_eq!(images, linked);
    assert_eq!(links, ["d/cats/more", "d/copy", "d/hounds", "d/latest", "d/up"]);
    assert_eq!(find("parted").0.len(), 3, "the classes of a part");
    for pattern in ["d/**/*.png", "d/**/*", "d/**", "d/**/**/*.png", "d/*/**/*.png"] {
        assert_eq!(find(pattern).0, linked[..1], "{pattern}");
    }
    assert!(find("d/**/*.png").1.contains(&"d/latest".to_owned()));
    // As a shell has it.
    assert_eq!(find("d/dog*").0, linked[1..]);
    assert_eq!(find("d/l*/cats/1.png").0, ["d/latest/cats/1.png"]);
}
