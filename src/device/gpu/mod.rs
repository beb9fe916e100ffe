//! The device that runs our kernels: the host code that `cuda` and `emulator` share.
//!
//! In: [`Call`]s. Out: [`Launch`](launch::Launch)es, checked and given to a [`Driver`]. [`Gpu`] is the
//! [`Device`] made of a driver.

pub mod cuda;
pub mod driver;
pub mod emulator;
pub mod ladder;
pub mod launch;
mod lower;
pub mod module;
mod params;
pub mod plan;
mod storage;
pub mod tensor_map;
pub(crate) mod tried;
#[cfg(test)]
mod tests;

use super::arm::{Arm, same_length};
use super::{Arrival, Buffer, Call, Capacity, Description, Device, Dtype, Kernels, Precision, filled};
use crate::error::Result;
use crate::shape::Conv2d;
use driver::Driver;
use lower::Site;
use module::{Entry, Module};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::Storage;

/// No label and no index was wrong: what [`Gpu::fault`] holds between calls.
const SOUND: [u32; 2] = [u32::MAX; 2];

/// A device that runs our kernels through `D`.
pub struct Gpu<D> {
    driver: Arc<D>,
    /// The same, as storage keeps it.
    shared: Arc<dyn Driver>,
    /// Two words: the first row whose label was no class, and the first image whose index was none of its
    /// set, or [`SOUND`]. Only kernels see labels and indices, and to wait for them in every step would
    /// cost more than the step.
    fault: Storage,
    /// Whether a kernel may have written there since the last look.
    suspect: AtomicBool,
    /// A teaching kernel in the place of one of ours.
    standing: Option<ladder::Rung>,
    precision: Precision,
    /// Decided.
    kernels: Kernels,
    /// Whether the GPU has kernels of its own that its driver is too old for.
    held_back: bool,
    /// What work on tensor cores is cut for.
    room: lower::Room,
}

/// The modules that a GPU of this capability takes an entry from, but the ladder's and those for one capability alone.
fn plain(capability: u32) -> impl Iterator<Item = &'static Module> {
    let ours = module::MODULES.iter().filter(|module| !ladder::teaches(module) && !module.is_special());
    ours.filter(move |&module| {
        let chosen = |entry: &Entry| {
            module::find(entry.name, capability).is_some_and(|(found, _)| std::ptr::eq(found, module))
        };
        module.entries.iter().any(chosen)
    })
}

impl<D: Driver + 'static> Gpu<D> {
    /// Loads the kernels that suit the device: of each entry the one for its newest target. Those for one capability
    /// alone, and those of tensor cores, wait for [`Gpu::with_kernels`] or their first launch: a driver that has not
    /// compiled them before takes seconds.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) when the driver refuses a module or has no memory;
    /// [`Kind::Usage`](crate::error::Kind::Usage) when `VGG_FT_PTX` names no kernels.
    pub fn new(driver: D) -> Result<Self> {
        let capability = driver.limits().capability;
        let room = lower::Room::of(capability);
        tried::check()?;
        plain(capability)
            .filter(|module| module.precision().is_none())
            .try_for_each(|module| driver.load(module))?;
        let driver = Arc::new(driver);
        let shared: Arc<dyn Driver> = driver.clone();
        let fault = Storage::take(&shared, Dtype::U32, SOUND.len())?;
        shared.write(fault.at(), bytemuck::bytes_of(&SOUND))?;
        Ok(Self {
            driver,
            shared,
            fault,
            suspect: AtomicBool::new(false),
            standing: None,
            precision: Precision::F32,
            kernels: Kernels::Portable,
            held_back: false,
            room,
        })
    }

    /// The same device, with its work on tensor cores cut as for a GPU of another compute capability (80 for 8.0): what an
    /// A100 computes can so be looked at on a newer GPU. The tiles must be among those that the device has kernels and
    /// shared memory for.
    #[must_use]
    pub fn cut_for(self, capability: u32) -> Self {
        Self { room: lower::Room::of(capability), ..self }
    }

    /// The same device, working in `precision` by the portable kernels, as those of [`Gpu::with_kernels`] are chosen for
    /// one precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, kernels: Kernels::Portable, held_back: false, ..self }
    }

    /// The same device, with these kernels where there are several, of those for its precision: to be said after
    /// [`Gpu::with_precision`].
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) when the GPU or its driver cannot run them,
    /// [`Kind::Usage`](crate::error::Kind::Usage) when they do not work in the device's precision.
    pub fn with_kernels(self, kernels: Kernels) -> Result<Self> {
        let capability = self.driver.limits().capability;
        let decided = kernels.decide(&self.driver.describe(), capability, self.precision)?;
        let special = |module: &&Module| {
            // Hopper's own for bf16 do not carry it in their names.
            let multiplies = module.precision().unwrap_or(Precision::Bf16) == self.precision;
            module.is_special() && module.runs_on(capability) && multiplies && !ladder::teaches(module)
        };
        let mut special = module::MODULES.iter().filter(special);
        let held_back = kernels == Kernels::Auto
            && decided == Kernels::Sm90a
            && special.clone().any(|module| !self.driver.reads(module));
        let kernels = if held_back { Kernels::Portable } else { decided };
        // What the others are left, such as few channels, comes with its first launch.
        if kernels == Kernels::Sm90a {
            special.try_for_each(|module| self.driver.load(module))?;
        } else {
            let mut mine = plain(capability).filter(|module| module.precision() == Some(self.precision));
            mine.try_for_each(|module| self.driver.load(module))?;
        }
        Ok(Self { kernels, held_back, ..self })
    }

    /// What runs the kernels.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Says what only kernels could see, once they are done. The cpu refuses a label that is no class at
    /// once; here the rows of good labels have their results, the others are not written, and the error
    /// comes with the next download or wait.
    fn look(&self) -> Result<()> {
        if !self.suspect.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let mut found = SOUND;
        self.driver.read(self.fault.at(), bytemuck::bytes_of_mut(&mut found))?;
        self.judge(found)
    }

    /// What a kernel left in [`Gpu::fault`].
    fn judge(&self, found: [u32; 2]) -> Result<()> {
        if found == SOUND {
            return Ok(());
        }
        self.driver.write(self.fault.at(), bytemuck::bytes_of(&SOUND))?;
        let [row, image] = found;
        if image != u32::MAX {
            return Err(Arm::new("augment")
                .refuse(format!("the index of image {image} is none of the set's"))
                .help("this is a bug in vgg-ft"));
        }
        Err(Arm::new("softmax_cross_entropy")
            .refuse(format!("the label of row {row} is not a class"))
            .fact("expected", "labels below the number of the logits' columns")
            .help("the labels come from another set of classes than the head"))
    }
}

