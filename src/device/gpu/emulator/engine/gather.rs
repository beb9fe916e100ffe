//! The bytes of a bulk copy in global memory.
//!
//! In: an address, or a box of a tensor. Out: its bytes in the box's order, zeros where the box lies outside
//! the tensor; or the other way, and nothing is written outside. Rows of the innermost dimension are found one
//! by one, as the hardware walks them: dimension by dimension, or pixel by pixel (im2col).

use super::bulk::Place;
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::Fault;
use crate::device::gpu::tensor_map::{RANK, TensorMap, Window, to_tf32};

/// Bytes of a box's row that lie within the tensor.
struct Run {
    /// In the box.
    at: usize,
    address: u64,
    bytes: usize,
}

/// The part of a row at `at` (innermost first) that lies within the tensor.
fn run(map: &TensorMap, row: usize, at: &[i64; RANK], base: u64) -> Option<Run> {
    let (sizes, size) = (map.sizes(), map.dtype().size() as i64);
    let inner = i64::from(map.inner_bytes()) / size;
    let (first, last) = (at[0].max(0), (at[0] + inner).min(sizes[0] as i64));
    let outside = |(&at, &size): (&i64, &u64)| at < 0 || at >= size as i64;
    if first >= last || at[1..].iter().zip(&sizes[1..]).any(outside) {
        return None;
    }
    let outer = at[1..].iter().zip(map.strides()).map(|(&at, &stride)| at as u64 * stride);
    let address = base + outer.sum::<u64>() + (first * size) as u64;
    let skipped = (first - at[0]) * size;
    Some(Run {
        at: row * map.inner_bytes() as usize + skipped as usize,
        address,
        bytes: ((last - first) * size) as usize,
    })
}

/// The runs of a box.
fn runs(map: &TensorMap, at: &[i32; RANK], offsets: Option<[i32; 3]>, base: u64) -> Vec<Run> {
    let at = at.map(i64::from);
    let rank = map.sizes().len();
    let mut found = Vec::new();
    match map.window() {
        Window::Tile(extents) => {
            let rows: u32 = extents[1..rank].iter().product();
            for row in 0..rows as usize {
                let (mut place, mut rest) = (at, row as i64);
                for k in 1..rank {
                    place[k] += rest % i64::from(extents[k]);
                    rest /= i64::from(extents[k]);
                }
                found.extend(run(map, row, &place, base));
            }
        }
        Window::Im2col { lower, upper, pixels, .. } => {
            let (spatial, mut place) = (rank - 2, at);
            let offsets = offsets.unwrap_or_default();
            for row in 0..pixels as usize {
                let mut pixel = place;
                (0..spatial).for_each(|k| pixel[k + 1] += i64::from(offsets[k]));
                found.extend(run(map, row, &pixel, base));
                // The next base pixel: along W to the end of the box, then H, D, N.
                for k in 0..=spatial {
                    place[k + 1] += 1;
                    let behind = |k: usize| map.sizes()[k + 1] as i64 + i64::from(upper[k]);
                    if k == spatial || place[k + 1] < behind(k) {
                        break;
                    }
                    place[k + 1] = i64::from(lower[k]);
                }
            }
        }
    }
    found
}

impl Core<'_, '_> {
    /// Global memory to `data`, which holds zeros.
    pub(super) fn gather(
        &mut self,
        at: u32,
        lane: usize,
        from: &Place,
        data: &mut [u8],
    ) -> Result<(), Box<Fault>> {
        match from {
            Place::Bytes(address) => self.pull(at, lane, *address, 16, data),
            Place::Tensor { map, at: place, offsets } => {
                let size = map.dtype().size() as u32;
                let all = runs(map, place, *offsets, Self::tensor_base(map));
                for run in all {
                    let data = &mut data[run.at..run.at + run.bytes];
                    self.pull(at, lane, run.address, size, data)?;
                    if map.rounds() {
                        data.as_chunks_mut::<4>().0.iter_mut().for_each(|four| {
                            *four = to_tf32(u32::from_le_bytes(*four)).to_le_bytes();
                        });
                    }
                }
                Ok(())
            }
        }
    }

    /// `data` to global memory.
    pub(super) fn scatter(
        &mut self,
        at: u32,
        lane: usize,
        to: &Place,
        data: &[u8],
    ) -> Result<(), Box<Fault>> {
        match to {
            Place::Bytes(address) => self.push(at, lane, *address, 16, data),
            Place::Tensor { map, at: place, offsets } => {
                let size = map.dtype().size() as u32;
                let all = runs(map, place, *offsets, Self::tensor_base(map));
                all.into_iter().try_for_each(|run| {
                    self.push(at, lane, run.address, size, &data[run.at..run.at + run.bytes])
                })
            }
        }
    }
}
