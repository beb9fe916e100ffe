//! What every call means, as loops in f64 that follow the formulas of `Call` letter by letter.

use super::close::{EPS, Near, Sum, TINY};
use vgg_ft::device::call::{LossRule, MaskSource, Normalize, Rmsprop};
use vgg_ft::random;
use vgg_ft::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

fn wide(x: f32) -> f64 {
    f64::from(x)
}

/// The nine window positions.
fn taps() -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(|a| (0..3).map(move |b| (a, b)))
}

/// The pixel of the map that lies under tap (a, b) of output (i, j), if any.
fn under(g: &Conv2d, i: usize, j: usize, (a, b): (usize, usize)) -> Option<(usize, usize)> {
    let (u, v) = ((i + a).checked_sub(1)?, (j + b).checked_sub(1)?);
    (u < g.h && v < g.w).then_some((u, v))
}

fn rectified(sum: Sum, relu: bool) -> Near {
    let near = sum.near();
    // `max` of f64 would hide NaN.
    if relu && near.value < 0.0 { Near { value: 0.0, ..near } } else { near }
}

pub fn normalize(rule: &Normalize, pixels: &[u8]) -> Vec<Near> {
    let one = |i: usize| {
        let (row, c) = (i / 3, i % 3);
        let product = f64::from(pixels[row * 3 + usize::from(rule.order[c])]) * wide(rule.scale[c]);
        let value = product + wide(rule.offset[c]);
        // One rounding of the product, one of the sum.
        Near { value, within: EPS / 2.0 * (product.abs() + value.abs()) }
    };
    (0..pixels.len()).map(one).collect()
}

pub fn conv2d_forward(g: &Conv2d, x: &[f32], weight: &[f32], bias: &[f32], relu: bool) -> Vec<Near> {
    (0..g.y().len()).map(|at| conv2d_forward_at(g, x, weight, bias, relu, at)).collect()
}

/// Element `at` of [`conv2d_forward`].
pub fn conv2d_forward_at(g: &Conv2d, x: &[f32], weight: &[f32], bias: &[f32], relu: bool, at: usize) -> Near {
    let ((n, i, j), o) = (pixel(g, at / g.c_out), at % g.c_out);
    let mut sum = Sum::default();
    sum.add(wide(bias[o]));
    for (a, b) in taps() {
        let Some((u, v)) = under(g, i, j, (a, b)) else { continue };
        for c in 0..g.c_in {
            let x = wide(x[((n * g.h + u) * g.w + v) * g.c_in + c]);
            sum.add(x * wide(weight[((o * 3 + a) * 3 + b) * g.c_in + c]));
        }
    }
    rectified(sum, relu)
}

fn pixel(g: &Conv2d, p: usize) -> (usize, usize, usize) {
    (p / (g.h * g.w), p / g.w % g.h, p % g.w)
}

pub fn conv2d_backward_input(g: &Conv2d, dy: &[f32], weight: &[f32]) -> Vec<Near> {
    (0..g.x().len()).map(|at| conv2d_backward_input_at(g, dy, weight, at)).collect()
}

/// Element `at` of [`conv2d_backward_input`]: what the forward pass gave to (i, j) of `y` from (u, v)
/// of `x`, asked from the side of `x`.
pub fn conv2d_backward_input_at(g: &Conv2d, dy: &[f32], weight: &[f32], at: usize) -> Near {
    let ((n, u, v), c) = (pixel(g, at / g.c_in), at % g.c_in);
    let mut sum = Sum::default();
    for (a, b) in taps() {
        let (Some(i), Some(j)) = ((u + 1).checked_sub(a), (v + 1).checked_sub(b)) else { continue };
        if i >= g.h || j >= g.w {
            continue;
        }
        for o in 0..g.c_out {
            let dy = wide(dy[((n * g.h + i) * g.w + j) * g.c_out + o]);
            sum.add(dy * wide(weight[((o * 3 + a) * 3 + b) * g.c_in + c]));
        }
    }
    sum.near()
}

pub fn conv2d_backward_weight(g: &Conv2d, x: &[f32], dy: &[f32]) -> Vec<Near> {
    (0..g.weight().len()).map(|at| conv2d_backward_weight_at(g, x, dy, at)).collect()
}

/// Element `at` of [`conv2d_backward_weight`].
pub fn conv2d_backward_weight_at(g: &Conv2d, x: &[f32], dy: &[f32], at: usize) -> Near {
    let (o, a, b, c) = (at / (9 * g.c_in), at / (3 * g.c_in) % 3, at / g.c_in % 3, at % g.c_in);
    let mut sum = Sum::default();
    for p in 0..g.n * g.h * g.w {
        let (n, i, j) = pixel(g, p);
        let Some((u, v)) = under(g, i, j, (a, b)) else { continue };
        sum.add(wide(dy[p * g.c_out + o]) * wide(x[((n * g.h + u) * g.w + v) * g.c_in + c]));
    }
    sum.near()
}

