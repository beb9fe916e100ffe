//! A dry run of a step: the real loop on the planning driver, with blank samples and blank weights.
//!
//! In: an architecture, where samples enter, what learns, how many at once. Out: a [`Record`] of everything
//! that a GPU would be asked to do. What is planned is what [`Fit`] does, by construction.

use super::course::Course;
use super::fit::Fit;
use super::history::Epoch;
use super::observer::{Observer, Position};
use super::optimizer::Optimizer;
use super::samples::{Samples, batch_of};
use crate::device::call::Rmsprop;
use crate::device::gpu::Gpu;
use crate::device::gpu::plan::{Card, Mark, Plan, Record};
use crate::device::{Device, Dtype, Kernels, Precision};
use crate::error::{Error, Kind, Result};
use crate::graph::{Mode, Tape, Tensor};
use crate::model::{Architecture, Network, Preprocess, Source, Trainable};
use crate::op;
use crate::op::Score;
use crate::shape::Shape;
use std::ops::Range;

/// Blank inputs of one layer.
struct Blank<'a> {
    gpu: &'a Gpu<Plan>,
    /// A batch of one.
    shape: Shape,
    /// Whether they are images, which come as bytes.
    images: bool,
    labels: Vec<u32>,
}

impl Samples for Blank<'_> {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        self.gpu.driver().mark(Mark::Step);
        device.label("input");
        let shape = batch_of(self.shape, indices.len());
        if self.images {
            let pixels = device.alloc(Dtype::U8, shape.len())?;
            // The recipe changes numbers, not work.
            return op::normalize(device, &pixels, shape, Preprocess::Notebook.rule());
        }
        Tensor::constant(shape, device.alloc(Dtype::F32, shape.len())?)
    }
}

/// Nobody listens.
struct Silence;

impl Observer for Silence {
    fn step(&mut self, _: usize, _: usize, _: usize, _: &Score) {}

    fn epoch(&mut self, _: &Epoch) -> Result<()> {
        Ok(())
    }
}

/// What a step is planned on: the GPU, in which numbers, by which convolutions.
pub type On = (&'static Card, Precision, Kernels);

/// Two steps of training with `batch` samples that enter at layer `from`: the first makes the optimizer's
/// memory, the second is like all that follow.
///
/// # Errors
/// [`Kind::Device`] when a tensor has more elements than a kernel counts, or the GPU does
/// not run those kernels.
pub fn training(
    on: On,
    architecture: &Architecture,
    from: usize,
    trainable: Trainable,
    batch: usize,
) -> Result<Record> {
    steps(on, architecture, from, trainable, (batch, 0))
}

/// [`training`] where all gradients wait for the end of the backward pass, since the rule does not use them
/// [at once](super::optimizer::uses_at_once), or are summed over several `batches`, of which two are planned.
///
/// # Errors
/// As [`training`].
pub fn gathering(
    on: On,
    architecture: &Architecture,
    from: usize,
    trainable: Trainable,
    (batch, batches): (usize, usize),
) -> Result<Record> {
    steps(on, architecture, from, trainable, (batch, batches.clamp(1, 2)))
}

fn steps(
    (card, precision, kernels): On,
    architecture: &Architecture,
    from: usize,
    trainable: Trainable,
    (batch, gathers): (usize, usize),
) -> Result<Record> {
    let gpu = Gpu::new(Plan::new(card))?.with_precision(precision).with_kernels(kernels)?;
    let mut network = blank(&gpu, architecture)?;
    network.set_trainable(trainable);
    let accumulate = gathers.max(1);
    let samples = samples(&gpu, architecture, from, (2 * accumulate, batch))?;
    let rule = Rmsprop { rate: 1e-5, rho: 0.9, epsilon: 1e-7, ..Rmsprop::default() };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());
    optimizer.accumulates = gathers > 0;
    let course = Course { accumulate, ..Course::new(1, batch, 1, 1e-5) };
    Fit { device: &gpu, from, train: &samples, validation: None, stage: "plan", course: &course }.run(
        &mut network,
        &mut optimizer,
        &mut Position::default(),
        &mut Silence,
    )?;
    gpu.driver().mark(Mark::End);
    Ok(gpu.driver().take())
}

/// `batch` samples through the layers `range`, nothing learned.
///
/// # Errors
/// As [`training`].
pub fn inference(
    (card, precision, kernels): On,
    architecture: &Architecture,
    range: Range<usize>,
    batch: usize,
) -> Result<Record> {
    let gpu = Gpu::new(Plan::new(card))?.with_precision(precision).with_kernels(kernels)?;
    let network = blank(&gpu, architecture)?;
    let samples = samples(&gpu, architecture, range.start, (1, batch))?;
    let indices: Vec<u32> = (0..batch as u32).collect();
    let x = samples.batch(&gpu, &indices)?;
    let tape = Tape::new(&gpu, Mode::Inference);
    let y = network.forward(&tape, x, range, None)?;
    drop(y);
    gpu.driver().mark(Mark::End);
    Ok(gpu.driver().take())
}

fn blank(gpu: &Gpu<Plan>, architecture: &Architecture) -> Result<Network> {
    gpu.label("network");
    Network::new(gpu, architecture.clone(), |_| Source::Blank)
}

