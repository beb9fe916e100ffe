//! An architecture with parameters on a device, and the walk through its layers.

use super::{Architecture, Layer, Source, Trainable};
use crate::device::Device;
use crate::device::call::MaskSource;
use crate::error::{Context, Result};
use crate::graph::{Parameter, Tape, Tensor};
use crate::op;
use crate::random::Stream;
use crate::shape::Shape;
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
            for spec in &architecture.parameters()[kernel..kernel + 2] {
                let value = source(&placed.name).values(spec, position)?;
                parameters.push(Parameter::new(device, spec.name.clone(), spec.shape, &value)?);
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

    /// Walks `x` through the layers at positions `range`. `seed` and `step` choose the dropout masks.
    ///
    /// # Errors
    /// [`Kind::Shape`](crate::error::Kind::Shape) naming the layer; the device's errors.
    pub fn forward(
        &self,
        tape: &Tape<'_>,
        x: Tensor,
        range: Range<usize>,
        seed: u64,
        step: u64,
    ) -> Result<Tensor> {
        let mut x = x;
        for position in range {
            let placed = &self.architecture.layers()[position];
            tape.label(&placed.name);
            x = self
                .layer(tape, x, position, seed, step)
                .context(|| format!("running layer {}", placed.name))?;
        }
        Ok(x)
    }

    fn layer(&self, tape: &Tape<'_>, x: Tensor, position: usize, seed: u64, step: u64) -> Result<Tensor> {
        let placed = &self.architecture.layers()[position];
        // Made here and dropped here: after backward the parameter must have no other holder.
        let weights = placed.kernel.map(|kernel| {
            (
                tape.parameter(kernel, &self.parameters[kernel]),
                tape.parameter(kernel + 1, &self.parameters[kernel + 1]),
            )
        });
        match (placed.layer, weights) {
            (Layer::Conv2d { .. }, Some((kernel, bias))) => op::conv2d(tape, &x, &kernel, &bias, true),
            (Layer::Dense { relu, .. }, Some((kernel, bias))) => op::dense(tape, &x, &kernel, &bias, relu),
            (Layer::Maxpool2d, _) => op::maxpool2d(tape, &x),
            (Layer::Flatten, _) => {
                let rows = x.shape().axes()[0];
                tape.reshape(&x, Shape::new(&[rows, x.shape().len() / rows.max(1)]))
            }
            (Layer::Dropout { rate }, _) => op::dropout(tape, &x, rate, dropout_source(seed, step, position)),
            // Architecture gives these layers a kernel; the pair cannot come apart.
            (Layer::Conv2d { .. } | Layer::Dense { .. }, None) => Ok(x),
        }
    }
}

/// Each (step, layer) owns 2^24 draws, enough for masks of 64 Mi elements.
fn dropout_source(seed: u64, step: u64, position: usize) -> MaskSource {
    MaskSource { seed, stream: Stream::Dropout, counter: (step << 32) | ((position as u64) << 24) }
}
