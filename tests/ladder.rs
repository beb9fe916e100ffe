//! Every rung of `kernels/ladder` passes the test of `conv2d_forward`: the same rows of the case tables, with all
//! of the emulator's checks. And each costs less than the one before, in what it is about.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{self, Integers, Reals};
use support::run::{Case, Data};
use support::tensor_cores::{self, HOPPER, PORTABLE, geometry, numbers};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options, Schedule};
use vgg_ft::device::gpu::ladder::{Factors, RUNGS, Rung};
use vgg_ft::device::{Call, Device, Dtype, Kernels, Precision};
use vgg_ft::ptx::Space;
use vgg_ft::shape::Conv2d;

fn on_rung(options: Options, rung: Rung) -> Gpu<Emulator> {
    let capability = rung.capability().max(options.capability);
    Gpu::on_rung(Emulator::new(Options { capability, ..options }).unwrap(), rung).unwrap()
}

/// The rows that a rung can take, of the table for its kind.
fn rows(rung: Rung) -> Vec<Case> {
    let table = match rung {
        Rung { precision: Precision::F32, .. } => return cases::all(),
        Rung { factors: Factors::Maps, .. } => HOPPER,
        _ => PORTABLE,
    };
    let takes = |g: &Conv2d| [g.c_in, g.c_out].iter().all(|c| c.is_multiple_of(rung.channels));
    let both =
        |g| [Integers, Reals].into_iter().flat_map(move |kind| tensor_cores::cases(rung.precision, kind, g));
    table.iter().map(geometry).filter(takes).flat_map(both).collect()
}

#[test]
fn every_rung_is_the_same_convolution() {
    for rung in RUNGS {
        let device = on_rung(Options::default(), rung);
        let mut ran = 0;
        for case in rows(rung).iter().filter(|case| case.call_name(&device) == "conv2d_forward") {
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

/// The bits of y.
fn forward(gpu: &Gpu<Emulator>, precision: Precision, g: Conv2d) -> Vec<u8> {
    let device: &dyn Device = gpu;
    let upload = |seed, len| numbers(precision, Reals, seed, len).0.upload(device);
    let (x, weight) = (upload(1, g.x().len()), upload(2, g.weight().len()));
    let bias = Data::F32(vec![0.5; g.c_out]).upload(device);
    let mut y = device.alloc(precision.activations(), g.y().len()).unwrap();
    device
        .run(Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y })
        .unwrap();
    let mut bytes = vec![0; y.len() * y.dtype().size()];
    device.download_bytes(&y, &mut bytes).unwrap();
    bytes
}

/// Who goes first, and when copies arrive, is not the kernel's to choose.
#[test]
fn no_order_changes_a_bit() {
    let base = Options::default();
    for rung in RUNGS {
        let channels = rung.channels.max(16);
        let g = Conv2d { n: 1, h: 9, w: 15, c_in: channels, c_out: 2 * channels };
        let want = forward(&on_rung(base, rung), rung.precision, g);
        for options in [
            Options { schedule: Schedule::Reverse, ..base },
            Options { schedule: Schedule::Random(1), late_copies: false, ..base },
            Options { schedule: Schedule::Random(2), ..base },
            Options { checked: false, ..base },
        ] {
            assert!(
                forward(&on_rung(options, rung), rung.precision, g) == want,
                "{}, {options:?}",
                rung.name
            );
        }
    }
}

/// What a rung does not take is said with numbers, before anything runs.
#[test]
fn channels_that_a_rung_does_not_take_are_refused() {
    for (rung, channels) in [(RUNGS[4], 12), (RUNGS[6], 32)] {
        let gpu = on_rung(Options::default(), rung);
        let device: &dyn Device = &gpu;
        let g = Conv2d { n: 1, h: 4, w: 4, c_in: 64, c_out: channels };
        let alloc = |len| device.alloc(Dtype::Bf16, len).unwrap();
        let (x, weight, mut y) = (alloc(g.x().len()), alloc(g.weight().len()), alloc(g.y().len()));
        let bias = device.zeros(g.c_out).unwrap();
        let call =
            Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y };
        let error = device.run(call).unwrap_err().to_string();
        assert!(error.contains(rung.name) && error.contains(&format!("64 and {channels}")), "{error}");
    }
    let error = Gpu::on_rung(Emulator::new(Options::default()).unwrap(), RUNGS[7]).err().unwrap().to_string();
    assert!(error.contains("conv2d_8_persistent") && error.contains("compute capability 9.0"), "{error}");
}

/// Per thousand multiply-adds of one convolution: sectors read from global memory and passes through the banks of
/// shared memory by loads and stores of lanes and by `ldmatrix`, and operations of warps.
#[derive(Debug)]
struct Costs {
    name: &'static str,
    sectors: f64,
    banks: f64,
    operations: f64,
}

fn costs(gpu: &Gpu<Emulator>, name: &'static str, precision: Precision, g: Conv2d) -> Costs {
    forward(gpu, precision, g);
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
            let matrices: u64 = statistics.matrices.iter().map(|touched| touched.passes).sum();
            (passes(program, Space::Global), passes(program, Space::Shared) + matrices, operations)
        })
        .unwrap();
    let per = |count: u64| count as f64 * 1e3 / g.macs() as f64;
    let costs = Costs { name, sectors: per(sectors), banks: per(banks), operations: per(operations) };
    let Costs { sectors, banks, operations, .. } = costs;
    println!("{name:20} {sectors:8.2} sectors {banks:8.2} passes {operations:8.2} operations");
    costs
}

