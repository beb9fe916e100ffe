use super::*;
use crate::device::cpu::simd::{Level, by_level, level};

/// What each method makes of two lists; sixteen numbers each.
unsafe fn all<V: Vector>(a: &[f32; 16], b: &[f32; 16], results: &mut [[f32; 16]; 6]) {
    for at in (0..16).step_by(V::LANES) {
        // SAFETY: sixteen is a multiple of the lanes; `by_level` chose what the processor has.
        unsafe {
            let (a, b) = (V::load(a.as_ptr().add(at)), V::load(b.as_ptr().add(at)));
            let of = [
                a.add(b),
                a.subtract(b),
                a.multiply(b),
                a.multiply_add(b, V::splat(1.0)),
                a.greatest(b),
                a.where_positive(b),
            ];
            for (result, of) in results.iter_mut().zip(of) {
                of.store(result.as_mut_ptr().add(at));
            }
        }
    }
}
by_level! { unsafe fn chosen[][](a: &[f32; 16], b: &[f32; 16], results: &mut [[f32; 16]; 6]) = all }

#[test]
fn the_chosen_level_does_what_portable_code_does() {
    // Small integers, so that a fused product is the same; zeros, infinities and NaN on either side.
    let a = [1., -2., 3., 0., 5., f32::NAN, 7., -8., f32::INFINITY, 1., 2., -0., 4., 5., 6., f32::NAN];
    let b = [2., 3., -4., 0., f32::NAN, 1., 7., 9., 1., -1., f32::NEG_INFINITY, 0., 3., -5., 0.5, f32::NAN];
    let (mut got, mut want) = ([[0.0; 16]; 6], [[0.0; 16]; 6]);
    // SAFETY: the level is the processor's.
    unsafe {
        chosen(&a, &b, &mut got);
        all::<Portable>(&a, &b, &mut want);
    }
    let bits = |results: &[[f32; 16]; 6]| {
        results.map(|row| row.map(|x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() }))
    };
    assert_eq!(bits(&got), bits(&want), "{:?}", level());
    assert!(Level::here().any(|here| here == level()));
    // NaN of either side is the greatest.
    assert!(want[4][4].is_nan() && want[4][5].is_nan());
}
