//! Networks in tf32, bf16 and f16 beside f32: all of VGG16 forward and back, and training on the demo's pictures.
//!
//! The kernels on the emulator (and a card, where one is), in each precision, against the cpu, which is f32.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

mod support;

use std::rc::Rc;
use std::time::Instant;
use support::half::Half;
use support::whole::{batch, drawings, photographs, relative_error};
use support::{devices, tensor_cores};
use vgg_ft::data::draw::{Counts, draw};
use vgg_ft::data::{Batch, Folder, Resize, Sample, Size, Splits, load};
use vgg_ft::device::call::{LossRule, Rmsprop};
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::emulator::Options;
use vgg_ft::device::{Device, Dtype, Kernels, LossScale, Precision};
use vgg_ft::error::Result;
use vgg_ft::graph::{Mode, Tape};
use vgg_ft::model::{Architecture, Head, Layer, Network, Preprocess, Pretrained, Source, Trainable, Variant};
use vgg_ft::op;
use vgg_ft::train::{
    Course, Epoch, FeatureSamples, Fit, Observer, Optimizer, Position, Samples, Score, forward, input,
};
use vgg_ft::weights::find_default;

fn cpu() -> Box<dyn Device> {
    Box::new(CpuDevice::new(None).unwrap())
}

/// bf16 by both kinds of kernels: what the emulator runs of whole networks, which take it seconds each.
const BF16: [(Precision, Kernels); 2] =
    [(Precision::Bf16, Kernels::Portable), (Precision::Bf16, Kernels::Sm90a)];
const F16: [(Precision, Kernels); 1] = [(Precision::F16, Kernels::Portable)];

/// Our kernels: on the emulator in these precisions, without its checks, which the tables of cases have on; and on a card
/// in all but f32.
fn all(emulated: &[(Precision, Kernels)]) -> Vec<(Precision, Box<dyn Device>)> {
    let emulator = |&(precision, kernels): &(Precision, Kernels)| {
        let device = tensor_cores::emulator(Options::fast(), precision, kernels);
        (precision, Box::new(device) as Box<dyn Device>)
    };
    let mut all: Vec<_> = emulated.iter().map(emulator).collect();
    let capability = cuda::find().ok().and_then(|found| Some(found.first().ok()?.limits.capability));
    // Once: of the tests that run in f16 and in bf16 by themselves it is the latter.
    if let Some(capability) = capability.filter(|_| emulated != F16) {
        let card = |precision, kernels| {
            let options = cuda::Options { guarded: true, ..cuda::Options::default() };
            let card = tensor_cores::working(Cuda::open(options).unwrap(), precision, kernels);
            (precision, Box::new(card) as Box<dyn Device>)
        };
        let runs = |precision: &Precision| !precision.is_f32() && precision.runs_on(capability);
        for precision in Precision::ALL.into_iter().filter(runs) {
            all.push(card(precision, Kernels::Portable));
        }
        if Precision::Bf16.runs_on(capability)
            && card(Precision::Bf16, Kernels::Auto).1.describe().hardware.contains("sm_90a")
        {
            all.push(card(Precision::Bf16, Kernels::Auto));
        }
    }
    all
}

/// How far features may be from those of f32, relative to their size; and gradients, against what they lose on the cpu
/// where nothing but the kernels of the convolutions is rounded to bf16.
///
/// A factor that is rounded to 11 bits (tf32, f16) errs by 2^-12 at most, by half of that on average; to 8 bits (bf16) by eight
/// times as much, and there activations and gradients are rounded once more on their way through memory. Such errors
/// average over the sums of a layer, and those of thirteen layers add up as a root: 4e-4 and 6e-3 were seen. A
/// gradient is less steady than that: each ReLU and each maximum that decides otherwise sends a part of it elsewhere, and
/// with the smallest maps there are few. So the measure is what such a change does to it in f32. A wrong tap or
/// mask is tens of percent of the features too.
fn limits(precision: Precision) -> (f64, f64) {
    match precision {
        Precision::F32 | Precision::Tf32x3 => (1e-5, 1e-3),
        Precision::Tf32 => (2e-3, 1.0),
        // The factors of tf32, and activations rounded once more.
        Precision::F16 => (4e-3, 1.0),
        Precision::Bf16 => (2e-2, 3.0),
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
        for (precision, device) in all(emulated) {
            let (began, who) = (Instant::now(), format!("{} {precision}", devices::name(&*device)));
            let error = relative_error(&features(&*device), &want);
            println!("{who}: {side}x{side}: {error:.1e} in {:.1} s", began.elapsed().as_secs_f64());
            assert!(error <= limits(precision).0, "{who}: {side}x{side}: {error:.1e}");
        }
    }
}

#[test]
fn a_step_of_vgg16_in_bf16_stays_near_f32() {
    a_step_of_vgg16_stays_near_f32(&BF16);
}

#[test]
fn a_step_of_vgg16_in_f16_stays_near_f32() {
    a_step_of_vgg16_stays_near_f32(&F16);
}

