//! Dynamic loss scaling: a step of scaled gradients is the step, to the bit; one whose gradients are not finite is none,
//! halves the scale, and is all that is lost.
//!
//! In f32 on every device, where a power of two changes no bit; in f16 on the emulator (and a GPU, where one is).
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Reals, Source as Numbers};
use support::{devices, optimizer};
use vgg_ft::device::call::{Adjust, LossRule, Rmsprop, Rule};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::{Buffer, Device, Dtype, LossScale, Precision};
use vgg_ft::error::{Kind, Result};
use vgg_ft::graph::{Gradient, Mode, Tape, Tensor};
use vgg_ft::model::{Architecture, DropoutSeed, Head, Layer, Network, Pooling, Source, Trainable};
use vgg_ft::op;
use vgg_ft::shape::Shape;
use vgg_ft::train::{
    Checkpoint, Course, Epoch, FeatureSamples, Fit, Observer, Optimizer, Position, Scaler, Score,
};

fn bits(device: &dyn Device, buffers: &[Buffer]) -> Vec<Vec<u32>> {
    let one = |buffer| device.download::<f32>(buffer).unwrap().into_iter().map(f32::to_bits).collect();
    buffers.iter().map(one).collect()
}

/// Of each rule: states and weights after a step of gradients that are `factor` times too large.
fn stepped(device: &dyn Device, rule: Rule, factor: f32, scaling: Option<LossScale>) -> [Vec<Vec<u32>>; 2] {
    let (keeps, lens) = (rule.keeps(), [1003, 5, 1]);
    let mut source = Numbers::new(5);
    let gradients = lens.map(|len| {
        let gradient: Vec<f32> = source.f32(Reals, len).into_iter().map(|g| g * factor).collect();
        device.upload(&gradient).unwrap()
    });
    let states = 1 + [keeps.velocity, keeps.momentum, keeps.mean].into_iter().filter(|&kept| kept).count();
    let squares = |len| source.f32(Reals, len).into_iter().map(|v| v * v).collect::<Vec<_>>();
    let all = lens.into_iter().flat_map(|len| [len].repeat(states)).map(squares);
    let mut outputs: Vec<Buffer> = all.map(|values| device.upload(&values).unwrap()).collect();
    let before = bits(device, &outputs);
    let scaling = scaling.map(|state| state.upload(device).unwrap());
    let adjust = Adjust { scale: 0.5, l2: 0.01, decay: 0.1 };
    let tensors = optimizer::slots(keeps, &gradients, &mut outputs);
    device.run(optimizer::scaled_call(rule, 3, adjust, scaling.as_ref(), tensors)).unwrap();
    [before, bits(device, &outputs)]
}

#[test]
fn a_scaled_step_is_the_step_and_one_that_found_something_is_none() {
    for device in devices::all() {
        let device = &*device;
        for rule in optimizer::rules() {
            let who = format!("{} {rule:?}", devices::name(device));
            let [before, want] = stepped(device, rule, 1.0, None);
            assert_ne!(before, want, "{who}");
            let state = LossScale::at(1024.0, 3, 1);
            assert_eq!(stepped(device, rule, 1024.0, Some(state)), [before.clone(), want], "{who}");
            let found = LossScale { found: 0, ..state };
            assert_eq!(stepped(device, rule, 1024.0, Some(found)), [before.clone(), before], "{who}");
        }
    }
}

fn network(device: &dyn Device) -> Network {
    let layer = |name: &str, layer| (name.to_owned(), layer);
    let layers = vec![
        layer("conv1", Layer::Conv2d { filters: 8 }),
        layer("conv2", Layer::Conv2d { filters: 16 }),
        layer("pool", Layer::Maxpool2d),
    ];
    let base = Architecture::base_of("tiny", [6, 6], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 4, dropout: 0.0, classes: 2 }).unwrap();
    let from = Trainable::from(&architecture, "conv1").unwrap();
    let mut network = Network::new(device, architecture, |_| Source::Glorot { seed: 1 }).unwrap();
    network.set_trainable(from);
    network
}

