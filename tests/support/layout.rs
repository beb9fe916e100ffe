//! The same numbers in another format or order: rows of the table, and what is meant.

use super::cases::{Reals, Source, case, make};
use super::close::Near;
use super::run::{Case, Data, Output, Want};
use half::{bf16, f16};
use vgg_ft::device::{Call, Dtype};

/// `(batch, rows, columns)`.
const TRANSPOSE: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 1, 70), // a row
    (1, 70, 1), // a column
    (1, 32, 32),
    (2, 31, 33),  // one short of a tile, one past it
    (3, 65, 97),  // several, with remainders
    (5, 81, 3),   // images: NHWC to NCHW
    (1, 576, 64), // a kernel: HWIO to OHWI
    (64, 16, 9),  // OIHW to OHWI
];

/// The nearest number that has `digits` binary digits after the first and no exponent below `least`, ties
/// to even; infinite above `largest`.
fn nearest(x: f64, digits: i32, least: i32, largest: f64) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let unit = 2f64.powi((x.abs().log2().floor() as i32).max(least) - digits);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > largest { f64::INFINITY.copysign(x) } else { rounded }
}

fn in_format(x: f64, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => nearest(x, 10, -14, 65_504.0),
        Dtype::Bf16 => nearest(x, 7, -126, (2.0 - 2f64.powi(-7)) * 2f64.powi(127)),
        _ => x,
    }
}

/// Ties to both sides, the ends of the ranges, subnormal numbers of either format, NaN.
fn edges() -> Vec<f32> {
    let mut edges = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        65_504.0,
        65_519.9,
        65_520.0,
        -65_520.0,
        1e-8,
        2.98e-8,
        5.96e-8,
        8.94e-8,
        6.1e-5,
        -6.09e-5,
        3.4e38,
        -3.4e38,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        1e-40,
        1e-45,
    ];
    // Half a unit above numbers with an even and an odd last digit, and a little to either side.
    for (one, half) in [(f32::EPSILON * 8192.0, 4096.0), (f32::EPSILON * 65_536.0, 32_768.0)] {
        for k in 0..4 {
            let tie = 1.0 + k as f32 * one + half * f32::EPSILON;
            edges.extend([tie, tie - f32::EPSILON, tie + f32::EPSILON, -tie]);
        }
    }
    edges
}

/// All rows.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for len in [1, 2, 3, 4, 7, 1003, 100_001] {
        let mut x = Source::new(11).f32(Reals, len);
        x.iter_mut().zip(edges()).for_each(|(x, edge)| *x = edge);
        if len < 8 {
            // Few enough that NaN is among them.
            x[len - 1] = f32::NAN;
        }
        let formats = [Dtype::F32, Dtype::F16, Dtype::Bf16];
        for (from, to) in formats.iter().flat_map(|&from| formats.map(|to| (from, to))) {
            let data = match from {
                Dtype::F16 => Data::F16(x.iter().map(|&x| f16::from_f32(x)).collect()),
                Dtype::Bf16 => Data::Bf16(x.iter().map(|&x| bf16::from_f32(x)).collect()),
                _ => x.clone().into(),
            };
            let there = x.iter().map(|&x| in_format(in_format(x.into(), from), to));
            let want: Vec<_> = there.map(Near::exactly).collect();
            let want = if to == Dtype::F32 { Want::F32(want) } else { Want::Half(to, want) };
            cases.push(case(
                (from, to, len),
                vec![data],
                vec![Output { before: None, want }],
                make!([x] => [y], Call::Cast { x, y }),
            ));
        }
    }
    for &(batch, rows, columns) in TRANSPOSE {
        let x = Source::new(12).f32(Reals, batch * rows * columns);
        let at = |i: usize| (i / (rows * columns), i / rows % columns, i % rows);
        let from = |(n, c, r): (usize, usize, usize)| x[(n * rows + r) * columns + c];
        let want = (0..x.len()).map(|i| Near::exactly(from(at(i)).into())).collect();
        cases.push(case(
            (batch, rows, columns),
            vec![x.clone().into()],
            vec![Output::fresh(want)],
            make!([x] => [y], Call::Transpose { batch, rows, columns, x, y }),
        ));
    }
    cases
}
