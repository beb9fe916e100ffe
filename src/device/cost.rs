//! What a [`Call`] costs at least: floating-point operations, and bytes that no device can save.
//!
//! Operations are those of the formula in `call.rs`, as an implicit GEMM executes them. A multiply-add counts two; taps
//! on the padding count; a layer's bias and ReLU, sums made beside a product, and comparisons do not; an exponential, a
//! root or a quotient counts one. Bytes are compulsory: every operand once, whole.
//! An operand that is changed in place is read and written.

use super::call::ParameterUpdate;
use super::{Buffer, Call};
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Work and traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes that must be read or written.
    pub bytes: u64,
}

impl Cost {
    /// `flops`, with `read` read once and `written` written once.
    pub fn of<const R: usize, const W: usize>(flops: u64, read: [&Buffer; R], written: [&Buffer; W]) -> Self {
        Self { flops, bytes: bytes(read) + bytes(written) }
    }

    /// The plain RMSprop's step of a weight whose gradient is at hand.
    pub fn step(velocity: &Buffer, weight: &Buffer, shadow: Option<&Buffer>) -> Self {
        Self::of(per(RMSPROP, weight), [velocity, weight], [velocity, weight]).and(shadow)
    }

    /// Without `part`, which is one of it.
    pub fn less(self, part: Self) -> Self {
        Self { flops: self.flops - part.flops, bytes: self.bytes - part.bytes }
    }

