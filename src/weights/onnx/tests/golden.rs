//! The files of real exporters (`make_onnx.py` says which) and our own: every weight where it belongs.

use super::*;

/// How a file keeps the normalisations that it was made with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Norm {
    None,
    /// In `BatchNormalization`: each tensor as it was given.
    Kept,
    /// As arithmetic.
    Written,
    /// In the convolutions.
    Folded,
}

struct Case {
    file: &'static str,
    dtype: Dtype,
    flatten: Order,
    outputs_first: bool,
    norm: Norm,
}

const LAST: Order = Order::ChannelsLast;
const FIRST: Order = Order::ChannelsFirst;

#[rustfmt::skip]
const CASES: [Case; 15] = [
    Case { file: "keras", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::None },
    Case { file: "keras-norm", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::Written },
    Case { file: "keras-pixels", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::None },
    Case { file: "keras-torch", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::None },
    Case { file: "tf2onnx", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::None },
    Case { file: "tf2onnx-norm", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::Folded },
    Case { file: "tf2onnx-nchw", dtype: Dtype::F32, flatten: LAST, outputs_first: false, norm: Norm::None },
    Case { file: "torch-script", dtype: Dtype::F32, flatten: FIRST, outputs_first: true, norm: Norm::None },
    Case { file: "torch-script-inputs", dtype: Dtype::F32, flatten: FIRST, outputs_first: true, norm: Norm::None },
    Case { file: "torch-script-norm", dtype: Dtype::F32, flatten: FIRST, outputs_first: true, norm: Norm::Kept },
    Case { file: "torch-script-folded", dtype: Dtype::F32, flatten: FIRST, outputs_first: true, norm: Norm::Folded },
    Case { file: "torch-script-f16", dtype: Dtype::F16, flatten: FIRST, outputs_first: true, norm: Norm::None },
    Case { file: "torch-dynamo", dtype: Dtype::F32, flatten: FIRST, outputs_first: true, norm: Norm::None },
    Case { file: "torch-dynamo-norm", dtype: Dtype::F32, flatten: FIRST, outputs_first: true, norm: Norm::Kept },
    Case { file: "torch-dynamo-bf16", dtype: Dtype::BF16, flatten: FIRST, outputs_first: true, norm: Norm::None },
];

#[test]
fn every_exporter_s_weights_come_out_where_they_were_put_in() {
    for case in CASES.iter().chain(&[Case { file: "torch-dynamo-beside", ..CASES[12] }]) {
        let path = golden(&format!("weights/onnx/{}.onnx", case.file));
        let (bytes, contents) = read_file(&path);
        let contents = contents.unwrap();
        assert_sound(&bytes, &contents);
        check(case, &path, &bytes, &contents);
    }
}

