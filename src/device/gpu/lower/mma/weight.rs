//! The weight gradient on tensor cores, whose depth is pixels, and where its sums are split.

use super::even;
use super::format::{Format, Tile};
use crate::device::Buffer;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::lower::conv2d::{geometry, pixels};
use crate::device::gpu::lower::{Cut, Room, Site, Weight};
use crate::device::gpu::params;
use crate::error::Result;
use crate::shape::Conv2d;

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
        let room = site.room;
        tile = weight_tile(room, format, g);
        // A block's columns are channels of one tap.
        across = 9 * g.c_in.div_ceil(tile.columns);
        let parts = weight_parts(room, format, g, across * g.c_out.div_ceil(tile.rows));
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
    // A row of each part and column tile. Without a channel there is no block that could leave one, and split factors
    // leave it no registers.
    let rows = if format == Format::Tf32x3 { 0 } else { cut.parts * across };
    let biases = weight.biases(site, rows, g.c_out)?;
    let [x, from] = inputs;
    let args = [p, split, x, from, parts.clone(), biases.clone()];
    site.launch_with(&entry, [across, down, cut.parts], (tile.threads, tile.shared), args)?;
    if rows == 0 {
        return weight.reduce_alone(site, cut.parts, parts, dy);
    }
    weight.reduce(site, cut.parts, parts, (rows, biases))
}

/// Pixels from which weights' sums are long.
const LONG: usize = 4096;

fn weight_tile(room: Room, format: Format, g: Conv2d) -> Tile {
    let tiles = format.tiles();
    let large = 9 * g.c_in.div_ceil(128) * g.c_out.div_ceil(128);
    if g.c_out <= 64 {
        tiles.small
    } else if g.c_in <= 64 || format.is_half() && large > room.sms && pixels(g) < LONG {
        // Half as wide: twice as many blocks where there is nothing to cut.
        tiles.narrow
    } else {
        tiles.widest(room)
    }
}

/// How many parts of the pixels fill a GPU when each has so many blocks, but none of fewer than 128.
fn weight_parts(room: Room, format: Format, g: Conv2d, blocks: usize) -> usize {
    let fits = |at_once: usize| at_once / blocks.max(1);
    let even =
        |depth: usize| even::parts(room.sms, blocks, pixels(g).div_ceil(depth), 8 * room.sms / blocks.max(1));
    let parts = match format {
        // Blocks of `small` run three and more on a multiprocessor.
        _ if g.c_out <= 64 => fits(3 * room.sms),
        Format::Tf32x3 => even(16),
        Format::Tf32 if room != Room::HOPPER => even(32),
        // What follows was measured on an H200.
        Format::Bf16 | Format::F16 if blocks <= room.sms => fits(room.pairs()),
        Format::Bf16 | Format::F16 => {
            if pixels(g) < LONG {
                1
            } else {
                3
            }
        }
        Format::Tf32 if blocks <= room.sms => fits(3 * room.sms),
        Format::Tf32 => pixels(g).div_ceil(1000).min(7),
    };
    parts.clamp(1, pixels(g).div_ceil(128).max(1))
}
