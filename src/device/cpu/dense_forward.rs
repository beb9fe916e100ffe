//! A dense layer: products of long rows with long rows.
//!
//! The weight is read once and in place; it is larger than the caches. The batch is cut into blocks of
//! inputs that stay in the second cache while the rows of the weight pass through the first. A tile is
//! four rows of the batch by three of the weight; its sums, eight to a product, wait in memory between
//! blocks.

use super::relu::rectify;
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Rows of the batch in a tile.
const ROWS: usize = 4;
/// Rows of the weight (units) in a tile.
const UNITS: usize = 3;
/// Numbers of a vector.
const LANES: usize = 8;
/// Sums of a tile.
const SUMS: usize = ROWS * UNITS * LANES;
/// Inputs of a block, at most: three rows of the weight take 12 kB of the first cache.
const BLOCK: usize = 1024;
/// Numbers of a block of the batch, so that it stays in the second cache.
const NUMBERS: usize = 32 * BLOCK;

/// `y[n,o] = f(bias[o] + Σ_i x[n,i] · weight[o,i])`.
pub fn dense_forward(
    shop: &Workshop,
    geometry: Dense,
    x: &[f32],
    weight: &[f32],
    (bias, relu): (&[f32], bool),
    y: &mut [f32],
) -> Result<()> {
    let Dense { n, c_in, c_out } = geometry;
    if y.is_empty() {
        return Ok(());
    }
    let block = (NUMBERS / n).next_multiple_of(LANES).min(BLOCK);
    let even = c_in / LANES * LANES;
    // The rows of `x` are a power of two apart, usually, and would meet in the same few lines of a
    // cache; side by side they do not.
    let mut blocks = shop.scratch(n * even)?;
    shop.threads.each(blocks.chunks_mut(n * block).enumerate(), |(at, to)| {
        let len = to.len() / n;
        for (to, row) in to.chunks_exact_mut(len).zip(x.chunks_exact(c_in)) {
            to.copy_from_slice(&row[at * block..][..len]);
        }
    });
    let blocks = &*blocks;

    let units = c_out.div_ceil(shop.threads.count()).next_multiple_of(UNITS);
    let mut sums = shop.scratch(c_out.div_ceil(units) * units * n.next_multiple_of(ROWS) * LANES)?;
    let jobs = sums.chunks_mut(units * n.next_multiple_of(ROWS) * LANES).enumerate();
    shop.threads.each(jobs, |(job, sums)| {
        sums.fill(0.0);
        for (at, x) in blocks.chunks(n * block).enumerate() {
            block_sums(geometry, x, at * block, weight, job * units, sums);
        }
    });

    // Few numbers: n · c_out · 8.
    let tiles = n.div_ceil(ROWS);
    for (row, y) in y.chunks_exact_mut(c_out).enumerate() {
        for (o, y) in y.iter_mut().enumerate() {
            let tile = o / UNITS * tiles + row / ROWS;
            let lanes = &sums[tile * SUMS + (row % ROWS * UNITS + o % UNITS) * LANES..][..LANES];
            let rest = x[row * c_in..][even..c_in].iter().zip(&weight[o * c_in + even..]);
            let sum = bias[o] + lanes.iter().sum::<f32>() + rest.map(|(x, w)| x * w).sum::<f32>();
            *y = if relu { rectify(sum) } else { sum };
        }
    }
    Ok(())
}

/// Adds the products of one block of inputs, from `input`, with the units from `unit`.
fn block_sums(geometry: Dense, x: &[f32], input: usize, weight: &[f32], unit: usize, sums: &mut [f32]) {
    let Dense { n, c_in, c_out } = geometry;
    let len = x.len() / n;
    let units = |first: usize| -> [&[f32]; UNITS] {
        std::array::from_fn(|o| &weight[(unit + first + o).min(c_out - 1) * c_in + input..][..len])
    };
    let live = c_out.saturating_sub(unit);
    for (tile, sums) in sums.chunks_exact_mut(n.div_ceil(ROWS) * SUMS).enumerate() {
        if tile * UNITS >= live {
            break;
        }
        let weight = units(tile * UNITS);
        for (first, sums) in (0..n).step_by(ROWS).zip(sums.chunks_exact_mut(SUMS)) {
            let rows = std::array::from_fn(|r| &x[(first + r).min(n - 1) * len..][..len]);
            add_products(rows, weight, sums);
        }
    }
}

fn add_products(x: [&[f32]; ROWS], weight: [&[f32]; UNITS], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if super::simd::avx2() {
        let len = x[0].len();
        assert!(x.iter().chain(&weight).all(|row| row.len() == len) && sums.len() == SUMS);
        // SAFETY: asserted above; the processor has the instructions.
        unsafe { avx2::add_products(x, weight, len, sums.as_mut_ptr()) };
        return;
    }
    portable(x, weight, sums);
}

fn portable(x: [&[f32]; ROWS], weight: [&[f32]; UNITS], sums: &mut [f32]) {
    for (sums, (x, weight)) in
        sums.chunks_exact_mut(LANES).zip(x.iter().flat_map(|x| weight.iter().map(move |w| (x, w))))
    {
        for (x, weight) in x.chunks_exact(LANES).zip(weight.chunks_exact(LANES)) {
            for ((sum, x), weight) in sums.iter_mut().zip(x).zip(weight) {
                *sum += x * weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of small integers, so that both are exact.
    #[test]
    fn the_portable_products_are_those_of_the_chosen_instructions() {
        let row =
            |seed: usize| -> Vec<f32> { (0..24).map(|i| ((i * i + seed * 7) % 9) as f32 - 4.0).collect() };
        let x: [Vec<f32>; ROWS] = std::array::from_fn(row);
        let weight: [Vec<f32>; UNITS] = std::array::from_fn(|o| row(o + 10));
        let (x, weight) = (std::array::from_fn(|r| &x[r][..]), std::array::from_fn(|o| &weight[o][..]));
        let (mut chosen, mut plain) = ([1.0; SUMS], [1.0; SUMS]);
        add_products(x, weight, &mut chosen);
        portable(x, weight, &mut plain);
        assert_eq!(chosen, plain);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{LANES, ROWS, UNITS};
    use std::arch::x86_64::*;

    /// # Safety
    /// All slices must hold `len` numbers, a multiple of eight; `to` a tile's sums.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn add_products(x: [&[f32]; ROWS], weight: [&[f32]; UNITS], len: usize, to: *mut f32) {
        // SAFETY: the caller's promise covers every address.
        unsafe {
            let mut sums: [[__m256; UNITS]; ROWS] = std::array::from_fn(|r| {
                std::array::from_fn(|o| _mm256_loadu_ps(to.add((r * UNITS + o) * LANES)))
            });
            let (x, weight) = (x.map(<[f32]>::as_ptr), weight.map(<[f32]>::as_ptr));
            let mut k = 0;
            while k < len {
                let w: [__m256; UNITS] = std::array::from_fn(|o| _mm256_loadu_ps(weight[o].add(k)));
                for (sums, x) in sums.iter_mut().zip(x) {
                    let x = _mm256_loadu_ps(x.add(k));
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = _mm256_fmadd_ps(x, w, *sum);
                    }
                }
                k += LANES;
            }
            for (r, sums) in sums.iter().enumerate() {
                for (o, sum) in sums.iter().enumerate() {
                    _mm256_storeu_ps(to.add((r * UNITS + o) * LANES), *sum);
                }
            }
        }
    }
}
