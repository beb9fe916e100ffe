//! Networks in tf32, bf16 and f16 beside f32: all of VGG16 forward and back, and training on the demo's images.
//!
//! The kernels on the emulator (and a GPU, where one is), in each precision, against the cpu, which is f32.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use std::rc::Rc;
use std::time::Instant;
use support::half::Half;
use support::rounded::Beside;
use support::whole::{batch, drawings, photographs, relative_error};
use support::{devices, tensor_cores};
use vgg_ft::data::draw::{Counts, draw};
use vgg_ft::data::{Batch, Folder, Resize, Sample, Size, Splits, load};
use vgg_ft::device::call::{LossRule, Rmsprop};
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::emulator::Options;
use vgg_ft::device::{Device, Dtype, Kernels, LossScale, Precision};
use vgg_ft::error::Result;
use vgg_ft::graph::{Mode, Tape};
use vgg_ft::model::{
    Architecture, DropoutSeed, Head, Layer, Network, Pooling, Preprocess, Pretrained, Source, Trainable,
    Variant,
};
use vgg_ft::op;
use vgg_ft::train::{
    Course, Epoch, FeatureSamples, Fit, Observer, Optimizer, Position, Samples, Score, forward, input,
};
use vgg_ft::weights::find_default;

fn cpu() -> Box<dyn Device> {
    Box::new(CpuDevice::new(None).unwrap())
}

/// What a device works in, and by which kernels.
type Numbers = (Precision, Kernels);

const BF16: [Numbers; 2] = [(Precision::Bf16, Kernels::Portable), (Precision::Bf16, Kernels::Sm90a)];
const TF32: [Numbers; 2] = [(Precision::Tf32, Kernels::Portable), (Precision::Tf32, Kernels::Sm90a)];
const F16: [Numbers; 1] = [(Precision::F16, Kernels::Portable)];
/// All but f32; first what has tests of its own. `auto` takes fewer of Hopper's kernels than their name.
const ALL: [Numbers; 7] = [
    F16[0],
    (Precision::Tf32x3, Kernels::Portable),
    TF32[0],
    TF32[1],
    BF16[0],
    BF16[1],
    (Precision::Bf16, Kernels::Auto),
];

/// Our kernels, where they are asked for or here: on the emulator these, without its checks, which the tables of cases
/// have on; and on a GPU those of `there` that it has.
fn all(emulated: &[Numbers], there: &[Numbers]) -> Vec<(Precision, Box<dyn Device>)> {
    let emulator = |&(precision, kernels): &Numbers| -> (Precision, Box<dyn Device>) {
        (precision, Box::new(tensor_cores::emulator(Options::fast(), precision, kernels)))
    };
    let card = |&(precision, kernels): &Numbers| Some((precision, tensor_cores::card(precision, kernels)?));
    devices::gather(
        Vec::new,
        || emulated.iter().map(emulator).collect::<Vec<_>>(),
        || there.iter().filter_map(card).collect::<Vec<_>>(),
    )
}

/// A unit in the last place of a factor of 1.
fn unit(precision: Precision) -> f64 {
    match precision {
        Precision::F32 | Precision::Tf32x3 => f64::from(f32::EPSILON),
        Precision::Tf32 | Precision::F16 => 2f64.powi(-10),
        Precision::Bf16 => 2f64.powi(-7),
    }
}

/// How far features may be from those of f32, relative to their size.
///
/// A rounding errs by a fifth of a unit or so, as a root of mean squares. Of a layer weights and activations are rounded,
/// such errors average over its sums, and those of thirteen layers add up as a root: 1e-3 of tf32 and f16, 8e-3 of bf16
/// (6e-4 and 6e-3 were seen). A quarter more; and of f32 the errors of sums besides.
fn of_features(precision: Precision) -> f64 {
    let roundings = 1.25 * unit(precision) / 5.0 * (2.0 * 13.0f64).sqrt();
    roundings.max(1e-5)
}

/// The same of gradients, nine layers further back.
///
/// They are less steady: a ReLU whose sum is nearer to zero than it is off, or a maximum that nearly ties, decides
/// otherwise, and a whole part of the gradient goes elsewhere. With errors of `e` that are 0.4·`e` of the activations (so
/// many of a normal distribution lie within `e`/2 of zero), in each layer anew: 0.19 of bf16, 0.07 of tf32 and f16 (0.11
/// and 0.007 were seen).
fn of_gradients(precision: Precision) -> f64 {
    (9.0 * 0.4 * of_features(precision)).sqrt()
}

