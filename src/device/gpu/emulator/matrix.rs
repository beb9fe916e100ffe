//! Tensor-core instructions: `mma.sync`, and the accumulation of `wgmma`.
//!
//! In: fragments in registers (layouts: PTX ISA 9.0, 9.7.14.5 "Matrix fragments for mma"). Out: the
//! product. `fast` multiplies and adds in f32, in order of k. The exact modes follow MMA-Sim
//! (arXiv 2511.10909): all products and the summand are aligned to the largest exponent, cut to 24 or 25
//! bits of fraction, added exactly, and the sum is cut to f32. A product's exponent is the sum of its
//! operands' exponents: the hardware does not normalize products, nor denormal operands.

use super::lanes::Registers;
use crate::ptx::arith::from_f16;
use crate::ptx::{Matrix, Multiply};

/// How sums of products are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tensor {
    /// Fused multiply-adds in f32; a few units in the last place from any hardware.
    #[default]
    Fast,
    /// As an A100 (8.0): 24 bits, eight products at once (four of tf32).
    Ampere,
    /// As an H100 (9.0): 25 bits, k at once.
    Hopper,
}

/// One element of a fragment register.
pub(super) fn element(kind: Multiply, word: u32, half: usize) -> f32 {
    match kind {
        Multiply::Bf16 => f32::from_bits(if half == 0 { word << 16 } else { word & 0xffff_0000 }),
        Multiply::F16 => from_f16((word >> (16 * half)) as u16),
        // The unit reads the upper 19 bits.
        Multiply::Tf32 => f32::from_bits(word & !0x1fff),
    }
}

/// `d = a · b + c` of one warp, m16n8kK.
pub fn multiply(matrix: &Matrix, registers: &mut Registers, mode: Tensor) {
    let Matrix::Multiply { kind, k, d, a, b, c } = *matrix else { return };
    let k = usize::from(k);
    let packed = if kind == Multiply::Tf32 { 1 } else { 2 };
    let mut rows = [[0.0f32; 16]; 16];
    let mut columns = [[0.0f32; 16]; 8];
    for lane in 0..32 {
        let (group, thread) = (lane / 4, lane % 4);
        // Registers of a: rows group and group + 8 by turns, then the next columns.
        for (r, &slot) in a.iter().enumerate().take(k / 4 * if packed == 1 { 2 } else { 1 }) {
            let word = registers.word(slot)[lane];
            let (row, block) = (group + 8 * (r % 2), r / 2);
            for half in 0..packed {
                rows[row][block * 4 * packed + thread * packed + half] = element(kind, word, half);
            }
        }
        for (r, &slot) in b.iter().enumerate().take(if packed == 1 { k / 4 } else { k / 8 }) {
            let word = registers.word(slot)[lane];
            for half in 0..packed {
                columns[group][r * 4 * packed + thread * packed + half] = element(kind, word, half);
            }
        }
    }
    let mut out = [[0u32; 32]; 4];
    for (r, values) in out.iter_mut().enumerate() {
        let summands = *registers.word(c[r]);
        for (lane, value) in values.iter_mut().enumerate() {
            let (row, column) = (lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2);
            let start = f32::from_bits(summands[lane]);
            let (a, b) = (&rows[row][..k], &columns[column][..k]);
            *value = dot(kind, a, b, start, mode).to_bits();
        }
    }
    for (r, values) in out.iter().enumerate() {
        *registers.word_mut(d[r]) = *values;
    }
}

fn dot(kind: Multiply, a: &[f32], b: &[f32], start: f32, mode: Tensor) -> f32 {
    match mode {
        Tensor::Fast => a.iter().zip(b).fold(start, |sum, (&a, &b)| a.mul_add(b, sum)),
        Tensor::Hopper => fused(kind, a, b, start, 25),
        Tensor::Ampere => {
            let step = if kind == Multiply::Tf32 { 4 } else { 8 };
            a.chunks(step).zip(b.chunks(step)).fold(start, |sum, (a, b)| fused(kind, a, b, sum, 24))
        }
    }
}

