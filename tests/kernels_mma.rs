//! The convolutions on tensor cores, bf16, f16, tf32 and tf32x3, against naive loops over the rounded factors; and what
//! their kernels owe besides: the pool of the map that would have been stored, no bank conflict, the same bits always.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Integers, Numbers, Reals, Source};
use support::devices::gather;
use support::half::Half;
use support::naive;
use support::run::Data;
use support::tensor_cores::{self, PORTABLE, cases, cases_like, geometry, numbers};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::driver::Driver as _;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::gpu::plan::{Card, Plan};
use vgg_ft::device::{Call, Device, Dtype, Kernels, Precision};
use vgg_ft::shape::Conv2d;

fn all_agree(precision: Precision, kind: Numbers) {
    tensor_cores::all_agree(&devices(precision), PORTABLE, precision, kind);
}

/// Of tf32 our machine twice: its multiprocessors have room for two blocks of the large tile as a GPU of 9.0, as one
/// of 8.0 they have not, and take another (`Tiles::widest`). A GPU of 8.0 or newer once more for each other
/// architecture, with its work cut as there.
fn devices(precision: Precision) -> Vec<Box<dyn Device>> {
    let ours = || {
        let large = Options { capability: 90, ..Options::default() };
        let twice = (precision == Precision::Tf32).then_some(large);
        let all = [Some(Options::default()), twice].into_iter().flatten();
        all.map(|options| -> Box<dyn Device> {
            Box::new(tensor_cores::emulator(options, precision, Kernels::Portable))
        })
    };
    gather(Vec::new, ours, || cards(precision))
}

/// The first GPU, buffers guarded, with its work cut for itself and as for others.
fn cards(precision: Precision) -> Vec<Box<dyn Device>> {
    let Some(own) = tensor_cores::card(precision, Kernels::Portable) else { return Vec::new() };
    let open = || Cuda::open(cuda::Options { guarded: true, ..cuda::Options::default() }).unwrap();
    let capability = open().limits().capability;
    let others = [75, 80, 86, 89, 90].into_iter().filter(|other| capability >= 80 && *other != capability);
    let cut = others.map(|other| -> Box<dyn Device> {
        Box::new(tensor_cores::working(open(), precision, Kernels::Portable).cut_for(other))
    });
    std::iter::once(own).chain(cut).collect()
}

