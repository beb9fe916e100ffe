//! The whole of VGG16 on our kernels in f32, and on a GPU in what should be as exact: the emulator (and a GPU, where
//! one is) against the cpu device.
//!
//! One photograph through the base at 150x150, and one fine-tuning step from block3_conv1 on smaller images,
//! every gradient compared. The weights are those of the repository.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use std::time::Instant;
use support::whole::{batch, drawings, photographs, relative_error};
use support::{devices, tensor_cores};
use vgg_ft::data::Size;
use vgg_ft::device::call::LossRule;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::emulator::Options;
use vgg_ft::device::{Device, Kernels, Precision};
use vgg_ft::graph::{Mode, Tape};
use vgg_ft::model::{
    Architecture, DropoutSeed, Head, Network, Pooling, Preprocess, Pretrained, Source, Trainable, Variant,
};
use vgg_ft::op;
use vgg_ft::train::input;
use vgg_ft::weights::find_default;

/// Both sides sum up to 4608 products in f32, in other orders, through thirteen layers and back: errors of
/// 1e-7 each that average. A wrong tap, border or mask is 1e-3 or more; so is a single activation that one
/// side rounds to above zero and the other does not, which is why the step's maps are small: of 2 million
/// activations about one is that near to zero.
const LIMIT: f64 = 1e-5;

fn cpu() -> Box<dyn Device> {
    Box::new(CpuDevice::new(None).unwrap())
}

/// Our kernels: on the emulator without its checks, which the tables of cases have on, and on a GPU; in f32 those that
/// `auto` takes, and on a GPU those of direct sums and of tf32x3 too, whose factors err by 1e-7 each as sums do (the
/// emulator takes minutes for it: 2.8e-6 and 3.1e-6 were seen).
fn kernels() -> Vec<Box<dyn Device>> {
    let emulator = || -> Option<Box<dyn Device>> {
        Some(Box::new(tensor_cores::emulator(Options::fast(), Precision::F32, Kernels::Winograd)))
    };
    let cards = || {
        let (f32, tf32x3) = (Precision::F32, Precision::Tf32x3);
        let all = [(f32, Kernels::Winograd), (f32, Kernels::Portable), (tf32x3, Kernels::Portable)];
        all.map(|(precision, kernels)| tensor_cores::card(precision, kernels)).into_iter().flatten()
    };
    devices::gather(Vec::new, emulator, cards)
}

fn who(device: &dyn Device) -> String {
    format!("{} {}", devices::name(device), device.precision())
}

#[test]
fn a_photograph_through_vgg16_is_the_same_on_our_kernels() {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    let size = Size { h: 150, w: 150 };
    let batch = batch(&photographs(1), size);
    let features = |device: &dyn Device| -> Vec<f32> {
        let architecture = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap();
        let end = architecture.base();
        let network = Network::new(device, architecture, |_| Source::File(&weights)).unwrap();
        let x = input(device, &batch, size, Preprocess::Caffe.rule()).unwrap();
        let y = network.forward(&Tape::new(device, Mode::Inference), x, 0..end, None).unwrap();
        device.download(y.buffer()).unwrap()
    };
    let want = features(&*cpu());
    for device in kernels() {
        let began = Instant::now();
        let got = features(&*device);
        let error = relative_error(&got, &want);
        println!("{}: {error:.1e} in {:.1} s", who(&*device), began.elapsed().as_secs_f64());
        assert!(error <= LIMIT, "{}: {error:.1e}", who(&*device));
    }
}

#[test]
fn a_step_from_block3_has_the_same_gradients_on_our_kernels() {
    let weights = Pretrained::open(&find_default().unwrap()).unwrap();
    // Odd maps on the way: 44, 22, 11, 5, 2.
    let size = Size { h: 44, w: 44 };
    let batch = batch(&drawings(2), size);
    let head = Head { pooling: Pooling::Flatten, units: 32, dropout: 0.5, classes: 2 };
    let gradients = |device: &dyn Device| -> Vec<(String, Vec<f32>)> {
        let architecture = Architecture::vgg(Variant::Vgg16, [44, 44]).unwrap().with_head(head).unwrap();
        let end = architecture.layers().len();
        let from = Trainable::from(&architecture, "block3_conv1").unwrap();
        let mut network = Network::new(device, architecture, |layer| {
            if layer.starts_with("block") { Source::File(&weights) } else { Source::Glorot { seed: 1 } }
        })
        .unwrap();
        network.set_trainable(from);
        let targets = device.upload(&[0.0f32, 1.0]).unwrap();
        let x = input(device, &batch, size, Preprocess::Caffe.rule()).unwrap();
        let tape = Tape::new(device, Mode::Training);
        let logits = network.forward(&tape, x, 0..end, Some(DropoutSeed { seed: 7, batch: 0 })).unwrap();
        let loss = op::sigmoid_cross_entropy(&tape, LossRule::mean(2), &logits, &targets, None).unwrap();
        let outcome: Vec<f32> = device.download(loss.outcome.buffer()).unwrap();
        let mut all = vec![("loss".to_owned(), outcome)];
        tape.backward(&loss.outcome, |index, gradient| {
            let values = device.download(&gradient.store(device)?)?;
            all.push((network.parameters()[index].name.clone(), values));
            Ok(())
        })
        .unwrap();
        all
    };
    let want = gradients(&*cpu());
    // 9 convolutions and 2 dense layers, kernel and bias, and the loss.
    assert_eq!(want.len(), 23);
    for device in kernels() {
        let began = Instant::now();
        let got = gradients(&*device);
        assert_eq!(got.len(), want.len());
        let mut most = 0.0f64;
        for ((name, got), (expected, want)) in got.iter().zip(&want) {
            assert_eq!(name, expected);
            let error = relative_error(got, want);
            assert!(error <= LIMIT, "{}: {name}: {error:.1e}", who(&*device));
            most = most.max(error);
        }
        println!(
            "{}: {} tensors, at most {most:.1e}, in {:.1} s",
            who(&*device),
            got.len(),
            began.elapsed().as_secs_f64()
        );
    }
}
