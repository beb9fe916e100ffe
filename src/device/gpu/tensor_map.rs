//! Tensor maps: what the tensor memory accelerator (TMA) of sm_90 knows of an array in global memory.
//!
//! In: type, address, sizes, strides, and the box that one instruction moves. Out: a [`TensorMap`] that keeps
//! the rules of `cuTensorMapEncodeTiled` and `cuTensorMapEncodeIm2col` (cuda.h of CUDA 13.0), so that a mistake
//! is found on any machine, with numbers, and not as "invalid value" on a card. A driver makes the 128 bytes of
//! it that a kernel takes (`const __grid_constant__ CUtensorMap`): [`Driver::tensor_map`](super::driver::Driver).
//! Dimensions stand innermost first, as in cuda.h. Interleaved layouts and traversal strides are not there.

use super::driver::Address;
use crate::device::Dtype;
use crate::error::{Error, Kind, Result};
use std::fmt;

/// Bytes of an encoded map.
pub const BYTES: usize = 128;
/// Most dimensions.
pub const RANK: usize = 5;

/// How rows of a box are permuted in shared memory, 16 bytes at a time, so that columns lie in other banks.
/// What is permuted are the bits of the address in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// As they are.
    #[default]
    None,
    /// Within 32 bytes; repeats after 256.
    B32,
    /// Within 64 bytes; repeats after 512.
    B64,
    /// Within 128 bytes; repeats after 1024.
    B128,
}

impl Swizzle {
    /// Most bytes of a box's innermost dimension.
    pub fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 => Some(128),
        }
    }

    /// Where byte `address` of the plain order lies.
    #[inline(always)]
    pub fn place(self, address: u32) -> u32 {
        match self {
            Self::None => address,
            Self::B32 => address ^ (address >> 3 & 0x10),
            Self::B64 => address ^ (address >> 3 & 0x30),
            Self::B128 => address ^ (address >> 3 & 0x70),
        }
    }
}

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

    /// The emulator's own 128 bytes: they look like no driver's.
    pub fn encode(&self) -> [u8; BYTES] {
        let mut out = Writer { bytes: [0; BYTES], at: 0 };
        out.put(&MAGIC);
        let im2col = u8::from(matches!(self.window, Window::Im2col { .. }));
        let kind = im2col | u8::from(self.rounds) << 1;
        out.put(&[code(self.dtype), self.rank as u8, self.swizzle as u8, kind]);
        out.put(&self.base.0.to_le_bytes());
        // A size of 2^32 is kept as 0, which no size is.
        self.sizes.iter().for_each(|&size| out.put(&(size as u32).to_le_bytes()));
        self.strides[..RANK - 1].iter().for_each(|stride| out.put(&stride.to_le_bytes()));
        match self.window {
            Window::Tile(extents) => extents.iter().for_each(|&e| out.put(&(e as u16).to_le_bytes())),
            Window::Im2col { lower, upper, channels, pixels } => {
                lower.iter().chain(&upper).for_each(|&c| out.put(&(c as i16).to_le_bytes()));
                out.put(&(channels as u16).to_le_bytes());
                out.put(&(pixels as u16).to_le_bytes());
            }
        }
        out.bytes
    }

    /// What [`TensorMap::encode`] wrote; nothing where something else stands there.
    pub fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let mut from = Reader { bytes, at: 0 };
        if from.take::<4>()? != MAGIC {
            return None;
        }
        let [dtype, rank, swizzle, kind] = from.take::<4>()?;
        let dtype = DTYPES.into_iter().find(|&known| code(known) == dtype)?;
        let rank = usize::from(rank);
        let swizzle =
            [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128].get(usize::from(swizzle)).copied()?;
        let base = Address(u64::from_le_bytes(from.take()?));
        let mut sizes = [0; RANK];
        for (k, size) in sizes.iter_mut().enumerate() {
            let word = u32::from_le_bytes(from.take()?);
            *size = if word == 0 && k < rank { 1 << 32 } else { u64::from(word) };
        }
        let mut strides = [0; RANK];
        for stride in &mut strides[..RANK - 1] {
            *stride = u64::from_le_bytes(from.take()?);
        }
        let window = if kind & 1 == 0 {
            let mut extents = [0; RANK];
            for extent in &mut extents {
                *extent = u32::from(u16::from_le_bytes(from.take()?));
            }
            Window::Tile(extents)
        } else {
            let mut corners = [0; 6];
            for corner in &mut corners {
                *corner = i32::from(i16::from_le_bytes(from.take()?));
            }
            let [a, b, c, d, e, f] = corners;
            let channels = u32::from(u16::from_le_bytes(from.take()?));
            let pixels = u32::from(u16::from_le_bytes(from.take()?));
            Window::Im2col { lower: [a, b, c], upper: [d, e, f], channels, pixels }
        };
        let map = Self { dtype, base, rank, sizes, strides, window, swizzle, rounds: kind & 2 != 0 };
        (1..=RANK).contains(&rank).then_some(map)
    }
}

