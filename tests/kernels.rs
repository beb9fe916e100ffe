//! Every call on every device against naive loops; and what every kernel owes besides its result.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use support::run::{Case, Data};
use support::{cases, devices, naive, optimizer};
use vgg_ft::device::augment::{Border, Gather};
use vgg_ft::device::call::{
    Adjust, Keeps, LossRule, MaskSource, Normalize, ParameterUpdate, Rmsprop, Rule, Sgd,
};
use vgg_ft::device::{Buffer, Call, Device, Dtype, LossScale, Precision};
use vgg_ft::error::Kind;
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

fn fail_together(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// Outputs start as NaN where the device can do that, so an element that is not written fails;
/// downloads fail when something was written beside a buffer.
#[test]
fn every_call_agrees_with_naive_loops() {
    let mut failures = Vec::new();
    let cases = cases::all();
    for device in devices::all() {
        let device = &*device;
        for case in &cases {
            if let Some(miss) = case.check(device) {
                failures.push(format!("{}: {}: {miss}", devices::name(device), case.name(device)));
            }
        }
    }
    fail_together(&failures);
}

/// Small kernels are compiled for 9.0 once more, where they may begin before the one before them has ended: with a GPU's
/// own instructions for bf16 and, checked here too, a wait before all else.
#[test]
fn kernels_for_hopper_agree_with_naive_loops() {
    let Some(device) = devices::hopper() else { return };
    let device = &*device;
    // Those of f32 are one text for all GPUs; of what is left, the weight's sum is the parts' end.
    let convolutions = ["conv2d_forward", "conv2d_maxpool2d_forward", "conv2d_backward_input"];
    let small = |case: &&Case| !convolutions.contains(&case.call_name(device));
    let mut failures = Vec::new();
    let cases = cases::all();
    for case in cases.iter().filter(small) {
        if let Some(miss) = case.check(device) {
            failures.push(format!("{}: {miss}", case.name(device)));
        }
    }
    fail_together(&failures);
}

/// Names of all calls, read from the source: a new call without a case is found.
fn names() -> impl Iterator<Item = &'static str> {
    let source = include_str!("../src/device/call/name.rs");
    source.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split("=> \"").nth(1))
}

#[test]
fn every_call_has_cases() {
    let device = &devices::cpus(&[1])[0];
    let cases = cases::all();
    let mut count = 0;
    for name in names() {
        count += 1;
        assert!(cases.iter().any(|case| case.call_name(&**device) == name), "{name} has no case");
    }
    // As many as there are calls: house::every_call_has_its_name_on_the_cpu.
    assert!(count >= 31, "only {count} names were found in call/name.rs");
}

#[test]
fn the_cpu_gives_the_same_bits_with_any_number_of_threads() {
    let cpus = devices::cpus(&[1, 2, 3]);
    let mut failures = Vec::new();
    for case in cases::all() {
        let results: Vec<_> = cpus.iter().map(|cpu| case.results(&**cpu).unwrap()).collect();
        let bits = |at: usize| results[at].iter().map(|data| data.bits()).collect::<Vec<_>>();
        if bits(0) != bits(1) || bits(0) != bits(2) {
            failures.push(case.name(&*cpus[0]));
        }
    }
    fail_together(&failures);
}

/// Every buffer of every case, one element short, one too long, and of another type.
#[test]
fn wrong_buffers_are_refused_by_name() {
    let mut failures = Vec::new();
    for device in devices::all() {
        let device = &*device;
        for case in cases::all() {
            let (mut inputs, mut outputs) = case.buffers(device);
            let count = inputs.len() + outputs.len();
            for (which, damage) in (0..count).flat_map(|which| (0..3).map(move |damage| (which, damage))) {
                failures.extend(accepts(device, &case, (&mut inputs, &mut outputs), which, damage));
            }
        }
    }
    fail_together(&failures);
}

