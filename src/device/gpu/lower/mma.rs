//! The convolution on tensor cores: `kernels/conv2d_bf16.cu` and `kernels/conv2d_tf32.cu`.
//!
//! In: a call whose activations are bf16, or f32 on a device of precision tf32. Out: its launches. Which tile a
//! layer gets and how its sums are cut is a function of the geometry alone, never of the card.

use super::conv2d::{geometry, pixels};
use super::{Cut, Site, maxpool2d};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype, Precision};
use crate::error::Result;
use crate::shape::Conv2d;

/// The first cards with these instructions: 8.0, Ampere.
const CAPABILITY: u32 = 80;

/// What the factors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Activations and weights in memory.
    Bf16,
    /// Of f32 in memory, rounded on the way.
    Tf32,
}

/// Rows x columns of a block, and what the launch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
    threads: usize,
    /// Bytes, dynamic: the tiles of all stages, and the result after them.
    shared: u32,
}

/// Warps of 64x64; two blocks on a multiprocessor of sm_90.
const LARGE: Tile = Tile { rows: 128, columns: 128, threads: 128, shared: 96 << 10 };
/// Warps of 64x32: where there are only 64 columns.
const NARROW: Tile = Tile { rows: 128, columns: 64, threads: 128, shared: 72 << 10 };
/// Warps of 32x32, for weights of which there are few.
const SMALL: Tile = Tile { rows: 64, columns: 64, threads: 128, shared: 48 << 10 };

impl Format {
    /// Of a call whose activations are in `buffer`; none if it goes by fused multiply-adds.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) on a card without such tensor cores.
    pub fn of(site: &Site, buffer: &Buffer) -> Result<Option<Self>> {
        let format = match (buffer.dtype(), site.precision) {
            (Dtype::Bf16, _) => Self::Bf16,
            (Dtype::F32, Precision::Tf32) => Self::Tf32,
            _ => return Ok(None),
        };
        let capability = site.capability();
        if capability < CAPABILITY {
            return Err(site
                .arm
                .refuse(format!("this card has no tensor cores for {}", format.name()))
                .expected_got("compute capability 80 (Ampere) or newer", capability)
                .help("use --precision f32"));
        }
        Ok(Some(format))
    }

    /// As entries name it.
    fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Tf32 => "tf32",
        }
    }

    /// Of activations and weights.
    fn dtype(self) -> Dtype {
        match self {
            Self::Bf16 => Dtype::Bf16,
            Self::Tf32 => Dtype::F32,
        }
    }

    /// Whether all rows of numbers are whole chunks of 16 bytes.
    fn whole(self, channels: [usize; 2]) -> bool {
        channels.iter().all(|channels| channels.is_multiple_of(16 / self.dtype().size()))
    }

    /// Blocks of `kernels/conv2d_any.cuh`.
    fn any(self) -> Tile {
        let shared = match self {
            Self::Bf16 => 24 << 10,
            Self::Tf32 => 48 << 10,
        };
        Tile { rows: 128, columns: 64, threads: 128, shared }
    }

    /// Depth of a step of the weights' gradient.
    fn step(self) -> usize {
        match self {
            Self::Bf16 => 64,
            Self::Tf32 => 32,
        }
    }

    fn entry(self, call: &str, tile: Tile) -> String {
        format!("{call}_{}_{}x{}", self.name(), tile.rows, tile.columns)
    }

    /// Entry and tile of a product whose rows are pixels.
    fn of_pixels(self, call: &str, channels: [usize; 2], columns: usize) -> (String, Tile) {
        if !self.whole(channels) {
            return (format!("{call}_{}_any", self.name()), self.any());
        }
        let tile = if columns <= 64 { NARROW } else { LARGE };
        (self.entry(call, tile), tile)
    }

    fn forward(self, g: Conv2d) -> (String, Tile) {
        if g.c_in == 3 {
            return (format!("conv2d_forward_{}_rgb", self.name()), self.any());
        }
        self.of_pixels("conv2d_forward", [g.c_in, g.c_out], g.c_out)
    }
}

