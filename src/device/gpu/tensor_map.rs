//! Tensor maps: what the tensor memory accelerator (TMA) of sm_90 knows of an array in global memory.
//!
//! In: type, address, sizes, strides, and the box that one instruction moves. Out: a [`TensorMap`] that keeps
//! the rules of `cuTensorMapEncodeTiled` and `cuTensorMapEncodeIm2col` (cuda.h of CUDA 13.0), so that a mistake
//! is found on any machine, with numbers, and not as "invalid value" on a GPU. A driver makes the 128 bytes of
//! it that a kernel takes (`const __grid_constant__ CUtensorMap`): [`Driver::tensor_map`](super::driver::Driver).
//! Dimensions stand innermost first, as in cuda.h. Interleaved layouts and traversal strides are not there.

mod encode;
mod swizzle;
#[cfg(test)]
mod tests;

pub use swizzle::Swizzle;

use super::driver::Address;
use crate::device::Dtype;
use crate::error::{Error, Kind, Result};
use std::fmt;

/// Bytes of an encoded map.
pub const BYTES: usize = 128;
/// Most dimensions.
pub const RANK: usize = 5;

/// What one instruction moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// A box: elements along each dimension.
    Tile([u32; RANK]),
    /// Pixels of a convolution, `(C, W, H, N)` or with one spatial dimension less or more.
    Im2col {
        /// First place of the box of base pixels along W, H, D: minus the padding.
        lower: [i32; 3],
        /// Its last place, counted from the tensor's last one.
        upper: [i32; 3],
        /// Elements along C.
        channels: u32,
        /// Pixels, along W, then H, D, N.
        pixels: u32,
    },
}

/// An array in global memory and the box of it that one instruction moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorMap {
    dtype: Dtype,
    base: Address,
    rank: usize,
    sizes: [u64; RANK],
    strides: [u64; RANK],
    window: Window,
    swizzle: Swizzle,
    rounds: bool,
}

fn wrong(what: impl fmt::Display) -> Error {
    Error::new(Kind::Device, format!("tensor map: {what}"))
        .help("the rules are those of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col; anything else is a bug in vgg-ft")
}

fn within(what: &str, least: i64, most: i64, got: i64) -> Result<()> {
    if (least..=most).contains(&got) {
        return Ok(());
    }
    Err(wrong(what).expected_got(format!("{least} to {most}"), got))
}

fn filled<T: Copy + Default, const N: usize>(list: &[T]) -> [T; N] {
    std::array::from_fn(|k| list.get(k).copied().unwrap_or_default())
}

impl TensorMap {
    /// A map whose instructions move boxes of `window` elements. `sizes` are elements, `strides` bytes from one
    /// place to the next along every dimension but the innermost, which is dense.
    ///
    /// # Errors
    /// [`Kind::Device`]: the rule that does not hold, and both numbers.
    pub fn tile(
        dtype: Dtype,
        base: Address,
        sizes: &[u64],
        strides: &[u64],
        window: &[u32],
        swizzle: Swizzle,
    ) -> Result<Self> {
        within("the number of dimensions", 1, RANK as i64, sizes.len() as i64)?;
        if window.len() != sizes.len() {
            return Err(
                wrong("the box has another number of dimensions").expected_got(sizes.len(), window.len())
            );
        }
        for (k, &extent) in window.iter().enumerate() {
            within(&format!("the box's extent along dimension {k}"), 1, 256, i64::from(extent))?;
        }
        let map = Self {
            dtype,
            base,
            rank: sizes.len(),
            sizes: filled(sizes),
            strides: filled(strides),
            window: Window::Tile(filled(window)),
            swizzle,
            rounds: false,
        };
        map.check(strides.len())?;
        Ok(map)
    }

    /// A map whose instructions gather the pixels of a convolution: `sizes` are `(C, W, N)`, `(C, W, H, N)` or
    /// `(C, W, H, D, N)`; `lower` and `upper` have W, H, D. One instruction moves `pixels` pixels of `channels`
    /// channels: base pixels from its coordinates on, along W within the box from `lower` to the size less one
    /// plus `upper`, then H, D, N; and of each the pixel that its offsets lead to, zeros outside the tensor.
    ///
    /// # Errors
    /// As [`TensorMap::tile`].
    #[allow(clippy::too_many_arguments)] // as the driver has them
    pub fn im2col(
        dtype: Dtype,
        base: Address,
        sizes: &[u64],
        strides: &[u64],
        lower: &[i32],
        upper: &[i32],
        [channels, pixels]: [u32; 2],
        swizzle: Swizzle,
    ) -> Result<Self> {
        within("the number of dimensions of an im2col map", 3, RANK as i64, sizes.len() as i64)?;
        let spatial = sizes.len() - 2;
        let (least, most) = [(-32768, 32767), (-128, 127), (-16, 15)][spatial - 1];
        for (name, corner) in [("lower", lower), ("upper", upper)] {
            if corner.len() != spatial {
                return Err(wrong(format!("the {name} corner has another number of dimensions"))
                    .expected_got(spatial, corner.len()));
            }
            for (k, &offset) in corner.iter().enumerate() {
                within(&format!("the {name} corner's offset {k}"), least, most, i64::from(offset))?;
            }
        }
        within("channels per pixel", 1, 256, i64::from(channels))?;
        within("pixels per column", 1, 1024, i64::from(pixels))?;
        for k in 0..spatial {
            let extent = sizes[k + 1] as i64 + i64::from(upper[k]) - i64::from(lower[k]);
            within(&format!("base pixels along spatial dimension {k}"), 1, i64::MAX, extent)?;
        }
        let window = Window::Im2col { lower: filled(lower), upper: filled(upper), channels, pixels };
        let (rank, strides, count) = (sizes.len(), filled(strides), strides.len());
        let map = Self { dtype, base, rank, sizes: filled(sizes), strides, window, swizzle, rounds: false };
        map.check(count)?;
        Ok(map)
    }

