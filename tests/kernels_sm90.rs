//! Hopper's convolutions of bf16 against naive loops over the rounded factors; and what their kernels owe besides:
//! the same bits in every order in which warps may go on, and those of the portable kernels where sums are exact.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

mod support;

use half::bf16;
use support::cases::{Integers, Numbers, Reals, Source, case, make};
use support::close::Near;
use support::naive;
use support::run::{Case, Data, Output, Want};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::driver::Driver;
use vgg_ft::device::gpu::emulator::{Emulator, Options, Schedule};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// `(n, h, w, c_in, c_out)`: channels are multiples of 64.
const CONV2D: &[(usize, usize, usize, usize, usize)] = &[
    (1, 1, 1, 64, 64),     // one pixel: eight of nine taps fall outside
    (3, 7, 1, 64, 64),     // one column
    (1, 9, 9, 64, 128),    // block 5's map, alone
    (1, 3, 43, 128, 64),   // one past a tile in pixels
    (5, 6, 5, 64, 192),    // tiles that run across pictures; filters that only the narrow tile divides
    (2, 13, 10, 192, 128), // the same of channels; several tiles of pixels
    (1, 4, 70, 64, 64),    // a long row
    (1, 19, 11, 128, 128), // a pool from two steps of channels, lines and columns without a window
    (33, 2, 2, 64, 64),    // more maps than a step has rows of
];

fn geometry(&(n, h, w, c_in, c_out): &(usize, usize, usize, usize, usize)) -> Conv2d {
    Conv2d { n, h, w, c_in, c_out }
}

fn hopper<D: Driver + 'static>(driver: D) -> Gpu<D> {
    Gpu::new(driver).unwrap().with_precision(Precision::Bf16).with_kernels(Kernels::Sm90a).unwrap()
}

fn emulator(options: Options) -> Gpu<Emulator> {
    hopper(Emulator::new(Options { capability: 90, ..options }).unwrap())
}

/// Our machine, and the card if it is asked for, or nothing is and there is one; a card that is no Hopper is left
/// out (as `support::devices`).
fn devices() -> Vec<Box<dyn Device>> {
    let named = std::env::var("VGG_FT_TEST_DEVICES").unwrap_or_default();
    let mut all: Vec<Box<dyn Device>> = Vec::new();
    if named.is_empty() || named.contains("emulator") {
        all.push(Box::new(emulator(Options::default())));
    }
    if named.contains("cuda") || named.is_empty() && cuda::find().is_ok_and(|found| found.first().is_ok()) {
        let options = cuda::Options { guarded: true, ..cuda::Options::default() };
        let card = Cuda::open(options).unwrap();
        if card.limits().capability == 90 {
            all.push(Box::new(hopper(card)));
        }
    }
    all
}

/// Numbers as they lie in memory, and as factors.
fn numbers(kind: Numbers, seed: u64, len: usize) -> (Data, Vec<f32>) {
    let x: Vec<bf16> = Source::new(seed).f32(kind, len).into_iter().map(bf16::from_f32).collect();
    let factors = x.iter().map(|x| x.to_f32()).collect();
    (Data::Bf16(x), factors)
}

/// An output of activations. Sums of integers are exact, so only the rounding to bf16 remains, and it is
/// known; of reals it is half a unit of eight bits on top of what the sum may be off.
fn output(kind: Numbers, want: &[Near]) -> Output {
    Output { before: None, want: Want::Half(Dtype::Bf16, stored(kind, want)) }
}

fn stored(kind: Numbers, want: &[Near]) -> Vec<Near> {
    let one = |near: &Near| match kind {
        Integers => Near::exactly(bf16::from_f64(near.value).to_f64()),
        Reals => Near { value: near.value, within: near.within + (near.value.abs() + near.within) / 256.0 },
    };
    want.iter().map(one).collect()
}

