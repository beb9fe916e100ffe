//! f32 convolutions by Winograd's minimal filtering: `kernels/conv2d_winograd.cu` and `conv2d_winograd_product.cu`.
//!
//! In: a convolution whose channels and filters are enough that three of four multiply-adds are worth the traffic of the
//! points. Out: launches that make points of maps and weights, multiply them, and make maps (or weights) of the results,
//! some tiles at a time, so that points take a bounded amount of memory. The gradient of the weights is summed chunk by
//! chunk: the sums of [`GROUP`] chunks are added up and transformed back together; each such group leaves one partial
//! gradient, and these are added last. Which form is taken depends on a map's sizes alone, and no image's
//! numbers depend on its batch.

use super::conv2d::{DEPTH, THREADS, TILE, pixels};
use super::{Cut, Site, Weight, maxpool2d};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;
use std::ops::Range;

/// Numbers that the points of a chunk of tiles may take: 128 MiB, beside those of weights and the sums of a group of
/// chunks. What a chunk leaves is read again at once, so a large second-level cache has part of it still.
const CHUNK: usize = 32 << 20;

/// So many chunks of a weights' gradient keep their sums until they are added up; then the next have their place.
const GROUP: usize = 16;

/// F(MxM,3x3): `kernels/winograd.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// F(4x4,3x3).
    Four,
    /// F(3x3,3x3).
    Three,
}

impl Form {
    /// The form for `g`, or `None` where the direct sum is the better one.
    ///
    /// A pixel takes 13.5·c_in·c_out flops less and 18·(c_in + c_out) bytes more (`kernels/conv2d_winograd.cu`): with 64
    /// channels on both sides 24 flops less for each byte, with 128 48. While it moves a byte a GPU does 8 (H200) to 50
    /// (RTX 4090) flops in our loops. So 64 on both sides gain on some GPUs and lose on others, and more gain on nearly
    /// all.
    pub fn of(g: Conv2d) -> Option<Self> {
        let Conv2d { h, w, c_in, c_out, .. } = g;
        let divides = |channels: usize| channels.is_multiple_of(16);
        if !divides(c_in) || !divides(c_out) || c_in * c_out <= 32 * (c_in + c_out) || pixels(g) == 0 {
            return None;
        }
        let products = |form: &Self| form.points() * h.div_ceil(form.side()) * w.div_ceil(form.side());
        [Self::Four, Self::Three].into_iter().min_by_key(products)
    }

    /// Rows and columns of a tile's outputs.
    fn side(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Three => 3,
        }
    }

    /// A² for A x A inputs of a tile.
    fn points(self) -> usize {
        (self.side() + 2) * (self.side() + 2)
    }

    /// `conv2d_winograd_input_f4x4`.
    fn entry(self, step: &str) -> String {
        format!("conv2d_winograd_{step}_f{0}x{0}", self.side())
    }
}

/// The tiles of a convolution's maps.
#[derive(Clone, Copy)]
struct Tiles {
    form: Form,
    g: Conv2d,
    high: usize,
    wide: usize,
    /// Tiles whose points are in memory together.
    chunk: usize,
}

impl Tiles {
    /// With points of `numbers` at most, but of no fewer than 128 tiles.
    fn new(form: Form, g: Conv2d, numbers: usize) -> Self {
        let (high, wide) = (g.h.div_ceil(form.side()), g.w.div_ceil(form.side()));
        let (all, most) = (g.n * high * wide, numbers / (form.points() * (g.c_in + g.c_out)));
        // Chunks of about one size, in whole blocks.
        let most = (most / TILE.0).max(1) * TILE.0;
        let chunk = all.div_ceil(all.div_ceil(most)).next_multiple_of(TILE.0);
        Self { form, g, high, wide, chunk: chunk.min(all) }
    }

    /// Of all images.
    fn all(self) -> usize {
        self.g.n * self.high * self.wide
    }

    /// Of chunks, in a gradient of the weights.
    fn groups(self) -> usize {
        self.chunks().count().div_ceil(GROUP)
    }

    fn chunks(self) -> impl Iterator<Item = Range<usize>> {
        let all = self.all();
        (0..all).step_by(self.chunk).map(move |first| first..all.min(first + self.chunk))
    }

    /// Numbers of the points of some tiles with `channels`.
    fn numbers(self, tiles: usize, channels: usize) -> usize {
        self.form.points() * tiles * channels
    }

    /// Some of them in a map of `channels`, as kernels take it.
    fn arg(self, site: &Site, chunk: &Range<usize>, channels: usize) -> Result<Arg> {
        let Conv2d { h, w, .. } = self.g;
        let sizes = [h, w, channels, self.high, self.wide, chunk.start, chunk.len()];
        let mut words = [0; 7];
        for (word, size) in words.iter_mut().zip(sizes) {
            *word = site.size(size)?;
        }
        let [h, w, c, high, wide, first, count] = words;
        Ok(Arg::value("p", &params::Tiles { h, w, c, high, wide, first, count }))
    }

