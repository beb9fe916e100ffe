//! What a loss is multiplied by, so that gradients of f16 neither vanish nor overflow.
//!
//! A device keeps it in a buffer of [`LossScale::WORDS`] u32 for a whole run and changes it by itself
//! ([`Call::UpdateLossScale`](super::Call::UpdateLossScale)): a step that is started as one asks nobody. Twin of
//! `kernels/loss_scale.cuh`.

use super::{Buffer, Device};
use crate::error::Result;
use bytemuck::{Pod, Zeroable};

/// Its state. `scale` is a power of two, so that to scale rounds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct LossScale {
    /// The factor.
    pub scale: f32,
    /// `1 / scale`.
    pub inverse: f32,
    /// Steps since it was changed last.
    pub good: u32,
    /// The first of this step's gradients that is not finite, or [`LossScale::NOTHING`].
    pub found: u32,
    /// Steps that were skipped so far.
    pub skipped: u32,
}

impl LossScale {
    /// Words of its buffer.
    pub const WORDS: usize = size_of::<Self>() / size_of::<u32>();
    /// All gradients are finite.
    pub const NOTHING: u32 = u32::MAX;
    /// Steps after which it is doubled, as `dynamic_growth_steps` of Keras' LossScaleOptimizer.
    pub const INTERVAL: u32 = 2000;
    /// How it begins: 2^15, as `initial_scale` of Keras' LossScaleOptimizer.
    pub const START: Self = Self::at(32768.0, 0, 0);

    /// The scale at most: neither its double nor its inverse leaves f32.
    pub const MOST: f32 = f32::from_bits((126 + 127) << 23);

    /// Between two steps.
    pub const fn at(scale: f32, good: u32, skipped: u32) -> Self {
        Self { scale, inverse: 1.0 / scale, good, found: Self::NOTHING, skipped }
    }

    /// A new buffer that holds it.
    ///
    /// # Errors
    /// The device's errors.
    pub fn upload(self, device: &dyn Device) -> Result<Buffer> {
        device.upload::<u32>(bytemuck::cast_slice(&[self]))
    }

    /// What `buffer` holds; waits for the device.
    ///
    /// # Errors
    /// The device's errors.
    pub fn download(device: &dyn Device, buffer: &Buffer) -> Result<Self> {
        let mut state = Self::START;
        device.download_bytes(buffer, bytemuck::bytes_of_mut(&mut state))?;
        Ok(state)
    }

    /// What follows a step: [`Call::UpdateLossScale`](super::Call::UpdateLossScale).
    pub fn updated(self, interval: u32) -> Self {
        let Self { scale, good, found, skipped, .. } = self;
        match good + 1 {
            _ if found != Self::NOTHING => Self::at((0.5 * scale).max(1.0), 0, skipped + 1),
            good if good >= interval => Self::at((2.0 * scale).min(Self::MOST), 0, skipped),
            good => Self::at(scale, good, skipped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_struct_of_the_kernels_has_the_same_fields() {
        let source = include_str!("../../kernels/loss_scale.cuh");
        let fields: Vec<_> = source
            .lines()
            .skip_while(|line| !line.starts_with("struct LossScale"))
            .skip(1)
            .take_while(|line| !line.starts_with('}'))
            .filter_map(|line| line.trim().split(';').next())
            .collect();
        let ours = ["float scale", "float inverse", "unsigned good", "unsigned found", "unsigned skipped"];
        assert_eq!(fields, ours);
        assert_eq!(LossScale::WORDS, ours.len());
        assert!(source.contains("NOTHING = 0xffffffff"));
        assert!(source.contains("MOST = 0x1p126f"));
        assert_eq!(LossScale::MOST.log2(), 126.0);
    }
}
