//! A map as the 128 bytes that kernels on the emulator take, and back.

use super::{BYTES, RANK, Swizzle, TensorMap, Window};
use crate::device::Dtype;
use crate::device::gpu::driver::Address;

impl TensorMap {
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