const RULE: Rmsprop =
    Rmsprop { rate: 1e-2, rho: 0.9, epsilon: 1e-7, momentum: 0.9, centered: false, outside: false };

/// A network, its optimizer, and what they were at the last look.
struct Run<'d> {
    device: &'d dyn Device,
    network: Network,
    optimizer: Optimizer,
}

impl<'d> Run<'d> {
    /// One whose loss is scaled by `scale`, if it is.
    fn new(device: &'d dyn Device, scale: Option<LossScale>) -> Self {
        let network = network(device);
        let mut optimizer = Optimizer::new(RULE, network.parameters().len());
        optimizer.prepare(device, network.parameters()).unwrap();
        assert_eq!(optimizer.scaler.is_some(), device.precision() == Precision::F16, "by itself");
        optimizer.scaler = scale.map(|scale| Scaler::new(device, scale).unwrap());
        Self { device, network, optimizer }
    }

    fn scale(&self) -> LossScale {
        self.optimizer.scaler.as_ref().unwrap().read(self.device).unwrap()
    }

    /// Weights, and what the ops read of them; states.
    fn bits(&mut self) -> Vec<Vec<u32>> {
        let device = self.device;
        let bits = |buffer: &Buffer| -> Vec<u32> {
            device.download_floats(buffer).unwrap().into_iter().map(f32::to_bits).collect()
        };
        let mut all = Vec::new();
        for parameter in self.network.parameters() {
            all.push(bits(parameter.value()));
            all.extend(parameter.shadow().map(bits));
        }
        for state in self.optimizer.states_mut().iter_mut().flatten() {
            all.extend(state.buffers_mut().map(|(_, buffer)| bits(buffer)));
        }
        all
    }

    /// A step on the batch of that number; `spoil` puts a number into the gradient of a parameter. The loss.
    fn step(&mut self, number: u64, spoil: Option<(usize, f32)>) -> f64 {
        let Self { device, network, optimizer } = self;
        let device = *device;
        let dtype = device.precision().activations();
        let shape = Shape::new(&[3, 6, 6, 3]);
        let pixels = device.upload(&Numbers::new(number).f32(Reals, shape.len())).unwrap();
        let pixels = Tensor::constant(shape, pixels).unwrap();
        let tape = Tape::new(device, Mode::Training).scaled(optimizer.scaler.as_ref().map(Scaler::shared));
        let x = op::cast(&tape, &pixels, dtype).unwrap();
        let end = network.architecture().layers().len();
        let logits = network.forward(&tape, x, 0..end, Some(DropoutSeed { seed: 1, batch: number })).unwrap();
        let targets = device.upload(&[0.0f32, 1.0, 1.0]).unwrap();
        let loss = op::sigmoid_cross_entropy(&tape, LossRule::mean(3), &logits, &targets, None).unwrap();
        drop(logits);
        tape.backward(&loss.outcome, |index, gradient| {
            let mut gradient = gradient.store(device)?;
            if let Some((_, value)) = spoil.filter(|(at, _)| *at == index) {
                let mut values: Vec<f32> = device.download(&gradient)?;
                let middle = values.len() / 2;
                values[middle] = value;
                gradient = device.upload(&values)?;
            }
            let parameter = &mut network.parameters_mut()[index];
            optimizer.take(device, index, parameter, Gradient::Stored(gradient))
        })
        .unwrap();
        optimizer.step(device, network.parameters_mut()).unwrap();
        loss.score(device).unwrap().loss_sum
    }
}

