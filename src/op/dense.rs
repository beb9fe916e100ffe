//! Dense layer: matrix product with bias, and ReLU if asked.
//!
//! `z[n,o] = bias[o] + Σ_i x[n,i] · weight[i,o]`, `y = max(z, 0)` or `z`.
//! Backward, with `dz = dy` where `y > 0`: `dx = dz · weightᵀ`, `dweight = xᵀ · dz`, `dbias = Σ_n dz`.

use super::affine::{Affine, Dweight, Dx};
use super::{Activation, fits, output};
use crate::device::{Call, Dtype};
use crate::error::Result;
use crate::graph::{Gradient, InputGradient, Tape, Tensor};
use crate::shape::Dense;

/// `x` `[n, c_in]`, `weight` `[c_in, c_out]`, `bias` `[c_out]` → `[n, c_out]`, in the format of `x` after a ReLU; without
/// one these are logits, which are f32. Only f32 has a way back.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the axes do not fit; the device's errors.
pub fn dense(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    let relu = activation.is_relu();
    let geometry = Dense::of(x.shape(), weight.shape())?;
    fits("dense: the biases", geometry.c_out, bias.shape().len())?;
    let dtype = if relu { x.dtype() } else { Dtype::F32 };
    let mut y = output(tape.device(), dtype, geometry.y())?;
    tape.device().run(Call::DenseForward {
        geometry,
        x: x.buffer(),
        weight: weight.buffer(),
        bias: bias.buffer(),
        relu,
        y: &mut y,
    })?;
    Ok(tape.record(
        "dense",
        geometry.y(),
        y,
        [x, weight, bias],
        |[x_learns, weight_learns, bias_learns], y| {
            let affine = Affine {
                rectified: relu.then(|| y.clone()),
                bias: bias_learns.then_some([geometry.n, geometry.c_out]),
                weight: weight_learns.then(|| dweight(geometry, x.clone())),
                x: x_learns.then(|| dx(geometry, weight.clone())),
            };
            affine.backward()
        },
    ))
}

fn dweight(geometry: Dense, x: Tensor) -> Dweight {
    // Large and cheap: left as a product until somebody needs the numbers.
    Box::new(move |dy| (Gradient::Dense { geometry, x, dy }, None))
}

fn dx(geometry: Dense, weight: Tensor) -> Dx {
    Box::new(move |device, dy| {
        let mut dx = output(device, dy.dtype(), geometry.x())?;
        device.run(Call::DenseBackwardInput { geometry, dy, weight: weight.buffer(), dx: &mut dx })?;
        Ok(InputGradient::plain(dx))
    })
}
