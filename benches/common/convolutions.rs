//! The convolutions of the report, in the bench's precision: what they are given, and what they should make of it.

use super::line::{Content, Line, reals, zeros};
use super::report::precision;
use super::support::cases::make;
use super::support::close::Near;
use super::support::half::Half;
use super::support::naive;
use super::support::run::Data;
use criterion::Throughput;
use std::cell::LazyCell;
use std::rc::Rc;
use vgg_ft::device::call::Rmsprop;
use vgg_ft::device::{Call, Precision};
use vgg_ft::shape::Conv2d;

/// The same numbers as a convolution's factors are kept in the bench's precision, and as it sees them.
fn factors(seed: u64, len: usize) -> (Data, Vec<f32>) {
    let values = reals(seed, len);
    match precision() {
        Precision::F32 | Precision::Tf32x3 | Precision::Tf32 => (values.clone().into(), values),
        Precision::Bf16 | Precision::F16 => {
            let half = Half(precision().activations());
            (half.data(&values), half.rounded(&values))
        }
    }
}

/// Room for a convolution's output.
fn activations(len: usize) -> Data {
    Data::zeros(precision().activations(), len)
}

/// A sum of products in the bench's precision. `within` is f32's error of such a sum, at least 2^-24 of its terms:
/// tf32's factors are off by 2^-11 each, and a result of 16 bits by half a unit of itself.
fn rounded(near: Near, kept: bool) -> Near {
    match precision() {
        Precision::F32 | Precision::Tf32x3 => near,
        Precision::Tf32 => Near { within: near.within * 2f64.powi(14), ..near },
        Precision::Bf16 | Precision::F16 if !kept => near,
        Precision::Bf16 | Precision::F16 => Half(precision().activations()).near(near),
    }
}

const RULE: Rmsprop =
    Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-3, momentum: 0.0, centered: false, outside: false };

/// The factors of a convolution's calls, as they are kept and as they are seen.
struct Factors {
    x: (Data, Vec<f32>),
    dy: (Data, Vec<f32>),
    weight: (Data, Vec<f32>),
}

/// Forward, back to the input, back to the weights, and their step.
pub fn conv2d(layer: &str, geometry: Conv2d) -> [Line; 4] {
    let g = geometry;
    let work = Throughput::Elements(2 * g.macs());
    let shape = format!("{layer}/b{}", g.n);
    // Made once, by the first line that passes the filter, and given away with the last.
    let all = Rc::new(LazyCell::new(move || Factors {
        x: factors(1, g.x().len()),
        dy: factors(2, g.y().len()),
        weight: factors(3, g.weight().len()),
    }));
    let [forward, backward, weight, step] = [(); 4].map(|()| Rc::clone(&all));
    [
        Line::new("conv2d_forward", shape.clone(), work.clone(), move || {
            let (all, bias) = (Rc::clone(&forward), reals(4, g.c_out));
            Content {
                inputs: vec![all.x.0.clone(), all.weight.0.clone(), bias.clone().into()],
                outputs: vec![(
                    activations(g.y().len()),
                    Box::new(move |at| {
                        let sum = naive::conv2d_forward_at(&g, &all.x.1, &all.weight.1, &bias, true, at);
                        rounded(sum, true)
                    }),
                )],
                make: make!([x, weight, bias] => [y],
                    Call::Conv2dForward { geometry, x, weight, bias, relu: true, y }),
            }
        }),
        Line::new("conv2d_backward_input", shape.clone(), work.clone(), move || {
            let all = Rc::clone(&backward);
            Content {
                inputs: vec![all.dy.0.clone(), all.weight.0.clone(), all.x.0.clone()],
                outputs: vec![(
                    activations(g.x().len()),
                    Box::new(move |at| {
                        let sum = naive::conv2d_backward_input_at(&g, &all.dy.1, &all.weight.1, at);
                        if all.x.1[at] > 0.0 { rounded(sum, true) } else { Near::exactly(0.0) }
                    }),
                )],
                make: make!([dy, weight, mask] => [dx],
                    Call::Conv2dBackwardInput { geometry, dy, weight, mask: Some(mask), dx }),
            }
        }),
        Line::new("conv2d_backward_weight", shape.clone(), work.clone(), move || {
            let all = Rc::clone(&weight);
            Content {
                inputs: vec![all.x.0.clone(), all.dy.0.clone()],
                outputs: vec![(zeros(g.weight().len()), Box::new(move |at| weight_sum(&g, &all, at)))],
                make: make!([x, dy] => [dweight],
                    Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias: None }),
            }
        }),
        // What training asks for: the bias' gradient too, and the weight's used at once. A first step, from zeros.
        Line::new("conv2d_rmsprop_step", shape, work, move || {
            let [all, same] = [(); 2].map(|()| Rc::clone(&step));
            let dbias = naive::bias_backward(g.c_out, &all.dy.1);
            let stepped = move |all: &Factors, at| {
                naive::plain_rmsprop_step(&RULE, &[weight_sum(&g, all, at)], &[0.0], &[0.0])
            };
            Content {
                inputs: vec![all.x.0.clone(), all.dy.0.clone()],
                outputs: vec![
                    (zeros(g.weight().len()), Box::new(move |at| stepped(&all, at).0[0])),
                    (zeros(g.weight().len()), Box::new(move |at| stepped(&same, at).1[0])),
                    (zeros(g.c_out), Box::new(move |at| dbias[at])),
                ],
                make: make!([x, dy] => [velocity, weight, dbias],
                Call::Conv2dRmspropStep {
                    geometry, rule: RULE, x, dy, velocity, weight, shadow: None, dbias: Some(dbias),
                }),
            }
        }),
    ]
}