/// The bits of the tf32 that is nearest to an f32, of two the even one: 10 bits behind the point, and 13 zeros. What
/// is infinite or no number stays as it is.
///
/// So TMA rounds where a map says `CU_TENSOR_MAP_DATA_TYPE_TFLOAT32`: the CUDA manual names the type and not the
/// rounding; this is what Triton's tests of `round_f32_to_tf32` hold a card to (triton-lang/triton#9295, #11751), and
/// CUTLASS has its products of f32 on Hopper rounded so ("TMA converts f32 input to tf32",
/// cutlass/gemm/collective/sm90_mma_tma_gmma_ss_warpspecialized.hpp).
pub fn to_tf32(bits: u32) -> u32 {
    if bits & 0x7f80_0000 == 0x7f80_0000 {
        return bits;
    }
    (bits + 0xfff + (bits >> 13 & 1)) & !0x1fff
}

const MAGIC: [u8; 4] = *b"vtm1";
const DTYPES: [Dtype; 5] = [Dtype::F32, Dtype::U32, Dtype::U8, Dtype::F16, Dtype::Bf16];

fn code(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::F32 => 1,
        Dtype::U32 => 2,
        Dtype::U8 => 3,
        Dtype::F16 => 4,
        Dtype::Bf16 => 5,
    }
}

struct Writer {
    bytes: [u8; BYTES],
    at: usize,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

struct Reader<'b> {
    bytes: &'b [u8; BYTES],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.bytes.get(self.at..)?.first_chunk().copied();
        self.at += N;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Address = Address(0x7f00_0000_0100);

    fn tile(
        base: u64,
        sizes: &[u64],
        strides: &[u64],
        window: &[u32],
        swizzle: Swizzle,
    ) -> Result<TensorMap> {
        TensorMap::tile(Dtype::Bf16, Address(base), sizes, strides, window, swizzle)
    }

