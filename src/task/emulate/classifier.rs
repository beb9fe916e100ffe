//! The classifier: dense layers, probabilities, losses.

use super::kernels::{CLASSES, CURVES, DENSE, Fill, Kernel, ROWS, STEP, SUMS, array, call, fresh, signed};
use crate::device::Call;
use crate::device::call::LossRule;

pub const DENSE_FORWARD: Kernel = Kernel {
    name: "dense_forward",
    formula: "parts of Σ x·weight, then y = f(bias + Σ parts)",
    axes: DENSE,
    arrays: |s| {
        let g = s.dense();
        let inputs =
            vec![signed("x", g.x().len()), signed("weight", g.weight().len()), signed("bias", g.c_out)];
        (inputs, vec![fresh("y", g.y().len())])
    },
    make: call!(s, [x, weight, bias] => [y],
        Call::DenseForward { geometry: s.dense(), x, weight, bias, relu: true, y }),
    tolerance: SUMS,
};

pub const DENSE_BACKWARD_INPUT: Kernel = Kernel {
    name: "dense_backward_input",
    formula: "dx = Σ dy·weight",
    axes: DENSE,
    arrays: |s| {
        let g = s.dense();
        (vec![signed("dy", g.y().len()), signed("weight", g.weight().len())], vec![fresh("dx", g.x().len())])
    },
    make: call!(s, [dy, weight] => [dx],
        Call::DenseBackwardInput { geometry: s.dense(), dy, weight, dx }),
    tolerance: SUMS,
};

pub const DENSE_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "dense_backward_weight",
    formula: "dweight = Σ_sample dy·x",
    axes: DENSE,
    arrays: |s| {
        let g = s.dense();
        (vec![signed("x", g.x().len()), signed("dy", g.y().len())], vec![fresh("dweight", g.weight().len())])
    },
    make: call!(s, [x, dy] => [dweight],
        Call::DenseBackwardWeight { geometry: s.dense(), x, dy, dweight }),
    tolerance: SUMS,
};

pub const DENSE_RMSPROP_STEP: Kernel = Kernel {
    name: "dense_rmsprop_step",
    formula: "g = Σ_sample dy·x, used as in `rmsprop_step`",
    axes: DENSE,
    arrays: |s| {
        let g = s.dense();
        let outputs =
            vec![array("velocity", g.weight().len(), Fill::Positive), signed("weight", g.weight().len())];
        (vec![signed("x", g.x().len()), signed("dy", g.y().len())], outputs)
    },
    make: call!(s, [x, dy] => [velocity, weight],
        Call::DenseRmspropStep { geometry: s.dense(), rule: STEP, x, dy, velocity, weight }),
    tolerance: SUMS,
};

pub const SOFTMAX: Kernel = Kernel {
    name: "softmax",
    formula: "y = e^(x-m) / Σ e^(x-m)",
    axes: CLASSES,
    arrays: |s| {
        let len = s.of("rows") * s.of("classes");
        (vec![signed("x", len)], vec![fresh("y", len)])
    },
    make: call!(s, [x] => [y], Call::Softmax { classes: s.of("classes"), x, y }),
    tolerance: CURVES,
};

pub const SIGMOID_CROSS_ENTROPY: Kernel = Kernel {
    name: "sigmoid_cross_entropy",
    formula: "w·(max(z,0) - z·s + ln(1 + e^-|z|)) and its gradient",
    axes: ROWS,
    arrays: |s| {
        let rows = s.of("rows");
        let inputs =
            vec![signed("logits", rows), array("targets", rows, Fill::Bits), signed("weights", rows)];
        (inputs, vec![fresh("outcome", 2 * rows), fresh("dlogits", rows)])
    },
    make: call!(s, [logits, targets, weights] => [outcome, dlogits],
    Call::SigmoidCrossEntropy {
        rule: LossRule { denominator: s.of("rows"), smoothing: 0.1 },
        logits, targets, weights: Some(weights), outcome, dlogits: Some(dlogits),
    }),
    tolerance: CURVES,
};

pub const SOFTMAX_CROSS_ENTROPY: Kernel = Kernel {
    name: "softmax_cross_entropy",
    formula: "w·(m + ln Σ e^(z-m) - Σ s·z) and its gradient",
    axes: CLASSES,
    arrays: |s| {
        let (rows, classes) = (s.of("rows"), s.of("classes"));
        let labels = array("labels", rows, Fill::Below(classes));
        let inputs = vec![signed("logits", rows * classes), labels, signed("weights", rows)];
        (inputs, vec![fresh("outcome", 2 * rows), fresh("dlogits", rows * classes)])
    },
    make: call!(s, [logits, labels, weights] => [outcome, dlogits],
    Call::SoftmaxCrossEntropy {
        rule: LossRule { denominator: s.of("rows"), smoothing: 0.1 },
        classes: s.of("classes"), logits, labels, weights: Some(weights), outcome,
        dlogits: Some(dlogits),
    }),
    tolerance: CURVES,
};
