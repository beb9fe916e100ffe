//! Scalar arithmetic as PTX defines it, where Rust's differs.
//!
//! In: one lane's operands. Out: its result. Sources: PTX ISA 9.0, sections named at each function.

use half::{bf16, f16};

/// The NaN that NVIDIA's f32 units make (PTX ISA, "Floating-point comparisons": NaN payloads are not
/// preserved, results are 0x7fffffff).
pub const NAN: f32 = f32::from_bits(0x7fff_ffff);

/// `a`, or the canonical NaN.
#[inline(always)]
pub fn nan(a: f32) -> f32 {
    // On bits: a comparison of floats may be folded away, since to the compiler all NaNs are alike (it was,
    // after a square root).
    let bits = a.to_bits();
    if bits & 0x7fff_ffff > 0x7f80_0000 { NAN } else { a }
}

/// Denormals become zero with their sign.
#[inline(always)]
pub fn flush(a: f32) -> f32 {
    if a.abs() < f32::MIN_POSITIVE { f32::from_bits(a.to_bits() & 0x8000_0000) } else { a }
}

/// `.sat`: into [0, 1], NaN to +0.
#[inline(always)]
pub fn saturate(a: f32) -> f32 {
    if a > 1.0 {
        1.0
    } else if a > 0.0 {
        a
    } else {
        0.0
    }
}

/// `min.f32`: the number wins against NaN, and -0 < +0.
#[inline(always)]
pub fn minimum(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        return nan(b);
    }
    if b.is_nan() || a < b || (a == b && a.is_sign_negative()) { a } else { b }
}

/// `max.f32`: the number wins against NaN, and -0 < +0.
#[inline(always)]
pub fn maximum(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        return nan(b);
    }
    if b.is_nan() || a > b || (a == b && a.is_sign_positive()) { a } else { b }
}

/// A directed rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// `.rz`
    Zero,
    /// `.rm`
    Down,
    /// `.rp`
    Up,
}

/// `a + b`, rounded as said.
pub fn add_towards(a: f32, b: f32, towards: Towards) -> f32 {
    let exact = f64::from(a) + f64::from(b);
    if exact == 0.0 && a.to_bits() != b.to_bits() {
        return cancelled(towards);
    }
    let remainder = two_sum_remainder(f64::from(a), f64::from(b), exact);
    round(exact, remainder, towards)
}

/// `a · b + c`, rounded as said; a product of two f32 is exact in f64.
pub fn fma_towards(a: f32, b: f32, c: f32, towards: Towards) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    if sum == 0.0 && product.to_bits() != c.to_bits() {
        return cancelled(towards);
    }
    round(sum, two_sum_remainder(product, c, sum), towards)
}

/// `a · b`, rounded as said.
pub fn mul_towards(a: f32, b: f32, towards: Towards) -> f32 {
    round(f64::from(a) * f64::from(b), 0.0, towards)
}

/// What two numbers of different signs leave that cancel each other, zeros too: +0, but -0 when rounding
/// down (IEEE 754, 6.3).
fn cancelled(towards: Towards) -> f32 {
    if towards == Towards::Down { -0.0 } else { 0.0 }
}

/// `div.approx.f32`: the hardware multiplies by a reciprocal, which is zero for divisors above 2^126 (PTX
/// ISA, `div`). Otherwise correctly rounded.
#[inline(always)]
pub fn divide_approximately(a: f32, b: f32) -> f32 {
    // 2^126.
    let vast = b.is_finite() && b.abs() > f32::from_bits(0x7e80_0000);
    nan(if vast { a * 0.0f32.copysign(b) } else { a / b })
}

/// What `a + b` lost when it became `sum` (Knuth).
fn two_sum_remainder(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    (a - (sum - b_part)) + (b - b_part)
}

