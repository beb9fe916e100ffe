//! The convolution itself.

use super::relu::rectify;
use super::threads::Threads;
use crate::shape::Conv2d;

/// `y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])`.
pub fn conv2d_forward(
    threads: &Threads,
    geometry: Conv2d,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    let Conv2d { h, w, c_in, c_out, .. } = geometry;
    if y.is_empty() {
        return;
    }
    threads.each(y.chunks_mut(w * c_out).enumerate(), |(row, y)| {
        let (picture, i) = (row / h, row % h);
        for (j, y) in y.chunks_exact_mut(c_out).enumerate() {
            y.copy_from_slice(bias);
            for (a, b) in (0..3).flat_map(|a| (0..3).map(move |b| (a, b))) {
                let (Some(u), Some(v)) = ((i + a).checked_sub(1), (j + b).checked_sub(1)) else { continue };
                if u >= h || v >= w {
                    continue;
                }
                let x = &x[((picture * h + u) * w + v) * c_in..][..c_in];
                for (o, y) in y.iter_mut().enumerate() {
                    let weight = &weight[((o * 3 + a) * 3 + b) * c_in..][..c_in];
                    let mut sums = [0.0; 8];
                    for (x, weight) in x.chunks(8).zip(weight.chunks(8)) {
                        for ((sum, x), weight) in sums.iter_mut().zip(x).zip(weight) {
                            *sum += x * weight;
                        }
                    }
                    *y += sums.iter().sum::<f32>();
                }
            }
            if relu {
                y.iter_mut().for_each(|y| *y = rectify(*y));
            }
        }
    });
}
