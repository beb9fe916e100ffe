//! Every op's way back against finite differences, through the tape, on every device present.
//!
//! Each graph ends in a scalar, the cross-entropy of a fixed dense layer of the op's output ([`ending`]), so that the
//! gradient which comes back to the op differs from element to element. Every input is moved up and down by a step, and the
//! difference of the two losses is compared with what `backward` gave.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::devices;
use vgg_ft::device::Device;
use vgg_ft::device::call::{LossRule, MaskSource, Rmsprop};
use vgg_ft::error::Result;
use vgg_ft::graph::{Mode, Parameter, Tape, Tensor};
use vgg_ft::op::{self, Activation};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::Shape;
use vgg_ft::train::Optimizer;

/// Numbers in ±1 that keep away from 0 and from each other, so that a step of a finite difference
/// crosses no kink of ReLU and no tie of a maximum.
fn spread(shape: Shape, seed: u64) -> Vec<f32> {
    let order = Draws::new(seed, Stream::Weights, 0).permutation(shape.len());
    let n = shape.len() as f32;
    order.into_iter().map(|k| (k as f32 + 0.5) / n * 2.0 - 1.0).collect()
}

/// A graph from learning inputs to a scalar.
type Graph<'a> = dyn Fn(&Tape<'_>, &[Tensor]) -> Result<op::Loss> + 'a;

fn scalar(device: &dyn Device, shapes: &[Shape], values: &[Vec<f32>], graph: &Graph<'_>) -> f64 {
    let tape = Tape::new(device, Mode::Training);
    let inputs: Vec<Tensor> = shapes
        .iter()
        .zip(values)
        .map(|(shape, value)| Tensor::constant(*shape, device.upload(value).unwrap()).unwrap())
        .collect();
    let loss = graph(&tape, &inputs).unwrap();
    loss.score(device).unwrap().loss()
}

/// Compares the gradient of every input, element by element. `step` trades truncation (∝ step²)
/// against the rounding of an f32 loss (∝ eps / step): 1e-2 leaves both near 1e-4 of the loss's scale.
/// The losses lie between 1 and 2, where eps is 1.2e-7, and two of them are subtracted.
fn check(name: &str, shapes: &[Shape], graph: &Graph<'_>) {
    check_with(1e-2, name, shapes, graph);
}

fn check_with(step: f32, name: &str, shapes: &[Shape], graph: &Graph<'_>) {
    for device in devices::all() {
        let device = device.as_ref();
        let mut values: Vec<Vec<f32>> =
            shapes.iter().enumerate().map(|(i, shape)| spread(*shape, i as u64 + 1)).collect();
        let parameters: Vec<Parameter> = shapes
            .iter()
            .zip(&values)
            .map(|(shape, value)| Parameter::new(device, "p".into(), *shape, value).unwrap())
            .collect();
        let tape = Tape::new(device, Mode::Training);
        let inputs: Vec<Tensor> = parameters.iter().enumerate().map(|(i, p)| tape.parameter(i, p)).collect();
        let loss = graph(&tape, &inputs).unwrap();
        let mut gradients: Vec<Option<Vec<f32>>> = vec![None; shapes.len()];
        tape.backward(&loss.outcome, |index, gradient| {
            gradients[index] = Some(device.download(&gradient.store(device)?)?);
            Ok(())
        })
        .unwrap();
        for (i, gradient) in gradients.iter().enumerate() {
            let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{name}: input {i} has no gradient"));
            let scale = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
            assert!(scale > 0.0, "{name}: the gradient of input {i} is zero everywhere");
            // A dozen elements spread over the tensor; every op treats its elements alike.
            for e in (0..gradient.len()).step_by((gradient.len() / 12).max(1)) {
                let kept = values[i][e];
                values[i][e] = kept + step;
                let above = scalar(device, shapes, &values, graph);
                values[i][e] = kept - step;
                let below = scalar(device, shapes, &values, graph);
                values[i][e] = kept;
                let expected = (above - below) / f64::from(2.0 * step);
                let error = (f64::from(gradient[e]) - expected).abs();
                assert!(
                    error <= 2e-3 * f64::from(scale) + 2e-7 / f64::from(step),
                    "{name} on {}: input {i}, element {e}: {} by the tape, {expected} by differences",
                    devices::name(device),
                    gradient[e],
                );
            }
        }
    }
}

