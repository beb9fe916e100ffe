//! The engine's instruction set: one variant per operation. Most have several kernels, by precision, tile and
//! architecture.
//!
//! In: geometry by value, inputs by `&Buffer`, outputs by `&mut Buffer` (so that the borrow checker
//! forbids an output that aliases an input). Out: nothing; a `Call` is a value that can be run,
//! printed, counted and timed. Activations are NHWC, convolution weights OHWI, dense weights
//! `[c_in, c_out]`, all dense in memory.
//!
//! Formats, where a field does not say its own: maps, rows and their gradients (`x`, `y`, `dx`, `dy`, `gradient`, masks
//! that are a ReLU's output) and a convolution's `weight` are f32, or on a GPU that keeps activations in 16 bits
//! ([`Precision::activations`](super::Precision::activations)) all bf16 or all f16. Biases, gradients of parameters,
//! what optimizers keep, logits of losses, targets and outcomes are f32 everywhere. A buffer of another format is
//! refused.

mod name;

use super::Buffer;
use super::augment::Gather;
pub use super::rule::{Adamw, AdamwNow, Adjust, Keeps, LossRule, ParameterUpdate, Rmsprop, Rule, Sgd};
use crate::random::Stream;
use crate::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

/// How an image's bytes become the network's input: `y[c] = pixel[order[c]] * scale[c] + offset[c]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Which of the image's R, G, B feeds channel `c`.
    pub order: [u8; 3],
    /// Factor per output channel.
    pub scale: [f32; 3],
    /// Summand per output channel.
    pub offset: [f32; 3],
}

/// Where the random words of a dropout mask come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskSource {
    /// The run's seed.
    pub seed: u64,
    /// The purpose; [`Stream::Dropout`].
    pub stream: Stream,
    /// The draw (of four words) that element 0 begins with. A mask of n elements takes ⌈n / 4⌉ of them.
    pub counter: u64,
}