    /// Points of a map by `step`, input or gradient.
    fn points(
        self,
        site: &mut Site,
        step: &str,
        (chunk, channels): (&Range<usize>, usize),
        map: &Arg,
        points: &Arg,
    ) -> Result<()> {
        let len = self.numbers(chunk.len(), channels);
        let args = [self.arg(site, chunk, channels)?, map.clone(), points.part(0, len)];
        self.line(site, step, (chunk, channels), args.into())
    }

    /// A launch that makes points of a part of a map, or the other way. It counts this part alone.
    fn line(
        self,
        site: &mut Site,
        step: &str,
        (chunk, channels): (&Range<usize>, usize),
        args: Vec<Arg>,
    ) -> Result<()> {
        let maps =
            args.iter().filter(|arg| matches!(arg.name(), "x" | "y" | "dy" | "dx" | "mask" | "winner"));
        let maps: u64 = maps.map(Arg::buffer_bytes).sum();
        // Multiplied first: a part of the whole is no multiple of its tiles' number.
        let part = |bytes: u64| (u128::from(bytes) * chunk.len() as u128 / self.all() as u128) as u64;
        site.line(&self.form.entry(step), chunk.len() * channels, args)?;
        site.count(|cost| cost.bytes = cost.bytes - maps + part(maps));
        Ok(())
    }
}

/// A product at every point: (points, parts).
fn product(
    site: &mut Site,
    call: &str,
    [rows, columns, depth]: [usize; 3],
    (points, cut): (usize, &Cut),
    args: [Arg; 3],
) -> Result<()> {
    let p = params::Product {
        rows: site.size(rows)?,
        columns: site.size(columns)?,
        depth: site.size(depth)?,
        length: site.size(cut.length)?,
        points: site.size(points)?,
    };
    let grid = [rows.div_ceil(TILE.0), columns.div_ceil(TILE.1), points * cut.parts];
    let args = [vec![Arg::value("p", &p)], args.into()].concat();
    site.launch(&format!("conv2d_winograd_{call}"), grid, THREADS, args)?;
    site.count(|cost| cost.flops = 2 * (points * rows) as u64 * (columns * depth) as u64);
    Ok(())
}

/// Maps correlated with filters: `c_in` and `c_out` of the map that is read and of the one that is written.
struct Correlation<'a> {
    call: &'static str,
    tiles: Tiles,
    map: &'a Arg,
    weight: &'a Arg,
    rotated: bool,
}

impl Correlation<'_> {
    /// `finish` launches what makes a map of the points of some tiles.
    fn run(
        self,
        site: &mut Site,
        mut finish: impl FnMut(&mut Site, &Range<usize>, Arg) -> Result<()>,
    ) -> Result<()> {
        let Tiles { form, g, chunk, .. } = self.tiles;
        let points = form.points();
        let [u, weights] = site.between(["u", "points"], Dtype::F32, points * g.c_in * g.c_out)?;
        let [v, inputs] = site.between(["v", "points"], Dtype::F32, self.tiles.numbers(chunk, g.c_in))?;
        let [m, outputs] = site.between(["m", "points"], Dtype::F32, self.tiles.numbers(chunk, g.c_out))?;
        // (c_out, c_in) of the weights as they lie in memory.
        let [rows, columns] = if self.rotated { [g.c_in, g.c_out] } else { [g.c_out, g.c_in] };
        let p = params::Matrix { rows: site.size(rows)?, columns: site.size(columns)? };
        let rotated = Arg::value("rotated", &u32::from(self.rotated));
        let args = [Arg::value("p", &p), rotated, self.weight.clone(), weights];
        site.line(&form.entry("weight"), rows * columns, args)?;
        let whole = Cut { parts: 1, length: g.c_in };
        for chunk in self.tiles.chunks() {
            self.tiles.points(site, "input", (&chunk, g.c_in), self.map, &inputs)?;
            let factors = [
                v.part(0, self.tiles.numbers(chunk.len(), g.c_in)),
                u.clone(),
                m.part(0, self.tiles.numbers(chunk.len(), g.c_out)),
            ];
            product(site, self.call, [chunk.len(), g.c_out, g.c_in], (points, &whole), factors)?;
            finish(site, &chunk, outputs.part(0, self.tiles.numbers(chunk.len(), g.c_out)))?;
        }
        Ok(())
    }
}

/// The form in which `site`'s device takes `g`.
pub fn takes(site: &Site, g: Conv2d) -> Option<Form> {
    Form::of(g).filter(|_| site.winograd)
}

pub fn conv2d_forward(
    site: &mut Site,
    form: Form,
    g: Conv2d,
    relu: bool,
    inputs: [Arg; 3],
    y: &Arg,
) -> Result<()> {
    forward(site, Tiles::new(form, g, CHUNK), relu, inputs, y)
}

fn forward(site: &mut Site, tiles: Tiles, relu: bool, [x, weight, bias]: [Arg; 3], y: &Arg) -> Result<()> {
    let g = tiles.g;
    site.apart(|site| {
        let it = Correlation { call: "forward", tiles, map: &x, weight: &weight, rotated: false };
        it.run(site, |site, chunk, points| {
            let (p, relu) = (tiles.arg(site, chunk, g.c_out)?, Arg::value("relu", &u32::from(relu)));
            let args = [p, relu, points, bias.clone(), Arg::nothing("mask", Dtype::F32), y.clone()];
            tiles.line(site, "output", (chunk, g.c_out), args.into())
        })
    })
}