/// A smooth scalar of any tensor: a fixed dense layer to three logits, and their cross-entropy.
fn ending(tape: &Tape<'_>, y: &Tensor) -> Result<op::Loss> {
    let rows = y.shape().axes()[0];
    let columns = y.shape().len() / rows;
    let flat = tape.reshape(y, Shape::new(&[rows, columns]))?;
    let device = tape.device();
    let shape = Shape::new(&[columns, 3]);
    let weight = Tensor::constant(shape, device.upload(&spread(shape, 77))?)?;
    let bias = Tensor::constant(Shape::new(&[3]), device.upload(&[0.1f32, -0.2, 0.3])?)?;
    let logits = op::dense(tape, &flat, &weight, &bias, Activation::Linear)?;
    let labels: Vec<u32> = (0..rows as u32).map(|row| row % 3).collect();
    op::softmax_cross_entropy(tape, LossRule::mean(labels.len()), &logits, &device.upload(&labels)?, None)
}

#[test]
fn conv2d() {
    let shapes = [Shape::new(&[2, 5, 4, 3]), Shape::new(&[4, 3, 3, 3]), Shape::new(&[4])];
    for activation in [Activation::Linear, Activation::Relu] {
        check(&format!("conv2d {activation:?}"), &shapes, &|tape, x| {
            // Without ReLU any point will do. With it a step may change the sign of a sum, where the loss has a kink;
            // such sums are few, and the 2e-3 of the scale covers them.
            ending(tape, &op::conv2d(tape, &x[0], &x[1], &x[2], activation)?)
        });
    }
}

#[test]
fn dense() {
    let shapes = [Shape::new(&[5, 7]), Shape::new(&[7, 6]), Shape::new(&[6])];
    for activation in [Activation::Linear, Activation::Relu] {
        check(&format!("dense {activation:?}"), &shapes, &|tape, x| {
            ending(tape, &op::dense(tape, &x[0], &x[1], &x[2], activation)?)
        });
    }
}

#[test]
fn maxpool2d() {
    // Few enough elements that neighbours in the spread differ by more than two steps.
    check("maxpool2d", &[Shape::new(&[1, 5, 4, 3])], &|tape, x| ending(tape, &op::maxpool2d(tape, &x[0])?));
}

#[test]
fn global_avgpool2d() {
    check("global_avgpool2d", &[Shape::new(&[3, 5, 4, 7])], &|tape, x| {
        ending(tape, &op::global_avgpool2d(tape, &x[0])?)
    });
}

/// Deep graphs have kinks everywhere: a step that is small enough to miss them. The rounding of a loss near 1,
/// two to three of its eps over the step, is 1e-4 here.
const SMALL: f32 = 2e-3;

fn kernel(c_out: usize, c_in: usize) -> [Shape; 2] {
    [Shape::new(&[c_out, 3, 3, c_in]), Shape::new(&[c_out])]
}

#[test]
fn conv2d_maxpool2d() {
    let [weight, bias] = kernel(4, 3);
    check_with(SMALL, "conv2d_maxpool2d", &[Shape::new(&[2, 5, 4, 3]), weight, bias], &|tape, x| {
        ending(tape, &op::conv2d_maxpool2d(tape, &x[0], &x[1], &x[2])?)
    });
}

/// Gradients pass three ReLUs, and no relu_backward runs: the pool's is masked by what comes after it, the
/// first convolution's by the second.
#[test]
fn a_chain_of_masked_gradients() {
    let [[w1, b1], [w2, b2], [w3, b3]] = [kernel(4, 3), kernel(6, 4), kernel(3, 6)];
    let shapes = [Shape::new(&[1, 7, 6, 3]), w1, b1, w2, b2, w3, b3];
    for fused in [true, false] {
        check_with(SMALL, &format!("conv, conv, pool, conv; fused={fused}"), &shapes, &|tape, x| {
            let y = op::conv2d(tape, &x[0], &x[1], &x[2], Activation::Relu)?;
            let y = if fused {
                op::conv2d_maxpool2d(tape, &y, &x[3], &x[4])?
            } else {
                op::maxpool2d(tape, &op::conv2d(tape, &y, &x[3], &x[4], Activation::Relu)?)?
            };
            ending(tape, &op::conv2d(tape, &y, &x[5], &x[6], Activation::Relu)?)
        });
    }
}