/// How far a call may be from the cpu's, which rounds alike, given the same inputs: relative, of all its output.
///
/// Sums differ by their order, 1e-6, on tensor cores of GPUs also by what is cut from up to 600 partial sums, 2^-23 of
/// each: 7e-5. That is so little of a unit of 16 bits that few outputs round to the other side. Seen on the emulator were
/// 2e-4 of bf16, 4e-5 of f16 and 1e-5 of tf32, where TMA rounds a tie to the even one and the cpu away from zero.
fn of_a_call(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Bf16 => 2f64.powi(-10),
        _ => 2f64.powi(-13),
    }
}

#[test]
fn a_photograph_through_vgg16_stays_near_f32() {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    let [portable, hopper] = BF16;
    let by_warps = [portable, F16[0], (Precision::Tf32, Kernels::Portable)];
    // The emulator takes a product of a warpgroup in one go: of `mma.sync` it does a quarter as many in the same time.
    for (side, emulated) in [(150, &[hopper][..]), (75, &by_warps)] {
        let size = Size { h: side, w: side };
        let batch = batch(&photographs(1), size);
        let features = |device: &dyn Device| -> Vec<f32> {
            let architecture = Architecture::vgg(Variant::Vgg16, [side, side]).unwrap();
            let end = architecture.base();
            let network = Network::new(device, architecture, |_| Source::File(&weights)).unwrap();
            let x = input(device, &batch, size, Preprocess::Caffe.rule()).unwrap();
            device.download_floats(forward(device, &network, 0..end, x).unwrap().buffer()).unwrap()
        };
        let want = features(&*cpu());
        for (precision, device) in all(emulated, &ALL) {
            let (began, who) = (Instant::now(), format!("{} {precision}", devices::name(&*device)));
            let error = relative_error(&features(&*device), &want);
            println!("{who}: {side}x{side}: {error:.1e} in {:.1} s", began.elapsed().as_secs_f64());
            assert!(error <= of_features(precision), "{who}: {side}x{side}: {error:.1e}");
        }
    }
}

#[test]
fn a_step_of_vgg16_in_bf16_is_one_of_rounded_numbers() {
    a_step_of_vgg16_is_one_of_rounded_numbers(&BF16);
}

#[test]
fn a_step_of_vgg16_in_f16_is_one_of_rounded_numbers() {
    a_step_of_vgg16_is_one_of_rounded_numbers(&F16);
}

#[test]
fn a_step_of_vgg16_in_tf32_is_one_of_rounded_numbers() {
    a_step_of_vgg16_is_one_of_rounded_numbers(&TF32);
}

