//! Rows to columns, by way of a small tile: walking down a column of a matrix whose rows are a power of two
//! long would put all its lines into the same few sets of the cache.

use super::workshop::Workshop;

/// Rows and columns of a tile: 4 kB, two whole cache lines per row.
const TILE: usize = 32;

/// `y[n,c,r] = x[n,r,c]`.
pub fn transpose(shop: &Workshop, rows: usize, columns: usize, x: &[f32], y: &mut [f32]) {
    if x.is_empty() {
        return;
    }
    // A job owns TILE whole rows of an output, which are TILE columns of its input.
    let whole = rows * columns;
    let bands = y
        .chunks_mut(whole)
        .zip(x.chunks(whole))
        .flat_map(|(y, x)| y.chunks_mut(TILE * rows).enumerate().map(move |(band, y)| (band * TILE, x, y)));
    let bands: Vec<_> = bands.collect();
    shop.threads.each(bands.into_iter(), |(first, x, y)| {
        let width = y.len() / rows;
        let mut tile = [[0.0; TILE]; TILE];
        for top in (0..rows).step_by(TILE) {
            let height = TILE.min(rows - top);
            for (r, line) in tile[..height].iter_mut().enumerate() {
                line[..width].copy_from_slice(&x[(top + r) * columns + first..][..width]);
            }
            for (c, y) in y.chunks_exact_mut(rows).enumerate() {
                for (to, line) in y[top..][..height].iter_mut().zip(&tile) {
                    *to = line[c];
                }
            }
        }
    });
}
