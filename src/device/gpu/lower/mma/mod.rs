//! The convolution on tensor cores: `kernels/conv2d_bf16.cu`, `conv2d_tf32.cu`, `conv2d_tf32x3.cu`.
//!
//! In: a call whose activations are bf16, or f32 on a device of precision tf32 or tf32x3. Out: its launches. Which tile a
//! layer gets and how its sums are cut is a function of the geometry alone, never of the card.

mod even;
#[cfg(test)]
mod tests;

use super::conv2d::{geometry, pixels};
use super::{Cut, Form, Site, Weight, maxpool2d};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype, Precision};
use crate::error::Result;
use crate::shape::Conv2d;

/// What the factors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Activations and weights in memory.
    Bf16,
    /// Of f32 in memory, rounded on the way.
    Tf32,
    /// Of f32 in memory, split into two on the way.
    Tf32x3,
}

/// What a block computes, and what the launch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
    /// Of a step.
    depth: usize,
    threads: usize,
    /// Bytes, dynamic: the tiles of all stages, and the result after them.
    shared: u32,
}

/// The tiles of a format. Which layer gets which was measured on an H200 (VGG16 at batch 20, 150x150); none of
/// them changes the order of a sum.
struct Tiles {
    /// 128x128 with steps of 128 bytes: best where a card is full several times over.
    deep: Tile,
    /// The same with steps of 64 bytes, where it is full once or twice. Of tf32 the deep one is as good.
    wide: Tile,
    /// 128x64: where there are only 64 columns; and of bf16 where `wide` leaves the last turn nearly empty.
    narrow: Tile,
    /// 64x64, of weights of which there are few.
    small: Tile,
    /// Any channels.
    any: Tile,
}

const fn tile([rows, columns, depth]: [usize; 3], kib: u32) -> Tile {
    Tile { rows, columns, depth, threads: 128, shared: kib << 10 }
}

const BF16: Tiles = Tiles {
    deep: tile([128, 128, 64], 96),
    wide: tile([128, 128, 32], 48),
    narrow: tile([128, 64, 64], 72),
    small: tile([64, 64, 64], 48),
    any: tile([128, 64, 32], 24),
};
const TF32: Tiles = Tiles {
    deep: tile([128, 128, 32], 96),
    wide: tile([128, 128, 32], 96),
    narrow: tile([128, 64, 32], 72),
    small: tile([64, 64, 16], 32),
    any: tile([128, 64, 32], 48),
};
/// Registers for a split factor and its products allow one size.
const TF32X3: Tiles = Tiles {
    deep: tile([128, 64, 16], 48),
    wide: tile([128, 64, 16], 48),
    narrow: tile([128, 64, 16], 48),
    small: tile([64, 64, 16], 32),
    any: tile([128, 64, 32], 48),
};

/// Multiprocessors of a large card: sums are cut as if every card had as many.
const PLACES: usize = 132;
/// Blocks that they run at once, two each.
pub const ROOM: usize = 2 * PLACES;

impl Format {
    /// Of a call whose activations are in `buffer`; none if it goes by fused multiply-adds.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) on a card without such tensor cores.
    pub fn of(site: &Site, buffer: &Buffer) -> Result<Option<Self>> {
        let format = match (buffer.dtype(), site.precision) {
            (Dtype::Bf16, _) => Self::Bf16,
            (Dtype::F32, Precision::Tf32) => Self::Tf32,
            (Dtype::F32, Precision::Tf32x3) => Self::Tf32x3,
            _ => return Ok(None),
        };
        let capability = site.capability();
        if !format.precision().runs_on(capability) {
            return Err(site
                .arm
                .refuse(format!("this card has no tensor cores for {}", format.name()))
                .expected_got("compute capability 80 (Ampere) or newer", capability)
                .help("use --precision f32"));
        }
        Ok(Some(format))
    }

    fn precision(self) -> Precision {
        match self {
            Self::Bf16 => Precision::Bf16,
            Self::Tf32 => Precision::Tf32,
            Self::Tf32x3 => Precision::Tf32x3,
        }
    }

