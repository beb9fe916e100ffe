//! A piece of a driver's global memory that gives itself back.

use super::driver::{Address, Driver};
use crate::device::{Buffer, Dtype};
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

/// What a [`Buffer`] of the gpu holds. Nothing is asked of the driver for no elements: such storage
/// begins at address 0.
pub struct Storage {
    driver: Arc<dyn Driver>,
    at: Address,
}

impl Storage {
    /// Memory for `len` elements of `dtype`.
    pub fn take(driver: &Arc<dyn Driver>, dtype: Dtype, len: usize) -> Result<Self> {
        if len.checked_mul(dtype.size()).is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(Error::new(Kind::Device, "no device has memory for such a buffer")
                .fact("asked for", format!("{dtype}[{len}]"))
                .help("use a smaller batch or smaller images"));
        }
        let at = if len == 0 { Address(0) } else { driver.alloc(dtype, len)? };
        Ok(Self { driver: Arc::clone(driver), at })
    }

    /// The storage of `buffer`, if `driver` made it: two devices of one kind know nothing of each other's
    /// addresses.
    pub fn of<'a>(buffer: &'a Buffer, driver: &Arc<dyn Driver>) -> Result<&'a Self> {
        let storage = buffer.storage::<Self>()?;
        if std::ptr::addr_eq(Arc::as_ptr(&storage.driver), Arc::as_ptr(driver)) {
            Ok(storage)
        } else {
            Err(crate::device::buffer::foreign())
        }
    }

    /// Where it begins.
    pub fn at(&self) -> Address {
        self.at
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.at != Address(0) {
            self.driver.free(self.at);
        }
    }
}
