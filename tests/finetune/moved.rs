//! A run whose data lie elsewhere by now, or that was stopped when it was trained.

use super::{draw, fails, here, signal, spawn, succeeds, wait_until};
use std::fs;

/// The same images elsewhere are the run's; others are not, and the run keeps its own.
#[test]
fn a_stopped_run_goes_on_with_data_that_were_moved() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3])]);
    draw(&here.join("others"), &[("train", [5, 6]), ("validation", [3, 3])]);
    let job = |run| {
        let fixed = ["finetune", "data", "-o", run, "--size", "32", "--units", "4", "--batch", "4"];
        // Augmented, so that it runs for some time yet.
        [&fixed[..], &["--head-epochs", "30", "--epochs", "0", "--seed", "3", "--augment", "book"]].concat()
    };
    succeeds(&here, &job("whole"));
    let mut child = spawn(&here, &job("run"));
    let csv = here.join("run/history.csv");
    wait_until(&mut child, || fs::read_to_string(&csv).is_ok_and(|text| text.lines().count() > 2));
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));

    fs::rename(here.join("data"), here.join("moved")).unwrap();
    let lost = fails(&here, &["resume", "run"], 2);
    assert!(lost.contains("data") && lost.contains("`vgg-ft resume run DATA`"), "{lost}");
    fails(&here, &["resume", "run", "others"], 1);
    let told = |name: &str| fs::read_to_string(here.join("run").join(name)).unwrap();
    assert!(
        told("job.toml").contains("data = ") && !told("job.toml").contains("others"),
        "{}",
        told("job.toml")
    );
    fails(&here, &["resume", "run", "nowhere"], 2);
    // Another job's epochs are not to be taken for this one's.
    let own = told("job.toml");
    assert!(own.contains("batch = 4"), "{own}");
    fs::write(here.join("run/job.toml"), own.replace("batch = 4", "batch = 3")).unwrap();
    let error = fails(&here, &["resume", "run", "moved"], 2);
    assert!(error.contains("job.toml was changed since the run began"), "{error}");
    fs::write(here.join("run/job.toml"), own).unwrap();
    // Without a checkpoint nothing tells the one from the other.
    let (kept, aside) = (here.join("run/checkpoint.safetensors"), here.join("aside"));
    fs::rename(&kept, &aside).unwrap();
    let error = fails(&here, &["resume", "run", "others"], 2);
    assert!(error.contains("cannot tell whether these are the images"), "{error}");
    fs::rename(&aside, &kept).unwrap();
    succeeds(&here, &["resume", "run", "moved"]);
    assert!(told("run.toml").contains("/moved\""), "{}", told("run.toml"));
    let weights = |run: &str| fs::read(here.join(run).join("model.safetensors")).unwrap();
    assert!(weights("run") == weights("whole"), "it is the run that was not stopped, to the bit");
}

