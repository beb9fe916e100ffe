//! A job that begins with another run's network: `finetune --from`.

use super::{draw, fails, here, succeeds, tensors};
use std::fs;

/// The book's chapter step by step: features, a classifier on them, then both together. At a rate of nothing the
/// network is the one that it began with, classifier and all.
#[test]
fn a_classifier_that_was_fit_is_trained_on_with_its_base() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3])]);
    succeeds(&here, &["extract", "data", "-o", "features", "--size", "32x48", "--preprocess", "notebook"]);
    let fit = ["fit", "features", "-o", "head", "--epochs", "2", "--units", "4", "--batch", "4"];
    succeeds(&here, &[&fit[..], &["--dropout", "0.25", "--seed", "7"]].concat());
    let on = ["finetune", "data", "--from", "head", "-o", "on", "--batch", "4", "--epochs", "1"];
    let (_, told) = succeeds(&here, &[&on[..], &["--rate", "1e-30"]].concat());
    assert!(told.contains("the classifier begins as it was trained"), "{told}");
    assert!(!told.contains("learned from other images"), "{told}");
    let toml = |run: &str| fs::read_to_string(here.join(run).join("run.toml")).unwrap();
    for line in [
        "size = [32, 48]",
        "preprocess = \"notebook\"",
        "units = 4",
        "dropout = 0.25",
        "seed = 7",
        "trained_classifier = true",
    ] {
        assert!(toml("on").contains(line), "{line}: {}", toml("on"));
    }
    let measured = |run: &str| {
        let toml = toml(run);
        toml.lines().find(|line| line.starts_with("val_loss")).unwrap().to_owned()
    };
    assert_eq!(measured("on"), measured("head"));
    let (began, ended) =
        (tensors(&here.join("head/model.safetensors")), tensors(&here.join("on/model.safetensors")));
    assert!(began.keys().eq(ended.keys()));
    for (name, bits) in &began {
        // What was 0 moves by as little as a step has.
        let far = bits.iter().zip(&ended[name]).find(|(a, b)| {
            let [a, b] = [a, b].map(|bits| f32::from_bits(**bits));
            (a - b).abs() > 1e-25
        });
        assert!(far.is_none(), "{name}: {far:?}");
    }
    // The same job by its file: it begins where this one began.
    succeeds(&here, &["finetune", "--config", "on/run.toml", "-o", "again"]);
    assert_eq!(tensors(&here.join("again/model.safetensors")), ended);
}

/// What the network cannot be trained on with is refused, and what flatters its figures is said.
#[test]
fn other_classes_are_refused_and_other_images_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3])]);
    let run =
        ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--batch", "4", "--epochs", "0"];
    succeeds(&here, &[&run[..], &["--head-epochs", "1"]].concat());
    draw(&here.join("more"), &[("train", [7, 6]), ("validation", [3, 3])]);
    let on = ["finetune", "more", "--from", "run", "--epochs", "1", "-o"];
    let (_, told) = succeeds(&here, &[&on[..], &["on"]].concat());
    assert!(told.contains("run, whose weights this run begins with, learned from other images"), "{told}");

    fs::rename(here.join("more/train/cold"), here.join("more/train/tepid")).unwrap();
    fs::rename(here.join("more/validation/cold"), here.join("more/validation/tepid")).unwrap();
    let error = fails(&here, &[&on[..], &["other"]].concat(), 1);
    assert!(error.contains("cold, warm") && error.contains("tepid, warm"), "{error}");
    assert!(error.contains("`vgg-ft finetune DATA --weights run/model.safetensors"), "{error}");
    assert!(!here.join("other").exists());
    // Its base, at least, fits.
    let base = ["finetune", "more", "--weights", "run/model.safetensors", "-o", "base", "--size", "32"];
    succeeds(&here, &[&base[..], &["--units", "3", "--head-epochs", "1", "--epochs", "0"]].concat());
    let error = fails(&here, &[&on[..], &["other", "--size", "48"]].concat(), 2);
    assert!(error.contains("--size"), "{error}");
}

