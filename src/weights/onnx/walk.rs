//! The way through a graph: names and nodes in, the layers with weights in the order of the data out.
//!
//! From the one input on, each value has one taker, up to an output: a VGG is a chain. Whatever else is there
//! (the shape of a value, on its way into a `Reshape`) may hold no weights. A node that a VGG has not, or has
//! with other settings, is an error that names it: what is read here is never nearly right.

use super::affine::Affine;
use super::data::{Axis, Columns, Data, Flat, NCHW};
use super::message::{Attributes, Node, Parts};
use super::names::{Names, Source, is_float, no_vgg, not_vgg, permuted};
use super::tensor::shorten;
use crate::error::{Error, Result};
use crate::weights::contents::{Found, Graph, GraphLayer};
use std::fmt;

/// VGG19 has 19; each repeats names that may be long.
const MAX_LAYERS: usize = 1024;

/// What has been seen since the last layer with weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    /// No layer yet: what is done to images before the first.
    Start,
    /// The layer alone; a bias or a normalisation may follow.
    Layer,
    /// A normalisation or a pooling; the activation is still to come.
    Waiting,
    /// The activation.
    Active,
    /// Softmax or sigmoid, which no layer follows.
    Last,
}

/// A value on its way through the graph, and what was found until here.
pub(super) struct Walk<'a> {
    pub names: &'a Names<'a>,
    pub data: Data,
    pub stage: Stage,
    pub graph: Graph,
    /// Arithmetic since the last layer.
    pub affine: Affine,
    /// Tensors that are in no file.
    pub made: Vec<Found>,
    /// The operations before the first layer that change values.
    pub preprocessing: Vec<&'a str>,
}

/// Follows the data through `parts`, to the end.
///
/// # Errors
/// [`Kind::Weights`](crate::error::Kind::Weights) when the graph is not the chain of a VGG's layers, or a
/// message in it is damaged.
pub(super) fn walk<'a>(parts: &Parts<'a>, names: &'a Names<'a>) -> Result<Walk<'a>> {
    let file = names.file;
    // Until 2019 every initializer was an input too; and an input may be there for nothing.
    let data = |name: &str| !names.is_stored(name) && names.takers(name).is_some();
    let mut inputs = parts.inputs.iter().filter(|input| data(input.name));
    let (input, second) = (inputs.next(), inputs.next());
    let input = match (input, second) {
        (Some(input), None) => input,
        (None, _) => return Err(no_vgg(file, "no node takes an input of the graph")),
        (Some(one), Some(two)) => {
            let (one, two) = (shorten(one.name), shorten(two.name));
            return Err(no_vgg(file, format!("it has the inputs `{one}` and `{two}`, where a VGG has one")));
        }
    };
    let mut walk = Walk {
        names,
        data: Data::Input(input.shape.clone()),
        stage: Stage::Start,
        graph: Graph::default(),
        affine: Affine::default(),
        made: Vec::new(),
        preprocessing: Vec::new(),
    };
    let mut seen = vec![false; names.nodes.len()];
    let mut value = input.name;
    loop {
        let reordered = walk.reordered(value).and_then(|at| Some((at, names.nodes.get(at)?)));
        let next = if reordered.is_some() { reordered } else { walk.taker(value)? };
        let Some((at, node)) = next else { break };
        match seen.get_mut(at) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(not_vgg(file, node, "takes what comes from itself: the graph is a circle")),
        }
        if reordered.is_none() {
            walk.step(node, value)?;
        }
        value = match node.outputs.first() {
            Some(output) if !output.is_empty() => output,
            _ => return Err(not_vgg(file, node, "has no output")),
        };
    }
    walk.settle()?;
    if walk.last_is_dense() && walk.stage == Stage::Active {
        return Err(no_vgg(
            file,
            "its last dense layer ends in a ReLU, where a classifier has a softmax or a sigmoid",
        ));
    }
    if !parts.outputs.contains(&value) {
        return Err(no_vgg(file, format!("the way from the input ends at `{}`, no output", shorten(value))));
    }
    if walk.graph.layers.is_empty() {
        return Err(no_vgg(file, "no layer with weights is between its input and its output"));
    }
    for (node, _) in names.nodes.iter().zip(&seen).filter(|(_, seen)| !**seen) {
        if let Some("Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "BatchNormalization") = node.standard() {
            return Err(not_vgg(file, node, "is not on the way from the input to the output"));
        }
    }
    Ok(walk)
}

