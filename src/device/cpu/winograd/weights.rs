//! Transformed weights.
//!
//! In: the nine taps of sixteen outputs and up to sixteen input channels at a time. Out: for each point the panels that
//! products read, one after the other: `[point][c_out / 16][c_in][16]`.

use super::form::Form;
use super::transform::{spread, windows_to_points};
use super::{Size, with_form};
use crate::device::cpu::tile::COLUMNS;
use crate::device::cpu::workshop::{Scratch, Shared, Workshop};
use crate::error::Result;
use std::ops::Range;

/// Input channels that are gathered at a time: they share lines of the cache.
const TOGETHER: usize = 16;

/// The nine taps of sixteen outputs, for one input channel.
pub type Taps = [[f32; COLUMNS]; 9];

/// The points of a convolution's weights.
pub struct Weights {
    /// The form they are for.
    pub size: Size,
    /// Inputs and outputs of the convolution they are for.
    pub channels: (usize, usize),
    points: Scratch,
    spread: usize,
}

impl Weights {
    /// Transforms; `windows(channels, outputs, taps)` writes the nine taps of sixteen outputs for each of these input
    /// channels.
    ///
    /// # Errors
    /// Of memory.
    pub fn transform(
        shop: &Workshop,
        size: Size,
        (c_in, c_out): (usize, usize),
        windows: impl Fn(Range<usize>, Range<usize>, &mut [Taps]) + Sync,
    ) -> Result<Self> {
        let (_, points) = size.sizes();
        let spread = spread(c_in * c_out);
        let mut all = shop.lasting(points * points * spread)?;
        assert!(c_out.is_multiple_of(COLUMNS));
        let to = Shared::new(&mut all);
        shop.threads.each(0..c_out / COLUMNS, |panel| {
            let outputs = panel * COLUMNS..(panel + 1) * COLUMNS;
            let to = to.at(panel * c_in * COLUMNS);
            // SAFETY: points are `spread` apart, which is all panels of one, and a panel is one job's.
            unsafe {
                let gather = |channels, taps: &mut [Taps]| windows(channels, outputs.clone(), taps);
                with_form!(size, panel_points(c_in, to, spread, gather));
            }
        });
        Ok(Self { size, channels: (c_in, c_out), points: all, spread })
    }

    /// The panels of a point, from the `first` on.
    pub fn panels(&self, point: usize, first: usize) -> &[f32] {
        // Up to the end of all, so that the next point's lines can be fetched ahead.
        &self.points[point * self.spread + first * self.panel()..]
    }

    /// Numbers of a panel.
    pub fn panel(&self) -> usize {
        self.channels.0 * COLUMNS
    }
}

/// Writes the lines of one panel in every point.
///
/// # Safety
/// `to` begins a panel of `c_in` lines of sixteen in each point, `spread` apart, that nobody else writes.
unsafe fn panel_points<F: Form<M, A>, const M: usize, const A: usize>(
    c_in: usize,
    to: *mut f32,
    spread: usize,
    windows: impl Fn(Range<usize>, &mut [Taps]),
) {
    let g = F::g();
    let mut taps = [[[0.0; COLUMNS]; 9]; TOGETHER];
    for first in (0..c_in).step_by(TOGETHER) {
        let channels = first..(first + TOGETHER).min(c_in);
        windows(channels.clone(), &mut taps[..channels.len()]);
        for (c, taps) in channels.zip(&taps) {
            // SAFETY: the caller's promise.
            unsafe { windows_to_points::<A>(&g, taps, to.add(c * COLUMNS), spread) };
        }
    }
}