    /// As entries name it.
    fn name(self) -> &'static str {
        self.precision().name()
    }

    /// Of activations and weights.
    pub fn dtype(self) -> Dtype {
        self.precision().activations()
    }

    /// Whether all rows of numbers are whole chunks of 16 bytes.
    pub fn whole(self, channels: [usize; 2]) -> bool {
        channels.iter().all(|channels| channels.is_multiple_of(16 / self.dtype().size()))
    }

    fn tiles(self) -> &'static Tiles {
        match self {
            Self::Bf16 => &BF16,
            Self::Tf32 => &TF32,
            Self::Tf32x3 => &TF32X3,
        }
    }

    fn entry(self, call: &str, Tile { rows, columns, depth, .. }: Tile) -> String {
        format!("{call}_{}_{rows}x{columns}x{depth}", self.name())
    }
}

/// A product whose rows are pixels: nine taps of `depth` channels, `columns` of them wanted.
#[derive(Clone, Copy)]
struct Product {
    format: Format,
    call: &'static str,
    rows: usize,
    depth: usize,
    columns: usize,
}

impl Product {
    /// Entry and tile of the whole product.
    fn whole(self) -> (String, Tile) {
        let Self { format, call, depth, columns, .. } = self;
        let tiles = format.tiles();
        if !format.whole([depth, columns]) {
            let picture = call == "conv2d_forward" && depth == 3;
            let kind = if picture { "rgb" } else { "any" };
            return (format!("{call}_{}_{kind}", format.name()), tiles.any);
        }
        let blocks = self.blocks(tiles.wide);
        let tile = if columns <= 64 {
            tiles.narrow
        } else if format != Format::Bf16 || blocks <= ROOM {
            tiles.wide
        } else if call == "conv2d_backward_input" {
            // Its weights come across the depth, and rows of 256 bytes gain nothing.
            tiles.narrow
        } else if blocks < 2 * ROOM {
            tiles.wide
        } else {
            tiles.deep
        };
        (format.entry(call, tile), tile)
    }

    /// Blocks along one axis: columns fastest, so that those that share pixels run side by side.
    fn blocks(self, tile: Tile) -> usize {
        self.rows.div_ceil(tile.rows) * self.columns.div_ceil(tile.columns)
    }

    /// How its depth is cut, if it is: a map of few pixels has fewer tiles than a large card has room for, but
    /// then its depth is long. Of tf32, where a step takes longer, more parts pay. `pixels` are those of the map,
    /// also where a pool leaves some out: its sums are the map's.
    fn cut(self, pixels: usize) -> Option<(Tile, Cut)> {
        /// Steps of a part, at least: fewer do not pay for writing and reading its sums.
        const LEAST: usize = 9;
        /// Parts, at most.
        const MOST: usize = 8;
        let tiles = self.format.tiles();
        let tile = if self.columns <= 64 { tiles.narrow } else { tiles.wide };
        let blocks = Self { rows: pixels, ..self }.blocks(tile);
        let steps = 9 * self.depth.div_ceil(tile.depth);
        let (enough, goal) = match self.format {
            Format::Bf16 => (PLACES, ROOM - PLACES / 3),
            Format::Tf32 => (ROOM, ROOM * 7 / 3),
            Format::Tf32x3 => (usize::MAX, blocks * even::parts(blocks, steps, MOST.min(steps / LEAST))),
        };
        let nothing = self.rows * self.columns == 0;
        if nothing || !self.format.whole([self.depth, self.columns]) || blocks >= enough {
            return None;
        }
        let length = steps.div_ceil((goal / blocks).min(steps / LEAST).clamp(1, MOST)).max(1);
        let parts = steps.div_ceil(length);
        (parts > 1).then_some((tile, Cut { parts, length }))
    }

    /// Launches the parts; what they are, and where.
    fn launch_parts(self, site: &mut Site, (tile, cut): (Tile, Cut), inputs: [Arg; 3]) -> Result<(Arg, Arg)> {
        let len = self.rows * self.columns;
        let (partials, parts) = (site.partials(cut.parts, len)?, site.parts(cut.parts, len)?);
        let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
        let [p, source, weight] = inputs;
        let args = [p, split, source, weight, parts.clone()];
        let entry = self.format.entry(&format!("{}_parts", self.call), tile);
        site.launch_with(&entry, [self.blocks(tile), 1, cut.parts], (tile.threads, tile.shared), args)?;
        Ok((partials, parts))
    }

