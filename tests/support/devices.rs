//! The devices that are here. A new device joins every test of kernels by its line in [`all`].
//!
//! `VGG_FT_TEST_DEVICES` chooses: `cuda`, or `cpu,emulator`. What is named must be there; where nothing is
//! named, a GPU joins if there is one, and if not a line says why.

use vgg_ft::device::Device;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::emulator::{Emulator, Options};

const VARIABLE: &str = "VGG_FT_TEST_DEVICES";

/// The names in the variable, if it is set.
fn chosen() -> Option<Vec<String>> {
    let names = std::env::var(VARIABLE).ok().filter(|names| !names.is_empty())?;
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
    for name in &names {
        assert!(
            ["cpu", "emulator", "cuda"].contains(&name.as_str()),
            "{VARIABLE}: there is no device `{name}`"
        );
    }
    Some(names)
}

/// All devices present, each with poisoned memory where it has such a thing.
pub fn all() -> Vec<Box<dyn Device>> {
    gather(|| cpus(&[1, 2]), || Some(emulator()), || Some(card()))
}

/// Our kernels wherever they run: the emulator with all checks, and a GPU.
pub fn kernels() -> Vec<Box<dyn Device>> {
    gather(Vec::new, || Some(emulator()), || Some(card()))
}

/// Those that run whole models within seconds: the emulator only where it is asked for, without checks.
pub fn fast() -> Vec<Box<dyn Device>> {
    let named = chosen().is_some_and(|names| names.iter().any(|name| name == "emulator"));
    let emulator =
        || -> Box<dyn Device> { Box::new(Gpu::new(Emulator::new(Options::fast()).unwrap()).unwrap()) };
    let cpu = || -> Vec<Box<dyn Device>> { vec![Box::new(CpuDevice::new(None).unwrap())] };
    gather(cpu, || named.then(emulator), || Some(card()))
}

/// Those of these that are named, or that are here.
pub fn gather<T, E: IntoIterator<Item = T>, C: IntoIterator<Item = T>>(
    cpus: impl Fn() -> Vec<T>,
    emulator: impl Fn() -> E,
    card: impl Fn() -> C,
) -> Vec<T> {
    let Some(names) = chosen() else {
        let mut all = cpus();
        all.extend(emulator());
        match cuda::find().and_then(|found| found.first().map(|_| ())) {
            Ok(()) => all.extend(card()),
            Err(error) => {
                skipped!("cuda, since there is {}", error.message().trim_start_matches("there is "))
            }
        }
        return all;
    };
    let mut all = Vec::new();
    for name in names {
        match name.as_str() {
            "cpu" => all.extend(cpus()),
            "emulator" => all.extend(emulator()),
            _ => all.extend(card()),
        }
    }
    if all.is_empty() {
        skipped!("none of the devices in {VARIABLE} is one of those that this test is of");
    }
    all
}

/// Our kernels on our own machine, all checks on.
pub fn emulator() -> Box<dyn Device> {
    Box::new(Gpu::new(Emulator::new(Options::default()).unwrap()).unwrap())
}

/// Our machine as a GPU of 9.0, for which the small kernels are compiled once more; nothing where only others are named.
pub fn hopper() -> Option<Box<dyn Device>> {
    if chosen().is_some_and(|names| !names.iter().any(|name| name == "emulator")) {
        skipped!("the emulator as a GPU of 9.0, which {VARIABLE} does not name");
        return None;
    }
    let machine = Emulator::new(Options { capability: 90, ..Options::default() }).unwrap();
    Some(Box::new(Gpu::new(machine).unwrap()))
}

/// Our kernels on the first GPU, buffers guarded.
pub fn card() -> Box<dyn Device> {
    let options = cuda::Options { guarded: true, ..cuda::Options::default() };
    Box::new(Gpu::new(Cuda::open(options).unwrap()).unwrap())
}

/// Cpu devices that must agree bit for bit; three does not divide anything.
pub fn cpus(threads: &[usize]) -> Vec<Box<dyn Device>> {
    threads.iter().map(|&n| Box::new(CpuDevice::poisoned(Some(n)).unwrap()) as _).collect()
}

/// "cpu (2 threads, AVX2+FMA)".
pub fn name(device: &dyn Device) -> String {
    let it = device.describe();
    format!("{} ({})", it.name, it.hardware)
}
