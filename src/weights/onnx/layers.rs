//! The nodes that have weights: what they must be set to, and which tensors are theirs.

use super::affine::is_row;
use super::data::{Columns, Data, Flat, Image, NCHW};
use super::message::{Attributes, Node};
use super::names::{Operand, Source};
use super::tensor::shorten;
use super::walk::{Stage, Walk, columns, only};
use crate::error::Result;
use crate::weights::contents::{GraphLayer, GraphNorm, GraphOp, Order};

impl<'a> Walk<'a> {
    /// A convolution that leaves height and width as they are; or one whose window is the image, which is a
    /// dense layer with a kernel of `[out, c, h, w]`, as timm has it.
    pub(super) fn conv(&mut self, node: &'a Node<'a>, attributes: &Attributes<'_>) -> Result<()> {
        let kernel = self.stored(node, 1, "kernel")?;
        let &[filters, channels, height, width] = kernel.found.shape.as_slice() else {
            let why = format!("has a kernel of {} axes, where an image's has 4", kernel.found.shape.len());
            return Err(self.refuse(node, why));
        };
        if !kernel.is_in_order() {
            let why = format!("takes its kernel `{}` with its axes in another order", name_of(&kernel));
            return Err(self.refuse(node, why));
        }
        if attributes.int("group", 1) != 1 {
            return Err(self.refuse(node, "is a convolution in groups"));
        }
        if !only(attributes, "strides", 1) || !only(attributes, "dilations", 1) {
            return Err(self.refuse(node, "is a convolution in steps, or with holes"));
        }
        let (fits, sides) = match &self.data {
            Data::Input(None) => (true, [None, None]),
            Data::Input(Some(shape)) => match shape.as_slice() {
                &[_, c, h, w] => (c.is_none_or(|c| c == channels), [h, w]),
                _ => (false, [None, None]),
            },
            Data::Image(image) => {
                let fits = image.axes == NCHW && image.channels == channels;
                (fits, [image.height, image.width])
            }
            Data::Flat(_) => (false, [None, None]),
        };
        if !fits {
            let why = format!("takes something else than images with {channels} channels first");
            return Err(self.refuse(node, why));
        }
        let whole = sides == [Some(height), Some(width)] && !self.graph.layers.is_empty();
        let op = if whole && is_unpadded(attributes) {
            GraphOp::Dense { outputs_first: true }
        } else if keeps_size(attributes, height, width) {
            GraphOp::Conv2d
        } else {
            let why = format!("is a convolution of {height}x{width} that does not keep the size of images");
            return Err(self.refuse(node, why));
        };
        if op == GraphOp::Conv2d && self.last_is_dense() {
            return Err(self.refuse(node, "is a convolution behind a dense layer"));
        }
        let bias = self.optional(node, 2, "bias", |operand| operand.found.shape == [filters])?;
        let kernel = kernel.found.name.clone();
        self.push(node, GraphLayer { op, kernel, bias, norm: None })?;
        self.data = Data::Image(match op {
            GraphOp::Conv2d => Image::new(filters, sides),
            GraphOp::Dense { .. } => {
                self.graph.flatten.get_or_insert(Order::ChannelsFirst);
                Image::new(filters, [Some(1), Some(1)])
            }
        });
        Ok(())
    }

    /// Whether the last layer is one that normalisation and convolutions may not follow.
    pub(super) fn last_is_dense(&self) -> bool {
        self.graph.layers.last().is_some_and(|layer| layer.op != GraphOp::Conv2d)
    }

    /// `Gemm` can do more than a dense layer does.
    pub(super) fn gemm(&mut self, node: &'a Node<'a>, attributes: &Attributes<'_>) -> Result<()> {
        let file = self.names.file;
        let factors = ["alpha", "beta"].map(|name| attributes.float(file, name, 1.0));
        if attributes.int("transA", 0) != 0 || factors != [1.0; 2] {
            return Err(self.refuse(node, "turns its input, or multiplies by alpha or beta"));
        }
        self.dense(node, attributes.int("transB", 0) != 0)
    }

