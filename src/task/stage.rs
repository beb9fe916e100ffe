//! One stage of training as a person sees it: lines per epoch, history and curves after each.

use super::Host;
use super::run::Folder;
use crate::error::Result;
use crate::report::{Progress, epoch_heading, epoch_line};
use crate::train::{Epoch, History, Observer, Score};

/// Prints and keeps what training reports.
pub struct Watch<'a> {
    host: &'a Host,
    folder: &'a Folder,
    epochs: usize,
    steps: usize,
    progress: Option<Progress>,
    /// All stages so far.
    pub history: History,
}

impl<'a> Watch<'a> {
    /// Before the first stage.
    pub fn new(host: &'a Host, folder: &'a Folder) -> Self {
        Self { host, folder, epochs: 0, steps: 0, progress: None, history: History::default() }
    }

    /// Before each stage.
    pub fn stage(&mut self, title: &str, epochs: usize) {
        self.epochs = epochs;
        self.host.say(format_args!("\n{title}"));
    }

    /// The last epoch of a stage.
    pub fn last(&self, stage: &str) -> Option<&Epoch> {
        self.history.epochs.iter().rev().find(|epoch| epoch.stage == stage)
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, epoch: usize, done: usize, of: usize, _: &Score) {
        self.steps = of;
        let progress = self
            .progress
            .get_or_insert_with(|| self.host.progress(&epoch_heading(epoch, self.epochs), of, "steps"));
        progress.set(done as u64);
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let line = format!("{}\n{}", epoch_heading(epoch.epoch, self.epochs), epoch_line(self.steps, epoch));
        match self.progress.take() {
            Some(progress) => progress.finish(&line),
            None => self.host.say(line),
        }
        self.history.epochs.push(epoch.clone());
        self.folder.history(&self.history)
    }
}
