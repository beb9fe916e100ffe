//! Convolutions and pools of the base, in all directions.

use super::kernels::{CONV2D, Fill, Kernel, POOL2D, SAME_BITS, STEP, SUMS, array, call, fresh, signed};
use crate::device::{Call, Dtype};
use crate::shape::Conv2d;

pub const MAXPOOL2D_FORWARD: Kernel = Kernel {
    name: "maxpool2d_forward",
    formula: "y = max over 2x2; winner = which",
    axes: POOL2D,
    arrays: |s| {
        let pool = s.pool2d();
        let winner = array("winner", pool.winners(), Fill::Unwritten(Dtype::U8));
        (vec![signed("x", pool.x().len())], vec![fresh("y", pool.y().len()), winner])
    },
    make: call!(s, [x] => [y, winner],
        Call::Maxpool2dForward { geometry: s.pool2d(), x, y, winner: Some(winner) }),
    tolerance: SAME_BITS,
};

pub const MAXPOOL2D_BACKWARD: Kernel = Kernel {
    name: "maxpool2d_backward",
    formula: "dx = dy at the winner if mask > 0, else 0",
    axes: POOL2D,
    arrays: |s| {
        let (x, y) = (s.pool2d().x().len(), s.pool2d().y().len());
        let winner = array("winner", s.pool2d().winners(), Fill::Bytes(256));
        (vec![signed("dy", y), winner, signed("mask", y)], vec![fresh("dx", x)])
    },
    make: call!(s, [dy, winner, mask] => [dx],
        Call::Maxpool2dBackward { geometry: s.pool2d(), dy, winner, mask: Some(mask), dx }),
    tolerance: SAME_BITS,
};

pub const GLOBAL_AVGPOOL2D_FORWARD: Kernel = Kernel {
    name: "global_avgpool2d_forward",
    formula: "y = Σ_pixel x / pixels",
    axes: POOL2D,
    arrays: |s| {
        let g = s.global_pool2d();
        (vec![signed("x", g.x().len())], vec![fresh("y", g.y().len())])
    },
    make: call!(s, [x] => [y], Call::GlobalAvgpool2dForward { geometry: s.global_pool2d(), x, y }),
    tolerance: SAME_BITS,
};

pub const GLOBAL_AVGPOOL2D_BACKWARD: Kernel = Kernel {
    name: "global_avgpool2d_backward",
    formula: "dx = dy / pixels",
    axes: POOL2D,
    arrays: |s| {
        let g = s.global_pool2d();
        (vec![signed("dy", g.y().len())], vec![fresh("dx", g.x().len())])
    },
    make: call!(s, [dy] => [dx], Call::GlobalAvgpool2dBackward { geometry: s.global_pool2d(), dy, dx }),
    tolerance: SAME_BITS,
};

pub const CONV2D_FORWARD: Kernel = Kernel {
    name: "conv2d_forward",
    formula: "y = f(bias + Σ x·weight)",
    axes: CONV2D,
    arrays: |s| {
        let g = s.conv2d();
        let inputs =
            vec![signed("x", g.x().len()), signed("weight", g.weight().len()), signed("bias", g.c_out)];
        (inputs, vec![fresh("y", g.y().len())])
    },
    make: call!(s, [x, weight, bias] => [y],
        Call::Conv2dForward { geometry: s.conv2d(), x, weight, bias, relu: true, y }),
    tolerance: SUMS,
};

pub const CONV2D_MAXPOOL2D_FORWARD: Kernel = Kernel {
    name: "conv2d_maxpool2d_forward",
    formula: "y = max over 2x2 of ReLU(bias + Σ x·weight); winner = which",
    axes: CONV2D,
    arrays: |s| {
        let (g, pool) = (s.conv2d(), s.conv2d().pool());
        let inputs =
            vec![signed("x", g.x().len()), signed("weight", g.weight().len()), signed("bias", g.c_out)];
        let winner = array("winner", pool.winners(), Fill::Unwritten(Dtype::U8));
        (inputs, vec![fresh("y", pool.y().len()), winner])
    },
    make: call!(s, [x, weight, bias] => [y, winner],
    Call::Conv2dMaxpool2dForward {
        geometry: s.conv2d(), x, weight, bias, y, winner: Some(winner),
    }),
    tolerance: SUMS,
};

