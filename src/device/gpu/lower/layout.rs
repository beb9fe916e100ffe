//! The same numbers in another format or order: `kernels/cast.cu`, `transpose.cu`.

use super::Site;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;

/// Rows and columns of a block of `transpose.cu`.
const TILE: usize = 32;

pub fn cast(site: &mut Site, x: &Buffer, y: &Buffer) -> Result<()> {
    let len = site.arm.floats(x, y)?;
    let format = |buffer: &Buffer| match buffer.dtype() {
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
        _ => 0,
    };
    let p = params::Cast { len: site.size(len)?, from: format(x), to: format(y) };
    let args =
        [Arg::value("p", &p), site.buffer("x", x, x.dtype(), len)?, site.buffer("y", y, y.dtype(), len)?];
    site.line("cast", len.div_ceil(4), args)
}

pub fn transpose(site: &mut Site, sizes: [usize; 3], x: &Buffer, y: &Buffer) -> Result<()> {
    let len = sizes.iter().product();
    let (x, y) = (site.f32("x", x, len)?, site.f32("y", y, len)?);
    turned(site, sizes, x, y)
}

/// The same of what is already open.
pub fn turned(site: &mut Site, [batch, rows, columns]: [usize; 3], x: Arg, y: Arg) -> Result<()> {
    let args = [
        Arg::value(
            "p",
            &params::Transpose {
                batch: site.size(batch)?,
                rows: site.size(rows)?,
                columns: site.size(columns)?,
            },
        ),
        x,
        y,
    ];
    let tiles = batch * rows.div_ceil(TILE) * columns.div_ceil(TILE);
    site.launch("transpose", [tiles, 1, 1], 256, args)
}
