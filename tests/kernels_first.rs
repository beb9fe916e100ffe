//! VGG16's first block in one pass (`kernels/conv2d_sm90_first.cu`): the bits of the calls apart, in every order in which
//! warps may go on, and taken only where it was asked for.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Integers, Numbers, Reals, Source};
use support::half::Half;
use support::tensor_cores;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options, Schedule};
use vgg_ft::device::gpu::module;
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::error::Kind;
use vgg_ft::shape::Conv2d;

/// `(n, h, w)`: tiles are 32 lines of 8 columns.
const SIZES: &[(usize, usize, usize)] = &[
    (1, 2, 2),   // one window; all that is around it is outside
    (1, 3, 5),   // odd ends without a window
    (2, 32, 8),  // a tile each
    (1, 33, 9),  // one past it
    (1, 31, 7),  // one less
    (3, 35, 18), // tiles of several images; elements of lines begin anywhere
    (1, 70, 2),  // a column of tiles
    (5, 4, 31),  // a line of tiles
];

fn geometries(&(n, h, w): &(usize, usize, usize)) -> [Conv2d; 2] {
    [3, 64].map(|c_in| Conv2d { n, h, w, c_in, c_out: 64 })
}

fn emulator(options: Options) -> Gpu<Emulator> {
    tensor_cores::emulator(options, Precision::Bf16, Kernels::Sm90a)
}

/// What both calls read.
struct Inputs {
    geometries: [Conv2d; 2],
    x: Buffer,
    weights: [Buffer; 2],
    biases: [Buffer; 2],
}

impl Inputs {
    /// On a device of bf16; on the cpu the same numbers as f32.
    fn new(device: &dyn Device, kind: Numbers, sizes: &(usize, usize, usize)) -> Self {
        let geometries @ [first, second] = geometries(sizes);
        let numbers = |seed, len| {
            let half = Half(Dtype::Bf16);
            let x = half.rounded(&Source::new(seed).f32(kind, len));
            if device.precision() == Precision::Bf16 {
                half.data(&x).upload(device)
            } else {
                device.upload(&x).unwrap()
            }
        };
        let bias = |seed| device.upload(&Source::new(seed).f32(kind, 64)).unwrap();
        Self {
            geometries,
            x: numbers(1, first.x().len()),
            weights: [numbers(2, first.weight().len()), numbers(3, second.weight().len())],
            biases: [bias(4), bias(5)],
        }
    }

    fn joined<'a>(&'a self, y: &'a mut Buffer) -> Call<'a> {
        Call::Conv2dConv2dMaxpool2dForward {
            geometries: self.geometries,
            x: &self.x,
            weights: self.weights.each_ref(),
            biases: self.biases.each_ref(),
            y,
        }
    }

    /// A `y` that nobody wrote to, on the device.
    fn y(&self, device: &dyn Device) -> Buffer {
        device.alloc(device.precision().activations(), self.geometries[1].pool().y().len()).unwrap()
    }
}

fn bytes(device: &dyn Device, buffer: &Buffer) -> Vec<u8> {
    let mut to = vec![0; buffer.len() * buffer.dtype().size()];
    device.download_bytes(buffer, &mut to).unwrap();
    to
}

fn joined(device: &dyn Device, kind: Numbers, sizes: &(usize, usize, usize)) -> Vec<u8> {
    let inputs = Inputs::new(device, kind, sizes);
    let mut y = inputs.y(device);
    device.run(inputs.joined(&mut y)).unwrap();
    bytes(device, &y)
}

fn apart(device: &dyn Device, kind: Numbers, sizes: &(usize, usize, usize)) -> Vec<u8> {
    let inputs = Inputs::new(device, kind, sizes);
    let [first, second] = inputs.geometries;
    let mut z = device.alloc(device.precision().activations(), first.y().len()).unwrap();
    let mut y = inputs.y(device);
    device
        .run(Call::Conv2dForward {
            geometry: first,
            x: &inputs.x,
            weight: &inputs.weights[0],
            bias: &inputs.biases[0],
            relu: true,
            y: &mut z,
        })
        .unwrap();
    device
        .run(Call::Conv2dMaxpool2dForward {
            geometry: second,
            x: &z,
            weight: &inputs.weights[1],
            bias: &inputs.biases[1],
            y: &mut y,
            winner: None,
        })
        .unwrap();
    bytes(device, &y)
}

/// Those apart are held to naive loops (tests/kernels_sm90.rs and tests/kernels_mma.rs). Sums of the first convolution
/// take the same 32 products in two steps of 16, whose order within a step Hopper's unit does not see.
#[test]
fn the_bits_are_those_of_the_calls_apart() {
    let mut devices = tensor_cores::devices(Precision::Bf16, Kernels::Sm90a);
    devices.extend(tensor_cores::devices(Precision::Bf16, Kernels::Portable));
    devices.push(Box::new(CpuDevice::new(None).unwrap()));
    for device in &devices {
        for sizes in SIZES {
            for (name, kind) in [("integers", Integers), ("reals", Reals)] {
                let (got, want) = (joined(&**device, kind, sizes), apart(&**device, kind, sizes));
                let differ = got.iter().zip(&want).filter(|(got, want)| got != want).count();
                assert_eq!(
                    differ,
                    0,
                    "{}, {sizes:?}, {name}: of {} bytes",
                    device.describe().name,
                    want.len()
                );
                assert!(want.iter().any(|&byte| byte != 0));
            }
        }
    }
}

