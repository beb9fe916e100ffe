//! The rectifier. NaN passes through it, so that a network that left the finite world is seen.

use super::simd::widest;
use super::threads::CHUNK;
use super::workshop::Workshop;

/// `max(x, 0)`, and NaN for NaN (`f32::max` would hide it).
#[inline(always)]
pub fn rectify(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `y[i] = max(x[i], 0)`.
pub fn relu_forward(shop: &Workshop, x: &[f32], y: &mut [f32]) {
    shop.threads.each(y.chunks_mut(CHUNK).zip(x.chunks(CHUNK)), |(y, x)| forward(x, y));
}

widest! {
    fn forward(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = rectify(x);
        }
    }
}

/// `gradient[i] = y[i] > 0 ? gradient[i] : 0`.
pub fn relu_backward(shop: &Workshop, y: &[f32], gradient: &mut [f32]) {
    shop.threads.each(gradient.chunks_mut(CHUNK).zip(y.chunks(CHUNK)), |(gradient, y)| backward(y, gradient));
}

widest! {
    fn backward(y: &[f32], gradient: &mut [f32]) {
        // Eight at a time and by bits: number by number a choice becomes masked stores, which are slow, and of eight
        // numbers it becomes branches.
        let (whole, rest) = gradient.as_chunks_mut::<8>();
        let (whole_y, rest_y) = y.as_chunks::<8>();
        for (gradient, y) in whole.iter_mut().zip(whole_y) {
            let mask = y.map(|y| if y > 0.0 { u32::MAX } else { 0 });
            *gradient = std::array::from_fn(|i| f32::from_bits(gradient[i].to_bits() & mask[i]));
        }
        for (gradient, &y) in rest.iter_mut().zip(rest_y) {
            *gradient = if y > 0.0 { *gradient } else { 0.0 };
        }
    }
}
