//! A checkpoint: the state of training on disk, from which it continues bit for bit.
//!
//! In: a network, its optimizer, and a text that says where training is. Out: one safetensors file, whole or
//! absent, with the weights that may have learned and the optimizer's state as the device holds them (OHWI).
//! Frozen weights are not in it: they are those of the base. Beside it, in a file of the same kind, the weights
//! of a stage's best epoch.

use super::checksum::checksum;
use super::history::Epoch;
use super::optimizer::Optimizer;
use super::stopping::Monitor;
use crate::device::{Buffer, Device, LossScale};
use crate::error::{Error, Kind, Result};
use crate::files::is_there;
use crate::graph::Parameter;
use crate::model::Network;
use crate::weights::{FloatType, NamedTensor, Weights, save};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// What the text is called in the file.
const STATE: &str = "state";
const STEPS: &str = "optimizer_steps";
/// The first parameter that is there.
const FIRST: &str = "first";
/// Where the loss was scaled.
const SCALE: &str = "loss_scale";
/// What the epoch is called in the file of its weights.
const BEST: &str = "epoch";
/// The checksum of all that the file holds, in hexadecimal: a disk's wrong byte would be another training.
const CRC32: &str = "crc32";

/// A checkpoint that is open.
pub struct Checkpoint {
    weights: Weights,
    /// Where training was.
    pub state: String,
    steps: u64,
    scale: Option<LossScale>,
}

impl Checkpoint {
    /// Writes the parameters from `first` on and the state of those that learn.
    ///
    /// # Errors
    /// The device's; [`Kind::Io`]; [`Kind::Numeric`] when a number is no longer finite. The file that was there stays as
    /// it is.
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
                let name = format!("{role}/{}", parameter.name);
                stored.push(finite((name, axes(parameter), device.download(buffer)?))?);
            }
        }
        let mut metadata = BTreeMap::from([
            (STATE.to_owned(), state.to_owned()),
            (STEPS.to_owned(), optimizer.steps.to_string()),
            (FIRST.to_owned(), first.to_string()),
        ]);
        if let Some(scaler) = &optimizer.scaler {
            let LossScale { scale, good, skipped, .. } = scaler.read(device)?;
            metadata.insert(SCALE.to_owned(), format!("{scale} {good} {skipped}"));
        }
        write(path, &stored, &metadata)
    }

    /// Opens the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Weights`] when it is damaged, by its checksum too, or no checkpoint.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !is_there(path)? {
            return Ok(None);
        }
        let weights = opened(path)?;
        let of = |name: &str| weights.metadata().get(name).cloned();
        let (Some(state), Some(steps)) = (of(STATE), of(STEPS).and_then(|steps| steps.parse().ok())) else {
            return Err(Error::new(Kind::Weights, format!("{} is no checkpoint", path.display()))
                .help("remove it and begin again with --force"));
        };
        let scale = of(SCALE).map(|text| {
            read_scale(&text).ok_or_else(|| {
                Error::new(Kind::Weights, format!("{} has no scale of its loss", path.display()))
                    .expected_got("a power of two and two counts", text)
                    .help("remove it and begin again with --force")
            })
        });
        Ok(Some(Self { weights, state, steps, scale: scale.transpose()? }))
    }

    /// Puts the weights alone where they were; those that had not learned stay as they are.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is of another network; the device's.
    pub fn weights(&self, device: &dyn Device, network: &mut Network) -> Result<()> {
        fill(&self.weights, device, network)
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
        self.weights(device, network)?;
        optimizer.prepare(device, network.parameters())?;
        optimizer.steps = self.steps;
        if let Some(scaler) = &mut optimizer.scaler {
            let scale = self.scale.ok_or_else(|| {
                Error::new(Kind::Weights, "the checkpoint has no scale of its loss")
                    .help("it is damaged or of other numbers than f16: begin again with --force")
            })?;
            scaler.set(device, scale)?;
        }
        for (kept, parameter) in optimizer.states_mut().iter_mut().zip(network.parameters()) {
            let Some(kept) = kept.as_mut().filter(|_| parameter.learns) else { continue };
            for (role, buffer) in kept.buffers_mut() {
                put(&self.weights, device, &format!("{role}/{}", parameter.name), parameter, buffer)?;
            }
        }
        Ok(())
    }
}

/// An epoch whose weights are kept, as the file says it: another epoch's are not taken for them.
#[derive(Clone, Copy, Debug)]
pub struct Best<'a> {
    /// The epoch.
    pub epoch: &'a Epoch,
    /// By what it is the best.
    pub monitor: Monitor,
}

