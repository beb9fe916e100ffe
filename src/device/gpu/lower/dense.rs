//! The dense layer: `kernels/dense.cu`, `dense_backward_weight.cu`; forward on tensor cores `dense_bf16.cu`,
//! `dense_tf32x3.cu`.

use super::mma::Format;
use super::optimizer::rule;
use super::{Cut, Form, Room, Site};
use crate::device::call::Rmsprop;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Dense;

/// Samples and columns of a block of `dense.cu`, and columns going back.
const TILE: (usize, usize) = (32, 128);
const BACK: usize = 64;
/// Its depth of a step.
const DEPTH: usize = 16;
/// Inputs and units of a block of `dense_backward_weight.cu`.
const SIDE: usize = 64;

fn geometry(site: &Site, name: &'static str, Dense { n, c_in, c_out }: Dense) -> Result<Arg> {
    let [n, c_in, c_out] = [site.size(n)?, site.size(c_in)?, site.size(c_out)?];
    Ok(Arg::value(name, &params::Dense { n, c_in, c_out }))
}

/// The forward product: by which entry, in blocks of how many units and samples.
struct Product {
    entry: String,
    /// Of units, of samples.
    tiles: [usize; 2],
    cut: Cut,
    /// Dynamic, of a block.
    shared: u32,
}

impl Product {
    /// On tensor cores where convolutions go there. What multiplies tf32 in convolutions splits factors here, as
    /// `tf32x3` does everywhere: the classifier stays as exact as f32, and its weights take as long to read as it
    /// takes to multiply them three times.
    fn of(room: Room, format: Option<Format>, g: Dense) -> Self {
        let Some(format) = format else {
            let tiles = [g.c_out.div_ceil(TILE.1), g.n.div_ceil(TILE.0)];
            let cut = Cut::new(g.c_in, tiles[0] * tiles[1], 64, DEPTH);
            return Self { entry: "dense_forward".to_owned(), tiles, cut, shared: 0 };
        };
        /// Units of a block of `dense_mma.cuh`.
        const UNITS: usize = 128;
        /// Its steps in shared memory.
        const STAGES: usize = 4;
        let (format, name, bytes) = match format {
            Format::Bf16 => (format, "bf16", 2),
            // There is none of f16: its classifier is f32, and the buffers say so when they are opened.
            Format::F16 | Format::Tf32 | Format::Tf32x3 => (Format::Tf32x3, "tf32x3", 4),
        };
        let whole = format.whole([g.c_in, g.c_out]);
        let samples = match g.n {
            _ if !whole => 32,
            ..=16 => 16,
            17..=32 => 32,
            _ => 64,
        };
        // Registers of split factors do not reach for more.
        let depth = if format == Format::Tf32x3 && samples == 64 { 16 } else { 128 / bytes };
        let tiles = [g.c_out.div_ceil(UNITS), g.n.div_ceil(samples)];
        // Two blocks for each multiprocessor, if that leaves a part the steps that are on their way
        // at once.
        let most = g.c_in.div_ceil(STAGES * depth).max(1);
        let parts = (room.pairs() / (tiles[0] * tiles[1]).max(1)).clamp(1, most);
        let length = g.c_in.div_ceil(parts).next_multiple_of(depth).max(depth);
        let kind = if whole { format!("{UNITS}x{samples}x{depth}") } else { "any".to_owned() };
        Self {
            entry: format!("dense_forward_{name}_{kind}"),
            tiles,
            cut: Cut { parts: g.c_in.div_ceil(length).max(1), length },
            shared: (STAGES * (UNITS + samples) * depth * bytes) as u32,
        }
    }
}

pub fn dense_forward(
    site: &mut Site,
    g: Dense,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    // No other of 16 bits has a kernel.
    let factors = if x.dtype() == Dtype::Bf16 { Form::BF16 } else { Form::F32 };
    let product = Product::of(site.room, Format::of(site, x)?, g);
    let x = site.buffer("x", x, factors.dtype, g.x().len())?;
    let weight = site.buffer("weight", weight, factors.dtype, g.weight().len())?;
    let bias = site.f32("bias", bias, g.c_out)?;
    let len = g.y().len();
    // Factors of bf16 may give either: logits stay f32.
    let results = if y.dtype() == Dtype::Bf16 { factors } else { Form::F32 };
    let y = site.buffer("y", y, results.dtype, len)?;
    if len == 0 {
        return Ok(());
    }
    let Product { entry, tiles, cut, shared } = product;
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    // The second launch adds the bias, so it runs for one part too.
    let parts = site.parts(cut.parts, len)?;
    let args = [geometry(site, "p", g)?, split, x, weight, parts.clone()];
    site.launch_with(&entry, [tiles[0], tiles[1], cut.parts], (128, shared), args)?;
    let dense = geometry(site, "dense", g)?;
    let relu = Arg::value("relu", &u32::from(relu));
    let args = [site.partials(cut.parts, len)?, dense, relu, parts, bias, y];
    site.line(&format!("{}_reduce", results.entry("dense_forward")), len, args)
}

