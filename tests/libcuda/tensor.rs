//! Tensor maps: the numbers of a call are read as cuda.h has them and made a map of the emulator's again.

use crate::machine::{INVALID_VALUE, OK};
use std::ffi::{c_int, c_uint};
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::Address;
use vgg_ft::device::gpu::tensor_map::{BYTES, Swizzle, TensorMap};

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

/// Writes the map's bytes to `to`, which must lie at a multiple of 64.
fn leave(to: *mut u8, code: c_uint, map: vgg_ft::error::Result<TensorMap>) -> c_uint {
    let map = if code == TFLOAT32 { map.and_then(TensorMap::rounding) } else { map };
    let Ok(map) = map else { return INVALID_VALUE };
    if !to.addr().is_multiple_of(64) {
        return INVALID_VALUE;
    }
    unsafe { std::slice::from_raw_parts_mut(to, BYTES) }.copy_from_slice(&map.encode());
    OK
}

unsafe fn list<'a, T>(first: *const T, len: usize) -> &'a [T] {
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// No interleaving, steps of one element, zeros outside.
unsafe fn is_plain(rank: usize, steps: *const c_uint, interleave: c_uint, fill: c_uint) -> bool {
    interleave == 0 && fill == 0 && unsafe { list(steps, rank) }.iter().all(|&step| step == 1)
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
    let rank = rank as usize;
    let Some((kind, swizzle)) = read(dtype, swizzle) else { return INVALID_VALUE };
    if !unsafe { is_plain(rank, steps, interleave, fill) } {
        return INVALID_VALUE;
    }
    let (sizes, strides, window) =
        unsafe { (list(sizes, rank), list(strides, rank - 1), list(window, rank)) };
    leave(to, dtype, TensorMap::tile(kind, Address(base), sizes, strides, window, swizzle))
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
    let rank = rank as usize;
    let Some((kind, swizzle)) = read(dtype, swizzle) else { return INVALID_VALUE };
    if !unsafe { is_plain(rank, steps, interleave, fill) } {
        return INVALID_VALUE;
    }
    let (sizes, strides, lower, upper) =
        unsafe { (list(sizes, rank), list(strides, rank - 1), list(lower, rank - 2), list(upper, rank - 2)) };
    let window = [channels, pixels];
    leave(to, dtype, TensorMap::im2col(kind, Address(base), sizes, strides, lower, upper, window, swizzle))
}
