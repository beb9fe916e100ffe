//! The classifier's lines: dense layers and losses.

use super::layers::BATCH;
use super::line::{Line, reals, words, zeros};
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
    let (x, dy) = (reals(1, g.x().len()), reals(2, g.y().len()));
    let (weight, bias) = (reals(3, g.weight().len()), reals(4, g.c_out));
    let (x1, w1, b1) = (x.clone(), weight.clone(), bias.clone());
    let (dy2, w2) = (dy.clone(), weight.clone());
    let (x3, dy3) = (x.clone(), dy.clone());
    [
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![x.clone().into(), weight.clone().into(), bias.into()],
            outputs: vec![(
                zeros(g.y().len()),
                Box::new(move |at| naive::dense_forward_at(&g, &x1, &w1, &b1, true, at)),
            )],
            make: make!([x, weight, bias] => [y],
                Call::DenseForward { geometry, x, weight, bias, relu: true, y }),
        },
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![dy.clone().into(), weight.into()],
            outputs: vec![(
                zeros(g.x().len()),
                Box::new(move |at| naive::dense_backward_input_at(&g, &dy2, &w2, at)),
            )],
            make: make!([dy, weight] => [dx], Call::DenseBackwardInput { geometry, dy, weight, dx }),
        },
        Line {
            shape,
            work,
            inputs: vec![x.into(), dy.into()],
            outputs: vec![(
                zeros(g.weight().len()),
                Box::new(move |at| naive::dense_backward_weight_at(&g, &x3, &dy3, at)),
            )],
            make: make!([x, dy] => [dweight], Call::DenseBackwardWeight { geometry, x, dy, dweight }),
        },
    ]
}

/// The losses with their gradients, and the softmax alone.
pub fn losses() -> [Line; 3] {
    let (logits, targets) = (reals(1, BATCH), (0..BATCH).map(|i| (i % 2) as f32).collect::<Vec<f32>>());
    let (outcome, dlogits) = naive::sigmoid_cross_entropy(&LossRule::mean(BATCH), &logits, &targets, None);
    let classes = 1000;
    let scores = reals(2, BATCH * classes);
    let labels: Vec<u32> = (0..BATCH).map(|row| (row * 37) as u32).collect();
    let (many_outcome, many_dlogits) =
        naive::softmax_cross_entropy(&LossRule::mean(BATCH), classes, &scores, &labels, None);
    let probabilities = naive::softmax(classes, &scores);
    [
        Line {
            shape: format!("b{BATCH}"),
            work: words(5 * BATCH),
            inputs: vec![logits.into(), targets.into()],
            outputs: vec![
                (zeros(2 * BATCH), Box::new(move |at| outcome[at])),
                (zeros(BATCH), Box::new(move |at| dlogits[at])),
            ],
            make: make!([logits, targets] => [outcome, dlogits],
            Call::SigmoidCrossEntropy {
                rule: LossRule::mean(BATCH), logits, targets, weights: None, outcome, dlogits: Some(dlogits),
            }),
        },
        Line {
            shape: format!("b{BATCH}/{classes}"),
            work: words(2 * BATCH * classes),
            inputs: vec![scores.clone().into(), labels.into()],
            outputs: vec![
                (zeros(2 * BATCH), Box::new(move |at| many_outcome[at])),
                (zeros(BATCH * classes), Box::new(move |at| many_dlogits[at])),
            ],
            make: make!([logits, labels] => [outcome, dlogits],
            Call::SoftmaxCrossEntropy {
                rule: LossRule::mean(BATCH), classes, logits, labels, weights: None, outcome,
                dlogits: Some(dlogits),
            }),
        },
        Line {
            shape: format!("b{BATCH}/{classes}"),
            work: words(2 * BATCH * classes),
            inputs: vec![scores.into()],
            outputs: vec![(zeros(BATCH * classes), Box::new(move |at| probabilities[at]))],
            make: make!([x] => [y], Call::Softmax { classes, x, y }),
        },
    ]
}
