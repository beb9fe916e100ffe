//! The loop: epochs of steps, each a forward pass, a loss, the way back and an update.

use super::course::Course;
use super::evaluate::{Score, Targets, score};
use super::history::Epoch;
use super::optimizer::Optimizer;
use super::sampler::Sampler;
use super::samples::Samples;
use super::schedule::Place;
use crate::device::Device;
use crate::error::{Error, Kind, Result};
use crate::graph::{Mode, Tape};
use crate::interrupt;
use crate::model::Network;
use crate::random::{Draws, Stream};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Where a stage is, between two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps of all stages so far: no mask and no order repeats.
    pub step: u64,
    /// Steps of earlier stages.
    pub first_step: u64,
    /// Steps of the epoch that is under way.
    pub within: usize,
    /// Its score so far.
    pub score: Score,
    /// Its seconds so far.
    pub seconds: f64,
    /// The stage's epochs that are done.
    pub epochs: Vec<Epoch>,
    /// Whether the stage is over.
    pub over: bool,
}

impl Position {
    /// The beginning of a stage after `first_step` steps of others.
    pub fn after(first_step: u64) -> Self {
        Self { step: first_step, first_step, ..Self::default() }
    }
}

/// Who wants to hear how training goes, and keeps what it gives.
pub trait Observer {
    /// After each step: steps done and steps of this epoch, samples of this epoch, and the running score.
    fn step(&mut self, epoch: usize, done: usize, of: usize, score: &Score);

    /// After each epoch.
    ///
    /// # Errors
    /// What the observer's own work (writing a file) returns; it ends training.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()>;

    /// A moment from which training can go on: after each epoch, and when it is interrupted.
    ///
    /// # Errors
    /// As [`Observer::epoch`].
    fn keep(&mut self, _: &Network, _: &mut Optimizer, _: &Position) -> Result<()> {
        Ok(())
    }

    /// The epoch that was just reported is the best so far, and its weights may be asked for.
    ///
    /// # Errors
    /// As [`Observer::epoch`].
    fn best(&mut self, _: &Network) -> Result<()> {
        Ok(())
    }

    /// Puts the weights of the best epoch back.
    ///
    /// # Errors
    /// As [`Observer::epoch`].
    fn restore(&mut self, _: &mut Network) -> Result<()> {
        Ok(())
    }
}

/// One stage of training.
pub struct Fit<'a> {
    /// Where the work is done.
    pub device: &'a dyn Device,
    /// The layer at which the samples enter; everything before it is frozen and already computed.
    pub from: usize,
    /// What to learn from.
    pub train: &'a dyn Samples,
    /// What to check on after each epoch, and the layer at which it enters: pictures that are augmented go
    /// through the whole network, while those of the validation do so once.
    pub validation: Option<(usize, &'a dyn Samples)>,
    /// Name of the stage in the history.
    pub stage: &'a str,
    /// How long, how fast, how many at once.
    pub course: &'a Course,
}