/// What features were parted by goes with the classifier that was fit on them: what was held out is held out again, also
/// when the features are gone.
#[test]
fn what_was_held_out_of_features_is_held_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("parts"), &[("all", [8, 8]), ("test", [3, 3])]);
    fs::rename(here.join("parts/all"), here.join("data")).unwrap();
    let extract = ["extract", "data", "-o", "features", "--size", "32", "--validation-split", "0.25"];
    succeeds(&here, &[&extract[..], &["--seed", "7"]].concat());
    succeeds(&here, &["fit", "features", "-o", "head", "--epochs", "1", "--units", "4", "--seed", "3"]);
    let (_, told) = succeeds(&here, &["finetune", "data", "--from", "head", "-o", "on", "--epochs", "1"]);
    assert!(!told.contains("learned from other images"), "{told}");
    let toml = |run: &str| -> toml::Table {
        fs::read_to_string(here.join(run).join("run.toml")).unwrap().parse().unwrap()
    };
    assert_eq!(toml("on")["training"]["samples"], toml("head")["training"]["samples"]);
    assert_eq!(toml("on")["training"]["digests"], toml("head")["training"]["digests"]);
    fs::remove_dir_all(here.join("features")).unwrap();
    // (Drawn images are all of one size, so that nothing but this tells them from others.)
    let (text, _) = succeeds(&here, &["evaluate", "head", "data", "--split", "validation", "--json"]);
    let judged = super::json(&text);
    assert_eq!((&judged["split"], &judged["images"]), (&"validation".into(), &4.into()), "{judged}");
    assert_eq!(judged["accuracy"].as_f64(), toml("head")["result"]["val_accuracy"].as_float());
    // The run that it begins with stays.
    for begins in [["data", "--from", "on"], ["data", "--weights", "on/model.safetensors"]] {
        let over = ["--size", "32", "-o", "./on/", "--force"];
        let over = if begins[1] == "--from" { &over[2..] } else { &over[..] };
        let error = fails(&here, &[&["finetune"], &begins[..], over].concat(), 2);
        assert!(error.contains("would be written over"), "{error}");
    }
    let error = fails(&here, &["finetune", "data", "--from", "on/model.safetensors", "-o", "off"], 2);
    assert!(error.contains("is a file, not the folder of a run"), "{error}");
    // Moved, it is named where it is now.
    fs::rename(here.join("head"), here.join("moved")).unwrap();
    let again = ["finetune", "--config", "on/run.toml", "-o", "again"];
    fails(&here, &again, 1);
    succeeds(&here, &[&again[..], &["--weights", "moved/model.safetensors"]].concat());
    assert_eq!(tensors(&here.join("again/model.safetensors")), tensors(&here.join("on/model.safetensors")));
}

/// A classifier on features is tested on those of a test split, as `finetune` tests on its images.
#[test]
fn a_classifier_on_features_is_tested() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3]), ("test", [4, 4])]);
    succeeds(&here, &["extract", "data", "-o", "features", "--size", "32"]);
    let (text, _) =
        succeeds(&here, &["fit", "features", "-o", "head", "--epochs", "1", "--units", "4", "--json"]);
    let fitted = super::json(&text);
    let (text, _) = succeeds(&here, &["evaluate", "head", "data", "--json"]);
    let judged = super::json(&text);
    assert_eq!((&judged["split"], &judged["images"]), (&"test".into(), &8.into()), "{judged}");
    assert_eq!(fitted["test"]["accuracy"], judged["accuracy"]);
    assert_eq!(fitted["result"]["test_accuracy"], judged["accuracy"]);
    let page = fs::read_to_string(here.join("head/report.html")).unwrap();
    assert!(page.contains("On the test"), "the page is on the test split");
    succeeds(&here, &["report", "head"]);
    assert!(fs::read_to_string(here.join("head/report.html")).unwrap().contains("On the test"));
}