fn check(case: &Case, path: &Path, bytes: &[u8], contents: &Contents) {
    let (file, truth) = (case.file, truth("weights/onnx/truth.safetensors"));
    let graph = contents.graph.as_ref().unwrap();
    assert_eq!(graph.flatten, Some(case.flatten), "{file}");
    let dense = GraphOp::Dense { outputs_first: case.outputs_first };
    let ops: Vec<_> = graph.layers.iter().map(|layer| layer.op).collect();
    assert_eq!(ops, [GraphOp::Conv2d, GraphOp::Conv2d, dense, dense], "{file}");
    assert_eq!(graph.pools, [1, 2], "{file}");
    for (layer, name) in graph.layers.iter().zip(["conv1", "conv2", "dense1", "dense2"]) {
        let what = format!("{name} of {file}");
        let flattened = (name == "dense1").then_some((case.flatten, [2, 3, 5]));
        let (shape, kernel) = values(path, bytes, contents, &layer.kernel);
        let kernel = as_keras(layer, &shape, &kernel, flattened);
        let bias = values(path, bytes, contents, layer.bias.as_ref().unwrap()).1;
        let conv = layer.op == GraphOp::Conv2d;
        if conv && case.norm == Norm::Folded {
            // The exporter computes in f32: three roundings of 6e-8 each, and a difference of two biases.
            close(&kernel, &truth[&format!("folded/{name}.kernel")], &what);
            close(&bias, &truth[&format!("folded/{name}.bias")], &what);
        } else {
            equal(case.dtype, &kernel, &truth[&format!("{name}.kernel")], &what);
            equal(case.dtype, &bias, &truth[&format!("{name}.bias")], &what);
        }
        assert_eq!(layer.norm.is_some(), conv && matches!(case.norm, Norm::Kept | Norm::Written), "{what}");
        let Some(norm) = &layer.norm else { continue };
        let names = [&norm.scale, &norm.offset, &norm.mean, &norm.variance];
        let [scale, offset, mean, variance] = names.map(|name| values(path, bytes, contents, name).1);
        if case.norm == Norm::Kept {
            assert_eq!(norm.epsilon, 1e-3, "{what}");
            let read = [&scale, &offset, &mean, &variance];
            for (values, which) in read.into_iter().zip(["scale", "offset", "mean", "variance"]) {
                assert_eq!(values, &truth[&format!("{name}.{which}")], "{which} of {what}");
            }
        }
        // What the convolution and its normalisation do together.
        let factor = |at: usize| scale[at] / (variance[at] + norm.epsilon).sqrt();
        let folded: Vec<f32> = kernel.iter().enumerate().map(|(n, k)| k * factor(n % scale.len())).collect();
        close(&folded, &truth[&format!("folded/{name}.kernel")], &what);
        let folded: Vec<f32> = (0..bias.len()).map(|n| (bias[n] - mean[n]) * factor(n) + offset[n]).collect();
        close(&folded, &truth[&format!("folded/{name}.bias")], &what);
    }
}

fn equal(dtype: Dtype, got: &[f32], expected: &[f32], what: &str) {
    let rounded = |&value: &f32| match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    };
    assert_eq!(got, expected.iter().map(rounded).collect::<Vec<_>>(), "{what}");
}

fn close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (n, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 5e-7 * b.abs().max(1.0), "{a} instead of {b} at {n} of {what}");
    }
}

/// Our own export: kernels of `in x out`, flattened with the channels first.
#[test]
fn our_own_files_are_read_back() {
    for (case, classes) in [("two", 1), ("three", 3)] {
        let truth = truth(&format!("export/{case}.safetensors"));
        for ending in ["onnx", "nchw.onnx", "pixels.onnx"] {
            let path = golden(&format!("export/{case}.{ending}"));
            let (bytes, contents) = read_file(&path);
            let contents = contents.unwrap();
            assert_sound(&bytes, &contents);
            let graph = contents.graph.as_ref().unwrap();
            assert_eq!(graph.flatten, Some(FIRST));
            let names = ["block1_conv1", "block2_conv1", "dense", "dense_1"];
            let kernels: Vec<_> = graph.layers.iter().map(|layer| layer.kernel.clone()).collect();
            assert_eq!(kernels, names.map(|name| format!("{name}.kernel")));
            for (layer, name) in graph.layers.iter().zip(names) {
                let what = format!("{name} of {case}.{ending}");
                let flattened = (name == "dense").then_some((FIRST, [3, 2, 5]));
                let (shape, kernel) = values(&path, &bytes, &contents, &layer.kernel);
                let mut kernel = as_keras(layer, &shape, &kernel, flattened);
                let bias = values(&path, &bytes, &contents, layer.bias.as_ref().unwrap()).1;
                if (case, ending, name) == ("two", "pixels.onnx", "block1_conv1") {
                    // The recipe wants BGR: the file, which takes RGB, has the channels of its kernel turned.
                    kernel = kernel
                        .chunks(4)
                        .collect::<Vec<_>>()
                        .chunks(3)
                        .flat_map(|i| i.iter().rev())
                        .copied()
                        .flatten()
                        .copied()
                        .collect();
                }
                assert_eq!(kernel, truth[&format!("{name}.kernel")], "{what}");
                assert_eq!(bias, truth[&format!("{name}.bias")], "{what}");
            }
            assert_eq!(graph.layers[3].op, GraphOp::Dense { outputs_first: false });
            assert_eq!(values(&path, &bytes, &contents, "dense_1.bias").0, [classes]);
            let preprocessing = contents.metadata.get("preprocessing").map(String::as_str);
            assert_eq!(preprocessing, (ending == "pixels.onnx").then_some("Mul, Add"));
            assert_eq!(contents.metadata["vgg_ft_network"], "tiny");
        }
    }
}

