//! An architecture with parameters on a device, and the walk through its layers.

use super::{Architecture, Layer, Source, Trainable};
use crate::device::call::MaskSource;
use crate::device::{Device, Dtype};
use crate::error::{Context, Error, Kind, Result};
use crate::graph::{Mode, Parameter, Tape, Tensor};
use crate::op::{self, Activation};
use crate::random::Stream;
use crate::shape::{Conv2d, Shape};
use std::ops::Range;

/// Layers and the parameters they learn.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    parameters: Vec<Parameter>,
}

impl Network {
    /// Gives every parameter of `architecture` a value; `source` says where a layer's values come from.
    ///
    /// # Errors
    /// From the weights file or the device.
    pub fn new<'w>(
        device: &dyn Device,
        architecture: Architecture,
        source: impl Fn(&str) -> Source<'w>,
    ) -> Result<Self> {
        let mut parameters = Vec::with_capacity(architecture.parameters().len());
        for (position, placed) in architecture.layers().iter().enumerate() {
            let Some(kernel) = placed.kernel else { continue };
            device.label(&placed.name);
            for spec in &architecture.parameters()[kernel..kernel + 2] {
                let parameter = source(&placed.name).parameter(device, spec, position)?;
                // Beside its f32 value, which the way back takes.
                let top = architecture.has_top() && of_top(device) != Dtype::F32;
                let shadowed = top && !spec.is_bias() && parameter.shadow().is_none();
                parameters.push(if shadowed { parameter.shadowed(device)? } else { parameter });
            }
        }
        Ok(Self { architecture, parameters })
    }

    /// Sizes and names.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The parameters in the architecture's order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters, to update them.
    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// Freezes what is before the boundary and lets the rest learn.
    pub fn set_trainable(&mut self, trainable: Trainable) {
        for (position, placed) in self.architecture.layers().iter().enumerate() {
            if let Some(kernel) = placed.kernel {
                for parameter in &mut self.parameters[kernel..kernel + 2] {
                    parameter.learns = trainable.learns(position);
                }
            }
        }
    }

    /// Walks `x` through the layers at positions `range`. `dropout` chooses the masks in training. The base keeps
    /// activations as the device does, the classifier in f32 but for ImageNet's in inference; `x` may be either. A
    /// convolution and the pool behind it are one step. Of what does not learn, no more than a step's input and output live
    /// at any moment.
    ///
    /// # Errors
    /// [`Kind::Shape`] naming the layer; [`Kind::Usage`] for a range beyond the last one, or for training through dropout
    /// without a seed; the device's errors.
    pub fn forward(
        &self,
        tape: &Tape<'_>,
        x: Tensor,
        range: Range<usize>,
        dropout: Option<DropoutSeed>,
    ) -> Result<Tensor> {
        let layers = self.architecture.layers().len();
        if range.end > layers {
            return Err(Error::new(Kind::Usage, format!("the network has no layer {}", range.end - 1))
                .expected_got(format!("a range up to {layers}"), format!("{range:?}")));
        }
        let mut x = x;
        let mut range = range;
        while let Some(position) = range.next() {
            let placed = &self.architecture.layers()[position];
            tape.label(&placed.name);
            x = op::cast(tape, &x, self.keeps(tape, placed.layer))?;
            if let Some([first, second]) = self.joined(tape, &x, position, range.clone()) {
                range.nth(1);
                x = op::conv2d_conv2d_maxpool2d(tape, &x, first.each_ref(), second.each_ref())
                    .context(|| format!("running the block of layer {}", placed.name))?;
                continue;
            }
            if self.pooled(position, range.clone()) {
                range.next();
                x = self.convolve_and_pool(tape, x, position).context(|| {
                    let [conv, pool] = [position, position + 1].map(|p| &self.architecture.layers()[p].name);
                    format!("running layers {conv} and {pool}")
                })?;
                continue;
            }
            x = self
                .layer(tape, x, position, dropout)
                .context(|| format!("running layer {}", placed.name))?;
        }
        Ok(x)
    }

    /// In which format a layer takes its input and its weights. A run's classifier is f32 whatever the base is: its sums
    /// are small, and its weights, which are used once per batch and learn, are smaller still. That of ImageNet has
    /// 494 MB of weights, which are all the time it takes, and nobody trains it: in inference it is as the base is
    /// where that is bf16, but for its logits.
    fn keeps(&self, tape: &Tape<'_>, layer: Layer) -> Dtype {
        let top = self.architecture.has_top() && tape.mode() == Mode::Inference;
        match layer {
            Layer::Conv2d { .. } | Layer::Maxpool2d => tape.device().precision().activations(),
            Layer::Flatten | Layer::Dense { .. } | Layer::Dropout { .. } if top => of_top(tape.device()),
            Layer::Flatten | Layer::GlobalAvgpool2d | Layer::Dense { .. } | Layer::Dropout { .. } => {
                Dtype::F32
            }
        }
    }

    /// Whether the layer at `position` is a convolution and a pool comes next in what is left to walk.
    fn pooled(&self, position: usize, rest: Range<usize>) -> bool {
        let layers = self.architecture.layers();
        matches!(layers[position].layer, Layer::Conv2d { .. })
            && rest.start < rest.end
            && matches!(layers[rest.start].layer, Layer::Maxpool2d)
    }

    /// The weights of the layers at `position` and behind it, where they are two convolutions of which nothing learns, a
    /// pool comes next, and the device takes all three as one.
    fn joined(
        &self,
        tape: &Tape<'_>,
        x: &Tensor,
        position: usize,
        mut rest: Range<usize>,
    ) -> Option<[[Tensor; 2]; 2]> {
        let layers = self.architecture.layers();
        let second = rest.next().filter(|&second| self.pooled(second, rest))?;
        let [one, other] = [layers[position].kernel?, layers[second].kernel?];
        let mut parameters = self.parameters[one..one + 2].iter().chain(&self.parameters[other..other + 2]);
        if x.learns() || tape.mode() == Mode::Training && parameters.any(|parameter| parameter.learns) {
            return None;
        }
        let first = Conv2d::of(x.shape(), self.parameters[one].shape()).ok()?;
        let geometries = [first, Conv2d::of(first.y(), self.parameters[other].shape()).ok()?];
        let joins = tape.device().joins(geometries);
        joins.then(|| Some([self.weights(tape, position)?, self.weights(tape, second)?]))?
    }

    /// The layer's kernel and bias. Made for one step and dropped with it: after backward the parameters
    /// must have no other holder.
    fn weights(&self, tape: &Tape<'_>, position: usize) -> Option<[Tensor; 2]> {
        let kernel = self.architecture.layers()[position].kernel?;
        let wanted = self.keeps(tape, self.architecture.layers()[position].layer);
        // On the way back the last comes first: the kernel's gradient makes the bias' beside its own.
        let [bias, kernel] =
            [kernel + 1, kernel].map(|at| tape.parameter_in(at, &self.parameters[at], wanted));
        Some([kernel, bias])
    }

    fn convolve_and_pool(&self, tape: &Tape<'_>, x: Tensor, position: usize) -> Result<Tensor> {
        match self.weights(tape, position) {
            Some([kernel, bias]) => op::conv2d_maxpool2d(tape, &x, &kernel, &bias),
            None => Err(without_kernel(&self.architecture.layers()[position].name)),
        }
    }

    fn layer(
        &self,
        tape: &Tape<'_>,
        x: Tensor,
        position: usize,
        dropout: Option<DropoutSeed>,
    ) -> Result<Tensor> {
        let placed = &self.architecture.layers()[position];
        match (placed.layer, self.weights(tape, position)) {
            (Layer::Conv2d { .. }, Some([kernel, bias])) => {
                op::conv2d(tape, &x, &kernel, &bias, Activation::Relu)
            }
            (Layer::Dense { relu, .. }, Some([kernel, bias])) => {
                let activation = if relu { Activation::Relu } else { Activation::Linear };
                op::dense(tape, &x, &kernel, &bias, activation)
            }
            (Layer::Maxpool2d, _) => op::maxpool2d(tape, &x),
            (Layer::Flatten, _) => {
                let rows = x.shape().axes()[0];
                tape.reshape(&x, Shape::new(&[rows, x.shape().len() / rows.max(1)]))
            }
            (Layer::GlobalAvgpool2d, _) => op::global_avgpool2d(tape, &x),
            (Layer::Dropout { .. }, _) if tape.mode() == Mode::Inference => Ok(x),
            (Layer::Dropout { rate }, _) => match dropout {
                Some(dropout) => op::dropout(tape, &x, rate, dropout.source(position)),
                None => Err(Error::new(Kind::Usage, "training through dropout needs a seed for its masks")
                    .help("give forward a DropoutSeed")),
            },
            (Layer::Conv2d { .. } | Layer::Dense { .. }, None) => Err(without_kernel(&placed.name)),
        }
    }
}

/// [`Architecture`] gives every convolution and dense layer a kernel.
fn without_kernel(layer: &str) -> Error {
    Error::bug(Kind::Shape, format!("layer {layer} has no kernel"))
}

/// In which format ImageNet's classifier is in inference: dense layers of f16 have no kernels.
fn of_top(device: &dyn Device) -> Dtype {
    match device.precision().activations() {
        Dtype::F16 => Dtype::F32,
        other => other,
    }
}

/// What chooses the dropout masks of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutSeed {
    /// The run's.
    pub seed: u64,
    /// The number of the batch in the run: every batch has masks of its own.
    pub batch: u64,
}

impl DropoutSeed {
    /// Each (batch, layer) owns 2^24 draws, enough for masks of 64 Mi elements.
    fn source(self, position: usize) -> MaskSource {
        let counter = (self.batch << 32) | ((position as u64) << 24);
        MaskSource { seed: self.seed, stream: Stream::Dropout, counter }
    }
}
