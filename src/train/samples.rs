//! What a network is trained on: images, or the activations of a frozen prefix.
//!
//! In: indices. Out: the batch on the device, ready for the layer at which training begins.

use crate::data::{Batch, Size};
use crate::device::call::Normalize;
use crate::device::{Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::graph::Tensor;
use crate::op;
use crate::shape::Shape;

/// A set of labelled inputs.
pub trait Samples {
    /// The class of every sample.
    fn labels(&self) -> &[u32];

    /// The inputs of the samples at `indices`, in that order.
    ///
    /// # Errors
    /// The device's errors.
    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor>;

    /// [`Samples::batch`] to train on, which may see the samples changed, in a way of its own for every `draw`.
    ///
    /// # Errors
    /// The device's errors.
    fn training_batch(&self, device: &dyn Device, indices: &[u32], _draw: u64) -> Result<Tensor> {
        self.batch(device, indices)
    }

    /// How many samples to evaluate at once where `batch` are trained at once.
    fn evaluation_batch(&self, batch: usize) -> usize {
        batch
    }

    /// The number of samples.
    fn len(&self) -> usize {
        self.labels().len()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of `numbers` numbers that are evaluated at once where `batch` are trained on: 128 at least, if those take no more
/// than 128 MiB.
pub fn rows_at_once(batch: usize, numbers: usize) -> usize {
    const BYTES: usize = 128 << 20;
    batch.max((BYTES / size_of::<f32>() / numbers.max(1)).min(128))
}

/// Rows of numbers: extracted features.
pub struct FeatureSamples<'a> {
    /// Shape of one row as a batch of one.
    pub shape: Shape,
    /// `[rows, shape.len()]`.
    pub values: &'a [f32],
    /// `[rows]`.
    pub labels: &'a [u32],
}

impl Samples for FeatureSamples<'_> {
    fn labels(&self) -> &[u32] {
        self.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        let row = self.shape.len();
        let there = self.values.len().checked_div(row).unwrap_or(0);
        if let Some(beyond) = indices.iter().find(|&&index| index as usize >= there) {
            return Err(Error::new(Kind::Shape, format!("the features have no row {beyond}"))
                .expected_got(format!("{} rows of {row} numbers", self.labels.len()), format!("{there} rows"))
                .help("give as many rows of `shape` as labels"));
        }
        let mut rows = device.alloc(Dtype::F32, row * indices.len())?;
        device.fill_bytes(&mut rows, &mut |bytes| {
            for (to, &index) in bytes.chunks_exact_mut(size_of::<f32>() * row).zip(indices) {
                to.copy_from_slice(bytemuck::cast_slice(&self.values[index as usize * row..][..row]));
            }
            Ok(())
        })?;
        Tensor::constant(batch_of(self.shape, indices.len()), rows)
    }

    /// A dense layer reads its whole weight for every batch: many rows at once, where they are small.
    fn evaluation_batch(&self, batch: usize) -> usize {
        rows_at_once(batch, self.shape.len())
    }
}

/// A batch of images as the network's input, `[n, h, w, 3]`.
///
/// # Errors
/// The device's errors.
pub fn input(device: &dyn Device, batch: &Batch, size: Size, rule: Normalize) -> Result<Tensor> {
    let pixels = device.upload(&batch.pixels)?;
    op::normalize(device, &pixels, Shape::new(&[batch.n(), size.h, size.w, 3]), rule)
}

/// `shape` of a batch of one, made a batch of `n`.
pub(super) fn batch_of(shape: Shape, n: usize) -> Shape {
    let mut axes = shape.axes().to_vec();
    axes[0] = n;
    Shape::new(&axes)
}
