//! The table: every call at sizes that hurt.
//!
//! Sums run over two kinds of numbers. Small integers make every partial sum exact in f32 whatever its
//! order, so the result must be equal and a single wrong or missing term shows. Reals show how
//! rounding grows.

use super::close::Near;
use super::layout;
use super::loss_scale;
use super::naive;
use super::optimizer;
use super::run::{Case, Data, Make, Output, Want};
use std::fmt::Debug;
use vgg_ft::device::call::{LossRule, MaskSource, Normalize, Rmsprop};
use vgg_ft::device::{Call, Dtype};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

/// `(n, h, w, c_in, c_out)`.
const CONV2D: &[(usize, usize, usize, usize, usize)] = &[
    (1, 1, 1, 5, 3),     // one pixel: eight of nine taps fall outside
    (1, 1, 7, 3, 64),    // one row
    (3, 7, 1, 16, 16),   // one column
    (1, 2, 2, 1, 1),     // nothing but borders
    (1, 5, 7, 3, 4),     // nothing divides anything
    (2, 9, 9, 64, 64),   // block 5's map
    (2, 17, 16, 65, 65), // one past a tile in pixels, in and out
    (1, 13, 19, 33, 96), // one past a block of input channels
    (1, 37, 37, 16, 17), // block 3's map: more pixels than a job takes
    (5, 6, 4, 128, 33),  // jobs and tiles that run across images
    (1, 4, 70, 3, 6),    // a long row
    (2, 8, 8, 31, 15),   // one short of everything
    (3, 7, 5, 40, 32),   // input channels past a block, filters that are whole lines
    (2, 1, 1, 32, 72),   // a map with one pixel
    (2, 3, 2, 32, 48),   // Winograd's F(2x2), tiles cut by the edge
    (1, 13, 11, 48, 32), // F(4x4), cut
    (1, 37, 30, 32, 32), // F(4x4), more tiles than a job takes
    (1, 96, 96, 32, 32), // more tiles than one product of the weights' gradient takes
    (1, 9, 6, 32, 144),  // more filters than one takes
    (1, 6, 3, 272, 48),  // F(3x3), and fewer tiles than threads want: they share them
];

/// `(n, c_in, c_out)`.
const DENSE: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 7, 5),       // nothing divides anything
    (20, 8192, 3),   // the head's long sums
    (20, 256, 1),    // the last layer of two classes
    (3, 65, 64),     // one past a vector
    (21, 1030, 257), // one past everything
    (5, 33, 17),
    (64, 40, 31), // more rows than a tile
];

/// `(n, h, w, c)`.
const POOL2D: &[(usize, usize, usize, usize)] = &[
    (1, 2, 2, 1),
    (1, 5, 7, 3), // an odd row and column are dropped
    (2, 9, 9, 65),
    (3, 4, 6, 8),
    (1, 75, 74, 5),
    (2, 3, 2, 64), // one window per image
];

/// `(n, h, w, c)`.
const GLOBAL_POOL2D: &[(usize, usize, usize, usize)] = &[
    (1, 1, 1, 1),
    (3, 1, 1, 6),   // one pixel: nothing changes
    (2, 4, 4, 512), // VGG16's at 150x150
    (5, 3, 7, 65),  // one past a block of threads, four neighbours in two pixels and in two images
    (1, 16, 16, 3), // a long sum, few channels
];

/// Lengths of elementwise calls; the last is one past several jobs.
const LENGTHS: &[usize] = &[1, 7, 8, 64, 65, 1003, 100_001];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Numbers {
    /// From -4 to 4.
    Integers,
    /// Uniform in [-1, 1).
    Reals,
}
pub(crate) use Numbers::{Integers, Reals};

/// Numbers from a seed of their own.
pub(crate) struct Source(Draws);

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Draws::new(seed, Stream::Demo, 0))
    }

    pub(crate) fn f32(&mut self, kind: Numbers, len: usize) -> Vec<f32> {
        let one = |_| match kind {
            Integers => self.0.below(9) as f32 - 4.0,
            Reals => self.0.range(-1.0, 1.0),
        };
        (0..len).map(one).collect()
    }

    fn u8(&mut self, bound: u32, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.0.below(bound) as u8).collect()
    }
}

/// Whether the cpu may go through Winograd's transforms, whose factors round integers too.
fn transforms(geometry: &Conv2d) -> bool {
    [geometry.c_in, geometry.c_out].into_iter().all(|channels| channels >= 32 && channels % 16 == 0)
}

