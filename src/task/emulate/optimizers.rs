//! Optimizers that can be run alone: many tensors in one launch, each one longer than the one before.

use super::kernels::{Array, Fill, Kernel, SAME_BITS, STEP, Sizes, array, signed};
use crate::device::call::{Adamw, Adjust, Keeps, ParameterUpdate, Sgd};
use crate::device::{Buffer, Call};

const DESCENT: Sgd = Sgd { rate: 1e-2, momentum: 0.9, nesterov: true };
const ADAMW: Adamw = Adamw { rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, corrected: false };
const DECAY: Adjust = Adjust { scale: 1.0, l2: 0.0, decay: 4e-3 };
const TENSORS: &[(&str, usize)] = &[("tensors", 3), ("len", 1000)];

/// Gradients, and what follows them: for each tensor its states and the weight.
fn tensors(s: &Sizes, states: &[&'static str]) -> (Vec<Array>, Vec<Array>) {
    let lens = (0..s.of("tensors")).map(|k| s.of("len") + k);
    let inputs = lens.clone().map(|len| signed("gradient", len)).collect();
    let of = |len| {
        // A mean square is not negative.
        let state = move |&name: &&'static str| match name {
            "velocity" => array(name, len, Fill::Positive),
            _ => signed(name, len),
        };
        states.iter().map(state).chain([signed("weight", len)]).collect::<Vec<_>>()
    };
    (inputs, lens.flat_map(of).collect())
}

/// [`tensors`] as a call takes them.
fn slots<'a>(
    s: &Sizes,
    inputs: &'a [Buffer],
    outputs: &'a mut [Buffer],
    keeps: Keeps,
) -> Option<Vec<ParameterUpdate<'a>>> {
    let mut outputs = outputs.iter_mut();
    let mut slots = Vec::with_capacity(s.of("tensors"));
    for gradient in inputs {
        slots.push(ParameterUpdate {
            gradient,
            velocity: if keeps.velocity { Some(outputs.next()?) } else { None },
            momentum: if keeps.momentum { Some(outputs.next()?) } else { None },
            mean: if keeps.mean { Some(outputs.next()?) } else { None },
            weight: outputs.next()?,
            shadow: None,
        });
    }
    Some(slots)
}

pub const RMSPROP_STEP: Kernel = Kernel {
    name: "rmsprop_step",
    formula: "v = rho·v + (1-rho)·g²; w -= rate·g/√(v+epsilon)",
    axes: TENSORS,
    arrays: |s| tensors(s, &["velocity"]),
    make: |s, inputs, outputs| {
        let tensors = slots(s, inputs, outputs, STEP.keeps())?;
        Some(Call::RmspropStep { rule: STEP, adjust: Adjust::NONE, scaling: None, tensors })
    },
    tolerance: SAME_BITS,
};

pub const SGD_STEP: Kernel = Kernel {
    name: "sgd_step",
    formula: "m = momentum·m - rate·g; w += m",
    axes: TENSORS,
    arrays: |s| tensors(s, &["momentum"]),
    make: |s, inputs, outputs| {
        let tensors = slots(s, inputs, outputs, DESCENT.keeps())?;
        Some(Call::SgdStep { rule: DESCENT, adjust: Adjust::NONE, scaling: None, tensors })
    },
    tolerance: SAME_BITS,
};

pub const ADAMW_STEP: Kernel = Kernel {
    name: "adamw_step",
    formula: "m += (g-m)·new_1; v += (g²-v)·new_2; w -= m·alpha/(√v+epsilon)",
    axes: TENSORS,
    arrays: |s| tensors(s, &["velocity", "momentum"]),
    make: |s, inputs, outputs| {
        let tensors = slots(s, inputs, outputs, ADAMW.keeps())?;
        Some(Call::AdamwStep { rule: ADAMW, step: 1, adjust: DECAY, scaling: None, tensors })
    },
    tolerance: SAME_BITS,
};
