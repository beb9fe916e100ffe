//! A line of the report: a call, what it is given, and what it should make of it. Checked once, on a sample of its
//! outputs; then timed.

use super::report::{Measured, Samples};
use super::support::close::Near;
use super::support::run::{Data, Make};
use criterion::{Criterion, SamplingMode, Throughput};
use std::cell::RefCell;
use std::time::Instant;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::{Buffer, Device};
use vgg_ft::random::{Draws, Stream};

/// The expected value of an output's element.
pub type Want = Box<dyn Fn(usize) -> Near>;

/// One line of the report.
pub struct Line {
    /// Layer or size; the call's name stands before it.
    pub shape: String,
    pub work: Throughput,
    pub inputs: Vec<Data>,
    /// Content before the call, and what every element should be after it.
    pub outputs: Vec<(Data, Want)>,
    pub make: Make,
}

impl Line {
    pub fn measure(&self, criterion: &mut Criterion, device: &dyn Device, results: &mut Vec<Measured>) {
        let (inputs, mut outputs) = (RefCell::new(Vec::new()), Vec::new());
        let unit = if matches!(self.work, Throughput::Elements(_)) { " [flop]" } else { "" };
        let id = format!("{}{unit}/{}", self.shape, device.describe().name);
        let name = self.name();
        let mut samples = Samples::default();
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat).throughput(self.work.clone());
        // The closure runs for lines that pass the filter alone, and more than once.
        group.bench_function(&id, |bencher| {
            if outputs.is_empty() {
                *inputs.borrow_mut() = self.inputs.iter().map(|data| data.upload(device)).collect();
                outputs = self.outputs.iter().map(|(data, _)| data.upload(device)).collect();
                device.run((self.make)(&inputs.borrow(), &mut outputs)).unwrap();
                for ((before, want), buffer) in self.outputs.iter().zip(&outputs) {
                    check(&format!("{name}/{id}"), &before.download_like(device, buffer).unwrap(), want);
                }
            }
            let inputs = inputs.borrow();
            // A card runs its calls later: the wait belongs to the time, once for all of a sample.
            bencher.iter_custom(|count| {
                let begin = Instant::now();
                for _ in 0..count {
                    device.run((self.make)(&inputs, &mut outputs)).unwrap();
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

    /// The call's name, from buffers that hold nothing.
    fn name(&self) -> &'static str {
        let cpu = CpuDevice::new(Some(1)).unwrap();
        let device: &dyn Device = &cpu;
        let inputs: Vec<Buffer> = self.inputs.iter().map(|_| device.zeros(0).unwrap()).collect();
        let mut outputs: Vec<Buffer> = self.outputs.iter().map(|_| device.zeros(0).unwrap()).collect();
        (self.make)(&inputs, &mut outputs).name()
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
    let mut draws = Draws::new(seed, Stream::Demo, 0);
    (0..len).map(|_| draws.range(-1.0, 1.0)).collect()
}

pub fn zeros(len: usize) -> Data {
    vec![0.0; len].into()
}

/// Bytes of so many f32.
pub fn words(count: usize) -> Throughput {
    Throughput::Bytes(4 * count as u64)
}
