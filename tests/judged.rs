//! How a run is judged afterwards, by `evaluate`, `report` and `compare`: figures that agree with each other, and pages
//! that are not lost.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, json, stdout, vgg_ft};
use std::fs;
use std::path::Path;

const SMALL: [&str; 6] = ["--size", "32", "--units", "4", "--epochs", "0"];

/// Stderr of a command that must succeed.
fn stderr(here: &Path, typed: &str) -> String {
    let output = vgg_ft(here).args(typed.split(' ')).assert().success().get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

/// A network that is sure of itself, asked of the opposite: probabilities below any cap. Images are symmetric, so that
/// their mirror images say the same.
#[test]
fn views_that_change_nothing_give_the_same_loss() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4)]);
    let sure =
        ["finetune", "data", "-o", "run", "--size", "32", "--units", "64", "--dropout", "0", "--epochs", "0"];
    stdout(vgg_ft(here).args(sure).args(["--head-rate", "1e-2", "--head-epochs", "20"]));
    for (class, other) in [("cold", "warm"), ("warm", "cold")] {
        let folder = here.join("even").join(other);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..4 {
            let own = image::open(here.join(format!("data/train/{class}/{i}.png"))).unwrap().into_rgb8();
            let mut even = image::imageops::resize(&own, 32, 32, image::imageops::FilterType::Nearest);
            for (x, y) in (0..16).flat_map(|x| (0..32).map(move |y| (x, y))) {
                let pixel = *even.get_pixel(x, y);
                even.put_pixel(31 - x, y, pixel);
            }
            even.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    let loss = |more: &[&str]| {
        let said = json(&stdout(vgg_ft(here).args(["evaluate", "run", "even", "--json"]).args(more)));
        said["loss"].as_f64().unwrap()
    };
    let plain = loss(&[]);
    assert!(plain > 17.0, "{plain}: it is not sure, or nothing is shown here");
    for views in [&["--tta", "flip"][..], &["--tta", "1"]] {
        assert!((loss(views) / plain - 1.0).abs() < 1e-6, "{views:?}: {} and {plain}", loss(views));
    }

    // What decides the figures stands with them.
    let text = stdout(vgg_ft(here).args(["evaluate", "run", "even", "--tta", "flip", "--threshold", "0.25"]));
    for line in ["threshold  warm above 0.25\n", "views      each image and its mirror image\n"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let text = stdout(vgg_ft(here).args(["evaluate", "run", "even", "--tta", "1"]));
    assert!(!text.contains("views") && !text.contains("threshold"), "{text}");
}

/// Where a run was tested on some images, its page is on those.
#[test]
fn a_report_judges_as_many_test_images_as_the_run_did() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3), ("validation", 2), ("test", 4)]);
    stdout(vgg_ft(here).args(["finetune", "data", "-o", "run"]).args(SMALL).args(["--head-epochs", "1"]));
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    let limited = config.replace("[training]\n", "[training]\ntest_images = 3\n");
    fs::write(here.join("job.toml"), limited).unwrap();
    let typed = ["finetune", "--config", "job.toml", "-o", "some", "--json"];
    let trained = json(&stdout(vgg_ft(here).args(typed)));
    assert_eq!(trained["test"]["images"], 3, "{trained}");
    // Not simply the first, which are of one class.
    for class in trained["test"]["confusion"].as_array().unwrap() {
        assert!(class.as_array().unwrap().iter().any(|count| *count != 0), "{trained}");
    }
    let said = json(&stdout(vgg_ft(here).args(["report", "some", "--json"])));
    assert_eq!((&said["split"], &said["images"]), (&"test".into(), &3.into()), "{said}");
    assert_eq!(said["confusion"], trained["test"]["confusion"]);
    assert!((said["loss"].as_f64().unwrap() - trained["test"]["loss"].as_f64().unwrap()).abs() < 1e-9);
    assert!(stderr(here, "report some").contains("3 of 8 test images are judged, as by the run"));
    // A run of before, which called them otherwise.
    let own = here.join("some/run.toml");
    let text = fs::read_to_string(&own).unwrap();
    assert!(text.contains("test_images = 3"), "{text}");
    fs::write(&own, text.replace("test_images", "test_pictures")).unwrap();
    assert!(stderr(here, "report some").contains("3 of 8 test images are judged, as by the run"));
    // Who asks for figures gets those of all.
    let all = json(&stdout(vgg_ft(here).args(["evaluate", "some", "data", "--json"])));
    assert_eq!(all["images"], 8);
    // Of other data the same job tests all.
    draw(&here.join("others"), &[("train", 3), ("validation", 2), ("test", 4)]);
    let typed = ["finetune", "others", "--config", "job.toml", "-o", "elsewhere", "--json"];
    assert_eq!(json(&stdout(vgg_ft(here).args(typed)))["test"]["images"], 8);
}

/// The page of a run's test is not lost to one of another split.
#[test]
fn a_page_of_the_test_stays() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3), ("validation", 2), ("test", 2)]);
    stdout(vgg_ft(here).args(["finetune", "data", "-o", "run"]).args(SMALL).args(["--head-epochs", "1"]));
    let page = || fs::read_to_string(here.join("run/report.html")).unwrap();
    let before = page();
    for typed in
        ["report run --split train", "report run --split validation", "report run data --split train"]
    {
        let error = fails(vgg_ft(here).args(typed.split(' ')), 2);
        for part in ["would lose the predictions", "its split  test", "--force", "-o"] {
            assert!(error.contains(part), "{typed}: {part}: {error}");
        }
        assert_eq!(page(), before, "{typed}");
    }
    stdout(vgg_ft(here).args(["report", "run", "--split", "validation", "-o", "other.html"]));
    assert_eq!(page(), before);
    stdout(vgg_ft(here).args(["report", "run", "--split", "test"]));
    assert!(page().contains("On the test images"));
    fs::rename(here.join("data/test"), here.join("gone")).unwrap();
    let error = fails(vgg_ft(here).args(["report", "run"]), 2);
    assert!(error.contains("would lose the predictions"), "{error}");
    assert!(page().contains("On the test images"));
    stdout(vgg_ft(here).args(["report", "run", "--split", "validation", "--force"]));
    assert!(page().contains("On the validation images"));
}

