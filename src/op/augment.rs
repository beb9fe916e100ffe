//! Images of a set, augmented, as input. None of its inputs learns, so nothing is recorded.

use super::output;
use crate::device::augment::{Gather, Transform};
use crate::device::{Buffer, Call, Device};
use crate::error::Result;
use crate::graph::Tensor;
use crate::shape::Shape;

/// Images `indices` of `pixels`, u8 `[count, h, w, 3]`, with one of `transforms` each →
/// `[n, h, w, 3]` as the device keeps activations.
///
/// # Errors
/// The device's errors.
pub fn augment(
    device: &dyn Device,
    geometry: Gather,
    pixels: &Buffer,
    indices: &[u32],
    transforms: &[Transform],
) -> Result<Tensor> {
    let Gather { n, h, w, .. } = geometry;
    let shape = Shape::new(&[n, h, w, 3]);
    let indices = &device.upload(indices)?;
    let transforms = &device.upload::<u32>(bytemuck::cast_slice(transforms))?;
    let mut y = output(device, device.precision().activations(), shape)?;
    device.run(Call::Augment { geometry, pixels, indices, transforms, y: &mut y })?;
    Tensor::constant(shape, y)
}
