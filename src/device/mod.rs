//! Devices: where buffers live and calls run.
//!
//! In: [`Call`]s on [`Buffer`]s. Out: the same buffers, changed. A [`Device`] has six core operations and optional
//! capabilities with defaults. It is chosen at run time, and what computes above uses `&dyn Device` alone; what plans ahead
//! (`train::plan`, `task::estimate`) also asks the static model of GPUs, and what decodes how much room the host has.

mod arm;
pub mod augment;
pub mod buffer;
pub mod call;
mod capability;
mod cost;
pub mod cpu;
pub mod gpu;
mod kernels;
mod launches;
pub mod loss_scale;
mod name;
mod precision;
mod rule;

pub use buffer::{Buffer, Dtype, Element};
pub use call::Call;
pub use cost::Cost;
pub use kernels::Kernels;
pub use launches::Launches;
pub use loss_scale::LossScale;
pub(crate) use name::no_launches;
pub use name::{DeviceName, DeviceOptions, Opened};
pub use precision::Precision;

use crate::error::{Error, Kind, Result};
use crate::shape::Conv2d;

/// What a device says of itself, printed at the start of every run.
#[derive(Clone, Debug)]
pub struct Description {
    /// `cpu`, `cuda:0`, `emulator`: what `--device` takes.
    pub name: String,
    /// The hardware in words: "2 threads, AVX2+FMA".
    pub hardware: String,
}

/// A device's own memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What can still be had.
    pub free: u64,
    /// What there is.
    pub total: u64,
}

/// Bytes on their way from a device. Hand them to [`Device::arrived`]; one that is dropped costs the device a
/// little memory until it ends.
#[derive(Debug)]
#[must_use]
pub enum Arrival {
    /// They are here: the device does not work while the host does.
    Here(Vec<u8>),
    /// They are not, and the device knows them by these numbers.
    Travelling {
        /// What was asked for.
        bytes: usize,
        /// What only kernels could see until then ([`Device::run`]).
        seen: Option<usize>,
    },
}

impl Arrival {
    /// Of a device that can only `download` all of `from` now.
    fn at_once(from: &Buffer, download: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Self> {
        let mut bytes = vec![0; from.len() * from.dtype().size()];
        download(&mut bytes)?;
        Ok(Self::Here(bytes))
    }

    /// Whether to ask for them costs no time.
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }
}

/// Something that holds buffers and runs calls on them.
///
/// Calls run in the order they are given; `run` may return before the work is done, and `download`
/// and `synchronize` wait for it.
pub trait Device: Send + Sync {
    /// What this device is.
    fn describe(&self) -> Description;

    /// In which numbers it works.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// `len` elements with unspecified content.
    ///
    /// # Errors
    /// [`Kind::Device`] when the memory is not there, with what was asked for.
    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Buffer>;

    /// Copies host bytes into the whole of `to`.
    ///
    /// # Errors
    /// [`Kind::Device`] when the lengths differ or the buffer is another device's.
    fn upload_bytes(&self, from: &[u8], to: &mut Buffer) -> Result<()>;

    /// Lets `fill` write the whole of `to`, whose bytes it is given with unspecified content, aligned for any
    /// element: without a second copy where the device's memory is the host's.
    ///
    /// # Errors
    /// As [`Device::upload_bytes`], and those of `fill`; then the content is unspecified.
    fn fill_bytes(&self, to: &mut Buffer, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        filled(self, to, fill)
    }

    /// Copies the whole of `from` into host bytes, after all earlier calls.
    ///
    /// # Errors
    /// As [`Device::upload_bytes`].
    fn download_bytes(&self, from: &Buffer, to: &mut [u8]) -> Result<()>;

    /// Begins to copy the whole of `from` to the host, as it is after all calls so far. [`Device::arrived`] has it
    /// later, and until then the device may go on with other work.
    ///
    /// # Errors
    /// As [`Device::download_bytes`].
    fn download_later(&self, from: &Buffer) -> Result<Arrival> {
        Arrival::at_once(from, |bytes| self.download_bytes(from, bytes))
    }

    /// The bytes that [`Device::download_later`] of this device promised, once they are here.
    ///
    /// # Errors
    /// As [`Device::download_bytes`].
    fn arrived(&self, arrival: Arrival) -> Result<Vec<u8>> {
        match arrival {
            Arrival::Here(bytes) => Ok(bytes),
            Arrival::Travelling { .. } => Err(buffer::foreign()),
        }
    }

