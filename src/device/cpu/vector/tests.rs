use super::*;
use crate::device::cpu::simd::Level;

/// What each method makes of two lists; sixteen numbers each.
///
/// # Safety
/// The processor has `V`'s instructions.
unsafe fn all<V: Vector>(a: &[f32; 16], b: &[f32; 16], results: &mut [[f32; 16]; 7]) {
    for at in (0..16).step_by(V::LANES) {
        // SAFETY: sixteen is a multiple of the lanes; the instructions are the caller's promise.
        unsafe {
            let (a, b) = (V::load(a.as_ptr().add(at)), V::load(b.as_ptr().add(at)));
            let of = [
                a.add(b),
                a.subtract(b),
                a.multiply(b),
                a.multiply_add(b, V::splat(1.0)),
                a.greatest(b),
                a.where_positive(b),
                // The floor itself must be no NaN; zero stands for one here.
                a.where_positive(a).floor_of(b),
            ];
            for (result, of) in results.iter_mut().zip(of) {
                of.store(result.as_mut_ptr().add(at));
            }
        }
    }
}
#[test]
fn every_level_here_does_what_portable_code_does() {
    // Small integers, so that a fused product is the same; zeros, infinities and NaN on either side.
    let a = [1., -2., 3., 0., 5., f32::NAN, 7., -8., f32::INFINITY, 1., 2., -0., 4., 5., 6., f32::NAN];
    let b = [2., 3., -4., 0., f32::NAN, 1., 7., 9., 1., -1., f32::NEG_INFINITY, 0., 3., -5., 0.5, f32::NAN];
    let mut want = [[0.0; 16]; 7];
    // SAFETY: every processor has these.
    unsafe { all::<Portable>(&a, &b, &mut want) };
    let bits = |results: &[[f32; 16]; 7]| {
        results.map(|row| row.map(|x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() }))
    };
    for level in Level::here() {
        let mut got = [[0.0; 16]; 7];
        // SAFETY: the level is the processor's.
        unsafe {
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => all::<Avx512>(&a, &b, &mut got),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => all::<Avx2>(&a, &b, &mut got),
                #[cfg(target_arch = "aarch64")]
                Level::Neon => all::<Neon>(&a, &b, &mut got),
                _ => all::<Portable>(&a, &b, &mut got),
            }
        }
        assert_eq!(bits(&got), bits(&want), "{level:?}");
    }
    // NaN of either side is the greatest.
    assert!(want[4][4].is_nan() && want[4][5].is_nan());
}
