//! A classifier on the means of the channels, as a user types it: trained, gone on with, passed on, read again.

use super::cli::{draw, fails, json, stdout, vgg_ft};
use assert_cmd::Command;
use std::fs;
use std::path::Path;
use vgg_ft::weights::Weights;

const JOB: [&str; 13] = [
    "finetune",
    "data",
    "--size",
    "64",
    "--units",
    "8",
    "--pooling",
    "avg",
    "--head-epochs",
    "2",
    "--epochs",
    "1",
    "--json",
];

fn stderr(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stderr.clone()).unwrap()
}

fn model(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.safetensors")).unwrap()
}

fn shape(file: &Path, name: &str) -> Vec<usize> {
    Weights::open(file).unwrap().shape(name).unwrap().to_vec()
}

#[test]
fn a_classifier_on_means_is_trained_gone_on_with_and_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 12), ("validation", 6)]);
    json(&stdout(vgg_ft(here).args(JOB).args(["-o", "run"])));
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    // The rate of the classifier where nobody gives one.
    assert!(config.contains("rate = 0.0001\n"), "{config}");
    assert!(config.contains("pooling = \"avg\""), "{config}");
    assert_eq!(shape(&here.join("run/model.safetensors"), "dense.kernel"), [512, 8]);
    // Gradients pass the means: what is unfrozen below them has learned.
    let table = json(&stdout(vgg_ft(here).args(["summary", "run", "--json"])));
    let kinds: Vec<_> = table["layers"].as_array().unwrap().iter().map(|row| row["kind"].clone()).collect();
    assert!(
        kinds.contains(&"GlobalAveragePooling2D".into()) && !kinds.contains(&"Flatten".into()),
        "{kinds:?}"
    );
    let base = vgg_ft::weights::find_default().unwrap();
    let kernel = |file: &Path| {
        Weights::open(file).unwrap().tensor("block5_conv1.kernel", &[3, 3, 512, 512]).unwrap().into_owned()
    };
    assert_ne!(kernel(&base), kernel(&here.join("run/model.safetensors")));

    // The same job again, from its own instructions and on one thread.
    let config = ["finetune", "--config", "run/run.toml", "-o", "again", "--threads", "1"];
    stdout(vgg_ft(here).args(config));
    assert!(model(&here.join("again")) == model(&here.join("run")), "the same job gave another network");

    // A job with another classifier does not go on with this one.
    let other = ["finetune", "data", "--size", "64", "--units", "8", "-o", "run", "--resume"];
    let error = fails(vgg_ft(here).args(other).args(["--head-epochs", "2", "--epochs", "1"]), 2);
    assert!(error.contains("pooling = \"avg\"") && error.contains("pooling = \"flatten\""), "{error}");

    // What goes on has the same classifier, and cannot have another.
    let from = ["finetune", "data", "--from", "run", "--head-epochs", "1", "--epochs", "1", "-o", "on"];
    stdout(vgg_ft(here).args(from));
    let config = fs::read_to_string(here.join("on/run.toml")).unwrap();
    assert!(config.contains("rate = 0.0001\n"), "{config}");
    assert_eq!(shape(&here.join("on/model.safetensors"), "dense.kernel"), [512, 8]);
    let error = fails(vgg_ft(here).args(from).args(["--force", "--pooling", "flatten"]), 2);
    assert!(error.contains("--pooling") && error.contains("--from"), "{error}");

    let images = ["data/validation/cold/0.png", "data/validation/warm/0.png"];
    let predicted = |network: &str, more: &[&str]| {
        stdout(vgg_ft(here).args(["predict", network]).args(images).args(["--top", "2", "--json"]).args(more))
    };
    let ours = predicted("run", &[]);
    for file in ["model.keras", "model.h5", "model.onnx"] {
        stdout(vgg_ft(here).args(["export", "run", "-o", file]));
        assert_eq!(predicted(file, &[]), ours, "{file}");
        let lineage = &json(&stdout(vgg_ft(here).args(["weights", "inspect", file, "--json"])))["lineage"];
        assert_eq!(lineage["pooling"], "avg", "{file}: {lineage}");
    }
    // PyTorch's file has tensors alone: 512 rows are taken for means, and that is said.
    let text = stderr(vgg_ft(here).args(["export", "run", "-o", "model.pth"]));
    assert!(text.contains("AdaptiveAvgPool2d(1)") && text.contains("Linear(512, 8)"), "{text}");
    let fed = ["--size", "64", "--preprocess", "caffe"];
    let named = |text: &str| text.replace("\"cold\"", "\"0\"").replace("\"warm\"", "\"1\"");
    assert_eq!(predicted("model.pth", &fed), named(&ours));
    let convert = ["weights", "convert", "model.pth", "converted.safetensors"];
    let said = stderr(vgg_ft(here).args(convert).args(fed));
    assert!(said.contains("taken for the mean of its map"), "{said}");
    let told = Weights::open(&here.join("converted.safetensors")).unwrap();
    assert_eq!(told.metadata().get("pooling"), None, "a guess stays one");

    let flat = fs::read_to_string(here.join("run/run.toml")).unwrap().replace("pooling = \"avg\"\n", "");
    fs::write(here.join("run/run.toml"), flat).unwrap();
    let error = fails(vgg_ft(here).args(["predict", "run"]).args(images), 1);
    assert!(error.contains("are not of one run") && error.contains("pooling"), "{error}");
}

