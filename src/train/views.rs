//! Test-time augmentation: an image is looked at as it is and in other ways, and the mean counts.
//!
//! In: images as bytes and the ways to look. Out: one row of probabilities per image. The ways are the same
//! for every image, so what is said of one does not depend on those beside it.

use super::evaluate::{Judged, first_largest, judge, predict};
use super::samples::input;
use crate::data::{Augment, Batch, Size};
use crate::device::Device;
use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::Normalize;
use crate::error::Result;
use crate::graph::Tensor;
use crate::interrupt;
use crate::model::Network;
use crate::op;

/// The ways in which each image is looked at; the first is as it is.
#[derive(Clone, Debug)]
pub struct Views {
    size: Size,
    rule: Normalize,
    border: Border,
    /// All but the first.
    others: Vec<Transform>,
}

impl Views {
    /// Images of `size` as they are, normalized by `rule`.
    pub fn plain(size: Size, rule: Normalize) -> Self {
        Self { size, rule, border: Border::Nearest, others: Vec::new() }
    }

    /// And mirrored, left for right.
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        self.others.push(Transform { flags: Transform::FLIPS_COLUMNS, ..Transform::IDENTITY });
        self
    }

    /// And with draws 0, 1 … `draws - 1` of `augment` under `seed`.
    #[must_use]
    pub fn drawn(mut self, augment: &Augment, seed: u64, draws: usize) -> Self {
        self.border = augment.border();
        let view = |draw: usize| augment.draw(seed, draw as u64, 0, self.size).transform(self.size);
        self.others.extend((0..draws).map(view));
        self
    }

    /// How many ways.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The class of a row of probabilities; of equals the first.
    pub fn most_probable(row: &[f32]) -> usize {
        first_largest(row)
    }

    /// Class probabilities of the images of `batch`, as [`predict`] gives them: the mean over the views, summed in
    /// f64 in their order.
    ///
    /// # Errors
    /// The device's errors.
    pub fn predict(&self, device: &dyn Device, network: &Network, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let first = predict(device, network, 0, input(device, batch, self.size, self.rule)?)?;
        self.mean(device, batch, first, &mut |x| predict(device, network, 0, x))
    }

    /// [`Views::predict`] with classes and losses. With more than one view both are those of the mean; each view's loss
    /// comes from its logits, and the mean is taken of what those say, so that none is capped and views that change
    /// nothing give the same.
    ///
    /// # Errors
    /// The device's errors.
    pub fn judge(&self, device: &dyn Device, network: &Network, batch: &Batch) -> Result<Judged> {
        let x = input(device, batch, self.size, self.rule)?;
        let first = judge(device, network, 0, x, &batch.labels)?;
        if self.others.is_empty() {
            return Ok(first);
        }
        let mut losses: Vec<Vec<f64>> = first.losses.into_iter().map(|loss| vec![loss]).collect();
        let probabilities = self.mean(device, batch, first.probabilities, &mut |x| {
            let judged = judge(device, network, 0, x, &batch.labels)?;
            losses.iter_mut().zip(judged.losses).for_each(|(of_one, loss)| of_one.push(loss));
            Ok(judged.probabilities)
        })?;
        Ok(Judged {
            classes: probabilities.iter().map(|row| first_largest(row)).collect(),
            losses: losses.iter().map(|of_one| of_mean(of_one)).collect(),
            probabilities,
        })
    }

    /// The mean of `first` and what `ask` gives of the other views. One view at a time: memory stays that of one batch.
    fn mean(
        &self,
        device: &dyn Device,
        batch: &Batch,
        first: Vec<Vec<f32>>,
        ask: &mut dyn FnMut(Tensor) -> Result<Vec<Vec<f32>>>,
    ) -> Result<Vec<Vec<f32>>> {
        if self.others.is_empty() {
            return Ok(first);
        }
        let mut sums: Vec<Vec<f64>> =
            first.iter().map(|row| row.iter().copied().map(f64::from).collect()).collect();
        let pixels = device.upload(&batch.pixels)?;
        let places: Vec<u32> = (0..batch.n() as u32).collect();
        for &view in &self.others {
            interrupt::check()?;
            let geometry = Gather {
                count: batch.n(),
                n: batch.n(),
                h: self.size.h,
                w: self.size.w,
                border: self.border,
                ranged: view.has(Transform::SHIFTS),
                rule: self.rule,
            };
            let x = op::augment(device, geometry, &pixels, &places, &vec![view; batch.n()])?;
            for (sum, row) in sums.iter_mut().zip(ask(x)?) {
                sum.iter_mut().zip(row).for_each(|(sum, p)| *sum += f64::from(p));
            }
        }
        let count = self.count() as f64;
        Ok(sums.into_iter().map(|row| row.into_iter().map(|sum| (sum / count) as f32).collect()).collect())
    }
}

/// The loss of the mean of probabilities whose losses are these: -ln of the mean of e^-loss. Taken off the least first, so
/// that the probabilities may be smaller than any number.
fn of_mean(losses: &[f64]) -> f64 {
    // `min` passes a NaN over.
    if losses.iter().any(|loss| loss.is_nan()) {
        return f64::NAN;
    }
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    if !least.is_finite() {
        return least;
    }
    let mean = losses.iter().map(|loss| (least - loss).exp()).sum::<f64>() / losses.len() as f64;
    least - mean.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_views_is_that_of_their_mean_and_not_capped() {
        for loss in [0.0_f64, 0.25, 22.27, 2000.0] {
            assert_eq!(of_mean(&[loss; 3]), loss, "views that change nothing");
        }
        assert!(of_mean(&[f64::NAN; 2]).is_nan() && of_mean(&[0.5, f64::NAN]).is_nan());
        let (p, q) = (0.5_f64, 0.001_f64);
        assert!((of_mean(&[-p.ln(), -q.ln()]) + f64::midpoint(p, q).ln()).abs() < 1e-12);
        assert!(
            (of_mean(&[1000.0, 1001.0]) - 1000.0 + f64::midpoint(1.0, (-1.0_f64).exp()).ln()).abs() < 1e-9
        );
    }
}
