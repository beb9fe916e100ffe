//! The classifier's lines: dense layers and losses.

use super::layers::BATCH;
use super::line::{Content, Line, reals, words, zeros};
use super::support::cases::make;
use super::support::naive;
use criterion::Throughput;
use vgg_ft::device::Call;
use vgg_ft::device::call::LossRule;
use vgg_ft::shape::Dense;

/// Forward, back to the input, back to the weights.
pub fn dense(layer: &str, geometry: Dense) -> [Line; 3] {
    let g = geometry;
    let work = Throughput::Elements((2 * g.n * g.c_in * g.c_out) as u64);
    let shape = format!("{layer}/b{}", g.n);
    let (x, dy) = (move || reals(1, g.x().len()), move || reals(2, g.y().len()));
    let weight = move || reals(3, g.weight().len());
    [
        Line::new("dense_forward", shape.clone(), work.clone(), move || {
            let (x, weight, bias) = (x(), weight(), reals(4, g.c_out));
            Content {
                inputs: vec![x.clone().into(), weight.clone().into(), bias.clone().into()],
                outputs: vec![(
                    zeros(g.y().len()),
                    Box::new(move |at| naive::dense_forward_at(&g, &x, &weight, &bias, true, at)),
                )],
                make: make!([x, weight, bias] => [y],
                    Call::DenseForward { geometry, x, weight, bias, relu: true, y }),
            }
        }),
        Line::new("dense_backward_input", shape.clone(), work.clone(), move || {
            let (dy, weight) = (dy(), weight());
            Content {
                inputs: vec![dy.clone().into(), weight.clone().into()],
                outputs: vec![(
                    zeros(g.x().len()),
                    Box::new(move |at| naive::dense_backward_input_at(&g, &dy, &weight, at)),
                )],
                make: make!([dy, weight] => [dx], Call::DenseBackwardInput { geometry, dy, weight, dx }),
            }
        }),
        Line::new("dense_backward_weight", shape, work, move || {
            let (x, dy) = (x(), dy());
            Content {
                inputs: vec![x.clone().into(), dy.clone().into()],
                outputs: vec![(
                    zeros(g.weight().len()),
                    Box::new(move |at| naive::dense_backward_weight_at(&g, &x, &dy, at)),
                )],
                make: make!([x, dy] => [dweight], Call::DenseBackwardWeight { geometry, x, dy, dweight }),
            }
        }),
    ]
}

/// Classes of the losses' second line, ImageNet's.
const CLASSES: usize = 1000;

/// The losses with their gradients, and the softmax alone.
pub fn losses() -> [Line; 3] {
    let shape = format!("b{BATCH}/{CLASSES}");
    let work = words(2 * BATCH * CLASSES);
    let scores = || reals(2, BATCH * CLASSES);
    [
        Line::new("sigmoid_cross_entropy", format!("b{BATCH}"), words(5 * BATCH), || {
            let rule = LossRule::mean(BATCH);
            let (logits, targets) =
                (reals(1, BATCH), (0..BATCH).map(|i| (i % 2) as f32).collect::<Vec<f32>>());
            let (outcome, dlogits) = naive::sigmoid_cross_entropy(&rule, &logits, &targets, None);
            Content {
                inputs: vec![logits.into(), targets.into()],
                outputs: vec![
                    (zeros(2 * BATCH), Box::new(move |at| outcome[at])),
                    (zeros(BATCH), Box::new(move |at| dlogits[at])),
                ],
                make: make!([logits, targets] => [outcome, dlogits],
                Call::SigmoidCrossEntropy {
                    rule, logits, targets, weights: None, outcome, dlogits: Some(dlogits),
                }),
            }
        }),
        Line::new("softmax_cross_entropy", shape.clone(), work.clone(), move || {
            let (rule, classes, scores) = (LossRule::mean(BATCH), CLASSES, scores());
            let labels: Vec<u32> = (0..BATCH).map(|row| (row * 37) as u32).collect();
            let (outcome, dlogits) = naive::softmax_cross_entropy(&rule, classes, &scores, &labels, None);
            Content {
                inputs: vec![scores.into(), labels.into()],
                outputs: vec![
                    (zeros(2 * BATCH), Box::new(move |at| outcome[at])),
                    (zeros(BATCH * CLASSES), Box::new(move |at| dlogits[at])),
                ],
                make: make!([logits, labels] => [outcome, dlogits],
                Call::SoftmaxCrossEntropy {
                    rule, classes, logits, labels, weights: None, outcome, dlogits: Some(dlogits),
                }),
            }
        }),
        Line::new("softmax", shape, work, move || {
            let scores = scores();
            let probabilities = naive::softmax(CLASSES, &scores);
            Content {
                inputs: vec![scores.into()],
                outputs: vec![(zeros(BATCH * CLASSES), Box::new(move |at| probabilities[at]))],
                make: make!([x] => [y], Call::Softmax { classes: CLASSES, x, y }),
            }
        }),
    ]
}
