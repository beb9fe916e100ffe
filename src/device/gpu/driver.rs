//! The interface between the engine and whatever runs its kernels: ten required methods, and nine with defaults.
//!
//! In: PTX modules, addresses, bytes and [`Launch`]es that were checked. Out: the same bytes, changed.
//! `cuda`, `emulator` and `plan`, which runs nothing, are the drivers (`emulator::Watched` is the emulator with a record of
//! its launches); all other host code is shared.

use super::launch::{Launch, Limits};
use super::module::Module;
use super::plan::Card;
use super::tensor_map::{self, TensorMap};
use crate::device::{Capacity, Description, Dtype};
use crate::error::{Error, Kind, Result};

/// An address in a device's global memory. The emulator's are fake and begin far from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

/// Something that keeps global memory and runs kernels.
pub trait Driver: Send + Sync {
    /// What this is.
    fn describe(&self) -> Description;

    /// What a launch may ask for.
    fn limits(&self) -> &Limits;

    /// Makes the entries of `module` known; a module that is known already is nothing new.
    ///
    /// # Errors
    /// [`Kind::Device`] when the text is refused, with the line.
    fn load(&self, module: &Module) -> Result<()>;

    /// `len` elements (more than none) of global memory with unspecified content, aligned to 256 bytes.
    ///
    /// # Errors
    /// [`Kind::Device`] when there is no memory, with what was asked for.
    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address>;

    /// Gives back what [`Driver::alloc`] gave. Launches that were started before may still use it: a driver
    /// that runs them later frees it after them.
    fn free(&self, at: Address);

    /// Copies host bytes to `to`.
    ///
    /// # Errors
    /// [`Kind::Device`] when they do not lie within one allocation.
    fn write(&self, to: Address, bytes: &[u8]) -> Result<()>;

    /// Copies from `from` to the host, after all earlier launches.
    ///
    /// # Errors
    /// As [`Driver::write`], and what an earlier launch did wrong.
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()>;

    /// Begins to copy `bytes` bytes from `from` to the host, after all earlier launches, and gives the number by
    /// which [`Driver::landed`] knows them; `None` where the driver can only do it at once. An allocation may be
    /// given back in between.
    ///
    /// # Errors
    /// As [`Driver::write`].
    fn read_later(&self, _from: Address, _bytes: usize) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Waits for what [`Driver::read_later`] began, each number once.
    ///
    /// # Errors
    /// As [`Driver::read`].
    fn landed(&self, number: usize) -> Result<Vec<u8>> {
        Err(Error::bug(Kind::Device, format!("no copy {number} is on its way")))
    }

    /// Runs an entry, of a module that is loaded or that ships. May return before it is done.
    ///
    /// # Errors
    /// [`Kind::Device`] with what went wrong in it, or in an earlier one; a driver that passes arguments on refuses those
    /// that are not the kernel's ([`Launch::check_args`]).
    fn launch(&self, launch: &Launch) -> Result<()>;

    /// Waits until all launches are done.
    ///
    /// # Errors
    /// What a launch did wrong.
    fn synchronize(&self) -> Result<()>;

    /// The bytes that a kernel takes for a tensor map, good for this driver's memory.
    ///
    /// # Errors
    /// [`Kind::Device`] when the driver has no tensor maps, or refuses this one.
    fn tensor_map(&self, map: &TensorMap) -> Result<[u8; tensor_map::BYTES]>;

    /// Whether this driver is new enough for the text of `module`, as far as it can tell without a try.
    fn reads(&self, _module: &Module) -> bool {
        true
    }

    /// Does `work`, a step of training or a pass forward: a driver may keep the launches back and start them as one
    /// when it ends, or before a copy that comes in between.
    ///
    /// # Errors
    /// What `work` returns, and as [`Driver::launch`].
    fn together(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        work()
    }

    /// The memory, if the driver can say.
    ///
    /// # Errors
    /// [`Kind::Device`] when it cannot be asked.
    fn memory(&self) -> Result<Option<Capacity>> {
        Ok(None)
    }

    /// Whether there is no GPU behind it.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Which of the known GPUs runs the kernels, if it is one.
    fn card(&self) -> Option<&'static Card> {
        None
    }

    /// Whether what is written can be read again. If not, nobody need make it.
    fn keeps(&self) -> bool {
        true
    }

    /// Which part of the run the allocations and launches from now on belong to.
    fn label(&self, _label: &str) {}

    /// What the driver counted so far, by name, for remarks and tests.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
