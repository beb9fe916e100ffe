//! The chapter in one command, in small.

use super::{assert_same, assert_whole, draw, fails, here, history, json, names, succeeds};
use std::fs;
use std::path::Path;

const SMALL: [&str; 16] = [
    "--size",
    "32",
    "--units",
    "8",
    "--batch",
    "4",
    "--features-epochs",
    "2",
    "--frozen-epochs",
    "2",
    "--finetune-epochs",
    "2",
    "--steps-per-epoch",
    "2",
    "--validation-steps",
    "1",
];

fn notebook<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["notebook", "data", "-o", out, "--json"], &SMALL[..], more].concat()
}

fn drawn(here: &Path) {
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3]), ("test", [3, 3])]);
}

#[test]
fn the_chapter_runs_is_skipped_when_done_and_goes_on_when_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    drawn(&here);
    let (text, said) = succeeds(&here, &notebook("runs", &[]));
    assert!(said.contains("1-features features: classifier, 2 epochs, rmsprop 2e-5"), "{said}");
    assert!(said.contains("2-finetune finetune: from block3_conv1 on, 2 epochs, rmsprop 1e-5"), "{said}");
    assert!(said.contains("time       about ") && said.contains("a batch of 4 takes"), "{said}");
    let result = json(&text);
    let parts = result["parts"].as_array().unwrap();
    let column = |name: &str| parts.iter().map(|part| part[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("part"), ["features", "frozen", "finetune"]);
    assert_eq!(column("epochs"), [2, 2, 2]);
    assert!(column("val_accuracy").iter().all(serde_json::Value::is_f64), "{text}");
    assert_eq!(column("test_accuracy").iter().map(|v| v.is_f64()).collect::<Vec<_>>(), [true, false, true]);
    let runs = here.join("runs");
    assert_eq!(names(&runs), ["1-features", "2-finetune"]);
    for run in ["1-features", "2-finetune"] {
        assert_whole(&runs.join(run));
    }
    let toml = fs::read_to_string(runs.join("2-finetune/run.toml")).unwrap();
    for line in
        ["preprocess = \"notebook\"", "dropout = 0.0", "unfreeze_from = \"block3_conv1\"", "rotation = 40.0"]
    {
        assert!(toml.contains(line), "{line}: {toml}");
    }

    // Again: nothing is left to do, and nothing is done.
    let stamp = || fs::metadata(runs.join("2-finetune/model.safetensors")).unwrap().modified().unwrap();
    let before = stamp();
    let (again, said) = succeeds(&here, &notebook("runs", &[]));
    assert!(said.contains("2-finetune is finished") && !said.contains("Epoch"), "{said}");
    assert_eq!((json(&again)["parts"].clone(), stamp()), (result["parts"].clone(), before));
    // A test that was not reached is made good.
    let toml: String = toml
        .lines()
        .filter(|line| !["test_loss", "test_accuracy"].iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(runs.join("2-finetune/run.toml"), toml).unwrap();
    let (again, _) = succeeds(&here, &notebook("runs", &[]));
    assert_eq!(json(&again)["parts"], result["parts"]);
    // Other numbers are another notebook.
    let error = fails(&here, &notebook("runs", &["--seed", "2"]), 2);
    assert!(
        error.contains("1-features holds a run with other settings") && error.contains("seed = 1 there"),
        "{error}"
    );

    #[cfg(unix)]
    {
        let args = notebook("stopped", &[]);
        for (run, epochs) in [("1-features", 1), ("2-finetune", 1), ("2-finetune", 3)] {
            let mut child = super::spawn(&here, &args);
            let csv = here.join("stopped").join(run).join("history.csv");
            super::wait_until(&mut child, || {
                fs::read_to_string(&csv).is_ok_and(|text| text.lines().count() > epochs)
            });
            super::signal(&child, "-INT");
            let output = child.wait_with_output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(130), "{error}");
        }
        let (text, _) = succeeds(&here, &args);
        for run in ["1-features", "2-finetune"] {
            assert_same(&runs.join(run), &here.join("stopped").join(run));
            assert_whole(&here.join("stopped").join(run));
        }
        for (part, other) in json(&text)["parts"].as_array().unwrap().iter().zip(parts) {
            assert_eq!(part["test_loss"], other["test_loss"]);
        }
    }
}

