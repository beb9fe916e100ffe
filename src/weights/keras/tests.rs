//! Golden files, each written by another tool: every number is the one that the script gave to the layer of
//! that name.

use super::*;
use crate::weights::contents::Place;
use half::{bf16, f16};
use safetensors::Dtype;
use std::fs;
use std::path::PathBuf;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights/keras")
}

/// The names of all golden files.
pub(super) fn files() -> Vec<String> {
    let names =
        fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() > 20);
    names
}

pub(super) fn bytes(name: &str) -> Vec<u8> {
    fs::read(golden().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn read_golden(name: &str) -> Result<(Contents, Vec<u8>)> {
    let bytes = bytes(name);
    Ok((read(Path::new(name), &bytes)?, bytes))
}

fn refusal(name: &str) -> String {
    read_golden(name).map(|(contents, _)| contents.format).unwrap_err().to_string()
}

/// The script's `values`.
fn formula(name: &str, at: usize) -> f64 {
    let number: usize = name.bytes().enumerate().map(|(at, byte)| (at + 1) * usize::from(byte)).sum();
    (((at * 37 + number) % 251) as f64 - 125.0) / 64.0
}

fn numbers(found: &Found, file: &[u8]) -> Vec<f64> {
    let bytes = match &found.place {
        Place::Here(range) => &file[range.clone()],
        Place::Decoded(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let width = found.dtype.bitsize() / 8;
    assert_eq!(bytes.len(), width * found.shape.iter().product::<usize>(), "{}", found.name);
    let chunks = bytes.chunks_exact(width);
    match found.dtype {
        Dtype::F16 => chunks.map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        Dtype::BF16 => chunks.map(|b| bf16::from_le_bytes(b.try_into().unwrap()).to_f64()).collect(),
        Dtype::F32 => chunks.map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        Dtype::F64 => chunks.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::I32 => chunks.map(|b| i32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        other => panic!("{other}"),
    }
}

/// Compares with the formula, by `own`, the name that a tensor had in the script.
fn check(contents: &Contents, file: &[u8], own: impl Fn(&str) -> String) {
    for found in &contents.tensors {
        let own = own(&found.name);
        let got = numbers(found, file);
        let wrong = got.iter().enumerate().find(|&(at, &got)| got != formula(&own, at));
        assert_eq!(wrong, None, "{} as {own}", found.name);
    }
}

fn names(contents: &Contents) -> Vec<&str> {
    contents.tensors.iter().map(|found| found.name.as_str()).collect()
}

/// `name.kernel` and `name.bias` of each.
fn pairs(layers: &[&str]) -> Vec<String> {
    layers.iter().flat_map(|layer| [format!("{layer}.kernel"), format!("{layer}.bias")]).collect()
}

const FLAT: [&str; 5] = ["block1_conv1", "block1_conv2", "block2_conv1", "fc1", "predictions"];

#[test]
fn flat_networks_are_read_in_every_layout() {
    for (name, format) in [
        ("tf_flat_weights.h5", FileFormat::KerasH5Weights),
        ("flat_weights.h5", FileFormat::KerasH5Weights),
        ("split_weights.h5", FileFormat::KerasH5Weights),
        ("flat.h5", FileFormat::KerasH5),
        ("flat.weights.h5", FileFormat::Keras3Weights),
        ("flat.keras", FileFormat::Keras),
    ] {
        let (contents, file) = read_golden(name).unwrap();
        assert_eq!(contents.format, format, "{name}");
        assert_eq!(names(&contents), pairs(&FLAT), "{name}");
        check(&contents, &file, str::to_owned);
        assert!(contents.graph.is_none());
        // Nothing is copied.
        assert!(contents.tensors.iter().all(|found| matches!(found.place, Place::Here(_))), "{name}");
        let shapes: Vec<&[usize]> = contents.tensors.iter().map(|found| found.shape.as_slice()).collect();
        assert_eq!(shapes[..4], [&[3, 3, 3, 4][..], &[4], &[3, 3, 4, 4], &[4]], "{name}");
        let version = contents.metadata.get("keras_version").map(String::as_str);
        let expected = match name {
            "tf_flat_weights.h5" => Some("2.21.0"),
            "flat.weights.h5" => None,
            _ => Some("3.15.1"),
        };
        assert_eq!(version, expected, "{name}");
        if format != FileFormat::Keras3Weights {
            let all = "input_1,block1_conv1,block1_conv2,block1_pool,block2_conv1,block2_pool,flatten,fc1,predictions";
            assert_eq!(contents.metadata["layers"], all, "{name}");
        }
    }
}

#[test]
fn nested_networks_are_read_in_every_layout() {
    let head = |base: &[&str]| {
        let mut all = pairs(base);
        all.extend(pairs(&["dense"]));
        let parts = ["gamma", "beta", "moving_mean", "moving_variance"];
        all.extend(parts.map(|part| format!("batch_normalization.{part}")));
        all.extend(pairs(&["dense_1"]));
        all
    };
    let small = ["block1_conv1", "block1_conv2", "block2_conv1"];
    for (name, rescaled) in [
        ("tf_nested_weights.h5", false),
        ("tf_nested.h5", true),
        ("tf_nested.keras", true),
        ("nested_weights.h5", false),
        ("nested.h5", true),
    ] {
        let (contents, file) = read_golden(name).unwrap();
        // The first layer was frozen, and so was written last.
        assert_eq!(names(&contents), head(&small), "{name}");
        check(&contents, &file, str::to_owned);
        let rescaling = contents.metadata.get("rescaling").map(String::as_str);
        assert_eq!(rescaling, rescaled.then_some("0.00784313725490196 -1"), "{name}");
    }
    let vgg16: Vec<String> = [2, 2, 3, 3, 3]
        .iter()
        .zip(1..)
        .flat_map(|(&count, block)| (1..=count).map(move |conv| format!("block{block}_conv{conv}")))
        .collect();
    let vgg16: Vec<&str> = vgg16.iter().map(String::as_str).collect();
    let (contents, file) = read_golden("nested.keras").unwrap();
    assert_eq!(names(&contents), head(&vgg16));
    check(&contents, &file, str::to_owned);
    let layers: Vec<&str> = contents.metadata["layers"].split(',').collect();
    assert_eq!(layers[..4], ["input_layer", "rescaling", "input_1", "block1_conv1"]);
    assert_eq!(
        layers[20..],
        ["block5_pool", "flatten", "dense", "batch_normalization", "dropout", "dense_1"]
    );

    // Without a configuration, the base comes first, then the head by class and number.
    let (contents, file) = read_golden("nested.weights.h5").unwrap();
    check(&contents, &file, str::to_owned);
    let got = names(&contents);
    assert_eq!(got[..26], pairs(&vgg16));
    assert_eq!(
        got[26..],
        head(&["batch_normalization"])[2 + 2..6 + 2]
            .iter()
            .map(String::as_str)
            .chain(["dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"])
            .collect::<Vec<_>>()
    );
}

/// tf_keras' `.weights.h5` does not know what its layers are called.
#[test]
fn layers_without_names_are_called_after_their_groups() {
    let (contents, file) = read_golden("tf_nested.weights.h5").unwrap();
    let own = |name: &str| {
        name.replace("conv2d_1.", "block1_conv2.")
            .replace("conv2d_2.", "block2_conv1.")
            .replace("conv2d.", "block1_conv1.")
    };
    check(&contents, &file, own);
    assert_eq!(names(&contents)[..6], pairs(&["conv2d", "conv2d_1", "conv2d_2"]));
    assert_eq!(contents.tensors.len(), 14);
}

#[test]
fn the_files_of_2016_are_read() {
    let (contents, file) = read_golden("keras1.h5").unwrap();
    assert_eq!(contents.format, FileFormat::KerasH5Weights);
    assert_eq!(names(&contents), pairs(&["block1_conv1", "block1_conv2", "fc1"]));
    check(&contents, &file, str::to_owned);
    assert_eq!(contents.metadata["layers"], "block1_conv1,block1_conv2,block1_pool,flatten,fc1");
    let text = refusal("theano.h5");
    assert!(text.starts_with("the kernels in theano.h5 are in Theano's order of axes"), "{text}");
    assert!(text.contains("[3, 3, 3, 4]") && text.contains("[4, 3, 3, 3]"), "{text}");
}

#[test]
fn numbers_are_read_from_every_kind_of_storage() {
    for name in ["storage.h5", "latest.h5"] {
        let (contents, file) = read_golden(name).unwrap();
        assert_eq!(contents.tensors.len(), 15, "{name}");
        for found in &contents.tensors {
            let layer = found.name.trim_end_matches(".kernel");
            let dtype = match layer {
                "half" | "big_half" => Dtype::F16,
                "brain" => Dtype::BF16,
                "double" | "big_double" => Dtype::F64,
                "integers" => Dtype::I32,
                _ => Dtype::F32,
            };
            assert_eq!(found.dtype, dtype, "{layer}");
            let here = matches!(layer, "plain" | "half" | "brain" | "double" | "integers");
            assert_eq!(matches!(found.place, Place::Here(_)), here, "{layer} of {name}");
            let got = numbers(found, &file);
            let wrong = got.iter().enumerate().find(|&(at, &got)| {
                got != if layer == "integers" { at as f64 - 3.0 } else { formula(&found.name, at) }
            });
            assert_eq!(wrong, None, "{layer} of {name}");
        }
    }
    let (contents, file) = read_golden("bfloat16.weights.h5").unwrap();
    assert_eq!(names(&contents), pairs(&["dense"]));
    assert!(contents.tensors.iter().all(|found| found.dtype == Dtype::BF16));
    check(&contents, &file, str::to_owned);
}

#[test]
fn what_holds_no_weights_is_said_to() {
    for (name, begins, has) in [
        ("foreign.h5", "foreign.h5 is HDF5, but not a file of Keras' weights", "`data`, `labels`"),
        (
            "unwritten.h5",
            "the array `dense/dense/kernel:0` in unwritten.h5 was never written",
            "make it again",
        ),
        ("links.h5", "the groups of links.h5 are too deep", "at most 32"),
        ("links_soft.h5", "the layer `dense` has no array `kernel:0` in links_soft.h5", "damaged"),
    ] {
        let text = refusal(name);
        assert!(text.starts_with(begins) && text.contains(has), "{text}");
    }
}

/// What `vgg-ft export` has written, and Keras 3 and tf_keras have read.
#[test]
fn our_own_exports_are_read_alike() {
    let read_export = |name: &str| {
        let bytes = fs::read(golden().join("../../export").join(name)).unwrap();
        (read(Path::new(name), &bytes).unwrap(), bytes)
    };
    let values = |(contents, file): &(Contents, Vec<u8>)| -> Vec<(String, Vec<f64>)> {
        contents.tensors.iter().map(|found| (found.name.clone(), numbers(found, file))).collect()
    };
    for network in ["two", "three"] {
        let first = read_export(&format!("{network}.h5"));
        assert_eq!(names(&first.0)[..2], ["block1_conv1.kernel", "block1_conv1.bias"]);
        for end in ["keras", "layers.h5", "keras3.h5", "keras3.layers.h5", "pixels.h5", "pixels.keras"] {
            let other = read_export(&format!("{network}.{end}"));
            // Caffe's kernels of colours are turned round to take RGB pixels.
            let same = if (network, end.starts_with("pixels")) == ("two", true) { 1 } else { 0 };
            assert_eq!(values(&other)[same..], values(&first)[same..], "{network}.{end}");
            assert!(other.0.metadata.contains_key("vgg_ft_preprocess"), "{network}.{end}");
            let rescaling = other.0.metadata.get("rescaling").map(String::as_str);
            assert_eq!(rescaling.is_some(), end.starts_with("pixels"), "{network}.{end}: {rescaling:?}");
        }
    }
}
