//! Data as few have them: names that are no text or hold what a terminal obeys, accents, links, classes of which
//! nothing can be read, little memory; weights under a familiar name.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, json, stdout, vgg_ft};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

const SMALL: [&str; 8] = ["--size", "32", "--units", "4", "--head-epochs", "1", "--epochs", "0"];

/// Stdout and stderr of a command that must succeed.
fn output<T: AsRef<OsStr>>(here: &Path, typed: &[T]) -> [String; 2] {
    let output = vgg_ft(here).args(typed).assert().success().get_output().clone();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
}

fn finetune(here: &Path, data: &str, run: &str) -> String {
    let [_, stderr] = output(here, &[&["finetune", data, "-o", run], &SMALL[..]].concat());
    stderr
}

#[cfg(unix)]
fn odd(name: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

/// Features name images in JSON, where a name that is no UTF-8 is replaced: the images are found by it all the same.
#[cfg(unix)]
#[test]
fn images_whose_names_are_no_text_are_judged_as_they_were_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(here, &[("data", 5)]);
    for class in ["cold", "warm"] {
        let folder = here.join("data").join(class);
        for i in 0..5 {
            let name = [b"k\xe4tzchen".as_slice(), i.to_string().as_bytes(), b".png"].concat();
            fs::rename(folder.join(format!("{i}.png")), folder.join(odd(&name))).unwrap();
        }
    }
    let extract = ["extract", "data", "-o", "features", "--size", "32", "--validation-split", "0.4"];
    stdout(vgg_ft(here).args(extract));
    let fit = ["fit", "features", "-o", "head", "--epochs", "1", "--units", "4", "--json"];
    let fitted = json(&stdout(vgg_ft(here).args(fit)));
    let outcome = json(&stdout(vgg_ft(here).args(["evaluate", "head", "data", "--json"])));
    assert_eq!((&outcome["images"], &outcome["skipped"]), (&4.into(), &serde_json::json!([])));
    assert_eq!(outcome["accuracy"], fitted["result"]["val_accuracy"]);
    assert_eq!(outcome["note"], serde_json::Value::Null, "they are the run's own");
    // The mistakes of the page are looked for in the same way.
    let page = fs::read_to_string(here.join("head/report.html")).unwrap();
    assert!(!page.contains("cannot be read"));
}

/// One rule for all CSV files: UTF-8, which is all that most readers take; who wants the bytes has JSON.
#[cfg(unix)]
#[test]
fn csv_files_are_text_whatever_images_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 2)]);
    fs::write(here.join("data/train/cold").join(odd(b"bad\xff.png")), b"no").unwrap();
    fs::copy(
        here.join("data/validation/warm/1.png"),
        here.join("data/validation/warm").join(odd(b"\xff,.png")),
    )
    .unwrap();
    let note = "U+FFFD";
    let said = finetune(here, "data", "run");
    assert!(said.contains("run/skipped.csv: 1 path is no UTF-8") && said.contains("path_bytes"), "{said}");
    let read = |file: &str| fs::read_to_string(here.join(file)).unwrap();
    assert!(read("run/skipped.csv").contains("bad\u{fffd}.png,"), "{}", read("run/skipped.csv"));
    for typed in [
        "evaluate run data -o judged.csv",
        "predict run data/validation -o rows.csv",
        "check data -o found.csv --size 32",
    ] {
        let [_, said] = output(here, &typed.split(' ').collect::<Vec<_>>());
        assert!(said.contains(note), "{typed}: {said}");
        assert!(read(typed.split(' ').find(|word| word.ends_with(".csv")).unwrap()).contains('\u{fffd}'));
    }
    let [_, said] = output(here, &["evaluate", "run", "data", "-o", "judged.jsonl"]);
    assert!(!said.contains(note) && read("judged.jsonl").contains("\"path_bytes\":\""), "{said}");
    let found = json(&stdout(vgg_ft(here).args(["check", "data", "--size", "32", "--json"])));
    let bytes = found["findings"][0]["path_bytes"].as_str().unwrap();
    assert!(bytes.ends_with("626164ff2e706e67"), "{found}");
}