#[test]
fn its_numbers_are_printed_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    drawn(&here);
    let (book, _) = succeeds(&here, &["notebook", "--print-config"]);
    // *Deep Learning with R*, 5.3: images of 150 x 150 in batches of 20, 256 units, dropout 0.5 on features, steps and
    // epochs, rates, and the ranges of the generator.
    let told: toml::Table = book.parse().unwrap();
    let number = |path: &str| {
        let mut parts = path.split('.');
        let first = &told[parts.next().unwrap()];
        parts.fold(first, |value, key| &value[key]).to_string()
    };
    for (path, want) in [
        ("size", "[150, 150]"),
        ("preprocess", "\"notebook\""),
        ("resize", "\"nearest\""),
        ("batch", "20"),
        ("units", "256"),
        ("features_dropout", "0.5"),
        ("finetune_dropout", "0.0"),
        ("test_steps", "50"),
        ("features.epochs", "30"),
        ("features.rate", "2e-5"),
        ("features.steps_per_epoch", "0"),
        ("frozen.epochs", "30"),
        ("frozen.rate", "2e-5"),
        ("frozen.steps_per_epoch", "100"),
        ("frozen.validation_steps", "50"),
        ("finetune.unfreeze_from", "\"block3_conv1\""),
        ("finetune.epochs", "100"),
        ("finetune.rate", "1e-5"),
        ("finetune.steps_per_epoch", "100"),
        ("finetune.validation_steps", "50"),
    ] {
        assert_eq!(
            number(path).replace("0.00002", "2e-5").replace("0.00001", "1e-5"),
            want,
            "{path}: {book}"
        );
    }
    for stage in ["frozen", "finetune"] {
        for (key, want) in [
            ("rotation", "40.0"),
            ("width_shift", "0.2"),
            ("height_shift", "0.2"),
            ("shear", "0.2"),
            ("zoom", "[0.8, 1.2]"),
            ("horizontal_flip", "true"),
            ("vertical_flip", "false"),
            ("fill", "\"nearest\""),
        ] {
            assert_eq!(number(&format!("{stage}.augment.{key}")), want, "{stage}.{key}: {book}");
        }
        assert_eq!(number(&format!("{stage}.optimizer.rule")), "\"rmsprop\"");
    }
    fs::write(here.join("book.toml"), &book).unwrap();
    let (again, _) = succeeds(&here, &["notebook", "--print-config", "--config", "book.toml"]);
    assert_eq!(book, again);
    let some = "size = [32, 32]\nunits = 4\nbatch = 4\n[features]\nepochs = 1\n[frozen]\nepochs = 0\n\
                [finetune]\nepochs = 0\n";
    fs::write(here.join("some.toml"), some).unwrap();
    let (text, _) = succeeds(
        &here,
        &["notebook", "data", "-o", "runs", "--config", "some.toml", "--features-epochs", "2"],
    );
    assert!(text.starts_with("part        epochs  val_acc") && text.contains("features         2"), "{text}");
    assert_eq!(
        (names(&here.join("runs")), history(&here.join("runs/1-features")).len()),
        (vec!["1-features".into()], 2)
    );
    fs::write(here.join("wrong.toml"), "epochs = 3").unwrap();
    let error = fails(&here, &["notebook", "data", "-o", "other", "--config", "wrong.toml"], 2);
    assert!(error.contains("wrong.toml cannot be understood") && error.contains("epochs"), "{error}");
    let error = fails(&here, &["notebook", "data"], 2);
    assert!(error.contains("--output"), "{error}");
}

/// Begun anew, all parts of the former notebook go when the first begins: none may be taken for one of this.
#[cfg(unix)]
#[test]
fn a_notebook_that_is_begun_anew_and_stopped_has_no_part_of_the_former() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    drawn(&here);
    succeeds(&here, &notebook("runs", &[]));
    let runs = here.join("runs");
    let mut child = super::spawn(&here, &notebook("runs", &["--force", "--seed", "2"]));
    super::wait_until(&mut child, || {
        runs.join("1-features/job.toml").exists() && runs.join("1-features/history.csv").exists()
    });
    super::signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(error.contains("the same command without --force goes on from there"), "{error}");
    assert!(!runs.join("2-finetune/run.toml").exists());
    let (text, _) = succeeds(&here, &notebook("runs", &["--seed", "2"]));
    let (whole, _) = succeeds(&here, &notebook("whole", &["--seed", "2"]));
    let parts = |text: &str| {
        let figures = |part: &serde_json::Value| {
            ["part", "epochs", "val_loss", "test_loss"].map(|name| part[name].clone())
        };
        json(text)["parts"].as_array().unwrap().iter().map(figures).collect::<Vec<_>>()
    };
    assert_eq!(parts(&text), parts(&whole));
}
