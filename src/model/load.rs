//! Where parameters come from, and how they go back to files.
//!
//! In: a file of weights, understood, or a seed. Out: values in the engine's layouts (OHWI, `[in, out]`), and
//! back in Keras'. Every shape is checked before the first copy.

use super::architecture::ParameterSpec;
use super::network::Network;
use super::pretrained::Pretrained;
use crate::device::Device;
use crate::error::Result;
use crate::graph::Parameter;
use crate::random::{Stream, draw, unit};
use crate::weights::{FloatType, NamedTensor, Weights, layout, save};
use std::collections::BTreeMap;
use std::path::Path;

/// Where a layer's parameters get their first values.
#[derive(Clone, Copy)]
pub enum Source<'w> {
    /// From a file, by name.
    File(&'w Pretrained),
    /// Kernels uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, Keras' default), biases 0.
    Glorot {
        /// The run's seed.
        seed: u64,
    },
    /// Zeros: for plans, which read no numbers.
    Blank,
}

impl Source<'_> {
    /// The parameter `spec` with its first values. `position` (of the layer) keeps the random words of
    /// different layers apart.
    pub(super) fn parameter(
        self,
        device: &dyn Device,
        spec: &ParameterSpec,
        position: usize,
    ) -> Result<Parameter> {
        let parameter = Parameter::filled(device, spec.name.clone(), spec.shape, &mut |to| {
            match self {
                Self::File(pretrained) => pretrained.read(spec, to)?,
                Self::Glorot { seed } if !spec.is_bias() => glorot_uniform(spec, seed, position, to),
                Self::Glorot { .. } | Self::Blank => to.fill(0.0),
            }
            Ok(())
        })?;
        // The kernel of a convolution is multiplied with activations. Of frozen layers too the f32 value stays: it is
        // what is saved, and a later stage may let it learn.
        let convolves = spec.shape.axes().len() == 4;
        if convolves { parameter.shadowed(device) } else { Ok(parameter) }
    }
}

fn glorot_uniform(spec: &ParameterSpec, seed: u64, position: usize, to: &mut [f32]) {
    let limit = (6.0 / (spec.fans[0] + spec.fans[1]) as f64).sqrt() as f32;
    let first = (position as u64) << 32;
    for (block, values) in to.chunks_mut(4).enumerate() {
        let words = draw(seed, Stream::Weights, first + block as u64);
        for (value, word) in values.iter_mut().zip(words) {
            *value = limit * (2.0 * unit(word) - 1.0);
        }
    }
}

impl Network {
    /// Reads every parameter from a file of weights by its name and shape, as [`Network::save`] writes them; what else
    /// is in the file is passed over. (VGG's files, under whatever names, are [`Source::File`]'s.) No parameter changes
    /// unless all are there.
    ///
    /// # Errors
    /// [`Kind::Weights`](crate::error::Kind::Weights) when a name is missing, a shape is another or the file is
    /// damaged; the device's errors.
    pub fn load(&mut self, device: &dyn Device, path: &Path) -> Result<()> {
        let weights = Weights::open(path)?;
        let stored = |parameter: &Parameter| match *parameter.shape().axes() {
            [o, h, w, i] => vec![h, w, i, o],
            _ => parameter.shape().axes().to_vec(),
        };
        let read = |parameter: &Parameter| -> Result<Vec<f32>> {
            let value = weights.tensor(&parameter.name, &stored(parameter))?;
            Ok(match *parameter.shape().axes() {
                [o, h, w, i] => layout::hwio_to_ohwi(&value, [h, w, i, o]),
                _ => value.into_owned(),
            })
        };
        let values = self.parameters().iter().map(read).collect::<Result<Vec<_>>>()?;
        self.parameters_mut()
            .iter_mut()
            .zip(values)
            .try_for_each(|(parameter, value)| parameter.set(device, &value))
    }

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
    use crate::device::cpu::CpuDevice;
    use crate::error::Kind;
    use crate::model::{Architecture, Layer};
    use crate::shape::Shape;

    /// A convolution, whose kernel lies otherwise in the file, and a dense layer, under names that are nobody's.
    #[test]
    fn a_network_takes_back_what_it_saved_or_nothing() {
        let device = CpuDevice::new(Some(1)).unwrap();
        let network = |filters, seed| {
            let layers = vec![
                ("ear".to_owned(), Layer::Conv2d { filters }),
                ("flatten".to_owned(), Layer::Flatten),
                ("mouth".to_owned(), Layer::Dense { units: 3, relu: false }),
            ];
            let architecture = Architecture::base_of("own", [4, 4], layers).unwrap();
            Network::new(&device, architecture, |_| Source::Glorot { seed }).unwrap()
        };
        let values = |network: &Network| -> Vec<Vec<f32>> {
            let device: &dyn Device = &device;
            network.parameters().iter().map(|p| device.download(p.value()).unwrap()).collect()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.safetensors");
        let (saved, mut other) = (network(5, 1), network(5, 2));
        saved.save(&device, &path, &BTreeMap::new()).unwrap();
        assert_ne!(values(&saved), values(&other));
        other.load(&device, &path).unwrap();
        assert_eq!(values(&saved), values(&other));
        let mut wider = network(6, 3);
        let before = values(&wider);
        assert_eq!(wider.load(&device, &path).unwrap_err().kind(), Kind::Weights);
        assert_eq!(values(&wider), before);
    }

    #[test]
    fn glorot_fills_its_interval_evenly_and_layers_differ() {
        let spec =
            ParameterSpec { name: "dense.kernel".into(), shape: Shape::new(&[8192, 256]), fans: [8192, 256] };
        let draw = |seed, position| {
            let mut values = vec![f32::NAN; spec.shape.len()];
            glorot_uniform(&spec, seed, position, &mut values);
            values
        };
        let values = draw(1, 19);
        // Keras' limit for 8192 → 256.
        let limit = 0.026_650;
        assert!(values.iter().all(|v| v.abs() <= limit + 1e-6));
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
        // Mean 0 and variance limit²/3; five standard errors of 2 Mi draws are 0.3 % of the limit.
        assert!(mean.abs() < 0.003 * f64::from(limit), "{mean}");
        assert!((variance * 3.0 / f64::from(limit).powi(2) - 1.0).abs() < 0.01, "{variance}");
        assert_ne!(values[..8], draw(1, 21)[..8]);
        assert_ne!(values[..8], draw(2, 19)[..8]);
    }
}
