//! Convolutions on tensor cores, as cases: factors rounded as the cores get them, and what naive loops make of them.

use super::cases::{Integers, Numbers, Reals, Source, case, conv2d_backward_weight, make};
use super::close::Near;
use super::devices::gather;
use super::half::Half;
use super::naive;
use super::run::{Case, Data, Output, Want};
use vgg_ft::device::call::{Adjust, ParameterUpdate, Rmsprop};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::driver::Driver;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::gpu::module::MODULES;
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::ptx::{Program, Space};
use vgg_ft::shape::{Conv2d, Dense};

/// `(n, h, w, c_in, c_out)`.
pub type Sizes = (usize, usize, usize, usize, usize);

/// What kernels for every GPU are tested with.
pub const PORTABLE: &[Sizes] = &[
    (1, 1, 1, 8, 8),      // one pixel: eight of nine taps fall outside
    (3, 7, 1, 16, 16),    // one column
    (2, 9, 9, 64, 64),    // block 5's map
    (1, 3, 43, 64, 136),  // one past a tile in pixels, a chunk past one in filters
    (2, 5, 13, 136, 128), // the same in channels; depth past two steps
    (1, 12, 11, 72, 24),  // a tail of the depth
    (5, 6, 4, 128, 40),   // tiles that run across images
    (2, 1, 1, 32, 72),    // a map with one pixel
    (33, 2, 2, 8, 16),    // more maps than a step has rows of
    (1, 4, 70, 16, 8),    // a long row
    (1, 13, 13, 3, 64),   // the first layer
    (1, 5, 7, 3, 70),     // the same with filters past a tile
    (1, 5, 7, 3, 4),      // nothing divides anything
    (1, 2, 2, 1, 1),      // nothing but borders
    (2, 9, 8, 65, 66),    // one past a tile of what takes any channels
    (3, 7, 5, 20, 12),    // whole chunks of f32, not of bf16
    (2, 3, 2, 8, 7),      // filters alone are ragged
    (1, 11, 3, 5, 8),     // channels alone are
];

/// What Hopper's are: channels are multiples of 64.
pub const HOPPER: &[Sizes] = &[
    (1, 1, 1, 64, 64),     // one pixel: eight of nine taps fall outside
    (3, 7, 1, 64, 64),     // one column
    (1, 9, 9, 64, 128),    // block 5's map, alone
    (1, 3, 43, 128, 64),   // one past a tile in pixels
    (5, 6, 5, 64, 192),    // tiles that run across images; filters that only the narrow tile divides
    (2, 13, 10, 192, 128), // the same of channels; several tiles of pixels
    (1, 4, 70, 64, 64),    // a long row
    (1, 19, 11, 128, 128), // a pool from two steps of channels, lines and columns without a window
    (33, 2, 2, 64, 64),    // more maps than a step has rows of
    (1, 3, 11, 128, 256),  // filters of the widest tile; one pixel past a step of tf32
];

pub fn geometry(&(n, h, w, c_in, c_out): &Sizes) -> Conv2d {
    Conv2d { n, h, w, c_in, c_out }
}

/// Our machine and a GPU, as they are asked for or here; a GPU without these kernels is left out.
pub fn devices(precision: Precision, kernels: Kernels) -> Vec<Box<dyn Device>> {
    let emulator =
        || -> Option<Box<dyn Device>> { Some(Box::new(emulator(Options::default(), precision, kernels))) };
    gather(Vec::new, emulator, || card(precision, kernels))
}

/// The same without our machine, for what would take it an hour.
pub fn cards(precision: Precision, kernels: Kernels) -> Vec<Box<dyn Device>> {
    gather(Vec::new, Vec::new, || card(precision, kernels))
}

/// The first GPU, buffers guarded, if it has these kernels.
pub fn card(precision: Precision, kernels: Kernels) -> Option<Box<dyn Device>> {
    let card = Cuda::open(cuda::Options { guarded: true, ..cuda::Options::default() }).unwrap();
    let capability = card.limits().capability;
    if precision.runs_on(capability) && (kernels != Kernels::Sm90a || capability == 90) {
        return Some(Box::new(working(card, precision, kernels)));
    }
    skipped!("the GPU has no {kernels} kernels of {precision}");
    None
}

/// Our machine as a GPU that has these kernels.
pub fn emulator(options: Options, precision: Precision, kernels: Kernels) -> Gpu<Emulator> {
    let capability = if kernels == Kernels::Sm90a { 90 } else { options.capability };
    working(Emulator::new(Options { capability, ..options }).unwrap(), precision, kernels)
}

