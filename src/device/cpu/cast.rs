//! From one floating-point format to another.

use super::threads::CHUNK;
use super::workshop::Workshop;
use crate::device::arm::Arm;
use crate::device::{Buffer, Dtype, Element};
use crate::error::Result;
use half::{bf16, f16};

/// A floating-point format: to f32 without loss, and from it to the nearest.
trait Float: Element + Send + Sync {
    fn widened(self) -> f32;
    fn nearest(x: f32) -> Self;
}

impl Float for f32 {
    fn widened(self) -> f32 {
        self
    }
    fn nearest(x: f32) -> Self {
        x
    }
}

// NaN becomes the one that GPUs make of it.
impl Float for f16 {
    fn widened(self) -> f32 {
        self.to_f32()
    }
    fn nearest(x: f32) -> Self {
        if x.is_nan() { Self::from_bits(0x7fff) } else { Self::from_f32(x) }
    }
}

impl Float for bf16 {
    fn widened(self) -> f32 {
        self.to_f32()
    }
    fn nearest(x: f32) -> Self {
        if x.is_nan() { Self::from_bits(0x7fff) } else { Self::from_f32(x) }
    }
}

/// `y[i] = x[i]`, to the nearest, ties to even.
pub fn cast(shop: &Workshop, arm: Arm, x: &Buffer, y: &mut Buffer) -> Result<()> {
    arm.floats(x, y)?;
    match x.dtype() {
        Dtype::F16 => from::<f16>(shop, arm, x, y),
        Dtype::Bf16 => from::<bf16>(shop, arm, x, y),
        _ => from::<f32>(shop, arm, x, y),
    }
}

fn from<X: Float>(shop: &Workshop, arm: Arm, x: &Buffer, y: &mut Buffer) -> Result<()> {
    match y.dtype() {
        Dtype::F16 => between::<X, f16>(shop, arm, x, y),
        Dtype::Bf16 => between::<X, bf16>(shop, arm, x, y),
        _ => between::<X, f32>(shop, arm, x, y),
    }
}

fn between<X: Float, Y: Float>(shop: &Workshop, arm: Arm, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let len = x.len();
    let (x, y) = (arm.input::<X>("x", x, len)?, arm.output::<Y>("y", y, len)?);
    shop.threads.each(y.chunks_mut(CHUNK).zip(x.chunks(CHUNK)), |(y, x)| {
        for (y, x) in y.iter_mut().zip(x) {
            *y = Y::nearest(x.widened());
        }
    });
    Ok(())
}