/// What is wrong with the answer to a damaged buffer, if anything.
fn accepts(
    device: &dyn Device,
    case: &Case,
    (inputs, outputs): (&mut [Buffer], &mut [Buffer]),
    which: usize,
    damage: usize,
) -> Option<String> {
    let name = (case.make)(inputs, outputs).name();
    let one = |inputs: &mut [Buffer], outputs: &mut [Buffer], other: Buffer| {
        let all = inputs.len();
        std::mem::replace(if which < all { &mut inputs[which] } else { &mut outputs[which - all] }, other)
    };
    let right = one(inputs, outputs, device.zeros(0).unwrap());
    let blank = Data::zeros(right.dtype(), right.len());
    let wrong = [blank.resized(false), blank.resized(true), blank.retyped()][damage].upload(device);
    // Of gradients that are scaled or looked at nobody else knows the length.
    let any_length = ["scale_gradient", "check_gradients"].contains(&name) && right.dtype() == Dtype::F32;
    let what = format!("{name} {}: buffer {which} as {wrong:?}", case.title);
    one(inputs, outputs, wrong);
    let ran = if any_length && damage < 2 { None } else { Some(device.run((case.make)(inputs, outputs))) };
    one(inputs, outputs, right);
    match ran? {
        Ok(()) => Some(format!("{what} was accepted")),
        Err(error) if error.kind() != Kind::Device => Some(format!("{what}: {error:?}")),
        Err(error) if !error.message().starts_with(&format!("{name}: `")) => Some(format!("{what}: {error}")),
        Err(_) => None,
    }
}

/// Calls whose empty forms are tested elsewhere, steps by `optimizers_with_nothing_to_do`; and one that has none.
const ELSEWHERE: [&str; 4] = ["rmsprop_step", "sgd_step", "adamw_step", "update_loss_scale"];