impl Best<'_> {
    /// Writes the parameters from `first` on.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    pub fn save(&self, path: &Path, device: &dyn Device, network: &Network, first: usize) -> Result<()> {
        let metadata =
            BTreeMap::from([(BEST.to_owned(), self.text()), (FIRST.to_owned(), first.to_string())]);
        write(path, &downloaded(device, network, first)?, &metadata)
    }

    /// Puts back what [`Best::save`] wrote.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is missing, damaged, or of another epoch or network; the device's.
    pub fn restore(&self, path: &Path, device: &dyn Device, network: &mut Network) -> Result<()> {
        let help = "begin anew with --force: these weights are nowhere else";
        if !is_there(path)? {
            return Err(Error::new(Kind::Weights, "the weights of the best epoch are gone")
                .fact("missing", path.display())
                .fact("epoch", self.text())
                .help(help));
        }
        let weights = opened(path)?;
        let (expected, got) = (self.text(), weights.metadata().get(BEST));
        if got != Some(&expected) {
            return Err(Error::new(
                Kind::Weights,
                format!("{} does not hold the weights of the best epoch", path.display()),
            )
            .expected_got(expected, got.map_or("no epoch in its metadata", String::as_str))
            .help(help));
        }
        fill(&weights, device, network)
    }

    /// "head 3, val_loss 0.25": the figure to its last bit.
    fn text(&self) -> String {
        let Epoch { stage, epoch, .. } = self.epoch;
        format!("{stage} {epoch}, {} {}", self.monitor.name(), self.monitor.figure(self.epoch))
    }
}

/// "32768 17 3": the scale, good steps since it changed, steps skipped.
fn read_scale(text: &str) -> Option<LossScale> {
    let mut parts = text.split(' ');
    let (scale, good, skipped) = (parts.next()?, parts.next()?, parts.next()?);
    let scale: f32 = scale.parse().ok()?;
    // Of a power of two only the exponent is not zero.
    let plain = scale >= 1.0 && scale.is_finite() && scale.to_bits().trailing_zeros() >= 23;
    (plain && parts.next().is_none()).then_some(LossScale::at(
        scale,
        good.parse().ok()?,
        skipped.parse().ok()?,
    ))
}

type Stored = (String, Vec<usize>, Vec<f32>);

fn axes(parameter: &Parameter) -> Vec<usize> {
    parameter.shape().axes().to_vec()
}

fn downloaded(device: &dyn Device, network: &Network, first: usize) -> Result<Vec<Stored>> {
    let learned = network.parameters().iter().skip(first);
    learned.map(|p| finite((p.name.clone(), axes(p), device.download(p.value())?))).collect()
}

/// What training can go on from.
fn finite(stored: Stored) -> Result<Stored> {
    match stored.2.iter().position(|number| !number.is_finite()) {
        None => Ok(stored),
        Some(at) => Err(Error::new(Kind::Numeric, format!("`{}` is no longer finite", stored.0))
            .fact("first", format!("{} at index {at}", stored.2[at]))
            .help("training diverged: use a lower learning rate")),
    }
}

fn write(path: &Path, stored: &[Stored], metadata: &BTreeMap<String, String>) -> Result<()> {
    let tensors: Vec<_> = stored
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    let mut metadata = metadata.clone();
    let values =
        |name: &str| Ok(stored.iter().find(|one| one.0 == name).map(|one| Cow::Borrowed(&one.2[..])));
    metadata.insert(CRC32.to_owned(), checksum(&metadata, stored.iter().map(|one| &*one.0), values)?);
    save(path, &tensors, FloatType::F32, &metadata)
}

/// The file at `path`, as it was written. One of an earlier version has no checksum.
fn opened(path: &Path) -> Result<Weights> {
    let weights = Weights::open(path)?;
    let Some(wanted) = weights.metadata().get(CRC32) else { return Ok(weights) };
    let mut metadata = weights.metadata().clone();
    metadata.remove(CRC32);
    let values = |name: &str| weights.tensor(name, weights.shape(name)?).map(Some);
    let found = checksum(&metadata, weights.names(), values)?;
    if found == *wanted {
        return Ok(weights);
    }
    Err(Error::new(Kind::Weights, format!("{} is damaged", path.display()))
        .expected_got(format!("the checksum {wanted}"), found)
        .help("put it back from a copy, or begin again with --force"))
}

