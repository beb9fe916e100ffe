//! Dense layers: products with a matrix `[c_out, c_in]` that is too large for the caches.

use super::relu::rectify;
use super::threads::Threads;
use crate::shape::Dense;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// `y[n,o] = f(bias[o] + Σ_i x[n,i] · weight[o,i])`.
pub fn dense_forward(
    threads: &Threads,
    geometry: Dense,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    let Dense { c_in, c_out, .. } = geometry;
    threads.each(y.chunks_mut(c_out).enumerate(), |(n, y)| {
        let x = &x[n * c_in..][..c_in];
        for (o, y) in y.iter_mut().enumerate() {
            let sum = bias[o] + dot(x, &weight[o * c_in..][..c_in]);
            *y = if relu { rectify(sum) } else { sum };
        }
    });
}

/// `dx[n,i] = Σ_o dy[n,o] · weight[o,i]`.
pub fn dense_backward_input(threads: &Threads, geometry: Dense, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let Dense { c_in, c_out, .. } = geometry;
    threads.each(dx.chunks_mut(c_in).enumerate(), |(n, dx)| {
        dx.fill(0.0);
        for o in 0..c_out {
            let dy = dy[n * c_out + o];
            for (dx, w) in dx.iter_mut().zip(&weight[o * c_in..][..c_in]) {
                *dx += dy * w;
            }
        }
    });
}

/// `dweight[o,i] = Σ_n dy[n,o] · x[n,i]`.
pub fn dense_backward_weight(threads: &Threads, geometry: Dense, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let Dense { n, c_in, c_out } = geometry;
    threads.each(dweight.chunks_mut(c_in).enumerate(), |(o, dweight)| {
        dweight.fill(0.0);
        for n in 0..n {
            let dy = dy[n * c_out + o];
            for (dweight, x) in dweight.iter_mut().zip(&x[n * c_in..][..c_in]) {
                *dweight += dy * x;
            }
        }
    });
}