/// A pixel that is not finite reaches the windows that see it, and no other: what a lane reads besides its own pixels it
/// multiplies by nothing. In the middle, at corners, where tiles meet, and in another image than the next one's first.
#[test]
fn what_is_not_finite_stays_where_it_belongs() {
    let sizes @ (n, h, w) = (2, 36, 11);
    let bad = |number: &[u8]| u16::from_le_bytes([number[0], number[1]]) & 0x7fff;
    for device in tensor_cores::devices(Precision::Bf16, Kernels::Sm90a) {
        let device = &*device;
        for (line, column) in [(17, 4), (0, 0), (35, 10), (32, 8), (31, 7)] {
            for value in [f32::NAN, f32::INFINITY] {
                let mut inputs = Inputs::new(device, Reals, &sizes);
                let mut pixels = Half(Dtype::Bf16).rounded(&Source::new(1).f32(Reals, n * h * w * 3));
                pixels[(line * w + column) * 3..][..3].fill(value);
                inputs.x = Half(Dtype::Bf16).data(&pixels).upload(device);
                let mut y = inputs.y(device);
                device.run(inputs.joined(&mut y)).unwrap();
                for (at, number) in bytes(device, &y).chunks_exact(2).enumerate() {
                    let (pixel, filter) = (at / 64, at % 64);
                    let (i, j) = (pixel / (w / 2), pixel % (w / 2));
                    // The second map's pixels see two around theirs; lines of the second image go on behind the first's.
                    let near = |at: usize, window: usize| {
                        (2 * window).abs_diff(at) <= 2 || (2 * window + 1).abs_diff(at) <= 2
                    };
                    let sees = i < h / 2 && near(line, i) && near(column, j);
                    let place = format!("{value} at ({line}, {column}): window ({i}, {j}), filter {filter}");
                    assert!(sees || bad(number) < 0x7f80, "{place} is not finite");
                    // What is infinite may have been below zero, and ReLU's.
                    assert!(!sees || value.is_infinite() || bad(number) > 0x7f80, "{place} is a number");
                }
            }
        }
    }
}

/// On a GPU alone, where a block does fifteen tiles: boxes, patch, results and turns go round and round.
#[test]
fn a_whole_batch_has_the_bits_of_the_calls_apart() {
    for card in tensor_cores::cards(Precision::Bf16, Kernels::Sm90a) {
        for sizes in [(20, 150, 150), (3, 224, 224), (530, 2, 2)] {
            for kind in [Integers, Reals] {
                assert!(joined(&*card, kind, &sizes) == apart(&*card, kind, &sizes), "{sizes:?}");
            }
        }
    }
}

#[test]
fn no_order_changes_a_bit() {
    let base = Options::default();
    let sizes = (2, 35, 18);
    let want = joined(&emulator(base), Reals, &sizes);
    for options in [
        Options { schedule: Schedule::Reverse, ..base },
        Options { schedule: Schedule::Random(1), ..base },
        Options { schedule: Schedule::Random(2), late_copies: false, ..base },
        Options { checked: false, ..base },
    ] {
        assert!(joined(&emulator(options), Reals, &sizes) == want, "{options:?}");
    }
}

/// Where Hopper's kernels are taken, and not of other sizes.
#[test]
fn who_takes_it() {
    let plan = |kernels| {
        let plan = Gpu::new(Plan::new(Card::named("h200").unwrap())).unwrap();
        plan.with_precision(Precision::Bf16).with_kernels(kernels).unwrap()
    };
    let block = geometries(&(20, 150, 150));
    assert!(plan(Kernels::Sm90a).joins(block) && plan(Kernels::Auto).joins(block));
    let name = "conv2d_conv2d_maxpool2d_forward_sm90_64x8x32";
    assert!(module::find(name, 90).unwrap().1.awaits, "it may begin early");
    assert!(!plan(Kernels::Portable).joins(block));
    assert!(!CpuDevice::new(None).unwrap().joins(block));
    let [first, second] = block;
    for other in [
        [first, Conv2d { c_out: 128, ..second }],
        [Conv2d { c_in: 4, ..first }, second],
        [second, second],
        [first, Conv2d { w: 149, ..second }],
    ] {
        assert!(!plan(Kernels::Sm90a).joins(other), "{other:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let sizes = (1, 4, 4);
    let gpu = emulator(Options::default());
    for (name, which) in ["x", "first_weight", "weight", "first_bias", "bias", "y"]
        .into_iter()
        .enumerate()
        .map(|(k, n)| (n, k))
    {
        let mut inputs = Inputs::new(&gpu, Integers, &sizes);
        let mut y = inputs.y(&gpu);
        let buffer = match which {
            0 => &mut inputs.x,
            1 | 2 => &mut inputs.weights[which - 1],
            3 | 4 => &mut inputs.biases[which - 3],
            _ => &mut y,
        };
        *buffer = gpu.alloc(buffer.dtype(), buffer.len() + 1).unwrap();
        let error = gpu.run(inputs.joined(&mut y)).unwrap_err();
        let said = format!("conv2d_conv2d_maxpool2d_forward: `{name}` ");
        assert!(error.kind() == Kind::Device && error.message().starts_with(&said), "{error}");
    }
}
