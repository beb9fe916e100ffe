//! Where parameters come from, and how they go back to files.
//!
//! In: a weights file in Keras' names and layouts (HWIO, `[in, out]`), or a seed. Out: values in the
//! engine's layouts (OHWI, `[in, out]`), and back. Every shape is checked before the first copy.

use super::architecture::ParameterSpec;
use super::network::Network;
use crate::device::Device;
use crate::error::Result;
use crate::random::{Stream, draw, unit};
use crate::weights::{FloatType, NamedTensor, Weights, layout, save};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Where a layer's parameters get their first values.
#[derive(Clone, Copy)]
pub enum Source<'w> {
    /// From a file, by name.
    File(&'w Weights),
    /// Kernels uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, Keras' default), biases 0.
    Glorot {
        /// The run's seed.
        seed: u64,
    },
    /// Zeros: for plans, which read no numbers.
    Blank,
}

impl<'w> Source<'w> {
    /// The values of `spec` in the engine's layout. `position` (of the layer) keeps the random words
    /// of different layers apart.
    pub(super) fn values(self, spec: &ParameterSpec, position: usize) -> Result<Cow<'w, [f32]>> {
        match self {
            Self::File(weights) => match *spec.shape.axes() {
                [o, h, w, i] => {
                    let stored = weights.tensor(&spec.name, &[h, w, i, o])?;
                    Ok(Cow::Owned(layout::hwio_to_ohwi(&stored, [h, w, i, o])))
                }
                _ => weights.tensor(&spec.name, spec.shape.axes()),
            },
            Self::Blank => Ok(Cow::Owned(vec![0.0; spec.shape.len()])),
            Self::Glorot { .. } if spec.is_bias() => Ok(Cow::Owned(vec![0.0; spec.shape.len()])),
            Self::Glorot { seed } => Ok(Cow::Owned(glorot_uniform(spec, seed, position))),
        }
    }
}

fn glorot_uniform(spec: &ParameterSpec, seed: u64, position: usize) -> Vec<f32> {
    let limit = (6.0 / (spec.fans[0] + spec.fans[1]) as f64).sqrt() as f32;
    let first = (position as u64) << 32;
    let mut values = Vec::with_capacity(spec.shape.len() + 3);
    for block in 0..spec.shape.len().div_ceil(4) as u64 {
        let words = draw(seed, Stream::Weights, first + block);
        values.extend(words.map(|word| limit * (2.0 * unit(word) - 1.0)));
    }
    values.truncate(spec.shape.len());
    values
}

impl Network {
    /// Writes every parameter to a safetensors file in Keras' names and layouts, f32.
    ///
    /// # Errors
    /// The device's and the file's; an existing file stays as it is.
    pub fn save(&self, device: &dyn Device, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
        let mut stored = Vec::with_capacity(self.parameters().len());
        for parameter in self.parameters() {
            let value: Vec<f32> = device.download(parameter.value())?;
            stored.push(match *parameter.shape().axes() {
                [o, h, w, i] => {
                    (parameter.name.clone(), vec![h, w, i, o], layout::ohwi_to_hwio(&value, [h, w, i, o]))
                }
                _ => (parameter.name.clone(), parameter.shape().axes().to_vec(), value),
            });
        }
        let tensors: Vec<_> = stored
            .iter()
            .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
            .collect();
        save(path, &tensors, FloatType::F32, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn glorot_fills_its_interval_evenly_and_layers_differ() {
        let spec =
            ParameterSpec { name: "dense.kernel".into(), shape: Shape::new(&[8192, 256]), fans: [8192, 256] };
        let values = glorot_uniform(&spec, 1, 19);
        // Keras' limit for 8192 → 256.
        let limit = 0.026_650;
        assert!(values.iter().all(|v| v.abs() <= limit + 1e-6));
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
        // Mean 0 and variance limit²/3; five standard errors of 2 Mi draws are 0.3 % of the limit.
        assert!(mean.abs() < 0.003 * f64::from(limit), "{mean}");
        assert!((variance * 3.0 / f64::from(limit).powi(2) - 1.0).abs() < 0.01, "{variance}");
        assert_ne!(values[..8], glorot_uniform(&spec, 1, 21)[..8]);
        assert_ne!(values[..8], glorot_uniform(&spec, 2, 19)[..8]);
    }
}
