//! The maximum of 2x2 windows, and its backward pass, to the winner.

use super::simd::widest;
use super::workshop::Workshop;
use crate::shape::Pool2d;

/// Channels that are compared side by side.
const LANES: usize = 8;

/// Whether `x` takes the place of `best`: larger, or the first NaN. So the first of equals stays, and
/// NaN passes through.
#[inline(always)]
fn beats(x: f32, best: f32) -> bool {
    // Not `||` and `&&`: they branch.
    (x > best) | (x.is_nan() & !best.is_nan())
}

/// `y[n,i,j,c] = max x[n,2i+a,2j+b,c]`; `winner` keeps `2a+b`, two bits for each element of `y`. A job is a
/// row of `y`, or as many as end with a whole byte of winners.
pub fn maxpool2d_forward(
    shop: &Workshop,
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
            let some = [1, 4, 2, 4][row % 4];
            let jobs = y.chunks_mut(some * row).zip(winner.chunks_mut(some * row / 4)).enumerate();
            shop.threads.each(jobs, |(job, (y, winner))| {
                let mut which = vec![0; y.len()];
                for (k, (y, which)) in y.chunks_mut(row).zip(which.chunks_mut(row)).enumerate() {
                    row_and_winners(window(job * some + k), c, y, which);
                }
                pack(&which, winner);
            });
        }
        None => shop.threads.each(y.chunks_mut(row).enumerate(), |(at, y)| row_alone(window(at), c, y)),
    }
}

/// The four corners of window `j`.
#[inline(always)]
fn corners([top, bottom]: [&[f32]; 2], c: usize, j: usize) -> [&[f32]; 4] {
    let at = 2 * j * c;
    [&top[at..][..c], &top[at + c..][..c], &bottom[at..][..c], &bottom[at + c..][..c]]
}

widest! {
    fn row_alone(rows: [&[f32]; 2], c: usize, y: &mut [f32]) {
        for (j, y) in y.chunks_exact_mut(c).enumerate() {
            let [first, others @ ..] = corners(rows, c, j);
            y.copy_from_slice(first);
            for corner in others {
                for (best, &x) in y.iter_mut().zip(corner) {
                    *best = if beats(x, *best) { x } else { *best };
                }
            }
        }
    }
}

/// The winners of some channels side by side.
#[inline(always)]
fn best_of<const N: usize>([first, others @ ..]: [[f32; N]; 4], y: &mut [f32; N], winner: &mut [u8; N]) {
    let mut best = first;
    // As wide as the numbers, so that one mask chooses both.
    let mut which = [0u32; N];
    for (name, x) in (1..).zip(others) {
        for i in 0..N {
            let wins = beats(x[i], best[i]);
            best[i] = if wins { x[i] } else { best[i] };
            which[i] = if wins { name } else { which[i] };
        }
    }
    *y = best;
    *winner = which.map(|which| which as u8);
}

widest! {
    fn row_and_winners(rows: [&[f32]; 2], c: usize, y: &mut [f32], winner: &mut [u8]) {
        for (j, (y, winner)) in y.chunks_exact_mut(c).zip(winner.chunks_exact_mut(c)).enumerate() {
            let corners = corners(rows, c, j);
            let (y, y_rest) = y.as_chunks_mut::<LANES>();
            let (winner, winner_rest) = winner.as_chunks_mut::<LANES>();
            let whole = corners.map(|corner| corner.as_chunks::<LANES>().0);
            for (at, (y, winner)) in y.iter_mut().zip(winner).enumerate() {
                best_of(whole.map(|corner| corner[at]), y, winner);
            }
            let rest = corners.map(|corner| corner.as_chunks::<LANES>().1);
            for (at, (y, winner)) in y_rest.iter_mut().zip(winner_rest).enumerate() {
                let (mut one, mut which) = ([0.0], [0]);
                best_of(rest.map(|corner| [corner[at]]), &mut one, &mut which);
                (*y, *winner) = (one[0], which[0]);
            }
        }
    }
}

widest! {
    /// Two bits of each, four to a byte.
    fn pack(which: &[u8], winner: &mut [u8]) {
        let (whole, rest) = which.as_chunks::<4>();
        for (byte, four) in winner.iter_mut().zip(whole) {
            *byte = four[0] | four[1] << 2 | four[2] << 4 | four[3] << 6;
        }
        if let Some(last) = winner.get_mut(whole.len()) {
            *last = rest.iter().rev().fold(0, |byte, which| byte << 2 | which);
        }
    }
}

widest! {
    /// The winners of elements `first` and following.
    fn unpack(winner: &[u8], first: usize, which: &mut [u8]) {
        let one = |at: usize| winner[at / 4] >> (at % 4 * 2) & 3;
        let head = (first.next_multiple_of(4) - first).min(which.len());
        let (head, rest) = which.split_at_mut(head);
        head.iter_mut().enumerate().for_each(|(k, which)| *which = one(first + k));
        let first = first + head.len();
        let (whole, tail) = rest.as_chunks_mut::<4>();
        for (four, &byte) in whole.iter_mut().zip(&winner[first / 4..]) {
            *four = [byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6];
        }
        let first = first + whole.len() * 4;
        tail.iter_mut().enumerate().for_each(|(k, which)| *which = one(first + k));
    }
}

/// What no window's corner bears: it wins nothing.
const NOBODY: u8 = 4;

/// `dx` is `dy` at each window's winner, where `mask` is above 0, and zero elsewhere. One job per row of
/// `dx`.
pub fn maxpool2d_backward(
    shop: &Workshop,
    geometry: Pool2d,
    dy: &[f32],
    winner: &[u8],
    mask: Option<&[f32]>,
    dx: &mut [f32],
) {
    let Pool2d { h, w, c, .. } = geometry;
    let row = w / 2 * c;
    if dx.is_empty() {
        return;
    }
    shop.threads.each(dx.chunks_mut(w * c).enumerate(), |(at, dx)| {
        let (image, i) = (at / h, at % h);
        if i / 2 == h / 2 {
            dx.fill(0.0);
            return;
        }
        let from = (image * (h / 2) + i / 2) * row;
        let mut which = vec![0; row];
        unpack(winner, from, &mut which);
        if let Some(mask) = mask {
            close(&mask[from..][..row], &mut which);
        }
        row_back(&dy[from..][..row], &which, (i % 2 * 2) as u8, c, dx);
    });
}

widest! {
    /// Nobody wins where the ReLU was closed.
    fn close(mask: &[f32], which: &mut [u8]) {
        for (which, &y) in which.iter_mut().zip(mask) {
            *which = if y > 0.0 { *which } else { NOBODY };
        }
    }
}

widest! {
    /// A row of `dx` takes what its windows' winners `side` and `side + 1` got.
    fn row_back(dy: &[f32], winner: &[u8], side: u8, c: usize, dx: &mut [f32]) {
        let windows = dy.chunks_exact(c).zip(winner.chunks_exact(c));
        let (whole, dropped) = dx.split_at_mut(dy.len() * 2);
        for (dx, (dy, winner)) in whole.chunks_exact_mut(2 * c).zip(windows) {
            let (left, right) = dx.split_at_mut(c);
            for (((left, right), &dy), &winner) in left.iter_mut().zip(right).zip(dy).zip(winner) {
                *left = if winner == side { dy } else { 0.0 };
                *right = if winner == side + 1 { dy } else { 0.0 };
            }
        }
        dropped.fill(0.0);
    }
}