impl<'a> Walk<'a> {
    /// The one node that takes `value`, and its number; `None` at the end of the way.
    fn taker(&self, value: &str) -> Result<Option<(usize, &'a Node<'a>)>> {
        let node = |at: usize| self.names.nodes.get(at);
        let Some(takers) = self.names.takers(value) else { return Ok(None) };
        match (node(takers.first), takers.second.and_then(node)) {
            (Some(one), Some(two)) => {
                let why = format!("and {} take the same value: the way branches", two.label());
                Err(not_vgg(self.names.file, one, why))
            }
            (one, _) => Ok(one.map(|node| (takers.first, node))),
        }
    }

    /// Takes the data through `node`, which takes them under the name `value`.
    fn step(&mut self, node: &'a Node<'a>, value: &str) -> Result<()> {
        let Some(op) = node.standard() else {
            return Err(self.refuse(node, "is no operation of the standard"));
        };
        let mut places = node.inputs.iter().enumerate().filter(|(_, name)| **name == value);
        let place = match (places.next(), places.next()) {
            (Some((place, _)), None) => place,
            _ => return Err(self.refuse(node, "takes the same value twice")),
        };
        if place != 0 && !(place == 1 && matches!(op, "Add" | "Mul")) {
            return Err(self.refuse(node, format!("takes the data as operand {}", place + 1)));
        }
        let attributes = node.attributes(self.names.file)?;
        match op {
            "Add" | "Mul" | "Sub" | "Div" if self.stage == Stage::Start => self.before(node, op, 1 - place),
            "Slice" | "Gather" | "Resize" if self.stage == Stage::Start => {
                self.cut(op);
                Ok(())
            }
            "Conv" => self.conv(node, &attributes),
            "Gemm" => self.gemm(node, &attributes),
            "MatMul" => self.dense(node, false),
            "Add" | "Mul" | "Sub" => self.arithmetic(node, op, 1 - place),
            "BatchNormalization" => self.norm(node, &attributes),
            "Relu" => self.relu(node),
            "Clip" => self.clip(node, &attributes),
            "MaxPool" => self.pool(node, &attributes),
            "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => self.average(node, op, &attributes),
            "ReduceMean" => self.mean(node, &attributes),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.flatten(node, op, &attributes),
            "Transpose" => self.transpose(node),
            "Cast" if is_float(attributes.int("to", 0)) => Ok(()),
            "Cast" => Err(self.refuse(node, "makes the data something else than floats")),
            "Identity" | "Dropout" => Ok(()),
            "Softmax" | "Sigmoid" => self.output(node, op, &attributes),
            _ => Err(self.refuse(node, "is nothing that a VGG does")),
        }
    }

    /// The error that `node` is not of a VGG.
    pub fn refuse(&self, node: &Node<'_>, why: impl fmt::Display) -> Error {
        not_vgg(self.names.file, node, why)
    }

    /// Adds a layer, and looks whether it may stand here.
    pub fn push(&mut self, node: &Node<'_>, layer: GraphLayer) -> Result<()> {
        self.settle()?;
        match self.stage {
            Stage::Start | Stage::Active => {}
            Stage::Layer | Stage::Waiting => {
                return Err(self.refuse(node, "follows a layer without a ReLU between"));
            }
            Stage::Last => return Err(self.refuse(node, "follows a softmax or a sigmoid")),
        }
        if self.graph.layers.len() == MAX_LAYERS {
            return Err(self.refuse(node, format!("is one of more than {MAX_LAYERS} layers")));
        }
        self.graph.layers.push(layer);
        self.stage = Stage::Layer;
        Ok(())
    }

    fn relu(&mut self, node: &Node<'_>) -> Result<()> {
        self.settle()?;
        match self.stage {
            Stage::Start => Err(self.refuse(node, "comes before any layer")),
            Stage::Last => Err(self.refuse(node, "follows a softmax or a sigmoid")),
            Stage::Layer | Stage::Waiting | Stage::Active => {
                self.stage = Stage::Active;
                Ok(())
            }
        }
    }

    /// What makes probabilities of the last layer: of several outputs a softmax along them, of one a sigmoid.
    fn output(&mut self, node: &Node<'_>, op: &str, attributes: &Attributes<'_>) -> Result<()> {
        self.settle()?;
        let Data::Flat(Flat { columns, .. }) = &self.data else {
            return Err(self.refuse(node, "takes no row of numbers"));
        };
        // Along the last axis by default; before opset 13 along the second, which is the same one.
        let along = op == "Sigmoid" || matches!(attributes.int("axis", -1), 1 | -1);
        let fits = matches!(columns, Columns::Known(n) if (*n == 1) == (op == "Sigmoid"));
        if self.stage != Stage::Layer || !self.last_is_dense() {
            return Err(self.refuse(node, "follows something else than a dense layer"));
        }
        if !fits || !along {
            return Err(self
                .refuse(node, "is not the output of a classifier: a softmax of several, a sigmoid of one"));
        }
        self.stage = Stage::Last;
        Ok(())
    }

