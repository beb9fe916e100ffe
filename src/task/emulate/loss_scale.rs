//! What happens to a scaled loss, as kernels that can be run alone.

use super::kernels::{Array, FLAT, Fill, Kernel, SAME_BITS, array, call, signed};
use crate::device::{Call, LossScale};

fn scaling() -> Array {
    array("scaling", LossScale::WORDS, Fill::LossScale)
}

pub const SCALE_GRADIENT: Kernel = Kernel {
    name: "scale_gradient",
    formula: "gradient = gradient·scale",
    axes: FLAT,
    arrays: |s| (vec![scaling()], vec![signed("gradient", s.of("len"))]),
    make: call!(_s, [scaling] => [gradient], Call::ScaleGradient { scaling, gradient }),
    tolerance: SAME_BITS,
};

pub const CHECK_GRADIENTS: Kernel = Kernel {
    name: "check_gradients",
    formula: "found = the first tensor with an infinite number or a NaN",
    axes: &[("tensors", 3), ("len", 1000)],
    arrays: |s| {
        let gradients = (0..s.of("tensors")).map(|k| signed("gradient", s.of("len") + k));
        (gradients.collect(), vec![scaling()])
    },
    make: |_, inputs, outputs| match outputs {
        [scaling] => Some(Call::CheckGradients { gradients: inputs.iter().collect(), scaling }),
        _ => None,
    },
    tolerance: SAME_BITS,
};

pub const UPDATE_LOSS_SCALE: Kernel = Kernel {
    name: "update_loss_scale",
    formula: "scale doubled after good steps, halved after one whose gradients were not finite",
    axes: &[("interval", 1)],
    arrays: |_| (Vec::new(), vec![scaling()]),
    make: call!(s, [] => [scaling], Call::UpdateLossScale { interval: s.of("interval") as u32, scaling }),
    tolerance: SAME_BITS,
};
