//! Graphs made with our own writer, node by node.

use crate::proto::Message;

/// A graph under construction: a chain of nodes named `op1`, `op2` …, each of which makes the value of its name.
pub struct Net {
    pub nodes: Vec<Message<'static>>,
    pub tensors: Vec<Message<'static>>,
    pub inputs: Vec<Message<'static>>,
    /// What the next node takes for `*`.
    pub value: String,
}

impl Net {
    /// With one input of the axes `shape`; 0 is one of unknown length.
    pub fn new(shape: &[i64]) -> Self {
        let axes =
            shape.iter().map(|&n| if n == 0 { Message::default() } else { Message::default().int(1, n) });
        let kind = Message::default().int(1, 1).message(2, Message::default().messages(1, axes));
        let input = Message::default().text(1, "in").message(2, Message::default().message(1, kind));
        Self { nodes: vec![], tensors: vec![], inputs: vec![input], value: "in".into() }
    }

    /// Adds an f32 tensor of zeros.
    pub fn tensor(mut self, name: &str, shape: &[i64]) -> Self {
        let size = shape.iter().product::<i64>() as usize;
        let dims = shape.iter().fold(Message::default(), |m, &axis| m.int(1, axis));
        self.tensors.push(dims.int(2, 1).text(8, name).numbers(9, vec![0.0; size].into()));
        self
    }

    /// Adds a node. Inputs are split at spaces.
    pub fn node(mut self, op: &str, inputs: &str, attributes: &[Message<'static>]) -> Self {
        let name = format!("{}{}", op.to_lowercase(), self.nodes.len() + 1);
        let inputs = inputs.split(' ').map(|input| if input == "*" { &self.value } else { input });
        let node = inputs.fold(Message::default(), |m, input| m.text(1, input));
        let node = node.text(2, &name).text(3, &name).text(4, op);
        self.nodes.push(node.messages(5, attributes.iter().cloned()));
        self.value = name;
        self
    }

    /// A convolution of 3x3 with the kernel `name`, and ReLU.
    pub fn conv(self, name: &str, inputs: i64, filters: i64) -> Self {
        let net = self.tensor(name, &[filters, inputs, 3, 3]);
        net.node("Conv", &format!("* {name}"), &[ints("pads", &[1; 4])]).node("Relu", "*", &[])
    }

    /// The file, with the last value as its output.
    pub fn bytes(self) -> Vec<u8> {
        let output = Message::default().text(1, &self.value);
        let graph = Message::default()
            .messages(1, self.nodes)
            .messages(5, self.tensors)
            .messages(11, self.inputs)
            .message(12, output);
        let mut bytes = Vec::new();
        Message::default().int(1, 8).message(7, graph).write(&mut bytes).unwrap();
        bytes
    }
}

/// An attribute of numbers.
pub fn ints(name: &str, values: &[i64]) -> Message<'static> {
    values.iter().fold(Message::default().text(1, name), |m, &value| m.int(8, value)).int(20, 7)
}

/// An attribute of one number.
pub fn int(name: &str, value: i64) -> Message<'static> {
    Message::default().text(1, name).int(3, value).int(20, 2)
}

/// An attribute of a float.
pub fn float(name: &str, value: f32) -> Message<'static> {
    Message::default().text(1, name).float(2, value).int(20, 1)
}

/// An attribute of a word.
pub fn word(name: &str, text: &str) -> Message<'static> {
    Message::default().text(1, name).text(4, text).int(20, 3)
}

/// One convolution with four filters on images of 8x12.
pub fn one() -> Net {
    Net::new(&[1, 3, 8, 12]).conv("k", 3, 4)
}

/// The same, flattened.
pub fn flat() -> Net {
    one().node("Flatten", "*", &[])
}

/// The rows of a dense kernel behind `flat`.
pub const ROWS: i64 = 4 * 8 * 12;

/// What a pooling of VGG is set to.
pub fn pool() -> [Message<'static>; 2] {
    [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]
}