    /// The same with an operand that is only there at times.
    fn and(mut self, operand: Option<&Buffer>) -> Self {
        self.bytes += bytes(operand);
        self
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

fn bytes<'a>(buffers: impl IntoIterator<Item = &'a Buffer>) -> u64 {
    buffers.into_iter().map(|buffer| (buffer.len() * buffer.dtype().size()) as u64).sum()
}

/// `each` operations on every element.
fn per(each: u64, buffer: &Buffer) -> u64 {
    each * buffer.len() as u64
}

/// A tensor and its state, changed in place by `each` operations on every weight.
fn stepped(each: u64, slot: &ParameterUpdate<'_>) -> Cost {
    let state = [&slot.velocity, &slot.momentum, &slot.mean];
    let changed = bytes([&*slot.weight]) + bytes(state.into_iter().flatten().map(|buffer| &**buffer));
    Cost {
        flops: per(each, slot.weight),
        bytes: bytes([slot.gradient]) + 2 * changed + bytes(slot.shadow.as_deref()),
    }
}

/// Of one weight: four for the mean square, epsilon, the root, the rate, the quotient, the difference.
const RMSPROP: u64 = 9;

impl Call<'_> {
    /// What this costs on any device, at least.
    pub fn cost(&self) -> Cost {
        match self {
            Self::Cast { x, y } | Self::Transpose { x, y, .. } => Cost::of(0, [x], [y]),
            // A factor and a summand.
            Self::Normalize { pixels, y, .. } => Cost::of(per(2, y), [pixels], [y]),
            Self::Conv2dForward { geometry, x, weight, bias, y, .. } => {
                Cost::of(2 * geometry.macs(), [x, weight, bias], [y])
            }
            Self::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner } => {
                Cost::of(2 * geometry.macs(), [x, weight, bias], [y]).and(winner.as_deref())
            }
            Self::Conv2dConv2dMaxpool2dForward { geometries, x, weights, biases, y } => {
                let flops = geometries.iter().map(|geometry| 2 * geometry.macs()).sum();
                let [[first, second], [one, other]] = [weights, biases];
                Cost::of(flops, [*x, first, one, second, other], [&**y])
            }
            Self::Conv2dBackwardInput { geometry, dy, weight, mask, dx } => {
                Cost::of(2 * geometry.macs(), [dy, weight], [dx]).and(*mask)
            }
            Self::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias } => {
                Cost::of(2 * geometry.macs(), [x, dy], [dweight]).and(dbias.as_deref())
            }
            Self::BiasBackward { dy, dbias, .. } => Cost::of(per(1, dy), [dy], [dbias]),
            Self::Maxpool2dForward { x, y, winner, .. } => Cost::of(0, [x], [y]).and(winner.as_deref()),
            Self::Maxpool2dBackward { dy, winner, mask, dx, .. } => {
                Cost::of(0, [dy, winner], [dx]).and(*mask)
            }
            Self::GlobalAvgpool2dForward { x, y, .. } => Cost::of(per(1, x), [x], [y]),
            Self::GlobalAvgpool2dBackward { dy, dx, .. } => Cost::of(per(1, dx), [dy], [dx]),
            Self::DenseForward { geometry, x, weight, bias, y, .. } => {
                Cost::of(2 * geometry.macs(), [x, weight, bias], [y])
            }
            Self::DenseBackwardInput { geometry, dy, weight, dx } => {
                Cost::of(2 * geometry.macs(), [dy, weight], [dx])
            }
            Self::DenseBackwardWeight { geometry, x, dy, dweight } => {
                Cost::of(2 * geometry.macs(), [x, dy], [dweight])
            }
            Self::ReluForward { x, y } => Cost::of(0, [x], [y]),
            Self::ReluBackward { y, gradient } => Cost::of(0, [y, gradient], [gradient]),
            Self::Dropout { x, y, .. } => Cost::of(per(1, y), [x], [y]),
            // Of a row: e^-|z|, its logarithm, the product, two sums; the quotient and the mean.
            Self::SigmoidCrossEntropy { logits, targets, weights, outcome, dlogits, .. } => {
                Cost::of(per(9, logits), [logits, targets], [outcome]).and(dlogits.as_deref()).and(*weights)
            }
            // Of a logit: the difference, the exponential, the sum, the quotient, the mean.
            Self::SoftmaxCrossEntropy { logits, labels, weights, outcome, dlogits, .. } => {
                Cost::of(per(5, logits), [logits, labels], [outcome]).and(dlogits.as_deref()).and(*weights)
            }
            Self::Sigmoid { x, y } => Cost::of(per(3, y), [x], [y]),
            Self::Softmax { x, y, .. } => Cost::of(per(4, y), [x], [y]),
            Self::RmspropStep { tensors, .. } => tensors.iter().map(|slot| stepped(RMSPROP, slot)).sum(),
            Self::SgdStep { tensors, .. } => tensors.iter().map(|slot| stepped(4, slot)).sum(),
            // Two means, the square, the root, epsilon, the rate, the quotient, the difference.
            Self::AdamwStep { tensors, .. } => tensors.iter().map(|slot| stepped(12, slot)).sum(),
            // A place, four neighbours weighed, the rule; of the images only those that are asked for.
            Self::Augment { geometry, indices, transforms, y, .. } => {
                let mut cost = Cost::of(per(20, y), [indices, transforms], [y]);
                cost.bytes += (geometry.n * geometry.h * geometry.w * 3) as u64;
                cost
            }
            Self::DenseRmspropStep { geometry, x, dy, velocity, weight, .. } => {
                let flops = 2 * geometry.macs() + per(RMSPROP, weight);
                Cost::of(flops, [x, dy, velocity, weight], [velocity, weight])
            }
            Self::Conv2dRmspropStep { geometry, x, dy, velocity, weight, shadow, dbias, .. } => {
                Cost::of(2 * geometry.macs(), [x, dy], []).and(dbias.as_deref())
                    + Cost::step(velocity, weight, shadow.as_deref())
            }
            Self::ScaleGradient { scaling, gradient } => {
                Cost::of(per(1, gradient), [scaling, gradient], [gradient])
            }
            Self::CheckGradients { gradients, scaling } => {
                Cost::of(0, [], [scaling]) + Cost { flops: 0, bytes: bytes(gradients.iter().copied()) }
            }
            Self::UpdateLossScale { scaling, .. } => Cost::of(0, [scaling], [scaling]),
            Self::Add { x, into } => Cost::of(per(1, x), [x, into], [into]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::CpuDevice;
    use crate::device::{Device, Dtype};
    use crate::shape::{Conv2d, Pool2d};

    #[test]
    fn costs_are_those_of_the_formula() {
        let cpu = CpuDevice::new(Some(1)).unwrap();
        let f32 = |len| cpu.alloc(Dtype::F32, len).unwrap();
        // block5_conv1 on images of 150x150: 191.10 million multiply-adds each.
        let geometry = Conv2d { n: 20, h: 9, w: 9, c_in: 512, c_out: 512 };
        let (x, weight, bias) = (&f32(20 * 81 * 512), &f32(9 * 512 * 512), &f32(512));
        let y = &mut f32(20 * 81 * 512);
        let cost = Call::Conv2dForward { geometry, x, weight, bias, relu: true, y }.cost();
        assert_eq!(cost.flops, 2 * 20 * 191_102_976);
        assert_eq!(cost.bytes, 4 * (20 * 81 * 512 + 9 * 512 * 512 + 512) + 4 * 20 * 81 * 512);
        // What is not there costs nothing; four winners to a byte.
        let geometry = Pool2d { n: 1, h: 4, w: 4, c: 3 };
        let (x, y, winner) = (&f32(48), &mut f32(12), &mut cpu.alloc(Dtype::U8, 3).unwrap());
        let cost = Call::Maxpool2dForward { geometry, x, y, winner: None }.cost();
        assert_eq!(cost.bytes, 192 + 48);
        let cost = Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }.cost();
        assert_eq!((cost.flops, cost.bytes), (0, 192 + 48 + 3));
        // In place is read and written.
        let cost = Call::Add { x: bias, into: &mut f32(512) }.cost();
        assert_eq!(cost, Cost { flops: 512, bytes: 4096 + 2048 });
    }
}
