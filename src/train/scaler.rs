//! Dynamic loss scaling, for gradients of f16: a factor on the loss that follows what the gradients bear.
//!
//! In: gradients that are about to be used. Out: whether they are, decided on the device, so that a step can be started
//! as one. The rule is that of Keras' LossScaleOptimizer: the scale starts at 2^15, doubles after 2000 good steps, and
//! halves when a gradient is not finite; that step is skipped. The loss that is shown is never scaled.

use crate::device::{Buffer, Call, Device, LossScale};
use crate::error::{Error, Kind, Result};
use std::rc::Rc;

/// A loss's scale on its device.
pub struct Scaler {
    /// Steps between two doublings.
    pub interval: u32,
    state: Rc<Buffer>,
}

impl Scaler {
    /// One that stands at `state`.
    ///
    /// # Errors
    /// The device's errors.
    pub fn new(device: &dyn Device, state: LossScale) -> Result<Self> {
        Ok(Self { interval: LossScale::INTERVAL, state: Rc::new(state.upload(device)?) })
    }

    /// Puts it to `state`.
    ///
    /// # Errors
    /// The device's errors.
    pub fn set(&mut self, device: &dyn Device, state: LossScale) -> Result<()> {
        self.state = Rc::new(state.upload(device)?);
        Ok(())
    }

    /// For a tape, whose way back begins with it.
    pub fn shared(&self) -> Rc<Buffer> {
        Rc::clone(&self.state)
    }

    /// For calls that only read it.
    pub fn state(&self) -> &Buffer {
        &self.state
    }

    /// Where it stands; waits for the device.
    ///
    /// # Errors
    /// The device's errors.
    pub fn read(&self, device: &dyn Device) -> Result<LossScale> {
        LossScale::download(device, &self.state)
    }

    /// Looks at the gradients of a step.
    ///
    /// # Errors
    /// The device's errors; [`Kind::Device`] while a tape still holds the scale.
    pub fn check(&mut self, device: &dyn Device, gradients: Vec<&Buffer>) -> Result<()> {
        device.run(Call::CheckGradients { gradients, scaling: self.state_mut()? })
    }

    /// Ends the step.
    ///
    /// # Errors
    /// As [`Scaler::check`].
    pub fn update(&mut self, device: &dyn Device) -> Result<()> {
        let interval = self.interval;
        device.run(Call::UpdateLossScale { interval, scaling: self.state_mut()? })
    }

    fn state_mut(&mut self) -> Result<&mut Buffer> {
        Rc::get_mut(&mut self.state).ok_or_else(|| {
            Error::bug(Kind::Device, "the loss's scale is changed while the tape still needs it")
        })
    }
}
