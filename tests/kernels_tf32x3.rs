//! 3xTF32: are the convolutions of split factors as near to the true sums as those of fused multiply-adds in f32, also
//! where tensor cores cut what they add? Is either small part used? What becomes of NaN and infinity?
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Integers, Numbers, Reals, Source, case, make};
use support::close::Near;
use support::naive;
use support::run::{Case, Data, Output, Want};
use support::tensor_cores::{Sizes, devices, emulator, geometry};
use vgg_ft::device::gpu::emulator::{Options, Tensor};
use vgg_ft::device::{Call, Device, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// Forward, back to the input, back to the weights, of these numbers.
fn calls(g: Conv2d, x: &[f32], weight: &[f32], dy: &[f32]) -> [Case; 3] {
    let bias = vec![0.0; g.c_out];
    let forward = naive::conv2d_forward(&g, x, weight, &bias, false);
    let data = |numbers: &[f32]| Data::F32(numbers.to_vec());
    [
        case(
            g,
            vec![data(x), data(weight), bias.into()],
            vec![Output::fresh(forward)],
            make!([x, weight, bias] => [y],
                Call::Conv2dForward { geometry: g, x, weight, bias, relu: false, y }),
        ),
        case(
            g,
            vec![data(dy), data(weight)],
            vec![Output::fresh(naive::conv2d_backward_input(&g, dy, weight))],
            make!([dy, weight] => [dx], Call::Conv2dBackwardInput { geometry: g, dy, weight, mask: None, dx }),
        ),
        case(
            g,
            vec![data(x), data(dy)],
            vec![Output::fresh(naive::conv2d_backward_weight(&g, x, dy))],
            make!([x, dy] => [dweight], Call::Conv2dBackwardWeight { geometry: g, x, dy, dweight, dbias: None }),
        ),
    ]
}

fn wanted(case: &Case) -> &[Near] {
    let Want::F32(want) = &case.outputs[0].want else { panic!("an output in f32") };
    want
}

/// Root mean square and largest of the errors, relative to the root mean square of the true numbers.
fn errors(case: &Case, device: &dyn Device) -> [f64; 2] {
    let Data::F32(got) = &case.results(device).unwrap()[0] else { panic!("an output in f32") };
    let want = wanted(case);
    let off = |k: usize| (f64::from(got[k]) - want[k].value).abs();
    let size = (want.iter().map(|near| near.value.powi(2)).sum::<f64>() / want.len() as f64).sqrt();
    let mean = (0..got.len()).map(|k| off(k).powi(2)).sum::<f64>() / got.len() as f64;
    [mean.sqrt() / size, (0..got.len()).map(off).fold(0.0, f64::max) / size]
}

/// On our machine as an H100 adds, which cuts, and not as f32 rounds: against errors of `conv2d_*` in f32
/// and tf32 on the same numbers. Depths as in VGG16: 9·512 channels, 4608 pixels; numbers of both signs and of one,
/// whose partial sums grow throughout, so that what is cut adds up.
#[test]
fn errors_are_those_of_f32() {
    // Errors of f32 are those of thousands of roundings, one behind the other; of split factors those of a few
    // hundred, and what the factors leave out, which is of any sign. So twice is much.
    const OF_F32: f64 = 2.0;
    // A factor of tf32 is off by 2^-12.6 in the mean, one of f32 by 2^-25.6. Of sums around zero 100 of that is left,
    // where what errs is each product, and of sums that grow 30, where such errors average but roundings do not.
    const BETTER_THAN_TF32: [f64; 2] = [100.0, 30.0];
    let sizes: [Sizes; 2] = [(1, 4, 4, 512, 64), (2, 48, 48, 16, 16)];
    for (g, sign) in sizes.iter().map(geometry).flat_map(|g| [(g, "of both signs"), (g, "of one sign")]) {
        let numbers = |seed, len| -> Vec<f32> {
            let x = Source::new(seed).f32(Reals, len);
            if sign == "of one sign" { x.into_iter().map(f32::abs).collect() } else { x }
        };
        let (x, weight, dy) =
            (numbers(1, g.x().len()), numbers(2, g.weight().len()), numbers(3, g.y().len()));
        for (at, case) in calls(g, &x, &weight, &dy).iter().enumerate() {
            // The second geometry is there for its pixels.
            if (at == 2) != (g.c_in == 16) {
                continue;
            }
            let on = |precision, tensor| {
                let options = Options { tensor, ..Options::fast() };
                errors(case, &emulator(options, precision, Kernels::Portable))
            };
            let f32 = on(Precision::F32, Tensor::Fast);
            let [split, tf32] =
                [Precision::Tf32x3, Precision::Tf32].map(|precision| on(precision, Tensor::Hopper));
            let name = case.call_name(&emulator(Options::fast(), Precision::F32, Kernels::Portable));
            let [f, s, t] = [f32, split, tf32].map(|[mean, most]| format!("{mean:.1e} (at most {most:.1e})"));
            println!("{name}, numbers {sign}: f32 {f}, tf32x3 {s}, tf32 {t}");
            for k in 0..2 {
                assert!(split[k] <= OF_F32 * f32[k], "{name} {sign}: {split:?}, f32 {f32:?}");
            }
            let better = BETTER_THAN_TF32[usize::from(sign == "of one sign")];
            assert!(split[0] * better <= tf32[0], "{name} {sign}: {split:?}, tf32 {tf32:?}");
        }
    }
}

/// How many numbers of an output are not the true ones.
fn wrong(case: &Case, device: &dyn Device) -> usize {
    let Data::F32(got) = &case.results(device).unwrap()[0] else { panic!("an output in f32") };
    got.iter().zip(wanted(case)).filter(|(got, want)| f64::from(**got) != want.value).count()
}

/// Whole numbers of up to 14 bits, which do not fit a factor of tf32, times whole numbers that do: the three products
/// are exact together. Either factor is the long one by turns, so that each small part is asked for by itself; one
/// factor alone, tf32, is wrong.
#[test]
fn whole_numbers_longer_than_a_factor_are_exact() {
    const LONG: f32 = (1 << 14) as f32;
    let sizes: [Sizes; 5] =
        [(2, 9, 8, 16, 72), (1, 5, 13, 136, 8), (1, 9, 7, 3, 64), (2, 5, 4, 5, 7), (1, 7, 7, 64, 64)];
    let one = emulator(Options::fast(), Precision::Tf32, Kernels::Portable);
    for device in devices(Precision::Tf32x3, Kernels::Portable) {
        for g in sizes.iter().map(geometry) {
            let long = |seed, len| -> Vec<f32> {
                Source::new(seed).f32(Reals, len).into_iter().map(|x| (x * LONG).trunc()).collect()
            };
            let short = |seed, len| Source::new(seed).f32(Integers, len);
            let (x, weight, dy) = (g.x().len(), g.weight().len(), g.y().len());
            // Which of the three is long, and which of forward, backward_input and backward_weight multiply it.
            for (numbers, used) in [
                ([long(1, x), short(2, weight), short(3, dy)], [true, false, true]),
                ([short(4, x), long(5, weight), short(6, dy)], [true, true, false]),
                ([short(7, x), short(8, weight), long(9, dy)], [false, true, true]),
            ] {
                let [x, weight, dy] = &numbers;
                for (case, used) in calls(g, x, weight, dy).iter().zip(used) {
                    assert_eq!(wrong(case, &*device), 0, "{}", case.name(&*device));
                    assert_eq!(wrong(case, &one) > 0, used, "tf32: {}", case.name(&one));
                }
            }
        }
    }
}

/// What left the finite world stays outside: an infinite factor leaves nothing but NaN for its small part.
#[test]
fn nothing_that_is_not_finite_is_lost() {
    let g = Conv2d { n: 1, h: 4, w: 4, c_in: 8, c_out: 8 };
    let kind: Numbers = Reals;
    let (weight, dy) = (Source::new(2).f32(kind, g.weight().len()), vec![0.0; g.y().len()]);
    for device in devices(Precision::Tf32x3, Kernels::Portable) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX * 0.9999] {
            let mut x = Source::new(1).f32(kind, g.x().len());
            x[5 * g.c_in] = bad;
            let [forward, ..] = calls(g, &x, &weight, &dy);
            let Data::F32(y) = &forward.results(&*device).unwrap()[0] else { panic!("an output in f32") };
            // The pixel (1, 1) and its eight neighbours see it.
            for (at, y) in y.iter().enumerate() {
                let sees = at / g.c_out % g.w < 3 && at / g.c_out / g.w < 3;
                let lost = sees && y.is_finite() && bad.abs() == f32::INFINITY
                    || sees && bad.is_nan() && !y.is_nan();
                assert!(!lost && (sees || y.is_finite()), "{bad}: element {at} is {y}");
            }
        }
    }
}
