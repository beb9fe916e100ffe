//! The convolution's gradient with respect to its input.

use super::threads::Threads;
use crate::shape::Conv2d;

/// `dx[n,i,j,c] = Σ_{a,b,o} dy[n,i-a+1,j-b+1,o] · weight[o,a,b,c]`.
pub fn conv2d_backward_input(
    threads: &Threads,
    geometry: Conv2d,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
) {
    let Conv2d { h, w, c_in, c_out, .. } = geometry;
    if dx.is_empty() {
        return;
    }
    threads.each(dx.chunks_mut(w * c_in).enumerate(), |(row, dx)| {
        let (picture, i) = (row / h, row % h);
        for (j, dx) in dx.chunks_exact_mut(c_in).enumerate() {
            dx.fill(0.0);
            for (a, b) in (0..3).flat_map(|a| (0..3).map(move |b| (a, b))) {
                let (Some(u), Some(v)) = ((i + 1).checked_sub(a), (j + 1).checked_sub(b)) else { continue };
                if u >= h || v >= w {
                    continue;
                }
                let dy = &dy[((picture * h + u) * w + v) * c_out..][..c_out];
                for (o, dy) in dy.iter().enumerate() {
                    let weight = &weight[((o * 3 + a) * 3 + b) * c_in..][..c_in];
                    for (dx, weight) in dx.iter_mut().zip(weight) {
                        *dx += dy * weight;
                    }
                }
            }
        }
    });
}
