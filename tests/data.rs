//! Folders to batches: the order of Keras, the splits, the cache and its mishaps, and one real set.

// Clippy allows these inside tests only; the helpers of a test are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vgg_ft::data::{self, Batch, Files, Folder, Images, Resize, Size, Splits, Stays, Want};
use vgg_ft::error::{Kind, Result};

/// Makes empty files; enough for everything that does not open them.
fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        if file.ends_with('/') {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    dir
}

/// A 3x2 PNG of one colour.
fn write_png(path: &Path, level: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::save_buffer_with_format(
        path,
        &[level; 18],
        3,
        2,
        image::ExtendedColorType::Rgb8,
        image::ImageFormat::Png,
    )
    .unwrap();
}

/// Classes a and b with `n` images each; a/i.png has level i, b/i.png level 100 + i.
fn images(n: u8) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..n {
        write_png(&dir.path().join(format!("a/{i}.png")), i);
        write_png(&dir.path().join(format!("b/{i}.png")), 100 + i);
    }
    dir
}

fn paths(folder: &Folder) -> Vec<String> {
    folder.files.iter().map(|f| f.path.to_str().unwrap().replace('\\', "/")).collect()
}

fn failure<T>(result: Result<T>, kind: Kind) -> String {
    let error = result.err().expect("this should have failed");
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

fn contains_all(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "\"{word}\" is not in:\n{text}");
    }
}

#[test]
fn the_order_is_that_of_flow_from_directory() {
    let dir = tree(&[
        "dogs/dog.2.jpg",
        "dogs/dog.10.jpg",
        "dogs/dog.1.jpg",
        "cats/b/1.png",
        "cats/b-c/2.png",
        "cats/b/z/3.png",
        "cats/cat.JPG",
        "cats/Cat.jpeg",
        "cats/photojpg",
        "cats/scan.TIFF",
        "cats/move.gif",
        "cats/notes.txt",
        "cats/jpg",
        ".hidden/x.bmp",
        "readme.png",
    ]);
    let folder = Folder::scan(dir.path()).unwrap();
    assert_eq!(folder.classes, [".hidden", "cats", "dogs"]);
    // What Keras 3.15 lists for this tree, plus the GIF, which is ours.
    assert_eq!(
        paths(&folder),
        [
            ".hidden/x.bmp",
            "cats/Cat.jpeg",
            "cats/cat.JPG",
            "cats/jpg",
            "cats/move.gif",
            "cats/photojpg",
            "cats/scan.TIFF",
            "cats/b/1.png",
            "cats/b-c/2.png",
            "cats/b/z/3.png",
            "dogs/dog.1.jpg",
            "dogs/dog.10.jpg",
            "dogs/dog.2.jpg",
        ]
    );
    assert_eq!(folder.counts(), [1, 9, 3]);
    assert_eq!(folder.files[10].label, 2);
    assert_eq!(folder.path(0), dir.path().join(".hidden/x.bmp"));
}

#[cfg(unix)]
#[test]
fn links_and_strange_names_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let dir = tree(&["a/1.png", "elsewhere/deep/2.png", "elsewhere/3.png"]);
    let root = dir.path().join("data");
    fs::create_dir(&root).unwrap();
    symlink(dir.path().join("a"), root.join("a")).unwrap();
    fs::create_dir(root.join("b")).unwrap();
    // A link to a folder inside a class is not followed, a loop neither; a file through a link counts.
    symlink(dir.path().join("elsewhere"), root.join("b/link")).unwrap();
    symlink(&root, root.join("b/loop")).unwrap();
    symlink(dir.path().join("elsewhere/3.png"), root.join("b/3.png")).unwrap();
    symlink(dir.path().join("nowhere.png"), root.join("b/4.png")).unwrap();
    fs::write(root.join("b").join(OsStr::from_bytes(b"\xff\xfe.png")), b"").unwrap();
    let folder = Folder::scan(&root).unwrap();
    assert_eq!(folder.classes, ["a", "b"]);
    assert_eq!(folder.counts(), [1, 3]);
    assert_eq!(folder.links, ["b/link", "b/loop"].map(PathBuf::from), "not without a word");

    let dir = tree(&["a/1.png"]);
    for name in [&b"\xff"[..], b"\xfe"] {
        let class = dir.path().join(OsStr::from_bytes(name));
        fs::create_dir(&class).unwrap();
        fs::write(class.join("1.png"), b"").unwrap();
    }
    contains_all(&failure(Folder::scan(dir.path()), Kind::Data), &["both called", "rename"]);
}

