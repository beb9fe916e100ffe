//! `arrange`: images that are laid out otherwise become folders of classes: the right ones, whole or not at all, and the
//! images stay as they are.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, json, names, stdout, vgg_ft};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Files that nobody opens, called `names`.
fn touch(dir: &Path, names: impl IntoIterator<Item = String>) {
    for name in names {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
}

/// All files below `dir`, relative to it, with `/`.
fn below(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(below(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// The same, and all folders.
fn everything(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(everything(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        }
        found.insert(name);
    }
    found
}

fn arranged(here: &Path, command: &str) -> String {
    stdout(vgg_ft(here).arg("arrange").args(command.split_whitespace()))
}

/// The result of `images` by `list`, of which all `notes` are said.
fn arranged_by(here: &Path, list: &str, notes: &[&str]) -> Value {
    fs::write(here.join("labels.csv"), list).unwrap();
    let command = ["arrange", "images", "-o", "made", "--labels", "labels.csv", "--json"];
    let output = vgg_ft(here).args(command).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    for note in notes {
        assert!(said.contains(note), "{note}\n{said}");
    }
    json(&String::from_utf8(output.stdout).unwrap())
}

/// Features and labels of both splits.
fn features(dir: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for split in ["train", "validation"] {
        let bytes = fs::read(dir.join(format!("{split}.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        all.extend(["features", "labels"].map(|name| file.tensor(name).unwrap().data().to_vec()));
    }
    all
}

/// What training sees of a list is what it sees of the same images in folders.
#[test]
fn a_list_gives_the_features_of_folders() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3), ("validation", 2)]);
    fs::create_dir(here.join("flat")).unwrap();
    let mut list = "image_id,age,class,split\n".to_owned();
    for path in below(&here.join("data")) {
        let parts: Vec<&str> = path.split('/').collect();
        let name = parts.join("_");
        fs::copy(here.join("data").join(&path), here.join("flat").join(&name)).unwrap();
        let id = name.strip_suffix(".png").unwrap();
        list += &format!("{id},7,{},{}\n", parts[1], if parts[0] == "train" { "Training" } else { "val" });
    }
    fs::write(here.join("labels.csv"), list).unwrap();
    let text = arranged(here, "flat -o made --labels labels.csv");
    assert_eq!(
        text.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>(),
        [
            vec!["train", "validation", "all"],
            vec!["cold", "3", "2", "5"],
            vec!["warm", "3", "2", "5"],
            vec!["all", "6", "4", "10"]
        ],
        "{text}"
    );
    stdout(vgg_ft(here).args(["check", "made", "--size", "32", "--strict"]));
    for data in ["data", "made"] {
        let output = format!("features-{data}");
        stdout(vgg_ft(here).args(["extract", data, "-o", &output, "--size", "32"]));
    }
    assert_eq!(features(&here.join("features-data")), features(&here.join("features-made")));
}

/// The first of each class are those with the lowest numbers, as the book takes them.
#[test]
fn names_tell_classes_and_the_first_images_are_those_with_the_lowest_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let named = |class: &str| (0..12).map(|i| format!("{class}.{i}.jpg")).collect::<Vec<_>>();
    touch(&here.join("train"), ["cat", "dog"].iter().flat_map(|class| named(class)));
    let command = "train -o small --by-name --splits train=9,validation=1,test=1";
    let output = vgg_ft(here).arg("arrange").args(command.split_whitespace()).assert().success();
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(said.contains("note: 2 images are left out"), "{said}");
    let want = |class: &str| {
        let of = |split: &str, range: std::ops::Range<usize>| {
            range.map(|i| format!("{split}/{class}/{class}.{i}.jpg")).collect::<Vec<_>>()
        };
        [of("train", 0..9), of("validation", 9..10), of("test", 10..11)].concat()
    };
    let want: BTreeSet<String> = ["cat", "dog"].iter().flat_map(|class| want(class)).collect();
    assert_eq!(below(&here.join("small")), want);
    for path in &want {
        let (path, name) = (here.join("small").join(path), path.rsplit('/').next().unwrap());
        assert_eq!(fs::read(&path).unwrap(), name.as_bytes());
        if cfg!(unix) {
            assert_eq!(fs::read_link(&path).unwrap(), here.canonicalize().unwrap().join("train").join(name));
        }
    }
    // With a seed they are drawn, each seed its own.
    let drawn = |output: &str, seed: u8| {
        arranged(
            here,
            &format!("train -o {output} --by-name --splits train=9,validation=1,test=1 --seed {seed}"),
        );
        below(&here.join(output))
    };
    let (one, again, two) = (drawn("one", 1), drawn("again", 1), drawn("two", 2));
    assert!(one == again && one != two && one != want);
    assert_eq!(one.len(), want.len());
    // Other forms of names; the number is at the end.
    let others =
        ["Abyssinian_1", "Abyssinian_100", "boeing747-1", "boeing747-2", "red fox (1)", "red fox (2)", "owl"];
    touch(&here.join("pets"), others.iter().map(|name| format!("{name}.png")));
    let result = json(&arranged(here, "pets -o classes --by-name --json"));
    let classes: Vec<&str> =
        result["classes"].as_array().unwrap().iter().map(|c| c["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["Abyssinian", "boeing747", "owl", "red fox"]);
    assert_eq!((&result["splits"], &result["images"]), (&json!(["train"]), &json!(7)));
    assert_eq!(below(&here.join("classes")).len(), others.len());
}

#[test]
fn shares_divide_a_folder_of_classes_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    touch(&here.join("pets"), (0..20).map(|i| format!("cats/sub/{i}.jpg")));
    touch(&here.join("pets"), (0..7).map(|i| format!("dogs/{i}.jpg")));
    let before = below(&here.join("pets"));
    for how in ["symlink", "hardlink", "copy"] {
        let command = format!("pets -o {how} --splits test=10%,train=0.8,validation=.1 --how {how} --json");
        let result = json(&arranged(here, &command));
        assert_eq!(result["splits"], json!(["train", "validation", "test"]));
        assert_eq!(result["classes"][0], json!({ "class": "cats", "images": [16, 2, 2] }));
        let parts = names(&here.join(how));
        assert_eq!(parts, ["test", "train", "validation"]);
        let mut together = BTreeSet::new();
        for part in &parts {
            for path in below(&here.join(how).join(part)) {
                let link = fs::symlink_metadata(here.join(how).join(part).join(&path)).unwrap();
                assert_eq!(link.is_symlink(), how == "symlink");
                assert!(together.insert(path), "in two splits");
            }
        }
        assert_eq!(together, before, "{how}");
    }
    // The same images go the same ways, whatever becomes of the links.
    assert_eq!(below(&here.join("symlink")), below(&here.join("copy")));
    // A copy is apart from the image, another name is not.
    let one = below(&here.join("copy")).pop_first().unwrap();
    let image = here.join("pets").join(one.split_once('/').unwrap().1);
    fs::write(&image, b"changed").unwrap();
    let read = |how: &str| fs::read(here.join(how).join(&one)).unwrap();
    assert_eq!([read("symlink"), read("hardlink")], [b"changed".to_vec(), b"changed".to_vec()]);
    assert_ne!(read("copy"), b"changed");
    assert_eq!(below(&here.join("pets")), before);
}

/// Which split each patient is in, of a folder whose images are called after them.
fn patients(dir: &Path) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for path in below(dir) {
        let (split, name) = (path.split('/').next().unwrap(), path.rsplit('/').next().unwrap());
        found.insert((name.split('_').next().unwrap().to_owned(), split.to_owned()));
    }
    found
}

/// By a column, and by their names, images of one patient stay together, those of both classes too.
#[test]
fn images_of_one_group_are_in_one_split() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let image = |i: usize| format!("p{}_{i}.png", i % 12);
    touch(&here.join("scans"), (0..60).map(image));
    let class =
        |i: usize| if i % 12 < 2 && i.is_multiple_of(5) || i.is_multiple_of(3) { "ill" } else { "well" };
    let mut list = "image,dx,patient\n".to_owned();
    (0..60).for_each(|i| list += &format!("{},{},{}\n", image(i), class(i), i % 12));
    fs::write(here.join("scans.csv"), list).unwrap();
    fs::write(
        here.join("classes.csv"),
        "image,dx\np0_0.png,ill\np1_1.png,well\np2_2.png,ill\np3_3.png,well\n",
    )
    .unwrap();
    let splits = "--splits train=0.5,validation=0.25,test=0.25";
    let by_column = format!("scans -o column --labels scans.csv --group-column patient {splits} --json");
    let result = json(&arranged(here, &by_column));
    assert_eq!(result["groups"], json!([6, 3, 3]));
    assert_eq!((&result["columns"]["group"], &result["images"]), (&json!("patient"), &json!(60)));
    let parts = patients(&here.join("column"));
    assert_eq!(parts.len(), 12, "{parts:?}");
    // By chance none would have stayed together: each has five images. It says so.
    let command = format!("arrange scans -o drawn --labels scans.csv --label-column dx {splits}");
    let output = vgg_ft(here).args(command.split_whitespace()).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("note: images of one patient may go to several splits"), "{said}");
    assert!(patients(&here.join("drawn")).len() > 12);
    // A group is called otherwise by the names, so others are drawn.
    let table = arranged(
        here,
        &format!("scans -o name --labels scans.csv --label-column dx --groups {{}}_* {splits}"),
    );
    let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row, ["groups", "6", "3", "3", "12"], "{table}");
    assert_eq!(patients(&here.join("name")).len(), 12);
    // The folders that an image of a class lies in.
    touch(
        &here.join("pets"),
        (0..12).flat_map(|i| ["cats", "dogs"].map(|class| format!("{class}/day{}/{i}.jpg", i % 3))),
    );
    let result = json(&arranged(here, &format!("pets -o days --groups {{}}/* {splits} --json")));
    assert_eq!(result["groups"], json!([1, 1, 1]));
    assert_eq!(result["classes"][1], json!({ "class": "dogs", "images": [4, 4, 4] }));
}

