//! ReLU on its own: `y = max(x, 0)`; `dx = dy` where `y > 0`, else 0.

use super::output;
use crate::device::Call;
use crate::error::Result;
use crate::graph::{InputGradient, OutputGradient, Tape, Tensor};

/// Any shape.
///
/// # Errors
/// The device's errors.
pub fn relu(tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
    let mut y = output(tape.device(), x.dtype(), x.shape())?;
    tape.device().run(Call::ReluForward { x: x.buffer(), y: &mut y })?;
    let y = tape.record("relu", x.shape(), y, [x], |_, y| {
        let y = y.clone();
        Box::new(move |device, OutputGradient { dy: mut gradient, masked }| {
            if !masked {
                device.run(Call::ReluBackward { y: y.buffer(), gradient: &mut gradient })?;
            }
            Ok(vec![Some(InputGradient::plain(gradient))])
        })
    });
    Ok(y.after_relu())
}