#[test]
fn a_folder_that_is_none_says_what_was_found() {
    let dir = tree(&["x.png", "y.png", "full/cats/1.png", "full/dogs/", "only/text/a.txt", "empty/"]);
    let scan = |name: &str| failure(Folder::scan(&dir.path().join(name)), Kind::Data);
    contains_all(&scan("no/such"), &["no folder", "no/such", "exists", "help"]);
    contains_all(&scan("x.png"), &["x.png is a file, not a folder"]);
    contains_all(&scan("full"), &["class \"dogs\"", "no images", "cats 1", "dogs 0"]);
    contains_all(&scan("only"), &["class \"text\"", "others  1 .txt", "put images into text"]);
    contains_all(&scan("empty"), &["no class folders", "the folder is empty"]);
    contains_all(&scan("full/cats"), &["no class folders", "1 image directly in it", "one folder per class"]);

    let hidden = tree(&["a/1.png", "b/1.png", ".ipynb_checkpoints/", ".git/config"]);
    let folder = Folder::scan(hidden.path()).unwrap();
    assert_eq!(
        (&folder.classes[..], &folder.ignored[..]),
        (&["a", "b"].map(String::from)[..], &[".git", ".ipynb_checkpoints"].map(String::from)[..])
    );
    let none = failure(Folder::scan(tree(&[".git/config"]).path()), Kind::Data);
    contains_all(&none, &["no class folders", "hidden folders without images"]);
    // Nor do they make parts into classes, or a class into a part.
    let parts = tree(&["train/1.png", "test/2.png", ".ipynb_checkpoints/"]);
    contains_all(
        &failure(Splits::open(parts.path(), None, 0), Kind::Data),
        &["train holds no class folders"],
    );
    let classes = tree(&["train/1.png", "train/.ipynb_checkpoints/", "cars/1.png"]);
    assert_eq!(Splits::open(classes.path(), None, 0).unwrap().train.classes, ["cars", "train"]);

    // A phone's images are said to be there, and what can be done; among others they are counted.
    let phone = tree(&["a/1.png", "a/IMG_2.HEIC", "a/.ipynb_checkpoints/1.png", "b/x/3.heic", "b/n.txt"]);
    let error = failure(Folder::scan(phone.path()), Kind::Data);
    contains_all(&error, &["class \"b\"", "1 .heic, 1 .txt", "convert them"]);
    fs::write(phone.path().join("b/4.png"), b"").unwrap();
    let folder = Folder::scan(phone.path()).unwrap();
    assert_eq!(folder.unread.images().as_deref(), Some("2 .heic"));
    assert_eq!((folder.len(), folder.hidden()), (3, 1));
}

fn hundred() -> Vec<String> {
    ["a", "b"].iter().flat_map(|c| (0..100).map(move |i| format!("{c}/{i}.png"))).collect()
}

fn open(files: &[String], split: Option<f32>, seed: u64) -> Result<Splits> {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    Splits::open(tree(&files).path(), split, seed)
}

fn held(files: &[String], split: f32, seed: u64) -> Vec<String> {
    paths(&open(files, Some(split), seed).unwrap().validation.unwrap())
}

#[test]
fn a_split_takes_its_share_of_every_class_and_loses_nobody() {
    let splits = open(&hundred(), Some(0.2), 7).unwrap();
    let validation = splits.validation.unwrap();
    assert_eq!(splits.train.counts(), [80, 80]);
    assert_eq!(validation.counts(), [20, 20]);
    let mut all = [paths(&splits.train), paths(&validation)].concat();
    all.sort();
    let mut expected = hundred();
    expected.sort();
    assert_eq!(all, expected);
    // Not simply the first ones, and both parts keep the folder's order.
    assert_ne!(paths(&validation)[..20], expected[..20]);
    assert!(paths(&validation).is_sorted());
    assert!(splits.test.is_none());
}

#[test]
fn a_split_depends_on_the_seed_and_on_little_else() {
    let files = hundred();
    let first = held(&files, 0.2, 7);
    assert_eq!(first, held(&files, 0.2, 7));
    assert_ne!(first, held(&files, 0.2, 8));
    // Another class changes nothing for a and b.
    let mut more = files.clone();
    more.extend((0..10).map(|i| format!("aa/{i}.png")));
    let of_a_and_b: Vec<String> = held(&more, 0.2, 7).into_iter().filter(|p| !p.starts_with("aa/")).collect();
    assert_eq!(first, of_a_and_b);
    // One more image in a class moves at most itself in and one other out.
    let mut one_more = files.clone();
    one_more.push("a/new.png".into());
    let gone = first.iter().filter(|p| !held(&one_more, 0.2, 7).contains(p)).count();
    assert!(gone <= 1, "{gone}");
    // The next version is to hold the same images out: a run would be judged by what it learned from.
    let few = [&files[..6], &files[100..106]].concat();
    assert_eq!(held(&few, 0.5, 7), ["a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/2.png", "b/3.png"]);
    // A share that is no whole number is the nearest one.
    for (n, share, want) in [(7, 0.2, 1), (8, 0.2, 2), (7, 0.25, 2), (9, 0.5, 5)] {
        let few: Vec<String> =
            ["a", "b"].iter().flat_map(|c| (0..n).map(move |i| format!("{c}/{i}.png"))).collect();
        let counts = open(&few, Some(share), 1).unwrap().validation.unwrap().counts();
        assert_eq!(counts, [want, want], "{share} of {n}");
    }
    // The smallest class still feeds both sides.
    let tiny: Vec<String> = ["a/1.png", "a/2.png", "b/1.png", "b/2.png"].map(String::from).into();
    assert_eq!(open(&tiny, Some(0.01), 1).unwrap().validation.unwrap().counts(), [1, 1]);
    assert_eq!(open(&tiny, Some(0.99), 1).unwrap().train.counts(), [1, 1]);
}