#[test]
fn what_does_not_fit_is_told_of_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    touch(
        &here.join("images"),
        [
            "a/1.jpg",
            "a/2.jpg",
            "b/3.jpg",
            "b/4.jpg",
            "b/5.jpg",
            "b/6.jpg",
            "b/7.heic",
            "run/acc.png",
            "run/run.toml",
        ]
        .map(str::to_owned),
    );
    let list = "path,label,subset\n/old/a/1.jpg,cat,1\n/old/a/2.jpg,cat,2\n/old/b/3.jpg,dog,1\n/old/b/4.jpg,dog,2\n\
                /old/b/9.jpg,dog,1\n/old/b/5.jpg,,1\n/old/a/1.jpg,cat,1\n/old/3.jpg,cat,1\n";
    let result = arranged_by(
        here,
        list,
        &[
            "note: the column \"subset\" is not taken for splits: it says \"1\"",
            // Not b/3.jpg by its name alone.
            "note: 2 images of the list not in images, left out; the first is /old/b/9.jpg",
            "note: 1 row of the list without an image or a class, left out",
            "note: 1 image not in the list, left out; the first is b/6.jpg",
            "note: 1 .heic among the images: these formats are not read",
            "note: images/run is a run, so its images are passed over",
            "note: paths of the list are taken without their leading /old/",
        ],
    );
    assert_eq!(
        [&result["missing"], &result["unlabelled"], &result["unlisted"], &result["images"]],
        [&json!(["/old/b/9.jpg", "/old/3.jpg"]), &json!(1), &json!(1), &json!(4)]
    );
    // What is left is laid out below its class as it was below the folder.
    let want = ["cat/a/1.jpg", "cat/a/2.jpg", "dog/b/3.jpg", "dog/b/4.jpg"].map(str::to_owned);
    assert_eq!(below(&here.join("made")), BTreeSet::from(want));
    let error =
        fails(vgg_ft(here).args(["arrange", "images", "-o", "no", "--labels", "labels.csv", "--strict"]), 1);
    assert!(error.contains("2 images of the list are not in images"), "{error}");
    assert!(!here.join("no").exists());
}

