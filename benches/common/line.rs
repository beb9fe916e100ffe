//! A line of the report: a call, what it is given, and what it should make of it. Checked once, on a sample of its
//! outputs; then timed. What it is given is made for lines that pass the filter alone: of all it would be gigabytes.

use super::report::{Measured, Samples, card};
use super::support::close::Near;
use super::support::run::{Data, Make};
use criterion::{Criterion, SamplingMode, Throughput};
use std::thread;
use std::time::Instant;
use vgg_ft::device::{Buffer, Device};
use vgg_ft::random::{Draws, Stream};

/// The expected value of an output's element.
pub type Want = Box<dyn Fn(usize) -> Near>;

/// A call with its data.
pub struct Content {
    pub inputs: Vec<Data>,
    /// Content before the call, and what every element should be after it.
    pub outputs: Vec<(Data, Want)>,
    pub make: Make,
}

/// One line of the report.
pub struct Line {
    /// The call's.
    name: &'static str,
    /// Layer or size.
    shape: String,
    work: Throughput,
    content: Box<dyn Fn() -> Content>,
}

/// A call on a device, checked, with its data once or several times.
struct Ready {
    sets: Vec<[Vec<Buffer>; 2]>,
    make: Make,
}

/// Bytes that pass through a GPU before a call meets the same data again, where bytes are what is measured: twice the
/// largest second-level cache (126 MB of a B200).
const PASSING: u64 = 256 << 20;
/// Sets of data, at most: what is so small waits for its launch, and for no memory.
const SETS: u64 = 64;

impl Line {
    /// The call `name` at `shape`; `content` is asked for if the line passes the filter.
    pub fn new(
        name: &'static str,
        shape: String,
        work: Throughput,
        content: impl Fn() -> Content + 'static,
    ) -> Self {
        Self { name, shape, work, content: Box::new(content) }
    }

    pub fn measure(&self, criterion: &mut Criterion, device: &dyn Device, results: &mut Vec<Measured>) {
        let unit = if matches!(self.work, Throughput::Elements(_)) { " [flop]" } else { "" };
        let id = format!("{}{unit}/{}", self.shape, device.describe().name);
        let name = self.name;
        let mut ready = None;
        let mut samples = Samples::default();
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat).throughput(self.work.clone());
        // The closure runs for lines that pass the filter alone, and more than once.
        group.bench_function(&id, |bencher| {
            let Ready { sets, make } =
                ready.get_or_insert_with(|| self.checked(device, &format!("{name}/{id}")));
            // A GPU runs its calls later: the wait belongs to the time, once for all of a sample.
            bencher.iter_custom(|count| {
                let begin = Instant::now();
                for k in 0..count {
                    let at = k as usize % sets.len();
                    let [inputs, outputs] = &mut sets[at];
                    device.run(make(inputs, outputs)).unwrap();
                }
                device.synchronize().unwrap();
                let time = begin.elapsed();
                samples.push(count, time);
                time
            });
        });
        group.finish();
        samples.report(format!("{name}/{id}"), self.work.clone(), results);
    }

    /// Runs the call once and looks at what it made.
    fn checked(&self, device: &dyn Device, id: &str) -> Ready {
        let content = (self.content)();
        let upload = || -> [Vec<Buffer>; 2] {
            let inputs = content.inputs.iter().map(|data| data.upload(device));
            [inputs.collect(), content.outputs.iter().map(|(data, _)| data.upload(device)).collect()]
        };
        let [inputs, mut outputs] = upload();
        let call = (content.make)(&inputs, &mut outputs);
        assert_eq!(call.name(), self.name, "{id}");
        device.run(call).unwrap();
        for ((before, want), buffer) in content.outputs.iter().zip(&outputs) {
            check(id, &before.download_like(device, buffer).unwrap(), want);
        }
        let count = match self.work {
            Throughput::Bytes(bytes) if card().is_some() => PASSING.div_ceil(bytes.max(1)).min(SETS),
            _ => 1,
        };
        let others = (1..count).map(|_| upload());
        Ready { sets: std::iter::once([inputs, outputs]).chain(others).collect(), make: content.make }
    }
}

/// Both ends and some places between.
fn check(id: &str, got: &Data, want: &Want) {
    let len = got.bits().len();
    let mut draws = Draws::new(1, Stream::Demo, 0);
    let places = [0, len - 1].into_iter().chain((0..22).map(|_| draws.below(len as u32) as usize));
    for at in places {
        let near = want(at);
        let got = match got {
            Data::F32(got) => got[at],
            Data::U8(got) => f32::from(got[at]),
            Data::U32(got) => got[at] as f32,
            Data::F16(got) => got[at].to_f32(),
            Data::Bf16(got) => got[at].to_f32(),
        };
        assert!(near.meets(got), "{id}: element {at}: expected {near:?}, got {got}");
    }
}

/// Uniform in [-1, 1).
pub fn reals(seed: u64, len: usize) -> Vec<f32> {
    /// Numbers that one thread draws; a counter is four.
    const RUN: usize = 1 << 20;
    let mut values = vec![0.0; len];
    let runs: Vec<_> = values.chunks_mut(RUN).enumerate().collect();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = runs.len().div_ceil(threads).max(1);
    let mut runs = runs.into_iter();
    thread::scope(|scope| {
        for _ in 0..threads {
            let mine: Vec<_> = runs.by_ref().take(share).collect();
            scope.spawn(move || {
                for (run, values) in mine {
                    let mut draws = Draws::new(seed, Stream::Demo, (run * RUN / 4) as u64);
                    values.fill_with(|| draws.range(-1.0, 1.0));
                }
            });
        }
    });
    values
}

pub fn zeros(len: usize) -> Data {
    vec![0.0; len].into()
}

/// Bytes of so many f32.
pub fn words(count: usize) -> Throughput {
    Throughput::Bytes(4 * count as u64)
}