/// Sums of integers are exact: no bound but equality.
fn bound(kind: Numbers, want: Vec<Near>) -> Vec<Near> {
    match kind {
        Integers => want.into_iter().map(|near| Near::exactly(near.value)).collect(),
        Reals => want,
    }
}

pub(crate) fn case(title: impl Debug, inputs: Vec<Data>, outputs: Vec<Output>, make: Make) -> Case {
    Case { title: format!("{title:?}"), inputs, outputs, make }
}

/// Takes buffers by name: `make!([x, weight] => [y], Call::…)`.
macro_rules! make {
    ([$($input:ident),*] => [$($output:ident),*], $call:expr) => {
        Box::new(move |inputs, outputs| {
            let ([$($input),*], [$($output),*]) = (inputs, outputs) else { panic!("number of buffers") };
            $call
        })
    };
}

#[allow(unused_imports)] // only some of the tests that share this module have cases of their own
pub(crate) use make;

/// All rows.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [Integers, Reals] {
        for &(n, h, w, c_in, c_out) in CONV2D {
            let geometry = Conv2d { n, h, w, c_in, c_out };
            if kind == Reals || !transforms(&geometry) {
                conv2d(&mut cases, kind, geometry);
            }
        }
        for &(n, c_in, c_out) in DENSE {
            dense(&mut cases, kind, Dense { n, c_in, c_out });
        }
        for (rows, channels) in [(1, 1), (1, 65), (300, 3), (1000, 64), (81, 65), (20, 256), (20_000, 17)] {
            let dy = Source::new(1).f32(kind, rows * channels);
            let want = bound(kind, naive::bias_backward(channels, &dy));
            cases.push(case(
                (kind, rows, channels),
                vec![dy.into()],
                vec![Output::fresh(want)],
                make!([dy] => [dbias], Call::BiasBackward { rows, channels, dy, dbias }),
            ));
        }
        for &(n, h, w, c) in POOL2D {
            maxpool2d(&mut cases, kind, Pool2d { n, h, w, c });
        }
        for &(n, h, w, c) in GLOBAL_POOL2D {
            global_avgpool2d(&mut cases, kind, GlobalPool2d { n, h, w, c });
        }
    }
    maxpool2d_nan(&mut cases);
    conv2d_maxpool2d_nan(&mut cases);
    conv2d_conv2d_maxpool2d_forward(&mut cases, Integers);
    conv2d_conv2d_maxpool2d_forward(&mut cases, Reals);
    for &len in LENGTHS {
        elementwise(&mut cases, len);
        dropout(&mut cases, len);
    }
    cases.extend(optimizer::all(LENGTHS));
    for rows in [1, 2, 21, 1000, 22_500] {
        normalize(&mut cases, rows);
    }
    losses(&mut cases);
    cases.extend(layout::all());
    super::augment::cases(&mut cases);
    cases.extend(loss_scale::all());
    cases
}

/// Every call of one convolution.
pub(crate) fn conv2d(cases: &mut Vec<Case>, kind: Numbers, geometry: Conv2d) {
    let mut source = Source::new(2);
    let x = source.f32(kind, geometry.x().len());
    let weight = source.f32(kind, geometry.weight().len());
    let bias = source.f32(kind, geometry.c_out);
    let dy = source.f32(kind, geometry.y().len());
    for relu in [false, true] {
        let want = bound(kind, naive::conv2d_forward(&geometry, &x, &weight, &bias, relu));
        cases.push(case(
            (kind, geometry, relu),
            vec![x.clone().into(), weight.clone().into(), bias.clone().into()],
            vec![Output::fresh(want.clone())],
            make!([x, weight, bias] => [y], Call::Conv2dForward { geometry, x, weight, bias, relu, y }),
        ));
        if relu && geometry.h >= 2 && geometry.w >= 2 {
            conv2d_maxpool2d_forward(cases, kind, geometry, [&x, &weight, &bias], &want);
        }
    }
    let want = bound(kind, naive::conv2d_backward_input(&geometry, &dy, &weight));
    if kind == Integers {
        cases.push(case(
            (kind, geometry),
            vec![dy.clone().into(), weight.clone().into()],
            vec![Output::fresh(want.clone())],
            make!([dy, weight] => [dx], Call::Conv2dBackwardInput { geometry, dy, weight, mask: None, dx }),
        ));
    }
    cases.push(case(
        (kind, geometry, "mask"),
        vec![dy.clone().into(), weight.into(), x.clone().into()],
        vec![Output::fresh(naive::opened(&x, want))],
        make!([dy, weight, mask] => [dx],
            Call::Conv2dBackwardInput { geometry, dy, weight, mask: Some(mask), dx }),
    ));
    let mut want = bound(kind, naive::conv2d_backward_weight(&geometry, &x, &dy));
    if transforms(&geometry) {
        // Winograd's transforms add what belongs to all nine taps and take it away again, with factors up to 8:
        // a tap of few terms has the roundings of the one with the most, and twice that was seen. A missing term
        // is still thousands of bounds away.
        let c_in = geometry.c_in;
        for filter in want.chunks_exact_mut(9 * c_in) {
            for c in 0..c_in {
                let most = (0..9).map(|tap| filter[tap * c_in + c].within).fold(0.0, f64::max);
                (0..9).for_each(|tap| filter[tap * c_in + c].within = 4.0 * most);
            }
        }
    }
    let sums = (want, bound(kind, naive::bias_backward(geometry.c_out, &dy)));
    conv2d_backward_weight(cases, (kind, geometry), [x.into(), dy.into()], sums, None);
}