    /// The same map, whose f32 arrive in shared memory as tf32: [`to_tf32`] of each. For factors: tensor cores cut
    /// what a number has beyond tf32, always towards zero.
    ///
    /// # Errors
    /// [`Kind::Device`] for another type than f32.
    pub fn rounding(self) -> Result<Self> {
        if self.dtype != Dtype::F32 {
            return Err(wrong("the type that is rounded").expected_got("F32", format!("{:?}", self.dtype)));
        }
        Ok(Self { rounds: true, ..self })
    }

    fn check(&self, strides: usize) -> Result<()> {
        if !self.base.0.is_multiple_of(16) || self.base.0 == 0 {
            return Err(
                wrong("the address").expected_got("a multiple of 16 above 0", format!("{:#x}", self.base.0))
            );
        }
        if strides + 1 != self.rank {
            return Err(wrong("the number of strides").expected_got(self.rank - 1, strides));
        }
        for (k, &size) in self.sizes().iter().enumerate() {
            within(&format!("the size of dimension {k}"), 1, 1 << 32, size as i64)?;
        }
        for (k, &stride) in self.strides().iter().enumerate() {
            if !stride.is_multiple_of(16) || stride >= 1 << 40 {
                return Err(wrong(format!("the stride of dimension {}", k + 1))
                    .expected_got("a multiple of 16 bytes below 2^40", stride));
            }
        }
        let inner = self.inner_bytes();
        if !inner.is_multiple_of(16) {
            return Err(wrong("the box's innermost dimension").expected_got("a multiple of 16 bytes", inner));
        }
        match self.swizzle.span() {
            Some(span) if inner > span => Err(wrong("the box's innermost dimension")
                .expected_got(format!("at most {span} bytes, as the swizzle says"), inner)),
            _ => Ok(()),
        }
    }

    /// What the tensor holds.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Where it begins.
    pub fn base(&self) -> Address {
        self.base
    }

    /// Elements along each dimension.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes[..self.rank]
    }

    /// Bytes from one place to the next, of all dimensions but the innermost.
    pub fn strides(&self) -> &[u64] {
        &self.strides[..self.rank - 1]
    }

    /// What one instruction moves.
    pub fn window(&self) -> Window {
        self.window
    }

    /// How shared memory is permuted.
    pub fn swizzle(&self) -> Swizzle {
        self.swizzle
    }

    /// Whether what is loaded is rounded to tf32.
    pub fn rounds(&self) -> bool {
        self.rounds
    }

    /// Bytes of a box's innermost dimension.
    pub fn inner_bytes(&self) -> u32 {
        let elements = match self.window {
            Window::Tile(extents) => extents[0],
            Window::Im2col { channels, .. } => channels,
        };
        elements * self.dtype.size() as u32
    }

    /// Bytes of shared memory that one instruction fills, whatever lies outside the tensor.
    pub fn bytes(&self) -> u32 {
        let rows = match self.window {
            Window::Tile(extents) => extents[1..self.rank].iter().product(),
            Window::Im2col { pixels, .. } => pixels,
        };
        self.inner_bytes() * rows
    }
}

/// The bits of the tf32 that is nearest to an f32, of two the even one: 10 bits behind the point, and 13 zeros. What
/// is infinite or no number stays as it is.
///
/// So TMA rounds where a map says `CU_TENSOR_MAP_DATA_TYPE_TFLOAT32`: the CUDA manual names the type and not the
/// rounding; this is what Triton's tests of `round_f32_to_tf32` hold a GPU to (triton-lang/triton#9295, #11751), and
/// CUTLASS has its products of f32 on Hopper rounded so ("TMA converts f32 input to tf32",
/// cutlass/gemm/collective/sm90_mma_tma_gmma_ss_warpspecialized.hpp).
pub fn to_tf32(bits: u32) -> u32 {
    if bits & 0x7f80_0000 == 0x7f80_0000 {
        return bits;
    }
    (bits + 0xfff + (bits >> 13 & 1)) & !0x1fff
}