/// One bad number in the gradient of any parameter: that step changes nothing, its loss is as ever, the next one is
/// as if it had not been. And nothing but f32's own bits comes of the scale.
#[test]
fn an_overflow_costs_exactly_its_step() {
    let kernels = devices::emulator();
    let cpu = devices::cpus(&[2]).remove(0);
    for device in [&*cpu, &*kernels] {
        let mut plain = Run::new(device, None);
        let losses: Vec<f64> = [1, 2, 4].map(|number| plain.step(number, None)).into();
        let want = plain.bits();
        for (index, value) in [(0, f32::INFINITY), (3, f32::NAN), (7, f32::NEG_INFINITY)] {
            let mut run = Run::new(device, Some(LossScale::START));
            let first = [1, 2].map(|number| run.step(number, None));
            assert_eq!(first[..], losses[..2], "the loss is not scaled");
            assert_eq!(run.scale(), LossScale::at(32768.0, 2, 0));
            let before = run.bits();
            assert!(run.step(3, Some((index, value))).is_finite());
            assert_eq!(run.bits(), before, "weights and states stay, to the bit");
            assert_eq!(run.scale(), LossScale::at(16384.0, 0, 1));
            assert_eq!(run.step(4, None), losses[2]);
            assert_eq!(run.scale(), LossScale::at(16384.0, 1, 1));
            assert_eq!(run.bits(), want, "as if there had been no third step");
        }
        // After as many good steps as its interval it is doubled.
        let mut run = Run::new(device, Some(LossScale::at(4.0, 0, 0)));
        run.optimizer.scaler.as_mut().unwrap().interval = 2;
        let scales: Vec<f32> = (1..6)
            .map(|number| {
                run.step(number, None);
                run.scale().scale
            })
            .collect();
        assert_eq!(scales, [4.0, 8.0, 8.0, 16.0, 16.0]);
    }
}

fn in_f16() -> Box<dyn Device> {
    Box::new(Gpu::new(Emulator::new(Options::default()).unwrap()).unwrap().with_precision(Precision::F16))
}

/// A scale so large that f16 overflows on the way back: found without anybody's help.
#[test]
fn f16_finds_its_own_overflows() {
    let device = &*in_f16();
    let mut run = Run::new(device, Some(LossScale::START));
    let first = run.step(1, None);
    assert!(first.is_finite());
    assert_eq!(run.scale(), LossScale::at(32768.0, 1, 0), "f16 bears how it begins");
    let before = run.bits();
    run.optimizer.scaler.as_mut().unwrap().set(device, LossScale::at(2f32.powi(40), 9, 0)).unwrap();
    assert!(run.step(2, None).is_finite());
    assert_eq!(run.bits(), before);
    assert_eq!(run.scale(), LossScale::at(2f32.powi(39), 0, 1));
    run.optimizer.scaler.as_mut().unwrap().set(device, LossScale::at(32768.0, 0, 1)).unwrap();
    run.step(2, None);
    assert_ne!(run.bits(), before);
    // What the ops read follows what learns.
    for parameter in run.network.parameters() {
        let Some(shadow) = parameter.shadow() else { continue };
        assert_eq!(shadow.dtype(), Dtype::F16);
        let value: Vec<f32> = device.download(parameter.value()).unwrap();
        let want = value.into_iter().map(|w| half::f16::from_f32(w).to_f32());
        assert!(device.download_floats(shadow).unwrap().into_iter().eq(want), "{}", parameter.name);
    }
}

/// Small gradients are zero in f16 without a scale, and near f32's with one.
#[test]
fn a_scale_keeps_what_f16_would_lose() {
    let device = &*in_f16();
    let gradient = |scale: f32| -> Vec<f32> {
        let x = 2f32.powi(-26) * scale;
        let shape = Shape::new(&[8]);
        let x = Tensor::constant(shape, device.upload(&[x; 8]).unwrap()).unwrap();
        let tape = Tape::new(device, Mode::Inference);
        device.download_floats(op::cast(&tape, &x, Dtype::F16).unwrap().buffer()).unwrap()
    };
    assert_eq!(gradient(1.0), [0.0; 8]);
    assert_eq!(gradient(LossScale::START.scale), [2f32.powi(-11); 8]);
}

/// Epochs, and moments that were kept.
#[derive(Default)]
struct Log {
    epochs: Vec<Epoch>,
    keep: Option<std::path::PathBuf>,
}

struct Kept<'a>(&'a dyn Device, &'a mut Log);

impl Observer for Kept<'_> {
    fn step(&mut self, _: usize, _: usize, _: usize, _: &Score) {}

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.1.epochs.push(epoch.clone());
        Ok(())
    }

    fn keep(&mut self, network: &Network, optimizer: &mut Optimizer, _: &Position) -> Result<()> {
        match &self.1.keep {
            Some(path) => Checkpoint::save(path, self.0, (network, 0), optimizer, "here"),
            None => Ok(()),
        }
    }
}