/// One consumer masks the gradient, the other does not: the sum must still go through the ReLU. In both
/// orders, and through a pool.
#[test]
fn masked_and_plain_gradients_meet() {
    let [[w1, b1], [w2, b2]] = [kernel(2, 3), kernel(2, 2)];
    let shapes = [Shape::new(&[1, 4, 4, 3]), w1, b1, w2, b2, Shape::new(&[2])];
    for pool in [true, false] {
        for swapped in [true, false] {
            check_with(SMALL, &format!("pool={pool} swapped={swapped}"), &shapes, &|tape, x| {
                let z = if pool {
                    op::conv2d_maxpool2d(tape, &x[0], &x[1], &x[2])?
                } else {
                    op::conv2d(tape, &x[0], &x[1], &x[2], Activation::Relu)?
                };
                let a = op::conv2d(tape, &z, &x[3], &x[4], Activation::Linear)?;
                let half = z.shape().len() / 2;
                let [rows, columns] = [Shape::new(&[2, half]), Shape::new(&[half, 2])];
                // The product of the two: one is a dense layer's input, the other its weight.
                let [input, weight] = if swapped { [&z, &a] } else { [&a, &z] };
                let [input, weight] = [tape.reshape(input, rows)?, tape.reshape(weight, columns)?];
                ending(tape, &op::dense(tape, &input, &weight, &x[5], Activation::Linear)?)
            });
        }
    }
}

#[test]
fn relu() {
    check("relu", &[Shape::new(&[3, 12])], &|tape, x| ending(tape, &op::relu(tape, &x[0])?));
}

#[test]
fn dropout() {
    let source = MaskSource { seed: 5, stream: Stream::Dropout, counter: 9 };
    check("dropout", &[Shape::new(&[4, 30])], &|tape, x| {
        ending(tape, &op::dropout(tape, &x[0], 0.5, source)?)
    });
}

#[test]
fn sigmoid_cross_entropy() {
    check("sigmoid_cross_entropy", &[Shape::new(&[7, 1])], &|tape, x| {
        let targets = tape.device().upload(&[0.0f32, 1.0, 1.0, 0.0, 1.0, 0.25, 0.0])?;
        op::sigmoid_cross_entropy(tape, LossRule::mean(7), &x[0], &targets, None)
    });
}

#[test]
fn softmax_cross_entropy() {
    check("softmax_cross_entropy", &[Shape::new(&[4, 5])], &|tape, x| {
        let labels = tape.device().upload(&[4u32, 0, 2, 2])?;
        op::softmax_cross_entropy(tape, LossRule::mean(4), &x[0], &labels, None)
    });
}

/// A weight may step before the way back has ended, but not while something on the tape still reads it: here the
/// first of two convolutions with one kernel.
#[test]
fn a_weight_that_is_still_read_takes_no_step() {
    for device in devices::all() {
        let device = device.as_ref();
        let new = |shape: &[usize]| {
            let shape = Shape::new(shape);
            Parameter::new(device, "kernel".into(), shape, &spread(shape, 1)).unwrap()
        };
        let (mut kernel, bias, x) = (new(&[2, 3, 3, 2]), new(&[2]), new(&[1, 4, 4, 2]));
        let mut optimizer = Optimizer::new(Rmsprop::default(), 3);
        for shared in [false, true] {
            let tape = Tape::new(device, Mode::Training);
            // One entry serves both convolutions, another stands for a second parameter with the kernel's memory.
            let mut y = tape.parameter(2, &x);
            for other in 0..=usize::from(shared) {
                let [kernel, bias] = [tape.parameter(3 * other, &kernel), tape.parameter(1, &bias)];
                y = op::conv2d(&tape, &y, &kernel, &bias, Activation::Linear).unwrap();
            }
            let loss = ending(&tape, &y).unwrap();
            drop(y);
            let stepped = tape.backward(&loss.outcome, |index, gradient| match index {
                0 | 3 => optimizer.take(device, 0, &mut kernel, gradient),
                _ => Ok(()),
            });
            assert_eq!(stepped.is_err(), shared, "{}", devices::name(device));
            if let Err(error) = stepped {
                assert!(error.message().contains("updated while the tape still needs it"), "{error}");
            }
        }
    }
}

