//! The loop: epochs of steps, each a forward pass, a loss, the way back and an update.

use super::evaluate::{Score, evaluate, loss, targets};
use super::history::Epoch;
use super::optimizer::Optimizer;
use super::samples::Samples;
use crate::device::Device;
use crate::error::{Error, Kind, Result};
use crate::graph::{Mode, Tape};
use crate::interrupt;
use crate::model::Network;
use crate::random::{Draws, Stream};
use std::time::Instant;

/// Who wants to hear how training goes.
pub trait Observer {
    /// After each step: steps done and steps of this epoch, and the running score.
    fn step(&mut self, epoch: usize, done: usize, of: usize, score: &Score);
    /// After each epoch.
    ///
    /// # Errors
    /// What the observer's own work (writing a file) returns; it ends training.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()>;
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
    /// How many epochs.
    pub epochs: usize,
    /// Samples per step; the last step of an epoch takes what is left, as Keras does.
    pub batch: usize,
    /// Chooses order and dropout masks.
    pub seed: u64,
    /// Steps already taken by earlier stages, so that no mask and no order repeats.
    pub first_step: u64,
}

impl Fit<'_> {
    /// Trains `network` and returns the steps taken, `first_step` included.
    ///
    /// # Errors
    /// [`Kind::Numeric`] when the loss is no longer finite; [`Kind::Interrupted`]; the device's and the
    /// observer's errors. The network is then of no use.
    pub fn run(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        observer: &mut dyn Observer,
    ) -> Result<u64> {
        optimizer.prepare(self.device, network.parameters())?;
        let mut step = self.first_step;
        for epoch in 1..=self.epochs {
            let began = Instant::now();
            let order = Draws::new(self.seed, Stream::Shuffle, step << 20).permutation(self.train.len());
            let steps = order.len().div_ceil(self.batch);
            let mut score = Score::default();
            for (done, indices) in order.chunks(self.batch).enumerate() {
                interrupt::check()?;
                self.step(network, optimizer, indices, step, &mut score).map_err(|e| {
                    e.context(format!("training, epoch {epoch}, step {} of {steps}", done + 1))
                })?;
                step += 1;
                observer.step(epoch, done + 1, steps, &score);
            }
            let checked = self
                .validation
                .map(|(from, samples)| evaluate(self.device, network, from, samples, self.batch))
                .transpose()?;
            if let Some(checked) = checked
                && !checked.loss().is_finite()
            {
                return Err(Error::new(Kind::Numeric, "the validation loss is not a finite number")
                    .help("training diverged: use a lower learning rate (--rate, --head-rate)"));
            }
            observer.epoch(&Epoch {
                stage: self.stage.to_owned(),
                epoch,
                loss: score.loss(),
                accuracy: score.accuracy(),
                val_loss: checked.map(|s| s.loss()),
                val_accuracy: checked.map(|s| s.accuracy()),
                rate: f64::from(optimizer.rule.rate()),
                seconds: began.elapsed().as_secs_f64(),
            })?;
        }
        Ok(step)
    }

    fn step(
        &self,
        network: &mut Network,
        optimizer: &mut Optimizer,
        indices: &[u32],
        step: u64,
        score: &mut Score,
    ) -> Result<()> {
        let labels: Vec<u32> = indices.iter().map(|&i| self.train.labels()[i as usize]).collect();
        let output = network.architecture().output();
        // All that the step needs goes to the device first, and its outcome comes back last: what lies between
        // can then be started as one.
        self.device.label("batch");
        let mut x = Some(self.train.training_batch(self.device, indices, step)?);
        let targets = targets(self.device, output, &labels)?;
        let mut outcome = None;
        self.device.together(&mut || {
            let Some(x) = x.take() else { return Ok(()) };
            let tape = Tape::new(self.device, Mode::Training);
            let end = network.architecture().layers().len();
            let logits = network.forward(&tape, x, self.from..end, self.seed, step)?;
            let loss = loss(&tape, output, &logits, &targets)?;
            drop(logits);
            tape.backward(&loss.outcome, |index, gradient| {
                optimizer.take(self.device, index, &mut network.parameters_mut()[index], gradient)
            })?;
            optimizer.step(self.device, network.parameters_mut())?;
            outcome = Some(loss);
            Ok(())
        })?;
        let Some(loss) = outcome else { return Ok(()) };
        // An update with a loss that is no number does no harm: the run ends here, before anything is saved.
        let sum = score.add(self.device, &loss)?;
        if !sum.is_finite() {
            return Err(Error::new(Kind::Numeric, "the loss is no longer a finite number")
                .fact("loss", sum / indices.len() as f64)
                .help("training diverged: use a lower learning rate (--rate, --head-rate)"));
        }
        Ok(())
    }
}
