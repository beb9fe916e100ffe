//! Opens a call's buffers as slices, or says which argument of which call does not fit.

use super::memory::Storage;
use crate::device::arm::Arm;
use crate::device::{Buffer, Element};
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
}
