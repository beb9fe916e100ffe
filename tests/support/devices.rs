//! The devices that are here. A new device joins every test of kernels by its line in [`all`].

use vgg_ft::device::Device;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options};

/// All devices present, each with poisoned memory where it has such a thing.
pub fn all() -> Vec<Box<dyn Device>> {
    let mut all = cpus(&[1, 2]);
    all.push(emulator());
    all
}

/// Our kernels on our own machine, all checks on.
pub fn emulator() -> Box<dyn Device> {
    Box::new(Gpu::new(Emulator::new(Options::default()).unwrap()).unwrap())
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
