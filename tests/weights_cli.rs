//! `vgg-ft weights` as it is typed, on the weights that come with the program: any format from any, and what differs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use vgg_ft::model::{Architecture, Head, Pooling, Variant};
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
        assert_eq!(difference["rows"].as_array().unwrap().len(), 26, "{file}");
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
    for row in difference["rows"].as_array().unwrap() {
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
        (&["x.weights.h5", "--format", "keras-h5-weights"], "the name x.weights.h5 does not fit this format"),
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
    let own = vgg_ft::weights::Weights::open(&ours).unwrap();
    let own = own.all().unwrap();
    let own: Vec<_> = own
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    for (file, classes) in [("cd.safetensors", "cats\ndogs"), ("dc.safetensors", "dogs\ncats")] {
        let metadata = BTreeMap::from([("classes".to_owned(), classes.to_owned())]);
        save(&here.join(file), &own, FloatType::F16, &metadata).unwrap();
    }
    run(here, &["diff", "cd.safetensors", "cd.safetensors"], 0);
    let (text, _) = run(here, &["diff", "cd.safetensors", "dc.safetensors"], 1);
    assert!(text.contains("the classes differ: cats, dogs in the first; dogs, cats in the second"), "{text}");
    let found = json(here, &["diff", "cd.safetensors", "dc.safetensors"], 1);
    assert_eq!(found["classes"], serde_json::json!([["cats", "dogs"], ["dogs", "cats"]]));
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

/// VGG11 for images of 32x32 with a classifier of two classes, whose layers are called `dense`.
pub(crate) fn small(path: &Path, dense: [&str; 2], metadata: &[(&str, &str)]) {
    let head = Head { pooling: Pooling::Flatten, units: 8, dropout: 0.0, classes: 2 };
    let architecture = Architecture::vgg(Variant::Vgg11, [32, 32]).unwrap().with_head(head).unwrap();
    let longest = architecture.parameters().iter().map(|spec| spec.shape.len()).max().unwrap();
    let values: Vec<f32> = (0..longest).map(|at| (at % 13) as f32 / 1000.0).collect();
    let tensors: Vec<_> = architecture
        .parameters()
        .iter()
        .map(|spec| {
            let shape = match *spec.shape.axes() {
                [o, h, w, i] => vec![h, w, i, o],
                ref axes => axes.to_vec(),
            };
            let name = spec.name.replace("dense_1.", &format!("{}.", dense[1]));
            let name = name.replace("dense.", &format!("{}.", dense[0]));
            NamedTensor { name, shape, data: &values[..spec.shape.len()] }
        })
        .collect();
    let metadata = metadata.iter().map(|&(key, text)| (key.to_owned(), text.to_owned())).collect();
    save(path, &tensors, FloatType::F32, &metadata).unwrap();
}

/// What a file says of images goes with it, and no more than is true of the new one.
#[test]
fn a_conversion_takes_size_scaling_and_classes_along() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let metadata = |file: &str| {
        let weights = vgg_ft::weights::Weights::open(&here.join(file)).unwrap();
        weights.metadata().clone()
    };
    let said = [("classes", "cats\ndogs"), ("size", "32x32"), ("preprocess", "caffe"), ("author", "me")];
    small(&here.join("run.safetensors"), ["dense", "dense_1"], &said);
    // One shape of an answer, whatever the format.
    let mut keys = Vec::new();
    for (from, to, more) in [
        ("run.safetensors", "a.h5", &[][..]),
        ("a.h5", "b.safetensors", &[]),
        ("b.safetensors", "c.safetensors", &["--format", "torchvision"]),
        ("c.safetensors", "d.safetensors", &["--preprocess", "notebook", "--metadata", "licence=MIT"]),
        ("b.safetensors", "e.onnx", &["--layout", "nchw"]),
        ("e.onnx", "f.safetensors", &["--dtype", "f16"]),
    ] {
        let answer = json(here, &[&["convert", from, to], more].concat(), 0);
        assert_eq!(answer["path"], to);
        assert_eq!(answer["bytes"], std::fs::metadata(here.join(to)).unwrap().len());
        assert_eq!(answer["tensors"], 20, "{to}");
        keys.push(answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
    }
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
    for (file, recipe) in [("b", "caffe"), ("d", "notebook"), ("f", "caffe")] {
        let said = metadata(&format!("{file}.safetensors"));
        let got = ["size", "classes", "preprocess", "format", "layout"].map(|key| said[key].as_str());
        assert_eq!(got, ["32x32", "cats\ndogs", recipe, "keras", "HWIO"], "{file}");
        assert!(!said.keys().any(|key| key.starts_with("vgg_ft_")), "{file}: {said:?}");
    }
    assert_eq!(metadata("c.safetensors")["vgg_ft_input"].split(',').next(), Some("3x32x32"));
    assert_eq!(metadata("d.safetensors")["licence"], "MIT");
    // A safetensors file of ours keeps what is the user's; the scaling is what was typed.
    run(here, &["convert", "run.safetensors", "g.safetensors", "--preprocess", "torch"], 0);
    let said = metadata("g.safetensors");
    assert_eq!((said["author"].as_str(), said["preprocess"].as_str()), ("me", "torch"));
    // One that an export wrote says it in another key as well, which does not stay to contradict.
    let export =
        [("vgg_ft_preprocess", "caffe"), ("vgg_ft_input", "32x32x3, f32; RGB"), ("vgg_ft_torch", "x")];
    small(&here.join("export.safetensors"), ["dense", "dense_1"], &export);
    run(here, &["convert", "export.safetensors", "h.safetensors", "--preprocess", "torch"], 0);
    let said = metadata("h.safetensors");
    assert_eq!((said["size"].as_str(), said["preprocess"].as_str()), ("32x32", "torch"));
    assert!(!said.keys().any(|key| key.starts_with("vgg_ft_")), "{said:?}");
    assert_eq!(json(here, &["inspect", "h.safetensors"], 0)["lineage"]["preprocess"], "torch");

    // A network without names of classes has none, and no question marks.
    small(&here.join("bare.safetensors"), ["dense", "dense_1"], &[("size", "32x32")]);
    run(here, &["convert", "bare.safetensors", "bare.onnx"], 0);
    let said = metadata("bare.onnx");
    assert!(!said.contains_key("vgg_ft_classes") && !said["vgg_ft_output"].contains('?'), "{said:?}");
}

#[test]
fn options_that_the_file_contradicts_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    small(&here.join("sized.safetensors"), ["dense", "dense_1"], &[("size", "32x32")]);
    // Names of another classifier, and no size.
    small(&here.join("bare.safetensors"), ["fc1", "predictions"], &[]);
    let huge = "18446744073709551615x18446744073709551615";
    small(&here.join("huge.safetensors"), ["dense", "dense_1"], &[("size", huge)]);
    let ours = find_default().unwrap().canonicalize().unwrap();
    run(here, &["convert", ours.to_str().unwrap(), "base.pth"], 0);
    for (args, words) in [
        (&["huge.safetensors", "x.onnx"][..], "does not say how large its images are"),
        (&["sized.safetensors", "x.onnx", "--size", "300"], "leave --size out"),
        (&["sized.safetensors", "x.safetensors", "--size", "300"], "leave --size out"),
        (&["bare.safetensors", "x.onnx"], "does not say how large its images are"),
        (&["base.pth", "x.pth", "--size", "64"], "--size means nothing to a .pth of convolutions alone"),
        (&["sized.safetensors", "x.safetensors", "--metadata", "preprocess=torch"], "give --preprocess"),
        (&["sized.safetensors", "x.safetensors", "--metadata", "size=64x64"], "give --size"),
        (&["sized.safetensors", "x.safetensors", "--metadata", "classes=a"], "cannot set `classes`"),
        (&["sized.safetensors", "x.safetensors", "--metadata", "vgg_ft_input=a"], "cannot set"),
    ] {
        let (_, error) = run(here, &[&["convert"], args].concat(), 2);
        assert!(error.contains(words) && error.contains("help: "), "{args:?}: {error}");
        assert!(!here.join(args[1]).exists());
    }
    let means = "taken for the mean of its map";
    let (_, said) = run(here, &["convert", "bare.safetensors", "means.safetensors", "--size", "64"], 0);
    assert!(said.contains(means), "{said}");
    // A guess stays one.
    let lineage = &json(here, &["inspect", "means.safetensors"], 0)["lineage"];
    assert_eq!((&lineage["pooling"], &lineage["guessed_means"]), (&"avg".into(), &true.into()));
    let (_, said) = run(here, &["convert", "bare.safetensors", "x.onnx", "--size", "32"], 0);
    assert!(!said.contains(means), "{said}");
    run(here, &["convert", "bare.safetensors", "x.safetensors", "--size", "32"], 0);
    assert_eq!(json(here, &["inspect", "x.safetensors"], 0)["metadata"]["size"], "32x32");
    run(here, &["diff", "bare.safetensors", "x.onnx"], 0);

    // What is no network has no images.
    let values = [1.0];
    let tensor = NamedTensor { name: "a.kernel".into(), shape: vec![1], data: &values };
    save(&here.join("other.safetensors"), &[tensor], FloatType::F32, &BTreeMap::new()).unwrap();
    run(here, &["convert", "other.safetensors", "y.safetensors"], 0);
    run(here, &["convert", "other.safetensors", "z.safetensors", "--size", "64"], 1);

    // A run is no file, whatever is asked of it.
    std::fs::create_dir(here.join("run")).unwrap();
    std::fs::write(here.join("run/run.toml"), "").unwrap();
    std::fs::copy(here.join("sized.safetensors"), here.join("run/model.safetensors")).unwrap();
    for args in [
        &["convert", "run", "w.h5"][..],
        &["inspect", "run"],
        &["diff", "run", "sized.safetensors"],
        &["diff", "sized.safetensors", "run"],
    ] {
        let (_, error) = run(here, args, 2);
        assert!(error.contains("run is a run, not a file") && error.contains("model.safetensors"), "{error}");
    }
}

