//! Tensor maps: the numbers of a call are read as cuda.h has them and made a map of the emulator's again.

use crate::machine::{INVALID_VALUE, OK};
use std::ffi::{c_int, c_uint};
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::Address;
use vgg_ft::device::gpu::tensor_map::{BYTES, Swizzle, TensorMap};
use vgg_ft::error::Result;

/// Of f32 that are rounded on the way.
const TFLOAT32: c_uint = 11;

/// `CUtensorMapDataType` and `CUtensorMapSwizzle`.
fn read(dtype: c_uint, swizzle: c_uint) -> Option<(Dtype, Swizzle)> {
    let dtype = match dtype {
        0 => Dtype::U8,
        2 => Dtype::U32,
        6 => Dtype::F16,
        7 | TFLOAT32 => Dtype::F32,
        9 => Dtype::Bf16,
        _ => return None,
    };
    let swizzles = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];
    Some((dtype, *swizzles.get(swizzle as usize)?))
}

unsafe fn list<'a, T>(first: *const T, len: usize) -> &'a [T] {
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// What both calls say of the array, and where the map's bytes go.
struct Array {
    to: *mut u8,
    dtype: c_uint,
    rank: c_uint,
    base: u64,
    sizes: *const u64,
    strides: *const u64,
    steps: *const c_uint,
    interleave: c_uint,
    swizzle: c_uint,
    fill: c_uint,
}

impl Array {
    /// Writes what `map` makes of type, address, sizes and strides. `to` must lie at a multiple of 64; nothing may be
    /// interleaved, steps are of one element, and outside are zeros.
    unsafe fn encode(
        self,
        map: impl FnOnce(Dtype, Address, &[u64], &[u64], Swizzle) -> Result<TensorMap>,
    ) -> c_uint {
        let rank = self.rank as usize;
        let plain = self.interleave == 0
            && self.fill == 0
            && unsafe { list(self.steps, rank) }.iter().all(|&step| step == 1);
        let (Some((dtype, swizzle)), true) = (read(self.dtype, self.swizzle), plain) else {
            return INVALID_VALUE;
        };
        let (sizes, strides) = unsafe { (list(self.sizes, rank), list(self.strides, rank - 1)) };
        let map = map(dtype, Address(self.base), sizes, strides, swizzle);
        let map = if self.dtype == TFLOAT32 { map.and_then(TensorMap::rounding) } else { map };
        match map {
            Ok(map) if self.to.addr().is_multiple_of(64) => {
                unsafe { std::slice::from_raw_parts_mut(self.to, BYTES) }.copy_from_slice(&map.encode());
                OK
            }
            _ => INVALID_VALUE,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapEncodeTiled(
    to: *mut u8,
    dtype: c_uint,
    rank: c_uint,
    base: u64,
    sizes: *const u64,
    strides: *const u64,
    window: *const c_uint,
    steps: *const c_uint,
    interleave: c_uint,
    swizzle: c_uint,
    _promotion: c_uint,
    fill: c_uint,
) -> c_uint {
    let window = unsafe { list(window, rank as usize) };
    let array = Array { to, dtype, rank, base, sizes, strides, steps, interleave, swizzle, fill };
    unsafe {
        array.encode(|dtype, base, sizes, strides, swizzle| {
            TensorMap::tile(dtype, base, sizes, strides, window, swizzle)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapEncodeIm2col(
    to: *mut u8,
    dtype: c_uint,
    rank: c_uint,
    base: u64,
    sizes: *const u64,
    strides: *const u64,
    lower: *const c_int,
    upper: *const c_int,
    channels: c_uint,
    pixels: c_uint,
    steps: *const c_uint,
    interleave: c_uint,
    swizzle: c_uint,
    _promotion: c_uint,
    fill: c_uint,
) -> c_uint {
    let spatial = rank as usize - 2;
    let (lower, upper) = unsafe { (list(lower, spatial), list(upper, spatial)) };
    let array = Array { to, dtype, rank, base, sizes, strides, steps, interleave, swizzle, fill };
    unsafe {
        array.encode(|dtype, base, sizes, strides, swizzle| {
            TensorMap::im2col(dtype, base, sizes, strides, lower, upper, [channels, pixels], swizzle)
        })
    }
}