/// What a convolution's weight's gradient and its bias' go to: `want` are both. `shadow`: a weight's format.
pub fn conv2d_backward_weight(
    cases: &mut Vec<Case>,
    title: (impl Debug, Conv2d),
    [x, dy]: [Data; 2],
    (dweight, dbias): (Vec<Near>, Vec<Near>),
    shadow: Option<Dtype>,
) {
    let geometry = title.1;
    let inputs = || vec![x.clone(), dy.clone()];
    cases.push(case(
        &title,
        inputs(),
        vec![Output::fresh(dweight.clone())],
        make!([x, dy] => [dweight], Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias: None }),
    ));
    cases.push(case(
        (&title, "bias"),
        inputs(),
        vec![Output::fresh(dweight.clone()), Output::fresh(dbias.clone())],
        make!([x, dy] => [dweight, dbias],
            Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias: Some(dbias) }),
    ));
    let rule = Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-3, ..Rmsprop::default() };
    let mut source = Source::new(7);
    let velocity: Vec<f32> = source.f32(Reals, dweight.len()).iter().map(|v| v * v).collect();
    let weight = source.f32(Reals, dweight.len());
    let (v, w) = naive::plain_rmsprop_step(&rule, &dweight, &velocity, &weight);
    // Half a unit of eight bits on top of what the weight may be off.
    let shade =
        |&Near { value, within }: &Near| Near { value, within: within + (value.abs() + within) / 256.0 };
    let shadowed =
        shadow.map(|dtype| Output { before: None, want: Want::Half(dtype, w.iter().map(shade).collect()) });
    let outputs = [
        vec![Output::in_place(velocity, v), Output::in_place(weight, w), Output::fresh(dbias)],
        shadowed.into_iter().collect(),
    ];
    let make: Make = Box::new(move |inputs, outputs| {
        let ([x, dy], [velocity, weight, dbias, rest @ ..]) = (inputs, outputs) else { unreachable!() };
        let (shadow, dbias) = (rest.first_mut(), Some(dbias));
        Call::Conv2dRmspropStep { geometry, rule, x, dy, velocity, weight, shadow, dbias }
    });
    cases.push(case((&title, rule), inputs(), outputs.into_iter().flatten().collect(), make));
}

/// `z` is the rectified convolution. Of reals the winner is a matter of rounding where two are near, so
/// only integers, most of whose windows tie, ask for it.
fn conv2d_maxpool2d_forward(
    cases: &mut Vec<Case>,
    kind: Numbers,
    geometry: Conv2d,
    [x, weight, bias]: [&Vec<f32>; 3],
    z: &[Near],
) {
    let inputs = || vec![x.clone().into(), weight.clone().into(), bias.clone().into()];
    let (want, winner) = naive::maxpool2d_of(&geometry.pool(), z);
    if kind == Integers {
        cases.push(case(
            (kind, geometry, "training"),
            inputs(),
            vec![Output::fresh(want.clone()), Output::fresh_u8(winner)],
            make!([x, weight, bias] => [y, winner],
                Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: Some(winner) }),
        ));
    }
    cases.push(case(
        (kind, geometry, "inference"),
        inputs(),
        vec![Output::fresh(want)],
        make!([x, weight, bias] => [y],
            Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: None }),
    ));
}