/// What was learned from is never held out, nor the reverse; the share of a class is made up of what is left.
#[test]
fn images_whose_part_is_settled_keep_it_and_the_rest_are_drawn() {
    let at = |all: &Splits, held: &[String], known: usize| -> Vec<Option<Stays>> {
        let of = |path: &String| {
            let number: usize = path[2..path.len() - 4].parse().unwrap();
            let stays = if held.contains(path) { Stays::Validation } else { Stays::Train };
            (number < known).then_some(stays)
        };
        paths(&all.train).iter().map(of).collect()
    };
    let ten: Vec<String> = hundred().into_iter().filter(|path| path.len() == 7).collect();
    let before = held(&ten, 0.2, 7);
    let grown = hundred();
    let all = open(&grown, None, 7).unwrap();
    let parts = |seed| {
        let stays = at(&all, &before, 10);
        let splits = all.held_out(0.2, seed, &stays).unwrap();
        (paths(&splits.train), paths(&splits.validation.unwrap()))
    };
    let (train, validation) = parts(7);
    assert_eq!((train.len(), validation.len()), (160, 40), "a fifth of all is held out, not of the new");
    assert!(before.iter().all(|path| validation.contains(path)), "{validation:?}");
    assert!(ten.iter().all(|path| before.contains(path) || train.contains(path)), "{train:?}");
    assert!(validation.is_sorted() && train.is_sorted());
    assert_eq!(parts(7), (train, validation.clone()));
    assert_ne!(parts(8).1, validation, "the seed draws those that are free");
    // Drawn by nothing but the lists of the run, a grown folder's parts are others: what is shown above is not chance.
    assert!(!before.iter().all(|path| held(&grown, 0.2, 7).contains(path)));
    // Where all are settled as they were drawn, and where none is, the draw is the same; also of one that has no part,
    // which could not be read.
    let all = open(&ten, None, 7).unwrap();
    let whole = at(&all, &before, 10);
    for unknown in 0..ten.len() {
        let mut stays = whole.clone();
        stays[unknown] = None;
        let splits = all.held_out(0.2, 7, &stays).unwrap();
        assert_eq!(paths(&splits.validation.unwrap()), before, "{}", ten[unknown]);
    }
    assert_eq!(paths(&all.held_out(0.2, 7, &[]).unwrap().validation.unwrap()), before);
}

#[test]
fn a_split_of_settled_images_leaves_nobody_out_or_is_refused() {
    let files: Vec<String> = ["a/1.png", "a/2.png", "a/3.png", "b/1.png"].map(String::from).into();
    let all = open(&files, None, 1).unwrap();
    let (train, held) = (Some(Stays::Train), Some(Stays::Validation));
    let counts = |stays: &[Option<Stays>]| {
        let splits = all.held_out(0.5, 1, stays)?;
        Ok((splits.train.counts(), splits.validation.unwrap().counts()))
    };
    // The only one of its class is where it was.
    assert_eq!(counts(&[train, train, held, train]).unwrap(), (vec![2, 1], vec![1, 0]));
    // All that is new of a class where all was held out is not held out, too.
    assert_eq!(counts(&[held, held, None, train]).unwrap(), (vec![1, 1], vec![2, 0]));
    // Nothing is learned from that was held out, and the reverse, though the share is not met.
    assert_eq!(counts(&[held, held, train, train]).unwrap(), (vec![1, 1], vec![2, 0]));
    let error = failure(counts(&[train, train, None, held]), Kind::Data);
    assert!(error.contains("class \"b\" has nothing to learn from"), "{error}");
    let error = failure(counts(&[train, train, train, train]), Kind::Data);
    assert!(error.contains("so none can be held out"), "{error}");
    let error = failure(counts(&[train, train, train, None]), Kind::Data);
    assert!(error.contains("too few images"), "{error}");
}

/// What macOS puts beside images is none, by name and by content.
#[test]
fn what_macos_adds_is_not_there() {
    let dir = images(2);
    let double = [0, 5, 0x16, 7, 0, 2, 0, 0];
    for name in ["a/._0.png", "b/._1.png", "__MACOSX/a/._0.png"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, double).unwrap();
    }
    let folder = Folder::scan(dir.path()).unwrap();
    assert_eq!(paths(&folder), ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]);
    assert_eq!(data::folder::images_below(dir.path(), true).unwrap().images.len(), 4);
    // An image of such a name is one.
    write_png(&dir.path().join("a/._2.png"), 3);
    assert_eq!(Folder::scan(dir.path()).unwrap().len(), 5);
}

