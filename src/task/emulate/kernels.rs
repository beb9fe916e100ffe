//! The kernels that can be run alone: their axes, what goes in, how the call is made.
//!
//! In: a kernel's name and sizes. Out: arrays to fill and the [`Call`] on their buffers. Default sizes
//! are small, with a remainder where a tile has one, so that guards are passed.

use super::{classifier, convolutions, elementwise, layouts, loss_scale, optimizers};
use crate::device::augment::{Border, Gather};
use crate::device::call::{MaskSource, Normalize, Rmsprop};
use crate::device::{Buffer, Call, Dtype};
use crate::random::Stream;
use crate::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

/// Sizes by axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(pub Vec<(&'static str, usize)>);

impl Sizes {
    pub fn of(&self, axis: &str) -> usize {
        self.0.iter().find(|(name, _)| *name == axis).map_or(0, |(_, size)| *size)
    }

    pub fn conv2d(&self) -> Conv2d {
        let [n, h, w, c_in, c_out] = ["n", "h", "w", "c_in", "c_out"].map(|axis| self.of(axis));
        Conv2d { n, h, w, c_in, c_out }
    }

    pub fn pool2d(&self) -> Pool2d {
        let [n, h, w, c] = ["n", "h", "w", "c"].map(|axis| self.of(axis));
        Pool2d { n, h, w, c }
    }

    pub fn global_pool2d(&self) -> GlobalPool2d {
        let Pool2d { n, h, w, c } = self.pool2d();
        GlobalPool2d { n, h, w, c }
    }

    pub fn gather(&self) -> Gather {
        let [count, n, h, w] = ["count", "n", "h", "w"].map(|axis| self.of(axis));
        Gather { count, n, h, w, border: Border::Nearest, ranged: true, rule: SCALED }
    }

    pub fn dense(&self) -> Dense {
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
    /// What happens to images, drawn as training draws it.
    Transforms,
    /// How the scale of a loss begins.
    LossScale,
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
pub const SUMS: f64 = 1e-5;
/// One exponential or logarithm more or less.
pub const CURVES: f64 = 2e-6;
pub const SAME_BITS: f64 = 0.0;

pub const CONV2D: &[(&str, usize)] = &[("n", 1), ("h", 8), ("w", 8), ("c_in", 16), ("c_out", 32)];
pub const POOL2D: &[(&str, usize)] = &[("n", 1), ("h", 9), ("w", 8), ("c", 16)];
pub const DENSE: &[(&str, usize)] = &[("n", 4), ("c_in", 256), ("c_out", 64)];
pub const FLAT: &[(&str, usize)] = &[("len", 1000)];
pub const ROWS: &[(&str, usize)] = &[("rows", 100)];
pub const IMAGES: &[(&str, usize)] = &[("count", 4), ("n", 3), ("h", 24), ("w", 32)];
pub const CLASSES: &[(&str, usize)] = &[("rows", 10), ("classes", 37)];

pub const STEP: Rmsprop =
    Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-7, momentum: 0.0, centered: false, outside: false };
/// torchvision's scaling in caffe's order: a turned order, and scales other than 1, with which product and sum round apart.
pub const SCALED: Normalize = Normalize {
    order: [2, 1, 0],
    scale: [0.017_124_754, 0.017_507, 0.017_429_193],
    offset: [-2.117_904, -2.035_714_4, -1.804_444_4],
};
pub const MASK: MaskSource = MaskSource { seed: 1, stream: Stream::Dropout, counter: 0 };

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
pub(super) use call;

/// All of them, in the order of `kernels/README.md`.
pub static KERNELS: &[Kernel] = &[
    elementwise::NORMALIZE,
    layouts::CAST,
    layouts::TRANSPOSE,
    elementwise::AUGMENT,
    elementwise::RELU_FORWARD,
    elementwise::RELU_BACKWARD,
    elementwise::ADD,
    elementwise::SIGMOID,
    elementwise::DROPOUT,
    optimizers::RMSPROP_STEP,
    optimizers::SGD_STEP,
    optimizers::ADAMW_STEP,
    loss_scale::SCALE_GRADIENT,
    loss_scale::CHECK_GRADIENTS,
    loss_scale::UPDATE_LOSS_SCALE,
    convolutions::MAXPOOL2D_FORWARD,
    convolutions::MAXPOOL2D_BACKWARD,
    convolutions::GLOBAL_AVGPOOL2D_FORWARD,
    convolutions::GLOBAL_AVGPOOL2D_BACKWARD,
    convolutions::CONV2D_FORWARD,
    convolutions::CONV2D_MAXPOOL2D_FORWARD,
    convolutions::CONV2D_CONV2D_MAXPOOL2D_FORWARD,
    convolutions::CONV2D_BACKWARD_INPUT,
    convolutions::CONV2D_BACKWARD_WEIGHT,
    convolutions::BIAS_BACKWARD,
    classifier::DENSE_FORWARD,
    classifier::DENSE_BACKWARD_INPUT,
    classifier::DENSE_BACKWARD_WEIGHT,
    classifier::DENSE_RMSPROP_STEP,
    convolutions::CONV2D_RMSPROP_STEP,
    classifier::SOFTMAX,
    classifier::SIGMOID_CROSS_ENTROPY,
    classifier::SOFTMAX_CROSS_ENTROPY,
];

#[cfg(test)]
mod tests {
    use super::KERNELS;

    #[test]
    fn the_table_is_that_of_the_kernels_and_of_the_calls() {
        let readme = include_str!("../../../kernels/README.md").replace("\\|", "|");
        let calls = include_str!("../../device/call/name.rs");
        let names: Vec<_> =
            calls.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split("=> \"").nth(1)).collect();
        for name in &names {
            assert!(KERNELS.iter().any(|kernel| kernel.name == *name), "the call {name} is not in KERNELS");
        }
        assert_eq!(names.len(), KERNELS.len());
        for kernel in KERNELS {
            assert!(names.contains(&kernel.name), "{} is no call", kernel.name);
            let start = format!("| `{}` | ", kernel.name);
            let row = readme.lines().find_map(|line| line.strip_prefix(&start));
            let row = row.unwrap_or_else(|| panic!("kernels/README.md has no row that begins with {start}"));
            let cell = row.split(" | ").next().unwrap();
            assert!(kernel.formula.starts_with(cell), "{}: kernels/README.md says {cell}", kernel.name);
        }
    }
}
