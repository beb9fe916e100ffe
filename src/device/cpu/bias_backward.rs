//! Column sums.

use super::threads::Threads;

/// Columns of one job: one cache line of `dy` per row.
const COLUMNS: usize = 16;

/// `dbias[c] = Σ_row dy[row,c]`.
pub fn bias_backward(threads: &Threads, channels: usize, dy: &[f32], dbias: &mut [f32]) {
    threads.each(dbias.chunks_mut(COLUMNS).enumerate(), |(job, dbias)| {
        dbias.fill(0.0);
        for row in dy.chunks_exact(channels) {
            for (sum, dy) in dbias.iter_mut().zip(&row[job * COLUMNS..]) {
                *sum += dy;
            }
        }
    });
}