#[test]
fn metadata_says_who_wrote_the_file() {
    let about = |name: &str| read_file(&golden(&format!("weights/onnx/{name}.onnx"))).1.unwrap().metadata;
    let torch = about("torch-script");
    let pairs =
        [("ir_version", "8"), ("opset", "17"), ("producer_name", "pytorch"), ("producer_version", "2.15.0")];
    let pairs = pairs.map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(torch, BTreeMap::from(pairs));
    let keras = about("keras-pixels");
    assert_eq!(keras["producer_name"], "tf2onnx");
    assert_eq!(keras["opset"], "15, ai.onnx.ml 2");
    assert_eq!(keras["preprocessing"], "Mul, Add");
}

/// The tensors of the layers come first and in their order: tf2onnx writes the last first.
#[test]
fn tensors_are_in_the_order_of_the_layers() {
    let (_, contents) = read_file(&golden("weights/onnx/tf2onnx.onnx"));
    let names: Vec<_> = contents.unwrap().tensors.into_iter().take(8).map(|found| found.name).collect();
    assert_eq!(
        names,
        [
            "vgg/conv1/Conv2D/ReadVariableOp:0",
            "vgg/conv1/BiasAdd/ReadVariableOp:0",
            "vgg/conv2/Conv2D/ReadVariableOp:0",
            "vgg/conv2/BiasAdd/ReadVariableOp:0",
            "vgg/dense1/MatMul/ReadVariableOp:0",
            "vgg/dense1/BiasAdd/ReadVariableOp:0",
            "vgg/dense2/MatMul/ReadVariableOp:0",
            "vgg/dense2/BiasAdd/ReadVariableOp:0",
        ]
    );
}

#[test]
fn other_networks_are_named_for_what_they_are() {
    for (file, node, why) in [
        ("not-chain", "`/features/features.6/Add` (Add)", "the way branches"),
        ("not-identity", "`/avgpool/AveragePool` (AveragePool)", "averages over windows of 2x2"),
        ("not-inference", "`/features/features.1/BatchNormalization` (BatchNormalization)", "as in training"),
    ] {
        let (_, contents) = read_file(&golden(&format!("weights/onnx/{file}.onnx")));
        let error = contents.unwrap_err().to_string();
        for part in ["is not a VGG", node, why] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}

/// Keras' global average pooling: a dense layer on five means.
#[test]
fn a_classifier_on_means_is_read() {
    let (_, contents) = read_file(&golden("weights/onnx/keras-means.onnx"));
    let contents = contents.unwrap();
    let graph = contents.graph.unwrap();
    assert!(graph.means);
    assert_eq!(contents.metadata["pooling"], "avg");
    let dense = graph.layers.last().unwrap();
    assert_eq!(dense.op, GraphOp::Dense { outputs_first: false });
    let kernel = contents.tensors.iter().find(|found| found.name == dense.kernel).unwrap();
    assert_eq!(kernel.shape, [5, 3]);
}

/// External data stay in their file; small tensors are in the ONNX file all the same.
#[test]
fn external_data_are_named_and_not_read() {
    let (_, contents) = read_file(&golden("weights/onnx/torch-dynamo-beside.onnx"));
    let contents = contents.unwrap();
    let file = "torch-dynamo-beside.onnx.data".to_owned();
    assert_eq!(contents.tensors[0].name, "features.0.weight");
    assert_eq!(contents.tensors[0].place, Place::Beside { file: file.clone(), bytes: 0..432 });
    assert!(matches!(contents.tensors[1].place, Place::Here(_)));
    assert_eq!(contents.tensors[2].place, Place::Beside { file, bytes: 432..1152 });
}