    /// `Clip` is a ReLU when it goes from 0 to no end. The ends are attributes in old files.
    fn clip(&mut self, node: &'a Node<'a>, attributes: &Attributes<'_>) -> Result<()> {
        let file = self.names.file;
        let end = |n: usize, name: &str, none: f32| match self.names.source(node, n)? {
            Source::Absent => Ok(Some(f64::from(attributes.float(file, name, none)))),
            Source::Stored(operand) => Ok(self.names.number(operand.found)),
            Source::Computed => Ok(None),
        };
        let (low, high) = (end(1, "min", f32::MIN)?, end(2, "max", f32::MAX)?);
        match (low, high) {
            (Some(low), Some(high)) if low == 0.0 && high >= f64::from(half::f16::MAX) => self.relu(node),
            _ => Err(self.refuse(node, "is no ReLU: it has another lower end than 0, or an upper one")),
        }
    }

    fn pool(&mut self, node: &Node<'_>, attributes: &Attributes<'_>) -> Result<()> {
        self.settle()?;
        let two = |name: &str| attributes.ints(name).is_some_and(|ints| ints == [2, 2]);
        if !two("kernel_shape") || !two("strides") || !only(attributes, "dilations", 1) {
            return Err(self.refuse(node, "is no pooling of 2x2 in steps of 2"));
        }
        let padded = match attributes.text("auto_pad") {
            "" | "NOTSET" => attributes.int("ceil_mode", 0) != 0,
            "VALID" => false,
            _ => true,
        };
        let pads = !only(attributes, "pads", 0);
        let why = match &mut self.data {
            Data::Image(image) if image.axes == NCHW => {
                let sides = [image.height, image.width];
                let even = sides.iter().all(|side| side.is_some_and(|n| n % 2 == 0));
                image.height = sides[0].map(|n| n / 2);
                image.width = sides[1].map(|n| n / 2);
                if pads || (padded && !even) {
                    "pads images"
                } else if sides.contains(&Some(1)) {
                    "leaves nothing of images of one place"
                } else {
                    if self.stage != Stage::Active {
                        self.stage = Stage::Waiting;
                    }
                    self.graph.pools.push(self.graph.layers.len());
                    return Ok(());
                }
            }
            Data::Image(_) => "pools along other axes than height and width",
            Data::Input(_) | Data::Flat(_) => "takes no image that comes from a convolution",
        };
        Err(self.refuse(node, why))
    }

    /// An average (or a maximum) that leaves images as they are, or the mean of each channel over the whole image.
    fn average(&mut self, node: &Node<'_>, op: &str, attributes: &Attributes<'_>) -> Result<()> {
        let one_place = matches!(&self.data, Data::Image(image) if image.is_one_place());
        let single = attributes.ints("kernel_shape").is_some_and(|ints| ints.iter().all(|&n| n == 1))
            && ["strides", "dilations"].iter().all(|name| only(attributes, name, 1))
            && only(attributes, "pads", 0);
        match (op, attributes.ints("kernel_shape")) {
            ("AveragePool", _) if single => Ok(()),
            ("AveragePool", Some(window)) if self.is_whole(window, attributes) => self.means(node),
            ("AveragePool", Some(window)) => Err(self.refuse(
                node,
                format!(
                    "averages over windows of {}, which changes the values; export the network for images \
                     of its own size (VGG16: 224x224), for which the average does nothing",
                    window.iter().take(4).map(i64::to_string).collect::<Vec<_>>().join("x")
                ),
            )),
            ("GlobalAveragePool" | "GlobalMaxPool", _) if !self.ends_in_places() => {
                Err(self.refuse(node, "pools along other axes than height and width"))
            }
            ("GlobalAveragePool" | "GlobalMaxPool", _) if one_place => Ok(()),
            ("GlobalAveragePool", _) => self.means(node),
            _ => Err(self.refuse(node, "makes one value of each channel, which changes the values")),
        }
    }

    /// Whether a window of this size takes a whole image, whose size is known and whose places are its last two axes.
    fn is_whole(&self, window: &[i64], attributes: &Attributes<'_>) -> bool {
        let plain = only(attributes, "pads", 0)
            && only(attributes, "dilations", 1)
            && matches!(attributes.text("auto_pad"), "" | "NOTSET" | "VALID");
        let Data::Image(image) = &self.data else { return false };
        let sides = [image.height, image.width].map(|side| side.and_then(|side| i64::try_from(side).ok()));
        plain
            && image.axes == NCHW
            && matches!((window, sides), (&[h, w], [Some(high), Some(wide)]) if [h, w] == [high, wide])
    }