/// An empty batch, and sums of nothing, which are zero.
#[test]
fn calls_with_nothing_to_do_are_taken() {
    for device in devices::all() {
        let device = &*device;
        let nothing = || device.zeros(0).unwrap();
        let (none, none_u8) = (nothing(), device.upload::<u8>(&[]).unwrap());
        let some = |len: usize| device.alloc(Dtype::F32, len).unwrap();
        let none_u32 = device.upload::<u32>(&[]).unwrap();
        let source = MaskSource { seed: 1, stream: Stream::Dropout, counter: 0 };
        let normalize = Normalize { order: [0; 3], scale: [1.0; 3], offset: [0.0; 3] };
        let conv = Conv2d { n: 0, h: 4, w: 4, c_in: 32, c_out: 32 };
        let narrow = Conv2d { n: 1, h: 2, w: 2, c_in: 0, c_out: 2 };
        let (dense, pool) = (Dense { n: 0, c_in: 3, c_out: 2 }, Pool2d { n: 0, h: 4, w: 4, c: 2 });
        let (weight, bias) = (some(conv.weight().len()), device.upload(&[5.0f32; 32]).unwrap());
        let two = device.upload(&[5.0f32; 2]).unwrap();
        let six = some(6);
        let (mut y, mut z, mut e) = (nothing(), nothing(), device.upload::<u8>(&[]).unwrap());
        let (mut big, mut small, mut eight) = (some(conv.weight().len()), some(6), some(8));
        let seen = RefCell::new(BTreeSet::new());
        let run = |call: Call<'_>| {
            seen.borrow_mut().insert(call.name());
            device.run(call).unwrap();
        };
        run(Call::Normalize { rows: 0, rule: normalize, pixels: &none_u8, y: &mut y });
        let border = Border::Nearest;
        let empty = Gather { count: 3, n: 0, h: 0, w: 4, border, ranged: true, rule: normalize };
        let (pixels, indices, transforms) = (&none_u8, &none_u32, &none_u32);
        run(Call::Augment { geometry: empty, pixels, indices, transforms, y: &mut y });
        run(Call::Conv2dForward {
            geometry: conv,
            x: &none,
            weight: &weight,
            bias: &bias,
            relu: true,
            y: &mut y,
        });
        run(Call::Conv2dMaxpool2dForward {
            geometry: conv,
            x: &none,
            weight: &weight,
            bias: &bias,
            y: &mut y,
            winner: Some(&mut e),
        });
        run(Call::Conv2dBackwardInput {
            geometry: conv,
            dy: &none,
            weight: &weight,
            mask: Some(&none),
            dx: &mut y,
        });
        run(Call::Conv2dBackwardWeight {
            geometry: conv,
            x: &none,
            dy: &none,
            dweight: &mut big,
            dbias: None,
        });
        run(Call::Conv2dForward {
            geometry: narrow,
            x: &none,
            weight: &none,
            bias: &two,
            relu: true,
            y: &mut eight,
        });
        // A row of pixels has no window.
        let flat = Conv2d { n: 1, h: 1, w: 4, c_in: 0, c_out: 2 };
        run(Call::Conv2dMaxpool2dForward {
            geometry: flat,
            x: &none,
            weight: &none,
            bias: &two,
            y: &mut y,
            winner: Some(&mut e),
        });
        let geometry = narrow;
        run(Call::Conv2dBackwardInput { geometry, dy: &eight, weight: &none, mask: None, dx: &mut y });
        run(Call::DenseForward {
            geometry: dense,
            x: &none,
            weight: &six,
            bias: &two,
            relu: true,
            y: &mut y,
        });
        run(Call::DenseBackwardInput { geometry: dense, dy: &none, weight: &six, dx: &mut y });
        run(Call::DenseBackwardWeight { geometry: dense, x: &none, dy: &none, dweight: &mut small });
        run(Call::BiasBackward { rows: 0, channels: 0, dy: &none, dbias: &mut y });
        run(Call::Maxpool2dForward { geometry: pool, x: &none, y: &mut y, winner: Some(&mut e) });
        run(Call::Maxpool2dBackward {
            geometry: pool,
            dy: &none,
            winner: &none_u8,
            mask: Some(&none),
            dx: &mut y,
        });
        let global = GlobalPool2d { n: 0, h: 4, w: 4, c: 3 };
        run(Call::GlobalAvgpool2dForward { geometry: global, x: &none, y: &mut y });
        run(Call::GlobalAvgpool2dBackward { geometry: global, dy: &none, dx: &mut y });
        run(Call::ReluForward { x: &none, y: &mut y });
        run(Call::ReluBackward { y: &none, gradient: &mut y });
        run(Call::Dropout { rate: 0.5, source, x: &none, y: &mut y });
        run(Call::Sigmoid { x: &none, y: &mut y });
        run(Call::Cast { x: &none, y: &mut y });
        run(Call::Transpose { batch: 2, rows: 0, columns: 3, x: &none, y: &mut y });
        run(Call::Softmax { classes: 3, x: &none, y: &mut y });
        run(Call::Add { x: &none, into: &mut y });
        fused_with_nothing_to_do(&run, device);
        optimizers_with_nothing_to_do(device);
        let (nothing, weights) = (LossRule::mean(0), None);
        run(Call::SigmoidCrossEntropy {
            rule: nothing,
            logits: &none,
            targets: &none,
            weights,
            outcome: &mut y,
            dlogits: None,
        });
        run(Call::SoftmaxCrossEntropy {
            rule: nothing,
            weights,
            classes: 3,
            logits: &none,
            labels: &none_u32,
            outcome: &mut y,
            dlogits: Some(&mut z),
        });
        for name in names().filter(|name| !ELSEWHERE.contains(name)) {
            assert!(seen.borrow().contains(name), "{name} is not asked for nothing");
        }
        assert!(device.download::<f32>(&big).unwrap().iter().all(|&x| x == 0.0));
        assert!(device.download::<f32>(&small).unwrap().iter().all(|&x| x == 0.0));
        assert!(device.download::<f32>(&eight).unwrap().iter().all(|&x| x == 5.0), "the bias alone");
    }
}

