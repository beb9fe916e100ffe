//! A moment of training on the disk, from which it goes on bit for bit.
//!
//! In: a network, its optimizer, and a text that says where training is. Out: one safetensors file, whole or
//! absent, with the weights that may have learned and the optimizer's state as the device holds them (OHWI).
//! Frozen weights are not in it: they are those of the base.

use super::optimizer::Optimizer;
use crate::device::{Buffer, Device};
use crate::error::{Error, Kind, Result};
use crate::graph::Parameter;
use crate::model::Network;
use crate::weights::{FloatType, NamedTensor, Weights, save};
use std::collections::BTreeMap;
use std::path::Path;

/// What the text is called in the file.
const STATE: &str = "state";
const STEPS: &str = "optimizer_steps";

/// A checkpoint that is open.
pub struct Checkpoint {
    weights: Weights,
    /// Where training was.
    pub state: String,
    steps: u64,
}

impl Checkpoint {
    /// Writes the parameters from `first` on and the state of those that learn.
    ///
    /// # Errors
    /// The device's; [`Kind::Io`]; [`Kind::Weights`] when a weight is no longer finite. The file that was
    /// there stays as it is.
    pub fn save(
        path: &Path,
        device: &dyn Device,
        (network, first): (&Network, usize),
        optimizer: &mut Optimizer,
        state: &str,
    ) -> Result<()> {
        let mut stored = downloaded(device, network, first)?;
        for (kept, parameter) in optimizer.states_mut().iter_mut().zip(network.parameters()) {
            let Some(kept) = kept.as_mut().filter(|_| parameter.learns) else { continue };
            for (role, buffer) in kept.buffers_mut() {
                stored.push((
                    format!("{role}/{}", parameter.name),
                    axes(parameter),
                    device.download(buffer)?,
                ));
            }
        }
        let metadata = BTreeMap::from([
            (STATE.to_owned(), state.to_owned()),
            (STEPS.to_owned(), optimizer.steps.to_string()),
        ]);
        write(path, &stored, &metadata)
    }

    /// Opens the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Weights`] when it is damaged or no checkpoint.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let weights = Weights::open(path)?;
        let of = |name: &str| weights.metadata().get(name).cloned();
        let (Some(state), Some(steps)) = (of(STATE), of(STEPS).and_then(|steps| steps.parse().ok())) else {
            return Err(Error::new(Kind::Weights, format!("{} is no checkpoint", path.display()))
                .help("remove it and begin again with --force"));
        };
        Ok(Some(Self { weights, state, steps }))
    }

    /// Puts weights and state where they were. What learns must have been set before.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is of another network; the device's.
    pub fn restore(
        &self,
        device: &dyn Device,
        network: &mut Network,
        optimizer: &mut Optimizer,
    ) -> Result<()> {
        fill(&self.weights, device, network)?;
        optimizer.prepare(device, network.parameters())?;
        optimizer.steps = self.steps;
        for (kept, parameter) in optimizer.states_mut().iter_mut().zip(network.parameters()) {
            let Some(kept) = kept.as_mut().filter(|_| parameter.learns) else { continue };
            for (role, buffer) in kept.buffers_mut() {
                let name = format!("{role}/{}", parameter.name);
                // A stage that had not begun has no state yet.
                if self.weights.names().any(|there| there == name) {
                    put(&self.weights, device, &name, parameter, buffer)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes the parameters from `first` on, as [`load_weights`] reads them.
///
/// # Errors
/// As [`Checkpoint::save`].
pub fn save_weights(path: &Path, device: &dyn Device, network: &Network, first: usize) -> Result<()> {
    write(path, &downloaded(device, network, first)?, &BTreeMap::new())
}

/// Puts back what [`save_weights`] wrote.
///
/// # Errors
/// As [`Checkpoint::restore`].
pub fn load_weights(path: &Path, device: &dyn Device, network: &mut Network) -> Result<()> {
    fill(&Weights::open(path)?, device, network)
}

type Stored = (String, Vec<usize>, Vec<f32>);

fn axes(parameter: &Parameter) -> Vec<usize> {
    parameter.shape().axes().to_vec()
}

fn downloaded(device: &dyn Device, network: &Network, first: usize) -> Result<Vec<Stored>> {
    let learned = network.parameters().iter().skip(first);
    learned.map(|p| Ok((p.name.clone(), axes(p), device.download(p.value())?))).collect()
}

fn write(path: &Path, stored: &[Stored], metadata: &BTreeMap<String, String>) -> Result<()> {
    let tensors: Vec<_> = stored
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    save(path, &tensors, FloatType::F32, metadata)
}

fn fill(weights: &Weights, device: &dyn Device, network: &mut Network) -> Result<()> {
    let there: Vec<&str> = weights.names().collect();
    for parameter in network.parameters_mut() {
        let name = parameter.name.clone();
        if there.contains(&name.as_str()) {
            let expected = axes(parameter);
            let values = weights.tensor(&name, &expected)?;
            device.upload_bytes(bytemuck::cast_slice(&values), parameter.value_mut()?)?;
        }
    }
    Ok(())
}

fn put(
    weights: &Weights,
    device: &dyn Device,
    name: &str,
    parameter: &Parameter,
    buffer: &mut Buffer,
) -> Result<()> {
    let values = weights.tensor(name, &axes(parameter))?;
    device.upload_bytes(bytemuck::cast_slice(&values), buffer)
}