#[test]
fn the_folders_of_a_split_set_are_found() {
    let base = ["train/a/1.png", "train/b/1.png"];
    let with = |more: &[&str]| tree(&[&base[..], more].concat());
    let splits = |dir: &TempDir, share| Splits::open(dir.path(), share, 1);

    let found = splits(&with(&[]), None).unwrap();
    assert!(found.validation.is_none() && found.test.is_none());
    let found = splits(&with(&["val/a/2.png", "val/b/2.png", "test/a/3.png", "test/b/3.png"]), None).unwrap();
    assert!(found.train.root.ends_with("train"));
    assert!(found.validation.unwrap().root.ends_with("val"));
    assert!(found.test.unwrap().root.ends_with("test"));
    // train/ is split itself if nothing else is there.
    let dir = with(&["train/a/2.png", "train/b/2.png", "test/a/3.png", "test/b/3.png"]);
    let found = splits(&dir, Some(0.5)).unwrap();
    assert_eq!((found.train.len(), found.validation.unwrap().len(), found.test.unwrap().len()), (2, 2, 2));
    assert!(found.passed_over.is_empty());
    // What is no part is said.
    let dir =
        with(&["validaton/a/2.png", "testing/b/2.png", ".hidden/1.png", "test/a/3.png", "test/b/3.png"]);
    let found = splits(&dir, None).unwrap();
    assert!(found.validation.is_none() && found.test.is_some());
    assert_eq!(found.passed_over, ["testing", "validaton"]);
    // Parts under other names are no classes; folders within classes are, and trains and tests too.
    for refused in [
        ["training_set/a/1.png", "training_set/b/1.png", "Test/a/1.png", "Test/b/1.png"],
        ["seg_train/a/1.png", "seg_train/b/1.png", "seg_test/a/1.png", "seg_test/b/1.png"],
    ] {
        let error = splits(&tree(&refused), None).unwrap_err();
        assert!(
            error.kind() == Kind::Data && error.message().ends_with("look like the parts of a data set"),
            "{error}"
        );
    }
    // These have the right names, but none is to learn from.
    for files in [
        &["test/a/1.png", "test/b/1.png"][..],
        &["test/a/1.png", "val/a/1.png", "test/b/1.png", "val/b/1.png"],
    ] {
        let error = Splits::judged(tree(files).path()).unwrap_err().to_string();
        assert!(error.contains("no train beside them: give") && error.contains("test itself"), "{error}");
    }
    for sound in [
        ["train/a/in/1.png", "train/a/out/1.png", "train/b/in/1.png", "train/b/out/1.png"],
        ["cats/in/1.png", "cats/out/1.png", "dogs/in/1.png", "dogs/out/1.png"],
        ["tests/in/1.png", "tests/out/1.png", "trains/in/1.png", "trains/up/1.png"],
        ["tests/in/1.png", "tests/1.png", "trains/in/1.png", "trains/2.png"],
        [
            "freight_train/day/1.png",
            "freight_train/night/1.png",
            "steam-train/day/1.png",
            "steam-train/night/1.png",
        ],
        ["pcr-test/clinic/1.png", "pcr-test/home/1.png", "rapid-test/clinic/1.png", "rapid-test/home/1.png"],
    ] {
        assert_eq!(splits(&tree(&sound), None).unwrap().train.classes.len(), 2, "{sound:?}");
    }
    // One level too high.
    let error = splits(&tree(&["set/a/1.png", "set/b/1.png"]), None).unwrap_err().to_string();
    assert!(error.contains("only one class") && error.contains("give that folder"), "{error}");
    // A folder of vehicles with a class of trains.
    let dir = tree(&["train/1.png", "bus/1.png"]);
    assert_eq!(splits(&dir, None).unwrap().train.classes, ["bus", "train"]);

    let both = with(&["val/a/2.png", "val/b/2.png"]);
    contains_all(&failure(splits(&both, Some(0.2)), Kind::Usage), &["val", "leave --validation-split out"]);
    let two = with(&["val/a/1.png", "val/b/1.png", "validation/a/1.png", "validation/b/1.png"]);
    contains_all(&failure(splits(&two, None), Kind::Data), &["validation, val"]);
    let other = with(&["validation/a/2.png", "validation/c/2.png"]);
    contains_all(
        &failure(splits(&other, None), Kind::Data),
        &["missing       b", "not in train  c", "letter for letter"],
    );
    // The same word to the eye, as a Mac writes it.
    let mac = tree(&["train/B\u{e4}r/1.png", "train/a/1.png", "val/Ba\u{308}r/1.png", "val/a/1.png"]);
    contains_all(&failure(splits(&mac, None), Kind::Data), &["may be one name", "Unicode NFD"]);
    for other in ["Bar", "B\u{e4}rr", "Bo\u{308}r", "Ba\u{308}r\u{308}", "B\u{e1}r"] {
        let other =
            tree(&["train/B\u{e4}r/1.png", "train/a/1.png", &format!("val/{other}/1.png"), "val/a/1.png"]);
        let error = failure(splits(&other, None), Kind::Data);
        assert!(!error.contains("may be one name"), "{error}");
    }
    contains_all(&failure(splits(&tree(&["a/1.png"]), None), Kind::Data), &["only one class", "a 1"]);
    contains_all(&failure(splits(&with(&[]), Some(0.5)), Kind::Data), &["too few", "\"a\"", "so have"]);
    let empty = tree(&["a/1.png", "b/x.txt", "c/x.txt"]);
    contains_all(&failure(splits(&empty, None), Kind::Data), &["\"b\" of", "nor have", "c"]);
    contains_all(
        &failure(splits(&tree(&["train/1.png", "validation/2.png"]), None), Kind::Data),
        &["train", "1 image directly in it"],
    );
    for share in [0.0, 1.0, -0.1, f32::NAN] {
        failure(splits(&with(&[]), Some(share)), Kind::Usage);
    }
}

