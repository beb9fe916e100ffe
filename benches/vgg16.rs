//! VGG16 as a whole, on the device that `VGG_FT_BENCH_DEVICE` names (cpu if it names none).
//!
//! Forward at batch 20 on 150x150 and at batch 1 on 224x224, extraction, and one training step each with a
//! frozen base, from block5_conv1 and from block3_conv1, pictures as bytes on the host to the updated weights.
//! Each is checked once before it is timed. Operations are those of the plan (`vgg-ft bench --plan`), so
//! criterion's Gelem/s are GFLOP/s. `VGG_FT_BENCH_JSON` names a file for the results.

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

// A folder without main.rs is no bench to Cargo.
#[path = "common/report.rs"]
mod report;
#[path = "common/roof.rs"]
mod roof;

use criterion::{Criterion, SamplingMode, Throughput};
use report::{Measured, device, json, shares};
use roof::Roof;
use std::time::{Duration, Instant};
use vgg_ft::device::Device;
use vgg_ft::device::call::Rmsprop;
use vgg_ft::device::gpu::plan::{Card, Record, lines};
use vgg_ft::error::Result;
use vgg_ft::graph::{Mode, Tape, Tensor};
use vgg_ft::model::{Architecture, Head, Network, Preprocess, Source, Trainable, Variant};
use vgg_ft::op;
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::Shape;
use vgg_ft::train::{Course, Epoch, Fit, Observer, Optimizer, Position, Samples, Score, plan};

/// Samples of a step.
const BATCH: usize = 20;

/// Noise as pictures, of two classes.
struct Noise {
    side: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Noise {
    fn new(count: usize, side: usize) -> Self {
        let mut draws = Draws::new(1, Stream::Demo, 0);
        Self {
            side,
            pixels: (0..count * side * side * 3).map(|_| draws.below(256) as u8).collect(),
            labels: (0..count as u32).map(|at| at % 2).collect(),
        }
    }
}

impl Samples for Noise {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        let len = self.side * self.side * 3;
        let pixels: Vec<u8> =
            indices.iter().flat_map(|&at| &self.pixels[at as usize * len..][..len]).copied().collect();
        let shape = Shape::new(&[indices.len(), self.side, self.side, 3]);
        op::normalize(device, &device.upload(&pixels)?, shape, Preprocess::Caffe.rule())
    }
}

struct Silence;

impl Observer for Silence {
    fn step(&mut self, _: usize, _: usize, _: usize, _: &Score) {}

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        assert!(epoch.loss.is_finite());
        Ok(())
    }
}

fn architecture(side: usize) -> Architecture {
    let head = Head { units: 256, dropout: 0.5, classes: 2 };
    Architecture::vgg(Variant::Vgg16, [side, side]).unwrap().with_head(head).unwrap()
}

fn network(device: &dyn Device, side: usize) -> Network {
    Network::new(device, architecture(side), |_| Source::Glorot { seed: 1 }).unwrap()
}

/// Operations of the last step of a plan; the same on every card.
fn work(record: &Record) -> Throughput {
    let card = Card::named("h100").unwrap();
    Throughput::Elements(lines(record, card).iter().map(|line| line.cost.flops).sum())
}

struct Bench<'a> {
    criterion: &'a mut Criterion,
    device: &'a dyn Device,
    results: Vec<Measured>,
}

