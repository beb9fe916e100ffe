//! Kernels of sm_90a on the emulator: whole kernels of nvcc's against naive loops.
//!
//! `tests/ptx/hopper/*.ptx` are made of the `.cu` beside them by `tests/ptx/make_hopper.py`. Inputs are small
//! whole numbers, so that every sum is exact in f32 whatever its order, and results are compared bit for bit.
//! Single instructions: `tests/ptx/forms/hopper.ptx`; kernels that are wrong: `tests/ptx_wrong.rs`.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[path = "ptx/machine.rs"]
mod machine;

use machine::{Machine, folder};
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::{Address, Driver};
use vgg_ft::device::gpu::emulator::{Options, Schedule};
use vgg_ft::device::gpu::launch::Arg;
use vgg_ft::device::gpu::tensor_map::{Swizzle, TensorMap};

fn bf16(value: f32) -> u16 {
    assert!(value.is_finite());
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn wide(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

fn bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn halves(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|two| u16::from_le_bytes(*two)).collect()
}

/// Whole numbers from -3 to 3.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) % 7
    };
    (0..count).map(|_| next() as f32 - 3.0).collect()
}

struct Conv {
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    k: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Conv {
    fn new([n, h, w, c, k]: [usize; 5]) -> Self {
        let (x, weight, bias) = (numbers(n * h * w * c, 1), numbers(k * 9 * c, 2), numbers(k, 3));
        Self { n, h, w, c, k, x, weight, bias }
    }

    fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }

    /// relu(bias + Σ x · weight), 3x3, padded with zeros; NHWC, weights (K, 3, 3, C).
    fn naive(&self) -> Vec<u16> {
        let Self { h, w, c, k, .. } = *self;
        let mut out = Vec::new();
        for pixel in 0..self.pixels() {
            let (image, y, x) = (pixel / (h * w), pixel / w % h, pixel % w);
            for o in 0..k {
                let mut sum = self.bias[o];
                for tap in 0..9 {
                    let (yy, xx) = ((y + tap / 3).wrapping_sub(1), (x + tap % 3).wrapping_sub(1));
                    if yy < h && xx < w {
                        let at = ((image * h + yy) * w + xx) * c;
                        let weights = &self.weight[(o * 9 + tap) * c..][..c];
                        sum += self.x[at..at + c].iter().zip(weights).map(|(x, w)| x * w).sum::<f32>();
                    }
                }
                out.push(bf16(sum.max(0.0)));
            }
        }
        out
    }
}

fn rounded(values: &[f32]) -> Vec<u8> {
    bytes(&values.iter().map(|&value| bf16(value)).collect::<Vec<_>>())
}

fn load(options: Options, file: &str) -> Machine {
    let text = std::fs::read_to_string(folder("hopper").join(file)).unwrap();
    Machine::new(options, &format!("tests/ptx/hopper/{file}"), &text).unwrap()
}

fn buffer(machine: &Machine, dtype: Dtype, bytes: &[u8]) -> Address {
    let at = machine.emulator.alloc(dtype, bytes.len() / dtype.size()).unwrap();
    machine.emulator.write(at, bytes).unwrap();
    at
}

fn tensor(machine: &Machine, name: &'static str, map: &TensorMap) -> Arg {
    let bytes = machine.emulator.tensor_map(map).unwrap().to_vec();
    let len = map.sizes().iter().product::<u64>() as usize;
    Arg::Tensor { name, bytes, at: map.base(), dtype: map.dtype(), len }
}

fn pointer(name: &'static str, at: Address, dtype: Dtype, len: usize) -> Arg {
    Arg::Pointer { name, at, dtype, len }
}

fn int(name: &'static str, value: usize) -> Arg {
    Arg::value(name, &(value as u32))
}

