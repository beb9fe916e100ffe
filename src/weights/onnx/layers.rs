//! The nodes that have weights: what they must be set to, and which tensors are theirs.

use super::affine::is_row;
use super::data::{Columns, Data, Flat, NCHW, Picture};
use super::message::{Attributes, Node};
use super::names::{Operand, Source};
use super::tensor::shorten;
use super::walk::{Stage, Walk, columns, only};
use crate::error::Result;
use crate::weights::contents::{GraphLayer, GraphNorm, GraphOp};

impl<'a> Walk<'a> {
    /// A convolution that leaves height and width as they are.
    pub(super) fn conv(&mut self, node: &'a Node<'a>, attributes: &Attributes<'_>) -> Result<()> {
        let kernel = self.stored(node, 1, "kernel")?;
        let &[filters, channels, height, width] = kernel.found.shape.as_slice() else {
            let why = format!("has a kernel of {} axes, where a picture's has 4", kernel.found.shape.len());
            return Err(self.refuse(node, why));
        };
        if kernel.axes != [0, 1, 2, 3] {
            let why = format!("takes its kernel `{}` with its axes in another order", name_of(&kernel));
            return Err(self.refuse(node, why));
        }
        if attributes.int("group", 1) != 1 {
            return Err(self.refuse(node, "is a convolution in groups"));
        }
        if !only(attributes, "strides", 1) || !only(attributes, "dilations", 1) {
            return Err(self.refuse(node, "is a convolution in steps, or with holes"));
        }
        // The half of an odd window on each side: pictures keep their size.
        let half =
            [height / 2, width / 2, height / 2, width / 2].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let none = half == [0; 4];
        let padded = match attributes.text("auto_pad") {
            "SAME_UPPER" | "SAME_LOWER" => true,
            "VALID" => none,
            _ => attributes.ints("pads").map_or(none, |pads| pads == half),
        };
        if !padded || height % 2 == 0 || width % 2 == 0 {
            let why = format!("is a convolution of {height}x{width} that does not keep the size of pictures");
            return Err(self.refuse(node, why));
        }
        let (fits, height, width) = match &self.data {
            Data::Input(None) => (true, None, None),
            Data::Input(Some(shape)) => match shape.as_slice() {
                &[_, c, h, w] => (c.is_none_or(|c| c == channels), h, w),
                _ => (false, None, None),
            },
            Data::Picture(picture) if picture.axes == NCHW => {
                (picture.channels == channels, picture.height, picture.width)
            }
            Data::Picture(_) | Data::Flat(_) => (false, None, None),
        };
        if !fits {
            let why = format!("takes something else than pictures with {channels} channels first");
            return Err(self.refuse(node, why));
        }
        let bias = self.optional(node, 2, "bias", |operand| operand.found.shape == [filters])?;
        let kernel = kernel.found.name.clone();
        self.push(node, GraphLayer { op: GraphOp::Conv2d, kernel, bias, norm: None })?;
        self.data = Data::Picture(Picture::new(filters, height, width));
        Ok(())
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
            Data::Input(_) | Data::Picture(_) => {
                return Err(self.refuse(node, "is a dense layer on pictures that are not flattened"));
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
            Data::Picture(picture) if picture.axes == NCHW && self.stage == Stage::Layer => picture.channels,
            _ => return Err(self.refuse(node, "does not follow a convolution")),
        };
        let name = |n: usize, what: &str| {
            let operand = self.stored(node, n, what)?;
            if operand.found.shape == [channels] {
                return Ok(operand.found.name.clone());
            }
            let shape = &operand.found.shape;
            Err(self.refuse(node, format!("has a {what} of {shape:?} for {channels} channels")))
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

fn name_of(operand: &Operand<'_>) -> String {
    shorten(&operand.found.name)
}