/// Steps on a gradient of no samples, which is zero: the mean square shrinks, the weights stay. And gradients without
/// elements.
fn fused_with_nothing_to_do(run: &dyn Fn(Call<'_>), device: &dyn Device) {
    let none = device.zeros(0).unwrap();
    let (x, dy, rule) = (&none, &none, Rmsprop { rho: 0.5, ..Rmsprop::default() });
    let geometry = Conv2d { n: 0, h: 4, w: 4, c_in: 32, c_out: 32 };
    let state =
        |len: usize| [device.upload(&vec![2.0f32; len]).unwrap(), device.upload(&vec![3.0f32; len]).unwrap()];
    let [mut velocity, mut weight] = state(geometry.weight().len());
    let (shadow, dbias) = (None, None);
    run(Call::Conv2dRmspropStep {
        geometry,
        rule,
        x,
        dy,
        velocity: &mut velocity,
        weight: &mut weight,
        shadow,
        dbias,
    });
    let geometry = Dense { n: 0, c_in: 3, c_out: 2 };
    let [mut small_velocity, mut small_weight] = state(6);
    run(Call::DenseRmspropStep {
        geometry,
        rule,
        x,
        dy,
        velocity: &mut small_velocity,
        weight: &mut small_weight,
    });
    for (buffer, want) in [(&velocity, 1.0), (&weight, 3.0), (&small_velocity, 1.0), (&small_weight, 3.0)] {
        let found = device.download::<f32>(buffer).unwrap();
        assert!(found.iter().all(|&value| value == want), "{:?}: {} of {want}", device.describe(), found[0]);
    }
    let geometries = [3, 64].map(|c_in| Conv2d { n: 0, h: 4, w: 4, c_in, c_out: 64 });
    let weights = geometries.map(|g| device.zeros(g.weight().len()).unwrap());
    let bias = device.zeros(64).unwrap();
    let y = &mut device.zeros(0).unwrap();
    let (weights, biases) = (weights.each_ref(), [&bias; 2]);
    run(Call::Conv2dConv2dMaxpool2dForward { geometries, x, weights, biases, y });
    let start = support::loss_scale::words(LossScale::START);
    let mut scaling = device.upload(&start).unwrap();
    run(Call::ScaleGradient { scaling: &scaling, gradient: &mut device.zeros(0).unwrap() });
    run(Call::CheckGradients { gradients: vec![&none], scaling: &mut scaling });
    assert_eq!(device.download::<u32>(&scaling).unwrap(), start);
}

/// No tensor at all, and one without elements beside one that has some.
fn optimizers_with_nothing_to_do(device: &dyn Device) {
    for rule in optimizer::rules() {
        device.run(optimizer::call(rule, 1, Adjust::NONE, Vec::new())).unwrap();
    }
    let rule = Rule::Sgd(Sgd { rate: 1.0, ..Sgd::default() });
    let inputs = [device.zeros(0).unwrap(), device.upload(&[1.0f32, 2.0]).unwrap()];
    let mut outputs = [device.zeros(0).unwrap(), device.zeros(2).unwrap()];
    let tensors = optimizer::slots(rule.keeps(), &inputs, &mut outputs);
    device.run(optimizer::call(rule, 1, Adjust::NONE, tensors)).unwrap();
    assert_eq!(device.download::<f32>(&outputs[1]).unwrap(), [-1.0, -2.0]);
}

/// A unit that is off for good: its states become zero on the cpu, and do not stay as numbers that slow it down.
#[test]
fn states_without_gradients_settle() {
    let device = &*devices::cpus(&[1])[0];
    for rule in optimizer::rules() {
        let start = vec![f32::MIN_POSITIVE; 70];
        let inputs = [device.zeros(70).unwrap()];
        let mut outputs: Vec<Buffer> = (0..4).map(|_| device.upload(&start).unwrap()).collect();
        let Keeps { velocity, momentum, mean, .. } = rule.keeps();
        let states = [velocity, momentum, mean].into_iter().filter(|kept| *kept).count();
        outputs[states] = device.upload(&[1.0f32; 70]).unwrap();
        for step in 1..100 {
            let tensors = optimizer::slots(rule.keeps(), &inputs, &mut outputs);
            device.run(optimizer::call(rule, step, Adjust::NONE, tensors)).unwrap();
        }
        for output in &outputs {
            let found = device.download::<f32>(output).unwrap();
            let settled = |value: &f32| *value == 0.0 || value.abs() >= f32::MIN_POSITIVE;
            assert!(found.iter().all(settled), "{rule:?}: {:e}", found[0]);
        }
    }
}

/// State that is missing, and state that the rule does not know; and the fused step of another rule.
#[test]
fn state_that_the_rule_does_not_keep_is_refused() {
    for device in devices::all() {
        let device = &*device;
        let one = || device.zeros(1).unwrap();
        let (gradient, mut weight, mut velocity, mut momentum) = (one(), one(), one(), one());
        let plain = Rmsprop::default();
        let heavy = Rmsprop { momentum: 0.9, ..plain };
        let mut run = |rule: Rmsprop, with: bool| {
            let slot = ParameterUpdate {
                gradient: &gradient,
                weight: &mut weight,
                velocity: Some(&mut velocity),
                momentum: with.then_some(&mut momentum),
                mean: None,
                shadow: None,
            };
            device.run(Call::RmspropStep { rule, adjust: Adjust::NONE, scaling: None, tensors: vec![slot] })
        };
        run(plain, false).unwrap();
        run(heavy, true).unwrap();
        for (rule, with) in [(plain, true), (heavy, false)] {
            let error = run(rule, with).unwrap_err();
            assert_eq!(error.message(), "rmsprop_step: `momentum[0]` is not what the rule keeps");
        }
        let geometry = Dense { n: 1, c_in: 1, c_out: 1 };
        let (x, dy) = (one(), one());
        for rule in [heavy, Rmsprop { centered: true, ..plain }, Rmsprop { outside: true, ..plain }] {
            let (velocity, weight) = (&mut velocity, &mut weight);
            let call = Call::DenseRmspropStep { geometry, rule, x: &x, dy: &dy, velocity, weight };
            let error = device.run(call).unwrap_err();
            assert_eq!(error.message(), "dense_rmsprop_step: `rule` is not the plain RMSprop");
        }
    }
}

/// The cpu's bits: every operation is rounded by name, in the same order.
#[test]
fn optimizers_have_the_same_bits_on_every_device() {
    let devices = devices::all();
    let mut count = 0;
    for case in optimizer::all(&[1003]) {
        let results = devices.iter().map(|device| case.results(&**device).unwrap());
        let bits: Vec<Vec<_>> = results.map(|all| all.iter().map(Data::bits).collect()).collect();
        assert!(bits.iter().all(|other| *other == bits[0]), "{}", case.title);
        count += 1;
    }
    assert_eq!(count, 3 * optimizer::rules().len());
}

/// The cpu knows at once; a device that runs its calls later says so when it is waited for.
#[test]
fn a_label_that_is_no_class_is_refused() {
    for device in devices::all() {
        let device = &*device;
        let logits = device.zeros(4).unwrap();
        let labels = device.upload(&[0u32, 2]).unwrap();
        let mut outcome = device.zeros(4).unwrap();
        let call = Call::SoftmaxCrossEntropy {
            rule: LossRule::mean(2),
            weights: None,
            classes: 2,
            logits: &logits,
            labels: &labels,
            outcome: &mut outcome,
            dlogits: None,
        };
        let error = device.run(call).and_then(|()| device.synchronize()).unwrap_err();
        assert_eq!(error.message(), "softmax_cross_entropy: the label of row 1 is not a class");
    }
}

/// VGG16's thirteen convolutions with five pools between, as one network on random numbers, against f64. A layer's
/// relative error is a few EPS (rounding is random, and averages over the sum), and the errors of layers add up as √13:
/// about 1e-6, with Winograd's F(4x4) 1.5e-6. 5e-6 is what the engine promises for its features.
#[test]
fn thirteen_layers_stay_within_5e_6_of_f64() {
    for device in devices::all() {
        let device = &*device;
        let mut draws = Draws::new(11, Stream::Demo, 0);
        let mut uniform =
            |len: usize, limit: f32| -> Vec<f32> { (0..len).map(|_| draws.range(-limit, limit)).collect() };
        let (mut side, mut c_in) = (32, 3);
        let first = uniform(side * side * c_in, 1.0);
        let mut wide: Vec<f64> = first.iter().map(|&x| f64::from(x)).collect();
        let mut x = device.upload(&first).unwrap();
        for (convolutions, c_out) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
            for _ in 0..convolutions {
                let geometry = Conv2d { n: 1, h: side, w: side, c_in, c_out };
                // He's uniform limit keeps the size of the numbers from layer to layer.
                let weight = uniform(geometry.weight().len(), (6.0 / (9 * c_in) as f32).sqrt());
                let bias = uniform(c_out, 0.1);
                wide = naive::conv2d_relu_f64(&geometry, &wide, &weight, &bias);
                let [weight, bias] = [&weight, &bias].map(|data| device.upload(data).unwrap());
                let mut y = device.zeros(geometry.y().len()).unwrap();
                let call = Call::Conv2dForward {
                    geometry,
                    x: &x,
                    weight: &weight,
                    bias: &bias,
                    relu: true,
                    y: &mut y,
                };
                device.run(call).unwrap();
                (x, c_in) = (y, c_out);
            }
            let geometry = Pool2d { n: 1, h: side, w: side, c: c_in };
            wide = naive::maxpool2d_f64(&geometry, &wide);
            let mut y = device.zeros(geometry.y().len()).unwrap();
            device.run(Call::Maxpool2dForward { geometry, x: &x, y: &mut y, winner: None }).unwrap();
            (x, side) = (y, side / 2);
        }
        let got = device.download::<f32>(&x).unwrap();
        let error: f64 = got.iter().zip(&wide).map(|(&got, want)| (f64::from(got) - want).powi(2)).sum();
        let size: f64 = wide.iter().map(|want| want.powi(2)).sum();
        let relative = (error / size).sqrt();
        println!("{}: relative error {relative:.1e}", devices::name(device));
        assert!(relative <= 5e-6, "{}: relative error {relative:.1e}", devices::name(device));
    }
}

