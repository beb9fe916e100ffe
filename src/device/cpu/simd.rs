//! Which vector instructions this processor has, asked at run time.
//!
//! `VGG_FT_SIMD` (`portable`, `avx2`, `avx512`, `neon`) names a lower level than the processor's, to compare
//! them. Commands that use the cpu refuse an unknown name, or a level that the processor lacks ([`check`]).

use crate::error::{Error, Kind, Result};
use std::sync::OnceLock;

/// Vector instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// 128 bits and fused multiply-add, which every aarch64 has.
    Neon,
    /// 256 bits and fused multiply-add.
    Avx2,
    /// 512 bits.
    Avx512,
}

impl Level {
    const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// As `VGG_FT_SIMD` has it.
    fn key(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether the processor can run it.
    fn is_here(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            // Its kernels are compiled with AVX2 as well: parts of a vector are moved by that.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Self::Avx2.is_here() && is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Those that the processor can run, the widest last.
    pub fn here() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_here())
    }
}

/// The level in use.
#[inline]
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| choose(&std::env::var("VGG_FT_SIMD").unwrap_or_default()))
}

/// Whether `VGG_FT_SIMD`, if it is set, names a level that the processor has.
///
/// # Errors
/// [`Kind::Usage`] with those that there are: it decides the last bits, so a mistyped one is not passed over.
pub fn check() -> Result<()> {
    let Some(wished) = std::env::var_os("VGG_FT_SIMD").filter(|wished| !wished.is_empty()) else {
        return Ok(());
    };
    let here: Vec<&str> = Level::here().map(Level::key).collect();
    if wished.to_str().is_some_and(|wished| here.contains(&wished)) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "VGG_FT_SIMD names no vector instructions of this processor")
        .expected_got(format!("one of {}", here.join(", ")), wished.display())
        .help("unset it for the widest"))
}

/// The level of that name if it is here, else the widest.
fn choose(wished: &str) -> Level {
    Level::here().find(|level| level.key() == wished).or(Level::here().last()).unwrap_or(Level::Portable)
}

/// Whether 256-bit vectors with fused multiply-add can be used.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn avx2() -> bool {
    level() >= Level::Avx2
}

/// What [`crate::device::Description`] says.
pub fn name() -> &'static str {
    match level() {
        Level::Portable => "portable code",
        Level::Neon => "NEON",
        Level::Avx2 => "AVX2+FMA",
        Level::Avx512 => "AVX-512",
    }
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

/// Compiles a function that is generic over [`Vector`](super::vector::Vector) once for each level, and chooses
/// at run time. In brackets: the other generics as they are declared, and as they are handed on.
macro_rules! by_level {
    ($(#[$meta:meta])* $visibility:vis unsafe fn $name:ident[$($declared:tt)*][$($handed:tt)*]($($argument:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $visibility unsafe fn $name<$($declared)*>($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            use $crate::device::cpu::simd;
            use $crate::device::cpu::vector;
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx2,fma")]
                unsafe fn avx512<$($declared)*>($($argument: $type),*) {
                    // SAFETY: the caller's promise; the processor has the instructions.
                    unsafe { $body::<vector::Avx512, $($handed)*>($($argument),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2<$($declared)*>($($argument: $type),*) {
                    // SAFETY: the caller's promise; the processor has the instructions.
                    unsafe { $body::<vector::Avx2, $($handed)*>($($argument),*) }
                }
                match simd::level() {
                    // SAFETY: the caller's promise; the processor has the instructions.
                    simd::Level::Avx512 => return unsafe { avx512::<$($handed)*>($($argument),*) },
                    // SAFETY: the caller's promise; the processor has the instructions.
                    simd::Level::Avx2 => return unsafe { avx2::<$($handed)*>($($argument),*) },
                    _ => {}
                }
            }
            #[cfg(target_arch = "aarch64")]
            if simd::level() == simd::Level::Neon {
                // SAFETY: the caller's promise; every aarch64 has the instructions.
                return unsafe { $body::<vector::Neon, $($handed)*>($($argument),*) };
            }
            // SAFETY: the caller's promise.
            unsafe { $body::<vector::Portable, $($handed)*>($($argument),*) }
        }
    };
}
pub(super) use by_level;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_chosen_by_name_where_it_is_here() {
        let widest = Level::here().last().unwrap();
        for level in Level::ALL {
            let want = if level.is_here() { level } else { widest };
            assert_eq!(choose(level.key()), want);
        }
        assert_eq!((choose(""), choose("mmx"), choose("portable")), (widest, widest, Level::Portable));
    }
}
