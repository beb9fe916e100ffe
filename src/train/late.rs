//! Losses that come a step late: a GPU works on the next batch while the loss of the one before travels.

use crate::device::Device;
use crate::error::{Context, Error, Kind, Result};
use crate::op::{LossArrival, Score};

/// A step: its epoch and its place there, both from 1.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub epoch: usize,
    pub within: usize,
}

/// The loss of the batch before: a GPU works on the next one while it travels.
pub(super) struct Late<'d> {
    device: &'d dyn Device,
    /// Of an epoch.
    steps: usize,
    loss: Option<(LossArrival, At)>,
}

impl<'d> Late<'d> {
    /// Of epochs of so many `steps`; nothing is on its way.
    pub fn new(device: &'d dyn Device, steps: usize) -> Self {
        Self { device, steps, loss: None }
    }

    /// "training, epoch 2, step 7 of 100", for errors.
    pub fn place(&self, At { epoch, within }: At) -> String {
        format!("training, epoch {epoch}, step {within} of {}", self.steps)
    }

    /// Takes the loss of the batch before in, now that the next one is on its way: of a device that does not
    /// work while the host does, this one's too.
    pub fn follow(&mut self, loss: LossArrival, at: At, score: &mut Score) -> Result<()> {
        let here = loss.is_here();
        self.land(score)?;
        self.loss = Some((loss, at));
        if here { self.land(score) } else { Ok(()) }
    }

    /// What is on its way is of a step that was left undone.
    pub fn forget(&mut self) {
        self.loss = None;
    }

    /// Takes in what is on its way.
    pub fn land(&mut self, score: &mut Score) -> Result<()> {
        let Some((loss, at)) = self.loss.take() else { return Ok(()) };
        let rows = loss.rows();
        let batch = loss.score(self.device).context(|| self.place(at))?;
        score.join(batch);
        let sum = batch.loss_sum;
        if sum.is_finite() {
            return Ok(());
        }
        // Updates with a loss that is no number do no harm: the run ends here, before anything is saved.
        Err(Error::new(Kind::Numeric, "the loss is no longer a finite number")
            .fact("loss", sum / rows as f64)
            .help("training diverged: use a lower learning rate (--rate, --head-rate)")
            .context(self.place(at)))
    }
}
