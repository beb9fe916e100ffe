//! RMSprop as Keras: `v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v + epsilon)`, v begins at 0, no
//! bias correction. State exists only for parameters that have learned.

use crate::device::call::Rmsprop;
use crate::device::{Buffer, Call, Device};
use crate::error::Result;
use crate::graph::{Gradient, Parameter};

/// The rule and the mean squares it keeps, by parameter index.
pub struct Optimizer {
    /// Rate, rho, epsilon.
    pub rule: Rmsprop,
    velocity: Vec<Option<Buffer>>,
}

impl Optimizer {
    /// A fresh optimizer for `parameters` parameters.
    pub fn new(rule: Rmsprop, parameters: usize) -> Self {
        Self { rule, velocity: (0..parameters).map(|_| None).collect() }
    }

    /// Makes the state of all parameters that learn, so that the first step is like those that follow.
    ///
    /// # Errors
    /// The device's errors.
    pub fn prepare(&mut self, device: &dyn Device, parameters: &[Parameter]) -> Result<()> {
        device.label("optimizer");
        for (velocity, parameter) in self.velocity.iter_mut().zip(parameters) {
            if parameter.learns && velocity.is_none() {
                *velocity = Some(device.zeros(parameter.shape().len())?);
            }
        }
        Ok(())
    }

    /// One update of `parameter`, the `index`-th of its network.
    ///
    /// # Errors
    /// The device's errors.
    pub fn step(
        &mut self,
        device: &dyn Device,
        index: usize,
        parameter: &mut Parameter,
        gradient: Gradient,
    ) -> Result<()> {
        if self.velocity[index].is_none() {
            self.velocity[index] = Some(device.zeros(parameter.shape().len())?);
        }
        let Some(velocity) = &mut self.velocity[index] else { return Ok(()) };
        let (rule, weight) = (self.rule, parameter.value_mut()?);
        match gradient {
            Gradient::Stored(gradient) => {
                device.run(Call::RmspropStep { rule, gradient: &gradient, velocity, weight })
            }
            Gradient::Dense { geometry, x, dy } => {
                let (x, dy) = (x.buffer(), &dy);
                device.run(Call::DenseRmspropStep { geometry, rule, x, dy, velocity, weight })
            }
        }
    }
}