/// Sums in f32. Tensor cores cut where `Sum::near` counts roundings, but once for sixteen products.
fn sums(kind: Numbers, want: Vec<Near>) -> Vec<Near> {
    match kind {
        Integers => want.into_iter().map(|near| Near::exactly(near.value)).collect(),
        Reals => want,
    }
}

fn cases(kind: Numbers, g: Conv2d) -> Vec<Case> {
    let mut cases = Vec::new();
    let (x_data, x) = numbers(kind, 1, g.x().len());
    let (weight_data, weight) = numbers(kind, 2, g.weight().len());
    let (dy_data, dy) = numbers(kind, 3, g.y().len());
    let (mask_data, mask) = numbers(kind, 4, g.x().len());
    let bias = Source::new(5).f32(kind, g.c_out);
    let title = (kind, g);
    let inputs = || vec![x_data.clone(), weight_data.clone(), bias.clone().into()];
    for relu in [false, true] {
        let want = naive::conv2d_forward(&g, &x, &weight, &bias, relu);
        cases.push(case(
            (title, relu),
            inputs(),
            vec![output(kind, &want)],
            make!([x, weight, bias] => [y], Call::Conv2dForward { geometry: g, x, weight, bias, relu, y }),
        ));
    }
    let want = naive::conv2d_backward_input(&g, &dy, &weight);
    cases.push(case(
        title,
        vec![dy_data.clone(), weight_data.clone()],
        vec![output(kind, &want)],
        make!([dy, weight] => [dx], Call::Conv2dBackwardInput { geometry: g, dy, weight, mask: None, dx }),
    ));
    cases.push(case(
        (title, "mask"),
        vec![dy_data.clone(), weight_data.clone(), mask_data],
        vec![output(kind, &naive::opened(&mask, want))],
        make!([dy, weight, mask] => [dx],
            Call::Conv2dBackwardInput { geometry: g, dy, weight, mask: Some(mask), dx }),
    ));
    cases.push(case(
        title,
        vec![x_data.clone(), dy_data],
        vec![Output::fresh(sums(kind, naive::conv2d_backward_weight(&g, &x, &dy)))],
        make!([x, dy] => [dweight], Call::Conv2dBackwardWeight { geometry: g, x, dy, dweight }),
    ));
    if g.h > 1 && g.w > 1 {
        let z = stored(kind, &naive::conv2d_forward(&g, &x, &weight, &bias, true));
        let (want, winner) = naive::maxpool2d_of(&g.pool(), &z);
        let y = || Output { before: None, want: Want::Half(Dtype::Bf16, want.clone()) };
        cases.push(case(
            (title, "inference"),
            inputs(),
            vec![y()],
            make!([x, weight, bias] => [y],
                Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y, winner: None }),
        ));
        // Of reals the winner is a matter of rounding; integers of bf16 tie after it.
        if kind == Integers {
            cases.push(case(
                (title, "training"),
                inputs(),
                vec![y(), Output::fresh_u8(winner)],
                make!([x, weight, bias] => [y, winner],
                    Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y, winner: Some(winner) }),
            ));
        }
    }
    cases
}