const SMALL: Size = Size { h: 2, w: 3 };

fn want(cache: Option<&Path>) -> Want<'_> {
    Want { size: SMALL, resize: Resize::NEAREST, cache, strict: false }
}

fn load(root: &Path, want: &Want<'_>) -> Result<Images> {
    Images::load(&Folder::scan(root)?, want, &|_, _| (), &AtomicBool::new(false))
}

/// File and level of every image.
fn levels(images: &Images) -> Vec<(PathBuf, u8)> {
    (0..images.len())
        .map(|i| {
            let pixels = images.image(i);
            assert!(pixels.len() == SMALL.bytes() && pixels.iter().all(|&p| p == pixels[0]));
            (images.files[i].clone(), pixels[0])
        })
        .collect()
}

fn only_file(dir: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// Jobs of several seeds on one folder: each holds out others, so each decodes what another does not.
#[test]
fn runs_that_fill_one_cache_at_a_time_each_have_all_of_theirs() {
    let (dir, cache) = (images(6), tempfile::tempdir().unwrap());
    let want = want(Some(cache.path()));
    let whole = Folder::scan(dir.path()).unwrap();
    let part = |begin: usize| {
        let files = whole.files.iter().skip(begin).step_by(2).cloned().collect();
        Folder { files, ..whole.clone() }
    };
    let load = |folder: &Folder, progress: &dyn Fn(usize, usize)| {
        Images::load(folder, &want, progress, &AtomicBool::new(false)).unwrap()
    };
    // While the first decodes its last image, the other has come, decoded and gone.
    let other = |done: usize, all: usize| {
        if done == all {
            assert_eq!(load(&part(1), &|_, _| ()).decoded, 6);
        }
    };
    let first = load(&part(0), &other);
    let memory = uncached_levels(&part(0));
    assert_eq!((first.decoded, levels(&first)), (6, memory));
    // Nothing of either is lost: what is asked for now is there.
    let both = load(&whole, &|_, _| ());
    assert_eq!((both.decoded, both.len()), (0, 12));
}

/// A job that is stopped keeps what it decoded, also where another has written meanwhile.
#[test]
fn a_stop_keeps_what_was_decoded_beside_what_another_run_wrote() {
    let (dir, cache) = (images(40), tempfile::tempdir().unwrap());
    let want = want(Some(cache.path()));
    let whole = Folder::scan(dir.path()).unwrap();
    let half = Folder { files: whole.files.iter().skip(1).step_by(2).cloned().collect(), ..whole.clone() };
    let stop = AtomicBool::new(false);
    let other = |done: usize, _: usize| {
        if done == 1 {
            Images::load(&half, &want, &|_, _| (), &AtomicBool::new(false)).unwrap();
            stop.store(true, Ordering::Relaxed);
        }
    };
    let stopped = Images::load(&whole, &want, &other, &stop).err().unwrap();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    let after = Images::load(&whole, &want, &|_, _| (), &AtomicBool::new(false)).unwrap();
    // Those of the other, and the one before the stop.
    assert_eq!((after.len(), after.decoded), (80, 80 - 40 - 1));
}

/// What is changed is decoded again, and the rest is not, whatever it is called.
#[cfg(unix)]
#[test]
fn names_that_are_no_unicode_stay_in_the_cache() {
    use std::os::unix::ffi::OsStrExt;
    let (dir, cache) = (images(3), tempfile::tempdir().unwrap());
    let name = std::ffi::OsStr::from_bytes(b"ann\xe9e.png");
    if fs::copy(dir.path().join("a/0.png"), dir.path().join("a").join(name)).is_err() {
        skipped!("this file system takes no names that are no Unicode");
        return;
    }
    let want = want(Some(cache.path()));
    assert_eq!(load(dir.path(), &want).unwrap().decoded, 7);
    fs::copy(dir.path().join("a/0.png"), dir.path().join("b/more.png")).unwrap();
    for decoded in [1, 0] {
        let again = load(dir.path(), &want).unwrap();
        assert_eq!((again.len(), again.decoded), (8, decoded));
    }
}

/// As without a cache.
fn uncached_levels(folder: &Folder) -> Vec<(PathBuf, u8)> {
    levels(&Images::load(folder, &want(None), &|_, _| (), &AtomicBool::new(false)).unwrap())
}

#[test]
fn the_cache_gives_what_memory_gives_and_decodes_once() {
    let (dir, cache) = (images(5), tempfile::tempdir().unwrap());
    let memory = load(dir.path(), &want(None)).unwrap();
    assert_eq!(memory.labels, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    assert_eq!(levels(&memory)[7], ("b/2.png".into(), 102));

    let want = want(Some(cache.path()));
    let first = load(dir.path(), &want).unwrap();
    assert_eq!((first.decoded, levels(&first)), (10, levels(&memory)));
    let second = load(dir.path(), &want).unwrap();
    assert_eq!((second.decoded, levels(&second)), (0, levels(&memory)));
    assert!(second.notes.is_empty(), "{:?}", second.notes);
    // The sums go by pixels alone, wherever they come from.
    assert_eq!((&first.sums, &second.sums), (&memory.sums, &memory.sums));
    let different: HashSet<&u64> = memory.sums.iter().collect();
    assert_eq!(different.len(), levels(&memory).iter().map(|(_, level)| level).collect::<HashSet<_>>().len());

    // Other sizes and ways live in files of their own.
    let other = Want { resize: Resize::BILINEAR, ..want };
    failure(load(dir.path(), &Want { size: Size::square(0), ..want }), Kind::Usage);
    assert_eq!(load(dir.path(), &other).unwrap().decoded, 10);
    assert_eq!(load(dir.path(), &Want { size: Size::square(4), ..want }).unwrap().decoded, 10);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 3);
    assert_eq!(load(dir.path(), &want).unwrap().decoded, 0);
}

/// Cache files are gigabytes; nobody asks for those of images that are gone, or of a size that was tried once.
#[test]
fn a_cache_file_that_nobody_uses_is_removed_one_day() {
    let (dir, cache) = (images(1), tempfile::tempdir().unwrap());
    let at = |name: &str| cache.path().join(name);
    let [unused, used, other, text] =
        ["images-0123456789abcdef.cache", "images-fedcba9876543210.cache", "images-mine.cache", "notes.txt"]
            .map(at);
    let now = std::time::SystemTime::now();
    for (path, days) in [(&unused, 61), (&used, 59), (&other, 900), (&text, 900)] {
        fs::write(path, "x").unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(now - Duration::from_secs(days * 24 * 3600)).unwrap();
    }
    let former = at("pictures-0123456789abcdef.cache");
    fs::rename(&unused, &former).unwrap();
    fs::copy(&former, &unused).unwrap();
    let file = fs::File::options().write(true).open(&unused).unwrap();
    file.set_modified(now - Duration::from_secs(61 * 24 * 3600)).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("images-mine.cache", at("images-00112233445566aa.cache")).unwrap();
    load(dir.path(), &want(Some(cache.path()))).unwrap();
    let all = [&unused, &former, &used, &other, &text];
    assert_eq!(all.map(|path| path.exists()), [false, false, true, true, true]);
    #[cfg(unix)]
    assert!(at("images-00112233445566aa.cache").is_symlink(), "it is somebody's own");
    let own = fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().path());
    let own =
        own.into_iter().find(|path| !path.is_symlink() && ![&used, &other, &text].contains(&path)).unwrap();
    // Whoever reads it uses it.
    let old = now - Duration::from_secs(61 * 24 * 3600);
    fs::File::options().write(true).open(&own).unwrap().set_modified(old).unwrap();
    assert_eq!(load(dir.path(), &want(Some(cache.path()))).unwrap().decoded, 0);
    assert!(fs::metadata(&own).unwrap().modified().unwrap() > old + Duration::from_secs(3600));
}

