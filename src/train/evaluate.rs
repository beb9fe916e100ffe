//! Loss, accuracy and probabilities of a network on samples, dropout off.

use super::course::LossOptions;
use super::samples::Samples;
use crate::device::call::LossRule;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::graph::{Mode, Tape, Tensor};
use crate::interrupt;
use crate::model::{Network, Output};
use crate::op::{self, Loss, LossArrival};
use serde::{Deserialize, Serialize};

/// A network's result on a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Sum of the samples' losses.
    pub loss_sum: f64,
    /// Samples that were right.
    pub right: usize,
    /// Samples seen.
    pub seen: usize,
}

impl Score {
    /// Mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.seen as f64
    }

    /// Share of samples that were right.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.seen as f64
    }

    /// Takes a batch's loss in, and gives its sum.
    pub(super) fn add(&mut self, device: &dyn Device, loss: LossArrival) -> Result<f64> {
        let rows = loss.rows();
        let (loss_sum, right) = loss.totals(device)?;
        self.loss_sum += loss_sum;
        self.right += right;
        self.seen += rows;
        Ok(loss_sum)
    }
}

/// The targets of a batch on the device, as the loss of `output` takes them.
pub(super) struct Targets {
    rule: LossRule,
    labels: Buffer,
    weights: Option<Buffer>,
}

impl Targets {
    /// Of `labels`, which are a part of a step with `whole` samples.
    pub fn new(
        device: &dyn Device,
        output: Output,
        labels: &[u32],
        options: &LossOptions,
        whole: usize,
    ) -> Result<Self> {
        device.label("targets");
        let rule = LossRule { denominator: whole, smoothing: options.smoothing };
        let weights = options.class_weights.as_ref().map(|weights| {
            let of = |&label: &u32| weights.get(label as usize).copied().unwrap_or(1.0);
            device.upload(&labels.iter().map(of).collect::<Vec<f32>>())
        });
        let weights = weights.transpose()?;
        let labels = match output {
            Output::Sigmoid => {
                let targets: Vec<f32> = labels.iter().map(|&label| label as f32).collect();
                device.upload(&targets)
            }
            Output::Softmax(_) | Output::Features => device.upload(labels),
        }?;
        Ok(Self { rule, labels, weights })
    }

    /// The loss that the network's output asks for.
    pub fn loss(&self, tape: &Tape<'_>, output: Output, logits: &Tensor) -> Result<Loss> {
        tape.label("loss");
        let (rule, labels, weights) = (self.rule, &self.labels, self.weights.as_ref());
        match output {
            Output::Sigmoid => op::sigmoid_cross_entropy(tape, rule, logits, labels, weights),
            Output::Softmax(_) | Output::Features => {
                op::softmax_cross_entropy(tape, rule, logits, labels, weights)
            }
        }
    }
}

/// Runs `samples`, which enter at layer `from`, through the rest of the network. `batch` is that of
/// training; the samples may allow more.
///
/// # Errors
/// The device's errors; [`Kind::Interrupted`](crate::error::Kind::Interrupted).
pub fn evaluate(
    device: &dyn Device,
    network: &Network,
    from: usize,
    samples: &dyn Samples,
    batch: usize,
) -> Result<Score> {
    let all: Vec<u32> = (0..samples.len() as u32).collect();
    score(device, network, (from, samples), &all, samples.evaluation_batch(batch), 0.0)
}

/// The samples `indices`, `batch` at once; targets are smoothed as in training.
pub(super) fn score(
    device: &dyn Device,
    network: &Network,
    (from, samples): (usize, &dyn Samples),
    indices: &[u32],
    batch: usize,
    smoothing: f32,
) -> Result<Score> {
    let mut score = Score::default();
    let output = network.architecture().output();
    let options = LossOptions { smoothing, class_weights: None };
    // While a card works on a batch, the next one is made ready.
    let mut before: Option<LossArrival> = None;
    for indices in indices.chunks(batch) {
        interrupt::check()?;
        let labels: Vec<u32> = indices.iter().map(|&i| samples.labels()[i as usize]).collect();
        device.label("batch");
        let mut x = Some(samples.batch(device, indices)?);
        let targets = Targets::new(device, output, &labels, &options, labels.len())?;
        let mut outcome = None;
        device.together(&mut || {
            let Some(x) = x.take() else { return Ok(()) };
            let tape = Tape::new(device, Mode::Inference);
            let end = network.architecture().layers().len();
            let logits = network.forward(&tape, x, from..end, 0, 0)?;
            outcome = Some(targets.loss(&tape, output, &logits)?);
            Ok(())
        })?;
        let now = outcome.map(|loss| loss.later(device)).transpose()?;
        if let Some(loss) = std::mem::replace(&mut before, now) {
            score.add(device, loss)?;
        }
    }
    if let Some(loss) = before {
        score.add(device, loss)?;
    }
    Ok(score)
}

/// What a network says of labelled samples.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Which class it gives each.
    pub classes: Vec<usize>,
    /// As [`predict`].
    pub probabilities: Vec<Vec<f32>>,
    /// The sum of the losses.
    pub loss_sum: f64,
}

/// What the network says of each row of `x`, which enters at layer `from`, against `labels`.
///
/// # Errors
/// The device's errors.
pub fn judge(
    device: &dyn Device,
    network: &Network,
    from: usize,
    x: Tensor,
    labels: &[u32],
) -> Result<Judged> {
    let tape = Tape::new(device, Mode::Inference);
    let logits = network.forward(&tape, x, from..network.architecture().layers().len(), 0, 0)?;
    let output = network.architecture().output();
    let targets = Targets::new(device, output, labels, &LossOptions::default(), labels.len())?;
    let (loss_sum, _) = targets.loss(&tape, output, &logits)?.totals(device)?;
    let values: Vec<f32> = device.download(logits.buffer())?;
    let classes = match output {
        Output::Sigmoid => values.iter().map(|&logit| usize::from(logit > 0.0)).collect(),
        Output::Softmax(_) | Output::Features => {
            values.chunks_exact(values.len() / labels.len().max(1)).map(first_largest).collect()
        }
    };
    Ok(Judged { classes, probabilities: probabilities(device, output, &logits)?, loss_sum })
}

/// The class of a row of logits or probabilities; of equals the first.
pub(super) fn first_largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (k, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = k;
        }
    }
    best
}

/// Class probabilities of a batch that enters at layer `from`: one row per sample, one column per
/// class (two for a sigmoid: the complement, and the unit's own).
///
/// # Errors
/// The device's errors.
pub fn predict(device: &dyn Device, network: &Network, from: usize, x: Tensor) -> Result<Vec<Vec<f32>>> {
    let tape = Tape::new(device, Mode::Inference);
    let logits = network.forward(&tape, x, from..network.architecture().layers().len(), 0, 0)?;
    probabilities(device, network.architecture().output(), &logits)
}

fn probabilities(device: &dyn Device, output: Output, logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    match output {
        Output::Sigmoid => {
            let second: Vec<f32> = device.download(op::sigmoid(device, logits)?.buffer())?;
            Ok(second.into_iter().map(|p| vec![1.0 - p, p]).collect())
        }
        Output::Softmax(classes) => {
            let all: Vec<f32> = device.download(op::softmax(device, logits)?.buffer())?;
            Ok(all.chunks_exact(classes).map(<[f32]>::to_vec).collect())
        }
        Output::Features => {
            let all = device.download_floats(logits.buffer())?;
            let row = all.len() / logits.shape().axes()[0].max(1);
            Ok(all.chunks_exact(row.max(1)).map(<[f32]>::to_vec).collect())
        }
    }
}