/// Files of strangers: long names, names for terminals, values that are none, more than the network.
#[test]
fn what_strangers_put_into_files_is_said_in_short_lines() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let file = |name: &str, tensors: &[(&str, &str, &[u8])]| {
        let mut end = 0;
        let entries = tensors.iter().map(|(name, dtype, data)| {
            let (begin, n) = (end, data.len() / if *dtype == "F64" { 8 } else { 4 });
            end += data.len();
            format!(r#""{name}":{{"dtype":"{dtype}","shape":[{n}],"data_offsets":[{begin},{end}]}}"#)
        });
        let header = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
        let data: Vec<u8> = tensors.iter().flat_map(|(_, _, data)| data.to_vec()).collect();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
        std::fs::write(here.join(name), bytes).unwrap();
    };
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let long = format!("\\u001b[2J{}", "n".repeat(70_000));
    file("a.safetensors", &[(&long, "F32", &floats(&[0.0, 0.0])), ("nan", "F32", &floats(&[f32::NAN, 1.0]))]);
    file("b.safetensors", &[(&long, "F32", &floats(&[0.0, 0.1])), ("nan", "F32", &floats(&[3.0, 1.0]))]);
    let (text, _) = run(here, &["inspect", "a.safetensors"], 0);
    assert!(text.len() < 3000 && !text.contains('\u{1b}') && text.contains('…'), "{text}");
    let inspected = json(here, &["inspect", "a.safetensors"], 0);
    assert_eq!(inspected["rows"][0]["name"].as_str().unwrap().len(), 70_004);
    let (text, said) = run(here, &["diff", "a.safetensors", "b.safetensors"], 1);
    assert!(text.len() < 3000 && !text.contains('\u{1b}') && text.contains('…'), "{text}");
    assert!(text.contains("all zeros in the first") && text.contains("not finite in one"), "{text}");
    assert!(!said.contains('\u{1b}') && !text.contains("inf"), "{said}");
    let rows = json(here, &["diff", "a.safetensors", "b.safetensors"], 1)["rows"].clone();
    // The digits of the f32, and nothing where there is no number.
    assert_eq!((rows[0]["largest"].to_string(), rows[0].get("relative")), ("0.1".into(), None));
    assert_eq!((rows[1].get("largest"), rows[1]["differing"].as_u64()), (None, Some(1)));

    // 64 bits are read as 32, and that is said.
    let double = 0.1f64.to_le_bytes();
    file("f64.safetensors", &[("x.kernel", "F64", &double)]);
    let (_, said) = run(here, &["convert", "f64.safetensors", "f32.safetensors"], 0);
    assert!(said.contains("1 tensor of 64-bit floats rounded to f32"), "{said}");
    let (_, said) = run(here, &["diff", "f64.safetensors", "f32.safetensors"], 0);
    assert!(said.contains("1 tensor of 64-bit floats compared as f32"), "{said}");

    // Beside the network.
    let ours = vgg_ft::weights::Weights::open(&find_default().unwrap()).unwrap();
    let ours = ours.all().unwrap();
    let own =
        ours.iter().map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data });
    let more = [0.5];
    let more = NamedTensor { name: "zeta".into(), shape: vec![1], data: &more };
    let all: Vec<_> = own.chain([more]).collect();
    save(&here.join("more.safetensors"), &all, FloatType::F16, &BTreeMap::new()).unwrap();
    let default = find_default().unwrap().canonicalize().unwrap();
    let difference = json(here, &["diff", "more.safetensors", default.to_str().unwrap()], 0);
    assert_eq!(difference["not_compared"], serde_json::json!([1, 0]));
    let (text, _) = run(here, &["diff", "more.safetensors", default.to_str().unwrap()], 0);
    assert!(text.contains("no part of the network: 1 tensor of the first, 0 of the second"), "{text}");
}

/// A path is bytes, JSON is text.
#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_text_is_inspected() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"w\xff.safetensors"));
    save(&path, &[], FloatType::F32, &BTreeMap::new()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vgg-ft"));
    let output = command.args(["weights", "inspect", "--json"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(said["path"].as_str().unwrap().ends_with("w\u{fffd}.safetensors"), "{said}");
}
