//! An optimizer's tensors as pieces of slices, so that many small ones and one large one keep all threads
//! busy alike; and what happens to a piece before any rule.

use super::threads::CHUNK;
use super::workshop::Workshop;
use crate::device::Buffer;
use crate::device::arm::Arm;
use crate::device::call::{Adjust, Keeps, ParameterUpdate};
use crate::error::Result;

/// Elements that stay in registers and the first cache from the gradient to the weight.
pub const PIECE: usize = 64;

/// A part of a tensor, of equal lengths; a state that the rule does not keep is empty.
pub struct Part<'a> {
    pub gradient: &'a [f32],
    pub weight: &'a mut [f32],
    pub velocity: &'a mut [f32],
    pub momentum: &'a mut [f32],
    pub mean: &'a mut [f32],
}

/// The tensors' memory, if all of it is what the rule keeps.
pub fn open<'a>(arm: Arm, tensors: Vec<ParameterUpdate<'a>>, keeps: Keeps) -> Result<Vec<Part<'a>>> {
    let one = |(k, slot): (usize, ParameterUpdate<'a>)| {
        arm.keeps(k, &slot, keeps)?;
        unshadowed(arm, &format!("shadow[{k}]"), slot.shadow.as_deref())?;
        let len = slot.gradient.len();
        let state = |name: &str, buffer: Option<&'a mut Buffer>| match buffer {
            Some(buffer) => arm.output(&format!("{name}[{k}]"), buffer, len),
            None => Ok(&mut [][..]),
        };
        Ok(Part {
            gradient: arm.input(&format!("gradient[{k}]"), slot.gradient, len)?,
            weight: arm.output(&format!("weight[{k}]"), slot.weight, len)?,
            velocity: state("velocity", slot.velocity)?,
            momentum: state("momentum", slot.momentum)?,
            mean: state("mean", slot.mean)?,
        })
    };
    tensors.into_iter().enumerate().map(one).collect()
}

/// Whether a weight has no shadow: `name` is refused if it is there.
pub fn unshadowed(arm: Arm, name: &str, shadow: Option<&Buffer>) -> Result<()> {
    if shadow.is_none() {
        return Ok(());
    }
    Err(arm
        .refuse(format!("`{name}` is not written by the cpu"))
        .help("the cpu computes in f32 alone; this is a bug in vgg-ft"))
}

/// Hands all tensors to the threads, in parts of [`CHUNK`] elements.
pub fn each(shop: &Workshop, tensors: Vec<Part<'_>>, work: impl Fn(Part<'_>) + Sync) {
    let parts: Vec<Part<'_>> = tensors.into_iter().flat_map(|tensor| tensor.cut(CHUNK)).collect();
    shop.threads.each(parts.into_iter(), work);
}

/// The smallest state that is kept as it is beside `epsilon`, which must hide what is not.
pub fn least(epsilon: f32) -> f32 {
    if epsilon >= 1e-10 { f32::MIN_POSITIVE } else { 0.0 }
}

/// A state, or 0 for one below `least`. Of a unit that is off for good states shrink to subnormal numbers, which no
/// further product makes smaller (a momentum of 0.9 takes 800 steps), and with which a processor computes at half the
/// speed or less. Where no epsilon is in the way, 0 for them changes no weight above 1e-30. (A GPU has no such numbers
/// to fear, and keeps them.)
#[inline(always)]
pub fn settled(state: f32, least: f32) -> f32 {
    // A NaN stays.
    if state.abs() < least { 0.0 } else { state }
}

impl<'a> Part<'a> {
    /// Pieces of `len` elements, the last one shorter.
    #[inline(always)]
    pub fn cut(self, len: usize) -> impl Iterator<Item = Part<'a>> {
        let mut velocity = self.velocity.chunks_mut(len);
        let mut momentum = self.momentum.chunks_mut(len);
        let mut mean = self.mean.chunks_mut(len);
        self.gradient.chunks(len).zip(self.weight.chunks_mut(len)).map(move |(gradient, weight)| Part {
            gradient,
            weight,
            velocity: velocity.next().unwrap_or_default(),
            momentum: momentum.next().unwrap_or_default(),
            mean: mean.next().unwrap_or_default(),
        })
    }

    /// The gradient after `adjust`; the weight decays. Of a piece, the rest is zero.
    #[inline(always)]
    pub fn adjusted(&mut self, adjust: Adjust, rate: f32) -> [f32; PIECE] {
        let Adjust { scale, l2, decay } = adjust;
        let mut g = [0.0; PIECE];
        g[..self.gradient.len()].copy_from_slice(self.gradient);
        if scale != 1.0 {
            g.iter_mut().for_each(|g| *g *= scale);
        }
        if l2 != 0.0 {
            g.iter_mut().zip(&*self.weight).for_each(|(g, w)| *g += l2 * w);
        }
        if decay != 0.0 {
            self.weight.iter_mut().for_each(|w| *w -= *w * decay * rate);
        }
        g
    }
}