/// Both convolutions of a block of few channels. What the first may be off is within the second's bound.
fn conv2d_conv2d_maxpool2d_forward(cases: &mut Vec<Case>, kind: Numbers) {
    for (n, h, w, c_in, c_out) in [(2, 9, 12, 3, 8), (1, 7, 5, 5, 12), (3, 2, 2, 1, 4)] {
        let geometries @ [first, second] = [c_in, c_out].map(|c_in| Conv2d { n, h, w, c_in, c_out });
        let mut source = Source::new(13);
        let mut numbers = |len| source.f32(kind, len);
        let (x, one, other) =
            (numbers(first.x().len()), numbers(first.weight().len()), numbers(second.weight().len()));
        let (bias, last) = (numbers(c_out), numbers(c_out));
        let z = bound(kind, naive::conv2d_forward(&first, &x, &one, &bias, true));
        let [mid, off] = [|near: &Near| near.value as f32, |near: &Near| near.within as f32]
            .map(|of| z.iter().map(of).collect::<Vec<_>>());
        let mut want = bound(kind, naive::conv2d_forward(&second, &mid, &other, &last, true));
        if kind == Reals {
            let size: Vec<f32> = other.iter().map(|w| w.abs()).collect();
            let more = naive::conv2d_forward(&second, &off, &size, &vec![0.0; c_out], false);
            want.iter_mut().zip(&more).for_each(|(near, more)| near.within += more.value);
        }
        let (want, _) = naive::maxpool2d_of(&second.pool(), &want);
        cases.push(case(
            (kind, geometries),
            vec![x.into(), one.into(), other.into(), bias.into(), last.into()],
            vec![Output::fresh(want)],
            make!([x, one, other, bias, last] => [y],
            Call::Conv2dConv2dMaxpool2dForward {
                geometries, x, weights: [one, other], biases: [bias, last], y,
            }),
        ));
    }
}

/// One pixel is NaN: windows with one such corner, with two, with four; and one filter's bias.
fn conv2d_maxpool2d_nan(cases: &mut Vec<Case>) {
    let geometry = Conv2d { n: 2, h: 9, w: 12, c_in: 3, c_out: 8 };
    let mut source = Source::new(12);
    let mut x = source.f32(Integers, geometry.x().len());
    x[(4 * geometry.w + 6) * geometry.c_in + 1] = f32::NAN;
    let weight = source.f32(Integers, geometry.weight().len());
    let mut bias = source.f32(Integers, geometry.c_out);
    bias[5] = f32::NAN;
    let z = bound(Integers, naive::conv2d_forward(&geometry, &x, &weight, &bias, true));
    conv2d_maxpool2d_forward(cases, Integers, geometry, [&x, &weight, &bias], &z);
}

fn dense(cases: &mut Vec<Case>, kind: Numbers, geometry: Dense) {
    let mut source = Source::new(3);
    let x = source.f32(kind, geometry.x().len());
    let weight = source.f32(kind, geometry.weight().len());
    let bias = source.f32(kind, geometry.c_out);
    let dy = source.f32(kind, geometry.y().len());
    for relu in [false, true] {
        let want = bound(kind, naive::dense_forward(&geometry, &x, &weight, &bias, relu));
        cases.push(case(
            (kind, geometry, relu),
            vec![x.clone().into(), weight.clone().into(), bias.clone().into()],
            vec![Output::fresh(want)],
            make!([x, weight, bias] => [y], Call::DenseForward { geometry, x, weight, bias, relu, y }),
        ));
    }
    let want = bound(kind, naive::dense_backward_input(&geometry, &dy, &weight));
    cases.push(case(
        (kind, geometry),
        vec![dy.clone().into(), weight.into()],
        vec![Output::fresh(want)],
        make!([dy, weight] => [dx], Call::DenseBackwardInput { geometry, dy, weight, dx }),
    ));
    let want = bound(kind, naive::dense_backward_weight(&geometry, &x, &dy));
    cases.push(case(
        (kind, geometry),
        vec![x.clone().into(), dy.clone().into()],
        vec![Output::fresh(want.clone())],
        make!([x, dy] => [dweight], Call::DenseBackwardWeight { geometry, x, dy, dweight }),
    ));
    let rule = Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-3, ..Rmsprop::default() };
    let velocity: Vec<f32> = source.f32(Reals, want.len()).iter().map(|v| v * v).collect();
    let weight = source.f32(Reals, want.len());
    let (v, w) = naive::plain_rmsprop_step(&rule, &want, &velocity, &weight);
    cases.push(case(
        (kind, geometry, rule),
        vec![x.into(), dy.into()],
        vec![Output::in_place(velocity, v), Output::in_place(weight, w)],
        make!([x, dy] => [velocity, weight],
            Call::DenseRmspropStep { geometry, rule, x, dy, velocity, weight }),
    ));
}

