//! VGG16's first block in one launch: `kernels/conv2d_sm90_first.cu`.
//!
//! In: two convolutions of bf16, of images and of 64 channels, with a pool after them. Out: one launch.

use super::{BF16, FEW, STEP, image, matrix};
use crate::device::gpu::lower::Site;
use crate::device::gpu::lower::conv2d::geometry;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;

/// Bytes, dynamic: those of [`FEW`], of whose rings the barriers are a part, two turns, and the image's patch twice.
const SHARED: u32 = FEW.shared + 16 + 2 * (37 * 112 + 8);

/// Whether the kernel takes them.
pub fn joins([first, second]: [Conv2d; 2]) -> bool {
    let Conv2d { n, h, w, .. } = first;
    first == Conv2d { n, h, w, c_in: 3, c_out: STEP } && second == Conv2d { n, h, w, c_in: STEP, c_out: STEP }
}

pub fn conv2d_conv2d_maxpool2d_forward(
    site: &mut Site,
    [first, second]: [Conv2d; 2],
    x: &Buffer,
    (weights, biases): ([&Buffer; 2], [&Buffer; 2]),
    y: &Buffer,
) -> Result<()> {
    let ([from, weight], [one, other]) = (weights, biases);
    let x = site.buffer("x", x, Dtype::Bf16, first.x().len())?;
    let from = site.buffer("first_weight", from, Dtype::Bf16, first.weight().len())?;
    let one = site.f32("first_bias", one, first.c_out)?;
    let other = site.f32("bias", other, second.c_out)?;
    let at = site.place("y", y, Dtype::Bf16, second.pool().y().len())?;
    if second.pool().y().is_empty() {
        return Ok(());
    }
    let args = [
        matrix(site, BF16, ("weight", weight), [second.c_out, 9 * second.c_in], FEW.filters)?,
        image(site, "y", at, [second.n, second.h / 2, second.w / 2, second.c_out], [8, 4])?,
        geometry(site, second)?,
        x,
        from,
        one,
        other,
    ];
    site.launch_with(ENTRY, [FEW.tiles(second).min(site.sms()), 1, 1], (384, SHARED), args)
}

const ENTRY: &str = "conv2d_conv2d_maxpool2d_forward_sm90_64x8x32";