    #[test]
    fn what_the_driver_refuses_is_refused_with_numbers() {
        let wrong = |result: Result<TensorMap>, part: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(part), "{text} lacks {part}");
        };
        let good = |base| tile(base, &[64, 9], &[128], &[64, 8], Swizzle::B128);
        assert_eq!(good(BASE.0).unwrap().bytes(), 1024);
        wrong(good(BASE.0 + 8), "a multiple of 16");
        wrong(good(0), "a multiple of 16 above 0");
        wrong(tile(BASE.0, &[], &[], &[], Swizzle::None), "1 to 5");
        wrong(tile(BASE.0, &[64, 9], &[128], &[64], Swizzle::None), "another number of dimensions");
        wrong(tile(BASE.0, &[64, 9], &[], &[64, 8], Swizzle::None), "number of strides");
        wrong(tile(BASE.0, &[64, 9], &[120], &[64, 8], Swizzle::None), "120");
        wrong(tile(BASE.0, &[64, 9], &[1 << 40], &[64, 8], Swizzle::None), "below 2^40");
        wrong(tile(BASE.0, &[64, 0], &[128], &[64, 8], Swizzle::None), "dimension 1");
        wrong(tile(BASE.0, &[64, 9], &[128], &[64, 257], Swizzle::None), "257");
        wrong(tile(BASE.0, &[64, 9], &[128], &[0, 8], Swizzle::None), "1 to 256");
        wrong(tile(BASE.0, &[64, 9], &[128], &[4, 8], Swizzle::None), "a multiple of 16 bytes");
        wrong(tile(BASE.0, &[64, 9], &[128], &[64, 8], Swizzle::B64), "at most 64 bytes");
        wrong(tile(BASE.0, &[64, 9], &[128], &[32, 8], Swizzle::B32), "at most 32 bytes");

        let pixels = |lower: &[i32], upper: &[i32], box_: [u32; 2]| {
            let (sizes, strides) = ([64, 9, 9, 2], [128, 1152, 10368]);
            TensorMap::im2col(Dtype::Bf16, BASE, &sizes, &strides, lower, upper, box_, Swizzle::B128)
        };
        assert_eq!(pixels(&[-1, -1], &[-1, -1], [64, 128]).unwrap().bytes(), 16384);
        wrong(pixels(&[-129, -1], &[-1, -1], [64, 128]), "-128 to 127");
        wrong(pixels(&[-1], &[-1, -1], [64, 128]), "the lower corner");
        wrong(pixels(&[-1, -1], &[-1, 128], [64, 128]), "the upper corner's offset 1");
        wrong(pixels(&[0, 0], &[-9, -1], [64, 128]), "base pixels along spatial dimension 0");
        wrong(pixels(&[-1, -1], &[-1, -1], [64, 1025]), "1 to 1024");
        wrong(pixels(&[-1, -1], &[-1, -1], [257, 8]), "1 to 256");
        wrong(pixels(&[-1, -1], &[-1, -1], [128, 8]), "at most 128 bytes");
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let tile = tile(BASE.0, &[64, 1 << 32, 7], &[128, 1 << 39], &[64, 256, 2], Swizzle::B128).unwrap();
        assert_eq!(TensorMap::decode(&tile.encode()), Some(tile));
        let (sizes, strides) = ([512, 9, 8, 7, 2], [1024, 9216, 73728, 516_096]);
        let corners: [&[i32]; 2] = [&[-1, -2, -16], &[15, -1, 0]];
        let [lower, upper] = corners;
        let pixels =
            TensorMap::im2col(Dtype::F32, BASE, &sizes, &strides, lower, upper, [16, 1024], Swizzle::B64)
                .unwrap();
        assert_eq!(TensorMap::decode(&pixels.encode()), Some(pixels));
        let rounding = pixels.rounding().unwrap();
        assert!(rounding != pixels && TensorMap::decode(&rounding.encode()) == Some(rounding));
        assert_eq!(TensorMap::decode(&[0; BYTES]), None);
    }

    #[test]
    fn only_f32_is_rounded_and_to_the_nearest_even() {
        let half = tile(BASE.0, &[64, 9], &[128], &[64, 8], Swizzle::B128).unwrap();
        assert!(half.rounding().unwrap_err().to_string().contains("F32"));
        let one = 1f32.to_bits();
        for (bits, want) in [
            (one | 0xfff, one),                                 // below half a unit
            (one | 0x1000, one),                                // half: down to the even one
            (one | 0x3000, one + 0x4000),                       // half: up to the even one
            (one | 0x1001, one + 0x2000),                       // above half
            (one | 0x7f_ffff, 2f32.to_bits()),                  // carries into the exponent
            (f32::MAX.to_bits(), f32::INFINITY.to_bits()),      // and out of the last one
            (1 << 31 | one | 0x1fff, 1 << 31 | (one + 0x2000)), // the same below zero
            (f32::INFINITY.to_bits(), f32::INFINITY.to_bits()),
            (0x7f80_0001, 0x7f80_0001), // no number stays none
        ] {
            assert_eq!(to_tf32(bits), want, "{bits:#x}");
        }
    }

    #[test]
    fn a_swizzle_permutes_chunks_within_its_span() {
        for (swizzle, span) in [(Swizzle::B32, 32), (Swizzle::B64, 64), (Swizzle::B128, 128)] {
            let mut seen = vec![false; 2048];
            for address in (0..2048).step_by(16) {
                let place = swizzle.place(address);
                assert_eq!(place / span, address / span);
                assert!(!std::mem::replace(&mut seen[place as usize], true));
            }
            assert_eq!(swizzle.place(5), 5);
        }
        // Row 3 of 128 bytes, chunk 0: the third chunk.
        assert_eq!(Swizzle::B128.place(3 * 128), 3 * 128 + 48);
        assert_eq!(Swizzle::B64.place(128), 128 + 16);
        assert_eq!(Swizzle::B32.place(128), 128 + 16);
    }
}