/// The f32 next to `sum + remainder` in the given direction.
fn round(sum: f64, remainder: f64, towards: Towards) -> f32 {
    let near = sum as f32;
    if near.is_nan() || sum.is_infinite() {
        return nan(near);
    }
    // How far `near` lies above the exact value; the difference is exact or dominated by its sign.
    let above = if near.is_infinite() { f64::from(near) } else { (f64::from(near) - sum) - remainder };
    let lower = match towards {
        Towards::Down => true,
        Towards::Up => false,
        Towards::Zero => sum > 0.0 || (sum == 0.0 && remainder > 0.0),
    };
    if lower && above > 0.0 {
        near.next_down()
    } else if !lower && above < 0.0 {
        near.next_up()
    } else {
        near
    }
}

/// `cvt.rn.f16.f32`; NaN becomes 0x7fff.
pub fn to_f16(a: f32) -> u16 {
    if a.is_nan() { 0x7fff } else { f16::from_f32(a).to_bits() }
}

/// `cvt.f32.f16`.
pub fn from_f16(a: u16) -> f32 {
    nan(f16::from_bits(a).to_f32())
}

/// `cvt.rn.bf16.f32`; NaN becomes 0x7fff.
pub fn to_bf16(a: f32) -> u16 {
    if a.is_nan() { 0x7fff } else { bf16::from_f32(a).to_bits() }
}

/// `cvt.rna.tf32.f32`: 10 bits of fraction, halves away from zero. A NaN is cut, as the GPU does it (H200): one
/// whose bits are all in the part that is lost becomes infinite.
pub fn to_tf32(a: f32) -> u32 {
    let half = if a.is_nan() { 0 } else { 0x1000 };
    a.to_bits().wrapping_add(half) & !0x1fff
}

/// `cvt.rn.f32.f64`. A NaN keeps the upper part of its bits and becomes quiet, as on the GPU (H200).
pub fn narrow(a: f64) -> f32 {
    if !a.is_nan() {
        return a as f32;
    }
    let bits = a.to_bits();
    f32::from_bits((bits >> 32) as u32 & 0x8000_0000 | 0x7fc0_0000 | (bits >> 29) as u32 & 0x3f_ffff)
}

/// `dp4a.s32.s32`.
pub fn dp4a_signed(a: u32, b: u32, c: i32) -> i32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    a.iter().zip(b).fold(c, |sum, (&a, b)| sum.wrapping_add(i32::from(a as i8) * i32::from(b as i8)))
}

/// `dp4a.u32.u32`.
pub fn dp4a_unsigned(a: u32, b: u32, c: u32) -> u32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    a.iter().zip(b).fold(c, |sum, (&a, b)| sum.wrapping_add(u32::from(a) * u32::from(b)))
}

/// `lop3`: bit by bit, the table's entry for (a, b, c).
#[inline(always)]
pub fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut out = 0;
    for (k, term) in
        [!a & !b & !c, !a & !b & c, !a & b & !c, !a & b & c, a & !b & !c, a & !b & c, a & b & !c, a & b & c]
            .into_iter()
            .enumerate()
    {
        if table >> k & 1 == 1 {
            out |= term;
        }
    }
    out
}

/// `prmt`, default mode: each nibble of the selector picks a byte of b:a, or spreads its sign.
#[inline(always)]
pub fn prmt(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = (u64::from(b) << 32) | u64::from(a);
    let mut out = 0;
    for k in 0..4 {
        let nibble = selector >> (4 * k) & 15;
        let byte = (bytes >> (8 * (nibble & 7))) as u8;
        let byte = if nibble & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 };
        out |= u32::from(byte) << (8 * k);
    }
    out
}

/// `bfi.b32`: the lower `len` bits of `a`, put into `b` at `at`; both counts are taken modulo 256.
pub fn bfi32(a: u32, b: u32, at: u32, len: u32) -> u32 {
    let (at, len) = (at & 0xff, len & 0xff);
    if at >= 32 || len == 0 {
        return b;
    }
    let ones = if len >= 32 { u32::MAX } else { (1 << len) - 1 };
    (b & !(ones << at)) | ((a & ones) << at)
}

