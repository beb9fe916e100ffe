//! Opens a call's buffers as slices, or says which argument of which call does not fit.

use super::memory::Storage;
use crate::device::arm::Arm;
use crate::device::{Buffer, Element, LossScale};
use crate::error::{Context, Result};

impl Arm {
    /// The `len` elements of `buffer`, to read.
    pub(super) fn input<'a, T: Element>(
        &self,
        name: &str,
        buffer: &'a Buffer,
        len: usize,
    ) -> Result<&'a [T]> {
        self.fits(name, buffer, T::DTYPE, len)?;
        let storage = buffer.storage::<Storage>().context(|| self.doing(name))?;
        Ok(bytemuck::cast_slice(storage.bytes()))
    }

    /// The `len` elements of `buffer`, to write.
    pub(super) fn output<'a, T: Element>(
        &self,
        name: &str,
        buffer: &'a mut Buffer,
        len: usize,
    ) -> Result<&'a mut [T]> {
        self.fits(name, buffer, T::DTYPE, len)?;
        let storage = buffer.storage_mut::<Storage>().context(|| self.doing(name))?;
        Ok(bytemuck::cast_slice_mut(storage.bytes_mut()))
    }

    /// What `scaling` holds, if the loss was scaled.
    pub(super) fn scaling(&self, scaling: Option<&Buffer>) -> Result<Option<LossScale>> {
        let Some(buffer) = scaling else { return Ok(None) };
        let words = self.input::<u32>("scaling", buffer, LossScale::WORDS)?;
        Ok(Some(*bytemuck::from_bytes(bytemuck::cast_slice(words))))
    }

    /// The same, to write.
    pub(super) fn scaling_mut<'a>(&self, scaling: &'a mut Buffer) -> Result<&'a mut LossScale> {
        let words = self.output::<u32>("scaling", scaling, LossScale::WORDS)?;
        Ok(bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(words)))
    }
}
