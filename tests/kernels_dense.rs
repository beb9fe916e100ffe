//! The dense layer forward on tensor cores against naive loops over the factors that they get, by batch; its sums as
//! near as f32's where factors are split; and ImageNet's classifier as a whole.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::cases::{Integers, Numbers, Reals, Source};
use support::run::{Data, Want};
use support::tensor_cores::{self, dense_cases, devices, each_agrees, emulator};
use vgg_ft::device::gpu::emulator::{Options, Tensor};
use vgg_ft::device::{Call, Device, Dtype, Kernels, Precision};
use vgg_ft::graph::{Mode, Tape, Tensor as Value};
use vgg_ft::model::{Architecture, Network, Source as From, Variant};
use vgg_ft::shape::{Dense, Shape};

/// Batches: a row, some, a whole tile, the usual, one past two tiles, the largest tile, past it.
const BATCHES: [usize; 8] = [1, 3, 16, 20, 32, 33, 64, 70];

/// `(c_in, c_out)`.
const SIZES: [(usize, usize); 8] = [
    (8, 8),     // a chunk
    (64, 128),  // a step, a tile
    (72, 136),  // one chunk past both
    (2056, 40), // many parts, the last one short
    (520, 264), // parts of several steps
    (4, 12),    // whole chunks of f32, not of bf16
    (65, 3),    // nothing divides anything
    (1, 1),
];

const FORMATS: [Precision; 2] = [Precision::Bf16, Precision::Tf32x3];

fn all_agree(precision: Precision, kind: Numbers) {
    let all = BATCHES.into_iter().flat_map(|n| SIZES.map(|(c_in, c_out)| Dense { n, c_in, c_out }));
    each_agrees(&devices(precision, Kernels::Portable), all.flat_map(|g| dense_cases(precision, kind, g)));
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
fn tf32x3_integers_are_exact() {
    all_agree(Precision::Tf32x3, Integers);
}

#[test]
fn tf32x3_reals_are_near() {
    all_agree(Precision::Tf32x3, Reals);
}

/// Under tf32, which convolutions alone round to, the classifier's sums are those of split factors, bit for bit.
#[test]
fn tf32_splits_factors_of_dense_layers() {
    for case in dense_cases(Precision::Tf32x3, Reals, Dense { n: 5, c_in: 300, c_out: 20 }) {
        let [tf32, split] = [Precision::Tf32, Precision::Tf32x3].map(|precision| {
            let machine =
                emulator(Options { tensor: Tensor::Hopper, ..Options::fast() }, precision, Kernels::Portable);
            case.results(&machine).unwrap()[0].bits()
        });
        assert_eq!(tf32, split);
    }
}

/// As an H100 adds, which cuts: at most twice the error of fused multiply-adds, for the reasons in kernels_tf32x3.rs.
#[test]
fn errors_of_split_factors_are_those_of_f32() {
    let g = Dense { n: 20, c_in: 8192, c_out: 64 };
    let [logits, _] = &dense_cases(Precision::Tf32x3, Reals, g)[..] else { panic!("two cases") };
    let error = |precision, tensor| -> f64 {
        let machine = emulator(Options { tensor, ..Options::fast() }, precision, Kernels::Portable);
        let (Data::F32(got), Want::F32(want)) =
            (&logits.results(&machine).unwrap()[0], &logits.outputs[0].want)
        else {
            panic!("logits in f32")
        };
        got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want.value).powi(2)).sum::<f64>().sqrt()
    };
    let (f32, split) = (error(Precision::F32, Tensor::Fast), error(Precision::Tf32x3, Tensor::Hopper));
    println!("f32 {f32:.1e}, tf32x3 {split:.1e}");
    assert!(split <= 2.0 * f32, "f32 {f32:.1e}, tf32x3 {split:.1e}");
}

