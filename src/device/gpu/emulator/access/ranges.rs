//! Ranges of global memory: what bulk copies move.
//!
//! In: an address and bytes. Out: data moved, with the checks of plain accesses, element by element only where
//! something is wrong.

use super::super::core::Core;
use super::super::fault::Fault;

impl Core<'_, '_> {
    /// Global memory to `data`, in elements of `size` bytes.
    pub(in crate::device::gpu::emulator) fn pull(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        data: &mut [u8],
    ) -> Result<(), Box<Fault>> {
        self.bounded(at, lane, address, size, data.len(), true)?;
        let (it, offset) = self.locate(at, lane, address, size, true)?;
        if self.grid.options.checked && !it.is_range_sound(offset, offset + data.len(), None) {
            for part in (offset..offset + data.len()).step_by(size as usize) {
                self.check_read(at, lane, it, part, size, false)?;
            }
        }
        self.owned(at, lane, address, data.len(), false)?;
        it.read(offset, data);
        Ok(())
    }

    /// `data` to global memory, in elements of `size` bytes.
    pub(in crate::device::gpu::emulator) fn push(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        data: &[u8],
    ) -> Result<(), Box<Fault>> {
        self.bounded(at, lane, address, size, data.len(), false)?;
        let (it, offset) = self.locate(at, lane, address, size, false)?;
        self.owned(at, lane, address, data.len(), true)?;
        it.write(offset, data);
        it.mark(offset, data.len(), self.grid.stamp);
        Ok(())
    }

    /// Whether both ends lie within one allocation; if not, which element is the first that does not.
    fn bounded(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        bytes: usize,
        read: bool,
    ) -> Result<(), Box<Fault>> {
        let (first, _) = self.locate(at, lane, address, size, read)?;
        let base = first.base;
        let last = self.locate(at, lane, address + bytes as u64 - u64::from(size), size, read);
        if last.is_ok_and(|(last, _)| last.base == base) {
            return Ok(());
        }
        let mut each = (address..address + bytes as u64).step_by(size as usize);
        each.try_for_each(|address| self.locate(at, lane, address, size, read).map(|_| ()))
    }

    fn owned(
        &self,
        at: u32,
        lane: usize,
        address: u64,
        bytes: usize,
        writes: bool,
    ) -> Result<(), Box<Fault>> {
        if self.grid.owners.is_none() {
            return Ok(());
        }
        self.note_owner(at, lane, address, bytes as u32, (writes, true))
    }
}
