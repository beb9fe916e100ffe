//! Hopper's tiles of pixels that fit waves, in clusters of two blocks (`kernels/conv2d_sm90_turned.cu`): taken where kernels
//! were named, with the bits of the others. Orders of warps and every tile: src/device/gpu/lower/sm90/tests.rs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::{kernels_sm90, support};

use support::cases::{Reals, Source};
use support::tensor_cores::{self, geometry, numbers};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Call, Device, Dtype, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// Bytes of y, and of dx of the same sizes turned round.
fn products(device: &dyn Device, g: Conv2d) -> [Vec<u8>; 2] {
    let half = |seed, len| numbers(Precision::Bf16, Reals, seed, len).0.upload(device);
    let back = Conv2d { c_in: g.c_out, c_out: g.c_in, ..g };
    let (x, weight, mask) = (half(1, g.x().len()), half(2, g.weight().len()), half(3, g.y().len()));
    let bias = device.upload(&Source::new(4).f32(Reals, g.c_out)).unwrap();
    let [mut y, mut dx] = [g.y().len(), back.x().len()].map(|len| device.alloc(Dtype::Bf16, len).unwrap());
    for call in [
        Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y },
        Call::Conv2dBackwardInput { geometry: back, dy: &x, weight: &weight, mask: Some(&mask), dx: &mut dx },
    ] {
        device.run(call).unwrap();
    }
    [y, dx].map(|buffer| {
        let mut to = vec![0; buffer.len() * buffer.dtype().size()];
        device.download_bytes(&buffer, &mut to).unwrap();
        to
    })
}

/// Of a map with so many tiles that those that fit waves are taken where kernels were named, and the others by `auto`:
/// both have the same bits. The smallest such map.
#[test]
fn they_have_the_bits_of_the_others() {
    let g = geometry(&(3, 15, 47, 64, 512));
    let taken = |kernels| {
        let plan = Gpu::new(Plan::new(Card::named("h200").unwrap())).unwrap();
        let plan = plan.with_precision(Precision::Bf16).with_kernels(kernels).unwrap();
        products(&plan, g);
        plan.driver().take().launches().map(|(launch, _)| launch.entry.name).collect::<Vec<_>>()
    };
    let [forward, backward] = ["conv2d_forward_sm90_", "conv2d_backward_input_sm90_"];
    assert_eq!(taken(Kernels::Sm90a), [forward, backward].map(|call| format!("{call}112x128")));
    assert_eq!(taken(Kernels::Auto), [forward, backward].map(|call| format!("{call}128x128")));

    let on_emulator = |kernels| -> Box<dyn Device> {
        let emulator = Emulator::new(Options { capability: 90, ..Options::default() }).unwrap();
        Box::new(tensor_cores::working(emulator, Precision::Bf16, kernels))
    };
    let mut pairs = vec![[Kernels::Sm90a, Kernels::Auto].map(on_emulator)];
    if let Some(card) = tensor_cores::cards(Precision::Bf16, Kernels::Sm90a).pop() {
        pairs.push([card, tensor_cores::cards(Precision::Bf16, Kernels::Auto).pop().unwrap()]);
    }
    for [named, auto] in pairs {
        let [want, got] = [auto, named].map(|device| products(&*device, g));
        assert!(want.iter().flatten().any(|&byte| byte != 0));
        assert!(got == want);
    }
}

/// On a card alone: whole waves, several tiles one behind the other.
#[test]
fn real_layers_equal_the_portable_kernels() {
    kernels_sm90::equal_the_portable_kernels([(Precision::Bf16, Kernels::Sm90a)]);
}
