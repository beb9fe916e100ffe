//! Which vector instructions this processor has, asked at run time.

/// Whether 256-bit vectors with fused multiply-add can be used.
#[inline]
pub fn avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// What [`crate::device::Description`] says.
pub fn name() -> &'static str {
    if avx2() { "AVX2+FMA" } else { "portable code" }
}

/// Compiles a function twice, for any processor and for AVX2, and chooses at run time. The results are
/// the same bits: Rust never contracts a product and a sum on its own.
macro_rules! widest {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) {
            #[inline(always)]
            fn body($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($argument: $type),*) {
                    body($($argument),*);
                }
                if $crate::device::cpu::simd::avx2() {
                    // SAFETY: the processor has the instructions.
                    return unsafe { wide($($argument),*) };
                }
            }
            body($($argument),*);
        }
    };
}
pub(super) use widest;
