//! The optimizer: a rule, and the state that it keeps for parameters that have learned.
//!
//! In: gradients, as backward hands them over. Out: new weights. Gradients wait until backward has ended;
//! then all tensors are stepped through in one call. A dense layer's gradient, as large as its weight, is
//! used where it arises if the rule is the plain RMSprop.

use crate::device::call::{Adjust, Rule, Slot};
use crate::device::{Buffer, Call, Device};
use crate::error::Result;
use crate::graph::{Gradient, Parameter};

/// The rule and the state it keeps, by parameter index.
pub struct Optimizer {
    /// Its numbers.
    pub rule: Rule,
    /// What happens before it.
    pub adjust: Adjust,
    /// Steps taken.
    steps: u64,
    states: Vec<Option<State>>,
    waiting: Vec<Option<Buffer>>,
}

/// What is kept for a parameter; 0 before the first step.
struct State {
    velocity: Option<Buffer>,
    momentum: Option<Buffer>,
    mean: Option<Buffer>,
}

impl State {
    fn new(device: &dyn Device, rule: Rule, len: usize) -> Result<Self> {
        let zeros = |kept: bool| kept.then(|| device.zeros(len)).transpose();
        let keeps = rule.keeps();
        Ok(Self {
            velocity: zeros(keeps.velocity)?,
            momentum: zeros(keeps.momentum)?,
            mean: zeros(keeps.mean)?,
        })
    }
}

impl Optimizer {
    /// A fresh optimizer for `parameters` parameters.
    pub fn new(rule: impl Into<Rule>, parameters: usize) -> Self {
        Self {
            rule: rule.into(),
            adjust: Adjust::NONE,
            steps: 0,
            states: (0..parameters).map(|_| None).collect(),
            waiting: (0..parameters).map(|_| None).collect(),
        }
    }

    /// Makes the state of all parameters that learn, so that the first step is like those that follow.
    ///
    /// # Errors
    /// The device's errors.
    pub fn prepare(&mut self, device: &dyn Device, parameters: &[Parameter]) -> Result<()> {
        device.label("optimizer");
        for (state, parameter) in self.states.iter_mut().zip(parameters) {
            if parameter.learns && state.is_none() {
                *state = Some(State::new(device, self.rule, parameter.shape().len())?);
            }
        }
        Ok(())
    }

    /// Takes the gradient of `parameter`, the `index`-th of its network: it waits for
    /// [`Optimizer::step`], or is used now.
    ///
    /// # Errors
    /// The device's errors.
    pub fn take(
        &mut self,
        device: &dyn Device,
        index: usize,
        parameter: &mut Parameter,
        gradient: Gradient,
    ) -> Result<()> {
        if self.states[index].is_none() {
            self.states[index] = Some(State::new(device, self.rule, parameter.shape().len())?);
        }
        let velocity = self.states[index].as_mut().and_then(|state| state.velocity.as_mut());
        match (gradient, self.rule, velocity) {
            (Gradient::Dense { geometry, x, dy }, Rule::Rmsprop(rule), Some(velocity))
                if rule.is_plain() && self.adjust == Adjust::NONE =>
            {
                let (x, dy, weight) = (x.buffer(), &dy, parameter.value_mut()?);
                device.run(Call::DenseRmspropStep { geometry, rule, x, dy, velocity, weight })
            }
            (gradient, ..) => {
                self.waiting[index] = Some(gradient.store(device)?);
                Ok(())
            }
        }
    }

    /// One step of all `parameters` whose gradients wait, after backward has ended.
    ///
    /// # Errors
    /// The device's errors.
    pub fn step(&mut self, device: &dyn Device, parameters: &mut [Parameter]) -> Result<()> {
        self.steps += 1;
        let gradients: Vec<_> = self.waiting.iter_mut().map(Option::take).collect();
        let mut tensors = Vec::with_capacity(parameters.len());
        for ((parameter, state), gradient) in parameters.iter_mut().zip(&mut self.states).zip(&gradients) {
            let (Some(gradient), Some(state)) = (gradient, state) else { continue };
            tensors.push(Slot {
                gradient,
                weight: parameter.value_mut()?,
                velocity: state.velocity.as_mut(),
                momentum: state.momentum.as_mut(),
                mean: state.mean.as_mut(),
            });
        }
        if tensors.is_empty() {
            return Ok(());
        }
        let (adjust, step) = (self.adjust, self.steps);
        device.run(match self.rule {
            Rule::Rmsprop(rule) => Call::RmspropStep { rule, adjust, tensors },
            Rule::Sgd(rule) => Call::SgdStep { rule, adjust, tensors },
            Rule::Adamw(rule) => Call::AdamwStep { rule, step, adjust, tensors },
        })
    }
}