    /// Launches what adds them: a thread for each 16 bytes of `rows` rows.
    fn reduce(self, site: &mut Site, rows: usize, args: impl Into<Vec<Arg>>) -> Result<()> {
        let chunk = 16 / self.format.dtype().size();
        site.line(&format!("{}_{}_reduce", self.call, self.format.name()), rows * self.columns / chunk, args)
    }

    fn launch(self, site: &mut Site, args: impl Into<Vec<Arg>>) -> Result<()> {
        self.launch_as(site, self.whole(), args)
    }

    fn launch_as(
        self,
        site: &mut Site,
        (entry, tile): (String, Tile),
        args: impl Into<Vec<Arg>>,
    ) -> Result<()> {
        site.launch_with(&entry, [self.blocks(tile), 1, 1], (tile.threads, tile.shared), args)
    }
}

pub fn conv2d_forward(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    let args = [
        geometry(site, g)?,
        Arg::value("relu", &u32::from(relu)),
        site.buffer("x", x, format.dtype(), g.x().len())?,
        site.buffer("weight", weight, format.dtype(), g.weight().len())?,
        site.f32("bias", bias, g.c_out)?,
        site.buffer("y", y, format.dtype(), g.y().len())?,
    ];
    let product =
        Product { format, call: "conv2d_forward", rows: pixels(g), depth: g.c_in, columns: g.c_out };
    if let Some(cut) = product.cut(pixels(g)) {
        let [p, relu, x, weight, bias, y] = args;
        let (partials, parts) = product.launch_parts(site, cut, [p, x, weight])?;
        let columns = Arg::value("columns", &site.size(g.c_out)?);
        let args = [partials, columns, relu, parts, bias, y];
        return product.reduce(site, product.rows, args);
    }
    product.launch(site, args)
}

pub fn conv2d_maxpool2d_forward(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    x: &Buffer,
    (weight, bias): (&Buffer, &Buffer),
    y: &Buffer,
    winner: Option<&Buffer>,
) -> Result<()> {
    let pool = g.pool();
    let p = geometry(site, g)?;
    let inputs = [
        site.buffer("x", x, format.dtype(), g.x().len())?,
        site.buffer("weight", weight, format.dtype(), g.weight().len())?,
        site.f32("bias", bias, g.c_out)?,
    ];
    let small = site.buffer("y", y, format.dtype(), pool.y().len())?;
    let winners = site.optional("winner", winner, Dtype::U8, pool.winners())?;
    if winner.is_some() && !g.c_out.is_multiple_of(4) {
        // Threads would share bytes of winners: the two halves, with the map between them.
        let [z, map] = site.between(["y", "x"], format.dtype(), g.y().len())?;
        let args = [vec![p, Arg::value("relu", &1u32)], inputs.into(), vec![z]].concat();
        Product { format, call: "conv2d_forward", rows: pixels(g), depth: g.c_in, columns: g.c_out }
            .launch(site, args)?;
        return maxpool2d::opened(site, pool, Form::of(x), [map, small, winners]);
    }
    let rows = 4 * pool.n * (pool.h / 2) * (pool.w / 2);
    let product = Product { format, call: "conv2d_maxpool2d_forward", rows, depth: g.c_in, columns: g.c_out };
    if let Some(cut) = product.cut(pixels(g)) {
        let [x, weight, bias] = inputs;
        let (partials, parts) = product.launch_parts(site, cut, [p, x, weight])?;
        let columns = Arg::value("columns", &site.size(g.c_out)?);
        let args = [partials, columns, parts, bias, small, winners];
        return product.reduce(site, rows / 4, args);
    }
    product.launch(site, [vec![p], inputs.into(), vec![small, winners]].concat())
}

