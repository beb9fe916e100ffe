//! The table of all instructions that work on registers lane by lane: PTX spelling, operand types, and
//! what one lane computes.
//!
//! In: nothing. Out: [`Code`], the decoder's dictionary ([`find`]) and the operand classes
//! ([`Code::signature`]); `device::gpu::emulator` takes the closures from the same rows. Exactness is
//! said per row: IEEE operations are bit-exact, what PTX calls `.approx` is the correctly rounded
//! result (hardware may differ in the last bits, see docs/emulator.md).

pub use super::tree::Class;
use std::collections::HashMap;
use std::sync::LazyLock;

/// How a register's bits are read: which class it has.
pub trait Lane {
    /// The class of registers that hold it.
    const CLASS: Class;
}
macro_rules! lanes {
    ($($type:ty => $class:ident),*) => { $(impl Lane for $type { const CLASS: Class = Class::$class; })* };
}
lanes!(u32 => W, i32 => W, f32 => W, u16 => W, i16 => W, u64 => L, i64 => L, f64 => L, bool => P);

/// Calls `$back!` with the whole table. A row: name, result type, operand types, the closure, spellings.
macro_rules! instructions {
    ($back:ident) => { $back! {
        // Moves and choices.
        MovW: u32 = (u32) |a| a; "mov.b32 mov.u32 mov.s32 mov.f32 mov.b16 mov.u16 mov.s16";
        MovL: u64 = (u64) |a| a; "mov.b64 mov.u64 mov.s64 mov.f64";
        MovP: bool = (bool) |a| a; "mov.pred";
        SelW: u32 = (u32, u32, bool) |a, b, p| if p { a } else { b }; "selp.b32 selp.u32 selp.s32 selp.f32 selp.b16 selp.u16 selp.s16";
        SelL: u64 = (u64, u64, bool) |a, b, p| if p { a } else { b }; "selp.b64 selp.u64 selp.s64 selp.f64";
        SlctS: u32 = (u32, u32, i32) |a, b, c| if c >= 0 { a } else { b }; "slct.b32.s32 slct.u32.s32 slct.s32.s32 slct.f32.s32";
        PackW: u32 = (u16, u16) |a, b| u32::from(b) << 16 | u32::from(a); "";
        LowH: u32 = (u32) |a| a & 0xffff; "";
        HighH: u32 = (u32) |a| a >> 16; "";
        PackL: u64 = (u32, u32) |a, b| u64::from(b) << 32 | u64::from(a); "";
        LowW: u32 = (u64) |a| a as u32; "cvt.u32.u64 cvt.s32.s64 cvt.u32.s64 cvt.s32.u64";
        HighW: u32 = (u64) |a| (a >> 32) as u32; "";
        // Predicates.
        NotP: bool = (bool) |a| !a; "not.pred";
        AndP: bool = (bool, bool) |a, b| a & b; "and.pred";
        OrP: bool = (bool, bool) |a, b| a | b; "or.pred";
        XorP: bool = (bool, bool) |a, b| a ^ b; "xor.pred";
        // 32-bit integers: wrap around, as the hardware does.
        AddW: u32 = (u32, u32) |a, b| a.wrapping_add(b); "add.s32 add.u32";
        SubW: u32 = (u32, u32) |a, b| a.wrapping_sub(b); "sub.s32 sub.u32";
        AddSatS: i32 = (i32, i32) |a, b| a.saturating_add(b); "add.sat.s32";
        SubSatS: i32 = (i32, i32) |a, b| a.saturating_sub(b); "sub.sat.s32";
        MulLoW: u32 = (u32, u32) |a, b| a.wrapping_mul(b); "mul.lo.s32 mul.lo.u32";
        MulHiS: i32 = (i32, i32) |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32; "mul.hi.s32";
        MulHiU: u32 = (u32, u32) |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32; "mul.hi.u32";
        MulWideS: i64 = (i32, i32) |a, b| i64::from(a) * i64::from(b); "mul.wide.s32";
        MulWideU: u64 = (u32, u32) |a, b| u64::from(a) * u64::from(b); "mul.wide.u32";
        MulWideHS: i32 = (i16, i16) |a, b| i32::from(a) * i32::from(b); "mul.wide.s16";
        MulWideHU: u32 = (u16, u16) |a, b| u32::from(a) * u32::from(b); "mul.wide.u16";
        // A place in another block of the cluster (`Program::cluster`): above what any block has, its rank.
        MapaW: u32 = (u32, u32) |a, b| a & 0x00ff_ffff | (b.min(254) + 1) << 24; "";
        MadLoW: u32 = (u32, u32, u32) |a, b, c| a.wrapping_mul(b).wrapping_add(c); "mad.lo.s32 mad.lo.u32";
        MadHiU: u32 = (u32, u32, u32) |a, b, c| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c); "mad.hi.u32";
        MadHiS: i32 = (i32, i32, i32) |a, b, c| (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c); "mad.hi.s32";
        MadWideS: i64 = (i32, i32, i64) |a, b, c| (i64::from(a) * i64::from(b)).wrapping_add(c); "mad.wide.s32";
        MadWideU: u64 = (u32, u32, u64) |a, b, c| (u64::from(a) * u64::from(b)).wrapping_add(c); "mad.wide.u32";
        DivS: i32 = (i32, i32) |a, b| if b == 0 { -1 } else { a.wrapping_div(b) }; "div.s32";
        DivU: u32 = (u32, u32) |a, b| a.checked_div(b).unwrap_or(u32::MAX); "div.u32";
        RemS: i32 = (i32, i32) |a, b| if b == 0 { a } else { a.wrapping_rem(b) }; "rem.s32";
        RemU: u32 = (u32, u32) |a, b| a.checked_rem(b).unwrap_or(a); "rem.u32";
        MinS: i32 = (i32, i32) |a, b| a.min(b); "min.s32";
        MaxS: i32 = (i32, i32) |a, b| a.max(b); "max.s32";
        MinU: u32 = (u32, u32) |a, b| a.min(b); "min.u32";
        MaxU: u32 = (u32, u32) |a, b| a.max(b); "max.u32";
        AbsS: i32 = (i32) |a| a.wrapping_abs(); "abs.s32";
        NegS: i32 = (i32) |a| a.wrapping_neg(); "neg.s32";
        SadS: u32 = (i32, i32, u32) |a, b, c| c.wrapping_add(a.abs_diff(b)); "sad.s32";
        SadU: u32 = (u32, u32, u32) |a, b, c| c.wrapping_add(a.abs_diff(b)); "sad.u32";
        Dp4aS: i32 = (u32, u32, i32) |a, b, c| dp4a_signed(a, b, c); "dp4a.s32.s32";
        Dp4aU: u32 = (u32, u32, u32) |a, b, c| dp4a_unsigned(a, b, c); "dp4a.u32.u32";
        AndW: u32 = (u32, u32) |a, b| a & b; "and.b32 and.b16";
        OrW: u32 = (u32, u32) |a, b| a | b; "or.b32 or.b16";
        XorW: u32 = (u32, u32) |a, b| a ^ b; "xor.b32 xor.b16";
        NotW: u32 = (u32) |a| !a; "not.b32";
        NotH: u16 = (u16) |a| !a; "not.b16";
        CnotW: u32 = (u32) |a| u32::from(a == 0); "cnot.b32";
        ShlW: u32 = (u32, u32) |a, n| if n < 32 { a << n } else { 0 }; "shl.b32";
        ShrW: u32 = (u32, u32) |a, n| if n < 32 { a >> n } else { 0 }; "shr.u32 shr.b32";
        ShrS: i32 = (i32, u32) |a, n| a >> n.min(31); "shr.s32";
        ShlH: u16 = (u16, u32) |a, n| if n < 16 { a << n } else { 0 }; "shl.b16";
        ShrH: u16 = (u16, u32) |a, n| if n < 16 { a >> n } else { 0 }; "shr.u16 shr.b16";
        ShrHS: i16 = (i16, u32) |a, n| a >> n.min(15); "shr.s16";
        ShfLWrap: u32 = (u32, u32, u32) |a, b, n| (((u64::from(b) << 32 | u64::from(a)) << (n & 31)) >> 32) as u32; "shf.l.wrap.b32";
        ShfRWrap: u32 = (u32, u32, u32) |a, b, n| ((u64::from(b) << 32 | u64::from(a)) >> (n & 31)) as u32; "shf.r.wrap.b32";
        ShfLClamp: u32 = (u32, u32, u32) |a, b, n| (((u64::from(b) << 32 | u64::from(a)) << n.min(32)) >> 32) as u32; "shf.l.clamp.b32";
        ShfRClamp: u32 = (u32, u32, u32) |a, b, n| ((u64::from(b) << 32 | u64::from(a)) >> n.min(32)) as u32; "shf.r.clamp.b32";
        Lop3: u32 = (u32, u32, u32, u32) |a, b, c, table| lop3(a, b, c, table); "lop3.b32";
        Prmt: u32 = (u32, u32, u32) |a, b, selector| prmt(a, b, selector); "prmt.b32";
        BfiW: u32 = (u32, u32, u32, u32) |a, b, at, len| bfi32(a, b, at, len); "bfi.b32";
        BfeU: u32 = (u32, u32, u32) |a, at, len| bfe_unsigned(a, at, len); "bfe.u32";
        BfeS: u32 = (u32, u32, u32) |a, at, len| bfe_signed(a, at, len); "bfe.s32";
        BfindU: u32 = (u32) |a| if a == 0 { u32::MAX } else { 31 - a.leading_zeros() }; "bfind.u32";
        BfindShiftU: u32 = (u32) |a| if a == 0 { u32::MAX } else { a.leading_zeros() }; "bfind.shiftamt.u32";
        BrevW: u32 = (u32) |a| a.reverse_bits(); "brev.b32";
        PopcW: u32 = (u32) |a| a.count_ones(); "popc.b32";
        ClzW: u32 = (u32) |a| a.leading_zeros(); "clz.b32";
        // 16-bit integers.
        AddH: u16 = (u16, u16) |a, b| a.wrapping_add(b); "add.s16 add.u16";
        SubH: u16 = (u16, u16) |a, b| a.wrapping_sub(b); "sub.s16 sub.u16";
        MulLoH: u16 = (u16, u16) |a, b| a.wrapping_mul(b); "mul.lo.s16 mul.lo.u16";
        MadLoH: u16 = (u16, u16, u16) |a, b, c| a.wrapping_mul(b).wrapping_add(c); "mad.lo.s16 mad.lo.u16";
        MinHS: i16 = (i16, i16) |a, b| a.min(b); "min.s16";
        MaxHS: i16 = (i16, i16) |a, b| a.max(b); "max.s16";
        MinH: u16 = (u16, u16) |a, b| a.min(b); "min.u16";
        MaxH: u16 = (u16, u16) |a, b| a.max(b); "max.u16";
        DivHU: u16 = (u16, u16) |a, b| a.checked_div(b).unwrap_or(u16::MAX); "div.u16";
        RemHU: u16 = (u16, u16) |a, b| a.checked_rem(b).unwrap_or(a); "rem.u16";
        NegH: i16 = (i16) |a| a.wrapping_neg(); "neg.s16";
        // 64-bit integers.
        AddL: u64 = (u64, u64) |a, b| a.wrapping_add(b); "add.s64 add.u64";
        SubL: u64 = (u64, u64) |a, b| a.wrapping_sub(b); "sub.s64 sub.u64";
        MulLoL: u64 = (u64, u64) |a, b| a.wrapping_mul(b); "mul.lo.s64 mul.lo.u64";
        MulHiL: u64 = (u64, u64) |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64; "mul.hi.u64";
        MulHiI: i64 = (i64, i64) |a, b| ((i128::from(a) * i128::from(b)) >> 64) as i64; "mul.hi.s64";
        MadLoL: u64 = (u64, u64, u64) |a, b, c| a.wrapping_mul(b).wrapping_add(c); "mad.lo.s64 mad.lo.u64";
        DivI: i64 = (i64, i64) |a, b| if b == 0 { -1 } else { a.wrapping_div(b) }; "div.s64";
        DivL: u64 = (u64, u64) |a, b| a.checked_div(b).unwrap_or(u64::MAX); "div.u64";
        RemI: i64 = (i64, i64) |a, b| if b == 0 { a } else { a.wrapping_rem(b) }; "rem.s64";
        RemL: u64 = (u64, u64) |a, b| a.checked_rem(b).unwrap_or(a); "rem.u64";
        MinI: i64 = (i64, i64) |a, b| a.min(b); "min.s64";
        MaxI: i64 = (i64, i64) |a, b| a.max(b); "max.s64";
        MinL: u64 = (u64, u64) |a, b| a.min(b); "min.u64";
        MaxL: u64 = (u64, u64) |a, b| a.max(b); "max.u64";
        AbsI: i64 = (i64) |a| a.wrapping_abs(); "abs.s64";
        NegI: i64 = (i64) |a| a.wrapping_neg(); "neg.s64";
        AndL: u64 = (u64, u64) |a, b| a & b; "and.b64";
        OrL: u64 = (u64, u64) |a, b| a | b; "or.b64";
        XorL: u64 = (u64, u64) |a, b| a ^ b; "xor.b64";
        NotL: u64 = (u64) |a| !a; "not.b64";
        ShlL: u64 = (u64, u32) |a, n| if n < 64 { a << n } else { 0 }; "shl.b64";
        ShrL: u64 = (u64, u32) |a, n| if n < 64 { a >> n } else { 0 }; "shr.u64 shr.b64";
        ShrI: i64 = (i64, u32) |a, n| a >> n.min(63); "shr.s64";
        BfiL: u64 = (u64, u64, u32, u32) |a, b, at, len| bfi64(a, b, at, len); "bfi.b64";
        BrevL: u64 = (u64) |a| a.reverse_bits(); "brev.b64";
        PopcL: u32 = (u64) |a| a.count_ones(); "popc.b64";
        ClzL: u32 = (u64) |a| a.leading_zeros(); "clz.b64";
        // Comparisons; the decoder turns `gt` and `ge` around.
        EqW: bool = (u32, u32) |a, b| a == b; "";
        NeW: bool = (u32, u32) |a, b| a != b; "";
        LtS: bool = (i32, i32) |a, b| a < b; "";
        LeS: bool = (i32, i32) |a, b| a <= b; "";
        LtU: bool = (u32, u32) |a, b| a < b; "";
        LeU: bool = (u32, u32) |a, b| a <= b; "";
        EqH: bool = (u16, u16) |a, b| a == b; "";
        NeH: bool = (u16, u16) |a, b| a != b; "";
        LtHS: bool = (i16, i16) |a, b| a < b; "";
        LeHS: bool = (i16, i16) |a, b| a <= b; "";
        LtHU: bool = (u16, u16) |a, b| a < b; "";
        LeHU: bool = (u16, u16) |a, b| a <= b; "";
        EqL: bool = (u64, u64) |a, b| a == b; "";
        NeL: bool = (u64, u64) |a, b| a != b; "";
        LtI: bool = (i64, i64) |a, b| a < b; "";
        LeI: bool = (i64, i64) |a, b| a <= b; "";
        LtL: bool = (u64, u64) |a, b| a < b; "";
        LeL: bool = (u64, u64) |a, b| a <= b; "";
        EqF: bool = (f32, f32) |a, b| a == b; "";
        NeF: bool = (f32, f32) |a, b| a < b || a > b; "";
        LtF: bool = (f32, f32) |a, b| a < b; "";
        LeF: bool = (f32, f32) |a, b| a <= b; "";
        EquF: bool = (f32, f32) |a, b| !(a < b || a > b); "";
        NeuF: bool = (f32, f32) |a, b| a != b; "";
        LtuF: bool = (f32, f32) |a, b| !(a >= b); "";
        LeuF: bool = (f32, f32) |a, b| !(a > b); "";
        NumF: bool = (f32, f32) |a, b| !a.is_nan() && !b.is_nan(); "";
        NanF: bool = (f32, f32) |a, b| a.is_nan() || b.is_nan(); "";
        EqD: bool = (f64, f64) |a, b| a == b; "";
        NeD: bool = (f64, f64) |a, b| a < b || a > b; "";
        LtD: bool = (f64, f64) |a, b| a < b; "";
        LeD: bool = (f64, f64) |a, b| a <= b; "";
        EquD: bool = (f64, f64) |a, b| !(a < b || a > b); "";
        NeuD: bool = (f64, f64) |a, b| a != b; "";
        LtuD: bool = (f64, f64) |a, b| !(a >= b); "";
        LeuD: bool = (f64, f64) |a, b| !(a > b); "";
        NumD: bool = (f64, f64) |a, b| !a.is_nan() && !b.is_nan(); "";
        NanD: bool = (f64, f64) |a, b| a.is_nan() || b.is_nan(); "";
        // f32, round to nearest even: bit-exact. Products are never contracted with sums here.
        AddF: f32 = (f32, f32) |a, b| nan(a + b); "add.f32 add.rn.f32";
        SubF: f32 = (f32, f32) |a, b| nan(a - b); "sub.f32 sub.rn.f32";
        MulF: f32 = (f32, f32) |a, b| nan(a * b); "mul.f32 mul.rn.f32";
        FmaF: f32 = (f32, f32, f32) |a, b, c| nan(a.mul_add(b, c)); "fma.rn.f32 mad.rn.f32";
        AddSatF: f32 = (f32, f32) |a, b| saturate(a + b); "add.sat.f32 add.rn.sat.f32";
        MulSatF: f32 = (f32, f32) |a, b| saturate(a * b); "mul.sat.f32 mul.rn.sat.f32";
        FmaSatF: f32 = (f32, f32, f32) |a, b, c| saturate(a.mul_add(b, c)); "fma.rn.sat.f32";
        DivF: f32 = (f32, f32) |a, b| nan(a / b); "div.rn.f32 div.full.f32";
        DivApproxF: f32 = (f32, f32) |a, b| divide_approximately(a, b); "div.approx.f32";
        RcpF: f32 = (f32) |a| nan(1.0 / a); "rcp.rn.f32 rcp.approx.f32";
        SqrtF: f32 = (f32) |a| nan(a.sqrt()); "sqrt.rn.f32 sqrt.approx.f32";
        RsqrtF: f32 = (f32) |a| nan((1.0 / f64::from(a).sqrt()) as f32); "rsqrt.approx.f32";
        MinF: f32 = (f32, f32) |a, b| minimum(a, b); "min.f32";
        MaxF: f32 = (f32, f32) |a, b| maximum(a, b); "max.f32";
        MinNanF: f32 = (f32, f32) |a, b| if a.is_nan() || b.is_nan() { NAN } else { minimum(a, b) }; "min.NaN.f32";
        MaxNanF: f32 = (f32, f32) |a, b| if a.is_nan() || b.is_nan() { NAN } else { maximum(a, b) }; "max.NaN.f32";
        AbsF: u32 = (u32) |a| a & 0x7fff_ffff; "abs.f32";
        NegF: u32 = (u32) |a| a ^ 0x8000_0000; "neg.f32";
        CopysignF: u32 = (u32, u32) |a, b| (a & 0x8000_0000) | (b & 0x7fff_ffff); "copysign.f32";
        Ex2F: f32 = (f32) |a| nan(f64::from(a).exp2() as f32); "ex2.approx.f32";
        Lg2F: f32 = (f32) |a| nan(f64::from(a).log2() as f32); "lg2.approx.f32";
        SinF: f32 = (f32) |a| nan(f64::from(a).sin() as f32); "sin.approx.f32";
        CosF: f32 = (f32) |a| nan(f64::from(a).cos() as f32); "cos.approx.f32";
        TanhF: f32 = (f32) |a| nan(f64::from(a).tanh() as f32); "tanh.approx.f32";
        // Denormals become zero on the way in and out.
        AddFz: f32 = (f32, f32) |a, b| flush(nan(flush(a) + flush(b))); "add.ftz.f32 add.rn.ftz.f32";
        SubFz: f32 = (f32, f32) |a, b| flush(nan(flush(a) - flush(b))); "sub.ftz.f32 sub.rn.ftz.f32";
        MulFz: f32 = (f32, f32) |a, b| flush(nan(flush(a) * flush(b))); "mul.ftz.f32 mul.rn.ftz.f32";
        FmaFz: f32 = (f32, f32, f32) |a, b, c| flush(nan(flush(a).mul_add(flush(b), flush(c)))); "fma.rn.ftz.f32";
        DivFz: f32 = (f32, f32) |a, b| flush(nan(flush(a) / flush(b))); "div.rn.ftz.f32 div.full.ftz.f32";
        DivApproxFz: f32 = (f32, f32) |a, b| flush(divide_approximately(flush(a), flush(b))); "div.approx.ftz.f32";
        RcpFz: f32 = (f32) |a| flush(nan(1.0 / flush(a))); "rcp.approx.ftz.f32 rcp.rn.ftz.f32";
        SqrtFz: f32 = (f32) |a| flush(nan(flush(a).sqrt())); "sqrt.approx.ftz.f32 sqrt.rn.ftz.f32";
        RsqrtFz: f32 = (f32) |a| flush(nan((1.0 / f64::from(flush(a)).sqrt()) as f32)); "rsqrt.approx.ftz.f32";
        MinFz: f32 = (f32, f32) |a, b| minimum(flush(a), flush(b)); "min.ftz.f32";
        MaxFz: f32 = (f32, f32) |a, b| maximum(flush(a), flush(b)); "max.ftz.f32";
        AbsFz: f32 = (f32) |a| flush(a).abs(); "abs.ftz.f32";
        NegFz: f32 = (f32) |a| -flush(a); "neg.ftz.f32";
        Ex2Fz: f32 = (f32) |a| flush(nan(f64::from(flush(a)).exp2() as f32)); "ex2.approx.ftz.f32";
        Lg2Fz: f32 = (f32) |a| flush(nan(f64::from(flush(a)).log2() as f32)); "lg2.approx.ftz.f32";
        SinFz: f32 = (f32) |a| flush(nan(f64::from(flush(a)).sin() as f32)); "sin.approx.ftz.f32";
        CosFz: f32 = (f32) |a| flush(nan(f64::from(flush(a)).cos() as f32)); "cos.approx.ftz.f32";
        // Directed rounding: nearest, then mended by the exact remainder.
        AddRz: f32 = (f32, f32) |a, b| add_towards(a, b, Towards::Zero); "add.rz.f32";
        AddRm: f32 = (f32, f32) |a, b| add_towards(a, b, Towards::Down); "add.rm.f32";
        AddRp: f32 = (f32, f32) |a, b| add_towards(a, b, Towards::Up); "add.rp.f32";
        SubRz: f32 = (f32, f32) |a, b| add_towards(a, -b, Towards::Zero); "sub.rz.f32";
        MulRz: f32 = (f32, f32) |a, b| mul_towards(a, b, Towards::Zero); "mul.rz.f32";
        MulRm: f32 = (f32, f32) |a, b| mul_towards(a, b, Towards::Down); "mul.rm.f32";
        MulRp: f32 = (f32, f32) |a, b| mul_towards(a, b, Towards::Up); "mul.rp.f32";
        FmaRz: f32 = (f32, f32, f32) |a, b, c| fma_towards(a, b, c, Towards::Zero); "fma.rz.f32";
        FmaRm: f32 = (f32, f32, f32) |a, b, c| fma_towards(a, b, c, Towards::Down); "fma.rm.f32";
        FmaRp: f32 = (f32, f32, f32) |a, b, c| fma_towards(a, b, c, Towards::Up); "fma.rp.f32";
        // f64.
        AddD: f64 = (f64, f64) |a, b| a + b; "add.f64 add.rn.f64";
        SubD: f64 = (f64, f64) |a, b| a - b; "sub.f64 sub.rn.f64";
        MulD: f64 = (f64, f64) |a, b| a * b; "mul.f64 mul.rn.f64";
        FmaD: f64 = (f64, f64, f64) |a, b, c| a.mul_add(b, c); "fma.rn.f64";
        DivD: f64 = (f64, f64) |a, b| a / b; "div.rn.f64";
        RcpD: f64 = (f64) |a| 1.0 / a; "rcp.rn.f64";
        SqrtD: f64 = (f64) |a| a.sqrt(); "sqrt.rn.f64";
        AbsD: f64 = (f64) |a| a.abs(); "abs.f64";
        NegD: f64 = (f64) |a| -a; "neg.f64";
        // Conversions. To integers they saturate. Of NaN they make 0, as `as` does, but from f64 and to 64
        // bits the lowest integer (PTX ISA, `cvt`).
        CvtLW: u64 = (u32) |a| u64::from(a); "cvt.u64.u32 cvt.s64.u32";
        CvtIS: i64 = (i32) |a| i64::from(a); "cvt.s64.s32 cvt.u64.s32";
        CvtWH: u32 = (u16) |a| u32::from(a); "cvt.u32.u16 cvt.s32.u16 cvt.u16.u16";
        CvtSH: i32 = (i16) |a| i32::from(a); "cvt.s32.s16 cvt.u32.s16";
        CvtLH: u64 = (u16) |a| u64::from(a); "cvt.u64.u16 cvt.s64.u16";
        CvtIH: i64 = (i16) |a| i64::from(a); "cvt.s64.s16";
        CvtHW: u16 = (u32) |a| a as u16; "cvt.u16.u32 cvt.s16.s32 cvt.u16.s32 cvt.s16.u32";
        CvtHL: u16 = (u64) |a| a as u16; "cvt.u16.u64 cvt.s16.s64";
        CvtWB: u32 = (u32) |a| a & 0xff; "cvt.u32.u8 cvt.s32.u8 cvt.u16.u8 cvt.u8.u32 cvt.u8.u16 cvt.s16.u8";
        CvtHB: i16 = (u32) |a| i16::from(a as i8); "cvt.s16.s8";
        CvtSB: i32 = (u32) |a| i32::from(a as i8); "cvt.s32.s8";
        CvtFS: f32 = (i32) |a| a as f32; "cvt.rn.f32.s32";
        CvtFU: f32 = (u32) |a| a as f32; "cvt.rn.f32.u32";
        CvtFH: f32 = (u16) |a| f32::from(a); "cvt.rn.f32.u16";
        CvtFHS: f32 = (i16) |a| f32::from(a); "cvt.rn.f32.s16";
        CvtFB: f32 = (u32) |a| f32::from(a as u8); "cvt.rn.f32.u8";
        CvtFI: f32 = (i64) |a| a as f32; "cvt.rn.f32.s64";
        CvtFL: f32 = (u64) |a| a as f32; "cvt.rn.f32.u64";
        CvtDS: f64 = (i32) |a| f64::from(a); "cvt.rn.f64.s32";
        CvtDU: f64 = (u32) |a| f64::from(a); "cvt.rn.f64.u32";
        CvtDI: f64 = (i64) |a| a as f64; "cvt.rn.f64.s64";
        CvtDL: f64 = (u64) |a| a as f64; "cvt.rn.f64.u64";
        CvtDF: f64 = (f32) |a| f64::from(a); "cvt.f64.f32";
        CvtFD: f32 = (f64) |a| narrow(a); "cvt.rn.f32.f64";
        CvtSFz: i32 = (f32) |a| a as i32; "cvt.rzi.s32.f32 cvt.rzi.ftz.s32.f32";
        CvtUFz: u32 = (f32) |a| a as u32; "cvt.rzi.u32.f32 cvt.rzi.ftz.u32.f32";
        CvtIFz: i64 = (f32) |a| if a.is_nan() { i64::MIN } else { a as i64 }; "cvt.rzi.s64.f32";
        CvtLFz: u64 = (f32) |a| if a.is_nan() { 1 << 63 } else { a as u64 }; "cvt.rzi.u64.f32";
        CvtSFn: i32 = (f32) |a| a.round_ties_even() as i32; "cvt.rni.s32.f32 cvt.rni.ftz.s32.f32";
        CvtUFn: u32 = (f32) |a| a.round_ties_even() as u32; "cvt.rni.u32.f32";
        CvtSFm: i32 = (f32) |a| a.floor() as i32; "cvt.rmi.s32.f32";
        CvtSFp: i32 = (f32) |a| a.ceil() as i32; "cvt.rpi.s32.f32";
        CvtSDz: i32 = (f64) |a| if a.is_nan() { i32::MIN } else { a as i32 }; "cvt.rzi.s32.f64";
        CvtIDz: i64 = (f64) |a| if a.is_nan() { i64::MIN } else { a as i64 }; "cvt.rzi.s64.f64";
        TruncF: f32 = (f32) |a| nan(a.trunc()); "cvt.rzi.f32.f32";
        NearF: f32 = (f32) |a| nan(a.round_ties_even()); "cvt.rni.f32.f32";
        FloorF: f32 = (f32) |a| nan(a.floor()); "cvt.rmi.f32.f32";
        FloorFz: f32 = (f32) |a| nan(flush(a).floor()); "cvt.rmi.ftz.f32.f32";
        CeilF: f32 = (f32) |a| nan(a.ceil()); "cvt.rpi.f32.f32";
        SatF: f32 = (f32) |a| saturate(a); "cvt.sat.f32.f32";
        SatFz: f32 = (f32) |a| saturate(flush(a)); "cvt.sat.ftz.f32.f32 cvt.ftz.sat.f32.f32";
        CvtF16: u16 = (f32) |a| to_f16(a); "cvt.rn.f16.f32";
        CvtFromF16: f32 = (u16) |a| from_f16(a); "cvt.f32.f16";
        CvtBf16: u16 = (f32) |a| to_bf16(a); "cvt.rn.bf16.f32";
        CvtFromBf16: f32 = (u16) |a| f32::from_bits(u32::from(a) << 16); "cvt.f32.bf16";
        CvtF16x2: u32 = (f32, f32) |high, low| u32::from(to_f16(high)) << 16 | u32::from(to_f16(low)); "cvt.rn.f16x2.f32";
        CvtBf16x2: u32 = (f32, f32) |high, low| u32::from(to_bf16(high)) << 16 | u32::from(to_bf16(low)); "cvt.rn.bf16x2.f32";
        CvtTf32: u32 = (f32) |a| to_tf32(a); "cvt.rna.tf32.f32";
    } };
}
pub(crate) use instructions;

