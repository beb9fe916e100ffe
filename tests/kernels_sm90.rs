//! Hopper's convolutions of bf16 and tf32 against naive loops over the rounded factors; and what their kernels owe
//! besides: the same bits in every order in which warps may go on, and those of the portable kernels where sums are
//! exact.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Integers, Numbers, Reals, Source};
use support::tensor_cores::{self, HOPPER, Sizes, cases_like, geometry, numbers};
use vgg_ft::device::call::Rmsprop;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::emulator::{Emulator, Options, Schedule};
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::error::Kind;
use vgg_ft::shape::Conv2d;

const FORMATS: [Precision; 2] = [Precision::Bf16, Precision::Tf32];

fn emulator(options: Options, precision: Precision) -> Gpu<Emulator> {
    tensor_cores::emulator(options, precision, Kernels::Sm90a)
}

fn all_agree(precision: Precision, kind: Numbers) {
    let devices = tensor_cores::devices(precision, Kernels::Sm90a);
    tensor_cores::all_agree(&devices, HOPPER, precision, kind);
}

#[test]
fn bf16_integers_are_exact() {
    all_agree(Precision::Bf16, Integers);
}

#[test]
fn bf16_reals_are_near() {
    all_agree(Precision::Bf16, Reals);
}

#[test]
fn tf32_integers_are_exact() {
    all_agree(Precision::Tf32, Integers);
}

#[test]
fn tf32_reals_are_near() {
    all_agree(Precision::Tf32, Reals);
}

/// 1 + 3·2^-12 is nearer to 1 + 2^-10 than to 1, to which tensor cores cut it. Cut factors err by up to 2^-10, always
/// towards zero, and a sum of many errs by as much; rounded ones err by 2^-11, and their errors cancel. Sums are exact:
/// multiples of 2^-10 below 2^10.
#[test]
fn factors_of_tf32_are_rounded_not_cut() {
    let (odd, near) = (1.0 + 3.0 * 2f32.powi(-12), 1.0 + 2f32.powi(-10));
    let g = Conv2d { n: 1, h: 3, w: 3, c_in: 64, c_out: 64 };
    for kernels in [Kernels::Portable, Kernels::Sm90a] {
        for device in tensor_cores::devices(Precision::Tf32, kernels) {
            let device = &*device;
            let all = |value: f32, len: usize| device.upload(&vec![value; len]).unwrap();
            let bias = all(0.0, 64);
            for [source, weight] in [[odd, 1.0], [1.0, odd], [-odd, 1.0]] {
                let want = 576.0 * near * source.signum();
                let (x, weight) = (all(source, g.x().len()), all(weight, g.weight().len()));
                let [mut y, mut dx] = [g.y().len(), g.x().len()].map(|len| device.zeros(len).unwrap());
                for call in [
                    Call::Conv2dForward {
                        geometry: g,
                        x: &x,
                        weight: &weight,
                        bias: &bias,
                        relu: false,
                        y: &mut y,
                    },
                    Call::Conv2dBackwardInput {
                        geometry: g,
                        dy: &x,
                        weight: &weight,
                        mask: None,
                        dx: &mut dx,
                    },
                ] {
                    device.run(call).unwrap();
                }
                for buffer in [&y, &dx] {
                    // The pixel in the middle sees all nine taps.
                    let got = device.download::<f32>(buffer).unwrap();
                    assert_eq!(got[4 * 64..5 * 64], [want; 64], "{kernels}, {source}");
                }
            }
        }
    }
}

/// What [`results`] gives.
const RESULTS: [&str; 8] =
    ["y", "dx", "dweight", "dbias", "the pool's y", "winner", "the stepped weight", "its mean square"];