/// `bfi.b64`. The manual takes both counts modulo 256, as `bfi.b32` does; ptxas makes shifts of it that take them
/// whole, and so does the GPU (H200, `tests/ptx/card`).
pub fn bfi64(a: u64, b: u64, at: u32, len: u32) -> u64 {
    if at >= 64 || len == 0 {
        return b;
    }
    let ones = if len >= 64 { u64::MAX } else { (1 << len) - 1 };
    (b & !(ones << at)) | ((a & ones) << at)
}

/// `bfe.u32`.
pub fn bfe_unsigned(a: u32, at: u32, len: u32) -> u32 {
    let (at, len) = (at & 0xff, len & 0xff);
    if at >= 32 || len == 0 {
        return 0;
    }
    let ones = if len >= 32 { u32::MAX } else { (1 << len) - 1 };
    a >> at & ones
}

/// `bfe.s32`: the field's highest bit is spread; a field past bit 31 takes bit 31.
pub fn bfe_signed(a: u32, at: u32, len: u32) -> u32 {
    let (at, len) = (at & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    let sign = a >> (at + len - 1).min(31) & 1;
    let spread = if sign == 1 { u32::MAX } else { 0 };
    (0..32).fold(0, |out, k| {
        let bit = if k < len && at + k < 32 { a >> (at + k) & 1 } else { spread & 1 };
        out | bit << k
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_sums_bracket_the_exact_one() {
        let mut word = 12345u32;
        let mut next = || {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits((word & 0x8fff_ffff) | 0x3000_0000)
        };
        for _ in 0..10_000 {
            let (a, b, c) = (next(), next(), next());
            let (down, up) = (fma_towards(a, b, c, Towards::Down), fma_towards(a, b, c, Towards::Up));
            let near = a.mul_add(b, c);
            assert!(down <= near && near <= up, "{a} {b} {c}");
            assert!(up == down || up == down.next_up(), "{a} {b} {c}: {down} {up}");
            let zero = fma_towards(a, b, c, Towards::Zero);
            assert_eq!(zero, if near > 0.0 { down } else { up });
            let (down, up) = (add_towards(a, b, Towards::Down), add_towards(a, b, Towards::Up));
            assert!(
                f64::from(down) <= f64::from(a) + f64::from(b)
                    && f64::from(a) + f64::from(b) <= f64::from(up)
            );
        }
        assert_eq!(add_towards(1.0, f32::from_bits(1), Towards::Up), 1.0f32.next_up());
        assert_eq!(add_towards(1.0, f32::from_bits(1), Towards::Down), 1.0);
        assert_eq!(add_towards(1.0, -f32::from_bits(1), Towards::Zero), 1.0f32.next_down());
        assert_eq!(add_towards(f32::MAX, f32::MAX, Towards::Zero), f32::MAX);
    }

    #[test]
    fn bits_are_moved_as_the_isa_says() {
        assert_eq!(prmt(0x3322_1100, 0x7766_5544, 0x0123), 0x0011_2233);
        assert_eq!(prmt(0x0000_0080, 0, 0x8888), 0xffff_ffff);
        assert_eq!(lop3(0b1100, 0b1010, 0b0110, 0x96) & 15, 0b1100 ^ 0b1010 ^ 0b0110);
        assert_eq!(bfi32(0xff, 0, 8, 4), 0x0f00);
        assert_eq!(bfe_unsigned(0xabcd_1234, 8, 8), 0x12);
        assert_eq!(bfe_signed(0x0000_8000, 8, 8), 0xffff_ff80);
        assert_eq!(to_tf32(1.0 + 2f32.powi(-11)), 0x3f80_2000);
    }

    #[test]
    fn the_smaller_zero_is_negative_and_numbers_win() {
        assert!(minimum(0.0, -0.0).is_sign_negative() && minimum(-0.0, 0.0).is_sign_negative());
        assert!(maximum(0.0, -0.0).is_sign_positive() && maximum(-0.0, 0.0).is_sign_positive());
        assert_eq!(minimum(f32::NAN, 1.0), 1.0);
        assert_eq!(maximum(1.0, f32::NAN), 1.0);
        assert_eq!(maximum(f32::NAN, f32::NAN).to_bits(), 0x7fff_ffff);
    }
}
