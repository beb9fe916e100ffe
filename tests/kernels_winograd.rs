//! f32 convolutions by Winograd's minimal filtering (`kernels/conv2d_winograd.cu`), which `auto` takes, against naive
//! loops; whole networks: tests/whole_vgg.rs. Chunks of tiles: src/device/gpu/lower/winograd.rs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{self, Reals};
use support::run::Case;
use support::tensor_cores::{self, Sizes, geometry};
use support::{devices, naive};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Call, Device, Dtype, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// `(n, h, w, c_in, c_out)`.
const SIZES: &[Sizes] = &[
    (2, 9, 9, 64, 80),    // F(3x3), block 5's map; columns past a block's
    (1, 1, 1, 80, 64),    // one pixel: a tile of one output
    (3, 7, 5, 96, 64),    // tiles cut by the edge, also by a pool's
    (5, 4, 6, 80, 64),    // F(4x4), and rows of tiles that run across images
    (1, 13, 19, 64, 144), // cut on both sides, filters past two blocks of columns and one of rows
    (2, 34, 31, 80, 64),  // more tiles than a block has rows, some past the map
    (1, 6, 3, 272, 48),   // F(3x3), a deep sum
    (2, 1, 70, 48, 112),  // a long row
];

fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for sizes in SIZES {
        cases::conv2d(&mut all, Reals, geometry(sizes));
    }
    all
}

#[test]
fn every_call_agrees_with_naive_loops() {
    let mut failures = Vec::new();
    let cases = all();
    for device in tensor_cores::devices(Precision::F32, Kernels::Winograd) {
        for case in &cases {
            if let Some(miss) = case.check(&*device) {
                failures.push(format!("{}: {}: {miss}", devices::name(&*device), case.name(&*device)));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// The table is of nothing else: each case is launched by these kernels.
#[test]
fn these_are_the_kernels_that_auto_takes() {
    let plan = Gpu::new(Plan::new(Card::named("a100").unwrap())).unwrap();
    let plan = plan.with_kernels(Kernels::Auto).unwrap();
    let mut entries = Vec::new();
    for case in all() {
        plan.driver().take();
        let (inputs, mut outputs) = case.buffers(&plan);
        plan.run((case.make)(&inputs, &mut outputs)).unwrap();
        let launched: Vec<_> = plan.driver().take().launches().map(|(launch, _)| launch.entry.name).collect();
        assert!(
            launched.iter().any(|name| name.starts_with("conv2d_winograd_")),
            "{}: {launched:?}",
            case.title
        );
        entries.extend(launched);
    }
    let names = ["input", "weight", "output", "gradient", "dweight"];
    let steps = names.iter().flat_map(|step| ["f4x4", "f3x3"].map(|form| format!("{step}_{form}")));
    let others = ["maxpool2d_f4x4", "forward", "backward_input", "backward_weight"].map(str::to_owned);
    for step in steps.chain(others) {
        let name = format!("conv2d_winograd_{step}");
        assert!(entries.contains(&&*name), "{name} is in no case");
    }
}

/// The winners of training's pool, which reals leave to rounding: one pixel of each window is far above the others.
#[test]
fn a_pool_keeps_its_winners() {
    // F(4x4), whose transform pools, with rows and tiles past the map; F(3x3), whose pool is a kernel of its own.
    for (sizes, pools) in [((2, 11, 8, 48, 112), "maxpool2d_f4x4"), ((2, 9, 9, 48, 112), "output_f3x3")] {
        let g = geometry(&sizes);
        let plan = Gpu::new(Plan::new(Card::named("a100").unwrap())).unwrap();
        let plan = plan.with_kernels(Kernels::Winograd).unwrap();
        plan.driver().take();
        winners(&plan, g, false);
        let launched: Vec<_> = plan.driver().take().launches().map(|(launch, _)| launch.entry.name).collect();
        assert!(launched.contains(&&*format!("conv2d_winograd_{pools}")), "{launched:?}");
        for device in tensor_cores::devices(Precision::F32, Kernels::Winograd) {
            winners(&*device, g, true);
        }
    }
}

/// Runs it on `device`, and judges what came out if that keeps numbers.
fn winners(device: &dyn Device, g: Conv2d, judged: bool) {
    let pool = g.pool();
    // The filter's middle tap hands a channel on; of every window one corner is 8, the others 1.
    let weight: Vec<f32> = (0..g.weight().len())
        .map(|at| {
            let (o, tap, c) = (at / (9 * g.c_in), at / g.c_in % 9, at % g.c_in);
            f32::from(u8::from(tap == 4 && c == o % g.c_in))
        })
        .collect();
    let corner = |n: usize, i: usize, j: usize, c: usize| (n + 3 * (i / 2) + 5 * (j / 2) + c) % 4;
    let mut x = vec![1.0f32; g.x().len()];
    for (at, x) in x.iter_mut().enumerate() {
        let (c, j, i, n) = (at % g.c_in, at / g.c_in % g.w, at / g.c_in / g.w % g.h, at / g.c_in / g.w / g.h);
        if corner(n, i, j, c) == i % 2 * 2 + j % 2 {
            *x = 8.0;
        }
    }
    let bias = vec![0.25f32; g.c_out];
    let z = naive::conv2d_forward(&g, &x, &weight, &bias, true);
    let (_, want) = naive::maxpool2d_of(&pool, &z);
    let (x, weight, bias) =
        (&device.upload(&x).unwrap(), &device.upload(&weight).unwrap(), &device.upload(&bias).unwrap());
    let mut y = device.alloc(Dtype::F32, pool.y().len()).unwrap();
    let mut winner = device.upload(&vec![0xffu8; pool.winners()]).unwrap();
    let call =
        Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y: &mut y, winner: Some(&mut winner) };
    device.run(call).unwrap();
    if judged {
        assert_eq!(device.download::<u8>(&winner).unwrap(), want, "{}", devices::name(device));
        let y: Vec<f32> = device.download(&y).unwrap();
        assert!(y.iter().all(|y| (y - 8.25).abs() < 1e-4), "{y:?}");
    }
}
