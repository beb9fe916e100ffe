//! `vgg-ft weights` as it is typed, on the weights that come with the program: any format from any, and what differs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use vgg_ft::weights::find_default;

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