fn a_step_of_vgg16_is_one_of_rounded_numbers(numbers: &[Numbers]) {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    let devices = all(numbers, numbers);
    let want = step(&*cpu(), &weights, None);
    // 9 convolutions and 2 dense layers, kernel and bias, and the features.
    assert_eq!(want.len(), 23);
    for (precision, device) in devices {
        let (began, who) = (Instant::now(), format!("{} {precision}", devices::name(&*device)));
        let scale = (precision == Precision::F16).then_some(LossScale::START);
        let device = Beside::new(device, precision);
        let got = step(&device, &weights, scale);
        let mut failures = Vec::new();
        let calls = device.take();
        let mut worst = [0.0f64; 2];
        for call in &calls {
            let worst = &mut worst[usize::from(call.dtype == Dtype::F32)];
            *worst = worst.max(call.error);
            if call.error.is_nan() || call.error > of_a_call(call.dtype) {
                failures.push(format!("{who}: a call: {call:?}"));
            }
        }
        // 13 forward, 8 back to the input, 9 back to weights and biases.
        assert_eq!(calls.len(), 13 + 8 + 9 * 2, "{calls:?}");
        println!("{who}: calls off by at most {:.1e} in 16 bits, {:.1e} in f32", worst[0], worst[1]);
        assert_eq!(got.len(), want.len());
        for (at, ((name, got), (expected, want))) in got.iter().zip(&want).enumerate() {
            assert_eq!(name, expected);
            let error = relative_error(got, want);
            // What went elsewhere is missing here: so much shorter it may be along the true one, its square. A wrong
            // scale is not noise and shows in nothing else.
            let limit = of_gradients(precision);
            let size = along(got, want);
            println!("{who}: {name}: {error:.1e}, {size:.4} as long");
            let wrong = match at {
                0 => error > of_features(precision),
                _ => error > limit || (size - 1.0).abs() > limit * limit,
            };
            if wrong || error.is_nan() {
                failures.push(format!("{who}: {name}: {error:.1e}, {size:.4} as long"));
            }
        }
        println!("{who}: in {:.1} s", began.elapsed().as_secs_f64());
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

/// How long the part of `got` along `want` is, in units of `want`.
fn along(got: &[f32], want: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    dot(got, want) / dot(want, want)
}

/// A step of VGG16 from block3_conv1, of small images: its features, and the gradients of what learns. `scale` is
/// that of the loss, if it is scaled.
fn step(device: &dyn Device, weights: &Pretrained, scale: Option<LossScale>) -> Vec<(String, Vec<f32>)> {
    // Odd maps on the way: 44, 22, 11, 5, 2.
    let size = Size { h: 44, w: 44 };
    let batch = batch(&drawings(2), size);
    let head = Head { pooling: Pooling::Flatten, units: 32, dropout: 0.5, classes: 2 };
    let architecture = Architecture::vgg(Variant::Vgg16, [44, 44]).unwrap().with_head(head).unwrap();
    let (base, end) = (architecture.base(), architecture.layers().len());
    let from = Trainable::from(&architecture, "block3_conv1").unwrap();
    let mut network = Network::new(device, architecture, |layer| {
        if layer.starts_with("block") { Source::File(weights) } else { Source::Glorot { seed: 1 } }
    })
    .unwrap();
    network.set_trainable(from);
    let targets = device.upload(&[0.0f32, 1.0]).unwrap();
    let x = input(device, &batch, size, Preprocess::Caffe.rule()).unwrap();
    assert_eq!(x.dtype(), device.precision().activations());
    let scaling = scale.map(|scale| Rc::new(scale.upload(device).unwrap()));
    let inverse = scale.map_or(1.0, |scale| scale.inverse);
    let tape = Tape::new(device, Mode::Training).scaled(scaling);
    let features = network.forward(&tape, x, 0..base, Some(DropoutSeed { seed: 7, batch: 0 })).unwrap();
    assert_eq!(features.dtype(), device.precision().activations());
    let mut all = vec![("features".to_owned(), device.download_floats(features.buffer()).unwrap())];
    let logits =
        network.forward(&tape, features, base..end, Some(DropoutSeed { seed: 7, batch: 0 })).unwrap();
    assert_eq!(logits.dtype(), Dtype::F32, "the classifier is f32");
    let loss = op::sigmoid_cross_entropy(&tape, LossRule::mean(2), &logits, &targets, None).unwrap();
    drop(logits);
    tape.backward(&loss.outcome, |index, gradient| {
        let gradient = gradient.store(device)?;
        assert_eq!(gradient.dtype(), Dtype::F32, "gradients of parameters are f32");
        let gradient: Vec<f32> = device.download(&gradient)?;
        let gradient = gradient.into_iter().map(|g| g * inverse).collect();
        all.push((network.parameters()[index].name.clone(), gradient));
        Ok(())
    })
    .unwrap();
    all
}

/// Remembers the epochs.
#[derive(Default)]
struct Log(Vec<Epoch>);

impl Observer for Log {
    fn step(&mut self, _: usize, _: usize, _: usize, _: &Score) {}

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.0.push(epoch.clone());
        Ok(())
    }
}

/// Of the images as they are learned; they are drawn larger.
const SIZE: Size = Size { h: 24, w: 24 };

/// A split of the drawn images: bytes and labels.
fn split(folder: &Folder) -> Batch {
    let one = |sample: &Sample| load(&folder.root.join(&sample.path), SIZE, Resize::NEAREST).unwrap().pixels;
    let pixels = folder.files.iter().flat_map(one).collect();
    let labels: Vec<u32> = folder.files.iter().map(|sample| sample.label).collect();
    Batch { indices: (0..labels.len() as u32).collect(), pixels, labels }
}

/// VGG16's first two blocks and a classifier, fine-tuned from block2_conv1; the frozen layers run once.
fn learn(
    device: &dyn Device,
    weights: &Pretrained,
    pooling: Pooling,
    [train, validation]: [&Batch; 2],
) -> Vec<Epoch> {
    let conv = |name: &str, filters| (name.to_owned(), Layer::Conv2d { filters });
    let pool = |name: &str| (name.to_owned(), Layer::Maxpool2d);
    let layers = vec![
        conv("block1_conv1", 64),
        conv("block1_conv2", 64),
        pool("block1_pool"),
        conv("block2_conv1", 128),
        conv("block2_conv2", 128),
        pool("block2_pool"),
    ];
    let base = Architecture::base_of("two blocks", [SIZE.h, SIZE.w], layers).unwrap();
    let architecture = base.with_head(Head { pooling, units: 16, dropout: 0.0, classes: 2 }).unwrap();
    let boundary = Trainable::from(&architecture, "block2_conv1").unwrap();
    let (from, shape) = (boundary.from, architecture.shape_before(boundary.from));
    let mut network = Network::new(device, architecture, |layer| {
        if layer.starts_with("block") { Source::File(weights) } else { Source::Glorot { seed: 1 } }
    })
    .unwrap();
    network.set_trainable(boundary);
    let features = |batch: &Batch| -> Vec<f32> {
        let x = input(device, batch, SIZE, Preprocess::Notebook.rule()).unwrap();
        let tape = Tape::new(device, Mode::Inference);
        device.download_floats(network.forward(&tape, x, 0..from, None).unwrap().buffer()).unwrap()
    };
    let (learned, checked) = (features(train), features(validation));
    let train = FeatureSamples { shape, values: &learned, labels: &train.labels };
    let validation = FeatureSamples { shape, values: &checked, labels: &validation.labels };
    let rule = Rmsprop { rate: RATE, ..Rmsprop::default() };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());
    let course = Course::new(EPOCHS, 8, 1, rule.rate);
    let validation = Some((from, &validation as &dyn Samples));
    let mut log = Log::default();
    Fit { device, from, train: &train, validation, stage: "finetune", course: &course }
        .run(&mut network, &mut optimizer, &mut Position::default(), &mut log)
        .unwrap();
    // What the ops read follows what learns.
    for parameter in network.parameters() {
        let half = Half::of(device.precision());
        let convolves = parameter.shape().axes().len() == 4 && half.is_some();
        assert_eq!(parameter.shadow().is_some(), convolves, "{}", parameter.name);
        if let Some(shadow) = parameter.shadow() {
            let value: Vec<f32> = device.download(parameter.value()).unwrap();
            let want = half.unwrap().rounded(&value);
            assert_eq!(device.download_floats(shadow).unwrap(), want, "{}", parameter.name);
        }
    }
    log.0
}

