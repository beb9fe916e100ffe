//! Tensor maps as an NVIDIA driver encodes them.
//!
//! In: a [`TensorMap`], whose rules were checked when it was made. Out: 128 opaque bytes for a kernel's
//! parameter. No conversation with the GPU: the library writes them.

use super::library::{Library, SUCCESS};
use crate::device::Dtype;
use crate::device::gpu::tensor_map::{BYTES, RANK, Swizzle, TensorMap, Window};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;

/// The driver wants its result at a multiple of 64 bytes.
#[repr(C, align(64))]
struct Aligned(sys::CUtensorMap);

pub fn encode(library: &Library, map: &TensorMap) -> Result<[u8; BYTES]> {
    const { assert!(size_of::<sys::CUtensorMap>() == BYTES) };
    let Some(tensors) = &library.tensors else {
        return Err(Error::new(Kind::Device, "cuda: this driver has no tensor maps")
            .fact("functions", "cuTensorMapEncodeTiled, cuTensorMapEncodeIm2col")
            .help("install a driver of CUDA 12.1 or newer (530 or newer), or use --kernels portable"));
    };
    let dtype = match map.dtype() {
        Dtype::F32 if map.rounds() => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        Dtype::F32 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        Dtype::U32 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT32,
        Dtype::U8 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        Dtype::F16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        Dtype::Bf16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
    };
    let swizzle = match map.swizzle() {
        Swizzle::None => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::B32 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::B64 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::B128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
    };
    let interleave = sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE;
    let promotion = sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
    let fill = sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
    let rank = map.sizes().len();
    let base = map.base().0 as usize as *mut std::ffi::c_void;
    let (sizes, strides, steps) = (map.sizes().as_ptr(), map.strides().as_ptr(), [1; RANK]);
    let mut out = Aligned(sys::CUtensorMap { opaque: [0; 16] });
    let code = match map.window() {
        // SAFETY: every array has `rank` elements or more, `strides` one less, as the driver reads them; `out`
        // is one map, aligned to 64 bytes. The tensor's address is not followed.
        Window::Tile(extents) => unsafe {
            (tensors.tiled)(
                &mut out.0,
                dtype,
                rank as u32,
                base,
                sizes,
                strides,
                extents.as_ptr(),
                steps.as_ptr(),
                interleave,
                swizzle,
                promotion,
                fill,
            )
        },
        // SAFETY: as above; the corners have rank - 2 elements or more.
        Window::Im2col { lower, upper, channels, pixels } => unsafe {
            (tensors.im2col)(
                &mut out.0,
                dtype,
                rank as u32,
                base,
                sizes,
                strides,
                lower.as_ptr(),
                upper.as_ptr(),
                channels,
                pixels,
                steps.as_ptr(),
                interleave,
                swizzle,
                promotion,
                fill,
            )
        },
    };
    if code != SUCCESS {
        return Err(library.error(code, "encode a tensor map").fact("map", format!("{map:?}")));
    }
    let mut bytes = [0; BYTES];
    for (eight, word) in bytes.chunks_exact_mut(8).zip(out.0.opaque) {
        eight.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(bytes)
}
