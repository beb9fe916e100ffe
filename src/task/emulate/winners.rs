//! Which of four pixels won a pool behind a convolution, where two are too near to tell.
//!
//! In: the winners of two devices, and the map that the pool has not stored. Out: the first's, as the second has them where its
//! own pick is as large within the tolerance of the sums: orders of addition, and 16 bits, decide such ties either way.

use super::convolutions::{CONV2D_FORWARD, CONV2D_MAXPOOL2D_FORWARD};
use super::kernels::{Kernel, Sizes};
use super::{Numbers, run};
use crate::device::{Device, Dtype};
use crate::error::Result;
use crate::shape::Pool2d;

/// Replaces winners in `got` that are as good as those in `want`. `within` is how far a number of the map may be off on either
/// device, as a share of the largest; inputs are the call's.
///
/// # Errors
/// The device's, which computes the map.
pub(super) fn settle(
    device: &dyn Device,
    (kernel, sizes): (&Kernel, &Sizes),
    inputs: &[Numbers],
    (got, want): (&mut [Vec<f64>], &[Vec<f64>]),
    within: f64,
) -> Result<()> {
    let ([_, got], [y, want]) = (got, want) else { return Ok(()) };
    if kernel.name != CONV2D_MAXPOOL2D_FORWARD.name || got == want {
        return Ok(());
    }
    let room = Numbers::Unwritten(Dtype::F32, sizes.conv2d().y().len());
    let map = run(device, &CONV2D_FORWARD, sizes, inputs, &[room])?;
    let largest = y.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    ties(&sizes.conv2d().pool(), &map[0], (got, want), 2.0 * within * largest);
    Ok(())
}

/// The same, with how far two pixels may be apart. Winners have two bits each, four to a byte: row and column.
fn ties(pool: &Pool2d, map: &[f64], (got, want): (&mut [f64], &[f64]), apart: f64) {
    let Pool2d { h, w, c, .. } = *pool;
    let (rows, columns) = (h / 2, w / 2);
    let pixel = |p: usize, which: usize| {
        let (n, i, j, channel) = (p / (rows * columns * c), p / (columns * c) % rows, p / c % columns, p % c);
        map[((n * h + 2 * i + which / 2) * w + 2 * j + which % 2) * c + channel]
    };
    for (byte, (got, &want)) in got.iter_mut().zip(want).enumerate() {
        for place in 0..4 {
            let pick = |byte: f64| byte as usize >> (2 * place) & 3;
            let (own, others) = (pick(*got), pick(want));
            if own != others
                && (pixel(4 * byte + place, own) - pixel(4 * byte + place, others)).abs() <= apart
            {
                *got += (others as f64 - own as f64) * f64::from(1 << (2 * place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two windows of one channel: in the first the last two pixels are near, in the second none is.
    #[test]
    fn near_pixels_may_both_win_and_others_not() {
        let pool = Pool2d { n: 1, h: 2, w: 4, c: 1 };
        let map = [0.0, 0.1, 0.2, 0.9, 1.0, 1.001, 0.3, 0.4];
        let want = [f64::from(3 | 1 << 2)];
        for (own, kept) in [(2 | 1 << 2, 3 | 1 << 2), (2 | 3 << 2, 3 | 3 << 2), (1 | 1 << 2, 1 | 1 << 2)] {
            let mut got = [f64::from(own)];
            ties(&pool, &map, (&mut got, &want), 0.01);
            assert_eq!(got, [f64::from(kept)], "{own}");
        }
    }
}
