//! Ten training steps of a narrow VGG against Keras: losses and final weights, with four choices of
//! what learns. `tests/golden/make_training.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;
use support::devices;
use vgg_ft::device::Device;
use vgg_ft::device::call::{LossRule, Rmsprop};
use vgg_ft::error::Result;
use vgg_ft::graph::{Mode, Tape, Tensor};
use vgg_ft::model::{
    Architecture, DropoutSeed, Head, Layer, Network, Pooling, Pretrained, Source, Trainable,
};
use vgg_ft::op;
use vgg_ft::shape::Shape;
use vgg_ft::train::Optimizer;
use vgg_ft::weights::{FloatType, NamedTensor, Weights, save};

const STEPS: usize = 10;
const BATCH: usize = 6;

fn floats(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    (view.shape().to_vec(), values.collect())
}

fn architecture(classes: usize) -> Architecture {
    let conv = |name: &str, filters| (name.to_owned(), Layer::Conv2d { filters });
    let pool = |name: &str| (name.to_owned(), Layer::Maxpool2d);
    let layers = vec![
        conv("block1_conv1", 8),
        conv("block1_conv2", 8),
        pool("block1_pool"),
        conv("block2_conv1", 16),
        conv("block2_conv2", 16),
        pool("block2_pool"),
    ];
    let base = Architecture::base_of("tiny", [16, 16], layers).unwrap();
    base.with_head(Head { pooling: Pooling::Flatten, units: 12, dropout: 0.0, classes }).unwrap()
}

/// Keras' first weights as a file of ours: the golden names have a slash, ours a dot.
fn first_weights(file: &SafeTensors<'_>, dir: &Path, softmax: bool) -> Pretrained {
    let mut all = BTreeMap::new();
    for prefix in ["init/", "softmax/init/"].into_iter().take(if softmax { 2 } else { 1 }) {
        for name in file.names() {
            if let Some(rest) = name.strip_prefix(prefix) {
                all.insert(rest.replace('/', "."), floats(file, name));
            }
        }
    }
    let tensors: Vec<_> = all
        .iter()
        .map(|(name, (shape, data))| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    let path = dir.join("first.safetensors");
    save(&path, &tensors, FloatType::F32, &BTreeMap::new()).unwrap();
    Pretrained::open(&path).unwrap()
}

/// Each device learns twice: as Keras did, and the second time bit for bit as the first time.
fn run(scenario: &str, unfreeze_from: Option<&str>, classes: usize) {
    for device in devices::all() {
        let [first, second] = [0, 1].map(|_| learn(&*device, scenario, unfreeze_from, classes));
        assert!(first == second, "{scenario} on {}: two runs differ", devices::name(&*device));
    }
}

/// The losses' bits and the file of the final weights.
fn learn(
    device: &dyn Device,
    scenario: &str,
    unfreeze_from: Option<&str>,
    classes: usize,
) -> (Vec<u32>, Vec<u8>) {
    let who = device.describe().name;
    let bytes = std::fs::read(support::golden().join("training.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();

    let first = first_weights(&file, dir.path(), classes > 2);
    let architecture = architecture(classes);
    let trainable = match unfreeze_from {
        Some(layer) => Trainable::from(&architecture, layer).unwrap(),
        None => Trainable::head(&architecture),
    };
    let mut network = Network::new(device, architecture, |_| Source::File(&first)).unwrap();
    network.set_trainable(trainable);
    let rule = Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-7, ..Rmsprop::default() };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());

    let (_, x) = floats(&file, "x");
    let (_, targets) = floats(&file, "targets");
    let labels: Vec<u32> =
        file.tensor("labels").unwrap().data().chunks_exact(4).map(|b| u32::from(b[0])).collect();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let shape = Shape::new(&[BATCH, 16, 16, 3]);
        let batch = &x[step * shape.len()..][..shape.len()];
        let of = step * BATCH..(step + 1) * BATCH;
        let tape = Tape::new(device, Mode::Training);
        let input = Tensor::constant(shape, device.upload(batch).unwrap()).unwrap();
        let end = network.architecture().layers().len();
        let logits =
            network.forward(&tape, input, 0..end, Some(DropoutSeed { seed: 0, batch: step as u64 })).unwrap();
        let mean = LossRule::mean(BATCH);
        let loss = if classes > 2 {
            op::softmax_cross_entropy(&tape, mean, &logits, &device.upload(&labels[of]).unwrap(), None)
        } else {
            op::sigmoid_cross_entropy(&tape, mean, &logits, &device.upload(&targets[of]).unwrap(), None)
        }
        .unwrap();
        losses.push(loss.score(device).unwrap().loss() as f32);
        drop(logits);
        tape.backward(&loss.outcome, |index, gradient| -> Result<()> {
            optimizer.take(device, index, &mut network.parameters_mut()[index], gradient)
        })
        .unwrap();
        optimizer.step(device, network.parameters_mut()).unwrap();
    }

    let (_, expected) = floats(&file, &format!("{scenario}/losses"));
    for (step, (ours, theirs)) in losses.iter().zip(&expected).enumerate() {
        let error = (ours - theirs).abs() / theirs.abs();
        // TensorFlow in float32 is within 1.4e-7 of these float64 losses; RMSprop's first steps divide
        // tiny gradients by tiny roots, which lets a rounding grow with each step.
        assert!(error < 2e-5, "{who}, {scenario}, step {step}: loss {ours}, Keras {theirs}");
    }
    network.save(device, &dir.path().join("last.safetensors"), &BTreeMap::new()).unwrap();
    let last = Weights::open(&dir.path().join("last.safetensors")).unwrap();
    for spec in network.architecture().parameters() {
        let golden = format!("{scenario}/final/{}", spec.name.replace('.', "/"));
        let (shape, theirs) = floats(&file, &golden);
        let ours = last.tensor(&spec.name, &shape).unwrap();
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Ten steps of at most 1e-3 · 3.2 each: 2e-5 is under 0.1 % of the way.
        assert!(worst < 2e-5, "{who}, {scenario}: {} is off by {worst:.2e}", spec.name);
    }
    println!("{who}: {scenario}: losses {losses:?}");
    let saved = std::fs::read(dir.path().join("last.safetensors")).unwrap();
    (losses.iter().map(|loss| loss.to_bits()).collect(), saved)
}

#[test]
fn the_classifier_on_a_frozen_base_learns_as_in_keras() {
    run("frozen", None, 2);
}

#[test]
fn fine_tuning_the_last_block_learns_as_in_keras() {
    run("block2", Some("block2_conv1"), 2);
}

#[test]
fn the_whole_network_learns_as_in_keras() {
    run("all", Some("block1_conv1"), 2);
}

#[test]
fn three_classes_learn_as_in_keras() {
    run("softmax", None, 3);
}
