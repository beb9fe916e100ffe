//! Where training is, and who is told: what a run writes down to go on from there.

use super::checkpoint::Best;
use super::history::Epoch;
use super::optimizer::Optimizer;
use crate::error::{Error, Kind, Result};
use crate::model::Network;
use crate::op::Score;
use serde::{Deserialize, Serialize};

/// Where a stage is, between two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps of all stages so far: no order repeats.
    pub step: u64,
    /// Steps of earlier stages.
    pub first_step: u64,
    /// Batches of all stages so far: no mask and no augmentation repeats, however many make a step.
    pub batches: u64,
    /// Steps of the epoch that is under way.
    pub within: usize,
    /// Its score so far.
    pub score: Score,
    /// Its seconds so far.
    pub seconds: f64,
    /// Steps that the scaler of the loss had skipped before this epoch.
    #[serde(default)]
    pub skipped: u32,
    /// The stage's epochs that are done.
    pub epochs: Vec<Epoch>,
    /// Whether the stage is over. To go on with it, in a longer course, put `false` here.
    pub over: bool,
}

impl Position {
    /// The beginning of the stage that follows.
    pub fn following(&self) -> Self {
        Self { step: self.step, first_step: self.step, batches: self.batches, ..Self::default() }
    }

    /// Steps of this stage that are done.
    pub fn since(&self) -> u64 {
        self.step - self.first_step
    }
}

/// Who wants to hear how training goes, and keeps what it gives.
pub trait Observer {
    /// Before the first step that is made here of an epoch: steps done, where it is taken up in its midst, and steps of it.
    fn begin(&mut self, _epoch: usize, _done: usize, _of: usize) {}

    /// After each step: steps done and steps of this epoch, and the running score, which on a GPU does not know
    /// of the last batch yet.
    fn step(&mut self, epoch: usize, done: usize, of: usize, score: &Score);

    /// After each epoch.
    ///
    /// # Errors
    /// What the observer's own work (writing a file) returns; it ends training.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()>;

    /// Whether the stage ends with this epoch, for a reason of the observer's own; asked after [`Observer::epoch`], and
    /// of the last epoch again where a stage is taken up. What follows is as at any other end: the moment is kept, and
    /// the best epoch's weights are put back if the course says so.
    fn stop(&mut self, _: &Epoch) -> bool {
        false
    }

    /// A moment from which training can go on: after each epoch, when it is interrupted, and at the end. Of those between
    /// two epochs some may be left out.
    ///
    /// # Errors
    /// As [`Observer::epoch`].
    fn keep(&mut self, _: &Network, _: &mut Optimizer, _: &Position) -> Result<()> {
        Ok(())
    }

    /// The epoch that was just kept is the best so far, and its weights may be asked for. Told only where the course puts
    /// weights back ([`Stopping::restore_best`](super::Stopping::restore_best)); then [`Observer::restore`] is needed, too.
    ///
    /// # Errors
    /// As [`Observer::epoch`].
    fn best(&mut self, _: &Network, _: &Best<'_>) -> Result<()> {
        Ok(())
    }

    /// Puts the weights of the best epoch back.
    ///
    /// # Errors
    /// As [`Observer::epoch`]; [`Kind::Usage`] from an observer that has not said how.
    fn restore(&mut self, _: &mut Network, best: &Best<'_>) -> Result<()> {
        Err(Error::new(Kind::Usage, "the observer keeps no weights of the best epoch")
            .fact("best", best.epoch.epoch)
            .help("write its `best` and `restore`, or take restore_best from the course"))
    }
}