/// `dense_rmsprop_step` is `dense_backward_weight` and `rmsprop_step` in one pass: the same sums in the
/// same order, so the same bits, on the device that claims it.
#[test]
fn dense_rmsprop_step_equals_its_two_halves() {
    let rule = Rmsprop::default();
    // One past a panel, one short of one, batch 1, a batch whose gradients are all zero, more than a job.
    for (n, c_in, c_out) in [(1, 33, 5), (20, 31, 7), (3, 1, 1), (20, 1000, 13), (6, 64, 6)] {
        let geometry = Dense { n, c_in, c_out };
        let mut draws = Draws::new(3, Stream::Weights, c_in as u64);
        let mut some = |len: usize| -> Vec<f32> { (0..len).map(|_| draws.range(-1.0, 1.0)).collect() };
        let (mut x, mut dy) = (some(n * c_in), some(n * c_out));
        let (weight, velocity) = (some(c_in * c_out), some(c_in * c_out));
        let velocity: Vec<f32> = velocity.iter().map(|v| v * v).collect();
        // Every fifth input is zero in all samples.
        for (i, x) in x.iter_mut().enumerate() {
            if i % c_in % 5 == 4 {
                *x = 0.0;
            }
        }
        // As ReLU and dropout leave it; the third unit gets nothing at all.
        for (i, dy) in dy.iter_mut().enumerate() {
            if i % 3 == 1 || i % c_out == 2 {
                *dy = 0.0;
            }
        }
        for device in devices::all() {
            let device = device.as_ref();
            let up = |values: &[f32]| device.upload(values).unwrap();
            let (x, dy) = (&up(&x), &up(&dy));
            let (mut v1, mut w1) = (up(&velocity), up(&weight));
            let (mut v2, mut w2) = (up(&velocity), up(&weight));
            let mut gradient = device.alloc(Dtype::F32, c_in * c_out).unwrap();
            let calls = [
                Call::DenseBackwardWeight { geometry, x, dy, dweight: &mut gradient },
                Call::DenseRmspropStep { geometry, rule, x, dy, velocity: &mut v2, weight: &mut w2 },
            ];
            for call in calls {
                device.run(call).unwrap();
            }
            let slot = ParameterUpdate {
                gradient: &gradient,
                weight: &mut w1,
                velocity: Some(&mut v1),
                momentum: None,
                mean: None,
                shadow: None,
            };
            device
                .run(Call::RmspropStep { rule, adjust: Adjust::NONE, scaling: None, tensors: vec![slot] })
                .unwrap();
            for (apart, fused) in [(&v1, &v2), (&w1, &w2)] {
                let [apart, fused] = [apart, fused].map(|b| device.download::<f32>(b).unwrap());
                let differs = apart.iter().zip(&fused).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(differs, None, "{geometry:?} on {}", devices::name(device));
            }
        }
    }
}