/// That images lie on their side is known without decoding them again, and so is that they were turned.
#[test]
fn an_orientation_that_is_not_followed_is_counted() {
    let (dir, cache) = (images(2), tempfile::tempdir().unwrap());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pixels/sources/exif_turn.jpg");
    fs::copy(golden, dir.path().join("a/phone.jpg")).unwrap();
    let want = Want { size: Size { h: 33, w: 41 }, ..want(Some(cache.path())) };
    let memory = load(dir.path(), &Want { cache: None, ..want }).unwrap();
    assert_eq!((memory.sideways, memory.decoded), (1, 5));
    let upright = Want { resize: Resize::NEAREST.upright(), ..want };
    for decoded in [5, 0] {
        let stored = load(dir.path(), &want).unwrap();
        assert_eq!((stored.sideways, stored.decoded), (1, decoded));
        let turned = load(dir.path(), &upright).unwrap();
        assert_eq!((turned.sideways, turned.decoded), (0, decoded));
        let at = stored.files.iter().position(|file| file.ends_with("phone.jpg")).unwrap();
        for i in 0..5 {
            assert_eq!(stored.image(i) == turned.image(i), i != at, "{}", stored.files[i].display());
        }
    }
}

#[test]
fn a_changed_file_is_decoded_again_and_the_others_are_not() {
    let (dir, cache) = (images(5), tempfile::tempdir().unwrap());
    let want = want(Some(cache.path()));
    let old = load(dir.path(), &want).unwrap();
    let length = fs::metadata(only_file(cache.path())).unwrap().len();
    // Same length, another time; one gone, one new.
    let changed = dir.path().join("a/3.png");
    write_png(&changed, 77);
    let later = fs::metadata(&changed).unwrap().modified().unwrap() + Duration::from_secs(2);
    fs::File::options().write(true).open(&changed).unwrap().set_modified(later).unwrap();
    fs::remove_file(dir.path().join("b/0.png")).unwrap();
    write_png(&dir.path().join("b/9.png"), 109);

    let new = load(dir.path(), &want).unwrap();
    assert_eq!(new.decoded, 2);
    assert_eq!(levels(&new)[3], ("a/3.png".into(), 77));
    assert_eq!(levels(&new).last().unwrap(), &("b/9.png".into(), 109));
    // What is gone or stale is not carried along.
    assert_eq!(fs::metadata(only_file(cache.path())).unwrap().len(), length);
    // The replaced file stays as it was for whoever has it mapped.
    assert_eq!(levels(&old)[3], ("a/3.png".into(), 3));
}

