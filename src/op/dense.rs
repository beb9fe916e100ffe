//! Dense layer: matrix product with bias, and ReLU if asked.
//!
//! `z[n,o] = bias[o] + Σ_i x[n,i] · weight[o,i]`, `y = max(z, 0)` or `z`.
//! Backward, with `dz = dy` where `y > 0`: `dx = dz · weight`, `dweight = dzᵀ · x`, `dbias = Σ_n dz`.

use super::output;
use crate::device::Call;
use crate::error::Result;
use crate::graph::{Tape, Tensor};
use crate::shape::Dense;

/// `x` `[n, c_in]`, `weight` `[c_out, c_in]`, `bias` `[c_out]` → `[n, c_out]`.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the axes do not fit; the device's errors.
pub fn dense(tape: &Tape<'_>, x: &Tensor, weight: &Tensor, bias: &Tensor, relu: bool) -> Result<Tensor> {
    let geometry = Dense::of(x.shape(), weight.shape())?;
    let mut y = output(tape.device(), geometry.y())?;
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
            let y = relu.then(|| y.clone());
            let x = weight_learns.then(|| x.clone());
            let weight = x_learns.then(|| weight.clone());
            Box::new(move |device, mut dz| {
                if let Some(y) = y {
                    device.run(Call::ReluBackward { y: y.buffer(), gradient: &mut dz })?;
                }
                let mut gradients = vec![None, None, None];
                if bias_learns {
                    let mut dbias = device.alloc(dz.dtype(), geometry.c_out)?;
                    device.run(Call::BiasBackward {
                        rows: geometry.n,
                        channels: geometry.c_out,
                        dy: &dz,
                        dbias: &mut dbias,
                    })?;
                    gradients[2] = Some(dbias);
                }
                if let Some(x) = x {
                    let mut dweight = output(device, geometry.weight())?;
                    device.run(Call::DenseBackwardWeight {
                        geometry,
                        x: x.buffer(),
                        dy: &dz,
                        dweight: &mut dweight,
                    })?;
                    gradients[1] = Some(dweight);
                }
                if let Some(weight) = weight {
                    let mut dx = output(device, geometry.x())?;
                    device.run(Call::DenseBackwardInput {
                        geometry,
                        dy: &dz,
                        weight: weight.buffer(),
                        dx: &mut dx,
                    })?;
                    gradients[0] = Some(dx);
                }
                Ok(gradients)
            })
        },
    ))
}