macro_rules! codes {
    ($($name:ident: $result:ty = ($($type:ty),*) |$($argument:ident),*| $body:expr; $spelling:literal;)*) => {
        /// What an operation does. All but the last ones are rows of the table in `ptx/alu.rs`.
        #[allow(missing_docs)] // the row says it
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code {
            $($name,)*
            /// Memory: `imm` is an index into `Program::accesses`.
            Access,
            /// `ld.param`: `imm` bytes into the arguments, `a` the width in bytes (1, 2, 4, 8).
            LoadParam,
            /// Votes: `imm` into `Program::votes`.
            Vote,
            /// Shuffles: `imm` into `Program::shuffles`.
            Shuffle,
            /// `cp.async.commit_group`.
            CommitGroup,
            /// `cp.async.wait_group imm`.
            WaitGroup,
            /// `mma.sync`, `ldmatrix`, `stmatrix`: `imm` into `Program::matrices`.
            Matrix,
            /// `mbarrier`, bulk copies, `wgmma`: `imm` into `Program::asynchronous`.
            Asynchronous,
            /// The operation `imm` of `Program::guarded`, in the lanes of `a` (`b`: where it is not set).
            Guarded,
            /// Notes that register `d`'s tracked bits are set in the active lanes.
            MarkInit,
            /// Faults unless the tracked bits `a` are set in all active lanes; `imm` names the register.
            CheckInit,
            /// `griddepcontrol.wait`.
            AwaitPredecessor,
            /// `trap`.
            Trap,
            /// Fences, prefetches.
            Nothing,
        }

        /// The rows' spellings and types.
        fn rows() -> Vec<(Code, &'static str, Signature)> {
            vec![$((
                Code::$name,
                $spelling,
                Signature { result: <$result as Lane>::CLASS, operands: &[$(<$type as Lane>::CLASS),*] },
            )),*]
        }
    };
}
instructions!(codes);

