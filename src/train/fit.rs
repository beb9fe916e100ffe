//! The loop: epochs of steps, each a forward pass, a loss, a backward pass and an update.

mod running;
#[cfg(test)]
mod tests;

use super::checkpoint::Best;
use super::course::Course;
use super::evaluate::{Targets, score};
use super::history::Epoch;
use super::late::{At, Late};
use super::observer::{Observer, Position};
use super::optimizer::Optimizer;
use super::samples::Samples;
use crate::device::Device;
use crate::error::{Context, Error, Kind, Result};
use crate::interrupt;
use crate::model::{DropoutSeed, Network};
use crate::op::{LossArrival, Score};
use crate::random::some;
use running::Running;

/// One stage of training.
pub struct Fit<'a> {
    /// Where the work is done.
    pub device: &'a dyn Device,
    /// The layer at which the samples enter; everything before it is frozen and already computed.
    pub from: usize,
    /// What to learn from.
    pub train: &'a dyn Samples,
    /// What to check on after each epoch, and the layer at which it enters: images that are augmented go
    /// through the whole network, while those of the validation do so once.
    pub validation: Option<(usize, &'a dyn Samples)>,
    /// Name of the stage in the history.
    pub stage: &'a str,
    /// How long, how fast, how many at once.
    pub course: &'a Course,
}