    /// A matrix product; with `turned` the node takes its kernel as `[out, in]`.
    pub(super) fn dense(&mut self, node: &'a Node<'a>, turned: bool) -> Result<()> {
        let kernel = self.stored(node, 1, "kernel")?;
        let &[first, second] = kernel.found.shape.as_slice() else {
            let why = format!("has a kernel of {} axes, where a matrix has 2", kernel.found.shape.len());
            return Err(self.refuse(node, why));
        };
        let outputs_first = turned != (kernel.axes == [1, 0]);
        let (inputs, outputs) = if outputs_first { (second, first) } else { (first, second) };
        let flat = match &self.data {
            Data::Flat(flat) => flat.clone(),
            Data::Input(None) => Flat { order: None, columns: Columns::Unknown },
            Data::Input(Some(shape)) if shape.len() == 2 => Flat { order: None, columns: columns(shape) },
            Data::Input(_) | Data::Image(_) => {
                return Err(self.refuse(node, "is a dense layer on images that are not flattened"));
            }
        };
        if let Some(why) = flat.columns.misfit(inputs) {
            return Err(self.refuse(node, why));
        }
        let row = |operand: &Operand<'_>| is_row(&operand.found.shape, outputs);
        let bias = self.optional(node, 2, "bias", row)?;
        let kernel = kernel.found.name.clone();
        self.push(node, GraphLayer { op: GraphOp::Dense { outputs_first }, kernel, bias, norm: None })?;
        self.graph.flatten = self.graph.flatten.or(flat.order);
        self.data = Data::Flat(Flat { order: None, columns: Columns::Known(outputs) });
        Ok(())
    }

    /// Batch normalisation with the statistics of the training.
    pub(super) fn norm(&mut self, node: &'a Node<'a>, attributes: &Attributes<'_>) -> Result<()> {
        // Before opset 14 the statistics are outputs of a node that is in training.
        let training = attributes.int("training_mode", 0) != 0
            || node.outputs.iter().skip(1).any(|name| !name.is_empty())
            || attributes.int("spatial", 1) != 1;
        if training {
            let why = "is batch normalisation as in training; export the network for inference";
            return Err(self.refuse(node, why));
        }
        self.settle()?;
        let channels = match &self.data {
            Data::Image(image)
                if image.axes == NCHW && self.stage == Stage::Layer && !self.last_is_dense() =>
            {
                image.channels
            }
            _ => return Err(self.refuse(node, "does not follow a convolution")),
        };
        let name = |n: usize, what: &str| {
            let operand = self.stored(node, n, what)?;
            if operand.found.shape == [channels] {
                return Ok(operand.found.name.clone());
            }
            let shape = &operand.found.shape;
            Err(self.refuse(
                node,
                format!("is set wrongly: its {what} is of {shape:?} where there are {channels} channels"),
            ))
        };
        let (scale, offset) = (name(1, "scale")?, name(2, "offset")?);
        let (mean, variance) = (name(3, "mean")?, name(4, "variance")?);
        let epsilon = attributes.float(self.names.file, "epsilon", 1e-5);
        if let Some(layer) = self.graph.layers.last_mut() {
            layer.norm = Some(GraphNorm { scale, offset, mean, variance, epsilon });
        }
        self.stage = Stage::Waiting;
        Ok(())
    }

    /// The tensor that is operand `n` of `node`.
    fn stored(&self, node: &'a Node<'a>, n: usize, what: &str) -> Result<Operand<'a>> {
        match self.names.source(node, n)? {
            Source::Stored(operand) => Ok(operand),
            Source::Absent => Err(self.refuse(node, format!("has no {what}"))),
            Source::Computed => {
                let name = shorten(node.input(n).unwrap_or_default());
                Err(self.refuse(node, format!("takes a {what}, `{name}`, that is not stored in the file")))
            }
        }
    }

    /// The name of operand `n` of `node`, if it has one; it must be as `fits` wants it.
    fn optional(
        &self,
        node: &'a Node<'a>,
        n: usize,
        what: &str,
        fits: impl Fn(&Operand<'_>) -> bool,
    ) -> Result<Option<String>> {
        if node.input(n).is_none() {
            return Ok(None);
        }
        let operand = self.stored(node, n, what)?;
        if operand.is_in_order() && fits(&operand) {
            return Ok(Some(operand.found.name.clone()));
        }
        let (name, shape) = (name_of(&operand), &operand.found.shape);
        Err(self.refuse(node, format!("has a {what}, `{name}`, of the shape {shape:?}, which does not fit")))
    }
}

/// Whether a window is moved over the image alone.
fn is_unpadded(attributes: &Attributes<'_>) -> bool {
    match attributes.text("auto_pad") {
        "" | "NOTSET" => only(attributes, "pads", 0),
        word => word == "VALID",
    }
}

/// Whether the half of an odd window hangs over on each side, so that images keep their size.
fn keeps_size(attributes: &Attributes<'_>, height: usize, width: usize) -> bool {
    let half = [height / 2, width / 2, height / 2, width / 2].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let padded = match attributes.text("auto_pad") {
        "SAME_UPPER" | "SAME_LOWER" => true,
        "" | "NOTSET" => attributes.ints("pads").is_some_and(|pads| pads == half),
        _ => false,
    };
    height % 2 == 1 && width % 2 == 1 && (padded || (half == [0; 4] && is_unpadded(attributes)))
}

fn name_of(operand: &Operand<'_>) -> String {
    shorten(&operand.found.name)
}
