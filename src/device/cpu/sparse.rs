//! Sums of scaled rows with the zeros left out: what a dense layer's three directions come down to.
//!
//! In: which rows count and by how much. Out: their sum, in the order of the list. Adding nothing
//! changes no bit where a row is finite, and after ReLU and pooling most inputs are nothing (VGG16's features
//! of photographs: 71 to 84 of 100). Nothing times an infinity, which is NaN on a GPU, is left out here.

/// A row and its factor.
pub type Term = (u32, f32);

/// Numbers whose sums stay in registers while the list passes.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 64;

/// Writes the terms of those `values` that are not zero into `list`, and returns how many they are.
/// Without a branch: where zeros fall is chance, and a guess that fails costs more than a store.
pub fn terms(values: &[f32], list: &mut [Term]) -> usize {
    let mut count = 0;
    for (k, &value) in values.iter().enumerate() {
        list[count] = (k as u32, value);
        count += usize::from(value != 0.0);
    }
    count
}

/// `sums[o] = sums[o] + Σ_(k, x) x · rows[k, o]`; `rows` has `sums.len()` columns.
pub fn add_rows(list: &[Term], rows: &[f32], sums: &mut [f32]) {
    if list.is_empty() {
        return;
    }
    let columns = sums.len();
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut at = 0;
    assert!(list.iter().all(|&(k, _)| (k as usize + 1) * columns <= rows.len()));
    #[cfg(target_arch = "x86_64")]
    if super::simd::avx2() {
        while let Some(part) = sums[at..].first_chunk_mut::<LANES>() {
            // SAFETY: asserted above: every row has `columns` numbers, of which `LANES` begin at `at`; the
            // processor has the instructions.
            unsafe { avx2::add_rows(list, rows.as_ptr().add(at), columns, part) };
            at += LANES;
        }
    }
    for &(k, x) in list {
        for (sum, row) in sums[at..].iter_mut().zip(&rows[k as usize * columns + at..]) {
            *sum += x * row;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{LANES, Term};
    use std::arch::x86_64::*;

    /// # Safety
    /// From `rows`, every row in the list must have `LANES` numbers, `columns` apart.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn add_rows(list: &[Term], rows: *const f32, columns: usize, sums: &mut [f32; LANES]) {
        // SAFETY: the caller's promise; `sums` has `LANES` numbers.
        unsafe {
            let to = sums.as_mut_ptr();
            let mut acc: [__m256; LANES / 8] = std::array::from_fn(|j| _mm256_loadu_ps(to.add(j * 8)));
            for &(k, x) in list {
                let row = rows.add(k as usize * columns);
                let x = _mm256_set1_ps(x);
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = _mm256_fmadd_ps(x, _mm256_loadu_ps(row.add(j * 8)), *acc);
                }
            }
            for (j, acc) in acc.iter().enumerate() {
                _mm256_storeu_ps(to.add(j * 8), *acc);
            }
        }
    }
}