pub fn dense_backward_input(
    site: &mut Site,
    g: Dense,
    dy: &Buffer,
    weight: &Buffer,
    dx: &Buffer,
) -> Result<()> {
    let args = [
        geometry(site, "p", g)?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("weight", weight, g.weight().len())?,
        site.f32("dx", dx, g.x().len())?,
    ];
    let grid = [g.c_in.div_ceil(BACK), g.n.div_ceil(TILE.0), 1];
    site.launch("dense_backward_input", grid, 128, args)
}

/// A line of blocks: inputs of large images are more than a grid's y has room for.
fn weight_grid(g: Dense) -> [usize; 3] {
    [g.c_out.div_ceil(SIDE) * g.c_in.div_ceil(SIDE), 1, 1]
}

pub fn dense_backward_weight(
    site: &mut Site,
    g: Dense,
    x: &Buffer,
    dy: &Buffer,
    dweight: &Buffer,
) -> Result<()> {
    let args = [
        geometry(site, "p", g)?,
        site.f32("x", x, g.x().len())?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("dweight", dweight, g.weight().len())?,
    ];
    site.launch("dense_backward_weight", weight_grid(g), 256, args)
}

pub fn dense_rmsprop_step(
    site: &mut Site,
    g: Dense,
    step: Rmsprop,
    (x, dy): (&Buffer, &Buffer),
    velocity: &Buffer,
    weight: &Buffer,
) -> Result<()> {
    site.arm.plain(step)?;
    let args = [
        geometry(site, "p", g)?,
        rule(step),
        site.f32("x", x, g.x().len())?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("velocity", velocity, g.weight().len())?,
        site.f32("weight", weight, g.weight().len())?,
    ];
    site.launch("dense_rmsprop_step", weight_grid(g), 256, args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::module;

    /// What the kernel files say that the host adds, of every batch's tile.
    #[test]
    fn blocks_are_those_of_the_kernel_files() {
        for (format, name) in [(Format::Bf16, "bf16"), (Format::Tf32x3, "tf32x3")] {
            let path = format!("kernels/dense_{name}.cu");
            let (_, text) = module::SOURCES.iter().find(|(name, _)| *name == path).unwrap();
            for (n, c_in) in [(1, 64), (16, 64), (17, 64), (33, 64), (1000, 64), (20, 65)] {
                let Product { entry, shared, .. } =
                    Product::of(Room::HOPPER, Some(format), Dense { n, c_in, c_out: 128 });
                let line = format!("// dynamic-shared: {entry} {shared}\n");
                assert!(text.contains(&line), "{path} does not say {line}");
            }
        }
    }

    /// ImageNet's classifier gives a GPU two blocks for each multiprocessor, as nearly as whole tiles do, and
    /// every input to one part.
    #[test]
    fn large_weights_are_shared_out_among_all_multiprocessors() {
        let rooms = [Room::of(80), Room::HOPPER];
        for (room, format) in
            rooms.into_iter().flat_map(|room| [(room, Format::Bf16), (room, Format::Tf32x3)])
        {
            for (c_in, c_out) in [(25_088, 4096), (4096, 4096)] {
                let Product { tiles, cut, .. } =
                    Product::of(room, Some(format), Dense { n: 20, c_in, c_out });
                let blocks = tiles[0] * tiles[1] * cut.parts;
                let pairs = room.pairs();
                assert!(
                    blocks > pairs * 8 / 10 && blocks <= pairs,
                    "{room:?} {format:?} {c_in}: {blocks} blocks"
                );
                assert!((cut.parts - 1) * cut.length < c_in && cut.parts * cut.length >= c_in);
            }
        }
    }
}
