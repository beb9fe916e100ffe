//! The optimizers' lines: one step of what learns.

use super::line::{Content, Line, Want, reals, words};
use super::support::optimizer::{self, Tensor};
use super::support::run::Data;
use vgg_ft::device::call::{Adamw, Adjust, Rmsprop, Rule, Sgd};

/// What learns from block3_conv1 on, kernels and biases, and what learns of block 1 alone: many small.
const LEARNERS: &[(&str, &[usize])] = &[
    (
        "block3_conv1",
        &[
            256 * 1152,
            256,
            256 * 2304,
            256,
            256 * 2304,
            256,
            512 * 2304,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
        ],
    ),
    ("block1", &[64 * 27, 64, 64 * 576, 64]),
];

/// Every rule on every set of learners.
pub fn optimizers() -> Vec<Line> {
    let rules: [Rule; 3] = [
        Rmsprop { rate: 2e-5, ..Rmsprop::default() }.into(),
        Sgd { momentum: 0.9, ..Sgd::default() }.into(),
        Adamw::default().into(),
    ];
    rules
        .iter()
        .flat_map(|&rule| LEARNERS.iter().map(move |&learners| optimizer_step(rule, learners)))
        .collect()
}

fn optimizer_step(rule: Rule, (name, lens): (&str, &'static [usize])) -> Line {
    let keeps = rule.keeps();
    let states = usize::from(keeps.velocity) + usize::from(keeps.momentum);
    let call = match rule {
        Rule::Rmsprop(_) => "rmsprop_step",
        Rule::Sgd(_) => "sgd_step",
        Rule::Adamw(_) => "adamw_step",
    };
    let work = words((3 + 2 * states) * lens.iter().sum::<usize>());
    Line::new(call, format!("{name}/{}", lens.len()), work, move || content(rule, lens))
}

fn content(rule: Rule, lens: &[usize]) -> Content {
    let keeps = rule.keeps();
    let (mut inputs, mut outputs) = (Vec::<Data>::new(), Vec::<(Data, Want)>::new());
    for &len in lens {
        let tensor = Tensor {
            gradient: reals(1, len),
            weight: reals(2, len),
            velocity: reals(3, len).iter().map(|v| v * v).collect(),
            momentum: reals(4, len),
            mean: Vec::new(),
        };
        let want = optimizer::step(rule, 1, Adjust::NONE, &tensor);
        let all = [
            (keeps.velocity, tensor.velocity, want.velocity),
            (keeps.momentum, tensor.momentum, want.momentum),
            (true, tensor.weight, want.weight),
        ];
        inputs.push(tensor.gradient.into());
        for (_, before, want) in all.into_iter().filter(|kept| kept.0) {
            outputs.push((before.into(), Box::new(move |at| want[at])));
        }
    }
    Content {
        inputs,
        outputs,
        make: Box::new(move |inputs, outputs| {
            optimizer::call(rule, 1, Adjust::NONE, optimizer::slots(keeps, inputs, outputs))
        }),
    }
}