/// The parameters from the first on that is there, as the file says: all behind it must be, too.
fn fill(weights: &Weights, device: &dyn Device, network: &mut Network) -> Result<()> {
    let there: Vec<&str> = weights.names().collect();
    let first = weights.metadata().get(FIRST).and_then(|first| first.parse().ok());
    let frozen = first.unwrap_or_else(|| {
        // A file from before it said so.
        network.parameters().iter().take_while(|p| !there.contains(&p.name.as_str())).count()
    });
    let has = network.parameters().iter().position(|p| there.contains(&p.name.as_str()));
    if has.is_some_and(|has| has < frozen) {
        return Err(Error::new(
            Kind::Weights,
            "the checkpoint does not begin with the parameter that it says",
        )
        .expected_got(format!("parameter {frozen}"), format!("parameter {}", has.unwrap_or_default()))
        .help("the file was changed: put it back from a copy, or train again"));
    }
    for parameter in network.parameters_mut().iter_mut().skip(frozen) {
        let values = weights.tensor(&parameter.name, &axes(parameter))?;
        parameter.set(device, &values)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::call::Rmsprop;
    use crate::device::cpu::CpuDevice;
    use crate::model::{Architecture, Head, Layer, Pooling, Source};

    fn network(device: &dyn Device, seed: u64) -> Network {
        let layers = vec![("conv".to_owned(), Layer::Conv2d { filters: 2 })];
        let base = Architecture::base_of("tiny", [4, 4], layers).unwrap();
        let architecture =
            base.with_head(Head { pooling: Pooling::Flatten, units: 3, dropout: 0.0, classes: 2 }).unwrap();
        Network::new(device, architecture, |_| Source::Glorot { seed }).unwrap()
    }

    fn weights(device: &dyn Device, network: &Network) -> Vec<Vec<f32>> {
        network.parameters().iter().map(|p| device.download(p.value()).unwrap()).collect()
    }

    #[test]
    fn training_goes_on_with_all_of_its_state_or_not_at_all() {
        let device = &CpuDevice::new(Some(1)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let mut kept = network(device, 1);
        let optimizer = |network: &Network| Optimizer::new(Rmsprop::default(), network.parameters().len());
        let mut state = optimizer(&kept);
        state.prepare(device, kept.parameters()).unwrap();
        Checkpoint::save(&path, device, (&kept, 0), &mut state, "here").unwrap();
        let restored = |path: &Path| {
            let mut other = network(device, 2);
            let mut state = optimizer(&other);
            Checkpoint::open(path)?.unwrap().restore(device, &mut other, &mut state)
        };
        restored(&path).unwrap();
        let whole = Weights::open(&path).unwrap();
        let (with_checksum, all) = (whole.metadata().clone(), whole.all().unwrap());
        let mut metadata = with_checksum.clone();
        metadata.remove(CRC32).unwrap();
        let names: Vec<String> = all.iter().map(|(name, ..)| name.clone()).collect();
        assert!(names.len() > kept.parameters().len(), "{names:?}");
        for without in &names {
            let some = all.iter().filter(|(name, ..)| name != without);
            let some: Vec<_> = some
                .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
                .collect();
            let path = dir.path().join("less.safetensors");
            save(&path, &some, FloatType::F32, &with_checksum).unwrap();
            let damaged = restored(&path).unwrap_err().to_string();
            assert!(damaged.contains("is damaged") && damaged.contains("checksum"), "{damaged}");
            save(&path, &some, FloatType::F32, &metadata).unwrap();
            let error = restored(&path).unwrap_err();
            assert!(error.kind() == Kind::Weights && error.to_string().contains(without), "{error}");
        }
        // Nor past some of what is there.
        let later = BTreeMap::from([(FIRST.to_owned(), "99".to_owned())]);
        let metadata: BTreeMap<_, _> = metadata.into_iter().chain(later).collect();
        let every: Vec<_> = all
            .iter()
            .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
            .collect();
        let other = dir.path().join("other.safetensors");
        save(&other, &every, FloatType::F32, &metadata).unwrap();
        assert!(restored(&other).unwrap_err().to_string().contains("does not begin"));
        // Nor from what is no number: the file that is there stays.
        let before = std::fs::read(&path).unwrap();
        let shape = axes(&kept.parameters()[0]);
        let values = vec![f32::NAN; shape.iter().product()];
        kept.parameters_mut()[0].set(device, &values).unwrap();
        let error = Checkpoint::save(&path, device, (&kept, 0), &mut state, "here").unwrap_err();
        assert_eq!(error.kind(), Kind::Numeric, "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn the_weights_of_another_epoch_or_of_none_are_not_put_back() {
        let device = &CpuDevice::new(Some(1)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("best.safetensors");
        let epoch = Epoch { val_loss: Some(0.1 + 0.2), ..Epoch::blank("head", 3) };
        let monitor = Monitor::ValLoss;
        let (kept, mut other) = (network(device, 1), network(device, 2));
        let before = weights(device, &other);
        assert_ne!(before, weights(device, &kept));
        let mut refused = |epoch: &Epoch, monitor, part: &str| {
            let error = Best { epoch, monitor }.restore(&path, device, &mut other).unwrap_err();
            assert_eq!(error.kind(), Kind::Weights);
            assert!(error.to_string().contains(part) && error.to_string().contains("--force"), "{error}");
            assert_eq!(weights(device, &other), before, "something was put back");
        };
        refused(&epoch, monitor, "are gone");
        write(&path, &downloaded(device, &kept, 0).unwrap(), &BTreeMap::new()).unwrap();
        refused(&epoch, monitor, "no epoch in its metadata");
        Best { epoch: &epoch, monitor }.save(&path, device, &kept, 0).unwrap();
        let said = "head 3, val_loss 0.30000000000000004";
        refused(&Epoch { epoch: 2, ..epoch.clone() }, monitor, said);
        refused(&Epoch { stage: "finetune".into(), ..epoch.clone() }, monitor, said);
        refused(&Epoch { val_loss: Some(0.3), ..epoch.clone() }, monitor, said);
        refused(&epoch, Monitor::ValAccuracy, said);
        Best { epoch: &epoch, monitor }.restore(&path, device, &mut other).unwrap();
        assert_eq!(weights(device, &other), weights(device, &kept));
    }
}