/// Classes of a row's registers.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The result's.
    pub result: Class,
    /// The operands', in order.
    pub operands: &'static [Class],
}

static SPELLINGS: LazyLock<HashMap<&'static str, Code>> = LazyLock::new(|| {
    let rows = rows();
    rows.iter().flat_map(|&(code, spellings, _)| spellings.split(' ').map(move |s| (s, code))).collect()
});

static SIGNATURES: LazyLock<Vec<Signature>> =
    LazyLock::new(|| rows().into_iter().map(|(.., signature)| signature).collect());

/// The row of a spelling.
pub fn find(spelling: &str) -> Option<Code> {
    SPELLINGS.get(spelling).copied().filter(|_| !spelling.is_empty())
}

/// All spellings of the table, for tests that want one of each.
pub fn spellings() -> impl Iterator<Item = &'static str> {
    SPELLINGS.keys().copied().filter(|spelling| !spelling.is_empty())
}

impl Code {
    /// The classes of its registers; none for what is not in the table.
    pub fn signature(self) -> Option<Signature> {
        SIGNATURES.get(self as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_stands_twice() {
        let rows = rows();
        let all: Vec<_> = rows.iter().flat_map(|(_, s, _)| s.split(' ')).filter(|s| !s.is_empty()).collect();
        let once: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(all.len(), once.len());
        assert_eq!(find("fma.rn.f32"), Some(Code::FmaF));
        assert_eq!(find(""), None);
    }
}
