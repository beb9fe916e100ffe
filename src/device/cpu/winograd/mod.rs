//! 3x3 convolutions by Winograd's minimal filtering, in all three directions.
//!
//! In: a convolution's geometry, maps, weights. Out: maps, or the weights' gradient. A tile of the map becomes
//! A x A points, the weights became as many before; summed over channels, each point is a matrix product of its
//! own, and the points of the result become outputs. `form` has the matrices, `transform` applies them, `weights`
//! are the transformed weights, `correlate` is forward and backward-input, `gradient` is backward-weight.

mod correlate;
mod form;
mod gradient;
mod transform;
mod weights;

pub use correlate::{Correlation, Output};
pub use gradient::gradient;
pub use weights::Weights;

use super::tile::COLUMNS;
use crate::shape::Conv2d;

/// Which form a convolution takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// F(2x2,3x3).
    Two,
    /// F(3x3,3x3).
    Three,
    /// F(4x4,3x3).
    Four,
}

/// Weights have as many points whatever the batch, and reading them costs what some tiles of each image do
/// (at batch 20).
const WEIGHTS_IN_TILES: usize = 4;

impl Size {
    const ALL: [Self; 3] = [Self::Two, Self::Three, Self::Four];

    /// The form for `geometry`, or `None` where the direct sum is faster or channels do not divide into lines.
    /// The choice does not depend on the batch, so that an image's numbers do not.
    pub fn of(geometry: &Conv2d) -> Option<Self> {
        let Conv2d { h, w, c_in, c_out, .. } = *geometry;
        // The transforms cost as much as some twenty channels' products.
        let open = |channels: usize| channels.is_multiple_of(COLUMNS) && channels >= 32;
        let cost = |size: &Self| {
            let (m, points) = size.sizes();
            points * points * (h.div_ceil(m) * w.div_ceil(m) + WEIGHTS_IN_TILES)
        };
        Self::ALL.into_iter().filter(|_| open(c_in) && open(c_out)).min_by_key(cost)
    }

    /// Whether a tile's outputs are whole windows of the 2x2 pool.
    pub fn pools(self) -> bool {
        self.sizes().0.is_multiple_of(2)
    }

    /// M and A.
    fn sizes(self) -> (usize, usize) {
        match self {
            Self::Two => (2, 4),
            Self::Three => (3, 5),
            Self::Four => (4, 6),
        }
    }
}

/// Bytes of the points of a convolution's weights; 0 where it is summed directly.
pub fn points(geometry: &Conv2d) -> u64 {
    let squared = Size::of(geometry).map_or(0, |size| size.sizes().1.pow(2));
    (size_of::<f32>() * squared * geometry.c_in * geometry.c_out) as u64
}

/// Calls a function that is generic over the form: `with_form!(size, function(arguments))`.
macro_rules! with_form {
    ($size:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $size {
            $crate::device::cpu::winograd::Size::Two =>
                $function::<$crate::device::cpu::winograd::form::F2, 2, 4>($($argument),*),
            $crate::device::cpu::winograd::Size::Three =>
                $function::<$crate::device::cpu::winograd::form::F3, 3, 5>($($argument),*),
            $crate::device::cpu::winograd::Size::Four =>
                $function::<$crate::device::cpu::winograd::form::F4, 4, 6>($($argument),*),
        }
    };
}
use with_form;

/// A map's tiles: rows of them, in all images together.
#[derive(Clone, Copy)]
struct Grid {
    h: usize,
    w: usize,
    /// Outputs of a tile, per axis.
    m: usize,
    high: usize,
    wide: usize,
    rows: usize,
}

impl Grid {
    fn new(geometry: &Conv2d, m: usize) -> Self {
        let Conv2d { n, h, w, .. } = *geometry;
        let (high, wide) = (h.div_ceil(m), w.div_ceil(m));
        Self { h, w, m, high, wide, rows: n * high }
    }

    /// The tiles of some rows, each with its image, its first output row and its first output column.
    fn tiles(self, rows: std::ops::Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
        rows.flat_map(move |row| {
            (0..self.wide).map(move |j| (row / self.high, row % self.high * self.m, j * self.m))
        })
    }

    /// The output row (in all images together) that a row of tiles begins with.
    fn first_row(self, row: usize) -> usize {
        row / self.high * self.h + row % self.high * self.m
    }

    /// The addresses of a tile's `A` x `A` inputs in the map `x` with `c` channels: from one row above and one
    /// column left of its first output; `zeros` around the map.
    fn inputs<const A: usize>(
        self,
        (image, i, j): (usize, usize, usize),
        x: &[f32],
        c: usize,
        zeros: &[f32],
    ) -> [[*const f32; A]; A] {
        std::array::from_fn(|a| {
            let row = (i + a).checked_sub(1).filter(|&row| row < self.h);
            std::array::from_fn(|b| match (row, (j + b).checked_sub(1).filter(|&column| column < self.w)) {
                (Some(row), Some(column)) => {
                    x[((image * self.h + row) * self.w + column) * c..][..c].as_ptr()
                }
                _ => zeros[..c].as_ptr(),
            })
        })
    }
}
