//! The convolution's gradient with respect to its weight.

use super::threads::Threads;
use crate::shape::Conv2d;

/// `dweight[o,a,b,c] = Σ_{n,i,j} dy[n,i,j,o] · x[n,i+a-1,j+b-1,c]`.
pub fn conv2d_backward_weight(
    threads: &Threads,
    geometry: Conv2d,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) {
    let Conv2d { n, h, w, c_in, c_out } = geometry;
    if dweight.is_empty() {
        return;
    }
    threads.each(dweight.chunks_mut(9 * c_in).enumerate(), |(o, dweight)| {
        dweight.fill(0.0);
        for (row, i) in (0..n).flat_map(|picture| (0..h).map(move |i| (picture * h + i, i))) {
            for (j, (a, b)) in (0..w).flat_map(|j| (0..9).map(move |tap| (j, (tap / 3, tap % 3)))) {
                let (Some(u), Some(v)) = ((i + a).checked_sub(1), (j + b).checked_sub(1)) else { continue };
                if u >= h || v >= w {
                    continue;
                }
                let dy = dy[(row * w + j) * c_out + o];
                let x = &x[((row - i + u) * w + v) * c_in..][..c_in];
                for (dweight, x) in dweight[(a * 3 + b) * c_in..][..c_in].iter_mut().zip(x) {
                    *dweight += dy * x;
                }
            }
        }
    });
}
