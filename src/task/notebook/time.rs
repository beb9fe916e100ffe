//! How long the notebook will take here: one forward pass is measured, the rest is counted in multiply-adds.
//!
//! The backward pass is taken as twice the forward pass through what learns. Decoding and augmentation are not in it.

use crate::device::Device;
use crate::error::Result;
use crate::graph::Tensor;
use crate::model::{Architecture, Network};
use crate::random::{Draws, Stream};
use crate::shape::Shape;
use crate::task::StageConfig;
use crate::task::parts::multiplications;
use crate::train;
use std::time::Instant;

/// Seconds of a batch of `batch` images through the whole network, the second time.
///
/// # Errors
/// The device's.
pub fn forward(device: &dyn Device, network: &Network, batch: usize) -> Result<f64> {
    let architecture = network.architecture();
    let [h, w] = architecture.input;
    let shape = Shape::new(&[batch, h, w, 3]);
    let mut draws = Draws::new(0, Stream::Demo, 0);
    let noise: Vec<f32> = (0..shape.len()).map(|_| draws.below(256) as f32 / 255.0).collect();
    let mut seconds = 0.0;
    for _ in 0..2 {
        let x = Tensor::constant(shape, device.upload(&noise)?)?;
        device.synchronize()?;
        let began = Instant::now();
        let y = train::forward(device, network, 0..architecture.layers().len(), x)?;
        device.download_floats(y.buffer())?;
        seconds = began.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

/// The images of a job.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// To learn from.
    pub train: usize,
    /// To validate.
    pub validation: usize,
}

/// Passes of one image through the whole network, as it were, that `stages` take together with what is
/// computed once before them; `done` are the epochs of each that are behind.
///
/// # Errors
/// Of a stage that names no layer.
pub fn passes(
    architecture: &Architecture,
    stages: &[StageConfig],
    done: &[usize],
    batch: usize,
    sizes: Sizes,
) -> Result<f64> {
    let whole = multiplications(architecture, architecture.layers().len()) as f64;
    let before = |layer: usize| multiplications(architecture, layer) as f64 / whole;
    let (mut sum, mut lowest, mut highest, mut plain) = (0.0, usize::MAX, 0, 0);
    for (stage, done) in stages.iter().zip(done) {
        let from = stage.boundary(architecture)?;
        lowest = lowest.min(from);
        highest = highest.max(lowest);
        let enters = if stage.augment.is_some() { 0 } else { lowest };
        if stage.augment.is_none() {
            plain = plain.max(lowest);
        }
        let left = *done..stage.epochs.max(*done);
        let trained = stage.learned(batch, sizes.train, left.clone());
        let checked = stage.validated(batch, sizes.validation) * left.len();
        sum += trained as f64 * (1.0 - before(enters) + 2.0 * (1.0 - before(from)))
            + checked as f64 * (1.0 - before(lowest));
    }
    if done.iter().all(|&epochs| epochs == 0) {
        sum += sizes.validation as f64 * before(highest) + sizes.train as f64 * before(plain);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Head, Pooling, Variant};
    use crate::task::notebook::Numbers;

    #[test]
    fn passes_are_those_of_the_chapter() {
        let numbers = Numbers::default();
        let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.0, classes: 2 };
        let net = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap().with_head(head).unwrap();
        let sizes = Sizes { train: 2000, validation: 1000 };
        let of = |stage: &StageConfig, done: usize| {
            passes(&net, std::slice::from_ref(stage), &[done], 20, sizes).unwrap()
        };
        // Every image once; the classifier is a three-thousandth of the network.
        let features = of(&numbers.features, 0);
        assert!((3000.0..3100.0).contains(&features), "{features}");
        // 100 steps of 20 through all, 30 times; validation once.
        let frozen = of(&numbers.frozen, 0);
        assert!((61_000.0..61_200.0).contains(&frozen), "{frozen}");
        assert!((of(&numbers.frozen, 15) / frozen - 0.5).abs() < 0.02);
        // From block3 on there is three quarters of the network, three times; and validation's.
        let finetune = of(&numbers.finetune, 0);
        assert!((500_000.0..600_000.0).contains(&finetune), "{finetune}");
        assert_eq!(of(&numbers.finetune, 100), 0.0);
    }
}