/// Sum of products and `start`: every term cut to `bits` of fraction below the largest exponent, added
/// exactly, cut to f32.
pub(super) fn fused(kind: Multiply, a: &[f32], b: &[f32], start: f32, bits: i32) -> f32 {
    // Exact in f64: at most 22 significant bits.
    let products = || a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    let terms = || products().chain([f64::from(start)]);
    if terms().any(|term| !term.is_finite()) {
        let sum: f64 = terms().sum();
        return if sum.is_nan() { f32::from_bits(0x7fff_ffff) } else { sum as f32 };
    }
    let lowest = if kind == Multiply::F16 { -14 } else { LOWEST };
    let exponents = a.iter().zip(b).map(|(&a, &b)| exponent(a, lowest) + exponent(b, lowest));
    let all = exponents.chain([exponent(start, LOWEST)]).zip(terms());
    let largest = all.filter(|&(_, term)| term != 0.0).map(|(exponent, _)| exponent).fold(LOWEST, i32::max);
    let unit = 2f64.powi(largest - bits);
    // A term is below 2^(bits + 2) units and there are at most 17, so the sum is exact in i64.
    let sum: i64 = terms().map(|term| (term / unit) as i64).sum();
    cut(sum, largest - bits)
}

/// The exponent of the smallest normal f32 and bf16.
const LOWEST: i32 = -126;

/// Denormals have the lowest exponent of their format.
fn exponent(factor: f32, lowest: i32) -> i32 {
    ((factor.to_bits() >> 23 & 0xff) as i32 - 127).max(lowest)
}

/// `sum · 2^scale` towards zero, as f32.
fn cut(sum: i64, scale: i32) -> f32 {
    if sum == 0 {
        return 0.0;
    }
    let exact = sum as f64 * 2f64.powi(scale);
    let near = exact as f32;
    if f64::from(near.abs()) > exact.abs() {
        if near > 0.0 { near.next_down() } else { near.next_up() }
    } else {
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_modes_cut_where_the_fast_one_rounds() {
        // 1 + 2^-24 · 3: nearest is 1 + 2^-22 · … ; cut keeps 2^-23.
        let small = 2f32.powi(-12);
        let a = [1.0, small, small, small];
        let b = [1.0, small, small, small];
        let exact = 1.0 + 3.0 * 2f64.powi(-24);
        assert_eq!(f64::from(fused(Multiply::Bf16, &a, &b, 0.0, 25)), 1.0 + 2f64.powi(-23));
        assert!((f64::from(dot(Multiply::Bf16, &a, &b, 0.0, Tensor::Fast)) - exact).abs() < 2f64.powi(-22));
        // Below the 25th bit nothing remains.
        let tiny = 2f32.powi(-13);
        assert_eq!(fused(Multiply::Bf16, &[1.0, tiny], &[1.0, tiny], 0.0, 25), 1.0);
        assert_eq!(fused(Multiply::Bf16, &[1.0, -1.0], &[1.0, 1.0], 0.0, 25), 0.0);
        assert!(fused(Multiply::Bf16, &[f32::INFINITY, 1.0], &[0.0, 1.0], 0.0, 25).is_nan());
    }

    #[test]
    fn a_card_cuts_sums_of_wgmma_as_the_hopper_mode_does() {
        let text = include_str!("../../../../tests/ptx/hopper/sums.txt");
        let mut count = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let halves = |word: &str| -> Vec<f32> {
                let each = |k: usize| u32::from_str_radix(&word[4 * k..4 * k + 4], 16).unwrap();
                (0..16).map(|k| f32::from_bits(each(k) << 16)).collect()
            };
            let [start, want] = [2, 3].map(|k| u32::from_str_radix(words[k], 16).unwrap());
            let sum = fused(Multiply::Bf16, &halves(words[0]), &halves(words[1]), f32::from_bits(start), 25);
            assert_eq!(sum.to_bits(), want, "{line}");
            count += 1;
        }
        assert!(count >= 192, "only {count} sums");
    }
}