/// Pixels of a convolution: (C, W, H, N), 64 channels a box.
fn pixel_map(conv: &Conv, at: Address, c: usize, pixels: u32) -> TensorMap {
    let sizes = [c, conv.w, conv.h, conv.n].map(|size| size as u64);
    let strides = [c, conv.w * c, conv.h * conv.w * c].map(|elements| 2 * elements as u64);
    let corner = [-1, -1];
    TensorMap::im2col(Dtype::Bf16, at, &sizes, &strides, &corner, &corner, [64, pixels], Swizzle::B128)
        .unwrap()
}

/// A matrix of bf16, its rows 128 bytes of a box.
fn matrix_map(at: Address, rows: usize, columns: usize, window: [u32; 2]) -> TensorMap {
    let (sizes, strides) = ([columns as u64, rows as u64], [2 * columns as u64]);
    TensorMap::tile(Dtype::Bf16, at, &sizes, &strides, &window, Swizzle::B128).unwrap()
}

fn fprop(options: Options, entry: &str, conv: &Conv, (bn, stages): (usize, usize), grid: u32) -> Vec<u16> {
    let machine = load(options, "fprop.ptx");
    let (pixels, k) = (conv.pixels(), conv.k);
    let x = buffer(&machine, Dtype::Bf16, &rounded(&conv.x));
    let weight = buffer(&machine, Dtype::Bf16, &rounded(&conv.weight));
    let bias: Vec<u8> = conv.bias.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bias = buffer(&machine, Dtype::F32, &bias);
    let y = machine.emulator.alloc(Dtype::Bf16, pixels * k).unwrap();
    let tiles_m = pixels.div_ceil(128);
    let args = vec![
        tensor(&machine, "x", &pixel_map(conv, x, conv.c, 128)),
        tensor(&machine, "weight", &matrix_map(weight, k, 9 * conv.c, [64, bn as u32])),
        pointer("bias", bias, Dtype::F32, k),
        pointer("y", y, Dtype::Bf16, pixels * k),
        int("h", conv.h),
        int("w", conv.w),
        int("c", conv.c),
        int("k", k),
        int("m", pixels),
        int("tiles_m", tiles_m),
        int("tiles", tiles_m * k.div_ceil(bn)),
    ];
    let shared = stages * (128 + bn) * 128;
    machine.launch(entry, grid, [384, 1, 1], shared as u32, args).unwrap_or_else(|error| panic!("{error}"));
    halves(&machine.download(y, 2 * pixels * k))
}

/// Checked and not, late and early, in every order.
fn machines() -> Vec<Options> {
    let base = Options { threads: Some(1), budget: 20_000_000, ..Options::default() };
    vec![
        base,
        Options { late_copies: false, ..base },
        Options { schedule: Schedule::Reverse, ..base },
        Options { schedule: Schedule::Random(7), late_copies: false, ..base },
        Options { schedule: Schedule::Random(8), ..base },
        Options { checked: false, ..base },
    ]
}

fn same(got: &[u16], want: &[u16], what: &str) {
    let differ = got.iter().zip(want).position(|(got, want)| got != want);
    if let Some(at) = differ {
        let count = got.iter().zip(want).filter(|(got, want)| got != want).count();
        panic!("{what}: element {at}: expected {}, got {}; {count} differ", wide(want[at]), wide(got[at]));
    }
    assert_eq!(got.len(), want.len(), "{what}");
}

#[test]
fn a_convolution_by_tma_and_wgmma_is_the_naive_one() {
    // Pixels that fill no tile, two tiles of channels, a block that does several tiles.
    let conv = Conv::new([2, 9, 7, 64, 128]);
    let want = conv.naive();
    for options in machines() {
        let got = fprop(options, "fprop_2x64", &conv, (64, 4), 1);
        same(&got, &want, &format!("fprop_2x64, {options:?}"));
    }
    let conv = Conv::new([1, 5, 6, 128, 256]);
    let got = fprop(machines()[0], "fprop_2x256", &conv, (256, 3), 2);
    same(&got, &conv.naive(), "fprop_2x256");
}
