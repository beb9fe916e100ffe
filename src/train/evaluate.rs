//! Loss, accuracy and probabilities of a network on samples, dropout off.

use super::course::LossOptions;
use super::samples::Samples;
use crate::device::call::LossRule;
use crate::device::{Buffer, Device};
use crate::error::{Error, Kind, Result};
use crate::graph::{Mode, Tape, Tensor};
use crate::interrupt;
use crate::model::{Network, Output};
use crate::op::{self, Loss, LossArrival, Score};
use std::ops::Range;

/// The targets of a batch on the device, as the loss of a network's output takes them.
pub struct Targets {
    rule: LossRule,
    labels: Buffer,
    weights: Option<Buffer>,
}

impl Targets {
    /// Of `labels`, which are a part of a step with `whole` samples.
    ///
    /// # Errors
    /// [`Kind::Usage`]: a network without a classifier; [`Kind::Data`] for a label that a sigmoid cannot mean; the device's
    /// errors.
    pub fn new(
        device: &dyn Device,
        output: Output,
        labels: &[u32],
        options: &LossOptions,
        whole: usize,
    ) -> Result<Self> {
        if let Some(row) = labels.iter().position(|&label| output == Output::Sigmoid && label > 1) {
            return Err(Error::new(Kind::Data, format!("the label of row {row} is no class"))
                .expected_got("0 or 1", labels[row]));
        }
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
            Output::Softmax(_) => device.upload(labels),
            Output::Features => Err(no_classifier()),
        }?;
        Ok(Self { rule, labels, weights })
    }

    /// The loss that the network's output asks for.
    ///
    /// # Errors
    /// Those of the op.
    pub fn loss(&self, tape: &Tape<'_>, output: Output, logits: &Tensor) -> Result<Loss> {
        tape.label("loss");
        let (rule, labels, weights) = (self.rule, &self.labels, self.weights.as_ref());
        match output {
            Output::Sigmoid => op::sigmoid_cross_entropy(tape, rule, logits, labels, weights),
            Output::Softmax(_) => op::softmax_cross_entropy(tape, rule, logits, labels, weights),
            Output::Features => Err(no_classifier()),
        }
    }
}

fn no_classifier() -> Error {
    Error::new(Kind::Usage, "the network ends with features, which no label can be held against")
        .help("give it a classifier (Architecture::with_head or with_top)")
}

