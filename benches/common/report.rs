//! The device that a bench runs on, and its results as JSON.

use crate::roof::Roof;
use criterion::Throughput;
use std::str::FromStr;
use std::time::Duration;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::{Device, Kernels, Launches, Precision};

/// A line that was measured: its id, what it does, and the seconds of one call in each sample.
pub type Measured = (String, Throughput, Vec<f64>);

/// Samples of a line, of every bench whose lines are reported.
pub const SAMPLES: usize = 10;

/// What criterion asked for on a line: how many calls, and how long they took.
#[derive(Default)]
pub struct Samples(Vec<(u64, Duration)>);

impl Samples {
    pub fn push(&mut self, calls: u64, time: Duration) {
        self.0.push((calls, time));
    }

    /// Adds the line to the report, if it passed the filter. Criterion warms up by 1, 2, 4… calls, and then takes
    /// samples of one number of calls: those count, [`SAMPLES`] of them, since the last of the warm-up may have as
    /// many.
    pub fn report(self, id: String, work: Throughput, results: &mut Vec<Measured>) {
        let Some(&(calls, _)) = self.0.last() else { return };
        let same = self.0.iter().rev().take_while(|sample| sample.0 == calls).take(SAMPLES);
        results.push((id, work, same.map(|(calls, time)| time.as_secs_f64() / *calls as f64).collect()));
    }
}

/// What `VGG_FT_BENCH_PRECISION` names; f32 if it names none.
pub fn precision() -> Precision {
    said("VGG_FT_BENCH_PRECISION", Precision::F32)
}

/// What the variable says, or else.
fn said<T: FromStr<Err = String>>(variable: &str, or: T) -> T {
    std::env::var(variable)
        .map_or(or, |name| name.parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}

/// What `VGG_FT_BENCH_KERNELS` names; what users get if it names none.
fn kernels() -> Kernels {
    said("VGG_FT_BENCH_KERNELS", Kernels::Auto)
}

fn no_device(name: &str) -> ! {
    panic!("VGG_FT_BENCH_DEVICE: there is no device `{name}`: cpu, cuda, cuda:N or emulator")
}

/// The GPU that `VGG_FT_BENCH_DEVICE` names (`cuda`, `cuda:N`), if it names one, and how `VGG_FT_BENCH_LAUNCHES` says to
/// start kernels there: `serial`, in graphs, if it says nothing; `programmatic`; `single`, without graphs, so that a
/// profiler shows every kernel by itself.
pub fn card() -> Option<cuda::Options> {
    let device = std::env::var("VGG_FT_BENCH_DEVICE").ok()?;
    let number = device.strip_prefix("cuda")?;
    let number = match number.strip_prefix(':').map(str::parse) {
        None if number.is_empty() => None,
        Some(Ok(number)) => Some(number),
        _ => no_device(&device),
    };
    let single = std::env::var("VGG_FT_BENCH_LAUNCHES").as_deref() == Ok("single");
    let launches = if single { Launches::Serial } else { said("VGG_FT_BENCH_LAUNCHES", Launches::Serial) };
    Some(cuda::Options { number, single, launches, ..cuda::Options::default() })
}

/// What `VGG_FT_BENCH_DEVICE` names, in that precision, with those kernels.
pub fn device() -> Box<dyn Device> {
    let precision = precision();
    if let Some(options) = card() {
        let gpu = Gpu::new(Cuda::open(options).unwrap()).unwrap();
        return Box::new(gpu.with_precision(precision).with_kernels(kernels()).unwrap());
    }
    match std::env::var("VGG_FT_BENCH_DEVICE").as_deref() {
        Err(_) | Ok("" | "cpu") if precision != Precision::F32 => {
            panic!("VGG_FT_BENCH_PRECISION: the cpu works in f32")
        }
        Err(_) | Ok("" | "cpu") => Box::new(CpuDevice::new(None).unwrap()),
        Ok("emulator") => {
            let gpu = Gpu::new(Emulator::new(Options::fast()).unwrap()).unwrap();
            Box::new(gpu.with_precision(precision).with_kernels(kernels()).unwrap())
        }
        Ok(other) => no_device(other),
    }
}

/// What the GPU can do at most, measured here and now: nothing for other devices.
fn ceilings() -> serde_json::Value {
    let Some(options) = card() else { return serde_json::Value::Null };
    let cuda = Cuda::open(options).unwrap();
    // Far more than any second-level cache, and far more blocks than any GPU holds at once.
    let copy = cuda.copy_ceiling(512 << 20).unwrap();
    let multiply_add = cuda.multiply_add_ceiling(132 * 8 * 8).unwrap();
    println!("ceilings: copies {copy:.0} GB/s, f32 multiply-adds {multiply_add:.0} GFLOP/s");
    serde_json::json!({ "copy_gbyte_per_s": copy, "f32_multiply_add_gflop_per_s": multiply_add })
}

/// The median of a line's samples, seconds.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

/// What of the roof each line reaches, for people; nothing where the roof is not known. Work is that of sums as they are
/// written, so what needs fewer operations (Winograd's, on the cpu and in f32 on a GPU) may reach more than all of it.
pub fn shares(roof: &Roof, results: &[Measured]) -> String {
    let line = |(id, work, samples): &Measured| {
        let share = roof.share(work, median(samples))?;
        Some(format!("{:5.1} % of the roof  {id}\n", 100.0 * share))
    };
    results.iter().filter_map(line).collect()
}

/// One object per line of the report: what was done, the median time of a call, the rate, and what that is
/// of the roof.
pub fn json(device: &dyn Device, batch: usize, roof: &Roof, results: &[Measured]) -> String {
    let it = device.describe();
    let lines = results.iter().map(|(id, work, samples)| {
        let seconds = median(samples);
        let (unit, amount) = match work {
            Throughput::Elements(flop) => ("gflop_per_s", *flop),
            Throughput::Bytes(bytes) => ("gbyte_per_s", *bytes),
            other => panic!("{id}: {other:?} is no rate of ours"),
        };
        let rate = amount as f64 / seconds / 1e9;
        let share = roof.share(work, seconds);
        serde_json::json!({
            "id": id,
            "microseconds": seconds * 1e6,
            "samples": samples.len(),
            unit: rate,
            "share_of_roof": share,
        })
    });
    let lines: Vec<_> = lines.collect();
    serde_json::json!({
        "device": it.name, "hardware": it.hardware, "precision": precision().name(), "kernels": kernels().name(), "batch": batch, "ceilings": ceilings(), "lines": lines
    })
    .to_string()
}