#[test]
fn conv2d_rmsprop_step_equals_its_two_halves() {
    // One part and several, lengths that are no multiple of four.
    for (n, h, w, c_in, c_out) in [(1, 1, 1, 1, 1), (2, 9, 8, 33, 65), (1, 5, 7, 3, 5), (2, 12, 23, 16, 24)] {
        for device in devices::all() {
            let geometry = Conv2d { n, h, w, c_in, c_out };
            support::tensor_cores::step_equals_its_halves(&*device, Precision::F32, geometry);
        }
    }
}

/// `conv2d_maxpool2d_forward` takes the sums of `conv2d_forward` in the same order, and masked gradients are
/// those that `relu_backward` would have made: the same bits, on the device that claims it.
#[test]
fn fused_calls_equal_their_halves() {
    // Odd sides; filters that share bytes of winners; one past a tile of windows and of filters.
    for (n, h, w, c_in, c_out) in
        [(1, 5, 7, 3, 6), (2, 9, 8, 33, 64), (1, 12, 23, 8, 68), (1, 13, 11, 32, 48), (2, 9, 9, 48, 32)]
    {
        let geometry = Conv2d { n, h, w, c_in, c_out };
        let pool = geometry.pool();
        let mut draws = Draws::new(5, Stream::Weights, c_in as u64);
        let mut some = |len: usize| -> Vec<f32> { (0..len).map(|_| draws.range(-1.0, 1.0)).collect() };
        let (x, weight, bias) = (some(geometry.x().len()), some(geometry.weight().len()), some(c_out));
        let (dz, dy) = (some(geometry.y().len()), some(pool.y().len()));
        for device in devices::all() {
            let device = device.as_ref();
            let up = |values: &[f32]| device.upload(values).unwrap();
            let new = |len: usize| device.alloc(Dtype::F32, len).unwrap();
            let same = |what: &str, a: &Buffer, b: &Buffer| {
                let [a, b] = [a, b].map(|buffer| match buffer.dtype() {
                    Dtype::U8 => Data::U8(device.download(buffer).unwrap()).bits(),
                    _ => Data::F32(device.download(buffer).unwrap()).bits(),
                });
                let differs = a.iter().zip(&b).position(|(a, b)| a != b);
                assert_eq!(differs, None, "{what} of {geometry:?} on {}", devices::name(device));
            };
            let (x, weight, bias) = (&up(&x), &up(&weight), &up(&bias));
            let (mut z, mut y1, mut y2) = (new(geometry.y().len()), new(pool.y().len()), new(pool.y().len()));
            let [mut winner1, mut winner2] = [0; 2].map(|_| device.alloc(Dtype::U8, pool.winners()).unwrap());
            device.run(Call::Conv2dForward { geometry, x, weight, bias, relu: true, y: &mut z }).unwrap();
            let (y, winner) = (&mut y1, Some(&mut winner1));
            device.run(Call::Maxpool2dForward { geometry: pool, x: &z, y, winner }).unwrap();
            let (y, winner) = (&mut y2, Some(&mut winner2));
            device.run(Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner }).unwrap();
            same("the maximum", &y1, &y2);
            same("the winner", &winner1, &winner2);
            let y = &mut y2;
            device.run(Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: None }).unwrap();
            same("the maximum alone", &y1, &y2);

            let (dz, dy, winner) = (&up(&dz), &up(&dy), &winner1);
            let (mut apart, mut fused) = (new(geometry.y().len()), new(geometry.y().len()));
            device
                .run(Call::Maxpool2dBackward { geometry: pool, dy, winner, mask: None, dx: &mut apart })
                .unwrap();
            device.run(Call::ReluBackward { y: &z, gradient: &mut apart }).unwrap();
            let mask = Some(&y1);
            device.run(Call::Maxpool2dBackward { geometry: pool, dy, winner, mask, dx: &mut fused }).unwrap();
            same("the pool's gradient", &apart, &fused);

            let (mut apart, mut fused) = (new(geometry.x().len()), new(geometry.x().len()));
            let dx = &mut apart;
            device.run(Call::Conv2dBackwardInput { geometry, dy: dz, weight, mask: None, dx }).unwrap();
            device.run(Call::ReluBackward { y: x, gradient: &mut apart }).unwrap();
            let (mask, dx) = (Some(x), &mut fused);
            device.run(Call::Conv2dBackwardInput { geometry, dy: dz, weight, mask, dx }).unwrap();
            same("the input's gradient", &apart, &fused);
        }
    }
}