/// "test/1.jpg" is not the 1.jpg of train, in whatever order they stand.
#[test]
fn paths_of_a_list_begin_in_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    for split in ["train", "test"] {
        touch(&here.join("all").join(split), (1..5).map(|i| format!("{i}.jpg")));
    }
    let rows = |split: &str, odd: &str, even: &str| -> String {
        (1..5).map(|i| format!("x/{split}/{i}.jpg,{}\n", if i % 2 == 1 { odd } else { even })).collect()
    };
    let (train, test) = (rows("train", "cat", "dog"), rows("test", "dog", "cat"));
    for (name, list) in [("one", format!("{train}{test}")), ("other", format!("{test}{train}"))] {
        fs::write(here.join("labels.csv"), list).unwrap();
        let result = json(&arranged(here, &format!("all/train -o {name} --labels labels.csv --json")));
        let want = ["cat/1.jpg", "cat/3.jpg", "dog/2.jpg", "dog/4.jpg"].map(str::to_owned);
        assert_eq!(below(&here.join(name)), BTreeSet::from(want), "{name}");
        assert_eq!((&result["images"], result["missing"].as_array().unwrap().len()), (&json!(4), 4));
        // Of both at once nothing is left out.
        let command = format!("all -o {name}-all --labels labels.csv --splits train=0.5,test=0.5 --json");
        let result = json(&arranged(here, &command));
        assert_eq!((&result["images"], &result["missing"]), (&json!(8), &json!([])));
    }
    fs::rename(here.join("all/train"), here.join("mine")).unwrap();
    let error = fails(vgg_ft(here).args(["arrange", "mine", "-o", "no", "--labels", "labels.csv"]), 1);
    assert!(error.contains("paths of the list lead to images in mine in several ways"), "{error}");
}