/// A weight that comes on the tape twice has one gradient, the sum, and takes one step: as if its tensor were cloned.
#[test]
fn a_weight_that_comes_twice_takes_one_step() {
    for device in devices::all() {
        let device = device.as_ref();
        let stepped = |twice: bool| {
            let shape = Shape::new(&[6, 6]);
            let mut weight = Parameter::new(device, "weight".into(), shape, &spread(shape, 3)).unwrap();
            let constant = |shape: &[usize], seed| {
                let shape = Shape::new(shape);
                Tensor::constant(shape, device.upload(&spread(shape, seed)).unwrap()).unwrap()
            };
            let mut optimizer = Optimizer::new(Rmsprop::default(), 1);
            let tape = optimizer.tape(device);
            let first = tape.parameter(0, &weight);
            let second = if twice { tape.parameter(0, &weight) } else { first.clone() };
            let y = op::dense(&tape, &constant(&[2, 6], 1), &first, &constant(&[6], 2), Activation::Linear)
                .unwrap();
            let y = op::dense(&tape, &y, &second, &constant(&[6], 2), Activation::Linear).unwrap();
            let loss = ending(&tape, &y).unwrap();
            drop((first, second, y));
            let mut calls = 0;
            tape.backward(&loss.outcome, |index, gradient| {
                calls += 1;
                optimizer.take(device, index, &mut weight, gradient)
            })
            .unwrap();
            optimizer.step(device, std::slice::from_mut(&mut weight)).unwrap();
            (calls, device.download::<f32>(weight.value()).unwrap())
        };
        let (twice, cloned) = (stepped(true), stepped(false));
        assert_eq!(twice.0, 1, "{}", devices::name(device));
        assert_eq!(twice, cloned, "{}", devices::name(device));
    }
}

/// The way back begins at a loss of its own tape, and says so where it does not.
#[test]
fn the_way_back_begins_at_a_loss() {
    for device in devices::all() {
        let device = device.as_ref();
        let shape = Shape::new(&[1, 4]);
        let x = Parameter::new(device, "x".into(), shape, &spread(shape, 1)).unwrap();
        let nobody = |_, _| -> Result<()> { panic!("no gradient is due") };
        let tape = Tape::new(device, Mode::Training);
        let y = op::relu(&tape, &tape.parameter(0, &x)).unwrap();
        let error = tape.backward(&y, nobody).unwrap_err();
        assert!(error.to_string().contains("`relu` has no gradient of its own"), "{error}");
        let tape = Tape::new(device, Mode::Training);
        let leaf = tape.parameter(0, &x);
        let error = tape.backward(&leaf, nobody).unwrap_err();
        assert!(error.to_string().contains("`parameter` has no gradient of its own"), "{error}");
        // A loss is where it begins, and nothing is made of it.
        let tape = Tape::new(device, Mode::Training);
        let inner = ending(&tape, &tape.parameter(0, &x)).unwrap();
        let loss = ending(&tape, &inner.outcome).unwrap();
        let error = tape.backward(&loss.outcome, nobody).unwrap_err();
        assert!(error.to_string().contains("something was made of the loss"), "{error}");
        let tape = Tape::new(device, Mode::Training);
        let loss = ending(&tape, &tape.parameter(0, &x)).unwrap();
        let other = Tape::new(device, Mode::Training);
        ending(&other, &other.parameter(0, &x)).unwrap();
        let error = other.backward(&loss.outcome, nobody).unwrap_err();
        assert!(error.message().contains("another tape"), "{error}");
        // As an input.
        let [one, other] = [0, 1].map(|_| Tape::new(device, Mode::Training));
        let y = op::relu(&one, &one.parameter(0, &x)).unwrap();
        other.parameter(0, &x);
        let loss = ending(&other, &y).unwrap();
        let error = other.backward(&loss.outcome, nobody).unwrap_err();
        assert!(error.message().contains("another tape"), "{error}");
        // Two parameters by one index.
        let second = Parameter::new(device, "second".into(), shape, &spread(shape, 2)).unwrap();
        let tape = Tape::new(device, Mode::Training);
        let y = op::relu(&tape, &tape.parameter(0, &x)).unwrap();
        let weight = tape.parameter(0, &second);
        let logits = tape.reshape(&weight, Shape::new(&[1, 4])).unwrap();
        let loss = ending(&tape, &logits).unwrap();
        drop(y);
        let error = tape.backward(&loss.outcome, nobody).unwrap_err();
        assert!(error.message().contains("two parameters"), "{error}");
    }
}

