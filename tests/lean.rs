//! What VGG16 asks of a device: which calls, and how many bytes live at once.
//!
//! The device here computes nothing. It keeps the books: buffers as they come and go, calls by name.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use std::sync::{Arc, Mutex};
use vgg_ft::device::call::{LossRule, Rmsprop};
use vgg_ft::device::{Buffer, Call, Description, Device, Dtype};
use vgg_ft::error::Result;
use vgg_ft::graph::{Mode, Tape, Tensor};
use vgg_ft::model::{Architecture, DropoutSeed, Head, Network, Pooling, Source, Trainable, Variant};
use vgg_ft::op;
use vgg_ft::shape::Shape;
use vgg_ft::train::Optimizer;

#[derive(Default)]
struct Books {
    live: usize,
    buffers: usize,
    most: usize,
    most_buffers: usize,
    calls: Vec<&'static str>,
}

#[derive(Default)]
struct Ledger(Arc<Mutex<Books>>);

/// A buffer's storage: an entry in the books.
struct Entry(usize, Arc<Mutex<Books>>);

impl Drop for Entry {
    fn drop(&mut self) {
        let mut books = self.1.lock().unwrap();
        books.live -= self.0;
        books.buffers -= 1;
    }
}

impl Device for Ledger {
    fn describe(&self) -> Description {
        Description { name: "ledger".into(), hardware: "pen and paper".into() }
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Buffer> {
        let mut books = self.0.lock().unwrap();
        books.live += len * dtype.size();
        books.buffers += 1;
        books.most = books.most.max(books.live);
        books.most_buffers = books.most_buffers.max(books.buffers);
        Ok(Buffer::new(dtype, len, Entry(len * dtype.size(), Arc::clone(&self.0))))
    }

    fn upload_bytes(&self, _: &[u8], _: &mut Buffer) -> Result<()> {
        Ok(())
    }

    fn download_bytes(&self, _: &Buffer, to: &mut [u8]) -> Result<()> {
        to.fill(0);
        Ok(())
    }

    fn run(&self, call: Call<'_>) -> Result<()> {
        self.0.lock().unwrap().calls.push(call.name());
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}

impl Ledger {
    fn live(&self) -> usize {
        self.0.lock().unwrap().live
    }

    /// Forgets the calls and the highest level so far.
    fn turn_page(&self) -> Vec<&'static str> {
        let mut books = self.0.lock().unwrap();
        (books.most, books.most_buffers) = (books.live, books.buffers);
        std::mem::take(&mut books.calls)
    }
}

/// Images in the batch.
const N: usize = 2;

/// What VGG16's steps make of 32x32x3: side and channels. A convolution before a pool has no map of its own.
const STEPS: [(usize, usize); 14] = [
    (32, 3),
    (32, 64),
    (16, 64),
    (16, 128),
    (8, 128),
    (8, 256),
    (8, 256),
    (4, 256),
    (4, 512),
    (4, 512),
    (2, 512),
    (2, 512),
    (2, 512),
    (1, 512),
];

/// Where block3_conv1's input stands in it.
const BOUNDARY: usize = 4;

/// Bytes of the activations that a step begins or ends with.
fn bytes(step: usize) -> usize {
    let (side, channels) = STEPS[step];
    4 * N * side * side * channels
}

/// Whether a step ends with a pool.
fn pooled(step: usize) -> bool {
    step > 0 && STEPS[step].0 < STEPS[step - 1].0
}

fn images(device: &dyn Device) -> Tensor {
    let shape = Shape::new(&[N, 32, 32, 3]);
    Tensor::constant(shape, device.alloc(Dtype::F32, shape.len()).unwrap()).unwrap()
}

fn network(device: &dyn Device) -> Network {
    let base = Architecture::vgg(Variant::Vgg16, [32, 32]).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 16, dropout: 0.5, classes: 2 }).unwrap();
    Network::new(device, architecture, |_| Source::Glorot { seed: 1 }).unwrap()
}