fn emulator(options: Options) -> Gpu<Emulator> {
    Gpu::new(Emulator::new(options).unwrap()).unwrap()
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
fn f16_integers_are_exact() {
    all_agree(Precision::F16, Integers);
}

#[test]
fn f16_reals_are_near() {
    all_agree(Precision::F16, Reals);
}

/// What f16 cannot hold is infinite, and no largest number: the scaler of the loss looks for it.
#[test]
fn f16_overflows() {
    for device in devices(Precision::F16) {
        let device = &*device;
        // One pixel, which one tap sees: 1024 times a weight. What rounds to 65536 is too large.
        for (weight, want) in [(64.0, f32::INFINITY), (63.9375, 65472.0), (-64.0, f32::NEG_INFINITY)] {
            let g = geometry(&(1, 1, 1, 8, 8));
            let half = Half::of(Precision::F16).unwrap();
            let x = half.data(&[128.0; 8]).upload(device);
            let weight = half.data(&vec![weight; g.weight().len()]).upload(device);
            let (bias, mut y) = (device.zeros(8).unwrap(), device.alloc(Dtype::F16, 8).unwrap());
            let (x, weight, bias) = (&x, &weight, &bias);
            device.run(Call::Conv2dForward { geometry: g, x, weight, bias, relu: false, y: &mut y }).unwrap();
            assert_eq!(device.download_floats(&y).unwrap(), vec![want; 8]);
        }
    }
}

#[test]
fn tf32_integers_are_exact() {
    all_agree(Precision::Tf32, Integers);
}

#[test]
fn tf32_reals_are_near() {
    all_agree(Precision::Tf32, Reals);
}

#[test]
fn tf32x3_integers_are_exact() {
    all_agree(Precision::Tf32x3, Integers);
}

#[test]
fn tf32x3_reals_are_near() {
    all_agree(Precision::Tf32x3, Reals);
}

/// Of reals, whose winners are a matter of rounding: what the fused kernel says is what the pool of the stored map
/// says, value and winner. Maps of odd sizes, whole chunks and ragged ones, sums in one part and in several.
#[test]
fn the_fused_pool_is_the_pool_of_the_map() {
    let geometries = [(2, 9, 7, 16, 24), (1, 5, 13, 136, 128), (1, 7, 6, 64, 64), (2, 5, 5, 3, 12)];
    for (precision, g) in FORMATS.into_iter().flat_map(|p| geometries.iter().map(move |g| (p, geometry(g)))) {
        for device in devices(precision) {
            let device = &*device;
            let (x, _) = numbers(precision, Reals, 6, g.x().len());
            let (weight, _) = numbers(precision, Reals, 7, g.weight().len());
            let (x, weight) = (x.upload(device), weight.upload(device));
            let bias = device.upload(&Source::new(8).f32(Reals, g.c_out)).unwrap();
            let blank = |len| Data::zeros(precision.activations(), len);
            let (x, weight, bias) = (&x, &weight, &bias);
            let mut z = device.alloc(precision.activations(), g.y().len()).unwrap();
            device.run(Call::Conv2dForward { geometry: g, x, weight, bias, relu: true, y: &mut z }).unwrap();
            let z = blank(g.y().len()).download_like(device, &z).unwrap().floats();
            let (want, winners) = naive::maxpool2d_forward(&g.pool(), &z);

            let mut y = device.alloc(precision.activations(), want.len()).unwrap();
            let mut winner = device.alloc(Dtype::U8, winners.len()).unwrap();
            let call = Call::Conv2dMaxpool2dForward {
                geometry: g,
                x,
                weight,
                bias,
                y: &mut y,
                winner: Some(&mut winner),
            };
            device.run(call).unwrap();
            let got = blank(want.len()).download_like(device, &y).unwrap().floats();
            assert!(
                got.iter().zip(&want).all(|(got, want)| f64::from(*got) == want.value),
                "{precision} {g:?}"
            );
            assert_eq!(device.download::<u8>(&winner).unwrap(), winners, "{precision} {g:?}");
        }
    }
}

/// Whole chunks and ragged ones, of each tile; sums in one part and in several.
#[test]
fn a_step_of_the_weight_equals_its_halves() {
    for precision in FORMATS {
        for device in devices(precision) {
            for g in [
                (2, 9, 9, 64, 64),
                (1, 4, 70, 64, 136),
                (1, 5, 13, 136, 128),
                (2, 9, 8, 65, 66),
                (1, 1, 1, 8, 8),
            ] {
                tensor_cores::step_equals_its_halves(&*device, precision, geometry(&g));
            }
        }
    }
}

const FORMATS: [Precision; 4] = [Precision::Bf16, Precision::F16, Precision::Tf32, Precision::Tf32x3];

/// A wrong type or length is refused by the buffer's name, and an old GPU by what it lacks.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let g = Conv2d { n: 1, h: 4, w: 4, c_in: 8, c_out: 8 };
    for precision in FORMATS {
        let device: &dyn Device = &emulator(Options::default()).with_precision(precision);
        for case in cases(precision, Integers, g) {
            for which in 0..case.inputs.len() + case.outputs.len() {
                let (mut inputs, mut outputs) = case.buffers(device);
                let all = inputs.len();
                let buffer = if which < all { &mut inputs[which] } else { &mut outputs[which - all] };
                *buffer = device.alloc(buffer.dtype(), buffer.len() + 1).unwrap();
                let error = device.run((case.make)(&inputs, &mut outputs)).unwrap_err();
                let name = case.call_name(device);
                assert!(error.message().starts_with(&format!("{name}: `")), "{error}");
            }
        }
    }
    let device: &dyn Device = &Gpu::new(Plan::new(Card::named("t4").unwrap())).unwrap();
    let alloc = |len| device.alloc(Dtype::Bf16, len).unwrap();
    let (x, weight, mut y) = (alloc(g.x().len()), alloc(g.weight().len()), alloc(g.y().len()));
    let bias = device.zeros(8).unwrap();
    let call =
        Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y };
    let error = device.run(call).unwrap_err();
    assert!(error.message().ends_with("cannot work in bf16"), "{error}");
    let text = error.to_string();
    assert!(text.contains("8.0 or later") && text.contains("while running conv2d_forward"), "{error}");
}

/// `k_major_offset` and `mn_major_offset` of kernels/mma.cuh, in bytes.
fn along(chunks: usize, row: usize, chunk: usize) -> usize {
    (row * chunks + (chunk ^ if chunks == 8 { row & 7 } else { row >> 1 & 3 })) * 16
}

