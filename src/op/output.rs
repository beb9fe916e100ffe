//! From logits to probabilities, for prediction: training takes the loss from the logits themselves,
//! so there is no backward pass.

use super::output;
use crate::device::{Call, Device};
use crate::error::Result;
use crate::graph::Tensor;

/// `1 / (1 + e^-x)`; any shape.
///
/// # Errors
/// The device's errors.
pub fn sigmoid(device: &dyn Device, x: &Tensor) -> Result<Tensor> {
    let mut y = output(device, x.dtype(), x.shape())?;
    device.run(Call::Sigmoid { x: x.buffer(), y: &mut y })?;
    Tensor::constant(x.shape(), y)
}

/// `e^(x_k) / Σ_j e^(x_j)` in each row; `x` `[rows, classes]`.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when `x` is not a matrix; the device's errors.
pub fn softmax(device: &dyn Device, x: &Tensor) -> Result<Tensor> {
    let [_, classes] = x.shape().matrix("softmax: the logits")?;
    let mut y = output(device, x.dtype(), x.shape())?;
    device.run(Call::Softmax { classes, x: x.buffer(), y: &mut y })?;
    Tensor::constant(x.shape(), y)
}
