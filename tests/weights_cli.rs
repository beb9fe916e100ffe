//! `vgg-ft weights` as it is typed, on the weights that come with the program: any format from any, and what differs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use vgg_ft::weights::{FloatType, NamedTensor, find_default, save};

fn run(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vgg-ft"));
    command.env("VGG_FT_WEIGHTS", find_default().unwrap()).env("RUST_BACKTRACE", "0").current_dir(dir);
    let output = command.arg("weights").args(args).assert().code(code).get_output().clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn json(dir: &Path, args: &[&str], code: i32) -> Value {
    serde_json::from_str(&run(dir, &[args, &["--json", "--quiet"]].concat(), code).0).unwrap()
}

#[test]
fn the_base_goes_through_every_format_and_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let ours = find_default().unwrap().canonicalize().unwrap();
    let mut from = ours.to_str().unwrap().to_owned();
    // Each is made from the one before, so an error stays.
    for (file, more, format) in [
        ("a.h5", &[][..], "keras-h5"),
        ("b.pth", &[], "torch (zip)"),
        // A .pth does not say that its base is Oxford's; its values do.
        ("c.onnx", &[], "onnx"),
        ("d.weights.h5", &[], "keras-weights"),
        ("e.keras", &[], "keras"),
        ("f.safetensors", &["--format", "torchvision"], "safetensors"),
        ("g.h5", &["--format", "keras-h5-weights", "--keras-version", "3"], "keras-h5-weights"),
        ("h.safetensors", &[], "safetensors"),
    ] {
        let (_, said) = run(here, &[&["convert", &from, file], more].concat(), 0);
        if file != "h.safetensors" {
            assert!(said.contains("224x224, BGR, 0 to 255, minus (103.939"), "{file}: {said}");
        }
        let inspected = json(here, &["inspect", file], 0);
        let lineage = &inspected["lineage"];
        assert_eq!(lineage["format"], format, "{file}");
        assert_eq!(
            (&lineage["network"], &lineage["preprocess"]),
            (&"vgg16".into(), &"caffe".into()),
            "{file}"
        );
        assert_eq!(inspected["rows"].as_array().unwrap().len(), 26, "{file}");
        let difference = json(here, &["diff", ours.to_str().unwrap(), file], 0);
        assert_eq!(difference["same"], true, "{file}");
        assert_eq!(difference["tensors"].as_array().unwrap().len(), 26, "{file}");
        if !from.starts_with('/') {
            std::fs::remove_file(here.join(&from)).unwrap();
        }
        from = file.to_owned();
    }
    // Back to half precision: the numbers of the file that we began with.
    run(here, &["convert", &from, "again.safetensors", "--dtype", "f16"], 0);
    let again = json(here, &["inspect", "again.safetensors"], 0);
    let first = json(here, &["inspect", ours.to_str().unwrap()], 0);
    assert_eq!(again["rows"], first["rows"]);

    // Seven bits fewer: every tensor differs, by what bfloat16 costs.
    run(here, &["convert", &from, "bf16.safetensors", "--dtype", "bf16"], 0);
    let difference = json(here, &["diff", &from, "bf16.safetensors"], 1);
    assert_eq!(difference["same"], false);
    for row in difference["tensors"].as_array().unwrap() {
        let relative = row["relative"].as_f64().unwrap();
        // At most half a last place, 2⁻⁹.
        assert!(relative > 1e-5 && relative <= 0.002, "{row}");
    }
    let (text, _) = run(here, &["diff", &from, "bf16.safetensors"], 1);
    assert!(text.ends_with("not the same\n"), "{text}");
}

