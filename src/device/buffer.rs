//! Memory of a device: a length, an element type, and storage that only its device can open.

use crate::error::{Error, Kind, Result};
use std::any::Any;
use std::fmt;

/// The kinds of numbers a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
    /// Labels and indices.
    U32,
    /// Pixels, and the winners of max-pooling, four in a byte.
    U8,
    /// 16-bit floating point as IEEE 754 has it: for storage.
    F16,
    /// The upper half of an f32: for storage.
    Bf16,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::U8 => 1,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::U32 => "u32",
            Self::U8 => "u8",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// A Rust type that a buffer can hold.
pub trait Element: bytemuck::Pod {
    /// Its name at run time.
    const DTYPE: Dtype;
}
impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;
}
impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}
impl Element for half::f16 {
    const DTYPE: Dtype = Dtype::F16;
}
impl Element for half::bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
}

/// A piece of a device's memory. Dropping it gives the memory back to the device.
pub struct Buffer {
    dtype: Dtype,
    len: usize,
    storage: Box<dyn Any + Send + Sync>,
}

impl Buffer {
    /// For devices: wraps their own storage type.
    pub fn new<S: Any + Send + Sync>(dtype: Dtype, len: usize, storage: S) -> Self {
        Self { dtype, len, storage: Box::new(storage) }
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For devices: their storage.
    ///
    /// # Errors
    /// [`Kind::Device`] when the buffer belongs to another kind of device.
    pub fn storage<S: Any>(&self) -> Result<&S> {
        self.storage.downcast_ref().ok_or_else(foreign)
    }

    /// [`Buffer::storage`], to write.
    ///
    /// # Errors
    /// As [`Buffer::storage`].
    pub fn storage_mut<S: Any>(&mut self) -> Result<&mut S> {
        self.storage.downcast_mut().ok_or_else(foreign)
    }
}

/// What a device says to a buffer that is not its own.
pub(super) fn foreign() -> Error {
    Error::new(Kind::Device, "a buffer was handed to a device that did not make it")
        .help("upload the data on the device that runs the model; this is a bug in vgg-ft")
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.dtype, self.len)
    }
}