#[test]
fn inference_holds_two_activations_at_most() {
    let ledger = Ledger::default();
    let network = network(&ledger);
    let (weights, buffers) = (ledger.live(), network.parameters().len());
    ledger.turn_page();
    let tape = Tape::new(&ledger, Mode::Inference);
    let base = network.architecture().base();
    let features = network.forward(&tape, images(&ledger), 0..base, None).unwrap();
    let largest = (1..STEPS.len()).map(|step| bytes(step - 1) + bytes(step)).max().unwrap();
    assert_eq!(largest, 4 * N * (32 * 32 * 64 + 16 * 16 * 64), "block1_conv2 and its pool");
    {
        let books = ledger.0.lock().unwrap();
        assert_eq!(books.most - weights, largest);
        assert_eq!(books.most_buffers - buffers, 2);
    }
    drop(features);
    assert_eq!(ledger.live(), weights, "nothing is kept");
    let steps: Vec<_> = (1..STEPS.len())
        .map(|step| if pooled(step) { "conv2d_maxpool2d_forward" } else { "conv2d_forward" })
        .collect();
    assert_eq!(ledger.turn_page(), steps);
}

#[test]
fn a_step_from_block3_keeps_nothing_of_the_prefix_and_runs_no_relu_backward_in_the_base() {
    let ledger = Ledger::default();
    let mut network = network(&ledger);
    let trainable = Trainable::from(network.architecture(), "block3_conv1").unwrap();
    network.set_trainable(trainable);
    let weights = ledger.live();
    ledger.turn_page();

    let tape = Tape::new(&ledger, Mode::Training);
    let x = network.forward(&tape, images(&ledger), 0..trainable.from, None).unwrap();
    assert_eq!(tape.recorded(), 0);
    assert_eq!(ledger.live() - weights, bytes(BOUNDARY), "of the prefix, what crosses the boundary lives");
    let largest = (1..=BOUNDARY).map(|step| bytes(step - 1) + bytes(step)).max().unwrap();
    assert_eq!(ledger.0.lock().unwrap().most - weights, largest, "two activations, as in inference");

    // Above it: every step's output, two bits for each window, and never the map before a pool.
    let (base, end) = (network.architecture().base(), network.architecture().layers().len());
    let x = network.forward(&tape, x, trainable.from..base, None).unwrap();
    let kept: usize = (BOUNDARY..STEPS.len()).map(bytes).sum();
    let winners: usize =
        (BOUNDARY + 1..STEPS.len()).filter(|&step| pooled(step)).map(|step| bytes(step) / 16).sum();
    assert_eq!(ledger.live() - weights, kept + winners);

    let dropout = Some(DropoutSeed { seed: 0, batch: 0 });
    let logits = network.forward(&tape, x, base..end, dropout).unwrap();
    let targets = ledger.alloc(Dtype::F32, N).unwrap();
    let loss = op::sigmoid_cross_entropy(&tape, LossRule::mean(N), &logits, &targets, None).unwrap();
    drop((logits, targets));
    let forward = ledger.turn_page();
    assert!(!forward.contains(&"maxpool2d_forward"), "{forward:?}");

    let rule = Rmsprop { rate: 1e-5, ..Rmsprop::default() };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());
    let mut learned = Vec::new();
    tape.backward(&loss.outcome, |index, gradient| {
        learned.push(index);
        optimizer.take(&ledger, index, &mut network.parameters_mut()[index], gradient)
    })
    .unwrap();
    optimizer.step(&ledger, network.parameters_mut()).unwrap();
    // Kernels and biases of four layers are below the boundary.
    learned.sort_unstable();
    assert_eq!(learned, (8..network.parameters().len()).collect::<Vec<_>>());

    let mut back = ledger.turn_page();
    // A convolution's weight's gradient is used where it arises, after the input's has read the weight; its bias' comes
    // with it.
    back.retain(|name| !matches!(*name, "rmsprop_step" | "dense_rmsprop_step"));
    let dense = ["bias_backward", "dense_backward_input"];
    let conv = ["conv2d_backward_input", "conv2d_rmsprop_step"];
    let last = ["conv2d_rmsprop_step"];
    // The one ReLU with dropout behind it goes back by itself; those of the base by way of others.
    let head = [&dense[..], &["dropout", "relu_backward"], &dense].concat();
    let block = [&["maxpool2d_backward"][..], &conv, &conv, &conv].concat();
    let block3 = [&["maxpool2d_backward"][..], &conv, &conv, &last].concat();
    assert_eq!(back, [head, block.clone(), block, block3].concat());
}