/// Of integers the sum is exact and the division rounds: f32 has those bits.
fn global_avgpool2d(cases: &mut Vec<Case>, kind: Numbers, geometry: GlobalPool2d) {
    let mut source = Source::new(9);
    let rounded = |want: Vec<Near>| match kind {
        Integers => want.into_iter().map(|near| Near::exactly(f64::from(near.value as f32))).collect(),
        Reals => want,
    };
    let x = source.f32(kind, geometry.x().len());
    let want = rounded(naive::global_avgpool2d_forward(&geometry, &x));
    cases.push(case(
        (kind, geometry),
        vec![x.into()],
        vec![Output::fresh(want)],
        make!([x] => [y], Call::GlobalAvgpool2dForward { geometry, x, y }),
    ));
    let dy = source.f32(kind, geometry.y().len());
    let want = rounded(naive::global_avgpool2d_backward(&geometry, &dy));
    cases.push(case(
        (kind, geometry),
        vec![dy.into()],
        vec![Output::fresh(want)],
        make!([dy] => [dx], Call::GlobalAvgpool2dBackward { geometry, dy, dx }),
    ));
}

/// With integers most windows tie.
fn maxpool2d(cases: &mut Vec<Case>, kind: Numbers, geometry: Pool2d) {
    let mut source = Source::new(4);
    let x = source.f32(kind, geometry.x().len());
    maxpool2d_forward(cases, (kind, geometry), geometry, x);

    let dy = source.f32(kind, geometry.y().len());
    let winner = source.u8(256, geometry.winners());
    let want = naive::maxpool2d_backward(&geometry, &dy, &winner);
    cases.push(case(
        (kind, geometry),
        vec![dy.clone().into(), winner.clone().into()],
        vec![Output::fresh(want)],
        make!([dy, winner] => [dx], Call::Maxpool2dBackward { geometry, dy, winner, mask: None, dx }),
    ));
    let mask = source.f32(kind, geometry.y().len());
    let open: Vec<f32> = dy.iter().zip(&mask).map(|(&dy, &y)| if y > 0.0 { dy } else { 0.0 }).collect();
    let want = naive::maxpool2d_backward(&geometry, &open, &winner);
    cases.push(case(
        (kind, geometry, "mask"),
        vec![dy.into(), winner.into(), mask.into()],
        vec![Output::fresh(want)],
        make!([dy, winner, mask] => [dx],
            Call::Maxpool2dBackward { geometry, dy, winner, mask: Some(mask), dx }),
    ));
}

fn maxpool2d_forward(cases: &mut Vec<Case>, title: impl Debug, geometry: Pool2d, x: Vec<f32>) {
    let (want, winner) = naive::maxpool2d_forward(&geometry, &x);
    cases.push(case(
        (&title, "training"),
        vec![x.clone().into()],
        vec![Output::fresh(want.clone()), Output::fresh_u8(winner)],
        make!([x] => [y, winner], Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }),
    ));
    cases.push(case(
        (&title, "inference"),
        vec![x.into()],
        vec![Output::fresh(want)],
        make!([x] => [y], Call::Maxpool2dForward { geometry, x, y, winner: None }),
    ));
}

/// Every set of corners that are NaN, others that tie, and infinities, in every lane of a vector.
fn maxpool2d_nan(cases: &mut Vec<Case>) {
    let geometry = Pool2d { n: 1, h: 2, w: 2 * 16, c: 17 };
    let mut x = vec![1.0; geometry.x().len()];
    for set in 0..16 {
        for (which, c) in (0..4).flat_map(|which| (0..17).map(move |c| (which, c))) {
            let at = ((which / 2) * geometry.w + 2 * set + which % 2) * geometry.c + c;
            if set >> which & 1 == 1 {
                x[at] = f32::NAN;
            } else if (which + c) % 3 == 0 {
                x[at] = f32::NEG_INFINITY;
            }
        }
    }
    maxpool2d_forward(cases, ("NaN", geometry), geometry, x);
}

