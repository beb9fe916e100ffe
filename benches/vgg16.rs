//! VGG16 as a whole, on the device that `VGG_FT_BENCH_DEVICE` names (cpu if it names none).
//!
//! Forward at batch 20 on 150x150 and at batch 1 on 224x224, extraction, and one training step each with a
//! frozen base, from block5_conv1 and from block3_conv1, images as bytes to the updated weights. On a GPU the
//! images are resident, and a pass or a step is one of many: what it answers is read while the next one runs.
//! Each is checked once before it is timed. Operations are those of the plan (`vgg-ft bench --plan`), so
//! criterion's Gelem/s are GFLOP/s. `VGG_FT_BENCH_JSON` names a file for the results.

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

// A folder without main.rs is no bench to Cargo.
#[path = "common/report.rs"]
mod report;
#[path = "common/roof.rs"]
mod roof;
#[path = "common/vgg16.rs"]
mod vgg16;

use criterion::{Criterion, SamplingMode, Throughput};
use report::{Measured, SAMPLES, Samples, device, json, shares};
use roof::Roof;
use std::time::{Duration, Instant};
use vgg_ft::device::gpu::plan::{Card, Record, lines};
use vgg_ft::device::{Device, Kernels, Precision};
use vgg_ft::model::Trainable;
use vgg_ft::train::plan;
use vgg16::{BATCH, architecture};

/// Operations of the last step of a plan; the same on every GPU.
fn work(record: &Record) -> Throughput {
    let card = Card::named("h100").unwrap();
    Throughput::Elements(lines(record, card).iter().map(|line| line.cost.flops).sum())
}

/// Work is that of the sums as they are written, on every GPU and in every precision.
fn on() -> plan::On {
    (Card::named("h100").unwrap(), Precision::F32, Kernels::Portable)
}

struct Bench<'a> {
    criterion: &'a mut Criterion,
    device: &'a dyn Device,
    results: Vec<Measured>,
}

impl Bench<'_> {
    /// Times `run`, which was checked and does the work so many `times`; `prepare` makes it, once, if the filter
    /// asks for it.
    fn measure<R: FnMut()>(&mut self, id: &str, work: Throughput, times: usize, prepare: impl Fn() -> R) {
        let id = format!("{id} [flop]/{}", self.device.describe().name);
        let mut samples = Samples::default();
        let mut run = None;
        let mut group = self.criterion.benchmark_group("vgg16");
        // Criterion's seconds are those of all times.
        let Throughput::Elements(flops) = work else { panic!("{id}: {work:?} is no work of ours") };
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(flops * times as u64));
        group.bench_function(&id, |bencher| {
            let run = run.get_or_insert_with(&prepare);
            bencher.iter_custom(|count| {
                let begin = Instant::now();
                (0..count).for_each(|_| run());
                self.device.synchronize().unwrap();
                let time = begin.elapsed();
                samples.push(count, time / times as u32);
                time
            });
        });
        group.finish();
        samples.report(format!("vgg16/{id}"), work, &mut self.results);
    }

    /// Images through the base, or through the classifier too.
    fn forward(&mut self, id: &str, batch: usize, side: usize, base_alone: bool) {
        let device = self.device;
        let layers = 0..vgg16::end(side, base_alone);
        let record = plan::inference(on(), &architecture(side), layers, batch).unwrap();
        self.measure(id, work(&record), vgg16::steps(device), || {
            vgg16::forward(device, batch, side, base_alone)
        });
    }

    /// One step of training from the layer `from` on.
    fn step(&mut self, id: &str, from: &str) {
        let device = self.device;
        let all = architecture(150);
        let trainable = Trainable::from(&all, from).unwrap();
        let record = plan::training(on(), &all, 0, trainable, BATCH).unwrap();
        self.measure(id, work(&record), vgg16::steps(device), || vgg16::step(device, from));
    }
}

fn main() {
    // A step from block3_conv1 takes seconds on a cpu.
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
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