fn across(bytes: usize, chunks: usize, row: usize, chunk: usize) -> usize {
    (row * chunks + (chunk ^ if bytes == 2 { row & 7 } else { (row & 3) * 2 })) * 16
}

/// Eight lanes' chunks of 16 bytes, which go at once, fill the banks once.
fn meet_no_other(places: impl Iterator<Item = usize>) {
    let mut banks: Vec<usize> = places.map(|place| place / 16 % 8).collect();
    assert_eq!(banks.len(), 8);
    banks.sort_unstable();
    assert_eq!(banks, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn chunks_change_places_one_to_one_and_meet_in_no_bank() {
    let source = include_str!("../kernels/mma.cuh");
    for line in [
        "return (row * CHUNKS + (chunk ^ (CHUNKS == 8 ? row & 7 : row >> 1 & 3))) * 16;",
        "return (row * CHUNKS + (chunk ^ (T::BYTES == 2 ? row & 7 : (row & 3) * 2))) * 16;",
    ] {
        assert!(source.contains(line), "mma.cuh has changed: so must this test");
    }
    let one_to_one = |rows: usize, chunks: usize, at: &dyn Fn(usize, usize) -> usize| {
        let mut all: Vec<_> = (0..rows * chunks).map(|k| at(k / chunks, k % chunks)).collect();
        all.sort_unstable();
        assert!(all.iter().enumerate().all(|(k, &place)| place == k * 16));
    };
    for chunks in [4, 8] {
        one_to_one(256, chunks, &|row, chunk| along(chunks, row, chunk));
        for first in (0..256).step_by(8) {
            // ldmatrix: eight rows at one chunk.
            (0..chunks).for_each(|chunk| meet_no_other((0..8).map(|row| along(chunks, first + row, chunk))));
            // cp.async: eight threads on neighbouring chunks.
            let written = (0..8).map(|k| first * chunks + k);
            meet_no_other(written.map(|k| along(chunks, k / chunks, k % chunks)));
        }
    }
    for (bytes, chunks) in [2, 4].into_iter().flat_map(|bytes| [8, 16, 32].map(|chunks| (bytes, chunks))) {
        one_to_one(64, chunks, &|row, chunk| across(bytes, chunks, row, chunk));
        for (row, first) in (0..64).flat_map(|row| (0..chunks).step_by(8).map(move |first| (row, first))) {
            meet_no_other((0..8).map(|k| across(bytes, chunks, row, first + k)));
        }
        for (first, chunk) in
            (0..64).step_by(8).flat_map(|first| (0..chunks).map(move |chunk| (first, chunk)))
        {
            if bytes == 2 {
                // ldmatrix.trans: eight depths at one chunk.
                meet_no_other((0..8).map(|row| across(bytes, chunks, first + row, chunk)));
            } else if chunk % 2 == 0 {
                // Words: four depths of eight neighbouring numbers, two chunks.
                for half in [0, 4] {
                    let words = (0..8).map(|k| across(bytes, chunks, first + half + k / 2, chunk + k % 2));
                    meet_no_other(words);
                }
            }
        }
    }
}

/// Loads and stores of shared memory that are neither ldmatrix nor cp.async (those: above), counted as they run.
#[test]
fn no_load_or_store_of_shared_memory_waits_for_a_bank() {
    // Depths of few steps, which are not cut: parts go to global memory by themselves.
    let geometries = [(32, 128), (128, 32), (32, 64)];
    let geometries = geometries.map(|(c_in, c_out)| Conv2d { n: 1, h: 8, w: 16, c_in, c_out });
    let formats = FORMATS.map(|precision| (precision, 80)).into_iter().chain([(Precision::Tf32, 90)]);
    for ((precision, capability), g) in formats.flat_map(|format| geometries.map(|g| (format, g))) {
        let options = Options { statistics: true, capability, ..Options::fast() };
        let gpu = emulator(options).with_precision(precision);
        let device: &dyn Device = &gpu;
        for case in cases_like(precision, g) {
            let (inputs, mut outputs) = case.buffers(device);
            device.run((case.make)(&inputs, &mut outputs)).unwrap();
        }
        assert!(tensor_cores::waits_for_no_bank(&gpu) > 0, "{g:?}");
    }
}
