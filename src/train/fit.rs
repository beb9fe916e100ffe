//! The loop: epochs of steps, each a forward pass, a loss, a backward pass and an update.

#[cfg(test)]
mod tests;

use super::checkpoint::Best;
use super::course::Course;
use super::evaluate::{Score, Targets, score};
use super::history::Epoch;
use super::late::{At, Late};
use super::observer::{Observer, Position};
use super::optimizer::Optimizer;
use super::sampler::Sampler;
use super::samples::Samples;
use super::schedule::Place;
use crate::device::Device;
use crate::error::{Context, Error, Kind, Result};
use crate::model::Network;
use crate::op::LossArrival;
use crate::random::some;
use crate::{files, interrupt};
use std::time::Instant;

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
        let course = self.course;
        self.check_plan(network, optimizer)?;
        optimizer.gathers |= course.accumulate > 1;
        optimizer.prepare(self.device, network.parameters())?;
        if let Some(scaler) = optimizer.scaler.as_ref().filter(|_| position.within == 0) {
            position.skipped = scaler.read(self.device)?.skipped;
        }
        let samples = course.samples_per_step();
        let mut sampler = Sampler::new(self.train.len(), samples, course.seed, position.first_step);
        let steps = course.steps(self.train.len());
        let first_step = position.first_step;
        let rate = |step: u64, epochs: &[Epoch]| {
            course.rate(Place {
                step: step - first_step,
                steps: (steps * course.epochs) as u64,
                epochs,
                monitor: course.stopping.monitor,
            })
        };
        let mut late = Late::new(self.device, steps);
        // A kill may have come between the moment that was kept and the weights of its epoch.
        if position.within == 0 && !position.over {
            self.keep_best(network, &position.epochs, observer)?;
        }
        // A kill may have come between an epoch's moment and the stage's end.
        let mut ended = position.over
            || position.within == 0 && position.epochs.last().is_some_and(|epoch| observer.stop(epoch));
        while !ended && position.epochs.len() < course.epochs && !course.stopping.over(&position.epochs) {
            let epoch = position.epochs.len() + 1;
            let (began, before) = (Instant::now(), position.seconds);
            if position.within < steps {
                observer.begin(epoch, position.within, steps);
            }
            while position.within < steps {
                if let Err(stopped) = interrupt::check() {
                    late.land(&mut position.score)?;
                    observer.keep(network, optimizer, position)?;
                    let done = format!("training, epoch {epoch}, after step {} of {steps}", position.within);
                    return Err(stopped.context(done));
                }
                optimizer.rule = optimizer.rule.at_rate(rate(position.step, &position.epochs));
                // A step of many batches is left undone where it is stopped: no weight has moved.
                match self.step(network, optimizer, sampler.batch(position.step), position, &mut late) {
                    Err(error) if error.kind() == Kind::Interrupted => {
                        optimizer.forget();
                        late.forget();
                        continue;
                    }
                    done => done?,
                }
                position.step += 1;
                position.within += 1;
                if position.within == steps {
                    late.land(&mut position.score)?;
                }
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
            let skipped = self.skipped(optimizer, position, steps)?;
            let measured = Epoch {
                stage: self.stage.to_owned(),
                epoch,
                skipped,
                loss: position.score.loss(),
                accuracy: position.score.accuracy(),
                val_loss: checked.map(|s| s.loss()),
                val_accuracy: checked.map(|s| s.accuracy()),
                // That of the last step, also where the run is taken up after it.
                rate: files::short(rate(position.step.saturating_sub(1).max(first_step), &position.epochs)),
                seconds: before + began.elapsed().as_secs_f64(),
            };
            position.epochs.push(measured.clone());
            (position.within, position.score, position.seconds) = (0, Score::default(), 0.0);
            observer.epoch(&measured)?;
            ended = observer.stop(&measured);
            // In this order: the weights of the best epoch are never those of an epoch that is not kept, which
            // may come out otherwise when it is run again at another rate.
            let goes_on =
                !ended && position.epochs.len() < course.epochs && !course.stopping.over(&position.epochs);
            // The last, where nothing is put back, is kept below, as the stage's end.
            if goes_on || course.stopping.restore_best {
                observer.keep(network, optimizer, position)?;
            }
            self.keep_best(network, &position.epochs, observer)?;
        }
        if !position.over {
            if let Some(best) = self.best(&position.epochs)
                && Some(best.epoch) != position.epochs.last()
            {
                observer.restore(network, &best)?;
            }
            position.over = true;
            // From here on nothing is put back: the next stage's best epoch may lie in its place.
            observer.keep(network, optimizer, position)?;
        }
        Ok(())
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
            return Err(Error::new(Kind::Usage, "smoothing is a share of each target")
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
            .help("f16 does not reach for this network: use --precision f32, or bf16 on a card that has it"))
    }

    /// The best of `epochs`, if its weights are asked for at the end.
    fn best<'e>(&self, epochs: &'e [Epoch]) -> Option<Best<'e>> {
        let stopping = &self.course.stopping;
        let at = stopping.best(epochs).filter(|_| stopping.restore_best)?;
        Some(Best { epoch: &epochs[at], monitor: stopping.monitor })
    }

    /// Keeps the weights of the last of `epochs` if it is the best.
    fn keep_best(&self, network: &Network, epochs: &[Epoch], observer: &mut dyn Observer) -> Result<()> {
        match self.best(epochs) {
            Some(best) if Some(best.epoch) == epochs.last() => observer.best(network, &best),
            _ => Ok(()),
        }
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
            let outcome =
                self.batch(network, optimizer, (chosen, &labels, indices.len()), (draw, part + 1 == parts));
            let Some(loss) = outcome.context(|| late.place(at))? else {
                return Err(Error::new(Kind::Device, "the device did not do a step")
                    .help("this is a bug in vgg-ft")
                    .context(late.place(at)));
            };
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

    /// A batch of a step with `whole` samples: gradients, and the update if it is the `last`.
    fn batch(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        (chosen, labels, whole): (&[u32], &[u32], usize),
        (draw, last): (u64, bool),
    ) -> Result<Option<LossArrival>> {
        let (course, output) = (self.course, network.architecture().output());
        self.device.label("batch");
        let mut x = Some(self.train.training_batch(self.device, chosen, draw)?);
        let targets = Targets::new(self.device, output, labels, &course.loss, whole)?;
        let mut outcome = None;
        self.device.together(&mut || {
            let Some(x) = x.take() else { return Ok(()) };
            let tape = optimizer.tape(self.device);
            let end = network.architecture().layers().len();
            let logits = network.forward(&tape, x, self.from..end, course.seed, draw)?;
            let loss = targets.loss(&tape, output, &logits)?;
            drop(logits);
            tape.backward(&loss.outcome, |index, gradient| {
                optimizer.take(self.device, index, &mut network.parameters_mut()[index], gradient)
            })?;
            if last {
                optimizer.step(self.device, network.parameters_mut())?;
            }
            outcome = Some(loss);
            Ok(())
        })?;
        outcome.map(|loss| loss.later(self.device)).transpose()
    }
}
