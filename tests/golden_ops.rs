//! Every device against numbers that Keras made in f64 (`tests/golden/make_ops.py` says how).
//!
//! The file holds Keras' layouts: convolution kernels HWIO, dense kernels `[in, out]`.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support;

use safetensors::SafeTensors;
use std::collections::BTreeSet;
use support::close::{EPS, Near, first_miss};
use support::devices;
use support::optimizer;
use vgg_ft::device::call::{Adamw, Adjust, LossRule, ParameterUpdate, Rmsprop, Rule, Sgd};
use vgg_ft::device::{Buffer, Call, Device};
use vgg_ft::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

struct Golden(Vec<u8>);

impl Golden {
    fn open() -> Self {
        Self::read("ops.safetensors")
    }

    fn read(file: &str) -> Self {
        let path = support::golden().join(file);
        Self(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
        bytemuck::pod_collect_to_vec(tensor.data())
    }

    /// The middles of the names `<op>/<middle>/<last>`.
    fn cases(&self, op: &str) -> BTreeSet<String> {
        let tensors = self.tensors();
        let names = tensors.names().into_iter();
        let middles =
            names.filter_map(|name| Some(name.strip_prefix(op)?.strip_prefix('/')?.rsplit_once('/')?.0));
        let cases: BTreeSet<String> = middles.map(String::from).collect();
        assert!(!cases.is_empty(), "no case of {op}");
        cases
    }
}

/// "2x9x9x8" as numbers.
fn sizes<const N: usize>(text: &str) -> [usize; N] {
    let sizes: Vec<usize> = text.split('x').map(|size| size.parse().unwrap()).collect();
    sizes.try_into().unwrap()
}

/// Swaps the axes of a matrix `[rows, columns]`.
fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

/// Golden sums of `terms` products: the bound of `close::Sum`, with the tensor's root mean square in
/// place of the magnitudes, which the file does not hold. Products of independent numbers add up to
/// √terms of one product, and their magnitudes to `terms` of them: a factor of √terms between the two.
fn sums(golden: &[f32], terms: usize) -> Vec<Near> {
    let square: f64 = golden.iter().map(|&x| f64::from(x).powi(2)).sum();
    let rms = (square / golden.len() as f64).sqrt();
    let terms = terms as f64;
    let within = EPS * (2.0 + terms.sqrt()) * terms.sqrt() * rms.max(f64::from(f32::MIN_POSITIVE));
    golden.iter().map(|&x| Near { value: f64::from(x), within }).collect()
}

fn exactly(golden: &[f32]) -> Vec<Near> {
    golden.iter().map(|&x| Near::exactly(f64::from(x))).collect()
}

fn assert_close(what: &str, device: &dyn Device, got: &Buffer, want: &[Near]) {
    let got = device.download::<f32>(got).unwrap();
    if let Some(miss) = first_miss(&got, want) {
        panic!("{what} on {}: {miss}", devices::name(device));
    }
}

fn blank(device: &dyn Device, len: usize) -> Buffer {
    device.alloc(vgg_ft::device::Dtype::F32, len).unwrap()
}

/// The gradient through an activation that may be ReLU.
fn through_relu(device: &dyn Device, relu: bool, y: &Buffer, dy: &[f32]) -> Buffer {
    let mut gradient = device.upload(dy).unwrap();
    if relu {
        device.run(Call::ReluBackward { y, gradient: &mut gradient }).unwrap();
    }
    gradient
}

#[test]
fn conv2d_is_that_of_keras() {
    let golden = Golden::open();
    for device in devices::all() {
        for case in golden.cases("conv2d") {
            let (text, activation) = case.split_once('/').unwrap();
            let [n, h, w, c_in, c_out] = sizes(text);
            conv2d(&*device, &golden, &case, Conv2d { n, h, w, c_in, c_out }, activation == "relu");
        }
    }
}

fn conv2d(device: &dyn Device, golden: &Golden, case: &str, geometry: Conv2d, relu: bool) {
    let get = |last: &str| golden.f32(&format!("conv2d/{case}/{last}"));
    let Conv2d { n, h, w, c_in, c_out } = geometry;
    let x = device.upload(&get("x")).unwrap();
    let weight = device.upload(&transpose(&get("w"), c_out)).unwrap(); // HWIO to OHWI
    let bias = device.upload(&get("b")).unwrap();

    let mut y = blank(device, geometry.y().len());
    let (w_, b_) = (&weight, &bias);
    device.run(Call::Conv2dForward { geometry, x: &x, weight: w_, bias: b_, relu, y: &mut y }).unwrap();
    assert_close(&format!("{case}/y"), device, &y, &sums(&get("y"), 9 * c_in));

    let dy = through_relu(device, relu, &y, &get("dy"));
    let mut dx = blank(device, geometry.x().len());
    device
        .run(Call::Conv2dBackwardInput { geometry, dy: &dy, weight: &weight, mask: None, dx: &mut dx })
        .unwrap();
    assert_close(&format!("{case}/dx"), device, &dx, &sums(&get("dx"), 9 * c_out));

    let mut dweight = blank(device, geometry.weight().len());
    device
        .run(Call::Conv2dBackwardWeight { geometry, x: &x, dy: &dy, dweight: &mut dweight, dbias: None })
        .unwrap();
    let want = sums(&transpose(&get("dw"), c_out), n * h * w);
    assert_close(&format!("{case}/dw"), device, &dweight, &want);

    let mut dbias = blank(device, c_out);
    device.run(Call::BiasBackward { rows: n * h * w, channels: c_out, dy: &dy, dbias: &mut dbias }).unwrap();
    assert_close(&format!("{case}/db"), device, &dbias, &sums(&get("db"), n * h * w));
}

#[test]
fn dense_is_that_of_keras() {
    let golden = Golden::open();
    for device in devices::all() {
        for case in golden.cases("dense") {
            let (text, activation) = case.split_once('/').unwrap();
            let [n, c_in, c_out] = sizes(text);
            dense(&*device, &golden, &case, Dense { n, c_in, c_out }, activation == "relu");
        }
    }
}

fn dense(device: &dyn Device, golden: &Golden, case: &str, geometry: Dense, relu: bool) {
    let get = |last: &str| golden.f32(&format!("dense/{case}/{last}"));
    let Dense { n, c_in, c_out } = geometry;
    let x = device.upload(&get("x")).unwrap();
    let weight = device.upload(&get("w")).unwrap();
    let bias = device.upload(&get("b")).unwrap();

    let mut y = blank(device, geometry.y().len());
    let (w_, b_) = (&weight, &bias);
    device.run(Call::DenseForward { geometry, x: &x, weight: w_, bias: b_, relu, y: &mut y }).unwrap();
    assert_close(&format!("{case}/y"), device, &y, &sums(&get("y"), c_in));

    let dy = through_relu(device, relu, &y, &get("dy"));
    let mut dx = blank(device, geometry.x().len());
    device.run(Call::DenseBackwardInput { geometry, dy: &dy, weight: &weight, dx: &mut dx }).unwrap();
    assert_close(&format!("{case}/dx"), device, &dx, &sums(&get("dx"), c_out));

    let mut dweight = blank(device, geometry.weight().len());
    device.run(Call::DenseBackwardWeight { geometry, x: &x, dy: &dy, dweight: &mut dweight }).unwrap();
    assert_close(&format!("{case}/dw"), device, &dweight, &sums(&get("dw"), n));

    let mut dbias = blank(device, c_out);
    device.run(Call::BiasBackward { rows: n, channels: c_out, dy: &dy, dbias: &mut dbias }).unwrap();
    assert_close(&format!("{case}/db"), device, &dbias, &sums(&get("db"), n));
}

/// The golden inputs are full of ties.
#[test]
fn maxpool2d_is_that_of_keras() {
    let golden = Golden::open();
    for device in devices::all() {
        let device = &*device;
        for case in golden.cases("maxpool2d") {
            let get = |last: &str| golden.f32(&format!("maxpool2d/{case}/{last}"));
            let [n, h, w, c] = sizes(&case);
            let geometry = Pool2d { n, h, w, c };
            let x = device.upload(&get("x")).unwrap();
            let dy = device.upload(&get("dy")).unwrap();
            let mut y = blank(device, geometry.y().len());
            let mut winner = device.alloc(vgg_ft::device::Dtype::U8, geometry.winners()).unwrap();
            let which = Some(&mut winner);
            device.run(Call::Maxpool2dForward { geometry, x: &x, y: &mut y, winner: which }).unwrap();
            assert_close(&format!("{case}/y"), device, &y, &exactly(&get("y")));
            let mut dx = blank(device, geometry.x().len());
            let (dy, winner) = (&dy, &winner);
            device.run(Call::Maxpool2dBackward { geometry, dy, winner, mask: None, dx: &mut dx }).unwrap();
            assert_close(&format!("{case}/dx"), device, &dx, &exactly(&get("dx")));
        }
    }
}

#[test]
fn global_avgpool2d_is_that_of_keras() {
    let golden = Golden::open();
    for device in devices::all() {
        let device = &*device;
        for case in golden.cases("global_avgpool2d") {
            let get = |last: &str| golden.f32(&format!("global_avgpool2d/{case}/{last}"));
            let [n, h, w, c] = sizes(&case);
            let geometry = GlobalPool2d { n, h, w, c };
            let [x, dy] = ["x", "dy"].map(|which| device.upload(&get(which)).unwrap());
            let mut y = blank(device, geometry.y().len());
            device.run(Call::GlobalAvgpool2dForward { geometry, x: &x, y: &mut y }).unwrap();
            // A mean of k numbers is their sum, k times smaller, and so is its bound.
            assert_close(&format!("{case}/y"), device, &y, &sums(&get("y"), geometry.pixels()));
            let mut dx = blank(device, geometry.x().len());
            device.run(Call::GlobalAvgpool2dBackward { geometry, dy: &dy, dx: &mut dx }).unwrap();
            let want: Vec<_> = get("dx").iter().map(|&dx| Near::rounded(f64::from(dx), 1.0)).collect();
            assert_close(&format!("{case}/dx"), device, &dx, &want);
        }
    }
}

/// The mean of the first of each pair.
fn mean_loss(device: &dyn Device, outcome: &Buffer) -> f64 {
    let outcome = device.download::<f32>(outcome).unwrap();
    outcome.iter().step_by(2).map(|&loss| f64::from(loss)).sum::<f64>() / (outcome.len() / 2) as f64
}

/// A mean of losses that are each good to a few roundings.
fn assert_loss(got: f64, golden: &[f32]) {
    let want = f64::from(golden[0]);
    assert!((got - want).abs() <= 4.0 * EPS * want, "expected {want}, got {got}");
}

/// Differences of numbers up to 1, each good to a few roundings, divided by the rows.
fn gradients(golden: &[f32], rows: usize) -> Vec<Near> {
    golden.iter().map(|&x| Near { value: f64::from(x), within: 4.0 * EPS / rows as f64 }).collect()
}

#[test]
fn sigmoid_cross_entropy_is_that_of_keras() {
    let golden = Golden::open();
    for device in devices::all() {
        let device = &*device;
        let logits = device.upload(&golden.f32("bce/logits")).unwrap();
        let targets = device.upload(&golden.f32("bce/targets")).unwrap();
        let rows = logits.len();
        let (mut outcome, mut dlogits) = (blank(device, rows * 2), blank(device, rows));
        device
            .run(Call::SigmoidCrossEntropy {
                rule: LossRule::mean(rows),
                weights: None,
                logits: &logits,
                targets: &targets,
                outcome: &mut outcome,
                dlogits: Some(&mut dlogits),
            })
            .unwrap();
        assert_loss(mean_loss(device, &outcome), &golden.f32("bce/loss"));
        assert_close("bce/dlogits", device, &dlogits, &gradients(&golden.f32("bce/dlogits"), rows));
    }
}

#[test]
fn softmax_cross_entropy_is_that_of_keras() {
    let golden = Golden::open();
    let tensors = golden.tensors();
    let labels: Vec<u32> = bytemuck::pod_collect_to_vec(tensors.tensor("softmax_ce/labels").unwrap().data());
    let classes = tensors.tensor("softmax_ce/logits").unwrap().shape()[1];
    let rows = labels.len();
    for device in devices::all() {
        let device = &*device;
        let logits = device.upload(&golden.f32("softmax_ce/logits")).unwrap();
        let labels = device.upload(&labels).unwrap();
        let (mut outcome, mut dlogits) = (blank(device, rows * 2), blank(device, rows * classes));
        device
            .run(Call::SoftmaxCrossEntropy {
                rule: LossRule::mean(rows),
                weights: None,
                classes,
                logits: &logits,
                labels: &labels,
                outcome: &mut outcome,
                dlogits: Some(&mut dlogits),
            })
            .unwrap();
        assert_loss(mean_loss(device, &outcome), &golden.f32("softmax_ce/loss"));
        let want = gradients(&golden.f32("softmax_ce/dlogits"), rows);
        assert_close("softmax_ce/dlogits", device, &dlogits, &want);
    }
}

/// Keras runs this one in f32, step after step: both sides round `w` and `v` once or twice a step.
///
/// Keras takes 1 - rho in f64 and rounds it; `Rmsprop` holds rho in f32, so its 1 - rho inherits
/// rho's rounding, which is rho / (1 - rho) = 9 times larger there: half of 9 EPS on `v`.
#[test]
fn rmsprop_is_that_of_keras() {
    let golden = Golden::open();
    for device in devices::all() {
        let device = &*device;
        for (case, rate) in [("lr2e-5", 2e-5), ("lr1e-3", 1e-3)] {
            let get = |last: &str| golden.f32(&format!("rmsprop/{case}/{last}"));
            let rule = Rmsprop { rate, rho: 0.9, epsilon: 1e-7, ..Rmsprop::default() };
            let mut weight = device.upload(&get("w0")).unwrap();
            let count = weight.len();
            let mut velocity = device.zeros(count).unwrap();
            let (grads, w, v) = (get("grads"), get("w"), get("velocity"));
            for (step, gradient) in grads.chunks_exact(count).enumerate() {
                let gradient = device.upload(gradient).unwrap();
                let slot = ParameterUpdate {
                    gradient: &gradient,
                    weight: &mut weight,
                    velocity: Some(&mut velocity),
                    momentum: None,
                    mean: None,
                    shadow: None,
                };
                let call =
                    Call::RmspropStep { rule, adjust: Adjust::NONE, scaling: None, tensors: vec![slot] };
                device.run(call).unwrap();
                let roundings = 2.0 * (step + 1) as f64;
                let near = |golden: &[f32], roundings| -> Vec<Near> {
                    let now = &golden[step * count..][..count];
                    now.iter().map(|&x| Near::rounded(f64::from(x), roundings)).collect()
                };
                let (v, w) = (near(&v, roundings + 4.5), near(&w, roundings));
                assert_close(&format!("{case}, velocity {step}"), device, &velocity, &v);
                assert_close(&format!("{case}, w {step}"), device, &weight, &w);
            }
        }
    }
}

/// The rules of `make_optimizers.py`, by library and name.
fn rule(library: &str, name: &str) -> (Rule, Adjust) {
    const RATE: f32 = 0.015_625;
    const EPSILON: f32 = 9.536_743e-7; // 2^-20
    let (of_torch, none) = (library == "torch", Adjust::NONE);
    let descent = Sgd { rate: RATE, momentum: 0.75, nesterov: false };
    let plain = Rmsprop { rate: RATE, rho: 0.875, epsilon: EPSILON, outside: of_torch, ..Rmsprop::default() };
    let adam = Adamw { rate: RATE, epsilon: EPSILON, corrected: of_torch, ..Adamw::default() };
    match name {
        "sgd" => (Sgd { momentum: 0.0, ..descent }.into(), none),
        "sgd_momentum" => (descent.into(), none),
        "sgd_nesterov" => (Sgd { nesterov: true, ..descent }.into(), none),
        "sgd_decay" => (descent.into(), Adjust { decay: 0.25, ..none }),
        "sgd_l2" => (descent.into(), Adjust { l2: 0.25, ..none }),
        "sgd_accumulated" => (descent.into(), Adjust { scale: 0.5, ..none }),
        "rmsprop" => (plain.into(), none),
        "rmsprop_momentum" => (Rmsprop { momentum: 0.75, ..plain }.into(), none),
        "rmsprop_centered" => (Rmsprop { centered: true, ..plain }.into(), none),
        "rmsprop_all" => {
            let decay = if of_torch { Adjust { l2: 0.25, ..none } } else { Adjust { decay: 0.25, ..none } };
            (Rmsprop { momentum: 0.75, centered: true, ..plain }.into(), decay)
        }
        "adam" => (adam.into(), none),
        "adamw" => (adam.into(), Adjust { decay: 0.25, ..none }),
        other => panic!("optimizers.safetensors has a rule {other}"),
    }
}

/// Both libraries ran in f64. In f32 a step rounds the weight twice, when it decays and when it moves, by half
/// an EPS each, and the way by a dozen operations; where the mean's square is taken from the mean square, two
/// thirds are left at least, which makes these half as large again: 16 EPS. Both add up over the steps.
#[test]
fn every_rule_is_that_of_keras_and_of_pytorch() {
    let golden = Golden::read("optimizers.safetensors");
    let (first, grads) = (golden.f32("w0"), golden.f32("grads"));
    let count = first.len();
    let mut rules = 0;
    for library in ["keras", "torch"] {
        for name in golden.cases(library) {
            let (rule, adjust) = rule(library, &name);
            let (keeps, want) = (rule.keeps(), golden.f32(&format!("{library}/{name}/w")));
            rules += 1;
            for device in devices::all() {
                let device = &*device;
                let kept = [keeps.velocity, keeps.momentum, keeps.mean].iter().filter(|&&kept| kept).count();
                let mut outputs: Vec<Buffer> = (0..kept).map(|_| device.zeros(count).unwrap()).collect();
                outputs.push(device.upload(&first).unwrap());
                let (mut before, mut longest) = (first.clone(), vec![0.0f32; count]);
                for (step, want) in want.chunks_exact(count).enumerate() {
                    let gradient: Vec<f32> = if name.ends_with("accumulated") {
                        let two = &grads[2 * step * count..][..2 * count];
                        (0..count).map(|i| two[i] + two[count + i]).collect()
                    } else {
                        grads[step * count..][..count].to_vec()
                    };
                    let inputs = [device.upload(&gradient).unwrap()];
                    let tensors = optimizer::slots(keeps, &inputs, &mut outputs);
                    device.run(optimizer::call(rule, step as u64 + 1, adjust, tensors)).unwrap();
                    for (longest, (now, before)) in longest.iter_mut().zip(want.iter().zip(&before)) {
                        *longest = longest.max((now - before).abs());
                    }
                    before = want.to_vec();
                    let near = |(&w, &way): (&f32, &f32)| Near {
                        value: w.into(),
                        within: (step + 1) as f64 * EPS * f64::from(w.abs() + 16.0 * way),
                    };
                    let near: Vec<Near> = want.iter().zip(&longest).map(near).collect();
                    assert_close(&format!("{library}/{name}, step {step}"), device, &outputs[kept], &near);
                }
            }
        }
    }
    assert_eq!(rules, 21);
}
