//! Kernels of sm_90a on the emulator: whole kernels of nvcc's against naive loops.
//!
//! `tests/ptx/hopper/*.ptx` are made of the `.cu` beside them by `tests/ptx/make_hopper.py`. Inputs are small
//! whole numbers, so that every sum is exact in f32 whatever its order, and results are compared bit for bit.
//! Kernels that are wrong: `tests/ptx_wrong.rs`.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::machine;

use machine::{Machine, folder};
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::{Address, Driver};
use vgg_ft::device::gpu::emulator::{Options, Schedule, Tensor};
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

/// The multiplication's entries, with what lies innermost of a and b: k, or m and n.
const PRODUCTS: [(&str, bool, bool); 4] = [
    ("product_kk", false, false),
    ("product_kn", false, true),
    ("product_mk", true, false),
    ("product_mn", true, true),
];

const SWIZZLES: [(Swizzle, u32); 4] =
    [(Swizzle::None, 16), (Swizzle::B32, 32), (Swizzle::B64, 64), (Swizzle::B128, 128)];

/// c = a · b of 64 x 64 numbers in `dtype`, rows of `64` bytes of k each for tf32.
fn product(options: Options, entry: &str, dtype: Dtype, [a, b]: [&[u8]; 2], at: (Swizzle, u32)) -> Vec<f32> {
    let machine = load(options, "product.ptx");
    let size = dtype.size();
    let columns = a.len() / 64 / size;
    let (swizzle, span) = at;
    let map = |name: &'static str, bytes: &[u8]| {
        let at = buffer(&machine, dtype, bytes);
        let (sizes, strides) = ([columns as u64, 64], [(columns * size) as u64]);
        let window = [span / size as u32, 64];
        tensor(&machine, name, &TensorMap::tile(dtype, at, &sizes, &strides, &window, swizzle).unwrap())
    };
    let c = machine.emulator.alloc(Dtype::F32, 64 * 64).unwrap();
    let args = vec![map("a", a), map("b", b), pointer("c", c, Dtype::F32, 4096), int("span", span as usize)];
    machine.launch(entry, 1, [128, 1, 1], 0, args).unwrap_or_else(|error| panic!("{error}"));
    let bytes = machine.download(c, 4 * 4096);
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// `matrix`'s rows as its columns.
fn turned(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// a (64 x k) times b (64 x k) turned.
fn multiplied(a: &[f32], b: &[f32], k: usize) -> Vec<f32> {
    let dot = |m: usize, n: usize| (0..k).map(|i| a[m * k + i] * b[n * k + i]).sum();
    (0..4096).map(|i| dot(i / 64, i % 64)).collect()
}

#[test]
fn wgmma_reads_what_tma_wrote_in_every_layout() {
    let (a, b) = (numbers(4096, 4), numbers(4096, 5));
    let want = multiplied(&a, &b, 64);
    for (entry, turns_a, turns_b) in PRODUCTS {
        let lies =
            |matrix: &[f32], turns: bool| rounded(&if turns { turned(matrix, 64) } else { matrix.to_vec() });
        for at in SWIZZLES {
            for options in machines() {
                let got = product(options, entry, Dtype::Bf16, [&lies(&a, turns_a), &lies(&b, turns_b)], at);
                assert!(got == want, "{entry}, {at:?}, {options:?}");
            }
        }
    }
    let exact = Options { tensor: Tensor::Hopper, ..machines()[0] };
    let pair = [&rounded(&a)[..], &rounded(&b)];
    assert!(product(exact, "product_kk", Dtype::Bf16, pair, SWIZZLES[3]) == want, "Tensor::Hopper");
    let got = product(machines()[0], "product_negated", Dtype::Bf16, pair, SWIZZLES[3]);
    let negated = got.iter().map(|value| -value).collect::<Vec<_>>();
    // 0 - 0 is 0 too.
    assert!(negated == want, "product_negated");
}

#[test]
fn wgmma_multiplies_f16_and_tf32() {
    let (a, b) = (numbers(4096, 6), numbers(4096, 7));
    // Whole numbers up to 3 as IEEE's half.
    let half =
        |value: f32| [0u16, 0x3c00, 0x4000, 0x4200][value.abs() as usize] | u16::from(value < 0.0) << 15;
    let halves = |matrix: &[f32]| bytes(&matrix.iter().map(|&value| half(value)).collect::<Vec<_>>());
    let got = product(machines()[0], "product_f16", Dtype::F16, [&halves(&a), &halves(&b)], SWIZZLES[3]);
    assert!(got == multiplied(&a, &b, 64), "f16");
    let (a, b) = (numbers(64 * 32, 8), numbers(64 * 32, 9));
    // The 13 lowest bits are not read.
    let words = |matrix: &[f32]| -> Vec<u8> {
        matrix
            .iter()
            .flat_map(|value| (value.to_bits() | (u32::from(*value != 0.0) * 0x1fff)).to_le_bytes())
            .collect()
    };
    for at in SWIZZLES {
        let got = product(machines()[1], "product_tf32", Dtype::F32, [&words(&a), &words(&b)], at);
        assert!(got == multiplied(&a, &b, 32), "tf32, {at:?}");
    }
}

/// Where byte `at` of a box lies in shared memory that begins at a multiple of 1024: chunks of 16 bytes change
/// places within a row of `span` bytes, by the number of the 128 bytes that the row lies in.
fn swizzled(at: usize, span: u32) -> usize {
    let (chunk, rest) = (at / 16, at % 16);
    let wide = (span / 16) as usize;
    let key = (at / 128) % wide;
    let within = chunk % wide;
    (chunk - within + (within ^ key)) * 16 + rest
}

/// A tensor of u16 that counts, with a gap behind every row, so that strides are no products of sizes.
struct Counted {
    sizes: Vec<usize>,
    strides: Vec<u64>,
}

impl Counted {
    fn new(sizes: &[usize]) -> Self {
        let mut strides = Vec::new();
        let mut bytes = 2 * sizes[0] as u64;
        for &size in &sizes[1..] {
            bytes = bytes.next_multiple_of(16) + 16;
            strides.push(bytes);
            bytes *= size as u64;
        }
        Self { sizes: sizes.to_vec(), strides }
    }

    /// The element's number in memory; none outside.
    fn element(&self, at: &[i64]) -> Option<usize> {
        let inside = at.iter().zip(&self.sizes).all(|(&at, &size)| (0..size as i64).contains(&at));
        let outer: u64 = at[1..].iter().zip(&self.strides).map(|(&at, stride)| at as u64 * stride / 2).sum();
        inside.then(|| at[0] as usize + outer as usize)
    }

    fn len(&self) -> usize {
        let last: Vec<i64> = self.sizes.iter().map(|&size| size as i64 - 1).collect();
        self.element(&last).unwrap() + 1
    }

    fn sizes(&self) -> Vec<u64> {
        self.sizes.iter().map(|&size| size as u64).collect()
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Place {
    at: [i32; 5],
    offset: [i32; 3],
}

fn place(at: &[i64], offset: &[i32]) -> Place {
    let filled = |k: usize| at.get(k).map_or(0, |&at| at as i32);
    let offset = std::array::from_fn(|k| offset.get(k).copied().unwrap_or(0));
    Place { at: std::array::from_fn(filled), offset }
}

/// The bytes of shared memory after a load of `tensor`'s numbers (element k holds k + 1).
fn loaded(
    options: Options,
    entry: &str,
    len: usize,
    make: impl Fn(Address) -> TensorMap,
    p: Place,
) -> Vec<u16> {
    let machine = load(options, "copy.ptx");
    let numbers: Vec<u16> = (0..len).map(|k| k as u16 + 1).collect();
    let x = buffer(&machine, Dtype::F16, &bytes(&numbers));
    let map = make(x);
    let count = map.bytes();
    let out = machine.upload(&vec![0xa5; count as usize]);
    let args = vec![
        tensor(&machine, "x", &map),
        Arg::value("p", &p),
        pointer("out", out, Dtype::U8, count as usize),
        Arg::value("bytes", &count),
    ];
    machine.launch(entry, 1, [64, 1, 1], count, args).unwrap_or_else(|error| panic!("{entry}: {error}"));
    halves(&machine.download(out, count as usize))
}

/// A box's coordinates one after the other, innermost fastest.
fn each(window: &[usize], mut visit: impl FnMut(usize, &[i64])) {
    for number in 0..window.iter().product() {
        let (mut rest, mut at) = (number, Vec::new());
        for &extent in window {
            at.push((rest % extent) as i64);
            rest /= extent;
        }
        visit(number, &at);
    }
}

const TILES: [(&[usize], &[usize], &[i64]); 7] = [
    (&[100], &[32], &[8]),
    (&[100], &[64], &[72]),
    (&[40, 9], &[16, 8], &[8, 3]),
    (&[40, 9], &[8, 12], &[-3, -2]),
    (&[24, 5, 4], &[16, 4, 3], &[16, -1, 2]),
    (&[24, 5, 4, 3], &[8, 3, 2, 2], &[20, 3, -1, 2]),
    (&[16, 3, 4, 3, 2], &[8, 2, 3, 2, 2], &[4, 2, -1, 1, 1]),
];

#[test]
fn boxes_of_one_to_five_dimensions_are_loaded_with_zeros_outside() {
    for (sizes, window, at) in TILES {
        let tensor = Counted::new(sizes);
        for (swizzle, span) in SWIZZLES {
            if swizzle != Swizzle::None && 2 * window[0] > span as usize {
                continue;
            }
            let extents: Vec<u32> = window.iter().map(|&extent| extent as u32).collect();
            let make = |x| {
                TensorMap::tile(Dtype::F16, x, &tensor.sizes(), &tensor.strides, &extents, swizzle).unwrap()
            };
            let entry = format!("load_{}d", sizes.len());
            let mut want = vec![0; window.iter().product()];
            each(window, |number, offset| {
                let here: Vec<i64> = at.iter().zip(offset).map(|(at, offset)| at + offset).collect();
                want[swizzled(2 * number, span) / 2] = tensor.element(&here).map_or(0, |k| k as u16 + 1);
            });
            for options in &machines()[..2] {
                let got = loaded(*options, &entry, tensor.len(), make, place(at, &[]));
                assert!(got == want, "{entry} {sizes:?} {window:?} {at:?} {swizzle:?}\n{got:?}\n{want:?}");
            }
        }
    }
}

#[test]
fn pixels_of_a_convolution_are_gathered_as_loops_would() {
    // Sizes (C, W, H, D, N), corners, channels and pixels, coordinates, offsets.
    type Pixels =
        (&'static [usize], &'static [i32], &'static [i32], [u32; 2], &'static [i64], &'static [i32]);
    let all: [Pixels; 6] = [
        (&[16, 7, 3], &[-1], &[-1], [16, 20], &[0, -1, 0], &[2]),
        (&[16, 5, 4, 3], &[-1, -1], &[-1, -1], [16, 40], &[0, -1, -1, 0], &[0, 0]),
        (&[16, 5, 4, 3], &[-1, -1], &[-1, -1], [16, 40], &[0, 2, 1, 1], &[2, 1]),
        // Channels beyond the last, images beyond the last.
        (&[24, 5, 4, 2], &[-1, -1], &[-1, -1], [16, 33], &[16, 3, 2, 1], &[1, 2]),
        // A box without padding of a 2x2 filter: fewer base pixels than pixels.
        (&[8, 6, 5, 2], &[0, 0], &[-1, -1], [8, 37], &[0, 0, 0, 0], &[1, 1]),
        (&[8, 3, 4, 3, 2], &[-1, -1, -1], &[-1, -1, -1], [8, 70], &[0, -1, 0, 1, 0], &[2, 0, 1]),
    ];
    for (sizes, lower, upper, [channels, pixels], at, offset) in all {
        let tensor = Counted::new(sizes);
        let spatial = lower.len();
        let mut want = vec![0; (channels * pixels) as usize];
        // Base pixels in order, from the one at `at` on.
        let mut here = at.to_vec();
        for row in 0..pixels as usize {
            for c in 0..channels as usize {
                let mut element = here.clone();
                element[0] += c as i64;
                (0..spatial).for_each(|k| element[k + 1] += i64::from(offset[k]));
                let number = row * channels as usize + c;
                want[swizzled(2 * number, 32) / 2] = tensor.element(&element).map_or(0, |k| k as u16 + 1);
            }
            let mut k = 1;
            loop {
                here[k] += 1;
                if k > spatial || here[k] <= sizes[k] as i64 - 1 + i64::from(upper[k - 1]) {
                    break;
                }
                here[k] = i64::from(lower[k - 1]);
                k += 1;
            }
        }
        let make = |x| {
            let (sizes, box_) = (tensor.sizes(), [channels, pixels]);
            TensorMap::im2col(Dtype::F16, x, &sizes, &tensor.strides, lower, upper, box_, Swizzle::B32)
                .unwrap()
        };
        let entry = format!("im2col_{}d", sizes.len());
        let got = loaded(machines()[0], &entry, tensor.len(), make, place(at, offset));
        assert!(got == want, "{entry} {sizes:?} {at:?} {offset:?}\n{got:?}\n{want:?}");
    }
}

#[test]
fn boxes_are_stored_and_nothing_is_written_outside() {
    for (sizes, window, at) in TILES {
        let tensor = Counted::new(sizes);
        for (options, (swizzle, span)) in machines().into_iter().zip(SWIZZLES) {
            if swizzle != Swizzle::None && 2 * window[0] > span as usize {
                continue;
            }
            let machine = load(options, "copy.ptx");
            let count: usize = window.iter().product();
            let numbers: Vec<u16> = (0..count).map(|k| k as u16 + 1).collect();
            let x = buffer(&machine, Dtype::F16, &vec![0xa5; 2 * tensor.len()]);
            let extents: Vec<u32> = window.iter().map(|&extent| extent as u32).collect();
            let map =
                TensorMap::tile(Dtype::F16, x, &tensor.sizes(), &tensor.strides, &extents, swizzle).unwrap();
            let from = machine.upload(&bytes(&numbers));
            let args = vec![
                self::tensor(&machine, "x", &map),
                Arg::value("p", &place(at, &[])),
                pointer("in", from, Dtype::U8, 2 * count),
                Arg::value("bytes", &map.bytes()),
            ];
            let entry = format!("store_{}d", sizes.len());
            machine
                .launch(&entry, 1, [64, 1, 1], map.bytes(), args)
                .unwrap_or_else(|e| panic!("{entry}: {e}"));
            let mut want = vec![0xa5a5; tensor.len()];
            each(window, |number, offset| {
                let here: Vec<i64> = at.iter().zip(offset).map(|(at, offset)| at + offset).collect();
                if let Some(k) = tensor.element(&here) {
                    want[k] = numbers[swizzled(2 * number, span) / 2];
                }
            });
            let got = halves(&machine.download(x, 2 * tensor.len()));
            assert!(got == want, "{entry} {sizes:?} {window:?} {at:?} {swizzle:?}");
        }
    }
}
