//! Column sums.

use super::simd::widest;
use super::workshop::Workshop;
use crate::error::Result;

/// Rows that are summed together before the sums are: the number, not the threads, fixes the order.
const ROWS: usize = 1024;

/// `dbias[c] = Σ_row dy[row,c]`.
pub fn bias_backward(shop: &Workshop, channels: usize, dy: &[f32], dbias: &mut [f32]) -> Result<()> {
    dbias.fill(0.0);
    if dy.len() <= ROWS * channels {
        add_rows(dy, dbias);
        return Ok(());
    }
    let parts = dy.chunks(ROWS * channels);
    let mut sums = shop.scratch(parts.len() * channels)?;
    sums.fill(0.0);
    shop.threads.each(sums.chunks_mut(channels).zip(parts), |(sums, rows)| add_rows(rows, sums));
    add_rows(&sums, dbias);
    Ok(())
}

widest! {
    fn add_rows(rows: &[f32], sums: &mut [f32]) {
        if sums.is_empty() {
            return;
        }
        for row in rows.chunks_exact(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}