#[test]
fn no_load_or_store_of_shared_memory_waits_for_a_bank() {
    for precision in FORMATS {
        let gpu = emulator(Options { statistics: true, ..Options::fast() }, precision, Kernels::Portable);
        for (n, c_in, c_out) in [(16, 256, 128), (20, 256, 128), (64, 256, 128), (20, 65, 127)] {
            for case in dense_cases(precision, Integers, Dense { n, c_in, c_out }) {
                case.results(&gpu).unwrap();
            }
        }
        let seen = tensor_cores::waits_for_no_bank(&gpu);
        // bf16 goes by ldmatrix and cp.async alone, but for what is packed.
        assert!(seen > 0, "{precision}");
    }
}

/// What a device of bf16 refuses: weights in another format than x, results in neither.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let g = Dense { n: 3, c_in: 16, c_out: 8 };
    let device: &dyn Device = &emulator(Options::default(), Precision::Bf16, Kernels::Portable);
    let alloc = |dtype, len| device.alloc(dtype, len).unwrap();
    let (x, bias) = (alloc(Dtype::Bf16, g.x().len()), alloc(Dtype::F32, g.c_out));
    for (weight, y, name) in [(Dtype::F32, Dtype::Bf16, "weight"), (Dtype::Bf16, Dtype::U8, "y")] {
        let (weight, mut y) = (alloc(weight, g.weight().len()), alloc(y, g.y().len()));
        let call =
            Call::DenseForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y };
        let error = device.run(call).unwrap_err();
        assert!(error.message().starts_with(&format!("dense_forward: `{name}`")), "{error}");
    }
}

/// Relative, of logits.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(|i| f(i).powi(2)).sum::<f64>();
    (squares(&|i| f64::from(a[i]) - f64::from(b[i])) / squares(&|i| f64::from(b[i]))).sqrt()
}

/// ImageNet's classifier on the features of small images, 512 to 4096, 4096 and 1000, random weights: in bf16 in
/// inference, in f32 where gradients may flow back, and there to the bit what a device of f32 makes of it.
#[test]
fn the_classifier_of_imagenet_is_near_f32_and_f32_on_the_way_back() {
    let architecture = Architecture::vgg(Variant::Vgg16, [32, 32]).unwrap().with_top().unwrap();
    let (base, end) = (architecture.base(), architecture.layers().len());
    let shape = architecture.shape_before(base);
    let rows = 3;
    let features: Vec<f32> =
        Source::new(1).f32(Reals, rows * shape.len()).into_iter().map(|x| x.max(0.0)).collect();
    let logits = |precision, mode| -> Vec<f32> {
        let device: &dyn Device = &emulator(Options::fast(), precision, Kernels::Portable);
        let network = Network::new(device, architecture.clone(), |_| From::Glorot { seed: 1 }).unwrap();
        for parameter in network.parameters() {
            let kernel = parameter.shape().axes().len() > 1;
            assert_eq!(
                parameter.shadow().is_some(),
                kernel && precision == Precision::Bf16,
                "{}",
                parameter.name
            );
        }
        let axes = [&[rows][..], &shape.axes()[1..]].concat();
        let x = Value::constant(Shape::new(&axes), device.upload(&features).unwrap()).unwrap();
        let y = network.forward(&Tape::new(device, mode), x, base..end, None).unwrap();
        device.download(y.buffer()).unwrap()
    };
    let f32 = logits(Precision::F32, Mode::Inference);
    assert!(f32.iter().all(|x| x.is_finite()) && f32.iter().any(|x| *x != f32[0]));
    // Factors of 8 bits err by 2^-10 in the mean, and so do three layers' activations; the errors of a sum average.
    // Without a layer's bias, ReLU or part the logits would be others altogether.
    for (precision, limit) in [(Precision::Bf16, 1e-2), (Precision::Tf32x3, 2e-6)] {
        let error = distance(&logits(precision, Mode::Inference), &f32);
        println!("{precision}: {error:.1e}");
        assert!(error > 0.0 && error < limit, "{precision}: {error:.1e}");
    }
    assert!(logits(Precision::Bf16, Mode::Training) == f32, "not f32 where it may learn");
}
