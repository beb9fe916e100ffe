//! Lowering: a [`Call`] becomes one or more launches. Where blocks share a sum, a second launch adds the parts; f32
//! `conv2d_backward_weight` with a bias gradient can take four, Winograd's convolutions three for every chunk of tiles,
//! and optimizers one per 64 tensors.
//!
//! In: the call, and a [`Site`] that opens its buffers and finds scratch memory. Out: launches in order, not yet checked
//! against a device. How a sum is split depends on sizes and the architecture, not on the GPU (`room.rs`). A call with
//! nothing to do becomes no launch.

mod augment;
mod conv2d;
mod dense;
mod elementwise;
mod global_avgpool2d;
mod ladder;
mod layout;
mod maxpool2d;
mod mma;
mod optimizer;
mod room;
mod rows;
mod site;
mod sm90;
#[cfg(test)]
mod tests;
mod weight;
mod winograd;

pub(super) use room::Room;
pub use site::Site;
pub use sm90::{is_turned, joins};
use weight::{Goal, Weight};

use super::ladder::Rung;
use crate::device::{Buffer, Call, Dtype};
use crate::error::Result;

/// Multiprocessors of a large Hopper: its own kernels' work is cut as if every GPU had as many, since the cut is the
/// order of a sum.
const SMS: usize = Room::HOPPER.sms;

/// The launches of `call`, left in `site`.
///
/// # Errors
/// [`Kind::Device`](crate::error::Kind::Device) when a buffer does not fit, naming the call.
pub fn lower(call: Call<'_>, site: &mut Site<'_>) -> Result<()> {
    match call {
        Call::Normalize { rows, rule, pixels, y } => elementwise::normalize(site, rows, rule, pixels, y),
        Call::Augment { geometry, pixels, indices, transforms, y } => {
            augment::augment(site, geometry, pixels, (indices, transforms), y)
        }
        Call::Cast { x, y } => layout::cast(site, x, y),
        Call::Transpose { batch, rows, columns, x, y } => {
            layout::transpose(site, [batch, rows, columns], x, y)
        }
        Call::Conv2dForward { geometry, x, weight, bias, relu, y } => {
            conv2d::conv2d_forward(site, geometry, x, (weight, bias, relu), y)
        }
        Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner } => {
            let winner = winner.as_deref();
            conv2d::conv2d_maxpool2d_forward(site, geometry, x, (weight, bias), y, winner)
        }
        Call::Conv2dConv2dMaxpool2dForward { geometries, x, weights, biases, y } => {
            conv2d::conv2d_conv2d_maxpool2d_forward(site, geometries, x, (weights, biases), y)
        }
        Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx } => {
            conv2d::conv2d_backward_input(site, geometry, (dy, weight), mask, dx)
        }
        Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias } => {
            let weight = Weight::open(site, geometry, Goal::Store(dweight), dbias.as_deref())?;
            conv2d::conv2d_backward_weight(site, geometry, (x, dy), weight)
        }
        Call::BiasBackward { rows, channels, dy, dbias } => {
            rows::bias_backward(site, rows, channels, dy, dbias)
        }
        Call::Maxpool2dForward { geometry, x, y, winner } => {
            maxpool2d::maxpool2d_forward(site, geometry, x, y, winner.as_deref())
        }
        Call::Maxpool2dBackward { geometry, dy, winner, mask, dx } => {
            maxpool2d::maxpool2d_backward(site, geometry, (dy, winner), mask, dx)
        }
        Call::GlobalAvgpool2dForward { geometry, x, y } => {
            global_avgpool2d::global_avgpool2d_forward(site, geometry, x, y)
        }
        Call::GlobalAvgpool2dBackward { geometry, dy, dx } => {
            global_avgpool2d::global_avgpool2d_backward(site, geometry, dy, dx)
        }
        Call::DenseForward { geometry, x, weight, bias, relu, y } => {
            dense::dense_forward(site, geometry, x, (weight, bias, relu), y)
        }
        Call::DenseBackwardInput { geometry, dy, weight, dx } => {
            dense::dense_backward_input(site, geometry, dy, weight, dx)
        }
        Call::DenseBackwardWeight { geometry, x, dy, dweight } => {
            dense::dense_backward_weight(site, geometry, x, dy, dweight)
        }
        Call::ReluForward { x, y } => elementwise::relu_forward(site, x, y),
        Call::ReluBackward { y, gradient } => elementwise::relu_backward(site, y, gradient),
        Call::Dropout { rate, source, x, y } => elementwise::dropout(site, rate, source, x, y),
        Call::SigmoidCrossEntropy { rule, logits, targets, weights, outcome, dlogits } => {
            rows::sigmoid_cross_entropy(site, rule, (logits, targets, weights), outcome, dlogits.as_deref())
        }
        Call::SoftmaxCrossEntropy { rule, classes, logits, labels, weights, outcome, dlogits } => {
            let inputs = (logits, labels, weights);
            rows::softmax_cross_entropy(site, (rule, classes), inputs, outcome, dlogits.as_deref())
        }
        Call::Sigmoid { x, y } => elementwise::sigmoid(site, x, y),
        Call::Softmax { classes, x, y } => rows::softmax(site, classes, x, y),
        Call::RmspropStep { rule, adjust, scaling, tensors } => {
            optimizer::rmsprop_step(site, rule, (adjust, scaling), &tensors)
        }
        Call::SgdStep { rule, adjust, scaling, tensors } => {
            optimizer::sgd_step(site, rule, (adjust, scaling), &tensors)
        }
        Call::AdamwStep { rule, step, adjust, scaling, tensors } => {
            optimizer::adamw_step(site, rule, step, (adjust, scaling), &tensors)
        }
        Call::ScaleGradient { scaling, gradient } => optimizer::scale_gradient(site, scaling, gradient),
        Call::CheckGradients { gradients, scaling } => optimizer::check_gradients(site, &gradients, scaling),
        Call::UpdateLossScale { interval, scaling } => optimizer::update_loss_scale(site, interval, scaling),
        Call::DenseRmspropStep { geometry, rule, x, dy, velocity, weight } => {
            dense::dense_rmsprop_step(site, geometry, rule, (x, dy), velocity, weight)
        }
        Call::Conv2dRmspropStep { geometry, rule, x, dy, velocity, weight, shadow, dbias } => {
            let goal = Goal::Step { rule, velocity, weight, shadow: shadow.as_deref() };
            let weight = Weight::open(site, geometry, goal, dbias.as_deref())?;
            conv2d::conv2d_backward_weight(site, geometry, (x, dy), weight)
        }
        Call::Add { x, into } => elementwise::add(site, x, into),
    }
}

