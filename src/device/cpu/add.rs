//! Gradients that meet.

use super::simd::widest;
use super::threads::CHUNK;
use super::workshop::Workshop;

/// `into[i] += x[i]`.
pub fn add(shop: &Workshop, x: &[f32], into: &mut [f32]) {
    shop.threads.each(into.chunks_mut(CHUNK).zip(x.chunks(CHUNK)), |(into, x)| chunk(x, into));
}

widest! {
    fn chunk(x: &[f32], into: &mut [f32]) {
        for (into, x) in into.iter_mut().zip(x) {
            *into += x;
        }
    }
}