/// Of a run that was stopped before its test, a page that was made since is of the test, too.
#[test]
fn a_page_of_an_untested_run_is_of_the_test() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3), ("validation", 2), ("test", 2)]);
    stdout(vgg_ft(here).args(["finetune", "data", "-o", "run"]).args(SMALL).args(["--head-epochs", "1"]));
    let file = here.join("run/run.toml");
    let told = fs::read_to_string(&file).unwrap();
    let untested: Vec<&str> = told.lines().filter(|line| !line.starts_with("test_")).collect();
    fs::write(&file, untested.join("\n")).unwrap();
    fs::remove_file(here.join("run/report.html")).unwrap();
    for typed in ["report run", "report run --split test"] {
        stdout(vgg_ft(here).args(typed.split(' ')));
        assert!(fs::read_to_string(here.join("run/report.html")).unwrap().contains("On the test images"));
    }
    let error = fails(vgg_ft(here).args(["report", "run", "--split", "validation"]), 2);
    assert!(error.contains("its split  test"), "{error}");
}

/// Nor is the page of a run that had no test lost to one of images that were put beside since.
#[test]
fn a_page_of_the_validation_stays_where_a_test_came_later() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3), ("validation", 2)]);
    stdout(vgg_ft(here).args(["finetune", "data", "-o", "run"]).args(SMALL).args(["--head-epochs", "1"]));
    draw(&here.join("data"), &[("test", 2)]);
    let page = || fs::read_to_string(here.join("run/report.html")).unwrap();
    let before = page();
    for typed in ["report run", "report run --split test"] {
        let error = fails(vgg_ft(here).args(typed.split(' ')), 2);
        assert!(error.contains("its split  validation"), "{typed}: {error}");
        assert_eq!(page(), before, "{typed}");
    }
    stdout(vgg_ft(here).args(["report", "run", "--split", "validation"]));
    assert!(page().contains("On the validation images"));
}

/// Epochs of some steps: the last step of a pass over 7 images by 3 has one.
#[test]
fn samples_of_short_epochs_are_counted_as_they_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4), ("validation", 2)]);
    fs::remove_file(here.join("data/train/warm/3.png")).unwrap();
    let job = ["finetune", "data", "-o", "run", "--batch", "3", "--steps-per-epoch"];
    for (steps, epochs, samples) in [("3", "2", "<td>7 + 4</td>"), ("2", "3", "<td>4.7 + 4</td>")] {
        stdout(vgg_ft(here).args(job).args([steps, "--force"]).args(SMALL).args(["--head-epochs", epochs]));
        let page = fs::read_to_string(here.join("run/report.html")).unwrap();
        assert!(page.contains(samples), "{steps} steps: {page}");
    }
}

/// One run of many that cannot be read is said, and the others are told of.
#[test]
fn a_damaged_run_is_passed_over_by_compare() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    stdout(vgg_ft(here).args(["finetune", "data", "-o", "run"]).args(SMALL).args(["--head-epochs", "1"]));
    for (name, file) in [("cut", "run.toml"), ("torn", "history.csv")] {
        fs::create_dir(here.join(name)).unwrap();
        for copied in ["run.toml", "history.csv"] {
            fs::copy(here.join("run").join(copied), here.join(name).join(copied)).unwrap();
        }
        fs::write(here.join(name).join(file), "nonsense").unwrap();
    }
    let output = vgg_ft(here).args(["compare", "cut", "run", "torn", "--json"]).assert().success();
    let said = json(&String::from_utf8(output.get_output().stdout.clone()).unwrap());
    assert_eq!(said["runs"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(said["runs"][0]["run"], "run");
    let skipped = said["skipped"].as_array().unwrap();
    assert_eq!(skipped.iter().map(|one| &one["path"]).collect::<Vec<_>>(), ["cut", "torn"], "{said}");
    assert!(skipped[0]["reason"].as_str().unwrap().contains("cut/run.toml"), "{said}");
    let talk = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    for name in ["cut", "torn"] {
        assert!(talk.contains(&format!("note: {name} is passed over: ")), "{talk}");
    }
    assert!(fails(vgg_ft(here).args(["compare", "cut", "torn"]), 1).contains("cut/run.toml"));
}

/// Of two seeds' held-out images figures stand side by side, and are of two sets.
#[test]
fn runs_that_were_validated_with_other_images_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 6)]);
    for (run, seed) in [("one", "1"), ("same", "1"), ("two", "2")] {
        let split = ["--validation-split", "0.5", "--seed", seed, "--head-epochs", "1"];
        stdout(vgg_ft(here).args(["finetune", "data/train", "-o", run]).args(SMALL).args(split));
    }
    let talk = |runs: &[&str]| {
        let output = vgg_ft(here).arg("compare").args(runs).assert().success();
        String::from_utf8(output.get_output().stderr.clone()).unwrap()
    };
    assert!(!talk(&["one", "same"]).contains("other images"));
    let said = talk(&["one", "same", "two"]);
    assert!(said.contains("note: two was validated with other images than one: "), "{said}");
}
