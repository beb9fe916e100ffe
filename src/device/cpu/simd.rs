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