    /// Whether the last two axes are height and width, along which ONNX pools; what is no image has none.
    fn ends_in_places(&self) -> bool {
        let Data::Image(image) = &self.data else { return true };
        let last = image.axes.get(2..).unwrap_or_default();
        [Axis::Height, Axis::Width].iter().all(|axis| last.contains(axis))
    }

    /// The mean of each channel over all places, for the classifier.
    fn means(&mut self, node: &Node<'_>) -> Result<()> {
        self.settle()?;
        // Behind a convolution whose ReLU is still to come it would be the mean of other numbers.
        if self.stage != Stage::Active {
            return Err(self.refuse(node, "averages what went through no ReLU"));
        }
        match &mut self.data {
            Data::Image(image) => {
                (image.height, image.width) = (Some(1), Some(1));
                self.graph.means = true;
                Ok(())
            }
            Data::Input(_) | Data::Flat(_) => Err(self.refuse(node, "averages over what is no image")),
        }
    }

    /// A mean over height and width, or over the one place that is left.
    fn mean(&mut self, node: &'a Node<'a>, attributes: &Attributes<'_>) -> Result<()> {
        // Since opset 18 the axes are an operand.
        let axes = match self.names.source(node, 1)? {
            Source::Stored(operand) => self.names.integers(operand.found),
            _ => attributes.ints("axes").map(<[i64]>::to_vec),
        };
        let Data::Image(image) = &self.data else {
            return Err(self.refuse(node, "averages over what is no image"));
        };
        let along = |axis: i64| {
            let at = usize::try_from(if axis < 0 { axis.saturating_add(4) } else { axis }).ok()?;
            image.axes.get(at).copied()
        };
        // No axes are all axes.
        let along: Vec<_> = axes.unwrap_or_default().into_iter().map(along).collect();
        let places = along.iter().all(|axis| matches!(axis, Some(Axis::Height | Axis::Width)));
        let all = [Axis::Height, Axis::Width].iter().all(|axis| along.contains(&Some(*axis)));
        match (places && !along.is_empty(), image.is_one_place()) {
            (true, true) => {}
            (true, false) if all => self.means(node)?,
            _ => return Err(self.refuse(node, "averages over other axes than height and width together")),
        }
        // Whether the two axes stay or not: there is one number of each channel, in order.
        self.flatten(node, "Reshape", attributes)
    }

    /// Whatever gives the same numbers in the same order another shape.
    fn flatten(&mut self, node: &Node<'_>, op: &str, attributes: &Attributes<'_>) -> Result<()> {
        let flat = match &self.data {
            Data::Flat(flat) => flat.clone(),
            Data::Image(_) if op == "Unsqueeze" || (op == "Flatten" && !is_second(attributes)) => {
                return Err(self.refuse(node, "flattens images from another axis on than the second"));
            }
            Data::Image(image) => image.flat().ok_or_else(|| {
                self.refuse(node, "flattens images whose axes are neither N, C, H, W nor N, H, W, C")
            })?,
            Data::Input(Some(shape)) if op == "Flatten" && shape.len() == 2 => {
                Flat { order: None, columns: columns(shape) }
            }
            Data::Input(_) => {
                return Err(self.refuse(node, "flattens an input of which the order of axes cannot be known"));
            }
        };
        self.data = Data::Flat(flat);
        Ok(())
    }

    fn transpose(&mut self, node: &Node<'_>) -> Result<()> {
        let file = self.names.file;
        let done = match &mut self.data {
            Data::Input(None) => true,
            Data::Input(Some(shape)) => permuted(node, file, shape)?.map(|turned| *shape = turned).is_some(),
            Data::Image(image) => {
                permuted(node, file, &image.axes)?.map(|turned| image.axes = turned).is_some()
            }
            Data::Flat(_) => permuted(node, file, &[0, 1])? == Some(vec![0, 1]),
        };
        if done { Ok(()) } else { Err(self.refuse(node, "changes the order of axes that are not there")) }
    }
}

/// The columns of an input that is a matrix.
pub(super) fn columns(shape: &[Option<usize>]) -> Columns {
    shape.get(1).copied().flatten().map_or(Columns::Unknown, Columns::Known)
}

/// Whether the list `name` holds nothing but `value`, or is left out.
pub(super) fn only(attributes: &Attributes<'_>, name: &str, value: i64) -> bool {
    attributes.ints(name).is_none_or(|ints| ints.iter().all(|&n| n == value))
}

/// Whether a `Flatten` keeps the first of four axes.
fn is_second(attributes: &Attributes<'_>) -> bool {
    matches!(attributes.int("axis", 1), 1 | -3)
}
