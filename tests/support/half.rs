//! Formats of 16 bits: how numbers get into them, and what that costs.

use super::close::Near;
use super::run::{Data, Want};
use half::{bf16, f16};
use vgg_ft::device::{Dtype, Precision};

/// One of the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half(pub Dtype);

pub const HALVES: [Half; 2] = [Half(Dtype::Bf16), Half(Dtype::F16)];

impl Half {
    /// Of activations, if they have 16 bits.
    pub fn of(precision: Precision) -> Option<Self> {
        HALVES.into_iter().find(|half| half.0 == precision.activations())
    }

    fn is_f16(self) -> bool {
        self.0 == Dtype::F16
    }

    /// To the nearest, ties to even; NaN as the kernels write it.
    pub fn round(self, x: f32) -> f32 {
        match self.is_f16() {
            _ if x.is_nan() => f32::NAN,
            true => f16::from_f32(x).to_f32(),
            false => bf16::from_f32(x).to_f32(),
        }
    }

    pub fn rounded(self, x: &[f32]) -> Vec<f32> {
        x.iter().map(|&x| self.round(x)).collect()
    }

    /// As they lie in memory.
    pub fn data(self, x: &[f32]) -> Data {
        let bits = |x: f32, other: u16| if x.is_nan() { 0x7fff } else { other };
        if self.is_f16() {
            Data::F16(x.iter().map(|&x| f16::from_bits(bits(x, f16::from_f32(x).to_bits()))).collect())
        } else {
            Data::Bf16(x.iter().map(|&x| bf16::from_bits(bits(x, bf16::from_f32(x).to_bits()))).collect())
        }
    }

    /// Rounded, the very bits, NaN for NaN.
    pub fn exactly(self, want: impl IntoIterator<Item = f32>) -> Want {
        Want::Bits(self.data(&want.into_iter().collect::<Vec<_>>()))
    }

    /// Half a unit in the last of its 8 or 11 bits, of 1 at most that of 1.
    pub fn error(self) -> f64 {
        if self.is_f16() { 2f64.powi(-11) } else { 2f64.powi(-8) }
    }

    /// Half of the smallest number above 0.
    pub fn least(self) -> f64 {
        if self.is_f16() { 2f64.powi(-25) } else { 2f64.powi(-134) }
    }

    /// What a sum is after it was rounded.
    pub fn near(self, sum: Near) -> Near {
        let Near { value, within } = sum;
        Near { value, within: within + (value.abs() + within) * self.error() + self.least() }
    }

    /// A number near the smallest above 0, and the largest.
    pub fn ends(self) -> [f32; 2] {
        if self.is_f16() { [1e-7, 65504.0] } else { [1e-40, f32::MAX] }
    }
}