/// What the calls of a convolution write, as bytes.
fn results(device: &dyn Device, kind: Numbers, g: Conv2d) -> Vec<Vec<u8>> {
    let (precision, dtype) = (device.precision(), device.precision().activations());
    let half = |seed, len| {
        let (data, _) = numbers(precision, kind, seed, len);
        data.upload(device)
    };
    let (x, weight, dy) = (half(1, g.x().len()), half(2, g.weight().len()), half(3, g.y().len()));
    let mask = half(4, g.x().len());
    let bias = device.upload(&Source::new(5).f32(kind, g.c_out)).unwrap();
    let fresh = |dtype, len| device.alloc(dtype, len).unwrap();
    let mut y = fresh(dtype, g.y().len());
    let mut dx = fresh(dtype, g.x().len());
    let mut dweight = fresh(Dtype::F32, g.weight().len());
    let mut dbias = fresh(Dtype::F32, g.c_out);
    let (mut velocity, mut stepped) =
        (device.zeros(g.weight().len()).unwrap(), device.zeros(g.weight().len()).unwrap());
    let mut small = fresh(dtype, g.pool().y().len());
    let mut winner = fresh(Dtype::U8, g.pool().winners());
    for call in [
        Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y },
        Call::Conv2dBackwardInput { geometry: g, dy: &dy, weight: &weight, mask: Some(&mask), dx: &mut dx },
        Call::Conv2dBackwardWeight {
            geometry: g,
            x: &x,
            dy: &dy,
            dweight: &mut dweight,
            dbias: Some(&mut dbias),
        },
        Call::Conv2dRmspropStep {
            geometry: g,
            rule: Rmsprop::default(),
            x: &x,
            dy: &dy,
            velocity: &mut velocity,
            weight: &mut stepped,
            shadow: None,
            dbias: None,
        },
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
    [&y, &dx, &dweight, &dbias, &small, &winner, &stepped, &velocity].map(bytes).into()
}

/// A wrong length, and another device's memory, is refused by the buffer's name before anything runs; also where there is
/// nothing to do, as for a pool of one line.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let make = |precision| {
        let plan = Gpu::new(Plan::new(Card::named("h100").unwrap())).unwrap();
        plan.with_precision(precision).with_kernels(Kernels::Sm90a).unwrap()
    };
    for precision in FORMATS {
        let (gpu, other) = (make(precision), make(precision));
        let device: &dyn Device = &gpu;
        let mut refused = 0;
        // Pools of their own, from a halo, behind the map, of nothing.
        for g in [(1, 4, 4, 64, 64), (1, 4, 4, 256, 256), (1, 1, 5, 64, 64), (1, 5, 1, 256, 256)] {
            let g = geometry(&g);
            for case in cases_like(precision, g) {
                for which in 0..case.inputs.len() + case.outputs.len() {
                    for foreign in [false, true] {
                        let (mut inputs, mut outputs) = case.buffers(device);
                        let all = inputs.len();
                        let buffer = if which < all { &mut inputs[which] } else { &mut outputs[which - all] };
                        if foreign && buffer.is_empty() {
                            continue;
                        }
                        *buffer = if foreign {
                            other.alloc(buffer.dtype(), buffer.len()).unwrap()
                        } else {
                            device.alloc(buffer.dtype(), buffer.len() + 1).unwrap()
                        };
                        let call = (case.make)(&inputs, &mut outputs);
                        let name = call.name();
                        let error = device.run(call).unwrap_err();
                        let (message, text) = (error.message(), error.to_string());
                        let said = if foreign {
                            text.contains("while opening `") && text.contains(&format!("of {name}"))
                        } else {
                            message.starts_with(&format!("{name}: `")) && message.ends_with("does not fit")
                        };
                        assert!(error.kind() == Kind::Device && said, "{precision} {g:?}, {which}: {error}");
                        refused += 1;
                    }
                }
            }
        }
        assert_eq!(gpu.driver().take().launches().count(), 0);
        assert!(refused > 100, "{refused}");
    }
}

