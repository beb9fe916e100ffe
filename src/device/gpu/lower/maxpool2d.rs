//! Pooling: `kernels/maxpool2d.cu`.

use super::{Form, Site};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::{Conv2d, Pool2d};

/// The geometry, as kernels take it.
fn windows(site: &Site, Pool2d { n, h, w, c }: Pool2d) -> Result<Arg> {
    let [n, h, w, c] = [site.size(n)?, site.size(h)?, site.size(w)?, site.size(c)?];
    Ok(Arg::value("p", &params::Pool2d { n, h, w, c }))
}

pub fn maxpool2d_forward(
    site: &mut Site,
    g: Pool2d,
    x: &Buffer,
    y: &Buffer,
    winner: Option<&Buffer>,
) -> Result<()> {
    let form = Form::of(x);
    let args = [
        site.buffer("x", x, form.dtype, g.x().len())?,
        site.buffer("y", y, form.dtype, g.y().len())?,
        site.optional("winner", winner, Dtype::U8, g.winners())?,
    ];
    opened(site, g, form, args)
}

/// Behind a convolution that cannot pool itself: `convolve` leaves its map, the pool puts it into `y` and `winner`.
pub fn behind(
    site: &mut Site,
    g: Conv2d,
    form: Form,
    [y, winner]: [Arg; 2],
    convolve: impl FnOnce(&mut Site, Arg) -> Result<()>,
) -> Result<()> {
    let [z, x] = site.between(["y", "x"], form.dtype, g.y().len())?;
    let bytes = [z.buffer_bytes(), y.buffer_bytes() + winner.buffer_bytes()];
    site.in_two(bytes, |site| convolve(site, z), |site| opened(site, g.pool(), form, [x, y, winner]))
}

fn opened(site: &mut Site, g: Pool2d, form: Form, [x, y, winner]: [Arg; 3]) -> Result<()> {
    let args = [windows(site, g)?, x, y, winner];
    site.line(&form.entry("maxpool2d_forward"), g.y().len().div_ceil(form.lanes), args)
}

pub fn maxpool2d_backward(
    site: &mut Site,
    g: Pool2d,
    (dy, winner): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    // Those that the border cuts too.
    let all = g.n * g.h.div_ceil(2) * g.w.div_ceil(2) * g.c;
    let form = Form::of(dy);
    let args = [
        windows(site, g)?,
        site.buffer("dy", dy, form.dtype, g.y().len())?,
        site.buffer("winner", winner, Dtype::U8, g.winners())?,
        site.optional("mask", mask, form.dtype, g.y().len())?,
        site.buffer("dx", dx, form.dtype, g.x().len())?,
    ];
    site.line(&form.entry("maxpool2d_backward"), all.div_ceil(form.lanes), args)
}