/// Two files of one length and date, as they come out of an archive, change places.
#[cfg(unix)]
#[test]
fn files_that_change_places_are_decoded_again() {
    let dir = tempfile::tempdir().unwrap();
    let (root, cache) = (dir.path().join("data"), dir.path().join("cache"));
    let (a, b) = (root.join("x/a.bmp"), root.join("x/b.bmp"));
    fs::create_dir_all(root.join("x")).unwrap();
    let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (path, level) in [(&a, 10), (&b, 200)] {
        image::RgbImage::from_pixel(4, 4, image::Rgb([level; 3])).save(path).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
    }
    let before = load(&root, &want(Some(&cache))).unwrap();
    let first = levels(&before);
    fs::rename(&a, root.join("aside")).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(root.join("aside"), &b).unwrap();
    let after = load(&root, &want(Some(&cache))).unwrap();
    let then = levels(&after);
    assert_eq!(before.sums, [after.sums[1], after.sums[0]]);
    assert_eq!((first[0].1, first[1].1), (then[1].1, then[0].1));
    assert_ne!(first[0].1, first[1].1);
}

#[test]
fn the_parts_of_one_folder_share_a_cache() {
    let (dir, cache) = (images(10), tempfile::tempdir().unwrap());
    let want = want(Some(cache.path()));
    let get = |seed| {
        let splits = Splits::open(dir.path(), Some(0.3), seed).unwrap();
        [splits.train, splits.validation.unwrap()].map(|part| {
            let images = Images::load(&part, &want, &|_, _| (), &AtomicBool::new(false)).unwrap();
            for (file, level) in levels(&images) {
                let number: u8 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
                assert_eq!(level % 100, number);
            }
            images.decoded
        })
    };
    assert_eq!(get(1), [14, 6]);
    assert_eq!(get(1), [0, 0]);
    assert_eq!(get(2), [0, 0]);
    only_file(cache.path());
}

#[test]
fn a_damaged_cache_is_made_again_and_says_so() {
    let (dir, cache) = (images(5), tempfile::tempdir().unwrap());
    let want = want(Some(cache.path()));
    let right = levels(&load(dir.path(), &want).unwrap());
    let file = only_file(cache.path());
    let whole = fs::read(&file).unwrap();

    for length in [0, 7, 63, 64, 119, 120, 200, whole.len() / 2, whole.len() - 57, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let again = load(dir.path(), &want).unwrap();
        assert_eq!((again.decoded, again.notes.len(), levels(&again)), (10, 1, right.clone()), "{length}");
        assert!(again.notes[0].contains("made again"), "{}", again.notes[0]);
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let again = load(dir.path(), &want).unwrap();
        // Pixels lie between header (64) and index; damage there costs one image, elsewhere all.
        let is_pixel = (64..64 + 10 * SMALL.bytes()).contains(&at);
        let expected = if is_pixel { 1 } else { 10 };
        assert_eq!((again.decoded, again.notes.len(), levels(&again)), (expected, 1, right.clone()), "{at}");
    }
}

