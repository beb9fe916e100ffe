//! The teaching convolutions: `kernels/ladder/`. Other launches than the engine's for `conv2d_forward`.
//!
//! In: the call and the rung that replaces its kernel. Out: its one launch. All rungs take the same arguments in the
//! same order; those that TMA feeds get x and weight as tensor maps.

use super::conv2d::{geometry, pixels};
use super::mma::Format;
use super::{Site, sm90};
use crate::device::Buffer;
use crate::device::gpu::ladder::{Factors, Rung};
use crate::device::gpu::launch::Arg;
use crate::error::Result;
use crate::shape::Conv2d;

pub fn conv2d_forward(
    site: &mut Site,
    rung: Rung,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    if [g.c_in, g.c_out].iter().any(|channels| !channels.is_multiple_of(rung.channels)) {
        return Err(site
            .arm
            .refuse(format!("{} takes channels in whole {}s", rung.name, rung.channels))
            .expected_got(
                format!("c_in and c_out multiples of {}", rung.channels),
                format!("{} and {}", g.c_in, g.c_out),
            )
            .help("choose other sizes, or a rung further down: docs/ladder.md"));
    }
    let dtype = rung.precision.activations();
    let y = site.buffer("y", y, dtype, g.y().len())?;
    if pixels(g) == 0 {
        return Ok(());
    }
    let [rows, columns] = rung.tile;
    let [x, weight] = match rung.factors {
        Factors::Pointers => [
            site.buffer("x", x, dtype, g.x().len())?,
            site.buffer("weight", weight, dtype, g.weight().len())?,
        ],
        Factors::Maps => [
            sm90::seen(site, Format::Bf16, ("x", x), (g, g.c_in), rows)?,
            sm90::matrix(site, Format::Bf16, ("weight", weight), [g.c_out, 9 * g.c_in], columns)?,
        ],
    };
    let bias = site.f32("bias", bias, g.c_out)?;
    let args = [geometry(site, g)?, Arg::value("relu", &u32::from(relu)), x, weight, bias, y];
    let squares = g.n * g.h.div_ceil(rung.square) * g.w.div_ceil(rung.square);
    let [down, across] = [squares.div_ceil(rows), g.c_out.div_ceil(columns)];
    let grid = if rung.stays { [(down * across).min(site.sms()), 1, 1] } else { [down, across, 1] };
    site.launch_as(rung.name, grid, ([rung.block[0], rung.block[1], 1], rung.shared), args)
}