/// What a list calls by less than its path is told of, and what it says of paths that are there is not bent to others.
#[test]
fn names_that_lead_elsewhere_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    touch(&here.join("images"), ["a/1.jpg", "a/2.jpg", "3.JPG", "4.jpg", "masks/5.png"].map(str::to_owned));
    let list = "file,label\na/1.jpg,cat\na/2.jpg,cat\n3.jpg,dog\n4.jpg,dog\n5.png,dog\nb/4.jpg,cat\n";
    let result = arranged_by(
        here,
        list,
        &[
            "note: 2 images of the list found in another folder by name alone, or in other case; the first: 3.jpg is 3.JPG",
            "note: 1 image of the list not in images, left out; the first is b/4.jpg",
        ],
    );
    assert_eq!(result["columns"], json!({ "image": "file", "class": "label", "split": null, "group": null }));
    assert_eq!(result["images"], json!(5));
}

/// A split that nobody filled in leaves an image out, and is told of.
#[test]
fn a_list_of_splits_leaves_out_what_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    touch(&here.join("flat"), (1..7).map(|i| format!("{i}.jpg")));
    let list = "id,label,split\n1,a,train\n2,b,train\n3,a,test\n4,b,test\n5,a,\n6,b,Train\n";
    fs::write(here.join("labels.csv"), list).unwrap();
    let result = json(&arranged(here, "flat -o made --labels labels.csv --json"));
    assert_eq!(
        [&result["unsplit"], &result["unlisted"], &result["images"]],
        [&json!(1), &json!(0), &json!(5)]
    );
    assert_eq!(result["splits"], json!(["train", "test"]));
    fs::write(here.join("labels.csv"), list.replace("train\n3", "tarin\n3")).unwrap();
    let error = fails(vgg_ft(here).args(["arrange", "flat", "-o", "no", "--labels", "labels.csv"]), 1);
    assert!(error.contains("line 3 names no split") && error.contains("\"tarin\""), "{error}");
}