/// So many batches.
fn samples<'a>(
    gpu: &'a Gpu<Plan>,
    architecture: &Architecture,
    from: usize,
    (batches, batch): (usize, usize),
) -> Result<Blank<'a>> {
    let shape = architecture.shape_before(from);
    // No kernel takes more; and labels and orders, which are made here, are no larger then.
    let most = i32::MAX as usize / shape.len();
    if batch > most {
        return Err(Error::new(Kind::Device, "the samples of a batch are too large for one call")
            .expected_got(format!("at most {most} samples of {} numbers", shape.len()), batch)
            .help("use a smaller batch or smaller images"));
    }
    Ok(Blank { gpu, shape, images: from == 0, labels: vec![0; batches * batch] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::plan::{Kind, Line, Memory, lines};
    use crate::model::{Head, Layer, Pooling, Variant};

    /// Each sum as it is written, so that operations are those of the formula.
    fn on() -> On {
        (h100(), Precision::F32, Kernels::Portable)
    }

    fn vgg16(size: usize) -> Architecture {
        let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 };
        Architecture::vgg(Variant::Vgg16, [size, size]).unwrap().with_head(head).unwrap()
    }

    fn h100() -> &'static Card {
        Card::named("h100").unwrap()
    }

    fn from_images(name: &str, batch: usize) -> (Architecture, Record) {
        let architecture = vgg16(150);
        let trainable = Trainable::from(&architecture, name).unwrap();
        let record = training(on(), &architecture, 0, trainable, batch).unwrap();
        (architecture, record)
    }

    /// Operations of the matrix products, without what the optimizer does to each weight.
    fn products(lines: &[Line], weights: u64) -> f64 {
        let flops: u64 = lines
            .iter()
            .filter(|line| line.kernel.starts_with("conv2d") || line.kernel.starts_with("dense"))
            .filter(|line| !line.kernel.ends_with("_reduce"))
            .map(|line| line.cost.flops)
            .sum();
        (flops - 9 * weights) as f64
    }

    /// GFLOP per image, counted by another program from the architecture alone: the forward pass with the
    /// book's head, and fine-tuning from two boundaries.
    #[test]
    fn a_step_has_the_operations_that_were_counted_elsewhere() {
        let near = |got: f64, want: f64| assert!((got - want).abs() < 0.000_51, "{got} is not {want}");
        for (size, want) in [(150, 13.235), (224, 30.706)] {
            let architecture = vgg16(size);
            let end = architecture.layers().len();
            let record = inference(on(), &architecture, 0..end, 20).unwrap();
            near(products(&lines(&record, h100()), 0) / 20e9, want);
        }
        // The dense layers' steps are fused with their products; those of convolutions are where sums end.
        let fused = 8192 * 256 + 256;
        for (from, want) in [("block5_conv1", 15.155), ("block3_conv1", 30.448), ("block1_conv1", 39.628)] {
            let lines = lines(&from_images(from, 20).1, h100());
            near(products(&lines, fused) / 20e9, want);
        }
    }

    /// Below the boundary there is no way back, and nothing is kept for one.
    #[test]
    fn frozen_layers_launch_no_gradient_kernel_and_keep_nothing() {
        for from in ["block1_conv1", "block2_conv1", "block3_conv1", "block4_pool", "block5_conv3", "dense"] {
            let (architecture, record) = from_images(from, 2);
            let boundary = architecture.position(from).unwrap();
            let layers = architecture.layers();
            let first = (boundary..layers.len()).find(|&at| layers[at].kernel.is_some()).unwrap();
            // What the first that learns reads is kept, by the layer that wrote it: flatten writes nothing, and
            // a pool is part of the convolution before it.
            let writes = |at: &usize| !matches!(layers[*at].layer, Layer::Flatten | Layer::Maxpool2d);
            let read = (0..first).rfind(writes);
            let lines = lines(&record, h100());
            let memory = Memory::of(&record);
            let kept = |name: &str| -> u64 {
                let of = |((kind, label), bytes): (&(Kind, String), &u64)| {
                    (*kind != Kind::Weights && *kind != Kind::Optimizer && label == name).then_some(*bytes)
                };
                memory.at_backward.iter().filter_map(of).sum()
            };
            for (position, placed) in layers.iter().enumerate() {
                let name = placed.name.as_str();
                let of =
                    |backward| lines.iter().filter(|l| l.label == name && l.backward == backward).count();
                let gradients = |kernel: &str| {
                    lines.iter().filter(|l| l.label == name && l.kernel == kernel && l.backward).count()
                };
                if placed.kernel.is_some() {
                    assert!(of(false) > 0, "{name} does not run");
                }
                if position < boundary {
                    assert_eq!(of(true), 0, "{name} is below {from}");
                    assert!(
                        read == Some(position) || kept(name) == 0,
                        "{name} keeps {} bytes, from {from}",
                        kept(name)
                    );
                } else if name.contains("conv") {
                    assert_eq!(gradients("conv2d_backward_weight"), 1, "{name}, from {from}");
                    // The first that learns passes nothing on.
                    let below = usize::from(position > first);
                    assert_eq!(gradients("conv2d_backward_input"), below, "{name}, from {from}");
                    assert!(kept(name) > 0, "{name} keeps nothing, from {from}");
                }
            }
            let learns = architecture.parameters_from(boundary);
            let optimizer = memory.of_kind(Kind::Optimizer);
            assert!(optimizer >= 4 * learns && optimizer < 4 * learns + 40 * 512, "{from}: {optimizer}");
            if boundary > 1 {
                assert_eq!(kept("input"), 0, "the images are gone, from {from}");
            }
        }
    }

    /// A step writes the weight that the layer's own way back reads, so that comes first. The bias' gradient goes with
    /// the weight's where kernels add it up on the way, and no weight is left to the step of all others; but of a scaled
    /// loss no gradient is used before all are there.
    #[test]
    fn a_weight_steps_after_the_way_back_through_its_layer() {
        let architecture = vgg16(150);
        let trainable = Trainable::from(&architecture, "block3_conv1").unwrap();
        for precision in Precision::ALL {
            let scaled = precision == Precision::F16;
            let on = (h100(), precision, Kernels::Auto);
            let record = training(on, &architecture, 0, trainable, 20).unwrap();
            let lines = lines(&record, h100());
            let back = |name: &str, kernel: &str| -> Vec<usize> {
                let of = |line: &Line| {
                    let direct = line.kernel.replace("_winograd_", "_");
                    line.backward && line.label == name && direct.starts_with(kernel)
                };
                (0..lines.len()).filter(|&at| of(&lines[at])).collect()
            };
            for (position, placed) in architecture.layers().iter().enumerate().skip(trainable.from) {
                let name = placed.name.as_str();
                if !matches!(placed.layer, Layer::Conv2d { .. }) {
                    continue;
                }
                let step = if scaled { "conv2d_backward_weight_reduce" } else { "conv2d_rmsprop_step" };
                let (reads, steps) = (back(name, "conv2d_backward_input"), back(name, step));
                assert_eq!(steps.len(), 1, "{name} in {precision}");
                assert_eq!(reads.is_empty(), position == trainable.from, "{name} in {precision}");
                assert!(reads.iter().all(|&at| at < steps[0]), "{name} in {precision}: {reads:?}, {steps:?}");
                let apart = !back(name, "bias_backward").is_empty();
                let unlike = matches!(precision, Precision::F32 | Precision::Tf32x3);
                assert_eq!(apart, unlike, "{name} in {precision}");
            }
            // What is left are eleven biases, a block each; or all.
            let ends: &[&str] = if scaled {
                &["check_gradients", "rmsprop_step", "update_loss_scale"]
            } else {
                &["rmsprop_step"]
            };
            let last = &lines[lines.len() - ends.len()..];
            assert!(last.iter().map(|line| &line.kernel).eq(ends), "{precision}");
            assert_eq!(last.iter().all(|line| line.grid[0] <= 11), !scaled, "{precision}");
        }
    }

    #[test]
    fn memory_grows_with_the_batch_and_is_all_given_back() {
        let peak = |batch| Memory::of(&from_images("block3_conv1", batch).1);
        let (two, twenty) = (peak(2), peak(20));
        // 16.8 million numbers, each buffer rounded up.
        let weights = two.of_kind(Kind::Weights);
        assert!(weights > 4 * 16_812_353 && weights < 4 * 16_812_353 + 64 * 512, "{weights}");
        assert_eq!(weights, twenty.of_kind(Kind::Weights));
        let kept = |memory: &Memory| -> u64 {
            let activations = memory.at_backward.iter().filter(|((kind, _), _)| *kind == Kind::Activations);
            activations.map(|(_, bytes)| bytes).sum()
        };
        // Ten times as many images; buffers are rounded up.
        assert!((9.9..10.01).contains(&(kept(&twenty) as f64 / kept(&two) as f64)), "{}", kept(&two));
        assert!(twenty.peak > two.peak + kept(&twenty) / 2, "{} {}", two.peak, twenty.peak);
        let all: u64 = twenty.at_peak.values().sum();
        assert_eq!(all, twenty.peak);
        // Forward alone keeps nothing: a map and the next, of the widest layer, whose pool is part of it.
        let architecture = vgg16(150);
        let record = inference(on(), &architecture, 0..architecture.layers().len(), 20).unwrap();
        let memory = Memory::of(&record);
        assert_eq!(memory.peak - memory.of_kind(Kind::Weights), 20 * (150 * 150 + 75 * 75) * 64 * 4);
        assert!(memory.at_backward.is_empty());
    }

    #[test]
    fn what_no_kernel_can_count_is_refused() {
        let architecture = vgg16(224);
        let error = inference(on(), &architecture, 0..1, 1 << 12).unwrap_err().to_string();
        assert!(error.contains("running layer block1_conv1") && error.contains("smaller batch"), "{error}");
        // More than the host could make labels for.
        let error = inference(on(), &architecture, 0..1, usize::MAX).unwrap_err().to_string();
        assert!(error.contains("the samples of a batch are too large"), "{error}");
    }
}
