//! How images are fed to the network in a file: what the file records, what is typed, and what is a guess.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::predict::{shared, stdout, vgg_ft};
use crate::weights_cli::small;
use std::fs;
use std::path::Path;

/// What the command says on stderr, and that it ends with `code`.
fn said(here: &Path, args: &[&str], code: i32) -> String {
    let output = vgg_ft(here).args(args).assert().code(code).get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

/// `path` with every `from` as `to`, which is as long: no place in the file moves.
fn patch(path: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(path).unwrap();
    let mut found = false;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            found = true;
        }
    }
    assert!(found, "{from} is not in {}", path.display());
    fs::write(path, bytes).unwrap();
}

/// A model with a classifier of its own as Keras saves it, without a word of ours: `x.h5` in `here`, and an image.
fn of_keras(here: &Path) -> String {
    small(&here.join("x.safetensors"), ["dense", "dense_1"], &[("size", "32x32")]);
    stdout(vgg_ft(here).args(["weights", "convert", "x.safetensors", "x.h5", "--preprocess", "caffe"]));
    patch(&here.join("x.h5"), "vgg_ft_", "theirs_");
    shared().join("two/validation/cold/0.png").to_str().unwrap().to_owned()
}

#[test]
fn a_model_of_keras_is_asked_at_the_size_of_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let image = of_keras(here);
    let all = said(here, &["predict", "x.h5", &image], 0);
    assert!(all.contains("\ninput      32x32 by nearest, BGR"), "{all}");
    assert!(!all.contains("its one output is linear"), "{all}");
    // What its own classifier was fed is a guess, and stays one in whatever is made of the file.
    let note =
        "note: caffe is how the base was trained; nothing in the file tells what its own classifier was fed";
    assert!(all.contains(note) && all.contains("give --preprocess notebook"), "{all}");
    for (to, more) in [("y.onnx", &[][..]), ("y.safetensors", &[]), ("z.h5", &["--preprocess", "notebook"])] {
        let all = said(here, &[&["weights", "convert", "x.h5", to], more].concat(), 0);
        assert_eq!(all.contains(note), more.is_empty(), "{to}: {all}");
        let all = said(here, &["predict", to, &image], 0);
        assert_eq!(all.contains(note), more.is_empty(), "{to}: {all}");
    }
    let inferred = said(here, &["predict", "y.onnx", &image], 0);
    assert!(
        inferred.contains("since       caffe: the file says so, as inferred when it was converted"),
        "{inferred}"
    );

    // What is typed is what is used, and what is said.
    let all = said(here, &["predict", "x.h5", &image, "--preprocess", "notebook"], 0);
    assert!(!all.contains(note), "{all}");
    for line in [
        "\n  pixels      RGB, 0 to 255, divided by 255\n",
        "\n  since       notebook: --preprocess says so\n",
        "\n  otherwise   caffe: the file has Keras' names\n",
    ] {
        assert!(all.contains(line), "{all}");
    }

    patch(&here.join("x.h5"), r#""sigmoid""#, r#""linear" "#);
    let all = said(here, &["predict", "x.h5", &image], 0);
    assert!(all.contains("note: its one output is linear: it is taken for a logit"), "{all}");
}

#[test]
fn what_a_file_records_is_contradicted_aloud() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let image = shared().join("two/validation/cold/0.png");
    let image = image.to_str().unwrap();
    let records = [("size", "32x32"), ("preprocess", "caffe"), ("resize", "bilinear")];
    small(&here.join("own.safetensors"), ["dense", "dense_1"], &records);
    for (option, typed, note) in [
        ("--size", "40", "note: the file says 32x32; --size 40x40 is used"),
        ("--preprocess", "torch", "note: the file says caffe; --preprocess torch is used"),
        ("--resize", "nearest", "note: the file says bilinear; --resize nearest is used"),
    ] {
        let all = said(here, &["predict", "own.safetensors", image, option, typed], 0);
        assert!(all.contains(note), "{all}");
    }
    let same = ["--size", "32", "--preprocess", "caffe", "--resize", "bilinear"];
    let all = said(here, &[&["predict", "own.safetensors", image], &same[..]].concat(), 0);
    assert!(!all.contains("note: "), "{all}");
    let all = said(here, &["predict", "own.safetensors", image, "--size", "64"], 1);
    assert!(all.contains("help: leave --size out: the file says 32x32"), "{all}");

    for to in ["t.h5", "t.safetensors"] {
        let all = said(here, &["weights", "convert", "own.safetensors", to, "--preprocess", "torch"], 0);
        assert!(all.contains("note: the file says caffe; --preprocess torch is written"), "{all}");
        let all = said(here, &["predict", to, image], 0);
        let since = "since       torch: the file says so, as given with --preprocess when it was converted";
        assert!(all.contains(since), "{to}: {all}");
        assert!(!all.contains("note: "), "{to}: {all}");
    }
}

#[test]
fn a_classifier_that_is_not_begun_with_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    of_keras(here);
    let data = shared().join("two");
    let all = said(
        here,
        &[
            &["finetune", data.to_str().unwrap(), "-o", "run", "--weights", "x.h5", "--network", "vgg11"][..],
            &["--size", "32", "--units", "4", "--head-epochs", "1", "--epochs", "0"],
        ]
        .concat(),
        0,
    );
    assert!(
        all.contains("note: the file's own classifier is left out, and a new one begins at random"),
        "{all}"
    );
}