/// For one map of 16x16x32 to 64 channels.
#[test]
fn every_rung_asks_less_of_memory_than_the_one_before() {
    let g = Conv2d { n: 1, h: 16, w: 16, c_in: 32, c_out: 64 };
    let options = Options { statistics: true, ..Options::fast() };
    let f32 = RUNGS.into_iter().filter(|rung| rung.precision == Precision::F32 && rung.square == 1);
    let mut all: Vec<_> =
        f32.map(|rung| costs(&on_rung(options, rung), rung.name, Precision::F32, g)).collect();
    let ours = Gpu::new(Emulator::new(options).unwrap()).unwrap();
    all.push(costs(&ours, "conv2d_forward", Precision::F32, g));
    for pair in all.windows(2) {
        let [before, it] = pair else { continue };
        assert!(it.operations < before.operations, "{it:?} runs no fewer operations than {before:?}");
        assert!(
            before.banks == 0.0 || it.banks < before.banks,
            "{it:?} passes the banks no less than {before:?}"
        );
    }
    assert!(all[1].sectors * 8.0 < all[0].sectors, "tiles save most of the sectors: {all:?}");
    // Beside the ladder: with fewer products than the formula has, fewer operations than the best of those that do it.
    let winograd = RUNGS.into_iter().find(|rung| rung.square > 1).unwrap();
    let winograd = costs(&on_rung(options, winograd), winograd.name, Precision::F32, g);
    assert!(
        all.iter().all(|direct| winograd.operations < direct.operations && winograd.sectors < direct.sectors),
        "{winograd:?}"
    );
}

/// The same of the rungs on tensor cores, for one map of 16x16x64 to 128 channels; and how long block3_conv2 of 20
/// images of 150x150 would take an H200 at least, by its tensor cores (0.59 of their peak by mma.sync) and by what
/// blocks read from the second cache (8.9 TB/s, measured).
#[test]
fn every_rung_on_tensor_cores_asks_less_of_everything() {
    let g = Conv2d { n: 1, h: 16, w: 16, c_in: 64, c_out: 128 };
    let layer = Conv2d { n: 20, h: 37, w: 37, c_in: 256, c_out: 256 };
    let options = Options { statistics: true, ..Options::fast() };
    let mut all = Vec::new();
    for rung in RUNGS.into_iter().filter(|rung| rung.precision == Precision::Bf16) {
        let it = costs(&on_rung(options, rung), rung.name, Precision::Bf16, g);
        // Of the rung without shared memory a warp's tile.
        let [rows, columns] =
            if rung.name == "conv2d_5_mma" { [32, 32] } else { rung.tile }.map(|n| n as f64);
        let intensity = rows * columns / (rows + columns);
        let share = if rung.factors == Factors::Maps { 1.0 } else { 0.59 };
        let products = layer.macs() as f64 / (132.0 * 2048.0 * share * 1.98e9) * 1e6;
        let traffic = 2.0 * layer.macs() as f64 / intensity / 8.9e12 * 1e6;
        println!(
            "{:20} {intensity:8.1} flops/byte {products:6.1} us products {traffic:6.1} us traffic",
            it.name
        );
        all.push((it, products.max(traffic)));
    }
    for pair in all.windows(2) {
        let [(before, slower), (it, faster)] = pair else { continue };
        assert!(it.operations < before.operations, "{it:?} runs no fewer operations than {before:?}");
        assert!(faster < slower, "{it:?} could not be faster than {before:?}");
    }
    let engine = tensor_cores::emulator(options, Precision::Bf16, Kernels::Sm90a);
    costs(&engine, "conv2d_forward_sm90_128x64", Precision::Bf16, g);
}
