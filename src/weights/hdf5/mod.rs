//! HDF5: trees of groups, attributes and arrays, out of a file's bytes and into a file.
//!
//! The one room that knows `hdf5-pure`. It is young, and the files are strangers': what it is asked to read
//! goes through `window`, which bounds what a file can cost.

mod array;
mod read;
mod window;
mod write;

#[cfg(test)]
mod tests;

pub(super) use array::Array;
pub(super) use read::{Attributes, Folder, open};
pub use write::{Attribute, Group};