impl Fit<'_> {
    /// Trains `network` from `position` to the end of the stage.
    ///
    /// # Errors
    /// [`Kind::Numeric`] when the loss is no longer finite; [`Kind::Interrupted`], after the observer has
    /// kept the moment; the device's and the observer's errors. After an error the network is of no use.
    pub fn run(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        position: &mut Position,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let course = self.course;
        optimizer.gathers = course.accumulate > 1;
        optimizer.prepare(self.device, network.parameters())?;
        let samples = course.samples_per_step();
        let mut sampler = Sampler::new(self.train.len(), samples, course.seed, position.first_step);
        let steps = course.steps(self.train.len());
        let first_step = position.first_step;
        let rate = |step: u64, epochs: &[Epoch]| {
            course.pace.at(Place {
                step: step - first_step,
                steps: (steps * course.epochs) as u64,
                epochs,
                monitor: course.stopping.monitor,
            })
        };
        while position.epochs.len() < course.epochs && !course.stopping.over(&position.epochs) {
            let epoch = position.epochs.len() + 1;
            let (began, before) = (Instant::now(), position.seconds);
            while position.within < steps {
                if interrupt::check().is_err() {
                    observer.keep(network, optimizer, position)?;
                    let done = format!("training, epoch {epoch}, after step {} of {steps}", position.within);
                    return interrupt::check().map_err(|error| error.context(done));
                }
                optimizer.rule = optimizer.rule.at_rate(rate(position.step, &position.epochs));
                self.step(network, optimizer, sampler.batch(position.step), position).map_err(|e| {
                    e.context(format!("training, epoch {epoch}, step {} of {steps}", position.within + 1))
                })?;
                position.step += 1;
                position.within += 1;
                position.seconds = before + began.elapsed().as_secs_f64();
                observer.step(epoch, position.within, steps, &position.score);
            }
            let checked = match self.check(network) {
                // The steps are done: what is kept is taken up at the validation.
                Err(error) if error.kind() == Kind::Interrupted => {
                    observer.keep(network, optimizer, position)?;
                    return Err(error.context(format!("validation after epoch {epoch}")));
                }
                checked => checked?,
            };
            let measured = Epoch {
                stage: self.stage.to_owned(),
                epoch,
                loss: position.score.loss(),
                accuracy: position.score.accuracy(),
                val_loss: checked.map(|s| s.loss()),
                val_accuracy: checked.map(|s| s.accuracy()),
                // That of the last step, also where the run is taken up after it.
                rate: f64::from(rate(position.step.saturating_sub(1).max(first_step), &position.epochs)),
                seconds: before + began.elapsed().as_secs_f64(),
            };
            position.epochs.push(measured.clone());
            (position.within, position.score, position.seconds) = (0, Score::default(), 0.0);
            observer.epoch(&measured)?;
            if course.stopping.restore_best && course.stopping.best(&position.epochs) == Some(epoch - 1) {
                observer.best(network)?;
            }
            observer.keep(network, optimizer, position)?;
        }
        if !position.over {
            let best = course.stopping.best(&position.epochs);
            if course.stopping.restore_best && best.is_some_and(|best| best + 1 < position.epochs.len()) {
                observer.restore(network)?;
            }
            position.over = true;
            // From here on nothing is put back: the next stage's best epoch may lie in its place.
            observer.keep(network, optimizer, position)?;
        }
        Ok(())
    }

    /// The validation's score.
    fn check(&self, network: &Network) -> Result<Option<Score>> {
        let Some((from, samples)) = self.validation else { return Ok(None) };
        let course = self.course;
        let batch = samples.evaluation_batch(course.batch);
        let indices: Vec<u32> = match course.validation_steps {
            // Some of all classes, the same in every epoch.
            Some(steps) if steps.saturating_mul(course.batch) < samples.len() => {
                let mut all =
                    Draws::new(course.seed, Stream::Shuffle, u64::MAX << 20).permutation(samples.len());
                all.truncate(steps * course.batch);
                all
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
    ) -> Result<()> {
        let course = self.course;
        let step = position.step;
        let output = network.architecture().output();
        let parts = indices.chunks(course.batch).count();
        for (part, chosen) in indices.chunks(course.batch).enumerate() {
            let labels: Vec<u32> = chosen.iter().map(|&i| self.train.labels()[i as usize]).collect();
            // Every batch has masks of its own.
            let draw = step * course.accumulate.max(1) as u64 + part as u64;
            // All that the step needs goes to the device first, and its outcome comes back last: what lies
            // between can then be started as one.
            self.device.label("batch");
            let mut x = Some(self.train.training_batch(self.device, chosen, draw)?);
            let targets = Targets::new(self.device, output, &labels, &course.loss, indices.len())?;
            let mut outcome = None;
            self.device.together(&mut || {
                let Some(x) = x.take() else { return Ok(()) };
                let tape = Tape::new(self.device, Mode::Training);
                let end = network.architecture().layers().len();
                let logits = network.forward(&tape, x, self.from..end, course.seed, draw)?;
                let loss = targets.loss(&tape, output, &logits)?;
                drop(logits);
                tape.backward(&loss.outcome, |index, gradient| {
                    optimizer.take(self.device, index, &mut network.parameters_mut()[index], gradient)
                })?;
                if part + 1 == parts {
                    optimizer.step(self.device, network.parameters_mut())?;
                }
                outcome = Some(loss);
                Ok(())
            })?;
            let Some(loss) = outcome else { return Ok(()) };
            // An update with a loss that is no number does no harm: the run ends here, before anything is
            // saved.
            let sum = position.score.add(self.device, &loss)?;
            if !sum.is_finite() {
                return Err(Error::new(Kind::Numeric, "the loss is no longer a finite number")
                    .fact("loss", sum / chosen.len() as f64)
                    .help("training diverged: use a lower learning rate (--rate, --head-rate)"));
            }
        }
        Ok(())
    }
}
