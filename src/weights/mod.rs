//! Weights in files: named tensors in, named tensors out.
//!
//! In: a safetensors file with Keras names (`block1_conv1.kernel`, HWIO; `fc1.kernel`, in × out).
//! Out: `f32` slices that were checked (name, shape, finite), and files that are whole or absent.
//! A foreign format (HDF5, `.keras`, `.pth`) is recognised and named. Layouts are changed by the pure
//! functions of [`layout`].

mod convert;
mod file;
mod find;
pub mod hdf5;
mod header;
mod inspect;
pub mod layout;
mod save;

pub use convert::{Report, Rounding, convert};
pub use file::Weights;
pub use find::{DEFAULT_NAME, find_default};
pub use inspect::{Row, Stats, Table, inspect};
pub use safetensors::Dtype;
pub use save::{FloatType, NamedTensor, save};

// Files are little-endian and are read as they lie in memory.
#[cfg(target_endian = "big")]
compile_error!("vgg-ft reads weights in place and has no byte swapping for big-endian machines");