const EPOCHS: usize = 3;
const RATE: f32 = 1e-4;

#[test]
fn fine_tuning_learns_in_bf16_what_it_learns_in_f32() {
    fine_tuning_learns_what_it_learns_in_f32(Pooling::Flatten, &BF16, &ALL[1..]);
}

#[test]
fn fine_tuning_learns_in_f16_what_it_learns_in_f32() {
    fine_tuning_learns_what_it_learns_in_f32(Pooling::Flatten, &F16, &F16);
}

/// Between a base of 16 bits and means of f32 stands a cast, on the way back too.
#[test]
fn fine_tuning_on_means_learns_in_16_bits_what_it_learns_in_f32() {
    fine_tuning_learns_what_it_learns_in_f32(Pooling::Average, &[F16[0], BF16[0]], &[F16[0], BF16[0]]);
}

fn fine_tuning_learns_what_it_learns_in_f32(pooling: Pooling, emulated: &[Numbers], there: &[Numbers]) {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    draw(&data, &Counts { train: 10, validation: 6, test: 1 }, [48, 48], 1).unwrap();
    let splits = Splits::open(&data, None, 0).unwrap();
    let (train, validation) = (split(&splits.train), split(splits.validation.as_ref().unwrap()));
    let want = learn(&*cpu(), &weights, pooling, [&train, &validation]);
    for (precision, device) in all(emulated, there) {
        let (began, who) = (Instant::now(), format!("{} {precision}", devices::name(&*device)));
        let got = learn(&*device, &weights, pooling, [&train, &validation]);
        println!("{who}: in {:.1} s", began.elapsed().as_secs_f64());
        assert_eq!(got.len(), want.len());
        let figures = |e: &Epoch| [e.loss, e.val_loss.unwrap(), e.accuracy, e.val_accuracy.unwrap()];
        for (got, want) in got.iter().zip(&want) {
            println!("  {:.4?}, in f32 {:.4?}", figures(got), figures(want));
        }
        for (got, want) in got.iter().zip(&want) {
            let [loss, val_loss, accuracy, val_accuracy] = figures(got);
            let [loss_32, val_loss_32, accuracy_32, val_accuracy_32] = figures(want);
            let close = |got: f64, want: f64, within: f64| {
                assert!((got - want).abs() <= within, "{who}: {got}, in f32 {want}");
            };
            // Rounding is noise: it neither drives the loss away nor stops it. Seen was a hundredth.
            close(loss, loss_32, 0.03 * loss_32 + 0.01);
            close(val_loss, val_loss_32, 0.03 * val_loss_32 + 0.01);
            // Of 20 and 12 images two and one may lie that near to the border.
            assert_eq!(got.skipped, 0, "{who}: f16 bears the scale that Keras begins with");
            close(accuracy, accuracy_32, 2.01 / 20.0);
            close(val_accuracy, val_accuracy_32, 1.01 / 12.0);
        }
    }
    let [first, last] = [0, EPOCHS - 1].map(|at| want[at].loss);
    assert!(last < 0.7 * first, "f32 itself does not learn: {first} to {last}");
}