pub const CONV2D_CONV2D_MAXPOOL2D_FORWARD: Kernel = Kernel {
    name: "conv2d_conv2d_maxpool2d_forward",
    formula: "y = max over 2x2 of ReLU(bias + Σ z·weight), z = ReLU(first_bias + Σ x·first_weight)",
    axes: CONV2D,
    arrays: |s| {
        let [first, second] = pair(s.conv2d());
        let inputs = vec![
            signed("x", first.x().len()),
            signed("first_weight", first.weight().len()),
            signed("weight", second.weight().len()),
            signed("first_bias", first.c_out),
            signed("bias", second.c_out),
        ];
        (inputs, vec![fresh("y", second.pool().y().len())])
    },
    make: call!(s, [x, first_weight, weight, first_bias, bias] => [y],
    Call::Conv2dConv2dMaxpool2dForward {
        geometries: pair(s.conv2d()),
        x,
        weights: [first_weight, weight],
        biases: [first_bias, bias],
        y,
    }),
    tolerance: SUMS,
};

/// The second convolution has as many channels as filters.
fn pair(first: Conv2d) -> [Conv2d; 2] {
    [first, Conv2d { c_in: first.c_out, ..first }]
}

pub const CONV2D_BACKWARD_INPUT: Kernel = Kernel {
    name: "conv2d_backward_input",
    formula: "dx = Σ dy·weight, filter rotated, where mask > 0",
    axes: CONV2D,
    arrays: |s| {
        let g = s.conv2d();
        (
            vec![signed("dy", g.y().len()), signed("weight", g.weight().len()), signed("mask", g.x().len())],
            vec![fresh("dx", g.x().len())],
        )
    },
    make: call!(s, [dy, weight, mask] => [dx],
        Call::Conv2dBackwardInput { geometry: s.conv2d(), dy, weight, mask: Some(mask), dx }),
    tolerance: SUMS,
};

pub const CONV2D_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "conv2d_backward_weight",
    formula: "dweight = Σ_pixel dy·x",
    axes: CONV2D,
    arrays: |s| {
        let g = s.conv2d();
        (vec![signed("x", g.x().len()), signed("dy", g.y().len())], vec![fresh("dweight", g.weight().len())])
    },
    make: call!(s, [x, dy] => [dweight],
        Call::Conv2dBackwardWeight { geometry: s.conv2d(), x, dy, dweight, dbias: None }),
    tolerance: SUMS,
};

pub const BIAS_BACKWARD: Kernel = Kernel {
    name: "bias_backward",
    formula: "dbias[c] = Σ_row dy[row,c]",
    axes: &[("rows", 1000), ("channels", 40)],
    arrays: |s| {
        let channels = s.of("channels");
        (vec![signed("dy", s.of("rows") * channels)], vec![fresh("dbias", channels)])
    },
    make: call!(s, [dy] => [dbias],
        Call::BiasBackward { rows: s.of("rows"), channels: s.of("channels"), dy, dbias }),
    tolerance: SUMS,
};

pub const CONV2D_RMSPROP_STEP: Kernel = Kernel {
    name: "conv2d_rmsprop_step",
    formula: "g = Σ_pixel dy·x, used as in `rmsprop_step`; dbias = Σ_pixel dy",
    axes: CONV2D,
    arrays: |s| {
        let g = s.conv2d();
        let outputs = vec![
            array("velocity", g.weight().len(), Fill::Positive),
            signed("weight", g.weight().len()),
            fresh("dbias", g.c_out),
        ];
        (vec![signed("x", g.x().len()), signed("dy", g.y().len())], outputs)
    },
    make: call!(s, [x, dy] => [velocity, weight, dbias],
    Call::Conv2dRmspropStep {
        geometry: s.conv2d(), rule: STEP, x, dy, velocity, weight, shadow: None, dbias: Some(dbias),
    }),
    tolerance: SUMS,
};
