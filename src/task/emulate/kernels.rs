//! The kernels that can be run alone: their axes, what goes in, how the call is made.
//!
//! In: a kernel's name and sizes. Out: arrays to fill and the [`Call`] on their buffers. Default sizes
//! are small, with a remainder where a tile has one, so that guards are passed.

use super::{layouts, optimizers};
use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::{LossRule, MaskSource, Normalize, Rmsprop};
use crate::device::{Buffer, Call, Dtype};
use crate::random::Stream;
use crate::shape::{Conv2d, Dense, Pool2d};

/// Sizes by axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(pub Vec<(&'static str, usize)>);

impl Sizes {
    pub fn of(&self, axis: &str) -> usize {
        self.0.iter().find(|(name, _)| *name == axis).map_or(0, |(_, size)| *size)
    }

    fn conv2d(&self) -> Conv2d {
        let [n, h, w, c_in, c_out] = ["n", "h", "w", "c_in", "c_out"].map(|axis| self.of(axis));
        Conv2d { n, h, w, c_in, c_out }
    }

    fn pool2d(&self) -> Pool2d {
        let [n, h, w, c] = ["n", "h", "w", "c"].map(|axis| self.of(axis));
        Pool2d { n, h, w, c }
    }

    fn gather(&self) -> Gather {
        let [count, n, h, w] = ["count", "n", "h", "w"].map(|axis| self.of(axis));
        Gather { count, n, h, w, border: Border::Nearest, ranged: true, rule: CAFFE }
    }

    fn dense(&self) -> Dense {
        let [n, c_in, c_out] = ["n", "c_in", "c_out"].map(|axis| self.of(axis));
        Dense { n, c_in, c_out }
    }
}

/// What an array is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Uniform in [-1, 1).
    Signed,
    /// Uniform in [0, 1).
    Positive,
    /// 0 or 1.
    Bits,
    /// Whole numbers below this, u32.
    Below(usize),
    /// Whole numbers below this, u8.
    Bytes(u32),
    /// What happens to pictures, drawn as training draws it.
    Transforms,
    /// Nothing: the kernel must write every element.
    Unwritten(Dtype),
}

/// An array of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// As the [`Call`] names it.
    pub name: &'static str,
    /// Elements.
    pub len: usize,
    /// What it holds before the call.
    pub fill: Fill,
}

/// A call on buffers: inputs and outputs in the order of [`Kernel::arrays`].
type Make = for<'a> fn(&Sizes, &'a [Buffer], &'a mut [Buffer]) -> Option<Call<'a>>;

/// A kernel that can be run alone.
pub struct Kernel {
    /// [`Call::name`].
    pub name: &'static str,
    /// As `kernels/README.md` has it.
    pub formula: &'static str,
    /// Axes with their defaults.
    pub axes: &'static [(&'static str, usize)],
    /// Inputs, outputs.
    pub arrays: fn(&Sizes) -> (Vec<Array>, Vec<Array>),
    /// The call.
    pub make: Make,
    /// How far from the cpu a result may be, as a share of the largest; 0 where both promise the same bits.
    pub tolerance: f64,
}

/// Sums in another order, and the cpu's Winograd convolution, differ by some roundings.
const SUMS: f64 = 1e-5;
/// One exponential or logarithm more or less.
const CURVES: f64 = 2e-6;
pub const SAME_BITS: f64 = 0.0;

const CONV2D: &[(&str, usize)] = &[("n", 1), ("h", 8), ("w", 8), ("c_in", 16), ("c_out", 32)];
const POOL2D: &[(&str, usize)] = &[("n", 1), ("h", 9), ("w", 8), ("c", 16)];
const DENSE: &[(&str, usize)] = &[("n", 4), ("c_in", 256), ("c_out", 64)];
pub const FLAT: &[(&str, usize)] = &[("len", 1000)];
const ROWS: &[(&str, usize)] = &[("rows", 100)];
const PICTURES: &[(&str, usize)] = &[("count", 4), ("n", 3), ("h", 24), ("w", 32)];
const CLASSES: &[(&str, usize)] = &[("rows", 10), ("classes", 37)];

pub const STEP: Rmsprop =
    Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-7, momentum: 0.0, centered: false, outside: false };
const CAFFE: Normalize =
    Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
const MASK: MaskSource = MaskSource { seed: 1, stream: Stream::Dropout, counter: 0 };

pub fn array(name: &'static str, len: usize, fill: Fill) -> Array {
    Array { name, len, fill }
}

pub fn signed(name: &'static str, len: usize) -> Array {
    array(name, len, Fill::Signed)
}

pub fn fresh(name: &'static str, len: usize) -> Array {
    array(name, len, Fill::Unwritten(Dtype::F32))
}

/// Takes buffers by name: `call!(s, [x] => [y], Call::…)`.
macro_rules! call {
    ($sizes:ident, [$($input:ident),*] => [$($output:ident),*], $call:expr) => {
        |$sizes, inputs, outputs| match (inputs, outputs) {
            ([$($input),*], [$($output),*]) => Some($call),
            _ => None,
        }
    };
}

