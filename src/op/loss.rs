//! Cross-entropy from logits, binary and many-class, with its gradient from the same pass.
//!
//! Binary: `loss = w·(max(z,0) - z·t + ln(1 + e^-|z|))`, `dz = w·(sigmoid(z) - t) / denominator`.
//! Many-class: `loss = w·(ln Σ_k e^(z_k) - z_label)`, `dz = w·(softmax(z) - onehot) / denominator`.
//! `w` is the row's weight, 1 if none is given; targets may be smoothed; `denominator` are the rows of the whole step, of
//! which a call may see a part ([`LossRule`]).
//! Both are what Keras on TensorFlow computes when the last layer is a sigmoid or a softmax: it looks
//! through the activation to the logits, so nothing is clipped.

use crate::device::call::LossRule;
use crate::device::{Arrival, Buffer, Call, Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::graph::{InputGradient, Tape, Tensor};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Loss and accuracy on samples: of a batch, an epoch, a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Sum of the samples' losses.
    pub loss_sum: f64,
    /// Samples whose class was found.
    pub right: usize,
    /// Samples seen.
    pub seen: usize,
}

impl Score {
    /// Mean loss; not a number where none were seen.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.seen as f64
    }

    /// Share of samples whose class was found.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.seen as f64
    }

    /// Takes those of other samples in.
    pub fn join(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.right += other.right;
        self.seen += other.seen;
    }
}

/// A batch's loss: a tensor to go back from, and what to tell the reader.
pub struct Loss {
    /// `[rows, 2]`: each row's loss, and whether it was right (1) or not (0).
    pub outcome: Tensor,
    rows: usize,
}

impl Loss {
    /// That of the whole batch. Waits for the device.
    ///
    /// # Errors
    /// The device's errors.
    pub fn score(&self, device: &dyn Device) -> Result<Score> {
        self.later(device)?.score(device)
    }

    /// Begins to bring them to the host; the tensor is needed no more.
    ///
    /// # Errors
    /// The device's errors.
    pub fn later(&self, device: &dyn Device) -> Result<LossArrival> {
        Ok(LossArrival { arrival: device.download_later(self.outcome.buffer())?, rows: self.rows })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// A batch's loss on its way to the host.
pub struct LossArrival {
    arrival: Arrival,
    rows: usize,
}

impl LossArrival {
    /// As [`Loss::score`].
    ///
    /// # Errors
    /// The device's errors.
    pub fn score(self, device: &dyn Device) -> Result<Score> {
        let seen = self.rows;
        let outcome = self.outcome(device)?;
        let loss_sum = outcome.chunks_exact(2).map(|row| f64::from(row[0])).sum();
        let right = outcome.chunks_exact(2).filter(|row| row[1] == 1.0).count();
        Ok(Score { loss_sum, right, seen })
    }

    /// The loss of each row.
    ///
    /// # Errors
    /// The device's errors.
    pub fn each(self, device: &dyn Device) -> Result<Vec<f32>> {
        Ok(self.outcome(device)?.chunks_exact(2).map(|row| row[0]).collect())
    }

    fn outcome(self, device: &dyn Device) -> Result<Vec<f32>> {
        let bytes = device.arrived(self.arrival)?;
        Ok(bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect())
    }

    /// Whether nobody has to wait for it.
    pub fn is_here(&self) -> bool {
        self.arrival.is_here()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// `logits` `[rows, 1]`, `targets` `[rows]` f32 in [0, 1] (nobody looks whether they are), `weights` `[rows]`.
///
/// # Errors
/// [`Kind::Shape`] when the rows differ; the device's errors.
pub fn sigmoid_cross_entropy(
    tape: &Tape<'_>,
    rule: LossRule,
    logits: &Tensor,
    targets: &Buffer,
    weights: Option<&Buffer>,
) -> Result<Loss> {
    let [rows, columns] = logits.shape().matrix("sigmoid_cross_entropy: the logits")?;
    if columns != 1 {
        return Err(
            Error::new(Kind::Shape, "sigmoid_cross_entropy: one logit per row").expected_got(1, columns)
        );
    }
    let name = "sigmoid_cross_entropy";
    one_per_row(name, rows, [("targets", Some(targets)), ("weights", weights)])?;
    loss(tape, name, logits, rows, |outcome, dlogits| {
        let logits = logits.buffer();
        tape.device().run(Call::SigmoidCrossEntropy { rule, logits, targets, weights, outcome, dlogits })
    })
}

/// `logits` `[rows, classes]`, `labels` `[rows]` u32 below `classes`, `weights` `[rows]`.
///
/// # Errors
/// [`Kind::Shape`] when the rows differ; the device's errors.
pub fn softmax_cross_entropy(
    tape: &Tape<'_>,
    rule: LossRule,
    logits: &Tensor,
    labels: &Buffer,
    weights: Option<&Buffer>,
) -> Result<Loss> {
    let [rows, classes] = logits.shape().matrix("softmax_cross_entropy: the logits")?;
    let name = "softmax_cross_entropy";
    one_per_row(name, rows, [("labels", Some(labels)), ("weights", weights)])?;
    loss(tape, name, logits, rows, |outcome, dlogits| {
        let logits = logits.buffer();
        tape.device().run(Call::SoftmaxCrossEntropy {
            rule,
            classes,
            logits,
            labels,
            weights,
            outcome,
            dlogits,
        })
    })
}

fn one_per_row(name: &str, rows: usize, buffers: [(&str, Option<&Buffer>); 2]) -> Result<()> {
    for (what, buffer) in buffers {
        super::fits(&format!("{name}: the {what}"), rows, buffer.map_or(rows, Buffer::len))?;
    }
    Ok(())
}

fn loss(
    tape: &Tape<'_>,
    name: &'static str,
    logits: &Tensor,
    rows: usize,
    run: impl FnOnce(&mut Buffer, Option<&mut Buffer>) -> Result<()>,
) -> Result<Loss> {
    let device = tape.device();
    let mut outcome = device.alloc(Dtype::F32, rows * 2)?;
    let mut dlogits =
        if logits.learns() { Some(super::output(device, logits.dtype(), logits.shape())?) } else { None };
    run(&mut outcome, dlogits.as_mut())?;
    if let (Some(scaling), Some(gradient)) = (tape.scaling(), &mut dlogits) {
        device.run(Call::ScaleGradient { scaling, gradient })?;
    }
    let gradients = [dlogits.map(InputGradient::plain)];
    let outcome = tape.record_loss(name, Shape::new(&[rows, 2]), outcome, [logits], gradients);
    Ok(Loss { outcome, rows })
}
