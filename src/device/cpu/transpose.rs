//! Rows to columns, by way of a small tile: walking down a column of a matrix whose rows are a power of two
//! long would put all its lines into the same few sets of the cache.

use super::turn::turn;
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
        let mut tile = [0.0; TILE * TILE];
        for top in (0..rows).step_by(TILE) {
            let height = TILE.min(rows - top);
            turn(&x[top * columns + first..], columns, (height, width), &mut tile, TILE);
            for (y, line) in y.chunks_exact_mut(rows).zip(tile.chunks_exact(TILE)) {
                y[top..][..height].copy_from_slice(&line[..height]);
            }
        }
    });
}