fn elementwise(cases: &mut Vec<Case>, len: usize) {
    let mut source = Source::new(5);
    let mut x = source.f32(Reals, len);
    // Zeros of both signs and NaN, which must pass.
    for (at, special) in [(len / 3, 0.0), (len / 2, -0.0), (len - 1, f32::NAN)] {
        x[at] = special;
    }
    let other = source.f32(Reals, len);

    let want = naive::relu_forward(&x);
    cases.push(case(
        len,
        vec![x.clone().into()],
        vec![Output::fresh(want)],
        make!([x] => [y], Call::ReluForward { x, y }),
    ));
    let want = naive::relu_backward(&x, &other);
    cases.push(case(
        len,
        vec![x.clone().into()],
        vec![Output::in_place(other.clone(), want)],
        make!([y] => [gradient], Call::ReluBackward { y, gradient }),
    ));
    let want = naive::add(&x, &other);
    cases.push(case(
        len,
        vec![x.into()],
        vec![Output::in_place(other, want)],
        make!([x] => [into], Call::Add { x, into }),
    ));
    let x: Vec<f32> = source.f32(Reals, len).iter().map(|x| x * 20.0).collect();
    let want = naive::sigmoid(&x);
    cases.push(case(
        len,
        vec![x.into()],
        vec![Output::fresh(want)],
        make!([x] => [y], Call::Sigmoid { x, y }),
    ));
}

fn dropout(cases: &mut Vec<Case>, len: usize) {
    let x = Source::new(6).f32(Reals, len);
    let far = (1 << 40) + 3; // the counter's high half counts too
    for (rate, seed, counter) in [(0.5, 7, 0), (0.0, 7, 1), (0.9, u64::MAX, far)] {
        let source = MaskSource { seed, stream: Stream::Dropout, counter };
        let want = naive::dropout(rate, &source, &x);
        cases.push(case(
            (len, rate, source),
            vec![x.clone().into()],
            vec![Output::fresh(want)],
            make!([x] => [y], Call::Dropout { rate, source, x, y }),
        ));
    }
}

fn normalize(cases: &mut Vec<Case>, rows: usize) {
    let mut source = Source::new(9);
    let pixels = source.u8(256, rows * 3);
    for rule in [
        // Keras' preprocess_input of VGG16: BGR, the mean of ImageNet taken off.
        Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] },
        Normalize { order: [0, 1, 2], scale: [1.0 / 255.0; 3], offset: [0.0; 3] },
        Normalize { order: [1, 1, 0], scale: [1.0, -2.0, 0.5], offset: [0.25, 0.0, -1.0] },
    ] {
        let want = naive::normalize(&rule, &pixels);
        cases.push(case(
            (rows, rule),
            vec![pixels.clone().into()],
            vec![Output::fresh(want)],
            make!([pixels] => [y], Call::Normalize { rows, rule, pixels, y }),
        ));
    }
}

fn losses(cases: &mut Vec<Case>) {
    let mut source = Source::new(10);
    let edges = [0.0, 1e-4, -1e-4, 0.5, 3.0, -30.0, 100.0, -100.0];
    let mut logits: Vec<f32> = edges.iter().chain(&edges).chain(&edges).copied().collect();
    let mut targets: Vec<f32> = (0..3).flat_map(|t| [t as f32 / 2.0; 8]).collect(); // 0, 0.5, 1
    logits.extend(source.f32(Reals, 13).iter().map(|z| z * 5.0));
    targets.extend((0..13).map(|i| (i % 2) as f32));
    for rows in [1, 20, logits.len()] {
        sigmoid_cross_entropy(cases, &logits[..rows], &targets[..rows]);
    }

    for (rows, classes) in [(1, 1), (1, 2), (20, 2), (7, 5), (3, 33), (2, 1000), (33, 7)] {
        let mut logits: Vec<f32> = source.f32(Reals, rows * classes).iter().map(|z| z * 5.0).collect();
        logits[..classes].iter_mut().zip(edges.iter().cycle()).for_each(|(z, edge)| *z = *edge);
        let mut labels: Vec<u32> = (0..rows).map(|row| (row * 3 % classes) as u32).collect();
        if rows > 2 {
            // Ties of all: the first is meant, so label 0 is right and the last is wrong.
            logits[(rows - 2) * classes..].fill(100.0);
            labels[rows - 2..].copy_from_slice(&[0, classes as u32 - 1]);
        }
        softmax_cross_entropy(cases, classes, &logits, &labels);
        let want = naive::softmax(classes, &logits);
        cases.push(case(
            (rows, classes),
            vec![logits.into()],
            vec![Output::fresh(want)],
            make!([x] => [y], Call::Softmax { classes, x, y }),
        ));
    }
}