impl Bench<'_> {
    /// Times `run`, which was checked; `prepare` makes it, once, if the filter asks for it.
    fn measure<R: FnMut()>(&mut self, id: &str, work: Throughput, prepare: impl Fn() -> R) {
        let id = format!("{id} [flop]/{}", self.device.describe().name);
        let mut samples = Vec::new();
        let mut run = None;
        let mut group = self.criterion.benchmark_group("vgg16");
        group.sampling_mode(SamplingMode::Flat).throughput(work.clone());
        group.bench_function(&id, |bencher| {
            let run = run.get_or_insert_with(&prepare);
            bencher.iter_custom(|count| {
                let begin = Instant::now();
                (0..count).for_each(|_| run());
                self.device.synchronize().unwrap();
                let time = begin.elapsed();
                samples.push(time.as_secs_f64() / count as f64);
                time
            });
        });
        group.finish();
        if !samples.is_empty() {
            self.results.push((format!("vgg16/{id}"), work, samples));
        }
    }

    /// Pictures through the layers before `end` (all of them if it is none).
    fn forward(&mut self, id: &str, batch: usize, side: usize, base_alone: bool) {
        let device = self.device;
        let all = architecture(side);
        let end = if base_alone { all.base() } else { all.layers().len() };
        let record = plan::inference(Card::named("h100").unwrap(), &all, 0..end, batch).unwrap();
        self.measure(id, work(&record), || {
            let (network, noise) = (network(device, side), Noise::new(batch, side));
            let indices: Vec<u32> = (0..batch as u32).collect();
            let pass = move |indices: &[u32]| {
                let tape = Tape::new(device, Mode::Inference);
                let x = noise.batch(device, indices).unwrap();
                let y = network.forward(&tape, x, 0..end, 0, 0).unwrap();
                device.download::<f32>(y.buffer()).unwrap()
            };
            // A picture's numbers do not depend on its neighbours. They are sums of up to 8192 terms, taken
            // through 16 layers; devices order them by the sizes of the batch.
            let (together, alone) = (pass(&indices), pass(&indices[batch - 1..]));
            let last = &together[together.len() - alone.len()..];
            let largest = alone.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            assert!(largest > 0.0 && largest.is_finite(), "{id}: {largest}");
            for (a, b) in last.iter().zip(&alone) {
                assert!((a - b).abs() <= 1e-4 * largest, "{id}: {a} in a batch, {b} alone");
            }
            move || drop(pass(&indices))
        });
    }

    /// One step of training from the layer `from` on.
    fn step(&mut self, id: &str, from: &str) {
        let device = self.device;
        let all = architecture(150);
        let trainable = Trainable::from(&all, from).unwrap();
        let record = plan::training(Card::named("h100").unwrap(), &all, 0, trainable, BATCH).unwrap();
        self.measure(id, work(&record), || {
            let (mut network, noise) = (network(device, 150), Noise::new(BATCH, 150));
            network.set_trainable(trainable);
            let rule = Rmsprop { rate: 1e-5, ..Rmsprop::default() };
            let mut optimizer = Optimizer::new(rule, network.parameters().len());
            let course = Course::new(1, BATCH, 1, rule.rate);
            let mut position = Position::default();
            let mut step = move |network: &mut Network| {
                position = position.following();
                let train = &noise;
                Fit { device, from: 0, train, validation: None, stage: "bench", course: &course }
                    .run(network, &mut optimizer, &mut position, &mut Silence)
                    .unwrap();
            };
            let values = |network: &Network| -> Vec<Vec<f32>> {
                network.parameters().iter().map(|p| device.download(p.value()).unwrap()).collect()
            };
            // What learns has moved, by finite numbers; what is frozen has not.
            let before = values(&network);
            step(&mut network);
            for ((parameter, before), after) in network.parameters().iter().zip(before).zip(values(&network))
            {
                let moved = before != after && after.iter().all(|v| v.is_finite());
                assert_eq!(moved, parameter.learns, "{id}: {}", parameter.name);
            }
            move || step(&mut network)
        });
    }
}

fn main() {
    // A step from block3_conv1 takes seconds on a cpu.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let device = device();
    let (it, roof) = (device.describe(), Roof::of(&*device));
    println!("{}: {}", it.name, it.hardware);
    let mut bench = Bench { criterion: &mut criterion, device: &*device, results: Vec::new() };
    bench.forward("forward/150x150/b20", BATCH, 150, false);
    bench.forward("forward/224x224/b1", 1, 224, false);
    bench.forward("extraction/150x150/b20", BATCH, 150, true);
    bench.step("step/dense", "dense");
    bench.step("step/block5_conv1", "block5_conv1");
    bench.step("step/block3_conv1", "block3_conv1");
    let results = bench.results;
    criterion.final_summary();
    print!("{}", shares(&roof, &results));
    if let Some(path) = std::env::var_os("VGG_FT_BENCH_JSON") {
        std::fs::write(&path, json(&*device, BATCH, &roof, &results)).unwrap();
    }
}
