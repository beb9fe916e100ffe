//! Products whose rows are pixels: forward, pooled or not, and backward to the input.

use super::even;
use super::format::{Format, Tile};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::lower::conv2d::pixels;
use crate::device::gpu::lower::{Cut, Room, Site};
use crate::device::gpu::params;
use crate::error::Result;
use crate::shape::Conv2d;

/// A product whose rows are pixels: nine taps of `depth` channels, `columns` of them wanted.
#[derive(Clone, Copy)]
pub struct Product {
    pub format: Format,
    pub call: &'static str,
    pub rows: usize,
    pub depth: usize,
    pub columns: usize,
}

impl Product {
    /// `conv2d_forward`.
    pub fn forward(format: Format, g: Conv2d) -> Self {
        Self { format, call: "conv2d_forward", rows: pixels(g), depth: g.c_in, columns: g.c_out }
    }

    /// Entry and tile of the whole product.
    fn whole(self, room: Room) -> (String, Tile) {
        let Self { format, call, depth, columns, .. } = self;
        let tiles = format.tiles();
        if !format.whole([depth, columns]) {
            let image = call == "conv2d_forward" && depth == 3;
            let kind = if image { "rgb" } else { "any" };
            return (format!("{call}_{}_{kind}", format.name()), tiles.any);
        }
        let blocks = self.blocks(tiles.wide);
        let tile = if columns <= 64 {
            tiles.narrow
        } else if format != Format::Bf16 || blocks <= room.pairs() {
            tiles.wide
        } else if call == "conv2d_backward_input" {
            // Its weights come across the depth, and rows of 256 bytes gain nothing: that was measured on an H200.
            if room == Room::HOPPER { tiles.narrow } else { tiles.wide }
        } else if blocks < 2 * room.pairs() {
            tiles.wide
        } else {
            tiles.deep
        };
        let tile = if columns > 64 && !room.takes_two(tile) { tiles.widest(room) } else { tile };
        (format.entry(call, tile), tile)
    }

    /// Blocks along one axis: columns fastest, so that those that share pixels run side by side.
    fn blocks(self, tile: Tile) -> usize {
        self.rows.div_ceil(tile.rows) * self.columns.div_ceil(tile.columns)
    }

    /// How its depth is cut, if it is: a map of few pixels has fewer tiles than a GPU has room for, but
    /// then its depth is long. Of tf32, where a step takes longer, more parts pay. `pixels` are those of the map,
    /// also where a pool leaves some out: its sums are the map's.
    pub fn cut(self, room: Room, pixels: usize) -> Option<(Tile, Cut)> {
        /// Steps of a part, at least: fewer do not pay for writing and reading its sums.
        const LEAST: usize = 9;
        /// Parts, at most.
        const MOST: usize = 8;
        let tiles = self.format.tiles();
        let tile = if self.columns <= 64 { tiles.narrow } else { tiles.widest(room) };
        let blocks = Self { rows: pixels, ..self }.blocks(tile);
        let steps = 9 * self.depth.div_ceil(tile.depth);
        let (enough, goal) = match self.format {
            // Fewer than it has room for was faster on an H200.
            Format::Bf16 | Format::F16 if room == Room::HOPPER => (room.sms, room.pairs() - room.sms / 3),
            Format::Bf16 | Format::F16 => (room.sms, room.pairs()),
            Format::Tf32 => (room.pairs(), room.pairs() * 7 / 3),
            Format::Tf32x3 => {
                (usize::MAX, blocks * even::parts(room.sms, blocks, steps, MOST.min(steps / LEAST)))
            }
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
    pub fn launch_parts(
        self,
        site: &mut Site,
        (tile, cut): (Tile, Cut),
        inputs: [Arg; 3],
    ) -> Result<(Arg, Arg)> {
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
    pub fn reduce(self, site: &mut Site, rows: usize, args: impl Into<Vec<Arg>>) -> Result<()> {
        let chunk = 16 / self.format.dtype().size();
        site.line(&format!("{}_{}_reduce", self.call, self.format.name()), rows * self.columns / chunk, args)
    }

    pub fn launch(self, site: &mut Site, args: impl Into<Vec<Arg>>) -> Result<()> {
        self.launch_as(site, self.whole(site.room), args)
    }

    pub fn launch_as(
        self,
        site: &mut Site,
        (entry, tile): (String, Tile),
        args: impl Into<Vec<Arg>>,
    ) -> Result<()> {
        site.launch_with(&entry, [self.blocks(tile), 1, 1], (tile.threads, tile.shared), args)
    }
}
