//! From an image's bytes to the network's input: `y[c] = pixel[order[c]] · scale[c] + offset[c]`.
//! Images do not learn, so there is no backward pass.

use super::output;
use crate::device::call::Normalize;
use crate::device::{Buffer, Call, Device};
use crate::error::Result;
use crate::graph::Tensor;
use crate::shape::Shape;

/// `pixels` u8 `[n, h, w, 3]` → `[n, h, w, 3]` as the device keeps activations.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when `shape` is not four axes; the device's errors.
pub fn normalize(device: &dyn Device, pixels: &Buffer, shape: Shape, rule: Normalize) -> Result<Tensor> {
    let [n, h, w, _] = shape.nhwc("normalize: the images")?;
    let mut y = output(device, device.precision().activations(), shape)?;
    device.run(Call::Normalize { rows: n * h * w, rule, pixels, y: &mut y })?;
    Tensor::constant(shape, y)
}
