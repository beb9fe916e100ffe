//! The optimizer: a rule, and the state that it keeps for parameters that have learned.
//!
//! In: gradients, as backward hands them over. Out: new weights. Gradients wait until backward has ended;
//! then all tensors of one rate are stepped through in one call. A weight's gradient, as large as the weight, is used
//! where it arises if the rule is the plain RMSprop: the tape hands it over when nothing before it needs the weight of
//! this step any more, and [`Parameter::update`] refuses where that is not so.

use super::scaler::Scaler;
use crate::device::call::{Adjust, ParameterUpdate, Rule};
use crate::device::{Buffer, Call, Device, Dtype, LossScale};
use crate::error::{Error, Kind, Result};
use crate::graph::{Gradient, Mode, Parameter, Tape};

/// The rule and the state it keeps, by parameter index.
pub struct Optimizer {
    /// Its numbers.
    pub rule: Rule,
    /// What happens before it.
    pub adjust: Adjust,
    /// Whether the gradients of several backward passes are added up before [`Optimizer::step`].
    pub accumulates: bool,
    /// The factor of each parameter's rate.
    pub factors: Vec<f32>,
    /// Steps so far, those that the scaler skipped among them.
    pub steps: u64,
    /// Of the loss, where gradients are f16.
    pub scaler: Option<Scaler>,
    states: Vec<Option<State>>,
    waiting: Vec<Option<Buffer>>,
}

/// What is kept for a parameter, by the names that Keras gives it; 0 before the first step.
pub struct State {
    /// The running mean of squared gradients.
    pub velocity: Option<Buffer>,
    /// Of RMSprop and SGD with momentum the running step, of AdamW the running mean of gradients.
    pub momentum: Option<Buffer>,
    /// The running mean of gradients, of a centered RMSprop (Keras' `average_gradient`).
    pub mean: Option<Buffer>,
}

/// Whether a weight's gradient is used by the call that makes it, and outlives none.
pub fn uses_at_once(rule: Rule, adjust: Adjust) -> bool {
    adjust == Adjust::NONE && matches!(rule, Rule::Rmsprop(rule) if rule.is_plain())
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

    /// Its buffers by name, to write down and to fill again.
    pub fn buffers_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Buffer)> {
        [
            ("velocity", self.velocity.as_mut()),
            ("momentum", self.momentum.as_mut()),
            ("mean", self.mean.as_mut()),
        ]
        .into_iter()
        .filter_map(|(name, buffer)| Some((name, buffer?)))
    }
}

impl Optimizer {
    /// A fresh optimizer for `parameters` parameters.
    pub fn new(rule: impl Into<Rule>, parameters: usize) -> Self {
        Self {
            rule: rule.into(),
            adjust: Adjust::NONE,
            accumulates: false,
            factors: vec![1.0; parameters],
            steps: 0,
            scaler: None,
            states: (0..parameters).map(|_| None).collect(),
            waiting: (0..parameters).map(|_| None).collect(),
        }
    }

    /// Makes the state of all parameters that learn, so that the first step is like those that follow; and the loss's
    /// scale, if one of them is read as f16: then its gradient has come through f16, and the tapes of its steps must be
    /// those of [`Optimizer::tape`].
    ///
    /// # Errors
    /// The device's errors.
    pub fn prepare(&mut self, device: &dyn Device, parameters: &[Parameter]) -> Result<()> {
        device.label("optimizer");
        let halved =
            |p: &Parameter| p.learns && p.shadow().is_some_and(|shadow| shadow.dtype() == Dtype::F16);
        if self.scaler.is_none() && parameters.iter().any(halved) {
            self.scaler = Some(Scaler::new(device, LossScale::START)?);
        }
        for (state, parameter) in self.states.iter_mut().zip(parameters) {
            if parameter.learns && state.is_none() {
                *state = Some(State::new(device, self.rule, parameter.shape().len())?);
            }
        }
        Ok(())
    }