pub fn working<D: Driver + 'static>(driver: D, precision: Precision, kernels: Kernels) -> Gpu<D> {
    Gpu::new(driver).unwrap().with_precision(precision).with_kernels(kernels).unwrap()
}

/// A factor as tensor cores get it: of 16 bits what is in memory, of tf32 what `cvt.rna` makes of it, or TMA; of tf32x3
/// itself, since what its two parts leave out is within the bound of [`sums`].
pub fn factor(precision: Precision, x: f32) -> f32 {
    match (Half::of(precision), precision) {
        (Some(half), _) => half.round(x),
        (None, Precision::Tf32) => f32::from_bits((x.to_bits() + 0x1000) & !0x1fff),
        (None, _) => x,
    }
}

/// Not halfway between two tf32, where `cvt.rna` goes away from zero and TMA to the even one.
fn decided(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x1fff == 0x1000 { bits | 1 } else { bits })
}

/// Numbers as they lie in memory, and as factors.
pub fn numbers(precision: Precision, kind: Numbers, seed: u64, len: usize) -> (Data, Vec<f32>) {
    let x: Vec<f32> = Source::new(seed).f32(kind, len).into_iter().map(decided).collect();
    let factors = x.iter().map(|&x| factor(precision, x)).collect();
    match Half::of(precision) {
        Some(half) => (half.data(&x), factors),
        None => (Data::F32(x), factors),
    }
}

/// An output of activations. Sums of integers are exact, also in f32, so only the rounding to 16 bits remains, and it
/// is known; of reals it is half a unit of their last place on top of what the sum may be off.
fn output(precision: Precision, kind: Numbers, want: Vec<Near>) -> Output {
    let want: Vec<Near> = match (Half::of(precision), kind) {
        (Some(half), Integers) => {
            want.into_iter().map(|near| Near::exactly(half.round(near.value as f32).into())).collect()
        }
        (Some(half), Reals) => want.into_iter().map(|sum| half.near(sum)).collect(),
        (None, kind) => sums(kind, want),
    };
    kept(precision, want)
}

/// Activations that the device keeps.
pub fn kept(precision: Precision, want: Vec<Near>) -> Output {
    match Half::of(precision) {
        Some(Half(dtype)) => Output { before: None, want: Want::Half(dtype, want) },
        None => Output::fresh(want),
    }
}

/// Sums in f32, within the bound of `Sum::near`: EPS·(2 + √terms) of the sum of magnitudes. That counts roundings of any
/// sign; tensor cores cut, always towards zero, once for four products or more and by an EPS of the partial sum at most.
/// Numbers are of both signs, so partial sums grow as √terms where magnitudes grow as terms, and all cuts together stay
/// below EPS·√terms / 4. Of split factors each product lacks besides 2^-23 of it at most for what either factor's two parts
/// leave out, and 2^-22 at most for the product of the small parts: together 4 EPS of the sum of magnitudes, were all of
/// one sign and at their largest, which is what the bound allows four terms; of fewer they never all are.
fn sums(kind: Numbers, want: Vec<Near>) -> Vec<Near> {
    match kind {
        Integers => want.into_iter().map(|near| Near::exactly(near.value)).collect(),
        Reals => want,
    }
}