/// The same on a device that has a teaching kernel in the place of `conv2d_forward`.
///
/// # Errors
/// As [`lower`]; for sizes that the teaching kernel does not take.
pub fn lower_on(rung: Option<Rung>, call: Call<'_>, site: &mut Site<'_>) -> Result<()> {
    match (rung, call) {
        (Some(rung), Call::Conv2dForward { geometry, x, weight, bias, relu, y }) => {
            ladder::conv2d_forward(site, rung, geometry, x, (weight, bias, relu), y)
        }
        (_, call) => lower(call, site),
    }
}

/// What the elements of a kernel that is written for several formats are.
#[derive(Clone, Copy)]
struct Form {
    dtype: Dtype,
    /// Of the entry's name.
    ending: &'static str,
    /// Elements of 16 bytes: what a thread takes.
    lanes: usize,
}

impl Form {
    const F32: Self = Self { dtype: Dtype::F32, ending: "", lanes: 4 };
    const BF16: Self = Self { dtype: Dtype::Bf16, ending: "_bf16", lanes: 8 };
    const F16: Self = Self { dtype: Dtype::F16, ending: "_f16", lanes: 8 };

    /// 16 bits where `buffer` holds such, else f32: what holds anything else is refused when it is opened.
    fn of(buffer: &Buffer) -> Self {
        match buffer.dtype() {
            Dtype::Bf16 => Self::BF16,
            Dtype::F16 => Self::F16,
            _ => Self::F32,
        }
    }

    /// Whether an element has 16 bits.
    fn is_half(self) -> bool {
        self.dtype.size() == 2
    }

    /// `add_bf16` for `add`.
    fn entry(self, name: &str) -> String {
        format!("{name}{}", self.ending)
    }
}

/// How a sum of `terms` is cut into parts of equal length, the last one shorter.
struct Cut {
    parts: usize,
    length: usize,
}

impl Cut {
    /// As many parts as keep a large GPU busy when each has `tiles` blocks, but none for fewer than about
    /// `least` terms; their length is a multiple of `step`.
    fn new(terms: usize, tiles: usize, least: usize, step: usize) -> Self {
        /// Blocks: about four for each of a large GPU's processors.
        const BLOCKS: usize = 512;
        let parts = (BLOCKS / tiles.max(1)).clamp(1, terms.div_ceil(least).max(1));
        let length = terms.div_ceil(parts).next_multiple_of(step).max(step);
        Self { parts: terms.div_ceil(length).max(1), length }
    }
}