    /// Does the work that `call` describes.
    ///
    /// # Errors
    /// [`Kind::Device`] when a buffer has the wrong length, element type or device, naming the call.
    fn run(&self, call: Call<'_>) -> Result<()>;

    /// Waits until all work is done.
    ///
    /// # Errors
    /// [`Kind::Device`] with what went wrong since the last wait.
    fn synchronize(&self) -> Result<()>;

    /// The memory of a device that has its own and can say how much.
    ///
    /// # Errors
    /// [`Kind::Device`] when the device cannot be asked.
    fn memory(&self) -> Result<Option<Capacity>> {
        Ok(None)
    }

    /// Whether it runs a GPU's kernels without a GPU, to look closely at them: time says nothing there.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Of a device of kernels its compute capability (90 for 9.0) and the convolutions that it takes, never `auto`:
    /// with the precision they say what it allocates.
    fn kernels(&self) -> Option<(u32, Kernels)> {
        None
    }

    /// Which of the GPUs that are known by their data sheets this is, if it is one: what it takes can be predicted.
    fn card(&self) -> Option<&'static gpu::plan::Card> {
        None
    }

    /// Whether [`Call::Conv2dConv2dMaxpool2dForward`] of these is faster here than one convolution behind the other.
    fn joins(&self, _geometries: [Conv2d; 2]) -> bool {
        false
    }

    /// Which part of the run, a layer mostly, the buffers and calls from now on belong to: for plans and
    /// for errors.
    fn label(&self, _label: &str) {}

    /// Does `work`, a step of training or a pass forward, whose calls the device may start as one: what they do is
    /// the same.
    ///
    /// # Errors
    /// What `work` returns, and what its calls did wrong.
    fn together(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        work()
    }

    /// What the device counted so far, by name, for remarks.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// [`Device::fill_bytes`] by a copy.
fn filled<D: Device + ?Sized>(
    device: &D,
    to: &mut Buffer,
    fill: &mut dyn FnMut(&mut [u8]) -> Result<()>,
) -> Result<()> {
    let bytes = to.len() * to.dtype().size();
    let mut words = vec![0u64; bytes.div_ceil(size_of::<u64>())];
    let host = &mut bytemuck::cast_slice_mut(&mut words)[..bytes];
    fill(host)?;
    device.upload_bytes(host, to)
}

impl dyn Device + '_ {
    /// [`Device::together`] of work that has a result.
    ///
    /// # Errors
    /// As there.
    pub fn as_one<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (mut work, mut done) = (Some(work), None);
        self.together(&mut || {
            if let Some(work) = work.take() {
                done = Some(work()?);
            }
            Ok(())
        })?;
        done.ok_or_else(|| Error::bug(Kind::Device, "the device did not begin what it was given"))
    }

    /// A new buffer that holds `from`.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn upload<T: Element>(&self, from: &[T]) -> Result<Buffer> {
        let mut to = self.alloc(T::DTYPE, from.len())?;
        self.upload_bytes(bytemuck::cast_slice(from), &mut to)?;
        Ok(to)
    }

    /// The content of `from`.
    ///
    /// # Errors
    /// [`Kind::Device`] when `from` holds another element type, or the host has no room for it.
    pub fn download<T: Element>(&self, from: &Buffer) -> Result<Vec<T>> {
        if from.dtype() != T::DTYPE {
            return Err(Error::new(Kind::Device, "a buffer is read as another type")
                .expected_got(from.dtype(), T::DTYPE)
                .help("what a buffer holds is known where it is made; this is a bug in vgg-ft"));
        }
        let mut to: Vec<T> = Vec::new();
        to.try_reserve_exact(from.len()).map_err(|_| {
            Error::new(Kind::Device, "there is no memory for a copy of a buffer")
                .fact("bytes", from.len() * size_of::<T>())
                .help("close other programs, or raise the limit of memory (ulimit -v)")
        })?;
        to.resize(from.len(), T::zeroed());
        self.download_bytes(from, bytemuck::cast_slice_mut(&mut to))?;
        Ok(to)
    }

    /// The content of `from`, which holds floating-point numbers of any format.
    ///
    /// # Errors
    /// As [`Device::download_bytes`]; [`Kind::Device`] when `from` holds others.
    pub fn download_floats(&self, from: &Buffer) -> Result<Vec<f32>> {
        // Widened here: half the bytes travel.
        Ok(match from.dtype() {
            Dtype::Bf16 => self.download::<half::bf16>(from)?.into_iter().map(f32::from).collect(),
            Dtype::F16 => self.download::<half::f16>(from)?.into_iter().map(f32::from).collect(),
            _ => self.download(from)?,
        })
    }

    /// A new buffer of zeros.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn zeros(&self, len: usize) -> Result<Buffer> {
        let mut to = self.alloc(Dtype::F32, len)?;
        self.fill_bytes(&mut to, &mut |bytes| {
            bytes.fill(0);
            Ok(())
        })?;
        Ok(to)
    }
}
