//! A stage on its way: the steps of an epoch, its validation, what is kept of both, and the stage's end.
//!
//! In: a [`Fit`] and the [`Position`] from which it goes on. Out: the network and the position as they are at the end.
//! Every method leaves a moment from which another process can go on, whenever it is killed.

use super::Fit;
use crate::error::{Kind, Result};
use crate::model::Network;
use crate::op::Score;
use crate::train::Clock;
use crate::train::history::Epoch;
use crate::train::late::Late;
use crate::train::observer::{Observer, Position};
use crate::train::optimizer::Optimizer;
use crate::train::sampler::Sampler;
use crate::train::schedule::Place;
use crate::{files, interrupt};
use std::time::Instant;

/// A stage on its way.
pub(super) struct Running<'r> {
    fit: &'r Fit<'r>,
    network: &'r mut Network,
    optimizer: &'r mut Optimizer,
    position: &'r mut Position,
    observer: &'r mut dyn Observer,
    sampler: Sampler,
    late: Late<'r>,
    /// Of an epoch.
    steps: usize,
    /// Whether the observer ends the stage early.
    enough: bool,
}

impl<'r> Running<'r> {
    pub fn new(
        fit: &'r Fit<'r>,
        (network, optimizer): (&'r mut Network, &'r mut Optimizer),
        position: &'r mut Position,
        observer: &'r mut dyn Observer,
    ) -> Result<Self> {
        let course = fit.course;
        // A plan may ask for it without a course that does.
        optimizer.accumulates |= course.accumulate > 1;
        optimizer.prepare(fit.device, network.parameters())?;
        if let Some(scaler) = optimizer.scaler.as_ref().filter(|_| position.within == 0) {
            position.skipped = scaler.read(fit.device)?.skipped;
        }
        let samples = course.samples_per_step();
        let sampler = Sampler::new(fit.train.len(), samples, course.seed, position.first_step);
        let steps = course.steps(fit.train.len());
        let late = Late::new(fit.device, steps);
        Ok(Self { fit, network, optimizer, position, observer, sampler, late, steps, enough: false })
    }

    /// The clock of the epoch that is next.
    pub fn clock(&self) -> Clock {
        Clock::new(Instant::now(), self.position.seconds)
    }

    /// Does what a kill may have left undone after an epoch's moment was kept: its weights, if they are the best, and the
    /// observer's word.
    pub fn recover(&mut self) -> Result<()> {
        if self.position.within > 0 || self.position.over {
            return Ok(());
        }
        self.keep_best()?;
        self.enough = self.position.epochs.last().is_some_and(|epoch| self.observer.stop(epoch));
        Ok(())
    }

    /// Whether there is another epoch.
    pub fn goes_on(&self) -> bool {
        let (course, epochs) = (self.fit.course, &self.position.epochs);
        !self.enough && !self.position.over && epochs.len() < course.epochs && !course.stopping.over(epochs)
    }

    /// The steps of an epoch that are left.
    pub fn learn(&mut self, clock: &Clock) -> Result<()> {
        let (epoch, steps) = (self.position.epochs.len() + 1, self.steps);
        if self.position.within < steps {
            self.observer.begin(epoch, self.position.within, steps);
        }
        while self.position.within < steps {
            if let Err(stopped) = interrupt::check() {
                self.late.land(&mut self.position.score)?;
                self.keep()?;
                let done = format!("training, epoch {epoch}, after step {} of {steps}", self.position.within);
                return Err(stopped.context(done));
            }
            let step = self.position.step;
            self.optimizer.rule = self.optimizer.rule.at_rate(self.rate(step));
            let batch = self.sampler.batch(step);
            // A step of many batches is left undone where it is stopped: no weight has moved.
            match self.fit.step(self.network, self.optimizer, batch, self.position, &mut self.late) {
                Err(error) if error.kind() == Kind::Interrupted => {
                    self.optimizer.forget();
                    self.late.forget();
                    continue;
                }
                done => done?,
            }
            self.position.step += 1;
            self.position.within += 1;
            if self.position.within == steps {
                self.late.land(&mut self.position.score)?;
            }
            self.position.seconds = clock.seconds();
            self.observer.step(epoch, self.position.within, steps, &self.position.score);
        }
        Ok(())
    }

    /// The validation's score. Where it is stopped, what is kept is taken up at the validation: the steps are done.
    pub fn check(&mut self) -> Result<Option<Score>> {
        match self.fit.check(self.network) {
            Err(error) if error.kind() == Kind::Interrupted => {
                self.keep()?;
                Err(error.context(format!("validation after epoch {}", self.position.epochs.len() + 1)))
            }
            checked => checked,
        }
    }

    /// Writes the epoch down and keeps its moment.
    pub fn close(&mut self, checked: Option<Score>, clock: &Clock) -> Result<()> {
        let skipped = self.fit.skipped(self.optimizer, self.position, self.steps)?;
        // Also where the run is taken up after it.
        let last = self.position.step.saturating_sub(1).max(self.position.first_step);
        let measured = Epoch {
            stage: self.fit.stage.to_owned(),
            epoch: self.position.epochs.len() + 1,
            skipped,
            loss: self.position.score.loss(),
            accuracy: self.position.score.accuracy(),
            val_loss: checked.map(|score| score.loss()),
            val_accuracy: checked.map(|score| score.accuracy()),
            rate: files::short(self.rate(last)),
            seconds: clock.seconds(),
        };
        self.position.epochs.push(measured.clone());
        (self.position.within, self.position.score, self.position.seconds) = (0, Score::default(), 0.0);
        self.observer.epoch(&measured)?;
        self.enough = self.observer.stop(&measured);
        // In this order: the weights of the best epoch are never those of an epoch that is not kept, which
        // may come out otherwise when it is run again at another rate. The last, where nothing is put back, is kept as the
        // stage's end.
        if self.goes_on() || self.fit.course.stopping.restore_best {
            self.keep()?;
        }
        self.keep_best()
    }

    /// Puts the best weights back, if that is asked for, and keeps the stage's end, from which on nothing is put back: the
    /// next stage's best epoch may lie in its place.
    pub fn end(self) -> Result<()> {
        if self.position.over {
            return Ok(());
        }
        if let Some(best) = self.fit.best(&self.position.epochs)
            && Some(best.epoch) != self.position.epochs.last()
        {
            self.observer.restore(self.network, &best)?;
        }
        self.position.over = true;
        self.observer.keep(self.network, self.optimizer, self.position)
    }

    /// The rate of a step.
    fn rate(&self, step: u64) -> f32 {
        let course = self.fit.course;
        course.rate(Place {
            step: step - self.position.first_step,
            steps: (self.steps * course.epochs) as u64,
            epochs: &self.position.epochs,
            monitor: course.stopping.monitor,
        })
    }

    fn keep(&mut self) -> Result<()> {
        self.observer.keep(self.network, self.optimizer, self.position)
    }

    /// Keeps the weights of the last epoch if it is the best.
    fn keep_best(&mut self) -> Result<()> {
        match self.fit.best(&self.position.epochs) {
            Some(best) if Some(best.epoch) == self.position.epochs.last() => {
                self.observer.best(self.network, &best)
            }
            _ => Ok(()),
        }
    }
}
