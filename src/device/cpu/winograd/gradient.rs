//! The weights' gradient: the transposes of the three transforms, and products whose summed index is the tile.
//!
//! Of every tile of `dy` A dy Aᵀ, of the tile of `x` under it Bᵀ d B, as forward; the sums of their products over
//! all tiles are the points u of the gradient, which is Gᵀ u G. Tiles come in chunks that memory holds; sums are
//! taken in the order of the tiles, whatever the chunks and threads.

use super::form::Form;
use super::transform::{gradients_to_points, pixels_to_points, points_to_windows, spread};
use super::{Grid, Size, with_form};
use crate::device::cpu::tile::{COLUMNS, Product};
use crate::device::cpu::turn::turn;
use crate::device::cpu::workshop::{Shared, Workshop};
use crate::error::Result;
use crate::shape::Conv2d;

/// Numbers that the points of a chunk may take: 64 MB. Fewer chunks read and write the sums less often.
const CHUNK: usize = 16 << 20;
/// Tiles of one product: a panel takes 32 kB.
const DEPTH: usize = 512;
/// Filters of one product.
const FILTERS: usize = 128;

/// `dweight[o,a,b,c] = Σ_{n,i,j} dy[n,i,j,o] · x[n,i+a-1,j+b-1,c]`, by the form `size`.
///
/// # Errors
/// Of memory.
pub fn gradient(
    shop: &Workshop,
    size: Size,
    geometry: Conv2d,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) -> Result<()> {
    with_form!(size, by_form(shop, CHUNK, geometry, x, dy, dweight))
}

fn by_form<F: Form<M, A>, const M: usize, const A: usize>(
    shop: &Workshop,
    chunk: usize,
    geometry: Conv2d,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = geometry;
    let grid = Grid::new(&geometry, M);
    let rows = (chunk / (A * A * (c_in + c_out) * grid.wide)).clamp(1, grid.rows);
    let most = rows * grid.wide;
    let (of_x, of_dy, of_sums) = (spread(most * c_in), spread(most * c_out), spread(c_in * c_out));
    let mut x_points = shop.scratch(A * A * of_x)?;
    let mut dy_points = shop.scratch(A * A * of_dy)?;
    let mut sums = shop.scratch(A * A * of_sums)?;
    let mut desks = shop.desks(usize::MAX, FILTERS.min(c_out) * DEPTH.min(most))?;
    let zeros = vec![0.0; c_in.max(c_out)];
    // What the writes below reach: `most` lines of a panel for every COLUMNS channels, and `most` rows of all.
    assert!(
        c_in.is_multiple_of(COLUMNS) && most * c_in <= of_x && most * c_out <= of_dy,
        "points outgrow their room"
    );
    for first in (0..grid.rows).step_by(rows) {
        let chunk = first..(first + rows).min(grid.rows);
        let (to_x, to_dy) = (Shared::new(&mut x_points), Shared::new(&mut dy_points));
        shop.threads.each(chunk.clone(), |row| {
            for (at, tile) in ((row - first) * grid.wide..).zip(grid.tiles(row..row + 1)) {
                let pixels = grid.inputs::<A>(tile, x, c_in, &zeros);
                let gradients = under::<M>(grid, tile, dy, c_out, &zeros);
                // SAFETY: both give addresses of as many numbers as there are channels, multiples of sixteen
                // (`Size::of`). A tile's places within the points are its own: line `at` of each panel of
                // `most` lines, and row `at`.
                unsafe {
                    let to = to_x.at(at * COLUMNS);
                    pixels_to_points::<F, M, A>(&pixels, c_in, to, of_x, most * COLUMNS);
                    gradients_to_points::<F, M, A>(&gradients, c_out, to_dy.at(at * c_out), of_dy);
                }
            }
        });
        let tiles = chunk.len() * grid.wide;
        let points = sums.chunks_mut(of_sums).enumerate();
        let jobs: Vec<_> = points
            .flat_map(|(point, sums)| {
                let blocks = sums[..c_in * c_out].chunks_mut(FILTERS * c_in).enumerate();
                blocks.map(move |(block, sums)| (point, block * FILTERS, sums))
            })
            .collect();
        shop.threads.each_at(&mut desks, jobs.into_iter(), |desk, (point, filter, sums)| {
            let filters = sums.len() / c_in;
            for begin in (0..tiles).step_by(DEPTH) {
                let depth = DEPTH.min(tiles - begin);
                let from = &dy_points[point * of_dy + begin * c_out + filter..];
                turn(from, c_out, (depth, filters), desk, depth);
                let product = Product {
                    a: desk,
                    stride: depth,
                    rows: filters,
                    depth,
                    panels: &x_points[point * of_x + begin * COLUMNS..],
                    panel_stride: most * COLUMNS,
                    count: c_in / COLUMNS,
                    fresh: first == 0 && begin == 0,
                };
                product.run(sums, c_in);
            }
        });
    }
    let g = F::g();
    shop.threads.each(dweight.chunks_mut(9 * c_in).enumerate(), |(filter, taps)| {
        let points = &sums[filter * c_in..];
        assert!((A * A - 1) * of_sums + c_in <= points.len() && taps.len() == 9 * c_in);
        // SAFETY: asserted.
        unsafe { points_to_windows::<A>(&g, points.as_ptr(), of_sums, c_in, taps.as_mut_ptr(), c_in) };
    });
    Ok(())
}

/// The addresses of a tile's `M` x `M` gradients; `zeros` past the map's edge.
fn under<const M: usize>(
    grid: Grid,
    (image, i, j): (usize, usize, usize),
    dy: &[f32],
    c: usize,
    zeros: &[f32],
) -> [[*const f32; M]; M] {
    std::array::from_fn(|a| {
        std::array::from_fn(|b| {
            if i + a < grid.h && j + b < grid.w {
                dy[((image * grid.h + i + a) * grid.w + j + b) * c..][..c].as_ptr()
            } else {
                zeros[..c].as_ptr()
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::memory::Memory;
    use crate::device::cpu::threads::Threads;
    use crate::device::cpu::winograd::form::F4;

    #[test]
    fn chunks_change_no_bit() {
        let shop = Workshop { threads: Threads::new(Some(2)).unwrap(), memory: Memory::new(Some(0xFF)) };
        let geometry = Conv2d { n: 2, h: 17, w: 9, c_in: 32, c_out: 48 };
        let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 13) as f32 * 0.3 - 1.7).collect() };
        let (x, dy) = (numbers(geometry.x().len()), numbers(geometry.y().len()));
        let of = |chunk: usize| {
            let mut dweight = vec![f32::NAN; geometry.weight().len()];
            by_form::<F4, 4, 6>(&shop, chunk, geometry, &x, &dy, &mut dweight).unwrap();
            dweight
        };
        let whole = of(CHUNK);
        assert!(whole.iter().all(|x| x.is_finite()));
        // A row of tiles at a time, and two, the last chunk being cut.
        let row = 36 * (32 + 48) * 3;
        for rows in [1, 2, 3] {
            assert_eq!(of(rows * row), whole, "chunks of {rows}");
        }
    }
}
