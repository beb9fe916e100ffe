//! The graph: layers in, ONNX's messages out. Field numbers are those of `onnx.proto`.

use super::Layout;
use crate::error::Result;
use crate::export::channels_first;
use crate::export::model::{Model, Tensor};
use crate::model::{Layer, Output};
use crate::proto::Message;

/// Opset 13 (2020) has all we use in its present form; IR version 7 came with it.
const OPSET: i64 = 13;
const IR_VERSION: i64 = 7;
/// `TensorProto.DataType.FLOAT`.
const FLOAT: i64 = 1;

/// The whole file as a `ModelProto`.
///
/// # Errors
/// Those of [`channels_first::layers`].
pub fn model<'a>(model: &Model<'a>, layout: Layout) -> Result<Message<'a>> {
    let remarks = model.remarks(layout);
    let doc = format!("input: {}\noutput: {}", model.input(), model.output());
    let properties = remarks.iter().map(|(key, text)| Message::default().text(1, key).text(2, text));
    let graph = graph(model, layout)?;
    Ok(Message::default()
        .int(1, IR_VERSION)
        .text(2, "vgg-ft")
        .text(6, &doc)
        .message(7, graph)
        .message(8, Message::default().text(1, "").int(2, OPSET))
        .messages(14, properties))
}

/// Nodes and initializers, as they are added.
struct Graph<'a> {
    nodes: Vec<Message<'a>>,
    initializers: Vec<Message<'a>>,
    /// The name of the value that the next node takes.
    value: String,
}

fn graph<'a>(model: &Model<'a>, layout: Layout) -> Result<Message<'a>> {
    let architecture = model.architecture();
    let [h, w] = architecture.input.map(|side| side as i64);
    let mut graph = Graph { nodes: Vec::new(), initializers: Vec::new(), value: "input".into() };
    if layout == Layout::Nhwc {
        graph.node("Transpose", "channels_first", &[], [ints("perm", &[0, 3, 1, 2])]);
    }
    if let Some(affine) = model.affine() {
        let steps = [("Mul", "scaled", "scale", affine.scale), ("Add", "shifted", "offset", affine.offset)];
        for (op, node, name, values) in steps {
            graph.initializer(name, Tensor { shape: vec![3, 1, 1], values: values.to_vec().into() });
            graph.node(op, node, &[name], []);
        }
    }
    for layer in channels_first::layers(model)? {
        let name = &layer.placed.name;
        let weights = [format!("{name}.kernel"), format!("{name}.bias")];
        if let Some(tensors) = layer.tensors {
            for (name, tensor) in weights.iter().zip(tensors) {
                graph.initializer(name, tensor);
            }
        }
        let weights = weights.each_ref().map(String::as_str);
        match layer.placed.layer {
            Layer::Conv2d { .. } => {
                let window = [ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4]), ints("strides", &[1, 1])];
                graph.node("Conv", name, &weights, window);
                graph.node("Relu", &format!("{name}_relu"), &[], []);
            }
            Layer::Maxpool2d => {
                let window = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
                graph.node("MaxPool", name, &[], window);
            }
            Layer::Flatten => graph.node("Flatten", name, &[], [int("axis", 1)]),
            // It leaves [n, c, 1, 1].
            Layer::GlobalAvgpool2d => {
                graph.node("GlobalAveragePool", name, &[], []);
                graph.node("Flatten", &format!("{name}_flatten"), &[], [int("axis", 1)]);
            }
            Layer::Dense { relu, .. } => {
                graph.node("Gemm", name, &weights, []);
                if relu {
                    graph.node("Relu", &format!("{name}_relu"), &[], []);
                }
            }
            Layer::Dropout { .. } => {}
        }
    }
    let (output, axes) = match architecture.output() {
        Output::Sigmoid => {
            graph.node("Sigmoid", "probabilities", &[], []);
            ("probabilities", vec![1])
        }
        Output::Softmax(n) => {
            graph.node("Softmax", "probabilities", &[], [int("axis", 1)]);
            ("probabilities", vec![n as i64])
        }
        Output::Features => {
            let last = architecture.shape_before(architecture.layers().len());
            let mut axes: Vec<i64> = last.axes()[1..].iter().map(|&axis| axis as i64).collect();
            match layout {
                Layout::Nhwc => graph.node("Transpose", "features", &[], [ints("perm", &[0, 2, 3, 1])]),
                Layout::Nchw => {
                    axes.rotate_right(1);
                    graph.node("Identity", "features", &[], []);
                }
            }
            ("features", axes)
        }
    };
    let input = match layout {
        Layout::Nhwc => [h, w, 3],
        Layout::Nchw => [3, h, w],
    };
    Ok(Message::default()
        .messages(1, graph.nodes)
        .text(2, &architecture.name)
        .messages(5, graph.initializers)
        .message(11, value("input", &input))
        .message(12, value(output, &axes)))
}

impl<'a> Graph<'a> {
    /// A node that takes the last value and `more`, and whose output bears its name.
    fn node<const N: usize>(&mut self, op: &str, name: &str, more: &[&str], attributes: [Message<'a>; N]) {
        let mut node = Message::default().text(1, &self.value);
        for input in more {
            node = node.text(1, input);
        }
        self.nodes.push(node.text(2, name).text(3, name).text(4, op).messages(5, attributes));
        self.value = name.to_owned();
    }

    fn initializer(&mut self, name: &str, tensor: Tensor<'a>) {
        let shape = tensor.shape.iter().fold(Message::default(), |m, &axis| m.int(1, axis as i64));
        self.initializers.push(shape.int(2, FLOAT).text(8, name).numbers(9, tensor.values));
    }
}

fn int(name: &str, value: i64) -> Message<'static> {
    Message::default().text(1, name).int(3, value).int(20, 2)
}

fn ints(name: &str, values: &[i64]) -> Message<'static> {
    values.iter().fold(Message::default().text(1, name), |m, &value| m.int(8, value)).int(20, 7)
}

/// A `ValueInfoProto`: f32 of `[batch, axes…]`, the batch of any size.
fn value(name: &str, axes: &[i64]) -> Message<'static> {
    let batch = Message::default().text(2, "batch");
    let dimensions = axes.iter().map(|&axis| Message::default().int(1, axis));
    let shape = Message::default().messages(1, std::iter::once(batch).chain(dimensions));
    let tensor = Message::default().int(1, FLOAT).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}
