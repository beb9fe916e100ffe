//! Files made for one question each: whose weight is it, what is it called, in which order?

use super::*;
use crate::weights::hdf5::Group;

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
