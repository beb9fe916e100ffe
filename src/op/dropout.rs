//! Dropout: in training each element is 0 with probability `rate`, else `x / (1 - rate)`; in
//! inference nothing happens. Backward regenerates the same mask and applies it to the gradient.

use super::output;
use crate::device::Call;
use crate::device::call::MaskSource;
use crate::error::{Error, Kind, Result};
use crate::graph::{InputGradient, Mode, Tape, Tensor};

/// Any shape.
///
/// # Errors
/// [`Kind::Usage`] when `rate` is not in [0, 1); the device's errors.
pub fn dropout(tape: &Tape<'_>, x: &Tensor, rate: f32, source: MaskSource) -> Result<Tensor> {
    if !(0.0..1.0).contains(&rate) {
        return Err(Error::new(Kind::Usage, "dropout: the rate must be a share of the elements")
            .expected_got("0 <= rate < 1", rate));
    }
    if tape.mode() == Mode::Inference || rate == 0.0 {
        return Ok(x.clone());
    }
    let mut y = output(tape.device(), x.dtype(), x.shape())?;
    tape.device().run(Call::Dropout { rate, source, x: x.buffer(), y: &mut y })?;
    let shape = x.shape();
    Ok(tape.record("dropout", shape, y, [x], |_, _| {
        Box::new(move |device, arrived| {
            let mut dx = output(device, arrived.dy.dtype(), shape)?;
            device.run(Call::Dropout { rate, source, x: &arrived.dy, y: &mut dx })?;
            Ok(vec![Some(InputGradient::plain(dx))])
        })
    }))
}