/// A run is whole when it is trained; what it was stopped before then is made good.
#[test]
fn a_test_that_was_not_reached_is_made_by_resume() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [4, 4]), ("validation", [3, 3]), ("test", [3, 3])]);
    let job =
        ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--batch", "4", "--epochs", "0"];
    succeeds(&here, &[&job[..], &["--head-epochs", "1"]].concat());
    let file = here.join("run/run.toml");
    let whole = fs::read_to_string(&file).unwrap();
    let untested = |line: &&str| !line.starts_with("test_");
    let lines: Vec<&str> = whole.lines().filter(untested).collect();
    assert_eq!(lines.len() + 2, whole.lines().count());
    let forget = || fs::write(&file, lines.join("\n")).unwrap();
    // The seconds of this test are added to those that stood there.
    let parted = |text: &str| {
        let (rest, seconds) = text.rsplit_once("seconds = ").unwrap();
        (rest.to_owned(), seconds.trim().parse::<f64>().unwrap())
    };
    let tested = || {
        let now = fs::read_to_string(&file).unwrap().replace("/moved\"", "/data\"");
        let [(now, later), (then, before)] = [parted(&now), parted(&whole)];
        assert_eq!(now, then);
        assert!(later > before, "{later} after a test more, {before} before");
    };
    forget();
    // Whether there is a report or not.
    let (text, _) = succeeds(&here, &["resume", "run"]);
    assert!(text.contains("is finished") && text.contains("accuracy"), "{text}");
    tested();
    forget();
    // What it could not read is in what it gives to machines.
    let cut = here.join("data/test/warm/cut.png");
    fs::write(&cut, b"").unwrap();
    let said = super::json(&succeeds(&here, &["resume", "run", "--json"]).0);
    assert_eq!(said["test"]["images"], 6, "{said}");
    assert!(said["skipped"][0]["path"].as_str().unwrap().ends_with("test/warm/cut.png"), "{said}");
    fs::remove_file(&cut).unwrap();
    tested();
    forget();
    fs::remove_file(here.join("run/report.html")).unwrap();
    // Classes in another order would be taken for each other.
    for split in ["train", "validation", "test"] {
        fs::rename(here.join("data").join(split).join("cold"), here.join("data").join(split).join("zero"))
            .unwrap();
    }
    let (_, said) = succeeds(&here, &["resume", "run"]);
    assert!(said.contains("cannot be now") && said.contains("other classes than the run"), "{said}");
    assert!(!fs::read_to_string(&file).unwrap().contains("test_"));
    for split in ["train", "validation", "test"] {
        fs::rename(here.join("data").join(split).join("zero"), here.join("data").join(split).join("cold"))
            .unwrap();
    }
    // The same command, its folder written as a shell completes it.
    let mut again = job;
    again[1] = "./data/";
    let (text, _) = succeeds(&here, &[&again[..], &["--head-epochs", "1", "--resume"]].concat());
    assert!(text.contains("is finished") && text.contains("accuracy"), "{text}");
    tested();
    assert!(here.join("run/report.html").exists());
    forget();
    fs::rename(here.join("data"), here.join("moved")).unwrap();
    let (_, said) = succeeds(&here, &["resume", "run"]);
    assert!(said.contains("data is gone") && said.contains("`vgg-ft resume run DATA`"), "{said}");
    draw(&here.join("others"), &[("train", [5, 4]), ("validation", [3, 3]), ("test", [3, 3])]);
    let error = fails(&here, &["resume", "run", "others"], 1);
    assert!(error.contains("other images than run was trained with"), "{error}");
    succeeds(&here, &["resume", "run", "moved"]);
    tested();
    let (_, said) = succeeds(&here, &["resume", "run", "--rate-factor", "0.1"]);
    assert!(said.contains("no rate to change"), "{said}");
}

/// Weights are known by their digest: where they lie is no part of the job, and others are said.
#[test]
fn weights_that_were_moved_are_the_same_and_others_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6])]);
    fs::copy(vgg_ft::weights::find_default().unwrap(), here.join("base.safetensors")).unwrap();
    let job = |weights| {
        let fixed = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--batch", "4"];
        let rest = ["--head-epochs", "30", "--epochs", "0", "--augment", "book", "--weights", weights];
        [&fixed[..], &rest[..]].concat()
    };
    let mut child = spawn(&here, &job("base.safetensors"));
    let csv = here.join("run/history.csv");
    wait_until(&mut child, || csv.exists());
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    fs::rename(here.join("base.safetensors"), here.join("moved.safetensors")).unwrap();
    let error = fails(&here, &["resume", "run"], 2);
    assert!(error.contains("no weights file") && error.contains("--weights FILE"), "{error}");
    let mut child = spawn(&here, &[&job("moved.safetensors")[..], &["--resume"]].concat());
    wait_until(&mut child, || {
        fs::read_to_string(here.join("run/job.toml")).is_ok_and(|job| job.contains("moved.safetensors"))
    });
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    // From now on the folder knows where they are.
    succeeds(&here, &["resume", "run"]);

    let other = "base.safetensors";
    succeeds(&here, &["weights", "convert", "moved.safetensors", other, "--dtype", "bf16"]);
    let toml = fs::read_to_string(here.join("run/run.toml")).unwrap();
    let toml = toml.replace("moved.safetensors", other).replace("epochs = 30", "epochs = 1");
    fs::write(here.join("job.toml"), toml).unwrap();
    let (_, said) = succeeds(&here, &["finetune", "--config", "job.toml", "-o", "again"]);
    assert!(said.contains("not the weights that the job began with"), "{said}");
}