/// Blocks along one axis: columns fastest, so that those that share pixels run side by side.
fn grid(tile: Tile, rows: usize, columns: usize) -> [usize; 3] {
    [rows.div_ceil(tile.rows) * columns.div_ceil(tile.columns), 1, 1]
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
    let (entry, tile) = format.forward(g);
    site.launch_with(&entry, grid(tile, pixels(g), g.c_out), (tile.threads, tile.shared), args)
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
        let [z, map] = between(site, format, g.y().len())?;
        let (entry, tile) = format.forward(g);
        let args = [vec![p, Arg::value("relu", &1u32)], inputs.into(), vec![z]].concat();
        site.launch_with(&entry, grid(tile, pixels(g), g.c_out), (tile.threads, tile.shared), args)?;
        let entry = match format {
            Format::Bf16 => "maxpool2d_forward_bf16",
            Format::Tf32 => "maxpool2d_forward",
        };
        let args = [maxpool2d::windows(site, pool)?, map, small, winners];
        return site.line(entry, pool.winners(), args);
    }
    let rows = 4 * pool.n * (pool.h / 2) * (pool.w / 2);
    let (entry, tile) = format.of_pixels("conv2d_maxpool2d_forward", [g.c_in, g.c_out], g.c_out);
    let args = [vec![p], inputs.into(), vec![small, winners]].concat();
    site.launch_with(&entry, grid(tile, rows, g.c_out), (tile.threads, tile.shared), args)
}

/// Memory for a map between two launches: `y` of the first, `x` of the second.
pub fn between(site: &mut Site, format: Format, len: usize) -> Result<[Arg; 2]> {
    let dtype = format.dtype();
    let room = site.between(["y", "x"], len.div_ceil(Dtype::F32.size() / dtype.size()))?;
    Ok(room.map(|arg| match arg {
        Arg::Pointer { name, at, .. } => Arg::Pointer { name, at, dtype, len },
        other => other,
    }))
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
    let (entry, tile) = format.of_pixels("conv2d_backward_input", [g.c_in, g.c_out], g.c_in);
    site.launch_with(&entry, grid(tile, pixels(g), g.c_in), (tile.threads, tile.shared), args)
}

pub fn conv2d_backward_weight(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    dweight: &Buffer,
) -> Result<()> {
    let len = g.weight().len();
    let x = site.buffer("x", x, format.dtype(), g.x().len())?;
    let dy = site.buffer("dy", dy, format.dtype(), g.y().len())?;
    let dweight = site.f32("dweight", dweight, len)?;
    let (entry, tile, across) = if format.whole([g.c_in, g.c_out]) {
        let tile = if g.c_in <= 64 || g.c_out <= 64 { SMALL } else { LARGE };
        // A block's columns are channels of one tap.
        (format.entry("conv2d_backward_weight", tile), tile, 9 * g.c_in.div_ceil(tile.columns))
    } else {
        let tile = format.any();
        let columns = (9 * g.c_in).div_ceil(tile.columns);
        (format!("conv2d_backward_weight_{}_any", format.name()), tile, columns)
    };
    let down = g.c_out.div_ceil(tile.rows);
    let cut = Cut::new(pixels(g), across * down, 512, format.step());
    let p = geometry(site, g)?;
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    // One part is the sum itself.
    let parts = if cut.parts == 1 { dweight.clone() } else { site.parts(cut.parts, len)? };
    let args = [p, split, x, dy, parts.clone()];
    site.launch_with(&entry, [across, down, cut.parts], (tile.threads, tile.shared), args)?;
    if cut.parts > 1 {
        let p = site.partials(cut.parts, len)?;
        site.line("conv2d_backward_weight_reduce", len, [p, parts, dweight])?;
    }
    Ok(())
}