pub fn bias_backward(channels: usize, dy: &[f32]) -> Vec<Near> {
    let mut dbias = vec![Sum::default(); channels];
    for (i, &dy) in dy.iter().enumerate() {
        dbias[i % channels].add(wide(dy));
    }
    dbias.into_iter().map(Sum::near).collect()
}

/// `y` and the packed `winner`. NaN passes through; the first of equals (and of NaNs) wins.
pub fn maxpool2d_forward(g: &Pool2d, x: &[f32]) -> (Vec<Near>, Vec<u8>) {
    let x: Vec<Near> = x.iter().map(|&x| Near::exactly(wide(x))).collect();
    maxpool2d_of(g, &x)
}

/// The same of numbers that are only near: a maximum is as near as the worst of its four.
pub fn maxpool2d_of(g: &Pool2d, x: &[Near]) -> (Vec<Near>, Vec<u8>) {
    let mut out = (Vec::new(), Vec::new());
    for (n, i, j, c) in windows(g) {
        let near = |which: usize| x[corner(g, (n, i, j, c), which)];
        let corner = |which: usize| near(which).value;
        let nan = (0..4).find(|&which| corner(which).is_nan());
        let largest = (0..4).map(corner).fold(f64::NEG_INFINITY, f64::max);
        let which = nan.unwrap_or_else(|| (0..4).find(|&which| corner(which) == largest).unwrap());
        let within = (0..4).map(|which| near(which).within).fold(0.0, f64::max);
        out.0.push(Near { value: corner(which), within });
        out.1.push(which as u8);
    }
    let pack = |four: &[u8]| four.iter().rev().fold(0, |byte, which| byte << 2 | which);
    (out.0, out.1.chunks(4).map(pack).collect())
}

fn windows(g: &Pool2d) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
    let Pool2d { n, h, w, c } = *g;
    let (h, w) = (h / 2, w / 2);
    (0..n * h * w * c).map(move |p| (p / (h * w * c), p / (w * c) % h, p / c % w, p % c))
}

fn corner(g: &Pool2d, (n, i, j, c): (usize, usize, usize, usize), which: usize) -> usize {
    ((n * g.h + 2 * i + which / 2) * g.w + 2 * j + which % 2) * g.c + c
}

pub fn maxpool2d_backward(g: &Pool2d, dy: &[f32], winner: &[u8]) -> Vec<Near> {
    let mut dx = vec![Near::exactly(0.0); g.x().len()];
    for (p, at) in windows(g).enumerate() {
        dx[corner(g, at, usize::from(winner[p / 4] >> (p % 4 * 2) & 3))] = Near::exactly(wide(dy[p]));
    }
    dx
}

/// The sum's bound shrinks with it, and the division rounds once.
pub fn global_avgpool2d_forward(g: &GlobalPool2d, x: &[f32]) -> Vec<Near> {
    let pixels = g.h * g.w;
    let mean = |at: usize| {
        let mut sum = Sum::default();
        for pixel in 0..pixels {
            sum.add(wide(x[(at / g.c * pixels + pixel) * g.c + at % g.c]));
        }
        let (Near { value, within }, pixels) = (sum.near(), pixels as f64);
        Near { value: value / pixels, within: within / pixels + EPS * (value / pixels).abs() }
    };
    (0..g.n * g.c).map(mean).collect()
}

/// One division: as near as a rounding.
pub fn global_avgpool2d_backward(g: &GlobalPool2d, dy: &[f32]) -> Vec<Near> {
    let pixels = g.h * g.w;
    let one = |at: usize| wide(dy[at / (pixels * g.c) * g.c + at % g.c]) / pixels as f64;
    (0..g.n * pixels * g.c).map(|at| Near::rounded(one(at), 0.5)).collect()
}

pub fn dense_forward(g: &Dense, x: &[f32], weight: &[f32], bias: &[f32], relu: bool) -> Vec<Near> {
    (0..g.y().len()).map(|at| dense_forward_at(g, x, weight, bias, relu, at)).collect()
}

/// Element `at` of [`dense_forward`].
pub fn dense_forward_at(g: &Dense, x: &[f32], weight: &[f32], bias: &[f32], relu: bool, at: usize) -> Near {
    let (n, o) = (at / g.c_out, at % g.c_out);
    let mut sum = Sum::default();
    sum.add(wide(bias[o]));
    for i in 0..g.c_in {
        sum.add(wide(x[n * g.c_in + i]) * wide(weight[i * g.c_out + o]));
    }
    rectified(sum, relu)
}

pub fn dense_backward_input(g: &Dense, dy: &[f32], weight: &[f32]) -> Vec<Near> {
    (0..g.x().len()).map(|at| dense_backward_input_at(g, dy, weight, at)).collect()
}