impl Fit<'_> {
    /// Trains `network` from `position` to the end of the stage. The rate is the course's; that of the optimizer's rule
    /// counts for nothing.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is nothing to learn from, or the optimizer is another network's; [`Kind::Numeric`]
    /// when the loss is no longer finite; [`Kind::Device`] when its precision does not reach for the gradients;
    /// [`Kind::Interrupted`], after the observer has kept the moment; the device's and the observer's errors. After an
    /// error in the midst of a step the network is of no use.
    pub fn run(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        position: &mut Position,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        self.check_plan(network, optimizer)?;
        let mut stage = Running::new(self, (network, optimizer), position, observer)?;
        stage.recover()?;
        while stage.goes_on() {
            let clock = stage.clock();
            stage.learn(&clock)?;
            let checked = stage.check()?;
            stage.close(checked, &clock)?;
        }
        stage.end()
    }

    /// Whether there is something to do, and an optimizer for it.
    fn check_plan(&self, network: &Network, optimizer: &Optimizer) -> Result<()> {
        let course = self.course;
        let at_least_one = [
            ("samples to a batch", Some(course.batch)),
            ("samples to learn from", Some(self.train.len())),
            ("steps in an epoch", Some(course.steps(self.train.len()))),
            ("samples to validate with", self.validation.map(|(_, samples)| samples.len())),
            ("batches of validation", self.validation.and(course.validation_steps)),
        ];
        if let Some((what, _)) = at_least_one.iter().find(|(_, count)| *count == Some(0)) {
            return Err(Error::new(Kind::Usage, format!("training with 0 {what}")).help("give one or more"));
        }
        if !(0.0..=1.0).contains(&course.loss.smoothing) {
            return Err(Error::new(Kind::Usage, "smoothing must be a share of each target")
                .expected_got("0 to 1", course.loss.smoothing));
        }
        let (parameters, known) = (network.parameters().len(), optimizer.parameters());
        if known != parameters {
            return Err(Error::new(Kind::Usage, "the optimizer was made for another network")
                .expected_got(format!("{parameters} parameters"), known)
                .help("make it with Optimizer::new(rule, network.parameters().len())"));
        }
        Ok(())
    }

    /// How many of the epoch's `steps` the scaler of the loss skipped, now that they are done.
    fn skipped(&self, optimizer: &Optimizer, position: &mut Position, steps: usize) -> Result<usize> {
        let Some(scaler) = &optimizer.scaler else { return Ok(0) };
        let state = scaler.read(self.device)?;
        let skipped = state.skipped.saturating_sub(position.skipped) as usize;
        position.skipped = state.skipped;
        if skipped < steps || state.scale > 1.0 {
            return Ok(skipped);
        }
        // The precision's, not the rate's: no weight has moved.
        Err(Error::new(Kind::Device, "no step of the epoch had finite gradients")
            .fact("steps skipped", skipped)
            .fact("scale of the loss", state.scale)
            .help("the range of f16 is too small for this network: use --precision f32, or bf16 on a GPU that has it"))
    }

    /// The best of `epochs`, if its weights are asked for at the end.
    fn best<'e>(&self, epochs: &'e [Epoch]) -> Option<Best<'e>> {
        let stopping = &self.course.stopping;
        let at = stopping.best(epochs).filter(|_| stopping.restore_best)?;
        Some(Best { epoch: &epochs[at], monitor: stopping.monitor })
    }

    /// The validation's score.
    fn check(&self, network: &Network) -> Result<Option<Score>> {
        let Some((from, samples)) = self.validation else { return Ok(None) };
        let course = self.course;
        let batch = samples.evaluation_batch(course.batch);
        let indices: Vec<u32> = match course.validation_steps {
            // Some of all classes, the same in every epoch.
            Some(steps) if steps.saturating_mul(course.batch) < samples.len() => {
                some(course.seed, samples.len(), steps * course.batch)
            }
            _ => (0..samples.len() as u32).collect(),
        };
        let smoothing = course.loss.smoothing;
        let checked = score(self.device, network, (from, samples), &indices, batch, smoothing)?;
        if !checked.loss().is_finite() {
            return Err(Error::new(Kind::Numeric, "the validation loss is not a finite number")
                .help("training diverged: use a lower learning rate (--rate, --head-rate)"));
        }
        Ok(Some(checked))
    }

    /// One move of the weights.
    fn step(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        indices: &[u32],
        position: &mut Position,
        late: &mut Late<'_>,
    ) -> Result<()> {
        let course = self.course;
        let at = At { epoch: position.epochs.len() + 1, within: position.within + 1 };
        let parts = indices.chunks(course.batch).count();
        // Of this step alone, so that it can be left undone.
        let mut score = Score::default();
        for (part, chosen) in indices.chunks(course.batch).enumerate() {
            if part > 0 {
                interrupt::check()?;
            }
            let labels: Vec<u32> = chosen.iter().map(|&i| self.train.labels()[i as usize]).collect();
            // Every batch has masks of its own.
            let draw = position.batches + part as u64;
            // All that the step needs goes to the device first, and its outcome comes back last: what lies
            // between can then be started as one.
            let last = part + 1 == parts;
            let batch = Batch { chosen, labels: &labels, of: indices.len(), draw, last };
            let outcome = self.batch(network, optimizer, batch);
            let loss = outcome.context(|| late.place(at))?;
            if part == 0 {
                // Of the step before.
                late.land(&mut position.score)?;
            }
            late.follow(loss, at, &mut score)?;
        }
        position.score.join(score);
        position.batches += parts as u64;
        Ok(())
    }

    /// Gradients, and the update if it is the step's last batch.
    fn batch(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        Batch { chosen, labels, of, draw, last }: Batch<'_>,
    ) -> Result<LossArrival> {
        let (course, output) = (self.course, network.architecture().output());
        self.device.label("batch");
        let x = self.train.training_batch(self.device, chosen, draw)?;
        let targets = Targets::new(self.device, output, labels, &course.loss, of)?;
        let outcome = self.device.as_one(|| {
            let tape = optimizer.tape(self.device);
            let end = network.architecture().layers().len();
            let logits = network.forward(
                &tape,
                x,
                self.from..end,
                Some(DropoutSeed { seed: course.seed, batch: draw }),
            )?;
            let loss = targets.loss(&tape, output, &logits)?;
            drop(logits);
            tape.backward(&loss.outcome, |index, gradient| {
                optimizer.take(self.device, index, &mut network.parameters_mut()[index], gradient)
            })?;
            if last {
                optimizer.step(self.device, network.parameters_mut())?;
            }
            Ok(loss)
        })?;
        outcome.later(self.device)
    }
}

/// A batch of a step.
#[derive(Clone, Copy)]
struct Batch<'a> {
    /// Its samples.
    chosen: &'a [u32],
    /// The class of each.
    labels: &'a [u32],
    /// Samples of the whole step, over which the loss is a mean.
    of: usize,
    /// The number of the batch in the run, of which masks and augmentation are drawn.
    draw: u64,
    /// Whether the step ends with it.
    last: bool,
}
