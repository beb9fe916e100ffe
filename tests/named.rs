//! Options that change nothing and names in which anything may be: what is said of them, and what reaches a terminal.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, stdout, vgg_ft};
use std::fs;
use std::path::Path;

const JOB: [&str; 8] = ["finetune", "data", "--size", "32", "--units", "4", "--head-epochs", "1"];

/// Stderr of a command that must succeed.
fn stderr(here: &Path, typed: &str) -> String {
    let output = vgg_ft(here).args(typed.split(' ')).assert().success().get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn options_of_what_is_left_out_are_said_to_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    let job = JOB.join(" ");
    let said = stderr(here, &format!("{job} -o run --epochs 0 --rate 1e-3 --unfreeze-from block5_conv2"));
    for option in ["--rate", "--unfreeze-from"] {
        let note = format!("note: {option} changes nothing: --epochs 0 leaves its stage out");
        assert!(said.contains(&note), "{note}: {said}");
    }
    assert!(!said.contains("--head-rate"), "{said}");
    // A name that is wrong is wrong all the same.
    for layer in ["nonsense", "block5_pool", "dense"] {
        let error =
            fails(vgg_ft(here).args(JOB).args(["-o", "new", "--epochs", "0", "--unfreeze-from", layer]), 2);
        assert!(error.contains(layer) && error.contains("help: "), "{layer}: {error}");
        assert!(!here.join("new").exists(), "{layer}");
    }
    let said = stderr(
        here,
        "finetune data --from run -o on --epochs 1 --head-rate 1e-2 --unfreeze-from block5_conv3",
    );
    assert!(said.contains("note: --head-rate changes nothing: --from without --head-epochs"), "{said}");
    assert!(!said.contains("--rate changes") && !said.contains("--unfreeze-from changes"), "{said}");
    let image = "data/train/warm/0.png";
    let said = stderr(here, &format!("predict run {image} --tta 1 --augment book --seed 3"));
    for words in ["--seed changes nothing: --tta 1", "augmentation options change nothing: --tta 1"] {
        assert!(said.contains(&format!("note: {words}")), "{words}: {said}");
    }
    let said = stderr(here, "evaluate run data --tta flip --seed 3");
    assert!(said.contains("note: --seed changes nothing: --tta flip draws nothing"), "{said}");
    let said = stderr(here, &format!("predict run {image} --tta 2 --augment book --seed 3"));
    assert!(!said.contains("nothing"), "{said}");
}

/// An image that is in two splits is told of before its features are taken for others.
#[test]
fn an_extraction_tells_of_images_in_two_splits() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 2), ("test", 1)]);
    for split in ["validation", "test"] {
        fs::copy(here.join("data/train/cold/1.png"), here.join(format!("data/{split}/cold/0.png"))).unwrap();
    }
    let said = stderr(here, "extract data -o features --size 32");
    for split in ["validation", "test"] {
        assert!(said.contains(&format!("note: in {split} 1 image is also in train")), "{said}");
    }
}

/// A decay that is no finite number, and the sheet of one.
#[test]
fn words_fit_what_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    let error = fails(vgg_ft(here).args(JOB).args(["-o", "new", "--weight-decay", "1e39"]), 2);
    assert!(error.contains("a finite number from 0 up") && error.contains("help: "), "{error}");
    let sheet =
        ["augment", "preview", "data", "-o", "sheet.png", "--size", "32", "--count", "1", "--draws", "1"];
    let text = stdout(vgg_ft(here).args(sheet));
    assert!(text.contains("1 image, each as it is and 1 time augmented"), "{text}");
}

