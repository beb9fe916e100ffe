//! What options promise, seen from outside: that they change what they are for, and that what stands in a run's files is
//! what was done.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, json, stdout, vgg_ft};
use std::fs;
use std::path::Path;

const SMALL: [&str; 6] = ["--size", "32", "--units", "8", "--epochs", "0"];

fn finetune(here: &Path, run: &str, more: &[&str]) {
    let job = ["finetune", "data", "-o", run, "--head-epochs", "2", "--head-rate", "1e-2"];
    stdout(vgg_ft(here).args(job).args(SMALL).args(more));
}

/// The last line of a run's history.
fn last_epoch(here: &Path, run: &str) -> serde_json::Value {
    let text = fs::read_to_string(here.join(run).join("history.jsonl")).unwrap();
    json(text.lines().last().unwrap())
}

/// A run learns and is validated on images of the size, resizing and scaling that it writes down: `evaluate` reads them
/// there and finds the same figures.
#[test]
fn what_a_run_writes_down_is_how_its_images_were_read() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    // Of 40x36: resizing has something to do.
    draw(&here.join("data"), &[("train", 4), ("validation", 3)]);
    let mut losses = Vec::new();
    for (run, options) in [
        ("nearest", &[][..]),
        ("bilinear", &["--resize", "bilinear"]),
        ("torch", &["--preprocess", "torch"]),
        ("higher", &["--size", "64x32"]),
    ] {
        let small = if run == "higher" { &SMALL[2..] } else { &SMALL[..] };
        let job = ["finetune", "data", "-o", run, "--head-epochs", "2", "--head-rate", "1e-2"];
        stdout(vgg_ft(here).args(job).args(small).args(options));
        let told = last_epoch(here, run)["val_loss"].as_f64().unwrap();
        let asked = ["evaluate", run, "data", "--split", "validation", "--json"];
        let found = json(&stdout(vgg_ft(here).args(asked)))["loss"].as_f64().unwrap();
        // The base runs in batches of another size: sums of f32 in another order.
        assert!((told - found).abs() < 1e-4 * told, "{run}: {told} in training, {found} afterwards");
        assert!(losses.iter().all(|other: &f64| (told - other).abs() > 1e-3 * told), "{run}: {losses:?}");
        losses.push(told);
    }
    // Of the high ones a .pth, which does not know that they are: it answers as the run, told what its export says.
    let output =
        vgg_ft(here).args(["export", "higher", "-o", "high.pth"]).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    let feeding = "--size 64x32 --preprocess caffe --resize nearest";
    assert!(said.contains(feeding), "{said}");
    let rows = |network: &str, more: &str| {
        let typed = ["predict", network, "data/validation", "--all-probabilities", "--format", "jsonl"];
        stdout(vgg_ft(here).args(typed).args(more.split_whitespace()))
    };
    let own = rows("higher", "").replace("\"cold\"", "\"0\"").replace("\"warm\"", "\"1\"");
    assert_eq!(rows("high.pth", feeding), own);
}

/// Nobody would see that an option did nothing.
#[test]
fn options_of_the_classifier_change_what_is_learned() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4)]);
    let model = |run: &str| fs::read(here.join(run).join("model.safetensors")).unwrap();
    finetune(here, "plain", &[]);
    finetune(here, "again", &[]);
    assert!(model("plain") == model("again"), "a run is the same twice, or nothing is shown here");
    for (run, option) in [
        ("dropout", &["--dropout", "0"][..]),
        ("smoothing", &["--label-smoothing", "0.3"]),
        ("seed", &["--seed", "2"]),
        ("batch", &["--batch", "3"]),
        ("rate", &["--rates", "classifier=0.5"]),
        ("steps", &["--steps-per-epoch", "3", "--batch", "2"]),
    ] {
        finetune(here, run, option);
        assert!(model(run) != model("plain"), "{option:?} changed nothing");
    }
    // No smoothing in what is measured afterwards.
    let loss = |run: &str| {
        let said = json(&stdout(vgg_ft(here).args(["evaluate", run, "data", "--split", "train", "--json"])));
        (said["loss"].as_f64().unwrap(), said["scores"].clone())
    };
    let (measured, _) = loss("smoothing");
    let rows = stdout(
        vgg_ft(here)
            .args(["predict", "smoothing", "data/train", "--all-probabilities"])
            .args(["--format", "jsonl"]),
    );
    let mut sum = 0.0;
    for row in rows.lines().map(json) {
        let class = if row["path"].as_str().unwrap().contains("cold") { "cold" } else { "warm" };
        sum -= row["probabilities"][class].as_f64().unwrap().ln();
    }
    let plain = sum / rows.lines().count() as f64;
    // Probabilities are printed with six digits.
    assert!((measured - plain).abs() < 1e-4 * plain, "{measured} measured, {plain} from the probabilities");
}

