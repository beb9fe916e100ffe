//! Vectors of numbers, one type for each level of instructions; kernels are written once over [`Vector`].
//!
//! In: addresses. Out: addresses. A vector is made by `load` and `splat`, whose caller promises that the
//! processor has its instructions; what is done with it afterwards needs no further promise. All methods are
//! inlined into functions that are compiled for the level (`simd::by_level`).

/// Some f32 side by side.
pub trait Vector: Copy {
    /// How many.
    const LANES: usize;
    /// Rows of a product's tile (`tile`): with sixteen columns, as many sums as registers hold beside a line
    /// of the panel and a broadcast number.
    const ROWS: usize;

    /// From an address of any alignment.
    ///
    /// # Safety
    /// [`Vector::LANES`] numbers can be read; the processor has the instructions.
    unsafe fn load(from: *const f32) -> Self;

    /// The same number in all lanes.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn splat(x: f32) -> Self;

    /// To an address of any alignment.
    ///
    /// # Safety
    /// [`Vector::LANES`] numbers can be written.
    unsafe fn store(self, to: *mut f32);

    fn add(self, other: Self) -> Self;

    fn subtract(self, other: Self) -> Self;

    fn multiply(self, other: Self) -> Self;

    /// `self · factor + term`, rounded once where the processor can.
    fn multiply_add(self, factor: Self, term: Self) -> Self;

    /// The larger; `self` must be no NaN, one in `other` passes through.
    fn floor_of(self, other: Self) -> Self;

    /// The larger, or NaN if there is one.
    fn greatest(self, other: Self) -> Self;

    /// `self` where `mask` is above 0, else 0.
    fn where_positive(self, mask: Self) -> Self;

    /// A hint that the line at an address will be read; the address need not be good.
    fn prefetch(at: *const f32);
}

/// Eight numbers; the compiler makes of them what the architecture has.
pub type Portable = Lanes<8>;

/// Some numbers in portable code. With as many lanes as another level has, it walks that level's paths on any
/// processor.
#[derive(Clone, Copy)]
pub struct Lanes<const N: usize>([f32; N]);

impl<const N: usize> Lanes<N> {
    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl<const N: usize> Vector for Lanes<N> {
    const LANES: usize = N;
    const ROWS: usize = match N {
        16 => 12,
        8 => 4,
        _ => 6,
    };

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array of f32 needs no more alignment than `read_unaligned` gives.
        Self(unsafe { from.cast::<[f32; N]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; N])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; N]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }

    // `f32::mul_add` is a call into the C library where the instruction is not certain.
    #[inline(always)]
    fn multiply_add(self, factor: Self, term: Self) -> Self {
        self.multiply(factor).add(term)
    }

    #[inline(always)]
    fn floor_of(self, other: Self) -> Self {
        self.with(other, |floor, x| if x < floor { floor } else { x })
    }

    #[inline(always)]
    fn greatest(self, other: Self) -> Self {
        self.with(other, |a, b| if (b > a) | b.is_nan() { b } else { a })
    }

    #[inline(always)]
    fn where_positive(self, mask: Self) -> Self {
        self.with(mask, |x, mask| if mask > 0.0 { x } else { 0.0 })
    }

    #[inline(always)]
    fn prefetch(_: *const f32) {}
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    // SAFETY of every block below: a vector exists only where its maker promised the instructions; addresses
    // are the callers' promises. A prefetch reads nothing.
    #![allow(clippy::undocumented_unsafe_blocks)]

    use super::Vector;
    use std::arch::x86_64::*;

    /// Eight numbers.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Vector for Avx2 {
        const LANES: usize = 8;
        const ROWS: usize = 6;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn subtract(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, term.0) })
        }

        // The instruction gives its second operand when one is NaN.
        #[inline(always)]
        fn floor_of(self, other: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn greatest(self, other: Self) -> Self {
            let larger = unsafe { _mm256_max_ps(other.0, self.0) };
            Self(unsafe {
                _mm256_blendv_ps(larger, other.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(other.0, other.0))
            })
        }

        #[inline(always)]
        fn where_positive(self, mask: Self) -> Self {
            let positive = unsafe { _mm256_cmp_ps::<_CMP_GT_OQ>(mask.0, _mm256_setzero_ps()) };
            Self(unsafe { _mm256_and_ps(positive, self.0) })
        }

        #[inline(always)]
        fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
    }

    /// Sixteen numbers.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Vector for Avx512 {
        const LANES: usize = 16;
        const ROWS: usize = 12;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn subtract(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        }

        #[inline(always)]
        fn floor_of(self, other: Self) -> Self {
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn greatest(self, other: Self) -> Self {
            let larger = unsafe { _mm512_max_ps(other.0, self.0) };
            let nan = unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(other.0, other.0) };
            Self(unsafe { _mm512_mask_mov_ps(larger, nan, other.0) })
        }

        #[inline(always)]
        fn where_positive(self, mask: Self) -> Self {
            let positive = unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(mask.0, _mm512_setzero_ps()) };
            Self(unsafe { _mm512_maskz_mov_ps(positive, self.0) })
        }

        #[inline(always)]
        fn prefetch(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    // SAFETY of every block below: every aarch64 has the instructions; addresses are the callers' promises.
    #![allow(clippy::undocumented_unsafe_blocks)]

    use super::Vector;
    use std::arch::aarch64::*;

    /// Four numbers.
    #[derive(Clone, Copy)]
    pub struct Neon(float32x4_t);

    impl Vector for Neon {
        const LANES: usize = 4;
        const ROWS: usize = 6;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { vld1q_f32(from) })
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self(unsafe { vdupq_n_f32(x) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { vst1q_f32(to, self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { vaddq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn subtract(self, other: Self) -> Self {
            Self(unsafe { vsubq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply(self, other: Self) -> Self {
            Self(unsafe { vmulq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { vfmaq_f32(term.0, self.0, factor.0) })
        }

        // The instruction gives NaN when either is.
        #[inline(always)]
        fn floor_of(self, other: Self) -> Self {
            self.greatest(other)
        }

        #[inline(always)]
        fn greatest(self, other: Self) -> Self {
            Self(unsafe { vmaxq_f32(self.0, other.0) })
        }

        #[inline(always)]
        fn where_positive(self, mask: Self) -> Self {
            let positive = unsafe { vcgtzq_f32(mask.0) };
            Self(unsafe { vreinterpretq_f32_u32(vandq_u32(positive, vreinterpretq_u32_f32(self.0))) })
        }

        #[inline(always)]
        fn prefetch(_: *const f32) {}
    }
}
#[cfg(target_arch = "aarch64")]
pub use arm::Neon;

#[cfg(test)]
mod tests;