/// Two paths from one tensor meet again: their gradients add up.
#[test]
fn gradients_that_meet_are_added() {
    // The gradient of the bias waits for its weight's, which is stored to be added up.
    let map = [Shape::new(&[1, 4, 5, 3]), Shape::new(&[3, 3, 3, 3]), Shape::new(&[3])];
    check("a convolution done twice", &map, &|tape, x| {
        let once = op::conv2d(tape, &x[0], &x[1], &x[2], Activation::Linear)?;
        ending(tape, &op::conv2d(tape, &once, &x[1], &x[2], Activation::Linear)?)
    });
    let shapes = [Shape::new(&[2, 6]), Shape::new(&[6, 6]), Shape::new(&[6])];
    check("a weight used twice", &shapes, &|tape, x| {
        let once = op::dense(tape, &x[0], &x[1], &x[2], Activation::Linear)?;
        ending(tape, &op::dense(tape, &once, &x[1], &x[2], Activation::Linear)?)
    });
}

#[test]
fn what_does_not_learn_is_not_recorded() {
    for device in devices::all() {
        let device = device.as_ref();
        let tape = Tape::new(device, Mode::Training);
        let shape = Shape::new(&[1, 4, 4, 2]);
        let x = Tensor::constant(shape, device.upload(&spread(shape, 1)).unwrap()).unwrap();
        let kernel_shape = Shape::new(&[2, 3, 3, 2]);
        let new =
            |name: &str, shape: Shape| Parameter::new(device, name.into(), shape, &spread(shape, 2)).unwrap();
        let mut frozen = [new("kernel", kernel_shape), new("bias", Shape::new(&[2]))];
        frozen.iter_mut().for_each(|parameter| parameter.learns = false);
        let [kernel, bias] = [tape.parameter(0, &frozen[0]), tape.parameter(1, &frozen[1])];
        let y = op::conv2d(&tape, &x, &kernel, &bias, Activation::Relu).unwrap();
        let y = op::maxpool2d(&tape, &y).unwrap();
        assert_eq!(tape.recorded(), 0);
        assert!(!y.learns());

        // Above the boundary the op is recorded, but nothing flows below it.
        let learning = [new("kernel", kernel_shape), new("bias", Shape::new(&[2]))];
        let [kernel, bias] = [tape.parameter(2, &learning[0]), tape.parameter(3, &learning[1])];
        let y = op::conv2d(&tape, &y, &kernel, &bias, Activation::Relu).unwrap();
        let loss = ending(&tape, &y).unwrap();
        let mut learned = Vec::new();
        tape.backward(&loss.outcome, |index, _| {
            learned.push(index);
            Ok(())
        })
        .unwrap();
        learned.sort_unstable();
        assert_eq!(learned, [2, 3]);

        let tape = Tape::new(device, Mode::Inference);
        let kernel = tape.parameter(0, &learning[0]);
        assert!(!kernel.learns(), "in inference nothing learns");
    }
}