/// Four steps an epoch from images of noise, these labels by turns.
fn fit(run: &mut Run<'_>, labels: [u32; 2], epochs: usize, log: &mut Log) -> Result<()> {
    let shape = Shape::new(&[1, 6, 6, 3]);
    let (values, labels) = (Numbers::new(1).f32(Reals, 12 * 108), labels.repeat(6));
    let train = FeatureSamples { shape, values: &values, labels: &labels };
    let course = Course::new(epochs, 3, 1, RULE.rate);
    let Run { device, network, optimizer } = run;
    let (device, mut position) = (*device, Position::default());
    Fit { device, from: 0, train: &train, validation: None, stage: "finetune", course: &course }.run(
        network,
        optimizer,
        &mut position,
        &mut Kept(device, log),
    )
}

#[test]
fn an_epoch_says_how_many_steps_it_skipped_and_a_checkpoint_keeps_the_scale() {
    let device = &*devices::cpus(&[1]).remove(0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    // What conv1 gives is so large that gradients of conv2 are above 2: beyond f32 as often as they can be halved.
    const LARGE: f32 = 2.0;
    let mut run = Run::new(device, Some(LossScale::at(2f32.powi(127), 0, 40)));
    let bias = run.network.parameters_mut().iter_mut().find(|parameter| parameter.name == "conv1.bias");
    bias.unwrap().set(device, &[LARGE; 8]).unwrap();
    let mut log = Log { keep: Some(path.clone()), ..Log::default() };
    fit(&mut run, [0, 1], 3, &mut log).unwrap();
    let skipped: Vec<usize> = log.epochs.iter().map(|epoch| epoch.skipped).collect();
    let state = run.scale();
    assert!(skipped.iter().any(|&skipped| skipped > 0) && skipped.contains(&0), "{skipped:?}");
    assert_eq!(state.skipped as usize, 40 + skipped.iter().sum::<usize>());
    assert_eq!(state.scale, 2f32.powi(127 - (state.skipped as i32 - 40)));
    for epoch in &log.epochs {
        let text = serde_json::to_string(epoch).unwrap();
        assert!(text.contains(&format!("\"skipped_steps\":{}", epoch.skipped)), "{text}");
    }

    let mut other = Run::new(device, Some(LossScale::START));
    let checkpoint = Checkpoint::open(&path).unwrap().unwrap();
    checkpoint.restore(device, &mut other.network, &mut other.optimizer).unwrap();
    assert_eq!(other.scale(), state);
    assert_eq!(other.bits(), run.bits());
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_so_does_an_epoch_of_skipped_steps() {
    let device = &*devices::cpus(&[1]).remove(0);
    let mut run = Run::new(device, Some(LossScale::START));
    let bias = run.network.parameters_mut().last_mut().unwrap();
    bias.set(device, &[f32::NAN]).unwrap();
    let error = fit(&mut run, [0, 1], 1, &mut Log::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Numeric);
    assert!(error.to_string().contains("the loss is no longer a finite number"), "{error}");

    // A finite loss whose gradient is beyond f32 at any scale: conv2 sees 3e38 and makes nothing of it, but what comes
    // back to it is no less than 1.
    let mut run = Run::new(device, Some(LossScale::at(4.0, 0, 0)));
    for parameter in run.network.parameters_mut() {
        let value = match parameter.name.as_str() {
            "conv1.kernel" | "conv2.kernel" => 0.0,
            "conv1.bias" => 3e38,
            "conv2.bias" => 1.0,
            _ => 3.0,
        };
        let values = vec![value; parameter.shape().len()];
        parameter.set(device, &values).unwrap();
    }
    let before = run.bits();
    let error = fit(&mut run, [0, 0], 1, &mut Log::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Device);
    assert!(error.to_string().contains("no step of the epoch had finite gradients"), "{error}");
    assert_eq!(run.scale(), LossScale::at(1.0, 0, 4));
    assert_eq!(run.bits(), before);
}
