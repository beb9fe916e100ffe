//! The optimizer's step.

use super::simd::widest;
use super::threads::CHUNK;
use super::workshop::Workshop;
use crate::device::call::Rmsprop;

/// `v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v + epsilon)`.
pub fn rmsprop_step(
    shop: &Workshop,
    rule: Rmsprop,
    gradient: &[f32],
    velocity: &mut [f32],
    weight: &mut [f32],
) {
    let chunks = velocity.chunks_mut(CHUNK).zip(weight.chunks_mut(CHUNK)).zip(gradient.chunks(CHUNK));
    shop.threads.each(chunks, |((velocity, weight), gradient)| chunk(rule, gradient, velocity, weight));
}

widest! {
    /// One thread's part.
    pub fn chunk(rule: Rmsprop, gradient: &[f32], velocity: &mut [f32], weight: &mut [f32]) {
        let Rmsprop { rate, rho, epsilon } = rule;
        for ((v, w), &g) in velocity.iter_mut().zip(weight).zip(gradient) {
            *v = rho * *v + (1.0 - rho) * (g * g);
            *w -= rate * g / (*v + epsilon).sqrt();
        }
    }
}

widest! {
    /// What is left of [`chunk`] where the gradient is zero.
    pub fn rest(rule: Rmsprop, velocity: &mut [f32]) {
        for v in velocity {
            *v *= rule.rho;
        }
    }
}
