//! Numbers of files as `f32`: bytes of any float type in, floats out, borrowed where they lie as they should.

use bytemuck::{Pod, cast_slice_mut, pod_collect_to_vec, try_cast_slice};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use std::borrow::Cow;

/// Values per task: 64 Ki floats (256 kB) stay in the second-level cache between conversion and check.
pub(super) const CHUNK: usize = 1 << 16;

/// The numbers in `bytes`; `None` for a type that is no float. An f64 is rounded to the nearest f32.
pub(super) fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Cow<'_, [f32]>> {
    match dtype {
        Dtype::F32 => Some(aligned(bytes)),
        Dtype::F16 => Some(Cow::Owned(widen::<f16>(&aligned(bytes)))),
        Dtype::BF16 => Some(Cow::Owned(widen::<bf16>(&aligned(bytes)))),
        Dtype::F64 => Some(Cow::Owned(widen::<f64>(&aligned(bytes)))),
        _ => None,
    }
}

/// The types that [`floats`] reads.
pub(super) const READABLE: &str = "F32, F16, BF16 or F64";

/// How many of `values` are NaN or infinite.
pub(super) fn not_finite(values: &[f32]) -> usize {
    values.par_chunks(CHUNK).map(count_not_finite).sum()
}

/// The bytes as numbers: in place when they are aligned (files of [`save`](super::save()) always are).
fn aligned<T: Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    match try_cast_slice(bytes) {
        Ok(values) => Cow::Borrowed(values),
        Err(_) => Cow::Owned(pod_collect_to_vec(bytes)),
    }
}

/// A float type that can become f32 a slice at a time, by F16C where the machine has it.
trait Widen: Pod + Sync {
    fn widen(from: &[Self], to: &mut [f32]);
}

impl Widen for f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
}

impl Widen for bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        // A bf16 is the upper half of an f32; unlike the library's loop this one is vectorised.
        for (to, from) in cast_slice_mut::<f32, u32>(to).iter_mut().zip(from) {
            *to = u32::from(from.to_bits()) << 16;
        }
    }
}

impl Widen for f64 {
    fn widen(from: &[Self], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from as f32;
        }
    }
}

fn widen<T: Widen>(from: &[T]) -> Vec<f32> {
    let mut to = vec![0.0; from.len()];
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| T::widen(from, to));
    to
}

fn count_not_finite(values: &[f32]) -> usize {
    // An exponent of all ones; on bits, so that the loop is vectorised.
    values.iter().map(|x| usize::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_exactly() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let f16s: Vec<f16> = all.iter().map(|&b| f16::from_bits(b)).collect();
        let bf16s: Vec<bf16> = all.iter().map(|&b| bf16::from_bits(b)).collect();
        for ((bits, wide), wide_b) in all.iter().zip(widen(&f16s)).zip(widen(&bf16s)) {
            let (one, two) = (f16::from_bits(*bits).to_f32(), bf16::from_bits(*bits).to_f32());
            // NaNs need only stay NaNs: F16C and software differ in the quiet bit.
            assert!(wide.to_bits() == one.to_bits() || wide.is_nan() && one.is_nan(), "f16 {bits:#06x}");
            assert!(wide_b.to_bits() == two.to_bits() || wide_b.is_nan() && two.is_nan(), "bf16 {bits:#06x}");
        }
    }

    #[test]
    fn doubles_are_rounded_and_integers_are_no_floats() {
        let bytes: Vec<u8> = [0.1f64, -3.0, 1e300].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(&floats(Dtype::F64, &bytes).unwrap()[..], [0.1f32, -3.0, f32::INFINITY]);
        assert!(floats(Dtype::I64, &bytes).is_none());
    }
}
