//! A dense layer's weight gradient and its RMSprop step in one pass: the gradient lives in registers
//! only, so the weight and its mean square are the whole traffic.
//!
//! Most rows of a unit's gradient are zero (ReLU and dropout put them there); they are left out, which
//! changes no bit: a fused multiply-add with 0 gives back the sum. Every sum runs over the batch in
//! order, as in `dense_backward_weight`.

use super::workshop::Workshop;
use crate::device::call::Rmsprop;
use crate::error::Result;
use crate::shape::Dense;

/// Inputs whose sums are in registers together.
const COLUMNS: usize = 32;
/// Panels of a job: at a batch of 20 its part of `x` takes 40 kB, and a unit's part of the weight half
/// a page.
const PANELS: usize = 16;

/// `g[o,i] = Σ_n dy[n,o] · x[n,i]; v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v + epsilon)`.
#[allow(clippy::too_many_arguments)]
pub fn dense_rmsprop_step(
    shop: &Workshop,
    geometry: Dense,
    rule: Rmsprop,
    x: &[f32],
    dy: &[f32],
    velocity: &mut [f32],
    weight: &mut [f32],
) -> Result<()> {
    let Dense { n, c_in, c_out } = geometry;
    if weight.is_empty() {
        return Ok(());
    }
    // For each unit the rows that matter: (row, dy).
    let rows: Vec<Vec<(usize, f32)>> = (0..c_out)
        .map(|o| (0..n).map(|k| (k, dy[k * c_out + o])).filter(|&(_, dy)| dy != 0.0).collect())
        .collect();
    // Columns of weight and velocity are written by different jobs, rows are not contiguous to them.
    let blocks = Blocks::new(velocity, weight, c_in);
    let block = PANELS * COLUMNS;
    let mut desks = shop.desks(n.max(1) * block)?;
    shop.threads.each_at(&mut desks, 0..c_in.div_ceil(block), |lines, job| {
        let first = job * block;
        let columns = block.min(c_in - first);
        pack(x, n, c_in, first, columns, lines);
        for (o, rows) in rows.iter().enumerate() {
            // SAFETY: jobs are distinct, so no two threads are given the same columns of a row.
            let (velocity, weight) = unsafe { blocks.part(o, first, columns) };
            unit(rule, rows, n, lines, c_in, velocity, weight);
        }
    });
    Ok(())
}

/// The matrices, to be written in blocks of columns by several threads.
struct Blocks {
    velocity: *mut f32,
    weight: *mut f32,
    len: usize,
    c_in: usize,
}

// SAFETY: `part` hands out disjoint pieces, by its own contract.
unsafe impl Sync for Blocks {}

impl Blocks {
    fn new(velocity: &mut [f32], weight: &mut [f32], c_in: usize) -> Self {
        assert_eq!(velocity.len(), weight.len());
        Self { velocity: velocity.as_mut_ptr(), weight: weight.as_mut_ptr(), len: weight.len(), c_in }
    }

    /// Columns `first..first + columns` of row `row`, of velocity and weight.
    ///
    /// # Safety
    /// The matrices must outlive the slices, and no column of a row may be handed out twice at a time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, row: usize, first: usize, columns: usize) -> (&mut [f32], &mut [f32]) {
        let at = row * self.c_in + first;
        assert!(first + columns <= self.c_in && at + columns <= self.len);
        // SAFETY: asserted to be inside; the caller promises the rest.
        unsafe {
            (
                std::slice::from_raw_parts_mut(self.velocity.add(at), columns),
                std::slice::from_raw_parts_mut(self.weight.add(at), columns),
            )
        }
    }
}

/// Panels of `COLUMNS` columns, each with its rows one after the other; the last is filled up with 0.
/// In `x` the rows are a power of two apart, usually, and would meet in the same few lines of a cache.
fn pack(x: &[f32], n: usize, c_in: usize, first: usize, columns: usize, lines: &mut [f32]) {
    for (k, row) in x.chunks_exact(c_in).enumerate() {
        for (panel, part) in row[first..first + columns].chunks(COLUMNS).enumerate() {
            let line = &mut lines[(panel * n + k) * COLUMNS..][..COLUMNS];
            line[..part.len()].copy_from_slice(part);
            line[part.len()..].fill(0.0);
        }
    }
}