/// Runs the samples `indices`, which enter at layer `from`, through the rest of the network, `batch` at once; targets are
/// smoothed as in training.
pub(super) fn score(
    device: &dyn Device,
    network: &Network,
    (from, samples): (usize, &dyn Samples),
    indices: &[u32],
    batch: usize,
    smoothing: f32,
) -> Result<Score> {
    let mut score = Score::default();
    let (output, end) = (network.architecture().output(), network.architecture().layers().len());
    let options = LossOptions { smoothing, class_weights: None };
    // While a GPU works on a batch, the next one is made ready.
    let mut before: Option<LossArrival> = None;
    for indices in indices.chunks(batch) {
        interrupt::check()?;
        let labels: Vec<u32> = indices.iter().map(|&i| samples.labels()[i as usize]).collect();
        device.label("batch");
        let x = samples.batch(device, indices)?;
        let targets = Targets::new(device, output, &labels, &options, labels.len())?;
        let loss = through(device, network, from..end, x, &|logits| {
            targets.loss(&Tape::new(device, Mode::Inference), output, &logits)
        })?;
        let now = Some(loss.later(device)?);
        if let Some(loss) = std::mem::replace(&mut before, now) {
            score.join(loss.score(device)?);
        }
    }
    if let Some(loss) = before {
        score.join(loss.score(device)?);
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
    /// The loss of each.
    pub losses: Vec<f64>,
}

impl Judged {
    /// The sum of the losses, in their order.
    pub fn loss_sum(&self) -> f64 {
        self.losses.iter().sum()
    }
}

/// What the network says of each row of `x`, which enters at layer `from`, against `labels`.
///
/// # Errors
/// As [`predict`].
pub fn judge(
    device: &dyn Device,
    network: &Network,
    from: usize,
    x: Tensor,
    labels: &[u32],
) -> Result<Judged> {
    let (output, end) = (network.architecture().output(), network.architecture().layers().len());
    let targets = Targets::new(device, output, labels, &LossOptions::default(), labels.len())?;
    let (logits, loss, squashed) = through(device, network, from..end, x, &|logits| {
        let tape = Tape::new(device, Mode::Inference);
        let loss = targets.loss(&tape, output, &logits)?;
        Ok((logits.clone(), loss, squashed(device, output, logits)?))
    })?;
    let losses = loss.later(device)?.each(device)?.into_iter().map(f64::from).collect();
    let values: Vec<f32> = device.download(logits.buffer())?;
    let classes = match output {
        Output::Sigmoid => values.iter().map(|&logit| usize::from(logit > 0.0)).collect(),
        Output::Softmax(classes) => values.chunks_exact(classes.max(1)).map(first_largest).collect(),
        Output::Features => return Err(no_classifier()),
    };
    Ok(Judged { classes, probabilities: rows(device, output, [&logits, &squashed])?, losses })
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

/// `x` through the layers `range`, at whose first it enters; nothing is kept for a way back. A device that can start
/// many calls as one does so, and does the same again for the next batch of that size ([`Device::together`]).
///
/// # Errors
/// The device's errors.
pub fn forward(device: &dyn Device, network: &Network, range: Range<usize>, x: Tensor) -> Result<Tensor> {
    through(device, network, range, x, &|y| Ok(y))
}

/// The same, and what `last` makes of it.
fn through<T>(
    device: &dyn Device,
    network: &Network,
    range: Range<usize>,
    x: Tensor,
    last: &dyn Fn(Tensor) -> Result<T>,
) -> Result<T> {
    device.as_one(|| {
        let tape = Tape::new(device, Mode::Inference);
        last(network.forward(&tape, x, range, None)?)
    })
}

/// Class probabilities of a batch that enters at layer `from`: one row per sample, one column per
/// class (two for a sigmoid: the complement, and the unit's own).
///
/// # Errors
/// The device's errors; [`Kind::Numeric`] for an output that is no number.
pub fn predict(device: &dyn Device, network: &Network, from: usize, x: Tensor) -> Result<Vec<Vec<f32>>> {
    let (output, end) = (network.architecture().output(), network.architecture().layers().len());
    let (logits, y) = through(device, network, from..end, x, &|logits| {
        Ok((logits.clone(), squashed(device, output, logits)?))
    })?;
    rows(device, output, [&logits, &y])
}

/// What the output makes of its logits: a probability each, or what they are.
fn squashed(device: &dyn Device, output: Output, logits: Tensor) -> Result<Tensor> {
    match output {
        Output::Sigmoid => op::sigmoid(device, &logits),
        Output::Softmax(_) => op::softmax(device, &logits),
        Output::Features => Ok(logits),
    }
}

/// What a sigmoid leaves of 1, with all its digits: near 1 the difference in f32 would have steps of 6e-8.
fn complement(logit: f32) -> f32 {
    (1.0 / (1.0 + f64::from(logit).exp())) as f32
}

/// A row of probabilities for each sample.
fn rows(device: &dyn Device, output: Output, [logits, squashed]: [&Tensor; 2]) -> Result<Vec<Vec<f32>>> {
    let all = device.download_floats(squashed.buffer())?;
    if let Some(at) = all.iter().position(|number| !number.is_finite()) {
        let row = at / (all.len() / squashed.shape().axes()[0].max(1)).max(1);
        return Err(Error::new(Kind::Numeric, "the network's output is not a finite number")
            .fact("image", format!("{} of its batch", row + 1))
            .fact("got", all[at])
            .help("its weights may be those of a training that diverged; in f16, whose largest number is 65504, use --precision f32 or bf16"));
    }
    Ok(match output {
        Output::Sigmoid => {
            let logits = device.download_floats(logits.buffer())?;
            all.into_iter().zip(logits).map(|(p, logit)| vec![complement(logit), p]).collect()
        }
        Output::Softmax(classes) => all.chunks_exact(classes).map(<[f32]>::to_vec).collect(),
        Output::Features => {
            let row = all.len() / squashed.shape().axes()[0].max(1);
            all.chunks_exact(row.max(1)).map(<[f32]>::to_vec).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::CpuDevice;
    use crate::model::{Architecture, Head, Layer, Pooling, Source};
    use crate::shape::Shape;

    /// Every comparison with NaN is false, so it would be the first class.
    #[test]
    fn an_output_that_is_no_number_is_no_class() {
        let device: &dyn Device = &CpuDevice::new(Some(1)).unwrap();
        for classes in [2, 3] {
            let layers = vec![("conv".to_owned(), Layer::Conv2d { filters: 2 })];
            let base = Architecture::base_of("tiny", [4, 4], layers).unwrap();
            let architecture =
                base.with_head(Head { pooling: Pooling::Flatten, units: 3, dropout: 0.0, classes }).unwrap();
            let network = Network::new(device, architecture, |_| Source::Glorot { seed: 1 }).unwrap();
            let x = |bad: f32| {
                let mut pixels = vec![0.5f32; 2 * 4 * 4 * 3];
                pixels[4 * 4 * 3] = bad;
                Tensor::constant(Shape::new(&[2, 4, 4, 3]), device.upload(&pixels).unwrap()).unwrap()
            };
            predict(device, &network, 0, x(1.0)).unwrap();
            let told = [
                predict(device, &network, 0, x(f32::NAN)).unwrap_err(),
                judge(device, &network, 0, x(f32::NAN), &[0, 1]).unwrap_err(),
            ];
            for error in told {
                assert_eq!(error.kind(), Kind::Numeric);
                assert!(error.to_string().contains("2 of its batch"), "{error}");
            }
        }
    }

    /// At a logit of 20 the first class has 2.06e-9, where 1 - p in f32 is 0.
    #[test]
    fn the_first_of_two_classes_has_all_its_digits() {
        let device: &dyn Device = &CpuDevice::new(Some(1)).unwrap();
        let values = [20.0f32, -20.0, 0.0, 200.0];
        let upload = || Tensor::constant(Shape::new(&[4, 1]), device.upload(&values).unwrap()).unwrap();
        let squashed = squashed(device, Output::Sigmoid, upload()).unwrap();
        let rows = rows(device, Output::Sigmoid, [&upload(), &squashed]).unwrap();
        for (row, value) in rows.iter().zip(values) {
            let want = 1.0 / (1.0 + f64::from(value).exp());
            // Half a unit in the last place of an f32, and what is too small for one.
            assert!((f64::from(row[0]) - want).abs() <= 6e-8 * want + 1e-45, "{value}: {row:?}");
        }
        assert!(rows[0][0] > 2e-9 && rows[3][0] == 0.0);
    }

    /// Each sample's loss in f64: cross-entropy with its smoothed target, times the weight of its class.
    #[test]
    fn a_sample_counts_as_its_class_does() {
        let device: &dyn Device = &CpuDevice::new(Some(1)).unwrap();
        let labels = [0u32, 1, 2, 2, 1];
        let logits: Vec<f32> = (0..15).map(|i| ((i * 7 % 11) as f32 - 5.0) / 4.0).collect();
        for smoothing in [0.0f32, 0.3] {
            let options = LossOptions { smoothing, class_weights: Some(vec![0.5, 2.0, 7.0]) };
            let tape = Tape::new(device, Mode::Training);
            let x = Tensor::constant(Shape::new(&[5, 3]), device.upload(&logits).unwrap()).unwrap();
            let output = Output::Softmax(3);
            let targets = Targets::new(device, output, &labels, &options, 5).unwrap();
            let loss = targets.loss(&tape, output, &x).unwrap();
            let sum = loss.score(device).unwrap().loss_sum;
            let (s, mut want) = (f64::from(smoothing), 0.0);
            for (row, &label) in logits.chunks(3).zip(&labels) {
                let all: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
                let target = |class: usize| s / 3.0 + if class == label as usize { 1.0 - s } else { 0.0 };
                let cross: f64 =
                    (0..3).map(|class| -target(class) * (f64::from(row[class]).exp() / all).ln()).sum();
                want += cross * [0.5, 2.0, 7.0][label as usize];
            }
            // Five losses in f32.
            assert!((sum - want).abs() < 1e-5 * want, "smoothing {smoothing}: {sum}, {want}");
        }
    }
}
