//! How images are fed to the network in a file: what the file records, what is typed, and what is a guess.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::predict::{shared, vgg_ft};
use crate::weights_cli::small;
use std::path::Path;

/// What the command says on stderr, and that it ends with `code`.
fn said(here: &Path, args: &[&str], code: i32) -> String {
    let output = vgg_ft(here).args(args).assert().code(code).get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

/// A network with a classifier of its own, with what is read of Keras' configurations and no word of ours: `NAME` in
/// `here`. Out: an image.
fn of_keras(here: &Path, name: &str, more: &[(&str, &str)]) -> String {
    small(&here.join(name), ["dense", "dense_1"], &[&[("size", "32x32")], more].concat());
    shared().join("two/validation/cold/0.png").to_str().unwrap().to_owned()
}

#[test]
fn what_its_own_classifier_was_fed_is_a_guess() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let image = of_keras(here, "x.safetensors", &[]);
    let all = said(here, &["predict", "x.safetensors", &image], 0);
    assert!(all.contains("\ninput      32x32 by nearest, BGR"), "{all}");
    assert!(!all.contains("its one output is linear"), "{all}");
    // What its own classifier was fed is a guess, and stays one in whatever is made of the file.
    let note = "note: caffe is how the base was trained, as far as the file tells; nothing tells what its own classifier was fed";
    assert!(all.contains(note) && all.contains("give --preprocess notebook"), "{all}");
    for (to, more) in [("y.onnx", &[][..]), ("y.safetensors", &[]), ("z.h5", &["--preprocess", "notebook"])] {
        let all = said(here, &[&["weights", "convert", "x.safetensors", to], more].concat(), 0);
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
    let all = said(here, &["predict", "x.safetensors", &image, "--preprocess", "notebook"], 0);
    assert!(!all.contains(note), "{all}");
    for line in [
        "\n  pixels      RGB, 0 to 255, divided by 255\n",
        "\n  since       notebook: --preprocess says so\n",
        "\n  otherwise   caffe: the file has Keras' names\n",
    ] {
        assert!(all.contains(line), "{all}");
    }

    of_keras(here, "l.safetensors", &[("linear-output", "one")]);
    let all = said(here, &["predict", "l.safetensors", &image], 0);
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
    of_keras(here, "x.safetensors", &[]);
    let data = shared().join("two");
    let all = said(
        here,
        &[
            &[
                "finetune",
                data.to_str().unwrap(),
                "-o",
                "run",
                "--weights",
                "x.safetensors",
                "--network",
                "vgg11",
            ][..],
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
