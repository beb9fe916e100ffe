//! Tiles of Hopper's products: rows x columns of a block, and which a layer gets.

use super::{ROWS, STEP};
use crate::device::gpu::lower::SMS;

/// Rows x columns of a block, and what the launch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
    pub threads: usize,
    /// On a multiprocessor.
    pub blocks: usize,
    /// Bytes, dynamic: ring, results, barriers.
    pub shared: u32,
    /// Whether pixels are the columns of its products, and blocks come in pairs (`kernels/conv2d_sm90_turned.cu`).
    pub turned: bool,
    /// Blocks of a cluster that share the depth of its tile (`kernels/conv2d_sm90_split.cu`); 1 where a block has it alone.
    pub sharers: usize,
    /// Nanoseconds of a step, of all blocks that are on a multiprocessor, and of a tile beside its steps.
    pub cost: [usize; 2],
}

// Measured on an H200 (VGG16's layers of 150x150 and 224x224, 20 and 64 images): a step of WIDE takes 0.67 to
// 0.70 us, of SQUARE 0.35 to 0.41, of NARROW 0.31 alone and 0.52 by twos. Half of SQUARE's traffic of shared memory
// makes WIDE 10 to 15 % faster in large products, but its results are stored while nothing is multiplied, and
// in small ones its tiles are too few.
pub const WIDE: Tile = Tile {
    rows: 128,
    columns: 256,
    threads: 384,
    blocks: 1,
    shared: 229_440,
    turned: false,
    sharers: 1,
    cost: [680, 3000],
};
pub const SQUARE: Tile = Tile {
    rows: 128,
    columns: 128,
    threads: 384,
    blocks: 1,
    shared: 229_472,
    turned: false,
    sharers: 1,
    cost: [400, 300],
};
pub const NARROW: Tile = Tile {
    rows: 128,
    columns: 64,
    threads: 288,
    blocks: 2,
    shared: 114_752,
    turned: false,
    sharers: 1,
    cost: [520, 0],
};
// Of pixels that fit waves, in pairs of blocks that share them. A step has some 60 ns beside the tensor cores' 2.28 for
// each column, where SQUARE and WIDE, whose factors come twice as often, have 100; its end is some 500 instructions of
// a thread. On the H200 72 steps of LONG take 38.7 us with the launch and the end.
pub const LONG: Tile = Tile {
    rows: 208,
    columns: 128,
    threads: 384,
    blocks: 1,
    shared: 225_376,
    turned: true,
    sharers: 1,
    cost: [535, 1000],
};
pub const MIDDLE: Tile = Tile { rows: 160, shared: 225_392, cost: [425, 800], ..LONG };
pub const SHORT: Tile = Tile { rows: 112, shared: 213_120, cost: [315, 600], ..LONG };
/// WIDE by clusters of four, each block a quarter of the depth: its end is that of WIDE, what a block leaves for the
/// others and takes from them, 128 KiB each, and their meeting. Measured: 18 steps and an end are 20.3 us, with the
/// launch.
pub const SPLIT: Tile = Tile { sharers: 4, cost: [680, 6500], ..WIDE };
/// Clusters of four that a Hopper has room for at once, a block on a multiprocessor: four in each of eight groups of 16
/// or 18.
const CLUSTERS: usize = 32;
/// NARROW's step where it is alone on its multiprocessor.
const ALONE: usize = 310;

// The weights' gradient. Columns are (tap, channel): 9·c_in are whole tiles of 192 for all channels that we take.
pub const THIRDS: Tile = Tile {
    rows: 128,
    columns: 192,
    threads: 384,
    blocks: 1,
    shared: 204_880,
    turned: false,
    sharers: 1,
    cost: [0, 0],
};
pub const WIDE_WEIGHT: Tile = Tile { shared: 196_672, ..WIDE };

/// Whether a tile of so many rows is one whose pixels are columns, in pairs of blocks.
pub fn is_turned(rows: usize) -> bool {
    [LONG, MIDDLE, SHORT].iter().any(|tile| tile.rows == rows)
}

impl Tile {
    /// Nanoseconds of a product, about.
    fn time(self, rows: usize, columns: usize, steps: usize) -> usize {
        let tiles = self.tiles(rows, columns);
        let at_once = self.at_once(SMS);
        let (waves, rest) = (tiles / at_once, tiles % at_once);
        let ([step, end], steps) = (self.cost, steps.div_ceil(self.sharers));
        let last = match rest {
            0 => 0,
            rest if self.blocks > 1 && rest <= SMS => ALONE * steps + end,
            _ => step * steps + end,
        };
        waves * (step * steps + end) + last
    }

    /// The fastest of `all` for a product of so many rows, columns and steps; of equal ones the first.
    pub fn of(all: &[Self], [rows, columns]: [usize; 2], steps: usize) -> Self {
        let pair = |tile: &Self| if tile.turned { 2 } else { 1 };
        let fits = all.iter().filter(|tile| columns.is_multiple_of(tile.columns * pair(tile)));
        fits.min_by_key(|tile| tile.time(rows, columns, steps)).copied().unwrap_or(NARROW)
    }

    /// The fastest of bf16, whose taps see `channels`.
    pub fn of_bf16(sides: [usize; 2], channels: usize) -> Self {
        Self::of(&[WIDE, SQUARE, NARROW, LONG, MIDDLE, SHORT, SPLIT], sides, 9 * channels / STEP)
    }

    /// Pixels that a block brings at once: half of a pair's, or all.
    pub fn brought(self) -> usize {
        if self.turned { self.rows / 2 } else { self.rows }
    }

    /// Rows of the boxes that TMA stores: a warp's, or all.
    pub fn stored(self) -> usize {
        if self.turned { self.rows } else { ROWS }
    }

    fn tiles(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows) * (columns / self.columns)
    }

    /// Tiles that are under way at once on so many multiprocessors, but one (of a pair, two) at least.
    fn at_once(self, sms: usize) -> usize {
        match self {
            Self { sharers: 2.., .. } => (sms / self.sharers).clamp(1, CLUSTERS),
            Self { turned: true, .. } => (sms / 2 * 2).max(2),
            _ => sms.max(1) * self.blocks,
        }
    }

    /// Blocks that stay until all tiles are done, on so many multiprocessors: no bit depends on that.
    pub fn grid(self, rows: usize, columns: usize, sms: usize) -> [usize; 3] {
        [self.tiles(rows, columns).min(self.at_once(sms)) * self.sharers, 1, 1]
    }

    /// Sums that the sharers of all tiles leave for each other, each a whole tile; none where a block has its tile alone.
    pub fn left(self, rows: usize, columns: usize) -> usize {
        let shared = if self.sharers > 1 { self.sharers } else { 0 };
        self.tiles(rows, columns) * shared * self.rows * self.columns
    }

    pub fn entry(self, call: &str) -> String {
        let split = if self.sharers > 1 { "_split" } else { "" };
        format!("{call}_sm90_{}x{}{split}", self.rows, self.columns)
    }
}