#[test]
fn what_cannot_be_done_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    touch(&here.join("flat"), ["a1.jpg", "a2.jpg", "b1.jpg", "b2.jpg", "b2.png"].map(str::to_owned));
    touch(&here.join("hashes"), ["9f.jpg", "ab.jpg", "cd.jpg"].map(str::to_owned));
    touch(&here.join("numbers"), ["1.jpg", "2.jpg"].map(str::to_owned));
    touch(&here.join("pets"), ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"].map(str::to_owned));
    touch(
        &here.join("split"),
        ["train/cats/c1.jpg", "train/dogs/d1.jpg", "test/cats/c2.jpg", "test/dogs/d2.jpg"].map(str::to_owned),
    );
    touch(&here.join("there"), ["1.jpg".to_owned()]);
    let lists = [
        ("good", "id,label\na1,cat\na2,cat\nb1,dog\n"),
        ("twice", "id,label\na1,cat\na2,dog\na1,dog\n"),
        ("both", "id,label\na1,cat\nb2,dog\n"),
        ("one", "id,label\na1,cat\na2,cat\n"),
        ("none", "id,label\nx1,cat\nx2,cat\n"),
        ("empty", "id,label\na1,\na2,\n"),
        ("slash", "id,label\na1,cat\na2,dog/old\n"),
        ("up", "id,label\na1,cat\na2,..\n"),
        ("parts", "id,label\na1,train\na2,test\n"),
        ("lacks", "id,label,split\na1,cat,train\na2,dog,train\nb1,cat,test\n"),
        ("untrained", "id,label,split\na1,cat,val\na2,dog,val\n"),
        ("odd", "id,label,set\na1,cat,train\na2,dog,third\n"),
        ("blank", "id,label,set\na1,cat,\na2,dog,\n"),
        ("parted", "id,label,p\na1,cat,1\na2,dog,2\na1,cat,2\n"),
        ("numbers", "id,label\na1,1\na2,2\nb1,3\n"),
    ];
    for (name, text) in lists {
        fs::write(here.join(format!("{name}.csv")), text).unwrap();
    }
    fs::write(here.join("bytes.csv"), b"id,label\na1,\xe9\n").unwrap();
    let before = everything(here);
    for (command, code, words) in [
        ("flat -o there --labels good.csv", 2, "there is there already"),
        ("flat -o flat/x --labels good.csv", 2, "lies inside the data"),
        ("flat -o x --labels no.csv", 2, "no.csv does not exist"),
        ("good.csv -o x --by-name", 2, "good.csv is a file"),
        ("no -o x --by-name", 2, "no does not exist"),
        ("flat -o x --labels good.csv --by-name", 2, "cannot be used with"),
        ("flat -o x --by-name --seed 3", 2, "--splits"),
        ("flat -o x --by-name --splits train=2,test=0.5", 2, "shares and numbers"),
        ("flat -o x --by-name --splits train=0,test=1", 2, "asks for nothing"),
        ("flat -o x --by-name --splits train=1.5", 2, "is no share"),
        ("flat -o x --by-name --splits train=nan", 2, "is no share"),
        ("flat -o x --by-name --groups {}_*", 2, "--splits"),
        ("flat -o x --by-name --groups {}_* --splits train=1", 2, "groups are not cut to numbers"),
        ("flat -o x --by-name --groups _* --splits train=1.0", 2, "does not say once with {}"),
        ("flat -o x --by-name --groups {}_* --splits train=1.0", 1, "--groups {}_* does not fit a1.jpg"),
        (
            "flat -o x --labels good.csv --group-column label --splits train=1.0",
            2,
            "holds the class is not clear",
        ),
        (
            "flat -o x --labels parted.csv --group-column p --splits train=1.0",
            1,
            "the list contradicts itself",
        ),
        ("flat -o x --by-name --splits learn=1", 2, "there is no split"),
        ("flat -o x --by-name --splits train", 2, "is not SPLIT=SHARE"),
        ("flat -o x --by-name --splits train=3,test=1", 1, "class \"a\" has too few images for the splits"),
        ("flat -o x --labels good.csv --label-column breed", 2, "there is no column \"breed\""),
        ("flat -o x --labels twice.csv", 1, "the list contradicts itself about a1.jpg"),
        ("flat -o x --labels both.csv", 1, "line 3: \"b2\" may be several images"),
        ("flat -o x --labels one.csv", 1, "all images of flat are of one class"),
        ("flat -o x --labels none.csv", 1, "2 images of the list are not in flat"),
        ("flat -o x --labels empty.csv", 1, "no image of the list has a class"),
        ("flat -o x --labels slash.csv", 1, "a class cannot be called \"dog/old\""),
        ("flat -o x --labels up.csv", 1, "a class cannot be called \"..\""),
        ("flat -o x --labels parts.csv", 1, "as a split is"),
        ("flat -o x --labels lacks.csv", 1, "the split test has no images of every class"),
        ("flat -o x --labels untrained.csv", 1, "there is no split to learn from"),
        ("flat -o x --labels odd.csv --split-column set", 1, "line 3 names no split"),
        (
            "flat -o x --labels blank.csv --split-column set",
            1,
            "no image of the list has a class and a split",
        ),
        ("flat -o x --labels numbers.csv", 1, "most classes would have a single image"),
        ("flat -o x --labels good.csv --label-column id --image-column id", 2, "is asked for twice"),
        ("flat -o x --by-name --splits train=18446744073709551615,test=1", 1, "has too few images"),
        ("flat -o x", 1, "`vgg-ft arrange` does it"),
        ("flat -o x --labels bytes.csv", 1, "bytes.csv is not UTF-8"),
        ("hashes -o x --by-name", 1, "most classes would have a single image"),
        ("numbers -o x --by-name", 1, "does not begin with a class"),
        ("split -o x --by-name", 2, "split has splits, which would be mixed"),
        ("flat -o . --by-name", 2, "is the one that this was typed in"),
        ("pets -o x", 2, "has one folder per class already"),
        ("pets -o x --splits train=0.5,test=0.5", 1, "class \"dogs\" has too few"),
        ("split -o x --splits train=0.5,test=0.5", 2, "has splits already"),
    ] {
        let error = fails(vgg_ft(here).arg("arrange").args(command.split_whitespace()), code);
        assert!(error.contains(words), "{command}: {error}");
        assert_eq!(everything(here), before, "{command}");
    }
}