/// All calls of one geometry.
pub fn cases(precision: Precision, kind: Numbers, g: Conv2d) -> Vec<Case> {
    let mut cases = Vec::new();
    let bf = |seed, len| numbers(precision, kind, seed, len);
    let (x_data, x) = bf(1, g.x().len());
    let (weight_data, weight) = bf(2, g.weight().len());
    let (dy_data, dy) = bf(3, g.y().len());
    let (mask_data, mask) = bf(4, g.x().len());
    let bias = Source::new(5).f32(kind, g.c_out);
    let title = (precision, kind, g);
    for relu in [false, true] {
        let want = naive::conv2d_forward(&g, &x, &weight, &bias, relu);
        cases.push(case(
            (title, relu),
            vec![x_data.clone(), weight_data.clone(), bias.clone().into()],
            vec![output(precision, kind, want)],
            make!([x, weight, bias] => [y], Call::Conv2dForward { geometry: g, x, weight, bias, relu, y }),
        ));
    }
    let want = naive::conv2d_backward_input(&g, &dy, &weight);
    cases.push(case(
        title,
        vec![dy_data.clone(), weight_data.clone()],
        vec![output(precision, kind, want.clone())],
        make!([dy, weight] => [dx], Call::Conv2dBackwardInput { geometry: g, dy, weight, mask: None, dx }),
    ));
    cases.push(case(
        (title, "mask"),
        vec![dy_data.clone(), weight_data.clone(), mask_data],
        vec![output(precision, kind, naive::opened(&mask, want))],
        make!([dy, weight, mask] => [dx],
            Call::Conv2dBackwardInput { geometry: g, dy, weight, mask: Some(mask), dx }),
    ));
    let dweight = sums(kind, naive::conv2d_backward_weight(&g, &x, &dy));
    // The bias' sums are of what is in memory: of f32 nothing is rounded.
    let dbias = match &dy_data {
        Data::F32(dy) => naive::bias_backward(g.c_out, dy),
        _ => naive::bias_backward(g.c_out, &dy),
    };
    let title_of = ((precision, kind), g);
    let shadow = (precision == Precision::Bf16).then_some(Dtype::Bf16);
    conv2d_backward_weight(
        &mut cases,
        title_of,
        [x_data.clone(), dy_data],
        (dweight, sums(kind, dbias)),
        shadow,
    );
    if g.h > 1 && g.w > 1 {
        let z = naive::conv2d_forward(&g, &x, &weight, &bias, true);
        // Of reals the winner is a matter of rounding; integers of 16 bits tie after it.
        let z = match &output(precision, kind, z).want {
            Want::Half(_, z) | Want::F32(z) => z.clone(),
            Want::U8(_) | Want::U32(_) | Want::Bits(_) => unreachable!(),
        };
        let (want, winner) = naive::maxpool2d_of(&g.pool(), &z);
        let y = || kept(precision, want.clone());
        let inputs = || vec![x_data.clone(), weight_data.clone(), bias.clone().into()];
        cases.push(case(
            (title, "inference"),
            inputs(),
            vec![y()],
            make!([x, weight, bias] => [y],
                Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y, winner: None }),
        ));
        if kind == Integers {
            cases.push(case(
                (title, "training"),
                inputs(),
                vec![y(), Output::fresh_u8(winner)],
                make!([x, weight, bias] => [y, winner],
                    Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y, winner: Some(winner) }),
            ));
        }
    }
    cases
}

/// The calls of [`cases`] on zeros, without what they should give.
pub fn cases_like(precision: Precision, g: Conv2d) -> Vec<Case> {
    let some = |len| Data::zeros(precision.activations(), len);
    let bias = || Data::zeros(Dtype::F32, g.c_out);
    let none = |len: usize| kept(precision, vec![Near::exactly(0.0); len]);
    let (x, w, y) = (g.x().len(), g.weight().len(), g.y().len());
    vec![
        case(
            g,
            vec![some(x), some(w), bias()],
            vec![none(y)],
            make!([x, weight, bias] => [y], Call::Conv2dForward { geometry: g, x, weight, bias, relu: true, y }),
        ),
        case(
            g,
            vec![some(x), some(w), bias()],
            vec![none(g.pool().y().len()), Output::fresh_u8(vec![0; g.pool().winners()])],
            make!([x, weight, bias] => [y, winner],
                Call::Conv2dMaxpool2dForward { geometry: g, x, weight, bias, y, winner: Some(winner) }),
        ),
        case(
            g,
            vec![some(y), some(w), some(x)],
            vec![none(x)],
            make!([dy, weight, mask] => [dx],
                Call::Conv2dBackwardInput { geometry: g, dy, weight, mask: Some(mask), dx }),
        ),
        case(
            g,
            vec![some(x), some(y)],
            [w, g.c_out].map(|len| Output::fresh(vec![Near::exactly(0.0); len])).into(),
            make!([x, dy] => [dweight, dbias],
                Call::Conv2dBackwardWeight { geometry: g, x, dy, dweight, dbias: Some(dbias) }),
        ),
    ]
}