#[test]
fn what_a_format_does_not_have_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let ours = find_default().unwrap().canonicalize().unwrap();
    let ours = ours.to_str().unwrap();
    for (arguments, message) in [
        (&["x.onnx", "--keras-version", "3"][..], "--keras-version means nothing to this format"),
        (&["x.h5", "--layout", "nchw"], "--layout means nothing to this format"),
        (&["x.h5", "--dtype", "f16"], "--dtype means nothing to this format"),
        (&["x.pth", "--metadata", "a=b"], "--metadata means nothing to this format"),
        (&["x.safetensors", "--format", "timm"], "timm's VGG has the classifier of ImageNet on top"),
        (&["x.weights.h5", "--format", "keras-h5-weights"], "nobody would read x.weights.h5 as what it is"),
        (&["x.npz"], "x.npz"),
    ] {
        let (_, error) = run(here, &[&["convert", ours], arguments].concat(), 2);
        assert!(error.contains(message) && error.contains("help: "), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(here).unwrap().count(), 0, "nothing is left behind");
    std::fs::copy(ours, here.join("copy.safetensors")).unwrap();
    let (_, error) = run(here, &["convert", "copy.safetensors", "./copy.safetensors", "--force"], 2);
    assert!(error.contains("would be written over itself"), "{error}");
    std::fs::write(here.join("plain.pth"), b"\x80\x04\x95\x10\0\0\0\0\0\0\0}.").unwrap();
    let (_, error) = run(here, &["inspect", "plain.pth"], 1);
    assert!(error.contains("a Python pickle that torch.save did not write"), "{error}");
    std::fs::write(here.join("page.h5"), "<!DOCTYPE html>").unwrap();
    let (_, error) = run(here, &["inspect", "page.h5"], 1);
    assert!(error.contains("page.h5 is a web page or XML"), "{error}");
}

/// A classifier that is not understood is left out of the network, but not out of the comparison; counters are compared
/// too, and what cannot be compared is no difference.
#[test]
fn a_comparison_leaves_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let ours = find_default().unwrap().canonicalize().unwrap();
    run(here, &["convert", ours.to_str().unwrap(), "base.safetensors", "--format", "torchvision"], 0);
    let base = vgg_ft::weights::Weights::open(&here.join("base.safetensors")).unwrap();
    let base = base.all().unwrap();
    let with = |file: &str, lift: f32| {
        let head: Vec<f32> = (0..3 * 25088).map(|i| (i % 7) as f32 + lift).collect();
        // The second layer does not take what the first gives, so that no network has them.
        let more = [
            ("classifier.0.weight", vec![3, 25088], &head[..]),
            ("classifier.0.bias", vec![3], &head[..3]),
            ("classifier.3.weight", vec![2, 5], &head[..10]),
            ("classifier.3.bias", vec![2], &head[..2]),
        ];
        let more = more.into_iter().map(|(name, shape, data)| NamedTensor { name: name.into(), shape, data });
        let all = base.iter().map(|(name, shape, data)| NamedTensor {
            name: name.clone(),
            shape: shape.clone(),
            data,
        });
        save(&here.join(file), &all.chain(more).collect::<Vec<_>>(), FloatType::F32, &BTreeMap::new())
            .unwrap();
    };
    with("one.safetensors", 0.0);
    with("other.safetensors", 0.5);
    let (_, said) = run(here, &["diff", "one.safetensors", "one.safetensors"], 0);
    assert!(said.contains("compared by the names in the files"), "{said}");
    let (text, _) = run(here, &["diff", "one.safetensors", "other.safetensors"], 1);
    assert!(text.contains("classifier.0.weight") && text.ends_with("not the same\n"), "{text}");
    // Whoever rewrites it hears what is lost.
    let (_, said) = run(here, &["convert", "one.safetensors", "ours.safetensors"], 0);
    assert!(said.contains("the classifier is left out"), "{said}");

    // The same numbers mean other things where classes are called otherwise; where a file is silent it is not known.
    for (file, classes) in [("cd.safetensors", "cats\ndogs"), ("dc.safetensors", "dogs\ncats")] {
        run(here, &["convert", ours.to_str().unwrap(), file, "--metadata", &format!("classes={classes}")], 0);
    }
    run(here, &["diff", "cd.safetensors", "cd.safetensors"], 0);
    let (text, _) = run(here, &["diff", "cd.safetensors", "dc.safetensors"], 1);
    assert!(text.contains("the classes are others: cats dogs and dogs cats"), "{text}");
    run(here, &["diff", "cd.safetensors", ours.to_str().unwrap(), "--quiet"], 0);

    let counters = |file: &str, name: &str, count: i64| {
        let header = format!("{{\"{name}\":{{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}}}");
        let header = format!("{header:<72}");
        let bytes = [&72u64.to_le_bytes()[..], header.as_bytes(), &count.to_le_bytes()].concat();
        std::fs::write(here.join(file), bytes).unwrap();
    };
    counters("a.safetensors", "n", 7);
    counters("b.safetensors", "n", 8);
    counters("c.safetensors", "m", 7);
    for (other, code) in [("a", 0), ("b", 1), ("c", 1)] {
        run(here, &["diff", "a.safetensors", &format!("{other}.safetensors")], code);
    }
}