impl<D: Driver + 'static> Device for Gpu<D> {
    fn describe(&self) -> Description {
        let mut card = self.driver.describe();
        if self.kernels == Kernels::Sm90a {
            card.hardware.push_str(", kernels sm_90a");
        } else if self.kernels == Kernels::Winograd {
            card.hardware.push_str(", kernels winograd");
        } else if self.held_back {
            card.hardware.push_str(", kernels portable (those of sm_90a need a driver of CUDA 12.1)");
        }
        card.hardware.extend(tried::described());
        card
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Buffer> {
        Ok(Buffer::new(dtype, len, Storage::take(&self.shared, dtype, len)?))
    }

    fn upload_bytes(&self, from: &[u8], to: &mut Buffer) -> Result<()> {
        same_length("upload", to, from.len())?;
        let storage = Storage::of(to, &self.shared)?;
        if from.is_empty() { Ok(()) } else { self.driver.write(storage.at(), from) }
    }

    fn fill_bytes(&self, to: &mut Buffer, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        if self.driver.keeps() { filled(self, to, fill) } else { Ok(()) }
    }

    fn download_bytes(&self, from: &Buffer, to: &mut [u8]) -> Result<()> {
        same_length("download", from, to.len())?;
        let storage = Storage::of(from, &self.shared)?;
        if !to.is_empty() {
            self.driver.read(storage.at(), to)?;
        }
        self.look()
    }

    fn download_later(&self, from: &Buffer) -> Result<Arrival> {
        let at = Storage::of(from, &self.shared)?.at();
        let bytes = from.len() * from.dtype().size();
        if bytes > 0
            && let Some(bytes) = self.driver.read_later(at, bytes)?
        {
            // What kernels saw comes along, or it would have to be waited for.
            let suspect = self.suspect.swap(false, Ordering::Relaxed);
            let seen =
                if suspect { self.driver.read_later(self.fault.at(), size_of_val(&SOUND)) } else { Ok(None) };
            if suspect && !matches!(seen, Ok(Some(_))) {
                self.suspect.store(true, Ordering::Relaxed);
            }
            let seen = match seen {
                Ok(seen) => seen,
                Err(error) => {
                    // Nobody will fetch the first copy: it is fetched here, so that its place is free again.
                    let _ = self.driver.landed(bytes);
                    return Err(error);
                }
            };
            return Ok(Arrival::Travelling { bytes, seen });
        }
        Arrival::at_once(from, |bytes| self.download_bytes(from, bytes))
    }

    fn arrived(&self, arrival: Arrival) -> Result<Vec<u8>> {
        let (bytes, seen) = match arrival {
            Arrival::Here(bytes) => return Ok(bytes),
            Arrival::Travelling { bytes, seen } => (bytes, seen),
        };
        let bytes = self.driver.landed(bytes)?;
        if let Some(seen) = seen {
            let found = self.driver.landed(seen)?;
            let mut words = SOUND;
            bytemuck::bytes_of_mut(&mut words).copy_from_slice(&found);
            self.judge(words)?;
        }
        Ok(bytes)
    }

    fn run(&self, call: Call<'_>) -> Result<()> {
        let may_fault = matches!(call, Call::SoftmaxCrossEntropy { .. } | Call::Augment { .. });
        let mut site = Site::new(&call, &self.shared, self.fault.at(), (self.precision, self.kernels));
        site.room = self.room;
        lower::lower_on(self.standing, call, &mut site)?;
        for launch in &site.launches {
            launch.check(self.driver.limits())?;
        }
        for launch in &site.launches {
            self.driver.launch(launch)?;
        }
        self.suspect.fetch_or(may_fault, Ordering::Relaxed);
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.driver.synchronize()?;
        self.look()
    }

    fn memory(&self) -> Result<Option<Capacity>> {
        self.driver.memory()
    }

    fn is_simulated(&self) -> bool {
        self.driver.is_simulated()
    }

    fn kernels(&self) -> Option<(u32, Kernels)> {
        Some((self.driver.limits().capability, self.kernels))
    }

    fn card(&self) -> Option<&'static plan::Card> {
        self.driver.card()
    }

    fn joins(&self, geometries: [Conv2d; 2]) -> bool {
        self.kernels == Kernels::Sm90a && self.precision == Precision::Bf16 && lower::joins(geometries)
    }

    fn label(&self, label: &str) {
        self.driver.label(label);
    }

    fn together(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.driver.together(work)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.driver.counters()
    }
}
