//! Hopper's tiles whose depth four blocks of a cluster share (`kernels/conv2d_sm90_split.cu`): taken where kernels were named,
//! and right. Orders of warps and clusters: src/device/gpu/lower/sm90/tests.rs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Integers, Numbers, Reals};
use support::tensor_cores::{self, Sizes, geometry};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Call, Device, Dtype, Kernels, Precision};

/// Deep, and few pixels: two tiles of them, the second not whole; forward and back, and from the pool.
const SIZES: &[Sizes] = &[(3, 7, 9, 512, 256), (1, 9, 10, 256, 512)];

/// The kernels of the forward product and of that back to the input.
fn taken(at: &Sizes) -> [&'static str; 2] {
    let g = geometry(at);
    let plan = Gpu::new(Plan::new(Card::named("h200").unwrap())).unwrap();
    let plan = plan.with_precision(Precision::Bf16).with_kernels(Kernels::Sm90a).unwrap();
    let device: &dyn Device = &plan;
    let half = |len| device.alloc(Dtype::Bf16, len).unwrap();
    let (x, weight, dy) = (half(g.x().len()), half(g.weight().len()), half(g.y().len()));
    let (mut y, mut dx) = (half(g.y().len()), half(g.x().len()));
    let bias = device.alloc(Dtype::F32, g.c_out).unwrap();
    device
        .run(Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y })
        .unwrap();
    device
        .run(Call::Conv2dBackwardInput { geometry: g, dy: &dy, weight: &weight, mask: None, dx: &mut dx })
        .unwrap();
    let names: Vec<_> = plan.driver().take().launches().map(|(launch, _)| launch.entry.name).collect();
    names.try_into().unwrap()
}

#[test]
fn deep_products_of_few_pixels_are_shared() {
    let [forward, back] = ["conv2d_forward_sm90_128x256_split", "conv2d_backward_input_sm90_128x256_split"];
    assert_eq!(taken(&(20, 9, 9, 512, 512)), [forward, back]);
    assert_eq!(taken(&SIZES[0])[0], forward);
    assert_eq!(taken(&SIZES[1])[1], back);
}

fn all_agree(kind: Numbers) {
    let devices = tensor_cores::devices(Precision::Bf16, Kernels::Sm90a);
    tensor_cores::all_agree(&devices, SIZES, Precision::Bf16, kind);
}

#[test]
fn integers_are_exact() {
    all_agree(Integers);
}

#[test]
fn reals_are_near() {
    all_agree(Reals);
}
