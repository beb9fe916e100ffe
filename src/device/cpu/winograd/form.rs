//! The forms of Winograd's minimal filtering: F(2x2,3x3), F(3x3,3x3) and F(4x4,3x3).
//!
//! A tile d of A x A numbers and a 3x3 window g make M x M outputs, A = M + 2: Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A. The
//! three matrices come from A - 1 points at which polynomials are multiplied, and infinity: row i of G is
//! (1, p, p²) / Π_{j≠i} (pᵢ - pⱼ), row i of Bᵀ holds the coefficients of Π_{j≠i} (x - pⱼ), a column of Aᵀ the
//! powers of its point. Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR
//! 2016. Points as near to 1 as they can be keep the error small: F(4x4) takes ±√½ and ±√2, whose error is
//! half of that of the usual ±1 and ±2.

use crate::device::cpu::vector::Vector;
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

/// A form with `M` x `M` outputs and `A` x `A` points. Each method is one of its matrices times a vector of
/// vectors.
///
/// # Safety
/// Of all methods but [`Form::g`]: the processor has `V`'s instructions.
pub trait Form<const M: usize, const A: usize> {
    /// Bᵀ d.
    unsafe fn bt<V: Vector>(d: [V; A]) -> [V; A];

    /// Aᵀ m.
    unsafe fn at<V: Vector>(m: [V; A]) -> [V; M];

    /// A y.
    unsafe fn a<V: Vector>(y: [V; M]) -> [V; A];

    /// G.
    fn g() -> [[f32; 3]; A];
}

/// `x · factor + term`.
///
/// # Safety
/// The processor has `V`'s instructions.
#[inline(always)]
unsafe fn fma<V: Vector>(factor: f32, x: V, term: V) -> V {
    // SAFETY: the caller's promise.
    x.multiply_add(unsafe { V::splat(factor) }, term)
}

/// `x · factor`.
///
/// # Safety
/// The processor has `V`'s instructions.
#[inline(always)]
unsafe fn times<V: Vector>(factor: f32, x: V) -> V {
    // SAFETY: the caller's promise.
    x.multiply(unsafe { V::splat(factor) })
}

/// The sum and the difference.
#[inline(always)]
fn both<V: Vector>(a: V, b: V) -> [V; 2] {
    [a.add(b), a.subtract(b)]
}

/// G of some points and infinity.
fn g<const A: usize>(points: [f64; A], finite: usize) -> [[f32; 3]; A] {
    let points = &points[..finite];
    let mut rows = [[0.0, 0.0, 1.0]; A];
    for (i, (row, p)) in rows.iter_mut().zip(points).enumerate() {
        let others = points.iter().enumerate().filter(|&(j, _)| j != i);
        let product: f64 = others.map(|(_, q)| p - q).product();
        *row = [1.0, *p, p * p].map(|power| (power / product) as f32);
    }
    rows
}

/// F(2x2,3x3) at 0, 1, -1: all factors are 1, ½ and ¼, so its error is nearly that of the direct sum.
pub struct F2;

impl Form<2, 4> for F2 {
    // SAFETY of the blocks in this file: the caller's promise, handed on.
    #[inline(always)]
    unsafe fn bt<V: Vector>([d0, d1, d2, d3]: [V; 4]) -> [V; 4] {
        // x² - 1 with its sign turned, as is usual: G's first row is then (1, 0, 0).
        [d0.subtract(d2), d1.add(d2), d2.subtract(d1), d3.subtract(d1)]
    }

    #[inline(always)]
    unsafe fn at<V: Vector>([m0, m1, m2, m3]: [V; 4]) -> [V; 2] {
        [m0.add(m1).add(m2), m1.subtract(m2).add(m3)]
    }

    #[inline(always)]
    unsafe fn a<V: Vector>([y0, y1]: [V; 2]) -> [V; 4] {
        let [sum, difference] = both(y0, y1);
        [y0, sum, difference, y1]
    }

    fn g() -> [[f32; 3]; 4] {
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]
    }
}

/// F(3x3,3x3) at 0, 1, -1, 2: 9x9 maps, which VGG16 has at 150x150, divide into its tiles.
pub struct F3;

