//! Convolutions on tensor cores, as cases: factors rounded as the cores get them, and what naive loops make of them.

use super::cases::{Integers, Numbers, Reals, Source, case, make};
use super::close::Near;
use super::devices::gather;
use super::half::Half;
use super::naive;
use super::run::{Case, Data, Output, Want};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{self, Cuda};
use vgg_ft::device::gpu::driver::Driver;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::{Call, Device, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// `(n, h, w, c_in, c_out)`.
pub type Sizes = (usize, usize, usize, usize, usize);

pub fn geometry(&(n, h, w, c_in, c_out): &Sizes) -> Conv2d {
    Conv2d { n, h, w, c_in, c_out }
}

/// Our machine and a card, as they are asked for or here; a card without these kernels is left out.
pub fn devices(precision: Precision, kernels: Kernels) -> Vec<Box<dyn Device>> {
    let card = || -> Option<Box<dyn Device>> {
        let card = Cuda::open(cuda::Options { guarded: true, ..cuda::Options::default() }).unwrap();
        let capability = card.limits().capability;
        if precision.runs_on(capability) && (kernels == Kernels::Portable || capability == 90) {
            return Some(Box::new(working(card, precision, kernels)));
        }
        println!("skipped: the card has no {kernels} kernels of {precision}");
        None
    };
    gather(Vec::new, || Some(Box::new(emulator(Options::default(), precision, kernels))), card)
}

/// Our machine as a card that has these kernels.
pub fn emulator(options: Options, precision: Precision, kernels: Kernels) -> Gpu<Emulator> {
    let capability = if kernels == Kernels::Sm90a { 90 } else { options.capability };
    working(Emulator::new(Options { capability, ..options }).unwrap(), precision, kernels)
}

pub fn working<D: Driver + 'static>(driver: D, precision: Precision, kernels: Kernels) -> Gpu<D> {
    Gpu::new(driver).unwrap().with_precision(precision).with_kernels(kernels).unwrap()
}

/// A factor as tensor cores get it: of 16 bits what is in memory, of tf32 what `cvt.rna` makes of it.
fn factor(precision: Precision, x: f32) -> f32 {
    match Half::of(precision) {
        Some(half) => half.round(x),
        None => f32::from_bits((x.to_bits() + 0x1000) & !0x1fff),
    }
}

/// Numbers as they lie in memory, and as factors.
pub fn numbers(precision: Precision, kind: Numbers, seed: u64, len: usize) -> (Data, Vec<f32>) {
    let x = Source::new(seed).f32(kind, len);
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

/// Sums in f32. Tensor cores cut where `Sum::near` counts roundings, but once for eight products or more.
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
    cases.push(case(
        title,
        vec![x_data.clone(), dy_data],
        vec![Output::fresh(sums(kind, naive::conv2d_backward_weight(&g, &x, &dy)))],
        make!([x, dy] => [dweight], Call::Conv2dBackwardWeight { geometry: g, x, dy, dweight }),
    ));
    if g.h > 1 && g.w > 1 {
        let z = naive::conv2d_forward(&g, &x, &weight, &bias, true);
        // Of reals the winner is a matter of rounding; integers of 16 bits tie after it.
        let z = match &output(precision, kind, z).want {
            Want::Half(_, z) | Want::F32(z) => z.clone(),
            Want::U8(_) | Want::U32(_) => unreachable!(),
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
        // Elsewhere it is two launches, the second the pool's own kernel.
        if kind == Integers && g.c_out.is_multiple_of(4) {
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

/// Every case of every geometry on every device.
pub fn all_agree(devices: &[Box<dyn Device>], geometries: &[Sizes], precision: Precision, kind: Numbers) {
    let mut failures = Vec::new();
    for g in geometries.iter().map(geometry) {
        for case in cases(precision, kind, g) {
            for device in devices {
                if let Some(miss) = case.check(&**device) {
                    failures.push(format!("{}: {miss}", case.name(&**device)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}