fn weight_sum(g: &Conv2d, all: &Factors, at: usize) -> Near {
    rounded(naive::conv2d_backward_weight_at(g, &all.x.1, &all.dy.1, at), false)
}

/// Flops are those of the convolution; what an odd side drops is not computed but counted.
pub fn conv2d_maxpool2d_forward(layer: &str, geometry: Conv2d) -> Line {
    let (g, pool) = (geometry, geometry.pool());
    let work = Throughput::Elements(2 * g.macs());
    Line::new("conv2d_maxpool2d_forward", format!("{layer}/b{}", g.n), work, move || {
        let ((x, x1), (weight, w1)) = (factors(1, g.x().len()), factors(3, g.weight().len()));
        let bias = reals(4, g.c_out);
        let b1 = bias.clone();
        let largest_at = move |at: usize| {
            let (c, [n, i, j]) = window(&g, at);
            let first = (n * g.h + i) * g.w + j;
            let corner = |k: usize| (first + k / 2 * g.w + k % 2) * g.c_out + c;
            rounded(
                largest([0, 1, 2, 3].map(|k| naive::conv2d_forward_at(&g, &x1, &w1, &b1, true, corner(k)))),
                true,
            )
        };
        Content {
            inputs: vec![x, weight, bias.into()],
            outputs: vec![(activations(pool.y().len()), Box::new(largest_at))],
            make: make!([x, weight, bias] => [y],
            Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: None }),
        }
    })
}

/// Filter and first pixel (image, line, column) of window `at`.
fn window(g: &Conv2d, at: usize) -> (usize, [usize; 3]) {
    let (c, j, line) = (at % g.c_out, at / g.c_out % (g.w / 2), at / g.c_out / (g.w / 2));
    (c, [line / (g.h / 2), line % (g.h / 2) * 2, 2 * j])
}

fn largest(all: [Near; 4]) -> Near {
    let [value, within] =
        [|n: Near| n.value, |n: Near| n.within].map(|f| all.map(f).into_iter().fold(0.0, f64::max));
    Near { value, within }
}

/// The first block at once, for devices that join its layers.
pub fn conv2d_conv2d_maxpool2d_forward(layer: &str, geometries: [Conv2d; 2]) -> Line {
    let [g, second] = geometries;
    let work = Throughput::Elements(2 * (g.macs() + second.macs()));
    Line::new("conv2d_conv2d_maxpool2d_forward", format!("{layer}/b{}", g.n), work, move || {
        let ((x, x1), (from, w1), (weight, w2)) =
            (factors(1, g.x().len()), factors(2, g.weight().len()), factors(3, second.weight().len()));
        let [b1, b2] = [4, 5].map(|seed| reals(seed, g.c_out));
        let inputs = vec![x, from, weight, b1.clone().into(), b2.clone().into()];
        let want = move |at: usize| {
            let (o, [n, i, j]) = window(&second, at);
            // What the four of the window see of the first map: 4 x 4 pixels, zeros outside.
            let mut z = Vec::new();
            for (u, v) in (0..4).flat_map(|u| (0..4).map(move |v| (i + u, j + v))) {
                let there = (1..=g.h).contains(&u) && (1..=g.w).contains(&v);
                z.extend((0..g.c_out).map(|c| {
                    let at = || (((n * g.h + u - 1) * g.w) + v - 1) * g.c_out + c;
                    if there {
                        naive::conv2d_forward_at(&g, &x1, &w1, &b1, true, at()).value as f32
                    } else {
                        0.0
                    }
                }));
            }
            let z =
                if precision() == Precision::Bf16 { Half(precision().activations()).rounded(&z) } else { z };
            let seen = Conv2d { n: 1, h: 4, w: 4, ..second };
            let corner = |k: usize| ((k / 2 + 1) * 4 + k % 2 + 1) * second.c_out + o;
            let Near { value, within } =
                largest([0, 1, 2, 3].map(|k| naive::conv2d_forward_at(&seen, &z, &w2, &b2, true, corner(k))));
            // `within` is 26·2^-24 of the magnitudes; each z may be the other of two neighbours, 2^-8 of it.
            rounded(Near { value, within: within * 2f64.powi(12) }, true)
        };
        Content {
            inputs,
            outputs: vec![(activations(second.pool().y().len()), Box::new(want))],
            make: make!([x, first, second, one, other] => [y],
            Call::Conv2dConv2dMaxpool2dForward {
                geometries, x, weights: [first, second], biases: [one, other], y,
            }),
        }
    })
}