fn a_step_of_vgg16_stays_near_f32(emulated: &[(Precision, Kernels)]) {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    // Odd maps on the way: 44, 22, 11, 5, 2.
    let size = Size { h: 44, w: 44 };
    let batch = batch(&drawings(2), size);
    let head = Head { units: 32, dropout: 0.5, classes: 2 };
    let step = |device: &dyn Device, round_kernels: bool| -> Vec<(String, Vec<f32>)> {
        let architecture = Architecture::vgg(Variant::Vgg16, [44, 44]).unwrap().with_head(head).unwrap();
        let (base, end) = (architecture.base(), architecture.layers().len());
        let from = Trainable::from(&architecture, "block3_conv1").unwrap();
        let mut network = Network::new(device, architecture, |layer| {
            if layer.starts_with("block") { Source::File(&weights) } else { Source::Glorot { seed: 1 } }
        })
        .unwrap();
        network.set_trainable(from);
        for kernel in
            network.parameters_mut().iter_mut().filter(|p| round_kernels && p.shape().axes().len() == 4)
        {
            let value: Vec<f32> = device.download(kernel.value()).unwrap();
            let rounded: Vec<f32> = value.into_iter().map(|w| half::bf16::from_f32(w).to_f32()).collect();
            kernel.set(device, &rounded).unwrap();
        }
        let targets = device.upload(&[0.0f32, 1.0]).unwrap();
        let x = input(device, &batch, size, Preprocess::Caffe.rule()).unwrap();
        assert_eq!(x.dtype(), device.precision().activations());
        // As training scales it.
        let scale = (device.precision() == Precision::F16).then_some(LossScale::START);
        let scaling = scale.map(|scale| Rc::new(scale.upload(device).unwrap()));
        let inverse = scale.map_or(1.0, |scale| scale.inverse);
        let tape = Tape::new(device, Mode::Training).scaled(scaling);
        let features = network.forward(&tape, x, 0..base, 7, 0).unwrap();
        assert_eq!(features.dtype(), device.precision().activations());
        let mut all = vec![("features".to_owned(), device.download_floats(features.buffer()).unwrap())];
        let logits = network.forward(&tape, features, base..end, 7, 0).unwrap();
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
    };
    let want = step(&*cpu(), false);
    let shaken = step(&*cpu(), true);
    let shaken = shaken[1..].iter().zip(&want[1..]).map(|(got, want)| relative_error(&got.1, &want.1));
    let shaken = shaken.fold(0.0, f64::max);
    println!("gradients on the cpu, the kernels rounded to bf16: at most {shaken:.1e}");
    assert!(shaken < 0.2, "{shaken}");
    // 9 convolutions and 2 dense layers, kernel and bias, and the features.
    assert_eq!(want.len(), 23);
    for (precision, device) in all(emulated) {
        let (of_features, of_gradients) = limits(precision);
        let (began, who) = (Instant::now(), format!("{} {precision}", devices::name(&*device)));
        let got = step(&*device, false);
        let mut failures = Vec::new();
        for (at, ((name, got), (expected, want))) in got.iter().zip(&want).enumerate() {
            assert_eq!(name, expected);
            let error = relative_error(got, want);
            println!("{who}: {name}: {error:.1e}");
            if error > if at == 0 { of_features } else { of_gradients * shaken } {
                failures.push(format!("{who}: {name}: {error:.1e}"));
            }
        }
        println!("{who}: in {:.1} s", began.elapsed().as_secs_f64());
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
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

/// Of the pictures as they are learned; they are drawn larger.
const SIZE: Size = Size { h: 24, w: 24 };

/// A split of the drawn pictures: bytes and labels.
fn split(folder: &Folder) -> Batch {
    let one = |sample: &Sample| load(&folder.root.join(&sample.path), SIZE, Resize::Nearest).unwrap();
    let pixels = folder.files.iter().flat_map(one).collect();
    let labels: Vec<u32> = folder.files.iter().map(|sample| sample.label).collect();
    Batch { indices: (0..labels.len() as u32).collect(), pixels, labels }
}

/// VGG16's first two blocks and a classifier, fine-tuned from block2_conv1; the frozen layers run once.
fn learn(device: &dyn Device, weights: &Pretrained, [train, validation]: [&Batch; 2]) -> Vec<Epoch> {
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
    let architecture = base.with_head(Head { units: 16, dropout: 0.0, classes: 2 }).unwrap();
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
        device.download_floats(network.forward(&tape, x, 0..from, 0, 0).unwrap().buffer()).unwrap()
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
    fine_tuning_learns_what_it_learns_in_f32(&BF16);
}

#[test]
fn fine_tuning_learns_in_f16_what_it_learns_in_f32() {
    fine_tuning_learns_what_it_learns_in_f32(&F16);
}

fn fine_tuning_learns_what_it_learns_in_f32(emulated: &[(Precision, Kernels)]) {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    draw(&data, &Counts { train: 10, validation: 6, test: 1 }, [48, 48], 1).unwrap();
    let splits = Splits::open(&data, None, 0).unwrap();
    let (train, validation) = (split(&splits.train), split(splits.validation.as_ref().unwrap()));
    let want = learn(&*cpu(), &weights, [&train, &validation]);
    for (precision, device) in all(emulated) {
        let (began, who) = (Instant::now(), format!("{} {precision}", devices::name(&*device)));
        let got = learn(&*device, &weights, [&train, &validation]);
        println!("{who}: in {:.1} s", began.elapsed().as_secs_f64());
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
            // Of 20 and 12 pictures two and one may lie that near to the border.
            assert_eq!(got.skipped, 0, "{who}: f16 bears the scale that Keras begins with");
            close(accuracy, accuracy_32, 2.01 / 20.0);
            close(val_accuracy, val_accuracy_32, 1.01 / 12.0);
        }
    }
    let [first, last] = [0, EPOCHS - 1].map(|at| want[at].loss);
    assert!(last < 0.7 * first, "f32 itself does not learn: {first} to {last}");
}
