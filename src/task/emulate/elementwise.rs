//! Kernels of one element or one image at a time: pixels, activations, masks.

use super::kernels::{
    CURVES, FLAT, Fill, IMAGES, Kernel, MASK, ROWS, SAME_BITS, SCALED, array, call, fresh, signed,
};
use crate::device::Call;
use crate::device::augment::{Gather, Transform};

pub const NORMALIZE: Kernel = Kernel {
    name: "normalize",
    formula: "y[c] = pixel[order[c]]·scale[c] + offset[c]",
    axes: ROWS,
    arrays: |s| {
        let len = 3 * s.of("rows");
        (vec![array("pixels", len, Fill::Bytes(256))], vec![fresh("y", len)])
    },
    make: call!(s, [pixels] => [y], Call::Normalize { rows: s.of("rows"), rule: SCALED, pixels, y }),
    tolerance: SAME_BITS,
};

pub const AUGMENT: Kernel = Kernel {
    name: "augment",
    formula: "y[k] = normal(bright(flip(shift(move(pixels[indices[k]])))))",
    axes: IMAGES,
    arrays: |s| {
        let Gather { count, n, h, w, .. } = s.gather();
        let inputs = vec![
            array("pixels", count * h * w * 3, Fill::Bytes(256)),
            array("indices", n, Fill::Below(count)),
            array("transforms", n * Transform::WORDS, Fill::Transforms),
        ];
        (inputs, vec![fresh("y", n * h * w * 3)])
    },
    make: call!(s, [pixels, indices, transforms] => [y],
        Call::Augment { geometry: s.gather(), pixels, indices, transforms, y }),
    tolerance: SAME_BITS,
};

pub const RELU_FORWARD: Kernel = Kernel {
    name: "relu_forward",
    formula: "y = x < 0 ? 0 : x",
    axes: FLAT,
    arrays: |s| (vec![signed("x", s.of("len"))], vec![fresh("y", s.of("len"))]),
    make: call!(_s, [x] => [y], Call::ReluForward { x, y }),
    tolerance: SAME_BITS,
};

pub const RELU_BACKWARD: Kernel = Kernel {
    name: "relu_backward",
    formula: "g = y > 0 ? g : 0",
    axes: FLAT,
    arrays: |s| (vec![signed("y", s.of("len"))], vec![signed("gradient", s.of("len"))]),
    make: call!(_s, [y] => [gradient], Call::ReluBackward { y, gradient }),
    tolerance: SAME_BITS,
};

pub const ADD: Kernel = Kernel {
    name: "add",
    formula: "into = into + x",
    axes: FLAT,
    arrays: |s| (vec![signed("x", s.of("len"))], vec![signed("into", s.of("len"))]),
    make: call!(_s, [x] => [into], Call::Add { x, into }),
    tolerance: SAME_BITS,
};

pub const SIGMOID: Kernel = Kernel {
    name: "sigmoid",
    formula: "y = 1 / (1 + e^-x)",
    axes: FLAT,
    arrays: |s| (vec![signed("x", s.of("len"))], vec![fresh("y", s.of("len"))]),
    make: call!(_s, [x] => [y], Call::Sigmoid { x, y }),
    tolerance: CURVES,
};

pub const DROPOUT: Kernel = Kernel {
    name: "dropout",
    formula: "y = unit(word) < rate ? 0 : x/(1-rate)",
    axes: FLAT,
    arrays: |s| (vec![signed("x", s.of("len"))], vec![fresh("y", s.of("len"))]),
    make: call!(_s, [x] => [y], Call::Dropout { rate: 0.5, source: MASK, x, y }),
    tolerance: SAME_BITS,
};
