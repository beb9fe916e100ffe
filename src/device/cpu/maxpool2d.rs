//! The maximum of 2x2 windows, and the way back to the winner.

use super::threads::Threads;
use crate::shape::Pool2d;

/// Whether `x` takes the place of `best`: larger, or the first NaN. So the first of equals stays, and
/// NaN passes through.
#[inline]
fn beats(x: f32, best: f32) -> bool {
    x > best || (x.is_nan() && !best.is_nan())
}

/// `y[n,i,j,c] = max x[n,2i+a,2j+b,c]`; `winner` keeps `2a+b`. One job per row of `y`.
pub fn maxpool2d_forward(
    threads: &Threads,
    geometry: Pool2d,
    x: &[f32],
    y: &mut [f32],
    winner: Option<&mut [u8]>,
) {
    let Pool2d { h, w, c, .. } = geometry;
    let (rows, row) = (h / 2, w / 2 * c);
    if y.is_empty() {
        return;
    }
    let window = |at: usize| {
        let first = (at / rows * h + at % rows * 2) * w * c;
        [&x[first..][..w * c], &x[first + w * c..][..w * c]]
    };
    match winner {
        Some(winner) => {
            let jobs = y.chunks_mut(row).zip(winner.chunks_mut(row)).enumerate();
            threads.each(jobs, |(at, (y, winner))| pool_row(window(at), c, y, Some(winner)));
        }
        None => threads.each(y.chunks_mut(row).enumerate(), |(at, y)| pool_row(window(at), c, y, None)),
    }
}

fn pool_row([top, bottom]: [&[f32]; 2], c: usize, y: &mut [f32], mut winner: Option<&mut [u8]>) {
    for (j, y) in y.chunks_exact_mut(c).enumerate() {
        let at = 2 * j * c;
        let corners = [&top[at..][..c], &top[at + c..][..c], &bottom[at..][..c], &bottom[at + c..][..c]];
        for k in 0..c {
            let mut best = corners[0][k];
            let mut which = 0;
            for (corner, name) in corners[1..].iter().zip(1..) {
                if beats(corner[k], best) {
                    (best, which) = (corner[k], name);
                }
            }
            y[k] = best;
            if let Some(winner) = winner.as_deref_mut() {
                winner[j * c + k] = which;
            }
        }
    }
}

/// `dx` is `dy` at each window's winner and zero elsewhere. One job per picture and pair of rows.
pub fn maxpool2d_backward(threads: &Threads, geometry: Pool2d, dy: &[f32], winner: &[u8], dx: &mut [f32]) {
    let Pool2d { h, w, c, .. } = geometry;
    let row = w / 2 * c;
    if dx.is_empty() {
        return;
    }
    // Jobs are single rows of `dx`, so that an odd last row needs no case of its own.
    threads.each(dx.chunks_mut(w * c).enumerate(), |(at, dx)| {
        dx.fill(0.0);
        let (picture, i) = (at / h, at % h);
        if i / 2 == h / 2 {
            return;
        }
        let from = (picture * (h / 2) + i / 2) * row;
        let side = (i % 2 * 2) as u8;
        let windows = dy[from..][..row].chunks_exact(c).zip(winner[from..][..row].chunks_exact(c));
        for (dx, (dy, winner)) in dx.chunks_exact_mut(2 * c).zip(windows) {
            let (left, right) = dx.split_at_mut(c);
            for k in 0..c {
                left[k] = if winner[k] == side { dy[k] } else { 0.0 };
                right[k] = if winner[k] == side + 1 { dy[k] } else { 0.0 };
            }
        }
    });
}
