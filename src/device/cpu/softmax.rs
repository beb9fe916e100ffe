//! Probabilities of classes.

use super::threads::CHUNK;
use super::workshop::Workshop;

/// `ln Σ_k e^(z_k)`; the largest logit is taken out first, so that nothing overflows.
pub fn log_sum_exp(z: &[f32]) -> f64 {
    let largest = f64::from(z.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + z.iter().map(|&z| (f64::from(z) - largest).exp()).sum::<f64>().ln()
}

/// `y[row,k] = e^(x[row,k]) / Σ_j e^(x[row,j])`; computed in f64 and rounded once.
pub fn softmax(shop: &Workshop, classes: usize, x: &[f32], y: &mut [f32]) {
    let chunk = CHUNK.div_ceil(classes) * classes;
    shop.threads.each(y.chunks_mut(chunk).zip(x.chunks(chunk)), |(y, x)| {
        for (y, x) in y.chunks_exact_mut(classes).zip(x.chunks_exact(classes)) {
            let whole = log_sum_exp(x);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (f64::from(x) - whole).exp() as f32;
            }
        }
    });
}
