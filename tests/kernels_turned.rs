//! Hopper's tiles of pixels that fit waves, in clusters of two blocks (`kernels/conv2d_sm90_turned.cu`): where they are
//! taken, with the bits of the others. Orders of warps and every tile: src/device/gpu/lower/sm90/tests.rs; VGG16's
//! layers: tests/kernels_sm90.rs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Reals, Source};
use support::tensor_cores::{self, geometry, numbers};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// Bytes of y, and of dx of the same sizes turned round, of `count` images from the `first` on, of all of `g`.
fn products(device: &dyn Device, g: Conv2d, (first, count): (usize, usize)) -> [Vec<u8>; 2] {
    let half = |seed, len: usize, part: std::ops::Range<usize>| -> Buffer {
        let (_, values) = numbers(Precision::Bf16, Reals, seed, len);
        let mut buffer = device.alloc(Dtype::Bf16, part.len()).unwrap();
        // They are numbers of bf16: the lower half of each is zeros.
        let bytes = values[part].iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes());
        device.upload_bytes(&bytes.collect::<Vec<_>>(), &mut buffer).unwrap();
        buffer
    };
    let some = |whole: usize| whole / g.n * first..whole / g.n * (first + count);
    let part = Conv2d { n: count, ..g };
    let back = Conv2d { c_in: g.c_out, c_out: g.c_in, ..part };
    let (x, y) = (g.x().len(), g.y().len());
    let (x, mask) = (half(1, x, some(x)), half(3, y, some(y)));
    let weight = half(2, g.weight().len(), 0..g.weight().len());
    let bias = device.upload(&Source::new(4).f32(Reals, g.c_out)).unwrap();
    let [mut y, mut dx] = [part.y().len(), back.x().len()].map(|len| device.alloc(Dtype::Bf16, len).unwrap());
    for call in [
        Call::Conv2dForward { geometry: part, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y },
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

/// Three images make so many tiles that those that fit waves are taken, each alone gets others: they have the same
/// bits. The smallest such map.
#[test]
fn a_batch_has_the_bits_of_its_images_alone() {
    let g = geometry(&(3, 15, 47, 64, 512));
    let taken = |images| {
        let plan = Gpu::new(Plan::new(Card::named("h200").unwrap())).unwrap();
        let plan = plan.with_precision(Precision::Bf16).with_kernels(Kernels::Auto).unwrap();
        products(&plan, g, images);
        plan.driver().take().launches().map(|(launch, _)| launch.entry.name).collect::<Vec<_>>()
    };
    let [forward, backward] = ["conv2d_forward_sm90_", "conv2d_backward_input_sm90_"];
    assert_eq!(taken((0, 3)), [forward, backward].map(|call| format!("{call}112x128")));
    assert_eq!(taken((1, 1)), [forward, backward].map(|call| format!("{call}128x64")));

    for device in tensor_cores::devices(Precision::Bf16, Kernels::Sm90a) {
        let [y, dx] = products(&*device, g, (0, 3));
        assert!([&y, &dx].iter().all(|bytes| bytes.iter().any(|&byte| byte != 0)));
        let alone = [0, 1, 2].map(|at| products(&*device, g, (at, 1)));
        for (whole, at) in [(y, 0), (dx, 1)] {
            assert!(
                whole == alone.iter().flat_map(|both| both[at].clone()).collect::<Vec<u8>>(),
                "product {at}"
            );
        }
    }
}