/// The classifier's layers are part of the step that `finetune` runs on features, pooling and dropout too.
#[test]
fn a_step_of_the_classifier_alone_is_planned_whole() {
    let dir = tempfile::tempdir().unwrap();
    let plan = ["bench", "--plan", "--gpu", "h200", "--pooling", "avg", "--units", "0", "--from-features"];
    let text = stdout(vgg_ft(dir.path()).args(plan).args(["--unfreeze-from", "dense"]));
    for kernel in ["global_avgpool2d_forward", "dropout", "dense_forward"] {
        assert!(text.contains(kernel), "{kernel}: {text}");
    }
    // Nothing below the classifier learns.
    assert!(!text.contains("global_avgpool2d_backward"), "{text}");
}

/// A classifier of one layer: trained, passed on to every kind of file, read again.
#[test]
fn a_classifier_may_have_no_hidden_layer() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 12), ("validation", 6)]);
    let images = ["data/validation/cold/0.png", "data/validation/warm/0.png"];
    stdout(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "64"]));
    // By the rates that each has where nobody gives one.
    for (pooling, rows, rate, pool) in [
        (
            "avg",
            512,
            "rate = 0.001\n",
            "torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Dropout(0.2))",
        ),
        ("flatten", 2048, "rate = 0.0001\n", "torch.nn.Dropout(0.2)"),
    ] {
        let fit = ["fit", "features", "-o", pooling, "--epochs", "40", "--units", "0", "--dropout", "0.2"];
        let result = json(&stdout(vgg_ft(here).args(fit).args(["--pooling", pooling, "--json"])));
        assert!(result["result"]["val_accuracy"].as_f64().unwrap() > 0.9, "{pooling}: {result}");
        assert!(fs::read_to_string(here.join(pooling).join("run.toml")).unwrap().contains(rate), "{pooling}");
        assert_eq!(shape(&here.join(pooling).join("model.safetensors"), "dense.kernel"), [rows, 1]);
        let predicted = |network: &str, more: &[&str]| {
            stdout(
                vgg_ft(here)
                    .args(["predict", network])
                    .args(images)
                    .args(["--top", "2", "--json"])
                    .args(more),
            )
        };
        let ours = predicted(pooling, &[]);
        for ending in ["keras", "h5", "onnx"] {
            let file = format!("{pooling}.{ending}");
            stdout(vgg_ft(here).args(["export", pooling, "-o", &file]));
            assert_eq!(predicted(&file, &[]), ours, "{file}");
        }
        let file = format!("{pooling}.pth");
        let text = stderr(vgg_ft(here).args(["export", pooling, "-o", &file]));
        let recipe =
            format!("m.avgpool = {pool}; m.classifier = torch.nn.Sequential(torch.nn.Linear({rows}, 1));");
        assert!(text.contains(&recipe), "{text}");
        let named = |text: &str| text.replace("\"cold\"", "\"0\"").replace("\"warm\"", "\"1\"");
        assert_eq!(predicted(&file, &["--size", "64", "--preprocess", "caffe"]), named(&ours), "{file}");
        stdout(vgg_ft(here).args(["evaluate", pooling, "data"]));
        let on = format!("{pooling}-on");
        stdout(vgg_ft(here).args(["finetune", "data", "--from", pooling, "--epochs", "1", "-o", &on]));
        assert_eq!(shape(&here.join(on).join("model.safetensors"), "dense.kernel"), [rows, 1]);
    }
}

#[test]
fn features_are_pooled_by_the_classifier_that_is_fitted_on_them() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 12), ("validation", 6)]);
    stdout(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "64"]));
    let fit = [
        "fit",
        "features",
        "-o",
        "run",
        "--epochs",
        "8",
        "--units",
        "16",
        "--pooling",
        "avg",
        "--rate",
        "1e-3",
        "--json",
    ];
    let result = json(&stdout(vgg_ft(here).args(fit)));
    // Red against blue is no riddle for VGG's filters, whatever stands on them.
    assert!(result["result"]["val_accuracy"].as_f64().unwrap() > 0.9, "{result}");
    let outcome = json(&stdout(vgg_ft(here).args(["evaluate", "run", "data", "--json"])));
    assert_eq!(outcome["accuracy"], result["result"]["val_accuracy"]);
    let page = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(page.contains("means of the channels, hidden layer of 16"), "the report does not say it");
}
