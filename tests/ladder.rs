//! Every rung of `kernels/ladder` passes the test of `conv2d_forward`: the same rows of the case table,
//! with all of the emulator's checks.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

mod support;

use support::cases;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::gpu::ladder::RUNGS;

#[test]
fn every_rung_is_the_same_convolution() {
    for rung in RUNGS {
        let device = Gpu::on_rung(Emulator::new(Options::default()).unwrap(), rung).unwrap();
        let mut ran = 0;
        for case in cases::all().iter().filter(|case| case.call_name(&device) == "conv2d_forward") {
            if let Some(miss) = case.check(&device) {
                panic!("{} for {}: {miss}", rung.name, case.name(&device));
            }
            ran += 1;
        }
        assert!(ran > 10, "{ran} cases");
        let statistics = device.driver().take_statistics(rung.name);
        assert!(statistics.is_some(), "{} never ran", rung.name);
    }
}

/// What a rung costs for one map of 16x16x32 to 64 channels: sectors read from global memory, passes
/// through the banks of shared memory, and operations of warps, each per thousand multiply-adds.
#[test]
fn every_rung_asks_less_of_memory_than_the_one_before() {
    use vgg_ft::device::{Call, Device};
    use vgg_ft::ptx::Space;
    use vgg_ft::shape::{Conv2d, Shape};
    let geometry = Conv2d::of(Shape::new(&[1, 16, 16, 32]), Shape::new(&[64, 3, 3, 32])).unwrap();
    let options = Options { statistics: true, ..Options::fast() };
    let mut costs = Vec::new();
    let mut devices: Vec<_> = RUNGS
        .iter()
        .map(|&rung| (rung.name, Gpu::on_rung(Emulator::new(options).unwrap(), rung).unwrap()))
        .collect();
    devices.push(("conv2d_forward", Gpu::new(Emulator::new(options).unwrap()).unwrap()));
    for (name, gpu) in devices {
        let device: &dyn Device = &gpu;
        let zeros = |len: usize| device.zeros(len).unwrap();
        let (x, weight, bias) = (zeros(geometry.x().len()), zeros(geometry.weight().len()), zeros(64));
        let mut y = zeros(geometry.y().len());
        let call =
            Call::Conv2dForward { geometry, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y };
        device.run(call).unwrap();
        let statistics = gpu.driver().take_statistics(name).unwrap();
        let passes = |program: &vgg_ft::ptx::Program, space: Space| -> u64 {
            let rows = program.accesses.iter().zip(&statistics.touched);
            rows.filter(|(access, _)| access.space == space).map(|(_, touched)| touched.passes).sum()
        };
        let (sectors, banks, operations) = gpu
            .driver()
            .look(name, |program, _| {
                let blocks = program.blocks.iter().zip(&statistics.ran);
                let operations: u64 = blocks.map(|(block, ran)| ran.warps * block.ops.len() as u64).sum();
                (passes(program, Space::Global), passes(program, Space::Shared), operations)
            })
            .unwrap();
        let per = |count: u64| count as f64 * 1e3 / geometry.macs() as f64;
        println!(
            "{name:20} {:8.2} sectors {:8.2} passes {:8.2} operations",
            per(sectors),
            per(banks),
            per(operations)
        );
        costs.push((name, per(sectors), per(banks), per(operations)));
    }
    for pair in costs.windows(2) {
        let [(before, _, banks, operations), (name, _, fewer_banks, fewer_operations)] = pair else {
            continue;
        };
        assert!(fewer_operations < operations, "{name} runs no fewer operations than {before}");
        assert!(*banks == 0.0 || fewer_banks < banks, "{name} passes the banks no less than {before}");
    }
    assert!(costs[1].1 * 8.0 < costs[0].1, "tiles save most of the sectors: {costs:?}");
}