pub fn conv2d_maxpool2d_forward(
    site: &mut Site,
    form: Form,
    g: Conv2d,
    inputs: [Arg; 3],
    [y, winner]: [Arg; 2],
) -> Result<()> {
    // A window of 2x2 does not lie in one tile of 3x3.
    if form == Form::Three {
        return maxpool2d::behind(site, g, super::Form::F32, [y, winner], |site, z| {
            conv2d_forward(site, form, g, true, inputs, &z)
        });
    }
    let [x, weight, bias] = inputs;
    let tiles = Tiles::new(form, g, CHUNK);
    site.apart(|site| {
        let it = Correlation { call: "forward", tiles, map: &x, weight: &weight, rotated: false };
        it.run(site, |site, chunk, points| {
            let args = [tiles.arg(site, chunk, g.c_out)?, points, bias.clone(), y.clone(), winner.clone()];
            tiles.line(site, "maxpool2d", (chunk, g.c_out), args.into())
        })
    })
}

pub fn conv2d_backward_input(site: &mut Site, form: Form, g: Conv2d, buffers: [Arg; 4]) -> Result<()> {
    let turned = Conv2d { c_in: g.c_out, c_out: g.c_in, ..g };
    backward_input(site, Tiles::new(form, turned, CHUNK), buffers)
}

/// `tiles` are those of the correlation: of `dy` to `dx`.
fn backward_input(site: &mut Site, tiles: Tiles, [dy, weight, mask, dx]: [Arg; 4]) -> Result<()> {
    let channels = tiles.g.c_out;
    site.apart(|site| {
        let it = Correlation { call: "backward_input", tiles, map: &dy, weight: &weight, rotated: true };
        it.run(site, |site, chunk, points| {
            let (p, relu) = (tiles.arg(site, chunk, channels)?, Arg::value("relu", &0u32));
            let args = [p, relu, points, Arg::nothing("bias", Dtype::F32), mask.clone(), dx.clone()];
            tiles.line(site, "output", (chunk, channels), args.into())
        })
    })
}

pub fn conv2d_backward_weight(
    site: &mut Site,
    form: Form,
    g: Conv2d,
    [x, from]: [Arg; 2],
    dy: &Buffer,
    weight: Weight<'_>,
) -> Result<()> {
    let tiles = Tiles::new(form, g, CHUNK);
    let groups = tiles.groups();
    let to = weight.parts(site, groups)?;
    backward_weight(site, tiles, [x, from], &to)?;
    weight.reduce_alone(site, groups, to, dy)
}

/// `to` has a part for each group of chunks.
fn backward_weight(site: &mut Site, tiles: Tiles, [x, dy]: [Arg; 2], to: &Arg) -> Result<()> {
    let Tiles { form, g, chunk, .. } = tiles;
    let points = form.points();
    let blocks = points * g.c_out.div_ceil(TILE.0) * g.c_in.div_ceil(TILE.1);
    // Chunks are parts of the sum too, and their own length.
    let cut = |chunk: Range<usize>| (Cut::new(chunk.len(), blocks, TILE.0, DEPTH), chunk);
    let chunks: Vec<_> = tiles.chunks().map(cut).collect();
    let parts = |group: &[(Cut, _)]| group.iter().map(|(cut, _)| cut.parts).sum::<usize>();
    let most = chunks.chunks(GROUP).map(parts).max().unwrap_or(0);
    let each = points * g.c_in * g.c_out;
    site.apart(|site| {
        let [v, inputs] = site.between(["v", "points"], Dtype::F32, tiles.numbers(chunk, g.c_in))?;
        let [u, gradients] = site.between(["g", "points"], Dtype::F32, tiles.numbers(chunk, g.c_out))?;
        let sums = site.scratch("sums", most.saturating_mul(each))?;
        for (number, group) in chunks.chunks(GROUP).enumerate() {
            let mut done = 0;
            for (cut, chunk) in group {
                tiles.points(site, "input", (chunk, g.c_in), &x, &inputs)?;
                tiles.points(site, "gradient", (chunk, g.c_out), &dy, &gradients)?;
                let factors = [
                    u.part(0, tiles.numbers(chunk.len(), g.c_out)),
                    v.part(0, tiles.numbers(chunk.len(), g.c_in)),
                    sums.part(done * each, cut.parts * each),
                ];
                product(site, "backward_weight", [g.c_out, g.c_in, chunk.len()], (points, cut), factors)?;
                done += cut.parts;
            }
            let len = g.weight().len();
            let p = site.partials(done, g.c_out * g.c_in)?;
            let sums = sums.part(0, done * each);
            let args = [p, Arg::value("c_in", &site.size(g.c_in)?), sums, to.part(number * len, len)];
            site.line(&form.entry("dweight"), g.c_out * g.c_in, args)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests;
