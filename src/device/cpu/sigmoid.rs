//! The logistic function.

use super::threads::CHUNK;
use super::workshop::Workshop;

/// `1 / (1 + e^-x)` without overflow.
pub fn logistic(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// `y[i] = 1 / (1 + e^-x[i])`; computed in f64 and rounded once.
pub fn sigmoid(shop: &Workshop, x: &[f32], y: &mut [f32]) {
    shop.threads.each(y.chunks_mut(CHUNK).zip(x.chunks(CHUNK)), |(y, x)| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = logistic(f64::from(x)) as f32;
        }
    });
}