/// Of a terminal, of a list, of a table and of a page.
#[cfg(unix)]
#[test]
fn names_stay_in_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 2)]);
    let class = "co\nld\u{202e}gnp";
    for part in ["train", "validation"] {
        fs::rename(here.join("data").join(part).join("cold"), here.join("data").join(part).join(class))
            .unwrap();
    }
    fs::write(here.join("data/train/warm/b\nnote: ad\u{1b}[2J.png"), b"no").unwrap();
    let shown = "co\\nld\\u{202e}gnp";
    let said = finetune(here, "data", "r\nun");
    assert!(said.contains(&format!("2 {shown}")) && said.contains("b\\nnote: ad\\u{1b}[2J.png"), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("note: ad") || line.starts_with("ld")), "{said}");
    let page = fs::read_to_string(here.join("r\nun/report.html")).unwrap();
    assert!(page.contains(shown) && !page.contains('\u{202e}'));
    assert!(page.contains("<title>r\\nun"), "{}", &page[..400]);
    let text = stdout(vgg_ft(here).args(["compare", "r\nun"]));
    assert!(text.lines().count() == 2 && text.contains("r\\nun "), "{text}");
    let text = stdout(vgg_ft(here).args(["evaluate", "r\nun", "data"]));
    assert!(text.contains("co\\nld\\u{202e}"), "{text}");
    let error = fails(vgg_ft(here).args(["evaluate", "r\nun", "no\nsuch"]), 2);
    assert!(error.contains("no\\nsuch") && !error.lines().any(|line| line.starts_with("such")), "{error}");
}

#[test]
fn accents_that_are_written_otherwise_are_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let [nfc, nfd] = ["caf\u{e9}", "cafe\u{301}"];
    for (data, class) in [("data", nfc), ("mac", nfd)] {
        draw(here, &[(data, 2)]);
        fs::rename(here.join(data).join("cold"), here.join(data).join(class)).unwrap();
    }
    // Some systems take the two for one name.
    if here.join("data").join(nfd).exists() {
        eprintln!("skipped: this file system takes both for one name");
        return;
    }
    finetune(here, "data", "run");
    for typed in ["evaluate run mac", "finetune mac --from run -o more --epochs 1"] {
        let error = fails(vgg_ft(here).args(typed.split(' ')), 1);
        assert!(error.contains("may be one name") && error.contains("Unicode NFD"), "{error}");
        assert!(error.contains(&format!("{nfd} (NFD) and {nfc} (NFC)")), "{error}");
    }
    fs::rename(here.join("mac").join(nfd), here.join("data").join(nfd)).unwrap();
    let checked = json(&stdout(vgg_ft(here).args(["check", "data", "--size", "32", "--json"])));
    let notes = checked["notes"].to_string();
    assert!(notes.contains("differ only in how accents are written"), "{notes}");
}