/// An image that cannot be copied ends it, and what was copied before goes, too.
#[cfg(unix)]
#[test]
fn a_copy_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    touch(&here.join("flat"), ["a1.jpg", "a2.jpg", "b1.jpg"].map(str::to_owned));
    std::os::unix::fs::symlink("nowhere.jpg", here.join("flat/b2.jpg")).unwrap();
    for how in ["copy", "hardlink"] {
        let error = fails(vgg_ft(here).args(["arrange", "flat", "-o", "x/y", "--by-name", "--how", how]), 1);
        assert!(error.contains("b2.jpg") && error.contains("a link that leads nowhere"), "{error}");
        assert_eq!(names(&here.join("x")), Vec::<String>::new());
    }
    // Nor is a pipe waited for.
    fs::remove_file(here.join("flat/b2.jpg")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(here.join("flat/b2.jpg")).status().unwrap().success());
    let error = fails(vgg_ft(here).args(["arrange", "flat", "-o", "x/y", "--by-name", "--how", "copy"]), 1);
    assert!(error.contains("b2.jpg") && error.contains("not a regular file"), "{error}");
    assert_eq!(names(&here.join("x")), Vec::<String>::new());
    // An empty folder is as good as none.
    fs::create_dir(here.join("x/y")).unwrap();
    fs::remove_file(here.join("flat/b2.jpg")).unwrap();
    arranged(here, "flat -o x/y --by-name --how copy");
    assert_eq!(below(&here.join("x/y")).len(), 3);
    assert_eq!(names(&here.join("x")), ["y"]);
}
