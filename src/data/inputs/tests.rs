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