#[test]
fn a_class_of_which_nothing_can_be_read_is_a_problem_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    fs::write(here.join("data/validation/cold/0.png"), b"no").unwrap();
    fs::write(here.join("data/train/cold/0.png"), b"no").unwrap();
    let text = stdout(vgg_ft(here).args(["check", "data", "--size", "32"]));
    for words in [
        "1 image cannot be read, nor can any other of the class in that split: training would be refused",
        "1 image cannot be read and would be skipped",
        "2 problems",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    vgg_ft(here).args(["check", "data", "--size", "32", "--strict"]).assert().code(1);
    let train = |data: &str, more: &[&str]| {
        fails(vgg_ft(here).args(["finetune", data, "-o", "run"]).args(SMALL).args(more), 1)
    };
    let error = train("data", &[]);
    assert!(error.contains("no image of class \"cold\" can be read") && !error.contains("--seed"), "{error}");
    // Of a part that a seed drew another one may help.
    draw(here, &[("parted", 3)]);
    for i in 0..3 {
        fs::write(here.join(format!("parted/cold/{i}.png")), b"no").unwrap();
    }
    let error = train("parted", &["--validation-split", "0.4"]);
    assert!(error.contains("no image of class \"cold\"") && error.contains("another --seed"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_that_are_not_followed_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(here, &[("data", 2), ("more", 2)]);
    std::os::unix::fs::symlink("../../more/warm", here.join("data/warm/more")).unwrap();
    std::os::unix::fs::symlink("../more/cold", here.join("data/linked")).unwrap();
    let said = finetune(here, "data", "run");
    assert!(said.contains("note: train: 1 link to a folder is not followed: warm/more"), "{said}");
    let [rows, said] = output(here, &["predict", "run", "data"]);
    assert!(said.contains("note: 1 link to a folder is not followed: data/warm/more"), "{said}");
    assert_eq!(rows.lines().count(), 6, "the class that is a link is looked into: {rows}");
    let [rows, said] = output(here, &["predict", "run", "data/**/*.png"]);
    assert!(said.contains("note: 2 links to folders are not followed, the first: data/linked"), "{said}");
    assert_eq!(rows.lines().count(), 4, "{rows}");
    let text = stdout(vgg_ft(here).args(["check", "data", "--size", "32"]));
    assert!(text.contains("1 link to a folder is not followed: warm/more"), "{text}");
}

/// Which images are learned from hangs on the images, not on what else runs.
#[cfg(target_os = "linux")]
#[test]
fn without_memory_an_image_is_no_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(here, &[("data", 1)]);
    // 120 million pixels, in a file of some kilobytes: 480 MB with their RGB.
    image::GrayImage::new(12_000, 10_000).save(here.join("data/cold/large.png")).unwrap();
    let program = assert_cmd::cargo::cargo_bin("vgg-ft");
    let check = |limit: &str| {
        let typed = format!("ulimit -v {limit}; exec \"$0\" check data --size 32 --threads 2");
        let output = std::process::Command::new("bash")
            .args(["-c", &typed])
            .arg(&program)
            .current_dir(here)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, text, error) = check("450000");
    assert_eq!((code, text.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("there is no memory to decode") && error.contains("ulimit -v"), "{error}");
    let (code, text, error) = check("unlimited");
    assert!(code == Some(0) && text.contains("no problems"), "{text}{error}");
    // What is too large anywhere says how large it may be, in lists, too.
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pixels/broken/bomb.png"),
        here.join("data/warm/b.png"),
    )
    .unwrap();
    let text = stdout(vgg_ft(here).args(["check", "data", "--size", "32"]));
    assert!(text.contains("too large to be decoded safely: 178956970 pixels at most, got "), "{text}");
}

/// A run that was stopped before it had read its images says nothing of their number.
#[test]
fn what_a_stopped_run_does_not_know_is_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    finetune(here, "data", "run");
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    let (known, unknown) = ("samples = [\n    4,\n    2,\n]", "samples = [\n    0,\n    0,\n]");
    let begun = config
        .split("[result]")
        .next()
        .unwrap()
        .replace(known, unknown)
        .replace("samples = [4, 2]", "samples = [0, 0]");
    assert_ne!(begun, config.split("[result]").next().unwrap());
    fs::create_dir(here.join("begun")).unwrap();
    fs::write(here.join("begun/job.toml"), &begun).unwrap();
    let differs = |runs: &[&str]| {
        json(&stdout(vgg_ft(here).arg("compare").args(runs).arg("--json")))["differs"].clone()
    };
    assert_eq!(differs(&["run", "begun"]), serde_json::json!({}));
    // Between those that know it is one.
    fs::create_dir(here.join("other")).unwrap();
    fs::copy(here.join("run/history.csv"), here.join("other/history.csv")).unwrap();
    let other = config.replace(known, "samples = [5, 2]").replace("samples = [4, 2]", "samples = [5, 2]");
    fs::write(here.join("other/run.toml"), other).unwrap();
    let three = differs(&["run", "begun", "other"]);
    assert_eq!(three, serde_json::json!({ "training.samples": [[4, 2], null, [5, 2]] }));
}

/// A file is the one that comes with the program by its bytes: anybody may give another that name.
#[test]
fn weights_of_the_default_name_are_known_by_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 1)]);
    let file = here.join(vgg_ft::weights::DEFAULT_NAME);
    let mut bytes = fs::read(vgg_ft::weights::find_default().unwrap()).unwrap();
    let extract = |to: &str| {
        let mut command = vgg_ft(here);
        command.env("VGG_FT_WEIGHTS", &file).args(["extract", "data", "-o", to, "--size", "32"]);
        String::from_utf8(command.assert().success().get_output().stderr.clone()).unwrap()
    };
    let note = "note: this file has the name of the one that comes with vgg-ft";
    fs::write(&file, &bytes).unwrap();
    assert!(!extract("features").contains(note));
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let said = extract("others");
    assert!(said.contains(note), "{said}");
}