/// One piece of work for a device.
#[derive(Debug)]
pub enum Call<'a> {
    /// `y[n,h,w,c] = pixels[n,h,w,order[c]] * scale[c] + offset[c]`, from u8 to floats, `rows` = n·h·w.
    Normalize {
        /// Pixels in all images together.
        rows: usize,
        /// Order, factors and summands.
        rule: Normalize,
        /// `[rows, 3]`, u8.
        pixels: &'a Buffer,
        /// `[rows, 3]`.
        y: &'a mut Buffer,
    },
    /// `y[k] = normal(bright(flip(shift(move(pixels[indices[k]])))))`: images gathered from a set, augmented
    /// as Keras' ImageDataGenerator does it, and normalized. With [`Transform::IDENTITY`] the bits of
    /// [`Call::Normalize`]. An index that is none of the set's is refused as a label that is no class.
    ///
    /// [`Transform::IDENTITY`]: super::augment::Transform::IDENTITY
    Augment {
        /// Sizes, border, rule.
        geometry: Gather,
        /// `[count, h, w, 3]`, u8.
        pixels: &'a Buffer,
        /// `[n]`, u32.
        indices: &'a Buffer,
        /// `[n, 16]`, u32: the words of a [`Transform`](super::augment::Transform) each.
        transforms: &'a Buffer,
        /// `[n, h, w, 3]`.
        y: &'a mut Buffer,
    },
    /// `y[i] = x[i]` in another floating-point format, to the nearest, ties to even; NaN stays NaN.
    Cast {
        /// Any shape; f32, f16 or bf16.
        x: &'a Buffer,
        /// As `x`; f32, f16 or bf16.
        y: &'a mut Buffer,
    },
    /// `y[n,c,r] = x[n,r,c]`: NHWC to NCHW, HWIO to OHWI, OIHW to OHWI, and back.
    Transpose {
        /// Matrices.
        batch: usize,
        /// Rows of `x`.
        rows: usize,
        /// Columns of `x`.
        columns: usize,
        /// `[batch, rows, columns]`.
        x: &'a Buffer,
        /// `[batch, columns, rows]`.
        y: &'a mut Buffer,
    },
    /// `y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])`, zero outside the
    /// map, `f` = ReLU or nothing.
    Conv2dForward {
        /// Sizes.
        geometry: Conv2d,
        /// `[n, h, w, c_in]`.
        x: &'a Buffer,
        /// `[c_out, 3, 3, c_in]`.
        weight: &'a Buffer,
        /// `[c_out]`.
        bias: &'a Buffer,
        /// Whether `f` is ReLU.
        relu: bool,
        /// `[n, h, w, c_out]`.
        y: &'a mut Buffer,
    },
    /// [`Call::Conv2dForward`] with ReLU and [`Call::Maxpool2dForward`] in one pass: the map between them
    /// does not outlive the call.
    Conv2dMaxpool2dForward {
        /// Sizes of the convolution.
        geometry: Conv2d,
        /// `[n, h, w, c_in]`.
        x: &'a Buffer,
        /// `[c_out, 3, 3, c_in]`.
        weight: &'a Buffer,
        /// `[c_out]`.
        bias: &'a Buffer,
        /// `[n, h/2, w/2, c_out]`.
        y: &'a mut Buffer,
        /// As [`Call::Maxpool2dForward`] leaves it; only training asks for it.
        winner: Option<&'a mut Buffer>,
    },
    /// [`Call::Conv2dForward`] with ReLU, and of its map [`Call::Conv2dMaxpool2dForward`], in one pass that stores
    /// neither map: VGG16's first block, where nothing of it learns. A device that does not join them
    /// ([`Device::joins`](super::Device::joins)) keeps the map between them in scratch memory.
    Conv2dConv2dMaxpool2dForward {
        /// Sizes of both: `c_out` of the first is `c_in` of the second.
        geometries: [Conv2d; 2],
        /// `[n, h, w, c_in]`.
        x: &'a Buffer,
        /// `[c_out, 3, 3, c_in]` of each.
        weights: [&'a Buffer; 2],
        /// `[c_out]` of each.
        biases: [&'a Buffer; 2],
        /// `[n, h/2, w/2, c_out]`.
        y: &'a mut Buffer,
    },
    /// `dx[n,i,j,c] = g(Σ_{a,b,o} dy[n,i-a+1,j-b+1,o] · weight[o,a,b,c])`, `g` = the sum where `mask` is
    /// above 0 and 0 elsewhere, or, without a mask, the sum.
    Conv2dBackwardInput {
        /// Sizes.
        geometry: Conv2d,
        /// `[n, h, w, c_out]`.
        dy: &'a Buffer,
        /// `[c_out, 3, 3, c_in]`.
        weight: &'a Buffer,
        /// `[n, h, w, c_in]`: the convolution's input, if it is a ReLU's output and the gradient is to go
        /// back through that ReLU too.
        mask: Option<&'a Buffer>,
        /// `[n, h, w, c_in]`.
        dx: &'a mut Buffer,
    },
    /// `dweight[o,a,b,c] = Σ_{n,i,j} dy[n,i,j,o] · x[n,i+a-1,j+b-1,c]`, and, if asked for, `dbias[o] = Σ_{n,i,j}
    /// dy[n,i,j,o]`, which is [`Call::BiasBackward`]: tensor cores' kernels add it up while they pass.
    Conv2dBackwardWeight {
        /// Sizes.
        geometry: Conv2d,
        /// `[n, h, w, c_in]`.
        x: &'a Buffer,
        /// `[n, h, w, c_out]`.
        dy: &'a Buffer,
        /// `[c_out, 3, 3, c_in]`, f32.
        dweight: &'a mut Buffer,
        /// `[c_out]`, f32.
        dbias: Option<&'a mut Buffer>,
    },
    /// `dbias[c] = Σ_row dy[row,c]`.
    BiasBackward {
        /// Rows: n·h·w of a convolution, n of a dense layer.
        rows: usize,
        /// Channels or units.
        channels: usize,
        /// `[rows, channels]`.
        dy: &'a Buffer,
        /// `[channels]`.
        dbias: &'a mut Buffer,
    },
    /// `y[n,i,j,c] = max x[n,2i+a,2j+b,c]` over a, b in {0, 1}; `winner` keeps `2a+b` of the maximum,
    /// the first in row order among equals, as TensorFlow and PyTorch: for element e of `y` in bits
    /// 2·(e%4) of byte e/4, zero past the last.
    Maxpool2dForward {
        /// Sizes.
        geometry: Pool2d,
        /// `[n, h, w, c]`.
        x: &'a Buffer,
        /// `[n, h/2, w/2, c]`.
        y: &'a mut Buffer,
        /// `[n·(h/2)·(w/2)·c / 4]`, rounded up, u8; only training asks for it.
        winner: Option<&'a mut Buffer>,
    },
    /// `dx` is `dy` at each window's winner, where `mask` (if there is one) is above 0, and zero elsewhere,
    /// dropped rows and columns included.
    Maxpool2dBackward {
        /// Sizes.
        geometry: Pool2d,
        /// `[n, h/2, w/2, c]`.
        dy: &'a Buffer,
        /// As [`Call::Maxpool2dForward`] leaves it.
        winner: &'a Buffer,
        /// `[n, h/2, w/2, c]`: the pool's output, if its input is a ReLU's output and the gradient is to go
        /// back through that ReLU too: it is the input at the winner.
        mask: Option<&'a Buffer>,
        /// `[n, h, w, c]`.
        dx: &'a mut Buffer,
    },
    /// `y[n,c] = Σ_{i,j} x[n,i,j,c] / (h·w)`, all f32, added up in the order of the pixels.
    GlobalAvgpool2dForward {
        /// Sizes.
        geometry: GlobalPool2d,
        /// `[n, h, w, c]`.
        x: &'a Buffer,
        /// `[n, c]`.
        y: &'a mut Buffer,
    },
    /// `dx[n,i,j,c] = dy[n,c] / (h·w)`, all f32.
    GlobalAvgpool2dBackward {
        /// Sizes.
        geometry: GlobalPool2d,
        /// `[n, c]`.
        dy: &'a Buffer,
        /// `[n, h, w, c]`.
        dx: &'a mut Buffer,
    },
    /// `y[n,o] = f(bias[o] + Σ_i x[n,i] · weight[i,o])`, `f` = ReLU or nothing. `x` and `weight` are f32 or, on a GPU,
    /// both bf16; then `y` is bf16 or f32.
    DenseForward {
        /// Sizes.
        geometry: Dense,
        /// `[n, c_in]`.
        x: &'a Buffer,
        /// `[c_in, c_out]`.
        weight: &'a Buffer,
        /// `[c_out]`.
        bias: &'a Buffer,
        /// Whether `f` is ReLU.
        relu: bool,
        /// `[n, c_out]`.
        y: &'a mut Buffer,
    },
    /// `dx[n,i] = Σ_o dy[n,o] · weight[i,o]`, all f32.
    DenseBackwardInput {
        /// Sizes.
        geometry: Dense,
        /// `[n, c_out]`.
        dy: &'a Buffer,
        /// `[c_in, c_out]`.
        weight: &'a Buffer,
        /// `[n, c_in]`.
        dx: &'a mut Buffer,
    },
    /// `dweight[i,o] = Σ_n dy[n,o] · x[n,i]`, all f32, as in [`Call::DenseBackwardInput`].
    DenseBackwardWeight {
        /// Sizes.
        geometry: Dense,
        /// `[n, c_in]`.
        x: &'a Buffer,
        /// `[n, c_out]`.
        dy: &'a Buffer,
        /// `[c_in, c_out]`.
        dweight: &'a mut Buffer,
    },
    /// `y[i] = max(x[i], 0)`.
    ReluForward {
        /// Any shape.
        x: &'a Buffer,
        /// As `x`.
        y: &'a mut Buffer,
    },
    /// `gradient[i] = y[i] > 0 ? gradient[i] : 0`, in place; `y` is the ReLU's output.
    ReluBackward {
        /// Any shape.
        y: &'a Buffer,
        /// As `y`.
        gradient: &'a mut Buffer,
    },
    /// `y[i] = unit(word[i]) < rate ? 0 : x[i] / (1 - rate)`; forward on activations and, with the same
    /// `source`, backward on gradients: the mask is drawn again, never stored.
    Dropout {
        /// Share of elements that become 0, in [0, 1).
        rate: f32,
        /// The mask's words.
        source: MaskSource,
        /// Any shape.
        x: &'a Buffer,
        /// As `x`.
        y: &'a mut Buffer,
    },
    /// Binary cross-entropy from logits, `loss = w·(max(z,0) - z·s + ln(1 + e^-|z|))`, and the gradient,
    /// `dlogits = w·(sigmoid(z) - s) / denominator`, with `s = t·(1 - smoothing) + smoothing/2`.
    SigmoidCrossEntropy {
        /// Denominator and smoothing.
        rule: LossRule,
        /// `[rows]`.
        logits: &'a Buffer,
        /// `[rows]`, 0 or 1 (or between, for soft targets).
        targets: &'a Buffer,
        /// `[rows]`, `w`; ones if not given.
        weights: Option<&'a Buffer>,
        /// `[rows, 2]`: the loss, and 1 where `(z > 0) == (t > 0.5)`.
        outcome: &'a mut Buffer,
        /// `[rows]`.
        dlogits: Option<&'a mut Buffer>,
    },
    /// Cross-entropy of a softmax, `loss = w·(ln Σ_k e^(z_k) - Σ_k s_k·z_k)`, and the gradient,
    /// `dlogits = w·(softmax(z) - s) / denominator`, with `s = (1 - smoothing)·onehot + smoothing/classes`.
    SoftmaxCrossEntropy {
        /// Denominator and smoothing.
        rule: LossRule,
        /// Columns.
        classes: usize,
        /// `[rows, classes]`.
        logits: &'a Buffer,
        /// `[rows]`, u32.
        labels: &'a Buffer,
        /// `[rows]`, `w`; ones if not given.
        weights: Option<&'a Buffer>,
        /// `[rows, 2]`: the loss, and 1 where the first largest logit is the label's.
        outcome: &'a mut Buffer,
        /// `[rows, classes]`.
        dlogits: Option<&'a mut Buffer>,
    },
    /// `y[i] = 1 / (1 + e^-x[i])`.
    Sigmoid {
        /// Any shape.
        x: &'a Buffer,
        /// As `x`.
        y: &'a mut Buffer,
    },
    /// `y[row,k] = e^(x[row,k]) / Σ_j e^(x[row,j])`.
    Softmax {
        /// Columns.
        classes: usize,
        /// `[rows, classes]`.
        x: &'a Buffer,
        /// `[rows, classes]`.
        y: &'a mut Buffer,
    },
    /// `v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v + epsilon)`, for every tensor.
    ///
    /// Centered, `mean = rho·mean + (1-rho)·g` and the root is `sqrt(max(v - mean², 0) + epsilon)`; with epsilon
    /// outside it is `sqrt(…) + epsilon`; with momentum, `m = momentum·m + rate·g / root; w = w - m`.
    RmspropStep {
        /// Its numbers.
        rule: Rmsprop,
        /// What comes before.
        adjust: Adjust,
        /// If the loss was scaled, its [`LossScale`](super::LossScale): gradients are scaled back, and if one is not
        /// finite nothing happens.
        scaling: Option<&'a Buffer>,
        /// All that learns.
        tensors: Vec<ParameterUpdate<'a>>,
    },
    /// `w = w - rate·g`, for every tensor.
    ///
    /// With momentum `m = momentum·m - rate·g` and `w = w + m`, or `w + momentum·m - rate·g` with Nesterov.
    SgdStep {
        /// Its numbers.
        rule: Sgd,
        /// What comes before.
        adjust: Adjust,
        /// If the loss was scaled, its [`LossScale`](super::LossScale): gradients are scaled back, and if one is not
        /// finite nothing happens.
        scaling: Option<&'a Buffer>,
        /// All that learns.
        tensors: Vec<ParameterUpdate<'a>>,
    },
    /// `m = m + (g-m)·(1-beta_1); v = v + (g²-v)·(1-beta_2); w = w - m·alpha / (sqrt(v) + epsilon)`, for
    /// every tensor, where `alpha = rate·sqrt(1-beta_2^step) / (1-beta_1^step)`.
    AdamwStep {
        /// Its numbers.
        rule: Adamw,
        /// The step's number, from 1.
        step: u64,
        /// What comes before.
        adjust: Adjust,
        /// If the loss was scaled, its [`LossScale`](super::LossScale): gradients are scaled back, and if one is not
        /// finite nothing happens.
        scaling: Option<&'a Buffer>,
        /// All that learns.
        tensors: Vec<ParameterUpdate<'a>>,
    },
    /// [`Call::DenseBackwardWeight`] and [`Call::RmspropStep`] in one pass: the gradient is used where
    /// it arises and never stored.
    DenseRmspropStep {
        /// Sizes.
        geometry: Dense,
        /// Rate, rho, epsilon; the plain rule, [`Rmsprop::is_plain`].
        rule: Rmsprop,
        /// `[n, c_in]`.
        x: &'a Buffer,
        /// `[n, c_out]`.
        dy: &'a Buffer,
        /// `[c_in, c_out]`; the mean square, 0 before the first step.
        velocity: &'a mut Buffer,
        /// `[c_in, c_out]`.
        weight: &'a mut Buffer,
    },
    /// [`Call::Conv2dBackwardWeight`] and [`Call::RmspropStep`] of the weight in one call: the gradient, or its partial
    /// sums, lie in scratch memory and do not outlive it. Whoever still needs the old weight or its shadow, the layer's
    /// own [`Call::Conv2dBackwardInput`] first of all, must have run before.
    Conv2dRmspropStep {
        /// Sizes.
        geometry: Conv2d,
        /// Rate, rho, epsilon; the plain rule, [`Rmsprop::is_plain`].
        rule: Rmsprop,
        /// `[n, h, w, c_in]`.
        x: &'a Buffer,
        /// `[n, h, w, c_out]`.
        dy: &'a Buffer,
        /// `[c_out, 3, 3, c_in]`, f32; the mean square, 0 before the first step.
        velocity: &'a mut Buffer,
        /// `[c_out, 3, 3, c_in]`, f32.
        weight: &'a mut Buffer,
        /// As [`ParameterUpdate::shadow`].
        shadow: Option<&'a mut Buffer>,
        /// `[c_out]`, f32; the bias' gradient, as [`Call::Conv2dBackwardWeight`] gives it.
        dbias: Option<&'a mut Buffer>,
    },
    /// `gradient[i] = gradient[i]·scale`, in place: where the way back of a scaled loss begins.
    ScaleGradient {
        /// A [`LossScale`](super::LossScale).
        scaling: &'a Buffer,
        /// Any shape.
        gradient: &'a mut Buffer,
    },
    /// `found` = the first of `gradients` with an infinite number or a NaN: the steps that follow will do nothing.
    CheckGradients {
        /// All that the steps will use.
        gradients: Vec<&'a Buffer>,
        /// A [`LossScale`](super::LossScale).
        scaling: &'a mut Buffer,
    },
    /// After the steps: if something was found `scale = max(scale/2, 1); skipped = skipped + 1; good = 0`, else
    /// `good = good + 1` and, after `interval` of them, `scale = min(2·scale, 2^126); good = 0`. As Keras'
    /// LossScaleOptimizer, but for the bounds: at 1 a gradient that is not finite is not the scale's fault, and an infinite
    /// scale would never end.
    UpdateLossScale {
        /// Steps between two doublings.
        interval: u32,
        /// A [`LossScale`](super::LossScale).
        scaling: &'a mut Buffer,
    },
    /// `into[i] = into[i] + x[i]`: gradients that meet.
    Add {
        /// Any shape.
        x: &'a Buffer,
        /// As `x`.
        into: &'a mut Buffer,
    },
}
