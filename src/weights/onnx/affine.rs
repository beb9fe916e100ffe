//! Arithmetic behind a layer: its bias, and batch normalisation that an exporter has written out.
//!
//! Keras 3 writes a normalisation as "minus a mean, times a scale, plus an offset", each a number per channel,
//! and leaves out what does nothing. It is read as one with a variance of 1 and an epsilon of 0, which is
//! exactly the same. The ones, and zeros for what was left out, are in no file; they are made here.

use super::data::{Axis, Columns, Data, Flat};
use super::message::Node;
use super::names::{Operand, Source, no_vgg, twice};
use super::tensor::shorten;
use super::walk::{Stage, Walk};
use crate::error::Result;
use crate::weights::contents::{Found, GraphNorm, Place};
use safetensors::Dtype;

/// Ones and zeros are made for so many channels; VGG has 512.
const MAX_CHANNELS: usize = 4096;

/// What is done to the output of the last layer, as names of tensors.
#[derive(Default)]
pub(super) struct Affine {
    channels: usize,
    mean: Option<String>,
    scale: Option<String>,
    offset: Option<String>,
}

impl<'a> Walk<'a> {
    /// `Add` behind a layer, or `Sub`, `Mul`, `Add` behind a convolution; `other` is the operand that is not
    /// the data.
    pub(super) fn arithmetic(&mut self, node: &'a Node<'a>, op: &str, other: usize) -> Result<()> {
        let Source::Stored(operand) = self.names.source(node, other)? else {
            return Err(self.refuse(node, "joins two ways, or takes what is not stored"));
        };
        let dense = self.last_is_dense();
        let affine = &mut self.affine;
        let started = affine.mean.is_some() || affine.scale.is_some();
        let channels = match &self.data {
            Data::Image(image) if !dense => Some(image.channels),
            _ => None,
        };
        // In this order, and each once.
        let slot = match (op, channels) {
            ("Sub", Some(_)) if !started => Some(&mut affine.mean),
            ("Mul", Some(_)) if affine.offset.is_none() => Some(&mut affine.scale),
            ("Add", _) if affine.scale.is_some() => Some(&mut affine.offset),
            ("Add", _) if !started => self.graph.layers.last_mut().map(|layer| &mut layer.bias),
            _ => None,
        };
        let fits = self.stage == Stage::Layer && is_per_output(&self.data, &operand);
        match slot {
            Some(slot) if fits && slot.is_none() => {
                *slot = Some(operand.found.name.clone());
                affine.channels = channels.unwrap_or_default();
                Ok(())
            }
            _ => {
                let name = shorten(&operand.found.name);
                Err(self.refuse(node, format!("takes `{name}`, which is no bias and no normalisation here")))
            }
        }
    }

    /// Makes a normalisation of the arithmetic since the last layer, if there was any but a bias.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Affine { channels, mean, scale, offset } = std::mem::take(&mut self.affine);
        let file = self.names.file;
        let scale = match (scale, mean.as_ref()) {
            (Some(scale), _) => scale,
            (None, None) => return Ok(()),
            (None, Some(mean)) => {
                let mean = shorten(mean);
                return Err(no_vgg(
                    file,
                    format!("`{mean}` is taken from a layer's output, and that is all"),
                ));
            }
        };
        if channels > MAX_CHANNELS {
            let scale = shorten(&scale);
            let why =
                format!("`{scale}` scales {channels} channels, of which a VGG has at most {MAX_CHANNELS}");
            return Err(no_vgg(file, why));
        }
        let mean = mean.map_or_else(|| self.filled("zeros", 0.0, channels), Ok)?;
        let offset = offset.map_or_else(|| self.filled("zeros", 0.0, channels), Ok)?;
        let variance = self.filled("ones", 1.0, channels)?;
        if let Some(layer) = self.graph.layers.last_mut() {
            layer.norm = Some(GraphNorm { scale, offset, mean, variance, epsilon: 0.0 });
            self.stage = Stage::Waiting;
        }
        Ok(())
    }

    /// The name of a tensor of `channels` times `value`, made when it is first asked for.
    fn filled(&mut self, what: &str, value: f32, channels: usize) -> Result<String> {
        let name = format!("{what}[{channels}]");
        if self.names.is_stored(&name) {
            return Err(twice(self.names.file, &name));
        }
        if self.made.iter().all(|found| found.name != name) {
            let place = Place::Decoded(value.to_le_bytes().repeat(channels));
            self.made.push(Found { name: name.clone(), dtype: Dtype::F32, shape: vec![channels], place });
        }
        Ok(name)
    }
}

/// Whether `operand` is a number for each output of the layer, laid upon `data` as ONNX does: last axis upon
/// last axis.
fn is_per_output(data: &Data, operand: &Operand<'_>) -> bool {
    let shape = &operand.found.shape;
    operand.is_in_order()
        && match data {
            Data::Image(image) => {
                image.bias_axis(shape) == Some(Axis::Channel) && holds(shape, image.channels)
            }
            Data::Flat(Flat { columns: Columns::Known(n), .. }) => is_row(shape, *n),
            Data::Flat(_) | Data::Input(_) => false,
        }
}

/// Whether `shape` is of `n` numbers along its last axis.
pub(super) fn is_row(shape: &[usize], n: usize) -> bool {
    shape.last().copied().unwrap_or(1) == n && holds(shape, n)
}

fn holds(shape: &[usize], n: usize) -> bool {
    shape.iter().try_fold(1usize, |size, &axis| size.checked_mul(axis)) == Some(n)
}