impl Form<3, 5> for F3 {
    #[inline(always)]
    unsafe fn bt<V: Vector>([d0, d1, d2, d3, d4]: [V; 5]) -> [V; 5] {
        // SAFETY: the caller's promise.
        unsafe {
            [
                fma(2.0, d0.subtract(d2), d3.subtract(d1)),
                fma(-2.0, d1, d3.subtract(d2)),
                fma(2.0, d1, fma(-3.0, d2, d3)),
                d3.subtract(d1),
                fma(2.0, d1.subtract(d3), d4.subtract(d2)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn at<V: Vector>([m0, m1, m2, m3, m4]: [V; 5]) -> [V; 3] {
        let [sum, difference] = both(m1, m2);
        // SAFETY: the caller's promise.
        unsafe { [m0.add(sum).add(m3), fma(2.0, m3, difference), fma(4.0, m3, sum).add(m4)] }
    }

    #[inline(always)]
    unsafe fn a<V: Vector>([y0, y1, y2]: [V; 3]) -> [V; 5] {
        let [sum, difference] = both(y0.add(y2), y1);
        // SAFETY: the caller's promise.
        unsafe { [y0, sum, difference, fma(4.0, y2, fma(2.0, y1, y0)), y2] }
    }

    fn g() -> [[f32; 3]; 5] {
        g([0.0, 1.0, -1.0, 2.0, f64::INFINITY], 4)
    }
}

/// F(4x4,3x3) at 0, ±√½, ±√2: a quarter of the direct sum's products.
pub struct F4;

impl Form<4, 6> for F4 {
    #[inline(always)]
    unsafe fn bt<V: Vector>([d0, d1, d2, d3, d4, d5]: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let small = both(fma(-2.0, d2, d4), fma(-SQRT_2, d1, times(FRAC_1_SQRT_2, d3)));
            let large = both(fma(-0.5, d2, d4), fma(-FRAC_1_SQRT_2, d1, times(SQRT_2, d3)));
            let ends = [fma(-2.5, d2, d0.add(d4)), fma(-2.5, d3, d1.add(d5))];
            [ends[0], small[0], small[1], large[0], large[1], ends[1]]
        }
    }

    #[inline(always)]
    unsafe fn at<V: Vector>([m0, m1, m2, m3, m4, m5]: [V; 6]) -> [V; 4] {
        let ([p, q], [u, v]) = (both(m1, m2), both(m3, m4));
        // SAFETY: the caller's promise.
        unsafe {
            [
                m0.add(p).add(u),
                fma(FRAC_1_SQRT_2, q, times(SQRT_2, v)),
                fma(0.5, p, times(2.0, u)),
                fma(0.5 * FRAC_1_SQRT_2, q, fma(2.0 * SQRT_2, v, m5)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn a<V: Vector>([y0, y1, y2, y3]: [V; 4]) -> [V; 6] {
        // SAFETY: the caller's promise.
        unsafe {
            let small = both(fma(0.5, y2, y0), fma(0.5 * FRAC_1_SQRT_2, y3, times(FRAC_1_SQRT_2, y1)));
            let large = both(fma(2.0, y2, y0), fma(2.0 * SQRT_2, y3, times(SQRT_2, y1)));
            [y0, small[0], small[1], large[0], large[1], y3]
        }
    }

    fn g() -> [[f32; 3]; 6] {
        let (half, two) = (0.5f64.sqrt(), 2.0f64.sqrt());
        g([0.0, half, -half, two, -two, f64::INFINITY], 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::vector::Portable;

    fn lanes(x: f32) -> Portable {
        // SAFETY: portable code has no instructions of its own.
        unsafe { Portable::splat(x) }
    }

    fn first(x: Portable) -> f32 {
        let mut lanes = [0.0; 8];
        // SAFETY: eight numbers, and eight lanes.
        unsafe { x.store(lanes.as_mut_ptr()) };
        lanes[0]
    }

    /// One row: Aᵀ [(G g) ⊙ (Bᵀ d)] is the correlation; and A is the transpose of Aᵀ.
    fn is_a_correlation<F: Form<M, A>, const M: usize, const A: usize>() {
        let (d, window): ([f32; A], _) =
            (std::array::from_fn(|i| (i * i % 7) as f32 - 2.5), [0.5, -1.0, 3.0]);
        // SAFETY: as above.
        let (bt, a) = unsafe { (F::bt(d.map(lanes)), F::a::<Portable>) };
        let product = std::array::from_fn(|i| {
            let g: f32 = F::g()[i].iter().zip(window).map(|(g, w)| g * w).sum();
            lanes(first(bt[i]) * g)
        });
        // SAFETY: as above.
        let y = unsafe { F::at(product) }.map(first);
        for (i, y) in y.into_iter().enumerate() {
            let want: f32 = (0..3).map(|k| d[i + k] * window[k]).sum();
            assert!((y - want).abs() < 1e-5, "F({M}), output {i}: {y}, not {want}");
        }
        for i in 0..A {
            // SAFETY: as above.
            let row =
                unsafe { F::at(std::array::from_fn(|k| lanes(f32::from(u8::from(k == i))))) }.map(first);
            for (j, at) in row.into_iter().enumerate() {
                // SAFETY: as above.
                let column = unsafe { a(std::array::from_fn(|k| lanes(f32::from(u8::from(k == j))))) };
                assert_eq!(first(column[i]), at, "F({M}), {i}, {j}");
            }
        }
    }

    #[test]
    fn every_form_is_a_correlation() {
        is_a_correlation::<F2, 2, 4>();
        is_a_correlation::<F3, 3, 5>();
        is_a_correlation::<F4, 4, 6>();
    }
}