fn sigmoid_cross_entropy(cases: &mut Vec<Case>, logits: &[f32], targets: &[f32]) {
    let rows = logits.len();
    let rule = LossRule::mean(rows);
    let (outcome, dlogits) = naive::sigmoid_cross_entropy(&rule, logits, targets, None);
    let inputs = || vec![logits.to_vec().into(), targets.to_vec().into()];
    cases.push(case(
        (rows, "training"),
        inputs(),
        vec![Output::fresh(outcome.clone()), Output::fresh(dlogits)],
        make!([logits, targets] => [outcome, dlogits], Call::SigmoidCrossEntropy {
            rule, logits, targets, weights: None, outcome, dlogits: Some(dlogits),
        }),
    ));
    cases.push(case(
        (rows, "evaluation"),
        inputs(),
        vec![Output::fresh(outcome)],
        make!([logits, targets] => [outcome], Call::SigmoidCrossEntropy {
            rule, logits, targets, weights: None, outcome, dlogits: None,
        }),
    ));
    let (rule, weights) = (part_of_a_batch(rows), row_weights(rows));
    let (outcome, dlogits) = naive::sigmoid_cross_entropy(&rule, logits, targets, Some(&weights));
    cases.push(case(
        (rows, "weighted, smoothed"),
        [inputs(), vec![weights.into()]].into_iter().flatten().collect(),
        vec![Output::fresh(outcome), Output::fresh(dlogits)],
        make!([logits, targets, weights] => [outcome, dlogits], Call::SigmoidCrossEntropy {
            rule, logits, targets, weights: Some(weights), outcome, dlogits: Some(dlogits),
        }),
    ));
}

fn softmax_cross_entropy(cases: &mut Vec<Case>, classes: usize, logits: &[f32], labels: &[u32]) {
    let rows = labels.len();
    let rule = LossRule::mean(rows);
    let (outcome, dlogits) = naive::softmax_cross_entropy(&rule, classes, logits, labels, None);
    let inputs = || vec![logits.to_vec().into(), labels.to_vec().into()];
    cases.push(case(
        (rows, classes, "training"),
        inputs(),
        vec![Output::fresh(outcome.clone()), Output::fresh(dlogits)],
        make!([logits, labels] => [outcome, dlogits], Call::SoftmaxCrossEntropy {
            rule, classes, logits, labels, weights: None, outcome, dlogits: Some(dlogits),
        }),
    ));
    cases.push(case(
        (rows, classes, "evaluation"),
        inputs(),
        vec![Output::fresh(outcome)],
        make!([logits, labels] => [outcome], Call::SoftmaxCrossEntropy {
            rule, classes, logits, labels, weights: None, outcome, dlogits: None,
        }),
    ));
    let (rule, weights) = (part_of_a_batch(rows), row_weights(rows));
    let (outcome, dlogits) = naive::softmax_cross_entropy(&rule, classes, logits, labels, Some(&weights));
    cases.push(case(
        (rows, classes, "weighted, smoothed"),
        [inputs(), vec![weights.into()]].into_iter().flatten().collect(),
        vec![Output::fresh(outcome), Output::fresh(dlogits)],
        make!([logits, labels, weights] => [outcome, dlogits], Call::SoftmaxCrossEntropy {
            rule, classes, logits, labels, weights: Some(weights), outcome, dlogits: Some(dlogits),
        }),
    ));
}

/// A call that sees `rows` of a batch of half as many again.
fn part_of_a_batch(rows: usize) -> LossRule {
    LossRule { denominator: rows + rows.div_ceil(2), smoothing: 0.1 }
}

/// From 0, which silences a row, upwards.
fn row_weights(rows: usize) -> Vec<f32> {
    (0..rows).map(|row| row as f32 % 4.0 * 0.75).collect()
}