/// Element `at` of [`dense_backward_input`].
pub fn dense_backward_input_at(g: &Dense, dy: &[f32], weight: &[f32], at: usize) -> Near {
    let (n, i) = (at / g.c_in, at % g.c_in);
    let mut sum = Sum::default();
    for o in 0..g.c_out {
        sum.add(wide(dy[n * g.c_out + o]) * wide(weight[i * g.c_out + o]));
    }
    sum.near()
}

pub fn dense_backward_weight(g: &Dense, x: &[f32], dy: &[f32]) -> Vec<Near> {
    (0..g.weight().len()).map(|at| dense_backward_weight_at(g, x, dy, at)).collect()
}

/// Element `at` of [`dense_backward_weight`].
pub fn dense_backward_weight_at(g: &Dense, x: &[f32], dy: &[f32], at: usize) -> Near {
    let (i, o) = (at / g.c_out, at % g.c_out);
    let mut sum = Sum::default();
    for n in 0..g.n {
        sum.add(wide(dy[n * g.c_out + o]) * wide(x[n * g.c_in + i]));
    }
    sum.near()
}

pub fn relu_forward(x: &[f32]) -> Vec<Near> {
    // Widened afterwards: a choice between a zero and a widened number comes out as a maximum, which loses -0.
    x.iter().map(|&x| Near::exactly(wide(if x < 0.0 { 0.0 } else { x }))).collect()
}

pub fn relu_backward(y: &[f32], gradient: &[f32]) -> Vec<Near> {
    y.iter().zip(gradient).map(|(&y, &g)| Near::exactly(if y > 0.0 { wide(g) } else { 0.0 })).collect()
}

/// A gradient where `mask` is above 0, else 0.
pub fn opened(mask: &[f32], gradient: Vec<Near>) -> Vec<Near> {
    let one = |(near, &mask): (Near, &f32)| if mask > 0.0 { near } else { Near::exactly(0.0) };
    gradient.into_iter().zip(mask).map(one).collect()
}