pub fn conv2d_backward_input(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    let args = [
        geometry(site, g)?,
        site.buffer("dy", dy, format.dtype(), g.y().len())?,
        site.buffer("weight", weight, format.dtype(), g.weight().len())?,
        site.optional("mask", mask, format.dtype(), g.x().len())?,
        site.buffer("dx", dx, format.dtype(), g.x().len())?,
    ];
    let call = "conv2d_backward_input";
    let product = Product { format, call, rows: pixels(g), depth: g.c_out, columns: g.c_in };
    if let Some(cut) = product.cut(pixels(g)) {
        let [p, dy, weight, mask, dx] = args;
        let (partials, parts) = product.launch_parts(site, cut, [p, dy, weight])?;
        return product.reduce(site, product.rows, [partials, parts, mask, dx]);
    }
    product.launch(site, args)
}

pub fn conv2d_backward_weight(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    weight: Weight<'_>,
) -> Result<()> {
    let inputs = [
        site.buffer("x", x, format.dtype(), g.x().len())?,
        site.buffer("dy", dy, format.dtype(), g.y().len())?,
    ];
    let tiles = format.tiles();
    let call = "conv2d_backward_weight";
    let (entry, tile, across, cut);
    if format.whole([g.c_in, g.c_out]) {
        tile = weight_tile(format, g);
        // A block's columns are channels of one tap.
        across = 9 * g.c_in.div_ceil(tile.columns);
        let parts = weight_parts(format, g, across * g.c_out.div_ceil(tile.rows));
        let length = pixels(g).div_ceil(parts).next_multiple_of(tile.depth).max(tile.depth);
        cut = Cut { parts: pixels(g).div_ceil(length).max(1), length };
        entry = format.entry(call, tile);
    } else {
        tile = tiles.any;
        across = (9 * g.c_in).div_ceil(tile.columns);
        cut = Cut::new(pixels(g), across * g.c_out.div_ceil(tile.rows), 512, tile.depth);
        entry = format!("{call}_{}_any", format.name());
    }
    let down = g.c_out.div_ceil(tile.rows);
    let p = geometry(site, g)?;
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    let parts = weight.parts(site, cut.parts)?;
    // A row of each part and column tile. Without a channel there is no block that could leave one.
    let rows = cut.parts * across;
    let biases = weight.biases(site, rows, g.c_out)?;
    let [x, from] = inputs;
    let args = [p, split, x, from, parts.clone(), biases.clone()];
    site.launch_with(&entry, [across, down, cut.parts], (tile.threads, tile.shared), args)?;
    if across == 0 {
        return weight.reduce_alone(site, &cut, parts, dy);
    }
    weight.reduce(site, cut.parts, parts, (rows, biases))
}

/// Pixels from which weights' sums are long.
const LONG: usize = 4096;

fn weight_tile(format: Format, g: Conv2d) -> Tile {
    let tiles = format.tiles();
    let large = 9 * g.c_in.div_ceil(128) * g.c_out.div_ceil(128);
    if g.c_out <= 64 {
        tiles.small
    } else if g.c_in <= 64 || format == Format::Bf16 && large > PLACES && pixels(g) < LONG {
        // Half as wide: twice as many blocks where there is nothing to cut.
        tiles.narrow
    } else {
        tiles.wide
    }
}

/// How many parts of the pixels fill a large card when each has so many blocks, but none of fewer than 128.
fn weight_parts(format: Format, g: Conv2d, blocks: usize) -> usize {
    let fits = |room: usize| room / blocks.max(1);
    let parts = match format {
        // Blocks of `small` run three and more on a multiprocessor.
        _ if g.c_out <= 64 => fits(3 * PLACES),
        Format::Bf16 if blocks <= PLACES => fits(ROOM),
        Format::Bf16 => {
            if pixels(g) < LONG {
                1
            } else {
                3
            }
        }
        Format::Tf32 if blocks <= PLACES => fits(3 * PLACES),
        Format::Tf32 => pixels(g).div_ceil(1000).min(7),
        Format::Tf32x3 => even::parts(blocks, pixels(g).div_ceil(16), 3 * PLACES / blocks.max(1)),
    };
    parts.clamp(1, pixels(g).div_ceil(128).max(1))
}