/// `conv2d_rmsprop_step` is `conv2d_backward_weight` and `rmsprop_step` in one pass: the same sums in the same order,
/// so the same bits, of the weight, its mean square and its shadow; and `dbias` is the same with both, and asking for
/// it changes no other sum.
pub fn step_equals_its_halves(device: &dyn Device, precision: Precision, geometry: Conv2d) {
    let half = |seed, len| numbers(precision, Reals, seed, len).0.upload(device);
    let (x, dy) = (&half(1, geometry.x().len()), &half(2, geometry.y().len()));
    let len = geometry.weight().len();
    let (velocity, weight) = (Source::new(3).f32(Reals, len), Source::new(4).f32(Reals, len));
    let velocity: Vec<f32> = velocity.iter().map(|v| v * v).collect();
    let rule = Rmsprop::default();
    let fresh = |len| device.alloc(Dtype::F32, len).unwrap();
    let state = || {
        let shadow = (precision == Precision::Bf16).then(|| device.alloc(Dtype::Bf16, len).unwrap());
        (device.upload(&velocity).unwrap(), device.upload(&weight).unwrap(), shadow, fresh(geometry.c_out))
    };
    let (mut v1, mut w1, mut shadow1, mut dbias1) = state();
    let (mut v2, mut w2, mut shadow2, mut dbias2) = state();
    let [mut alone, mut gradient] = [fresh(len), fresh(len)];
    let dweight = &mut alone;
    device.run(Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias: None }).unwrap();
    let (dweight, dbias) = (&mut gradient, Some(&mut dbias1));
    device.run(Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias }).unwrap();
    let slot = ParameterUpdate {
        gradient: &gradient,
        weight: &mut w1,
        velocity: Some(&mut v1),
        momentum: None,
        mean: None,
        shadow: shadow1.as_mut(),
    };
    device.run(Call::RmspropStep { rule, adjust: Adjust::NONE, scaling: None, tensors: vec![slot] }).unwrap();
    let (velocity, weight, shadow, dbias) = (&mut v2, &mut w2, shadow2.as_mut(), Some(&mut dbias2));
    device.run(Call::Conv2dRmspropStep { geometry, rule, x, dy, velocity, weight, shadow, dbias }).unwrap();
    let same = |what: &str, a: &Buffer, b: &Buffer| {
        let [a, b] = [a, b].map(|buffer| {
            let mut bytes = vec![0; buffer.len() * buffer.dtype().size()];
            device.download_bytes(buffer, &mut bytes).unwrap();
            bytes
        });
        let differs = a.iter().zip(&b).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{what} of {geometry:?} on {}", device.describe().name);
    };
    same("the gradient", &alone, &gradient);
    same("the mean square", &v1, &v2);
    same("the weight", &w1, &w2);
    same("the bias' gradient", &dbias1, &dbias2);
    if let (Some(apart), Some(fused)) = (&shadow1, &shadow2) {
        same("the shadow", apart, fused);
    }
}

/// The dense layer forward: with a ReLU, which keeps the format of its input, and without one, whose logits are f32.
/// Without tf32: that splits its factors here (`tf32x3`).
pub fn dense_cases(precision: Precision, kind: Numbers, g: Dense) -> Vec<Case> {
    let (x_data, x) = numbers(precision, kind, 1, g.x().len());
    let (weight_data, weight) = numbers(precision, kind, 2, g.weight().len());
    let bias = Source::new(3).f32(kind, g.c_out);
    let make = |relu: bool| {
        let want = naive::dense_forward(&g, &x, &weight, &bias, relu);
        let y = if relu { output(precision, kind, want) } else { Output::fresh(sums(kind, want)) };
        case(
            (precision, kind, g, relu),
            vec![x_data.clone(), weight_data.clone(), bias.clone().into()],
            vec![y],
            make!([x, weight, bias] => [y], Call::DenseForward { geometry: g, x, weight, bias, relu, y }),
        )
    };
    [false, true].map(make).into()
}

/// No access to shared memory that a warp of `gpu` made by itself, neither by ldmatrix nor by cp.async, waited for a
/// bank; how many there were.
pub fn waits_for_no_bank(gpu: &Gpu<Emulator>) -> u64 {
    let mut seen = 0;
    for entry in MODULES.iter().flat_map(|module| module.entries) {
        let Some(statistics) = gpu.driver().take_statistics(entry.name) else { continue };
        let shared = |program: &Program, _: &_| -> Vec<(u64, u64)> {
            let rows = program.accesses.iter().zip(&statistics.touched);
            let rows = rows.filter(|(access, _)| access.space == Space::Shared);
            rows.map(|(_, touched)| (touched.passes, touched.ideal)).collect()
        };
        for (passes, ideal) in gpu.driver().look(entry.name, shared).unwrap() {
            assert_eq!(passes, ideal, "{}", entry.name);
            seen += passes;
        }
    }
    seen
}

/// Every case of every geometry on every device.
pub fn all_agree(devices: &[Box<dyn Device>], geometries: &[Sizes], precision: Precision, kind: Numbers) {
    each_agrees(devices, geometries.iter().flat_map(|g| cases(precision, kind, geometry(g))));
}

/// Every case on every device; on a GPU without these kernels there is none, which was said.
pub fn each_agrees(devices: &[Box<dyn Device>], cases: impl Iterator<Item = Case>) {
    let mut failures = Vec::new();
    for case in cases {
        for device in devices {
            if let Some(miss) = case.check(&**device) {
                failures.push(format!("{}: {miss}", case.name(&**device)));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}
