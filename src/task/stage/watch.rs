//! What training says of itself while it runs: a bar, a line per epoch, history, curves and checkpoints.
//!
//! In: what [`Observer`] is told. Out: lines on stderr and files of the run's folder, at the pace of [`Pace`].

use super::Moment;
use super::pace::{Pace, between_epochs};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::model::Network;
use crate::report::{Progress, epoch_heading, epoch_line};
use crate::task::Host;
use crate::task::contents::Contents;
use crate::task::remarks::put_back;
use crate::task::run::Folder;
use crate::train::{
    Best, Checkpoint, Clock, Epoch, History, Observer, Optimizer, Position, Score, samples_seen,
};
use std::time::Instant;

/// Prints and keeps what training reports.
pub(super) struct Watch<'a> {
    pub host: &'a Host,
    pub folder: &'a Folder,
    pub stage: usize,
    /// Samples of training and of validation.
    pub contents: &'a [Contents; 2],
    /// As in [`Stages`](super::Stages).
    pub clock: Clock,
    pub epochs: usize,
    pub steps: usize,
    /// The first parameter that may have changed.
    pub first: usize,
    /// Samples to learn from, and those of a step.
    pub samples: usize,
    pub at_once: usize,
    pub progress: Option<Progress>,
    /// Samples of the epoch that an earlier process learned from.
    pub seen_before: u64,
    pub history: &'a mut History,
    /// Whether the state after each epoch is kept.
    pub every_epoch: bool,
    /// Of the state and of the history.
    pub paces: [Pace; 2],
    /// Whether the history has more than its files.
    pub unwritten: bool,
}

impl Watch<'_> {
    /// Samples that the first `done` of the `of` steps of an epoch learn from.
    fn seen(&self, epoch: usize, done: usize, of: usize) -> u64 {
        let first = (epoch.saturating_sub(1) as u64).saturating_mul(of as u64);
        samples_seen(self.samples, self.at_once, first..first.saturating_add(done as u64))
    }
}

impl Observer for Watch<'_> {
    fn begin(&mut self, epoch: usize, done: usize, of: usize) {
        self.seen_before = self.seen(epoch, done, of);
        // What an earlier run did is not this run's speed.
        let left = self.seen(epoch, of, of).saturating_sub(self.seen_before);
        let heading = epoch_heading(epoch, self.epochs);
        self.progress = Some(self.host.progress(&heading, left as usize, "images"));
    }

    fn step(&mut self, epoch: usize, done: usize, of: usize, score: &Score) {
        self.steps = of;
        let Some(progress) = &self.progress else { return };
        progress.set(self.seen(epoch, done, of).saturating_sub(self.seen_before));
        // A GPU's first loss comes a step late.
        if score.seen > 0 {
            progress.note(&format!("loss {:.4} acc {:.4}", score.loss(), score.accuracy()));
        }
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let line = format!("{}\n{}", epoch_heading(epoch.epoch, self.epochs), epoch_line(self.steps, epoch));
        match self.progress.take() {
            Some(progress) => progress.finish(&line),
            None => self.host.say(line),
        }
        self.history.epochs.push(epoch.clone());
        let [_, pace] = &mut self.paces;
        self.unwritten = pace.hurries(Instant::now());
        if self.unwritten {
            return Ok(());
        }
        pace.write(|| self.folder.history(self.history))
    }

    fn keep(&mut self, network: &Network, optimizer: &mut Optimizer, position: &Position) -> Result<()> {
        let [pace, _] = &mut self.paces;
        let may_wait = !self.every_epoch && between_epochs(position, interrupt::check().is_err());
        if may_wait && pace.hurries(Instant::now()) {
            return Ok(());
        }
        let (stage, samples, position) = (self.stage, self.contents.clone(), position.clone());
        let seconds = self.clock.seconds();
        let moment = Moment { stage, samples, position, seconds, history: self.history.clone() };
        let state = serde_json::to_string(&moment)
            .map_err(|e| Error::new(Kind::Io, "the checkpoint cannot be written").fact("reason", e))?;
        let device = self.host.device.as_ref();
        let path = self.folder.checkpoint();
        pace.write(|| Checkpoint::save(&path, device, (network, self.first), optimizer, &state))
    }

    fn best(&mut self, network: &Network, best: &Best<'_>) -> Result<()> {
        best.save(&self.folder.best(), self.host.device.as_ref(), network, self.first)
    }

    fn restore(&mut self, network: &mut Network, best: &Best<'_>) -> Result<()> {
        self.host.say(put_back(best, self.history.epochs.last(), self.epochs));
        best.restore(&self.folder.best(), self.host.device.as_ref(), network)
    }
}
