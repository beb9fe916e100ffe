//! Every golden file holds the numbers that its script gave it, under the names of its layers; and no damage
//! to any of them does harm.

use super::*;
use crate::weights::contents::Place;
use crate::weights::hdf5::Group;
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

/// A file as Keras 3 lays it out, of one number per tensor.
fn three(paths: &[&str]) -> Vec<u8> {
    let mut root = Group::default();
    for (at, path) in paths.iter().enumerate() {
        let shape: &[usize] = if path.ends_with('0') { &[1, 1] } else { &[1] };
        root.array(path, shape, vec![at as f32].into());
    }
    let mut bytes = Vec::new();
    root.write(&mut bytes).unwrap();
    bytes
}

fn said(bytes: &[u8], config: Option<&Node>) -> Vec<String> {
    let said = read_hdf5(Path::new("x"), bytes, 0..bytes.len(), config).unwrap();
    tensors(Path::new("x"), said.weights).unwrap().into_iter().map(|found| found.name).collect()
}

#[test]
fn groups_are_counted_as_numbers() {
    let keys: Vec<String> =
        (0..12).map(|n| if n == 0 { "conv2d".into() } else { format!("conv2d_{n}") }).collect();
    let paths: Vec<String> = keys.iter().rev().map(|key| format!("layers/{key}/vars/0")).collect();
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.extend(["optimizer/vars/0", "layers/dropout/seed_generator/vars/0"]);
    let expected: Vec<String> = keys.iter().map(|key| format!("{key}.kernel")).collect();
    assert_eq!(said(&three(&paths), None), expected);
}

