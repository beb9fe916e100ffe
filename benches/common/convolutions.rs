//! The convolutions of the report, in the bench's precision: what they are given, and what they should make of it.

use super::line::{Line, reals, zeros};
use super::report::precision;
use super::support::cases::make;
use super::support::close::Near;
use super::support::naive;
use super::support::run::Data;
use criterion::Throughput;
use half::bf16;
use std::rc::Rc;
use vgg_ft::device::call::Rmsprop;
use vgg_ft::device::{Call, Precision};
use vgg_ft::shape::Conv2d;

/// The same numbers as a convolution's factors are kept in the bench's precision, and as it sees them.
fn factors(seed: u64, len: usize) -> (Data, Vec<f32>) {
    let values = reals(seed, len);
    match precision() {
        Precision::F32 | Precision::Tf32x3 | Precision::Tf32 => (values.clone().into(), values),
        Precision::Bf16 => {
            let short: Vec<bf16> = values.into_iter().map(bf16::from_f32).collect();
            let seen = short.iter().map(|v| v.to_f32()).collect();
            (Data::Bf16(short), seen)
        }
    }
}

/// Room for a convolution's output.
fn activations(len: usize) -> Data {
    match precision() {
        Precision::F32 | Precision::Tf32x3 | Precision::Tf32 => zeros(len),
        Precision::Bf16 => Data::Bf16(vec![bf16::ZERO; len]),
    }
}

/// A sum of products in the bench's precision. `within` is f32's error of such a sum, at least 2^-24 of its terms:
/// tf32's factors are off by 2^-11 each, and a bf16 result by 2^-9 of itself.
fn rounded(near: Near, kept: bool) -> Near {
    match precision() {
        Precision::F32 | Precision::Tf32x3 => near,
        Precision::Tf32 => Near { within: near.within * 2f64.powi(14), ..near },
        Precision::Bf16 if !kept => near,
        Precision::Bf16 => Near { within: near.within + near.value.abs() * 2f64.powi(-8), ..near },
    }
}

const RULE: Rmsprop =
    Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-3, momentum: 0.0, centered: false, outside: false };

/// Forward, back to the input, back to the weights, and their step.
pub fn conv2d(layer: &str, geometry: Conv2d) -> [Line; 4] {
    let g = geometry;
    let work = Throughput::Elements(2 * g.macs());
    let shape = format!("{layer}/b{}", g.n);
    let ((x, x1), (dy, dy2)) = (factors(1, g.x().len()), factors(2, g.y().len()));
    let ((weight, w1), bias) = (factors(3, g.weight().len()), reals(4, g.c_out));
    let (w2, x2, b1) = (w1.clone(), x1.clone(), bias.clone());
    let (x3, dy3) = (x1.clone(), dy2.clone());
    let dbias = naive::bias_backward(g.c_out, &dy2);
    let sum = Rc::new(move |at: usize| rounded(naive::conv2d_backward_weight_at(&g, &x3, &dy3, at), false));
    let sums = [(); 2].map(|()| Rc::clone(&sum));
    let [v, w] =
        sums.map(|sum| move |at: usize| naive::plain_rmsprop_step(&RULE, &[sum(at)], &[0.0], &[0.0]));
    [
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![x.clone(), weight.clone(), bias.into()],
            outputs: vec![(
                activations(g.y().len()),
                Box::new(move |at| rounded(naive::conv2d_forward_at(&g, &x1, &w1, &b1, true, at), true)),
            )],
            make: make!([x, weight, bias] => [y],
                Call::Conv2dForward { geometry, x, weight, bias, relu: true, y }),
        },
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![dy.clone(), weight, x.clone()],
            outputs: vec![(
                activations(g.x().len()),
                Box::new(move |at| {
                    let sum = naive::conv2d_backward_input_at(&g, &dy2, &w2, at);
                    if x2[at] > 0.0 { rounded(sum, true) } else { Near::exactly(0.0) }
                }),
            )],
            make: make!([dy, weight, mask] => [dx],
                Call::Conv2dBackwardInput { geometry, dy, weight, mask: Some(mask), dx }),
        },
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![x.clone(), dy.clone()],
            outputs: vec![(zeros(g.weight().len()), Box::new(move |at| sum(at)))],
            make: make!([x, dy] => [dweight],
                Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias: None }),
        },
        // What training asks for: the bias' gradient too, and the weight's used at once. A first step, from zeros.
        Line {
            shape,
            work,
            inputs: vec![x, dy],
            outputs: vec![
                (zeros(g.weight().len()), Box::new(move |at| v(at).0[0])),
                (zeros(g.weight().len()), Box::new(move |at| w(at).1[0])),
                (zeros(g.c_out), Box::new(move |at| dbias[at])),
            ],
            make: make!([x, dy] => [velocity, weight, dbias],
            Call::Conv2dRmspropStep {
                geometry, rule: RULE, x, dy, velocity, weight, shadow: None, dbias: Some(dbias),
            }),
        },
    ]
}

/// Flops are those of the convolution; what an odd side drops is not computed but counted.
pub fn conv2d_maxpool2d_forward(layer: &str, geometry: Conv2d) -> Line {
    let (g, pool) = (geometry, geometry.pool());
    let ((x, x1), (weight, w1)) = (factors(1, g.x().len()), factors(3, g.weight().len()));
    let bias = reals(4, g.c_out);
    let b1 = bias.clone();
    let largest = move |at: usize| {
        let (c, j, line) = (at % g.c_out, at / g.c_out % (g.w / 2), at / g.c_out / (g.w / 2));
        let first = (line / (g.h / 2) * g.h + line % (g.h / 2) * 2) * g.w + 2 * j;
        let corner = |k: usize| (first + k / 2 * g.w + k % 2) * g.c_out + c;
        let all = [0, 1, 2, 3].map(|k| naive::conv2d_forward_at(&g, &x1, &w1, &b1, true, corner(k)));
        let [value, within] =
            [|n: Near| n.value, |n: Near| n.within].map(|f| all.map(f).into_iter().fold(0.0, f64::max));
        rounded(Near { value, within }, true)
    };
    Line {
        shape: format!("{layer}/b{}", g.n),
        work: Throughput::Elements(2 * g.macs()),
        inputs: vec![x, weight, bias.into()],
        outputs: vec![(activations(pool.y().len()), Box::new(largest))],
        make: make!([x, weight, bias] => [y],
            Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: None }),
    }
}
