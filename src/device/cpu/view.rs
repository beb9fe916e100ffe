//! Opens a call's buffers as slices, or says which argument of which call does not fit.

use super::memory::Storage;
use crate::device::{Buffer, Element};
use crate::error::{Context, Error, Kind, Result};
use std::fmt;

/// The call whose arguments are being opened.
#[derive(Clone, Copy)]
pub struct Arm {
    call: &'static str,
}

impl Arm {
    pub fn new(call: &'static str) -> Self {
        Self { call }
    }

    /// The `len` elements of `buffer`, to read.
    pub fn input<'a, T: Element>(&self, name: &str, buffer: &'a Buffer, len: usize) -> Result<&'a [T]> {
        self.fits::<T>(name, buffer, len)?;
        let storage = buffer.storage::<Storage>().context(|| self.doing(name))?;
        Ok(bytemuck::cast_slice(storage.bytes()))
    }

    /// The `len` elements of `buffer`, to write.
    pub fn output<'a, T: Element>(
        &self,
        name: &str,
        buffer: &'a mut Buffer,
        len: usize,
    ) -> Result<&'a mut [T]> {
        self.fits::<T>(name, buffer, len)?;
        let storage = buffer.storage_mut::<Storage>().context(|| self.doing(name))?;
        Ok(bytemuck::cast_slice_mut(storage.bytes_mut()))
    }

    /// `columns`, if the buffer divides into rows of that many.
    pub fn columns(&self, name: &str, columns: usize, buffer: &Buffer) -> Result<usize> {
        if columns == 0 || !buffer.len().is_multiple_of(columns) {
            return Err(self
                .refuse(format!("`{name}` does not divide into rows"))
                .expected_got(format!("a multiple of {columns} elements"), buffer.len()));
        }
        Ok(columns)
    }

    /// An error that begins with the call's name.
    pub fn refuse(&self, what: impl fmt::Display) -> Error {
        Error::new(Kind::Device, format!("{}: {what}", self.call))
    }

    fn fits<T: Element>(&self, name: &str, buffer: &Buffer, len: usize) -> Result<()> {
        if buffer.dtype() == T::DTYPE && buffer.len() == len {
            return Ok(());
        }
        Err(self
            .refuse(format!("`{name}` does not fit"))
            .expected_got(format!("{}[{len}]", T::DTYPE), format!("{buffer:?}"))
            .help("the sizes of a call come from its tensors' shapes; this is a bug in vgg-ft"))
    }

    fn doing(&self, name: &str) -> String {
        format!("opening `{name}` of {}", self.call)
    }
}

/// For copies: the host's bytes must be the buffer's.
pub fn same_length(verb: &str, buffer: usize, host: usize) -> Result<()> {
    if buffer == host {
        return Ok(());
    }
    Err(Error::new(Kind::Device, format!("{verb}: the host's bytes are not as many as the buffer's"))
        .expected_got(format!("{buffer} bytes"), host))
}