fn all_agree(kind: Numbers) {
    let mut failures = Vec::new();
    let devices = devices();
    for g in CONV2D.iter().map(geometry) {
        for case in cases(kind, g) {
            for device in &devices {
                if let Some(miss) = case.check(&**device) {
                    failures.push(format!("{}: {miss}", case.name(&**device)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn integers_are_exact() {
    all_agree(Integers);
}

#[test]
fn reals_are_near() {
    all_agree(Reals);
}

/// What [`results`] gives.
const RESULTS: [&str; 5] = ["y", "dx", "dweight", "the pool's y", "winner"];

/// What the calls of a convolution write, as bytes.
fn results(device: &dyn Device, kind: Numbers, g: Conv2d) -> Vec<Vec<u8>> {
    let half = |seed, len| {
        let (data, _) = numbers(kind, seed, len);
        data.upload(device)
    };
    let (x, weight, dy) = (half(1, g.x().len()), half(2, g.weight().len()), half(3, g.y().len()));
    let mask = half(4, g.x().len());
    let bias = device.upload(&Source::new(5).f32(kind, g.c_out)).unwrap();
    let fresh = |dtype, len| device.alloc(dtype, len).unwrap();
    let mut y = fresh(Dtype::Bf16, g.y().len());
    let mut dx = fresh(Dtype::Bf16, g.x().len());
    let mut dweight = fresh(Dtype::F32, g.weight().len());
    let mut small = fresh(Dtype::Bf16, g.pool().y().len());
    let mut winner = fresh(Dtype::U8, g.pool().winners());
    for call in [
        Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y },
        Call::Conv2dBackwardInput { geometry: g, dy: &dy, weight: &weight, mask: Some(&mask), dx: &mut dx },
        Call::Conv2dBackwardWeight { geometry: g, x: &x, dy: &dy, dweight: &mut dweight },
        Call::Conv2dMaxpool2dForward {
            geometry: g,
            x: &x,
            weight: &weight,
            bias: &bias,
            y: &mut small,
            winner: Some(&mut winner),
        },
    ] {
        device.run(call).unwrap();
    }
    let bytes = |buffer: &Buffer| {
        let mut to = vec![0; buffer.len() * buffer.dtype().size()];
        device.download_bytes(buffer, &mut to).unwrap();
        to
    };
    [&y, &dx, &dweight, &small, &winner].map(bytes).into()
}

#[test]
fn no_order_changes_a_bit() {
    let base = Options::default();
    for g in [
        Conv2d { n: 1, h: 9, w: 15, c_in: 64, c_out: 64 },
        Conv2d { n: 1, h: 12, w: 11, c_in: 64, c_out: 128 },
    ] {
        let want = results(&emulator(base), Reals, g);
        for options in [
            Options { schedule: Schedule::Reverse, ..base },
            Options { schedule: Schedule::Random(1), ..base },
            Options { schedule: Schedule::Random(2), late_copies: false, ..base },
            Options { late_copies: false, ..base },
            Options { checked: false, ..base },
        ] {
            assert!(results(&emulator(options), Reals, g) == want, "{g:?}, {options:?}");
        }
    }
}

/// VGG16's layers on 150x150, 20 pictures: all tiles, whole waves, tails.
const LAYERS: &[(usize, usize, usize, usize, usize)] = &[
    (20, 150, 150, 64, 64),
    (20, 75, 75, 64, 128),
    (20, 75, 75, 128, 128),
    (20, 37, 37, 128, 256),
    (20, 37, 37, 256, 256),
    (20, 18, 18, 256, 512),
    (20, 18, 18, 512, 512),
    (20, 9, 9, 512, 512),
];

/// On a card alone: for the emulator this is an hour. Sums of whole numbers are exact in any order.
#[test]
fn real_layers_equal_the_portable_kernels() {
    let named = std::env::var("VGG_FT_TEST_DEVICES").unwrap_or_default();
    let there = cuda::find().is_ok_and(|found| found.first().is_ok_and(|card| card.limits.capability == 90));
    if !there || !(named.is_empty() || named.contains("cuda")) {
        eprintln!("no Hopper: left out");
        return;
    }
    let open = || Cuda::open(cuda::Options { guarded: true, ..cuda::Options::default() }).unwrap();
    let portable = Gpu::new(open()).unwrap().with_precision(Precision::Bf16);
    let hopper = hopper(open());
    for g in LAYERS.iter().map(geometry) {
        let [want, got] = [&portable as &dyn Device, &hopper].map(|device| results(device, Integers, g));
        for (name, (got, want)) in RESULTS.iter().zip(got.iter().zip(&want)) {
            let differ = got.iter().zip(want).filter(|(got, want)| got != want).count();
            assert_eq!(differ, 0, "{g:?}: bytes of {name}");
        }
    }
}
