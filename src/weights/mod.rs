//! Weights in files: named tensors in, named tensors out.
//!
//! In: a file of any format that [`FileFormat`] lists. Out: `f32` slices that were checked (name, shape,
//! finite), in the file's own names and layouts, and files that are whole or absent. What the names mean to
//! a network is the business of [`model`](crate::model). Layouts are changed by the pure functions of [`layout`].

mod contents;
mod convert;
mod file;
mod find;
mod format;
pub mod hdf5;
mod header;
mod inspect;
mod keras;
pub mod layout;
mod map;
mod nearest;
mod numbers;
mod onnx;
mod save;
pub mod torch;
mod unzip;
pub mod zip;

pub use contents::FileFormat;
pub(crate) use contents::{GraphLayer, GraphOp, Order};
pub use convert::{Report, Rounding, rewrite};
pub use file::{Named, Weights};
pub use find::{DEFAULT_NAME, DEFAULT_SHA256, find_default};
pub use inspect::{LONG_NAME, Row, Stats, Table, inspect};
pub use safetensors::Dtype;
pub(crate) use save::write_stoppable;
pub use save::{FloatType, NamedTensor, save, save_stoppable};
pub(crate) use unzip::shorten;

/// For `fuzz/` and tests: reads `bytes` as a file of any format and forgets what it found.
///
/// # Errors
/// As [`Weights::open`].
#[doc(hidden)]
pub fn read_and_forget(bytes: &[u8]) -> crate::error::Result<usize> {
    format::read(std::path::Path::new("bytes"), bytes).map(|contents| contents.tensors.len())
}

// Files are little-endian and are read as they lie in memory.
#[cfg(target_endian = "big")]
compile_error!("vgg-ft reads weights in place and has no byte swapping for big-endian machines");