/// One unit's columns. The next unit's, `stride` numbers on, are asked for while these are worked on:
/// they lie in another page, where the processor does not look ahead by itself.
fn unit(
    rule: Rmsprop,
    rows: &[(usize, f32)],
    n: usize,
    lines: &[f32],
    stride: usize,
    velocity: &mut [f32],
    weight: &mut [f32],
) {
    let panels = lines.chunks_exact((n * COLUMNS).max(1));
    for ((lines, velocity), weight) in
        panels.zip(velocity.chunks_mut(COLUMNS)).zip(weight.chunks_mut(COLUMNS))
    {
        for next in [velocity.as_ptr(), weight.as_ptr()].map(|at| at.wrapping_add(stride)) {
            prefetch(next);
            prefetch(next.wrapping_add(COLUMNS / 2));
        }
        match (velocity.first_chunk_mut(), weight.first_chunk_mut()) {
            (Some(velocity), Some(weight)) => panel(rule, rows, lines, velocity, weight),
            _ => {
                let (mut v, mut w) = ([0.0; COLUMNS], [0.0; COLUMNS]);
                v[..velocity.len()].copy_from_slice(velocity);
                w[..weight.len()].copy_from_slice(weight);
                panel(rule, rows, lines, &mut v, &mut w);
                velocity.copy_from_slice(&v[..velocity.len()]);
                weight.copy_from_slice(&w[..weight.len()]);
            }
        }
    }
}

/// Asks for a cache line; any address will do.
fn prefetch(_at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see and faults nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(_at.cast());
    }
}

fn panel(
    rule: Rmsprop,
    rows: &[(usize, f32)],
    lines: &[f32],
    velocity: &mut [f32; COLUMNS],
    weight: &mut [f32; COLUMNS],
) {
    #[cfg(target_arch = "x86_64")]
    if super::simd::avx2() {
        assert!(rows.iter().all(|&(k, _)| (k + 1) * COLUMNS <= lines.len()));
        // SAFETY: asserted above; the processor has the instructions.
        return unsafe { avx2::panel(rule, rows, lines.as_ptr(), velocity, weight) };
    }
    let mut sums = [0.0f32; COLUMNS];
    for &(k, dy) in rows {
        for (sum, x) in sums.iter_mut().zip(&lines[k * COLUMNS..]) {
            *sum += dy * x;
        }
    }
    let Rmsprop { rate, rho, epsilon } = rule;
    for ((v, w), g) in velocity.iter_mut().zip(weight).zip(sums) {
        *v = rho * *v + (1.0 - rho) * (g * g);
        *w -= rate * g / (*v + epsilon).sqrt();
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{COLUMNS, Rmsprop};
    use std::arch::x86_64::*;

    /// # Safety
    /// `lines` must hold a line of `COLUMNS` numbers for every row.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn panel(
        rule: Rmsprop,
        rows: &[(usize, f32)],
        lines: *const f32,
        velocity: &mut [f32; COLUMNS],
        weight: &mut [f32; COLUMNS],
    ) {
        let mut sums = [_mm256_setzero_ps(); COLUMNS / 8];
        for &(k, dy) in rows {
            let dy = _mm256_set1_ps(dy);
            for (j, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let x = unsafe { _mm256_loadu_ps(lines.add(k * COLUMNS + j * 8)) };
                *sum = _mm256_fmadd_ps(dy, x, *sum);
            }
        }
        let rho = _mm256_set1_ps(rule.rho);
        let rest = _mm256_set1_ps(1.0 - rule.rho);
        let epsilon = _mm256_set1_ps(rule.epsilon);
        let rate = _mm256_set1_ps(rule.rate);
        for (j, g) in sums.into_iter().enumerate() {
            // SAFETY: `j * 8 + 8 <= COLUMNS`.
            unsafe {
                let (v_at, w_at) = (velocity.as_mut_ptr().add(j * 8), weight.as_mut_ptr().add(j * 8));
                // Products and sums apart, as `rmsprop_step` has them.
                let kept = _mm256_mul_ps(rho, _mm256_loadu_ps(v_at));
                let v = _mm256_add_ps(kept, _mm256_mul_ps(rest, _mm256_mul_ps(g, g)));
                _mm256_storeu_ps(v_at, v);
                let root = _mm256_sqrt_ps(_mm256_add_ps(v, epsilon));
                let step = _mm256_div_ps(_mm256_mul_ps(rate, g), root);
                _mm256_storeu_ps(w_at, _mm256_sub_ps(_mm256_loadu_ps(w_at), step));
            }
        }
    }
}