    /// An empty tape for a step whose gradients are [taken](Optimizer::take) here: where there is a scale of the loss, by
    /// which [`Optimizer::step`] divides, the tape multiplies by it.
    pub fn tape<'d>(&self, device: &'d dyn Device) -> Tape<'d> {
        Tape::new(device, Mode::Training).scaled(self.scaler.as_ref().map(Scaler::shared))
    }

    /// For how many parameters it was made.
    pub fn parameters(&self) -> usize {
        self.states.len().min(self.factors.len())
    }

    /// What is kept, by parameter.
    pub fn states_mut(&mut self) -> &mut [Option<State>] {
        &mut self.states
    }

    /// Takes the gradient of `parameter`, the `index`-th of its network: it waits for
    /// [`Optimizer::step`], or is used now.
    ///
    /// # Errors
    /// The device's errors; [`Kind::Usage`] when the optimizer was made for fewer parameters; [`Kind::Device`] while
    /// somebody holds a tensor of the parameter.
    pub fn take(
        &mut self,
        device: &dyn Device,
        index: usize,
        parameter: &mut Parameter,
        gradient: Gradient,
    ) -> Result<()> {
        let known = self.parameters();
        if index >= known {
            return Err(Error::new(
                Kind::Usage,
                format!("{} is none of the optimizer's parameters", parameter.name),
            )
            .expected_got(format!("fewer than {known} before it"), index)
            .help("make the optimizer, and its factors, for all parameters of the network"));
        }
        if self.states[index].is_none() {
            self.states[index] = Some(State::new(device, self.rule, parameter.shape().len())?);
        }
        // What is scaled waits for all others: one that is not finite stops them all.
        let at_once = !self.accumulates && uses_at_once(self.rule, self.adjust) && self.scaler.is_none();
        let rule = self.rule.at_rate(self.rule.rate() * self.factors[index]);
        let velocity = self.states[index].as_mut().and_then(|state| state.velocity.as_mut());
        let alone = parameter.shadow().is_none();
        match (gradient, rule, velocity) {
            (Gradient::Dense { geometry, x, dy }, Rule::Rmsprop(rule), Some(velocity))
                if at_once && alone =>
            {
                let (x, dy, (weight, _)) = (x.buffer(), &dy, parameter.update()?);
                device.run(Call::DenseRmspropStep { geometry, rule, x, dy, velocity, weight })
            }
            (Gradient::Conv2d(product), Rule::Rmsprop(rule), Some(velocity)) if at_once => {
                let (weight, shadow) = parameter.update()?;
                product.compute(device, |dbias| {
                    let (geometry, x, dy) = (product.geometry, product.x.buffer(), &*product.dy);
                    let step =
                        Call::Conv2dRmspropStep { geometry, rule, x, dy, velocity, weight, shadow, dbias };
                    device.run(step)
                })
            }
            (gradient, ..) => {
                let gradient = gradient.store(device)?;
                match &mut self.waiting[index] {
                    Some(sum) => device.run(Call::Add { x: &gradient, into: sum }),
                    none => {
                        *none = Some(gradient);
                        Ok(())
                    }
                }
            }
        }
    }

    /// Drops the gradients that wait: those of a step that is left undone.
    pub fn forget(&mut self) {
        self.waiting.fill_with(|| None);
    }

    /// One step of all `parameters` whose gradients wait, after backward has ended: a call for each factor
    /// of the rate. Shadows are written by the same calls.
    ///
    /// # Errors
    /// [`Kind::Usage`] when they are not as many as this was made for; the device's errors.
    pub fn step(&mut self, device: &dyn Device, parameters: &mut [Parameter]) -> Result<()> {
        if parameters.len() != self.parameters() {
            return Err(Error::new(Kind::Usage, "the optimizer was made for other parameters")
                .expected_got(self.parameters(), parameters.len())
                .help("give all parameters of the network that it was made for"));
        }
        self.steps += 1;
        let gradients: Vec<_> = self.waiting.iter_mut().map(Option::take).collect();
        if let Some(scaler) = &mut self.scaler {
            scaler.check(device, gradients.iter().flatten().collect())?;
        }
        let scaling = self.scaler.as_ref().map(Scaler::state);
        let mut groups: Vec<(f32, Vec<ParameterUpdate<'_>>)> = Vec::new();
        let all = parameters.iter_mut().zip(&mut self.states).zip(&gradients).zip(&self.factors);
        for (((parameter, state), gradient), &factor) in all {
            let (Some(gradient), Some(state)) = (gradient, state) else { continue };
            let (weight, shadow) = parameter.update()?;
            let slot = ParameterUpdate {
                gradient,
                weight,
                velocity: state.velocity.as_mut(),
                momentum: state.momentum.as_mut(),
                mean: state.mean.as_mut(),
                shadow,
            };
            match groups.iter_mut().find(|(of, _)| *of == factor) {
                Some((_, slots)) => slots.push(slot),
                None => groups.push((factor, vec![slot])),
            }
        }
        let (adjust, step) = (self.adjust, self.steps);
        for (factor, tensors) in groups {
            device.run(match self.rule.at_rate(self.rule.rate() * factor) {
                Rule::Rmsprop(rule) => Call::RmspropStep { rule, adjust, scaling, tensors },
                Rule::Sgd(rule) => Call::SgdStep { rule, adjust, scaling, tensors },
                Rule::Adamw(rule) => Call::AdamwStep { rule, step, adjust, scaling, tensors },
            })?;
        }
        self.scaler.as_mut().map_or(Ok(()), |scaler| scaler.update(device))
    }
}