/// All of them, in the order of `kernels/README.md`.
pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "normalize",
        formula: "y[c] = pixel[order[c]]·scale[c] + offset[c]",
        axes: ROWS,
        arrays: |s| {
            let len = 3 * s.of("rows");
            (vec![array("pixels", len, Fill::Bytes(256))], vec![fresh("y", len)])
        },
        make: call!(s, [pixels] => [y], Call::Normalize { rows: s.of("rows"), rule: CAFFE, pixels, y }),
        tolerance: SAME_BITS,
    },
    layouts::CAST,
    layouts::TRANSPOSE,
    Kernel {
        name: "augment",
        formula: "y[k] = normal(bright(flip(shift(move(pixels[indices[k]])))))",
        axes: PICTURES,
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
    },
    Kernel {
        name: "relu_forward",
        formula: "y = x < 0 ? 0 : x",
        axes: FLAT,
        arrays: |s| (vec![signed("x", s.of("len"))], vec![fresh("y", s.of("len"))]),
        make: call!(_s, [x] => [y], Call::ReluForward { x, y }),
        tolerance: SAME_BITS,
    },
    Kernel {
        name: "relu_backward",
        formula: "g = y > 0 ? g : 0",
        axes: FLAT,
        arrays: |s| (vec![signed("y", s.of("len"))], vec![signed("gradient", s.of("len"))]),
        make: call!(_s, [y] => [gradient], Call::ReluBackward { y, gradient }),
        tolerance: SAME_BITS,
    },
    Kernel {
        name: "add",
        formula: "into = into + x",
        axes: FLAT,
        arrays: |s| (vec![signed("x", s.of("len"))], vec![signed("into", s.of("len"))]),
        make: call!(_s, [x] => [into], Call::Add { x, into }),
        tolerance: SAME_BITS,
    },
    Kernel {
        name: "sigmoid",
        formula: "y = 1 / (1 + e^-x)",
        axes: FLAT,
        arrays: |s| (vec![signed("x", s.of("len"))], vec![fresh("y", s.of("len"))]),
        make: call!(_s, [x] => [y], Call::Sigmoid { x, y }),
        tolerance: CURVES,
    },
    Kernel {
        name: "dropout",
        formula: "y = unit(word) < rate ? 0 : x/(1-rate)",
        axes: FLAT,
        arrays: |s| (vec![signed("x", s.of("len"))], vec![fresh("y", s.of("len"))]),
        make: call!(_s, [x] => [y], Call::Dropout { rate: 0.5, source: MASK, x, y }),
        tolerance: SAME_BITS,
    },
    optimizers::RMSPROP_STEP,
    optimizers::SGD_STEP,
    optimizers::ADAMW_STEP,
    Kernel {
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
    },
    Kernel {
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
    },
    Kernel {
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
    },
    Kernel {
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
    },
    Kernel {
        name: "conv2d_backward_input",
        formula: "dx = Σ dy·weight, window turned, where mask > 0",
        axes: CONV2D,
        arrays: |s| {
            let g = s.conv2d();
            (
                vec![
                    signed("dy", g.y().len()),
                    signed("weight", g.weight().len()),
                    signed("mask", g.x().len()),
                ],
                vec![fresh("dx", g.x().len())],
            )
        },
        make: call!(s, [dy, weight, mask] => [dx],
            Call::Conv2dBackwardInput { geometry: s.conv2d(), dy, weight, mask: Some(mask), dx }),
        tolerance: SUMS,
    },
    Kernel {
        name: "conv2d_backward_weight",
        formula: "dweight = Σ_pixel dy·x",
        axes: CONV2D,
        arrays: |s| {
            let g = s.conv2d();
            (
                vec![signed("x", g.x().len()), signed("dy", g.y().len())],
                vec![fresh("dweight", g.weight().len())],
            )
        },
        make: call!(s, [x, dy] => [dweight],
            Call::Conv2dBackwardWeight { geometry: s.conv2d(), x, dy, dweight, dbias: None }),
        tolerance: SUMS,
    },
    Kernel {
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
    },
    Kernel {
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
    },
    Kernel {
        name: "dense_backward_input",
        formula: "dx = Σ dy·weight",
        axes: DENSE,
        arrays: |s| {
            let g = s.dense();
            (
                vec![signed("dy", g.y().len()), signed("weight", g.weight().len())],
                vec![fresh("dx", g.x().len())],
            )
        },
        make: call!(s, [dy, weight] => [dx],
            Call::DenseBackwardInput { geometry: s.dense(), dy, weight, dx }),
        tolerance: SUMS,
    },
    Kernel {
        name: "dense_backward_weight",
        formula: "dweight = Σ_sample dy·x",
        axes: DENSE,
        arrays: |s| {
            let g = s.dense();
            (
                vec![signed("x", g.x().len()), signed("dy", g.y().len())],
                vec![fresh("dweight", g.weight().len())],
            )
        },
        make: call!(s, [x, dy] => [dweight],
            Call::DenseBackwardWeight { geometry: s.dense(), x, dy, dweight }),
        tolerance: SUMS,
    },
    Kernel {
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
    },
    Kernel {
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
    },
    Kernel {
        name: "softmax",
        formula: "y = e^(x-m) / Σ e^(x-m)",
        axes: CLASSES,
        arrays: |s| {
            let len = s.of("rows") * s.of("classes");
            (vec![signed("x", len)], vec![fresh("y", len)])
        },
        make: call!(s, [x] => [y], Call::Softmax { classes: s.of("classes"), x, y }),
        tolerance: CURVES,
    },
    Kernel {
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
    },
    Kernel {
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
    },
];

#[cfg(test)]
mod tests {
    use super::KERNELS;

    #[test]
    fn the_table_is_that_of_the_kernels_and_of_the_calls() {
        let readme = include_str!("../../../kernels/README.md").replace("\\|", "|");
        let calls = include_str!("../../device/call.rs");
        let names: Vec<_> =
            calls.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split("=> \"").nth(1)).collect();
        assert_eq!(names.len(), KERNELS.len());
        for kernel in KERNELS {
            assert!(names.contains(&kernel.name), "{} is no call", kernel.name);
            let start = format!("| `{}` | ", kernel.name);
            let row = readme.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
            let cell = row.split(" | ").next().unwrap();
            assert!(kernel.formula.starts_with(cell), "{}: kernels/README.md says {cell}", kernel.name);
        }
    }
}