#[test]
fn names_come_from_the_configuration_by_class_and_number() {
    let layer =
        |class: &str, name: &str| format!(r#"{{"class_name": "{class}", "config": {{"name": "{name}"}}}}"#);
    let model = |class: &str, name: &str, layers: &[String]| {
        let layers = layers.join(",");
        format!(r#"{{"class_name": "{class}", "config": {{"name": "{name}", "layers": [{layers}]}}}}"#)
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| layer("Conv2D", name));
    let base = model("Functional", "base", &[layer("InputLayer", "in"), a, b]);
    let all = model("Sequential", "whole", &[base, layer("Dense", "d"), c, layer("Dense", "e")]);
    let config = Node::parse(&all);
    // Keras 2.13 has counted some layers twice.
    for [first, second] in [["conv2d", "conv2d_1"], ["conv2d", "conv2d_2"], ["conv2d_1", "conv2d_3"]] {
        for layers in ["layers", "_layer_checkpoint_dependencies"] {
            let paths = [
                format!("{layers}/dense_1/vars/0"),
                format!("{layers}/dense/vars/0"),
                format!("{layers}/conv2d/vars/0"),
                format!("{layers}/functional/{layers}/{second}/vars/0"),
                format!("{layers}/functional/{layers}/{first}/vars/0"),
            ];
            let bytes = three(&paths.each_ref().map(String::as_str));
            assert_eq!(
                said(&bytes, config.as_ref()),
                ["a.kernel", "b.kernel", "d.kernel", "c.kernel", "e.kernel"]
            );
            // Without it, two can be called the same, and take the model's name before theirs.
            let alike = if first == "conv2d" { "functional/" } else { "" };
            assert_eq!(said(&bytes, None)[0], format!("{alike}{first}.kernel"));
        }
    }
    // One of two is missing: the number tells which is there.
    let bytes = three(&["layers/functional/layers/conv2d_1/vars/0"]);
    assert_eq!(said(&bytes, config.as_ref()), ["b.kernel"]);
}

#[test]
fn equal_names_take_those_of_their_models() {
    let bytes = three(&[
        "layers/functional/layers/dense/vars/0",
        "layers/functional/layers/dense/vars/1",
        "layers/dense/vars/0",
    ]);
    assert_eq!(said(&bytes, None), ["functional/dense.kernel", "dense.bias", "dense.kernel"]);
}

/// A file by layer name: groups, and in each the paths of its weights.
fn by_name(layers: &[(&str, &[&str])]) -> Vec<u8> {
    let mut root = Group::default();
    root.names("layer_names", layers.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, weights) in layers {
        let group = root.group(name);
        group.names("weight_names", weights.iter().map(|&weight| weight.to_owned()).collect());
        for weight in *weights {
            group.array(weight, &[1], vec![0.5].into());
        }
    }
    let mut bytes = Vec::new();
    root.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn weights_belong_to_the_layers_that_their_paths_name() {
    let said = |layers: &[(&str, &[&str])]| said(&by_name(layers), None);
    // The group is the layer, whatever TensorFlow or the model adds.
    for path in ["dense/kernel:0", "dense_3/kernel_1:0", "sequential/dense/kernel", "kernel:0", "dense_W_1:0"]
    {
        assert_eq!(said(&[("dense", &[path])]), ["dense.kernel"], "{path}");
    }
    // The group is a model.
    let both = ["a/kernel:0", "a/bias:0", "b/kernel:0"];
    assert_eq!(said(&[("base", &both)]), ["a.kernel", "a.bias", "b.kernel"]);
    assert_eq!(said(&[("base", &["a_W_1:0", "a_b_1:0", "b_W_1:0"])]), ["a.kernel", "a.bias", "b.kernel"]);
    assert_eq!(said(&[("base", &["conv/kernel"])]), ["conv.kernel"]);
    // Frozen layers were written last, and batch normalisation has been torn apart.
    let torn = ["bn/gamma:0", "c/kernel:0", "a/kernel:0", "bn/moving_mean:0"];
    assert_eq!(said(&[("base", &torn)]), ["bn.gamma", "bn.moving_mean", "c.kernel", "a.kernel"]);
    let counted = ["conv2d_10/kernel:0", "conv2d_9/kernel:0", "conv2d/kernel:0"];
    assert_eq!(said(&[("base", &counted)]), ["conv2d.kernel", "conv2d_9.kernel", "conv2d_10.kernel"]);
    // Two models with a layer of the same name.
    let twice = said(&[("x", &["a/kernel", "b/kernel"]), ("y", &["a/kernel", "c/kernel"])]);
    assert_eq!(twice, ["x/a.kernel", "b.kernel", "y/a.kernel", "c.kernel"]);
    // A layer with several kernels, in a network that is no VGG.
    let attention = ["attention/query/kernel", "attention/key/kernel"];
    assert_eq!(said(&[("attention", &attention)]), ["query.kernel", "key.kernel"]);
    assert_eq!(said(&[("a", &["a/kernel", "a/kernel_1"])]), ["a.a/kernel", "a.a/kernel_1"]);
}

#[test]
fn what_is_listed_must_be_there_once() {
    let text = |bytes: &[u8]| read(Path::new("x.h5"), bytes).map(|c| c.format).unwrap_err().to_string();
    let mut root = Group::default();
    root.names("layer_names", vec!["dense".into()]);
    let write = |root: &Group<'_>| {
        let mut bytes = Vec::new();
        root.write(&mut bytes).unwrap();
        bytes
    };
    assert!(text(&write(&root)).starts_with("the layer `dense` has no group in x.h5"));
    root.group("dense").text("remark", "");
    assert!(text(&write(&root)).starts_with("the layer `dense` has no `weight_names` in x.h5"));
    root.group("dense").names("weight_names", vec!["a".into()]);
    assert!(text(&write(&root)).starts_with("the layer `dense` has no array `a` in x.h5"));
    let mut root = Group::default();
    root.names("layer_names", vec!["a".into(), "a".into()]);
    root.group("a").names("weight_names", Vec::new());
    assert!(text(&write(&root)).starts_with("the layer `a` is listed twice in x.h5"));
    let mut root = Group::default();
    root.names("layer_names", Vec::new());
    assert!(text(&write(&root)).starts_with("there are no weights in x.h5"));
    let mut root = Group::default();
    root.text("layer_names", "dense");
    root.group("dense").names("weight_names", vec!["kernel".into()]);
    root.group("dense").array("kernel", &[1], vec![1.0].into());
    assert_eq!(said(&write(&root), None), ["dense.kernel"]);
}

#[test]
fn our_own_remarks_are_metadata() {
    let mut root = Group::default();
    root.text("vgg_ft_classes", "cat\nKäfer");
    root.text("other", "x");
    root.names("layer_names", vec!["dense".into()]);
    root.group("dense").names("weight_names", vec!["dense/kernel:0".into()]);
    root.group("dense").array("dense/kernel:0", &[1], vec![1.0].into());
    let mut bytes = Vec::new();
    root.write(&mut bytes).unwrap();
    let contents = read(Path::new("x.h5"), &bytes).unwrap();
    let expected = [("layers", "dense"), ("vgg_ft_classes", "cat\nKäfer")];
    assert_eq!(contents.metadata, expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
}