pub fn dropout(rate: f32, source: &MaskSource, x: &[f32]) -> Vec<Near> {
    let one = |(i, &x): (usize, &f32)| {
        let word = random::word(source.seed, source.stream, source.counter * 4 + i as u64);
        if random::unit(word) < rate {
            return Near::exactly(0.0);
        }
        // Roundings: 1 - rate, its reciprocal, the product.
        Near::rounded(wide(x) / (1.0 - wide(rate)), 3.0)
    };
    x.iter().enumerate().map(one).collect()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `outcome` and `dlogits`.
pub fn sigmoid_cross_entropy(
    rule: &LossRule,
    logits: &[f32],
    targets: &[f32],
    weights: Option<&[f32]>,
) -> (Vec<Near>, Vec<Near>) {
    let (rows, smoothing) = (rule.denominator as f64, wide(rule.smoothing));
    let mut out = (Vec::new(), Vec::new());
    for (row, (&z, &t)) in logits.iter().zip(targets).enumerate() {
        let w = weights.map_or(1.0, |weights| wide(weights[row]));
        let (z, hard) = (wide(z), wide(t));
        let t = hard * (1.0 - smoothing) + smoothing / 2.0;
        let positive = if z < 0.0 { 0.0 } else { z };
        let soft = (-z.abs()).exp().ln_1p();
        // Three summands, each good to two roundings, and two sums.
        let within = w.abs() * (5.0 * EPS * (positive + (z * t).abs() + soft) + TINY);
        out.0.push(Near { value: w * (positive - z * t + soft), within });
        out.0.push(Near::exactly(if (z > 0.0) == (hard > 0.5) { 1.0 } else { 0.0 }));
        // The sigmoid is at most 1 and good to a few roundings; the difference may cancel.
        out.1.push(Near { value: w * (logistic(z) - t) / rows, within: w.abs() * 5.0 * EPS / rows });
    }
    out
}

/// `outcome` and `dlogits`.
pub fn softmax_cross_entropy(
    rule: &LossRule,
    classes: usize,
    logits: &[f32],
    labels: &[u32],
    weights: Option<&[f32]>,
) -> (Vec<Near>, Vec<Near>) {
    let mut out = (Vec::new(), Vec::new());
    let smoothing = wide(rule.smoothing);
    let target =
        |k: usize, label: usize| smoothing / classes as f64 + if k == label { 1.0 - smoothing } else { 0.0 };
    for (row, &label) in labels.iter().enumerate() {
        let w = weights.map_or(1.0, |weights| wide(weights[row]));
        let z = &logits[row * classes..][..classes];
        let label = label as usize;
        let largest = z.iter().copied().map(wide).fold(f64::NEG_INFINITY, f64::max);
        let whole = largest + z.iter().map(|&z| (wide(z) - largest).exp()).sum::<f64>().ln();
        let first = z.iter().position(|&z| wide(z) == largest);
        // The logarithm of a sum of k exponentials, and two sums of numbers as large as the logits.
        let terms = || z.iter().enumerate().map(|(k, &z)| target(k, label) * wide(z));
        let (aim, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
        let within =
            w.abs() * 5.0 * EPS * (largest.abs() + 2.0 * size + whole.abs() + (classes as f64).sqrt());
        out.0.push(Near { value: w * (whole - aim), within });
        out.0.push(Near::exactly(if first == Some(label) { 1.0 } else { 0.0 }));
        for near in softmax(classes, z).into_iter().enumerate().map(|(k, p)| {
            let value = p.value - target(k, label);
            Near { value, within: p.within + 2.0 * EPS * (p.value + target(k, label)) }
        }) {
            let share = w / rule.denominator as f64;
            out.1.push(Near { value: near.value * share, within: near.within * share.abs() });
        }
    }
    out
}

pub fn sigmoid(x: &[f32]) -> Vec<Near> {
    // The exponential, the sum, the reciprocal; `TINY` because e^-100 is not a normal f32.
    let one = |&x: &f32| {
        let near = Near::rounded(logistic(wide(x)), 4.0);
        Near { within: near.within + TINY, ..near }
    };
    x.iter().map(one).collect()
}

pub fn softmax(classes: usize, x: &[f32]) -> Vec<Near> {
    let mut y = Vec::new();
    for x in x.chunks_exact(classes) {
        let largest = x.iter().copied().map(wide).fold(f64::NEG_INFINITY, f64::max);
        let whole: f64 = x.iter().map(|&x| (wide(x) - largest).exp()).sum();
        for &x in x {
            let below = largest - wide(x);
            let value = (-below).exp() / whole;
            // An exponent of size `below` carries its rounding into the result as a relative error;
            // the sum of k exponentials errs as √k.
            let within = EPS * (4.0 + below + (classes as f64).sqrt()) * value + TINY;
            y.push(Near { value, within });
        }
    }
    y
}

/// `velocity` and `weight`.
/// `gradient` is a sum that is itself only near: its distance moves the mean square by its derivative
/// `2 (1-rho) g`, and the step by at most `rate / sqrt(epsilon)` for each unit.
pub fn plain_rmsprop_step(
    rule: &Rmsprop,
    gradient: &[Near],
    velocity: &[f32],
    weight: &[f32],
) -> (Vec<Near>, Vec<Near>) {
    let mut out = (Vec::new(), Vec::new());
    for ((g, &v), &w) in gradient.iter().zip(velocity).zip(weight) {
        let (off, g) = (g.within, g.value);
        let v = wide(rule.rho) * wide(v) + (1.0 - wide(rule.rho)) * g * g;
        let step = wide(rule.rate) * g / (v + wide(rule.epsilon)).sqrt();
        let of_v = (1.0 - wide(rule.rho)) * (2.0 * g.abs() + off) * off;
        let of_step = wide(rule.rate) / wide(rule.epsilon).sqrt() * off;
        out.0.push(Near { value: v, within: 3.0 * EPS * v + TINY + of_v });
        let w = wide(w) - step;
        out.1.push(Near { value: w, within: 4.0 * EPS * step.abs() + EPS / 2.0 * w.abs() + of_step });
    }
    out
}

pub fn add(x: &[f32], into: &[f32]) -> Vec<Near> {
    let one = |(&x, &into): (&f32, &f32)| Near::exactly(f64::from(x + into));
    x.iter().zip(into).map(one).collect()
}

/// Convolution and ReLU on activations in f64, for networks deeper than one layer.
pub fn conv2d_relu_f64(g: &Conv2d, x: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
    let mut y = Vec::new();
    for (n, i, j) in (0..g.n * g.h * g.w).map(|p| pixel(g, p)) {
        for (o, &bias) in bias.iter().enumerate() {
            let mut sum = wide(bias);
            for (a, b) in taps() {
                let Some((u, v)) = under(g, i, j, (a, b)) else { continue };
                let x = &x[((n * g.h + u) * g.w + v) * g.c_in..][..g.c_in];
                let weight = &weight[((o * 3 + a) * 3 + b) * g.c_in..][..g.c_in];
                sum += x.iter().zip(weight).map(|(x, &weight)| x * wide(weight)).sum::<f64>();
            }
            y.push(sum.max(0.0));
        }
    }
    y
}

/// Pooling of activations in f64.
pub fn maxpool2d_f64(g: &Pool2d, x: &[f64]) -> Vec<f64> {
    let largest = |at| (0..4).map(|which| x[corner(g, at, which)]).fold(f64::NEG_INFINITY, f64::max);
    windows(g).map(largest).collect()
}