#[test]
fn unreadable_images_are_listed_or_end_it_all() {
    let (dir, cache) = (images(5), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("a/2.png"), b"").unwrap();
    fs::write(dir.path().join("b/1.png"), b"no image").unwrap();
    for cache in [None, Some(cache.path()), Some(cache.path())] {
        let images = load(dir.path(), &want(cache)).unwrap();
        let skipped: Vec<&PathBuf> = images.skipped.iter().map(|(path, _)| path).collect();
        assert_eq!(skipped, [Path::new("a/2.png"), Path::new("b/1.png")]);
        contains_all(&images.skipped[0].1.to_string(), &["a/2.png is empty"]);
        assert_eq!(images.labels, [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(levels(&images)[2], ("a/3.png".into(), 3));
        // The first in order, not the quickest.
        let error = failure(load(dir.path(), &Want { strict: true, ..want(cache) }), Kind::Data);
        contains_all(&error, &["a/2.png is empty"]);
    }
    // Unreadable files alone are no reason to write: a second name still leads to the same file.
    let other = dir.path().join("other name");
    fs::hard_link(only_file(cache.path()), &other).unwrap();
    load(dir.path(), &want(Some(cache.path()))).unwrap();
    let file = fs::File::options().write(true).open(only_file(cache.path())).unwrap();
    let mark = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    file.set_modified(mark).unwrap();
    assert_eq!(fs::metadata(other).unwrap().modified().unwrap(), mark);

    for i in 0..5 {
        fs::write(dir.path().join(format!("b/{i}.png")), b"").unwrap();
    }
    for cache in [None, Some(cache.path())] {
        let error = failure(load(dir.path(), &want(cache)), Kind::Data);
        contains_all(&error, &["class \"b\"", "a 4", "b 0", "b/0.png is empty"]);
    }
}

#[test]
fn stopping_leaves_nothing_half_written_and_keeps_what_is_decoded() {
    let (dir, cache) = (images(5), tempfile::tempdir().unwrap());
    let folder = Folder::scan(dir.path()).unwrap();
    let stop = AtomicBool::new(false);
    let seen = AtomicUsize::new(0);
    // In the middle of writing the file.
    let progress = |done: usize, total: usize| {
        assert_eq!((done, total), (seen.fetch_add(1, Ordering::SeqCst) + 1, 10));
        stop.store(done == 4, Ordering::SeqCst);
    };
    let stopped = Images::load(&folder, &want(Some(cache.path())), &progress, &stop);
    contains_all(&failure(stopped, Kind::Interrupted), &["4 of 10"]);
    assert_eq!(seen.load(Ordering::SeqCst), 4);
    let names: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(matches!(&names[..], [one] if one.to_string_lossy().ends_with(".cache")), "{names:?}");
    let again = load(dir.path(), &want(Some(cache.path()))).unwrap();
    assert_eq!((again.len(), again.decoded), (10, 6));
    // Those of the cache count.
    for (all, more) in [("10 of 10", None), ("10 of 11", Some("a/5.png"))] {
        more.into_iter().for_each(|name| write_png(&dir.path().join(name), 5));
        let now = Folder::scan(dir.path()).unwrap();
        let stopped = Images::load(&now, &want(Some(cache.path())), &|_, _| (), &AtomicBool::new(true));
        contains_all(&failure(stopped, Kind::Interrupted), &["stopped by the user", all]);
    }

    let at_once = Images::load(&folder, &want(None), &progress, &AtomicBool::new(true));
    contains_all(&failure(at_once, Kind::Interrupted), &["0 of 10"]);
    assert_eq!(seen.load(Ordering::SeqCst), 4);
}

#[test]
fn batches_come_from_images_and_from_files_alike() {
    let dir = images(5);
    let folder = Folder::scan(dir.path()).unwrap();
    let kept = Arc::new(load(dir.path(), &want(None)).unwrap());
    let files = Arc::new(Files {
        paths: (0..folder.len()).map(|i| folder.path(i)).collect(),
        labels: folder.files.iter().map(|f| f.label).collect(),
        size: SMALL,
        resize: Resize::NEAREST,
    });
    let order = vec![9, 0, 5, 3];
    let a: Vec<Batch> = data::batches(kept, order.clone(), 3).unwrap().collect::<Result<_>>().unwrap();
    let b: Vec<Batch> = data::batches(files, order, 3).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(a, b);
    assert_eq!(a[0].labels, [1, 0, 1]);
    assert_eq!(a[1].pixels, [3; 18]);

    let paths = vec![folder.path(0), dir.path().join("a/none.png"), dir.path().join("a")];
    let files = Arc::new(Files { paths, labels: Vec::new(), size: SMALL, resize: Resize::NEAREST });
    let mut lost = data::batches(files.clone(), vec![0, 1], 1).unwrap();
    assert!(lost.next().unwrap().unwrap().labels.is_empty());
    contains_all(&failure(lost.next().unwrap(), Kind::Data), &["a/none.png", "check the path"]);
    let mut folder = data::batches(files, vec![2], 1).unwrap();
    contains_all(&failure(folder.next().unwrap(), Kind::Data), &["is not a file"]);
}

#[test]
fn the_cats_and_dogs_of_the_book() {
    let Some(root) = std::env::var_os("VGG_FT_TEST_DATA") else {
        skipped!("VGG_FT_TEST_DATA is not set");
        return;
    };
    let splits = Splits::open(&PathBuf::from(root).join("cats_and_dogs_small"), None, 1).unwrap();
    let train = &splits.train;
    assert_eq!(train.classes, ["cats", "dogs"]);
    assert_eq!(train.counts(), [1000, 1000]);
    assert_eq!(paths(train)[..3], ["cats/cat.1.jpg", "cats/cat.10.jpg", "cats/cat.100.jpg"]);
    assert_eq!((train.files[999].label, train.files[1000].label), (0, 1));
    assert_eq!(splits.validation.unwrap().counts(), [500, 500]);

    let cache = tempfile::tempdir().unwrap();
    // Means that Pillow 11.3 gives for these files.
    for (resize, expected) in [(Resize::NEAREST, 114.845_786), (Resize::BILINEAR, 114.849_469)] {
        let want = Want { size: Size::square(150), resize, cache: Some(cache.path()), strict: true };
        let load = || Images::load(train, &want, &|_, _| (), &AtomicBool::new(false)).unwrap();
        let start = Instant::now();
        let images = load();
        let decoded = start.elapsed().as_secs_f64();
        let start = Instant::now();
        assert_eq!((load().decoded, images.decoded), (0, 2000));
        let found = start.elapsed().as_secs_f64();
        println!("{resize}: {:.0} images/s decoded, all found again in {found:.2} s", 2000.0 / decoded);

        let bytes = (0..2000).flat_map(|i| images.image(i)).map(|&p| u64::from(p)).sum::<u64>();
        let mean = bytes as f64 / (2000 * want.size.bytes()) as f64;
        // Our JPEG decoder rounds chroma another way: up to 5 levels on single values, on average
        // 0.1 to 0.2 a channel and 0.07 over all. A row or a channel out of place shows as more.
        assert!((mean - expected).abs() < 0.2, "{mean} against {expected}");
    }
}