/// A GPU that has none of these kernels, and numbers that they do not multiply.
#[test]
fn what_they_do_not_run_on_is_refused() {
    let ask = |capability, precision| {
        let emulator = Emulator::new(Options { capability, ..Options::default() }).unwrap();
        let gpu = Gpu::new(emulator).unwrap().with_precision(precision);
        gpu.with_kernels(Kernels::Sm90a).err().unwrap()
    };
    for (capability, precision) in [80, 89, 100, 120].into_iter().flat_map(|c| FORMATS.map(|p| (c, p))) {
        let error = ask(capability, precision);
        let text = error.to_string();
        let numbers = [
            "expected  compute capability 9.0".to_owned(),
            format!("got       {}.{}", capability / 10, capability % 10),
        ];
        assert!(error.kind() == Kind::Usage && numbers.iter().all(|part| text.contains(part)), "{text}");
    }
    for precision in Precision::ALL.into_iter().filter(|precision| !FORMATS.contains(precision)) {
        let error = ask(90, precision);
        assert!(error.kind() == Kind::Usage && error.to_string().contains(precision.name()), "{error}");
    }
}

/// Tiles of 128 filters and half of one; as many column tiles as there are steps, and more.
#[test]
fn a_step_of_the_weight_equals_its_halves() {
    for precision in FORMATS {
        for device in tensor_cores::devices(precision, Kernels::Sm90a) {
            for g in [(1, 9, 9, 64, 128), (1, 4, 70, 128, 192), (2, 13, 10, 64, 64), (1, 1, 1, 64, 128)] {
                tensor_cores::step_equals_its_halves(&*device, precision, geometry(&g));
            }
        }
    }
}

#[test]
fn no_order_changes_a_bit() {
    let base = Options::default();
    let geometries = [
        Conv2d { n: 1, h: 9, w: 15, c_in: 64, c_out: 64 },
        Conv2d { n: 1, h: 12, w: 11, c_in: 64, c_out: 128 },
    ];
    for (precision, g) in FORMATS.into_iter().flat_map(|precision| geometries.map(|g| (precision, g))) {
        let want = results(&emulator(base, precision), Reals, g);
        for options in [
            Options { schedule: Schedule::Reverse, ..base },
            Options { schedule: Schedule::Random(1), ..base },
            Options { schedule: Schedule::Random(2), late_copies: false, ..base },
            Options { late_copies: false, ..base },
            Options { checked: false, ..base },
        ] {
            assert!(
                results(&emulator(options, precision), Reals, g) == want,
                "{precision} {g:?}, {options:?}"
            );
        }
    }
}

/// VGG16's layers on 150x150, 20 images: all tiles, whole waves, tails.
pub const LAYERS: &[Sizes] = &[
    (20, 150, 150, 64, 64),
    (20, 75, 75, 64, 128),
    (20, 75, 75, 128, 128),
    (20, 37, 37, 128, 256),
    (20, 37, 37, 256, 256),
    (20, 18, 18, 256, 512),
    (20, 18, 18, 512, 512),
    (20, 9, 9, 512, 512),
];

/// On a GPU alone: for the emulator this is an hour. Sums of whole numbers are exact in any order.
#[test]
fn real_layers_equal_the_portable_kernels() {
    let named = std::env::var("VGG_FT_TEST_DEVICES").unwrap_or_default();
    let there = cuda::find().is_ok_and(|found| found.first().is_ok_and(|card| card.limits.capability == 90));
    if !there || !(named.is_empty() || named.contains("cuda")) {
        skipped!("no Hopper GPU");
        return;
    }
    let open = || Cuda::open(cuda::Options { guarded: true, ..cuda::Options::default() }).unwrap();
    for precision in FORMATS {
        let portable = Gpu::new(open()).unwrap().with_precision(precision);
        let hopper = tensor_cores::working(open(), precision, Kernels::Sm90a);
        for g in LAYERS.iter().map(geometry) {
            let [want, got] = [&portable as &dyn Device, &hopper].map(|device| results(device, Integers, g));
            for (name, (got, want)) in RESULTS.iter().zip(got.iter().zip(&want)) {
                let differ = got.iter().zip(want).filter(|(got, want)| got != want).count();
                assert_eq!(differ, 0, "{precision} {g:?}: bytes of {name}");
            }
        }
    }
}