/// Training and validation features that are the same images, or were made otherwise.
#[test]
fn features_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4), ("validation", 3)]);
    for (folder, size) in [("features", "32"), ("larger", "40")] {
        stdout(vgg_ft(here).args(["extract", "data", "-o", folder, "--size", size]));
    }
    let place = |folder: &str, split: &str| here.join(folder).join(format!("{split}.safetensors"));
    let fit = ["fit", "features", "-o", "head", "--epochs", "1", "--units", "4"];
    let own = fs::read(place("features", "validation")).unwrap();
    for (folder, split) in [("features", "train"), ("larger", "validation")] {
        fs::copy(place(folder, split), place("features", "validation")).unwrap();
        let error = fails(vgg_ft(here).args(fit), 1);
        assert!(error.contains("training and validation features do not belong together"), "{error}");
        assert!(error.contains("images that are in both") && !here.join("head/run.toml").exists());
    }
    fs::write(place("features", "validation"), own).unwrap();
    stdout(vgg_ft(here).args(fit));
}

/// `compare` says of each run its best epoch, be it the last or not.
#[test]
fn the_best_epoch_of_a_run_need_not_be_its_last() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4), ("validation", 3)]);
    let job = ["finetune", "data", "-o", "run", "--head-epochs", "3"];
    stdout(vgg_ft(here).args(job).args(SMALL));
    let csv = here.join("run/history.csv");
    let text = fs::read_to_string(&csv).unwrap();
    let head: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let column = head.iter().position(|name| *name == "val_accuracy").unwrap();
    let mut accuracies = ["0.25", "0.75", "0.5"].into_iter();
    let mut lines = vec![head.join(",")];
    for line in text.lines().skip(1) {
        let mut cells: Vec<&str> = line.split(',').collect();
        cells[column] = accuracies.next().unwrap();
        lines.push(cells.join(","));
    }
    fs::write(&csv, lines.join("\n") + "\n").unwrap();
    let said = json(&stdout(vgg_ft(here).args(["compare", "run", "--json"])));
    let run = &said["runs"][0];
    assert_eq!((&run["best_val_accuracy"], &run["best_epoch"]), (&0.75.into(), &2.into()), "{said}");
}

/// A folder in the hands of another process is left to it; what is in it can be asked.
#[test]
fn one_process_writes_a_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4), ("validation", 3)]);
    finetune(here, "run", &[]);
    let small = ["--size", "32", "--units", "4", "--batch", "4", "--steps-per-epoch", "1"];
    let epochs = ["--features-epochs", "1", "--frozen-epochs", "1", "--finetune-epochs", "1"];
    let notebook = |force: bool| {
        let mut args = [&["notebook", "data", "-o", "book"], &small[..], &epochs[..]].concat();
        args.extend(force.then_some("--force"));
        args
    };
    stdout(vgg_ft(here).args(notebook(false)));
    let files = |run: &str| {
        let mut names = crate::cli::names(&here.join(run));
        names.retain(|name| name != ".lock");
        let read = |name: &String| (name.clone(), fs::read(here.join(run).join(name)).unwrap_or_default());
        names.iter().map(read).collect::<Vec<_>>()
    };
    let hold = |run: &str| {
        let held = fs::File::create(here.join(run).join(".lock")).unwrap();
        held.try_lock().unwrap();
        held
    };
    let before = ["run", "book/1-features", "book/2-finetune"].map(files);
    let held = [hold("run"), hold("book/2-finetune")];
    let job = ["finetune", "data", "-o", "run", "--head-epochs", "1", "--force"];
    let error = fails(vgg_ft(here).args(job).args(SMALL), 1);
    assert!(error.contains("another vgg-ft is writing run"), "{error}");
    // Also where the first part is free: it would be begun, and the other's be gone.
    let error = fails(vgg_ft(here).args(notebook(true)), 1);
    assert!(error.contains("another vgg-ft is writing book/2-finetune"), "{error}");
    assert!(before == ["run", "book/1-features", "book/2-finetune"].map(files));
    stdout(vgg_ft(here).args(["evaluate", "run", "data", "--split", "validation"]));
    stdout(vgg_ft(here).args(["predict", "run", "data/validation/warm/0.png"]));
    drop(held);
    stdout(vgg_ft(here).args(notebook(true)));
}

/// Files of one length and date, as they come out of an archive, may have changed places.
#[test]
fn features_are_those_of_their_images_and_not_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pngs"), &[("train", 3)]);
    let date = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30);
    let place = |class: &str, n: usize| here.join(format!("data/train/{class}/{n}.bmp"));
    for class in ["cold", "warm"] {
        fs::create_dir_all(here.join("data/train").join(class)).unwrap();
        for n in 0..3 {
            // Uncompressed: all of one length.
            let png = here.join(format!("pngs/train/{class}/{n}.png"));
            image::open(png).unwrap().into_rgb8().save(place(class, n)).unwrap();
            fs::File::options().write(true).open(place(class, n)).unwrap().set_modified(date).unwrap();
        }
    }
    let extract = |to: &str| {
        stdout(vgg_ft(here).args(["extract", "data", "-o", to, "--size", "32"]));
        fs::read(here.join(to).join("train.safetensors")).unwrap()
    };
    let before = extract("features");
    assert!(extract("features") == before);
    for n in 0..3 {
        fs::rename(place("cold", n), here.join("aside.bmp")).unwrap();
        fs::rename(place("warm", n), place("cold", n)).unwrap();
        fs::rename(here.join("aside.bmp"), place("warm", n)).unwrap();
    }
    let after = extract("features");
    assert!(after == extract("fresh") && after != before, "rows of other images were kept");
}