/// What names tell a terminal to do stands in the text as in a string; csv has their bytes.
#[cfg(unix)]
#[test]
fn a_terminal_obeys_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    for split in ["train", "validation"] {
        let folder = here.join("data").join(split);
        fs::rename(folder.join("warm"), folder.join("warm\u{1b}[2J\nred")).unwrap();
    }
    stdout(vgg_ft(here).args(JOB).args(["--epochs", "0", "-o", "run\u{1b}[7m"]));
    let file = "a\u{1b}]0;x\u{7}\u{9b}.png";
    fs::copy(here.join("data/train/cold/0.png"), here.join(file)).unwrap();
    let run = "run\u{1b}[7m";
    for typed in [
        &["predict", run, file][..],
        &["predict", run, file, "--all-probabilities"],
        &["evaluate", run, "data"],
        &["compare", run],
        &["summary", run],
        &["report", run],
        &["resume", run],
    ] {
        let output = vgg_ft(here).args(typed).assert().success().get_output().clone();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let obeyed = text.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
        assert!(obeyed.is_none(), "{typed:?}: {text:?}");
    }
    let csv = stdout(vgg_ft(here).args(["predict", run, file, "--format", "csv"]));
    assert!(csv.contains(file), "{csv:?}");

    // The names of classes come back from the file of weights alone, whatever is in them.
    let model = format!("{run}/model.safetensors");
    let rows =
        stdout(vgg_ft(here).args(["predict", &model, file, "--format", "jsonl", "--all-probabilities"]));
    let row = crate::cli::json(&rows);
    let classes: Vec<&String> = row["probabilities"].as_object().unwrap().keys().collect();
    assert_eq!(classes, ["cold", "warm\u{1b}[2J\nred"]);
    stdout(vgg_ft(here).args(["weights", "convert", &model, "half.safetensors", "--dtype", "f16"]));
    let rows = stdout(vgg_ft(here).args(["predict", "half.safetensors", file, "--format", "csv"]));
    assert!(rows.contains("\"p_warm\u{1b}[2J\nred\""), "{rows:?}");
    stdout(vgg_ft(here).args(["export", run, "-o", "run.onnx"]));
    let rows = stdout(vgg_ft(here).args(["predict", "run.onnx", file, "--format", "csv"]));
    assert!(rows.contains("\"p_warm\u{1b}[2J\nred\""), "{rows:?}");
}

/// What clap repeats of a command, also where it writes in colour.
#[test]
fn a_terminal_is_told_nothing_by_what_was_typed() {
    let dir = tempfile::tempdir().unwrap();
    for typed in
        [&["pre\u{7}\u{1b}[2Jdict"][..], &["summary", "--units", "\u{7}"], &["summary", "--si\u{9b}2Jze"]]
    {
        for json in [&[][..], &["--json"]] {
            let error = fails(vgg_ft(dir.path()).env("CLICOLOR_FORCE", "1").args(typed).args(json), 2);
            assert!(!error.contains(|c: char| c.is_control() && c != '\n'), "{typed:?}: {error:?}");
            // Nor is it left out: what was typed is to be found again.
            assert!(error.contains("\\u{"), "{typed:?}: {error:?}");
        }
    }
}

/// A sheet shows what can be read, and says what cannot.
#[test]
fn a_sheet_names_what_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2)]);
    let image = |class: &str, name: &str| here.join("data/train").join(class).join(name);
    let sheet =
        ["augment", "preview", "data", "-o", "sheet.png", "--size", "32", "--augment", "book", "--force"];
    let on =
        |count: &str| stdout(vgg_ft(here).args(sheet).args(["--json", "--count", count, "--draws", "1"]));
    fs::write(image("cold", "0.png"), "no image").unwrap();
    // Each of two rows has a class; the first shows the class' second image.
    let said = crate::cli::json(&on("2"));
    assert_eq!(said["images"], 2, "{said}");
    let shown = said["shown"].as_array().unwrap();
    assert!(shown[0].as_str().unwrap().ends_with("cold/1.png"), "{said}");
    let skipped = said["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{said}");
    assert!(skipped[0]["path"].as_str().unwrap().ends_with("cold/0.png"), "{said}");
    assert!(skipped[0]["reason"].as_str().unwrap().contains("cold/0.png"), "{said}");
    // Of each of four rows one image, of which one cannot be read.
    let said = crate::cli::json(&on("4"));
    assert_eq!((&said["images"], said["skipped"].as_array().unwrap().len()), (&3.into(), 1), "{said}");
    for (class, name) in [("cold", "1.png"), ("warm", "0.png"), ("warm", "1.png")] {
        fs::write(image(class, name), "no image").unwrap();
    }
    fs::remove_file(here.join("sheet.png")).unwrap();
    let error = fails(vgg_ft(here).args(sheet), 1);
    assert!(error.contains("none of the images can be read") && error.contains("the last"), "{error}");
    assert!(!here.join("sheet.png").exists());
}
