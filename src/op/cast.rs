//! The same numbers in another floating-point format, where two parts of a network keep theirs in different ones: the
//! convolutional base may be bf16, the classifier is f32.
//!
//! `y[i] = x[i]`, to the nearest, ties to even; backward the same, into the format of `x`.

use super::output;
use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::Result;
use crate::graph::{InputGradient, Tape, Tensor};

/// Any shape, as `dtype`; what is that already stays as it is.
///
/// # Errors
/// The device's errors.
pub fn cast(tape: &Tape<'_>, x: &Tensor, dtype: Dtype) -> Result<Tensor> {
    let (from, shape) = (x.dtype(), x.shape());
    if from == dtype {
        return Ok(x.clone());
    }
    let between = move |device: &dyn Device, x: &Buffer, dtype: Dtype| -> Result<Buffer> {
        let mut y = output(device, dtype, shape)?;
        device.run(Call::Cast { x, y: &mut y })?;
        Ok(y)
    };
    let y = between(tape.device(), x.buffer(), dtype)?;
    Ok(tape.record("cast", shape, y, [x], |_, _| {
        Box::new(move |device, arrived| {
            Ok(vec![Some(InputGradient::plain(between(device, &arrived.dy, from)?))])
        })
    }))
}
