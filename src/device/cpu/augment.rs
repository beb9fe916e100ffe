//! Images of a set, gathered, moved and normalized.
//!
//! Coordinates and weights in f64, in the order of scipy's loops and of `kernels/augment.cu`: the bits are
//! the same on every device.

use super::workshop::Workshop;
use crate::device::arm::Arm;
use crate::device::augment::{Border, Gather, Transform};
use crate::error::Result;

/// `y[k] = normal(bright(flip(shift(move(pixels[indices[k]])))))`; `transforms` holds
/// [`Transform::WORDS`] words for each.
///
/// # Errors
/// When an index is none of the set's images.
pub fn augment(
    shop: &Workshop,
    arm: Arm,
    g: Gather,
    pixels: &[u8],
    (indices, transforms): (&[u32], &[u32]),
    y: &mut [f32],
) -> Result<()> {
    if let Some((k, index)) = indices.iter().enumerate().find(|&(_, &index)| index as usize >= g.count) {
        return Err(arm
            .refuse(format!("the index of image {k} is none of the set's"))
            .expected_got(format!("below {}", g.count), index));
    }
    let len = g.h * g.w * 3;
    if len == 0 {
        return Ok(());
    }
    let jobs = y.chunks_exact_mut(len).zip(indices).zip(transforms.chunks_exact(Transform::WORDS));
    shop.threads.each(jobs, |((y, &index), words)| {
        let image = Image { g: &g, levels: &pixels[index as usize * len..][..len] };
        image.augment(&bytemuck::pod_read_unaligned(bytemuck::cast_slice(words)), y);
    });
    Ok(())
}

struct Image<'a> {
    g: &'a Gather,
    levels: &'a [u8],
}

impl Image<'_> {
    fn augment(&self, transform: &Transform, y: &mut [f32]) {
        let Gather { h, w, ranged, rule, .. } = *self.g;
        let order = rule.order.map(|c| usize::from(c.min(2)));
        let range = (ranged && transform.has(Transform::SHIFTS)).then(|| self.range(transform));
        for (at, y) in y.chunks_exact_mut(3).enumerate() {
            let (mut i, mut j) = (at / w, at % w);
            if transform.has(Transform::FLIPS_COLUMNS) {
                j = w - 1 - j;
            }
            if transform.has(Transform::FLIPS_ROWS) {
                i = h - 1 - i;
            }
            let moved = self.moved(transform, i, j);
            for c in 0..3 {
                let mut v = moved[order[c]];
                if let Some((low, high)) = range {
                    v = (v + transform.shift).max(low).min(high);
                }
                if transform.has(Transform::BRIGHTENS) {
                    v = byte(byte(v) * transform.brightness);
                }
                y[c] = v * rule.scale[c] + rule.offset[c];
            }
        }
    }

    /// The three channels of the moved image at (i, j).
    fn moved(&self, transform: &Transform, i: usize, j: usize) -> [f32; 3] {
        let Gather { h, w, border, .. } = *self.g;
        if !transform.has(Transform::MOVES) {
            return std::array::from_fn(|c| f32::from(self.levels[(i * w + j) * 3 + c]));
        }
        let (m, y, x) = (&transform.matrix, i as f64, j as f64);
        let row = inside(y * m[0] + x * m[1] + m[2], h, border);
        let column = inside(y * m[3] + x * m[4] + m[5], w, border);
        let (Some(row), Some(column)) = (row, column) else {
            let Border::Constant(value) = border else { return [f32::NAN; 3] };
            return [value; 3];
        };
        let (rows, by_row) = neighbours(row, h);
        let (columns, by_column) = neighbours(column, w);
        let mut sum = [0.0; 3];
        for a in 0..2 {
            for b in 0..2 {
                let levels = &self.levels[(rows[a] * w + columns[b]) * 3..][..3];
                for c in 0..3 {
                    sum[c] += f64::from(levels[c]) * by_row[a] * by_column[b];
                }
            }
        }
        sum.map(|sum| sum as f32)
    }

    /// The smallest and the largest level of the moved image, all channels together.
    fn range(&self, transform: &Transform) -> (f32, f32) {
        let mut range = (f32::INFINITY, f32::NEG_INFINITY);
        for i in 0..self.g.h {
            for j in 0..self.g.w {
                for v in self.moved(transform, i, j) {
                    range = (range.0.min(v), range.1.max(v));
                }
            }
        }
        range
    }
}

/// Cut to a byte, as NumPy and PIL do it: towards zero.
fn byte(v: f32) -> f32 {
    v.clamp(0.0, 255.0).trunc()
}

/// Where a coordinate beyond the image lies inside it: scipy's `map_coordinate`. `None` for "nowhere".
fn inside(at: f64, size: usize, border: Border) -> Option<f64> {
    let last = (size - 1) as f64;
    // How often `period` goes into `at`, which is not negative; as C casts to an integer.
    let times = |at: f64, period: f64| (at / period) as i64 as f64;
    if at >= 0.0 && at <= last {
        return Some(at);
    }
    Some(match border {
        Border::Nearest => {
            if at < 0.0 {
                0.0
            } else {
                last
            }
        }
        Border::Constant(_) => return None,
        _ if size <= 1 => 0.0,
        Border::Reflect => {
            let (whole, both) = (size as f64, (2 * size) as f64);
            if at < 0.0 {
                let at = if at < -both { at + both * times(-at, both) } else { at };
                if at < -whole { at + both } else { (if at > -f64::EPSILON { 1e-15 } else { -at }) - 1.0 }
            } else {
                let at = at - both * times(at, both);
                if at >= whole { both - at - 1.0 } else { at }
            }
        }
        Border::Wrap if at < 0.0 => at + last * (times(-at, last) + 1.0),
        Border::Wrap => at - last * times(at, last),
    })
}

/// The two neighbours of a coordinate along an axis, and their weights. The neighbour past the edge is the edge
/// pixel, where it counts at all.
fn neighbours(at: f64, size: usize) -> ([usize; 2], [f64; 2]) {
    let first = at.floor();
    let weight = 1.0 - (at - first);
    let last = size as i64 - 1;
    let first = first as i64;
    let to = [first.clamp(0, last), first.max(-1).saturating_add(1).min(last)];
    (to.map(|to| to as usize), [weight, 1.0 - weight])
}
