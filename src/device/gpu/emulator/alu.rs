//! Runs a block's operations on a warp's registers.
//!
//! In: operations, registers, active lanes. Out: changed registers. The arms are the rows of
//! `ptx/alu.rs`; each is compiled three times: for AVX2 with fused multiply-add, in all lanes and in
//! some, and for any processor. Everything that is not arithmetic goes to a [`Special`].

use super::fault::Fault;
use super::lanes::{CHUNK, Lane, Mask, Registers};
use crate::ptx::arith::*;
use crate::ptx::{Code, Op, instructions};

/// What is not arithmetic on lanes.
pub trait Special {
    /// Runs operation `at` (its number in the program).
    ///
    /// # Errors
    /// What the operation did wrong.
    fn special(
        &mut self,
        at: u32,
        op: &Op,
        registers: &mut Registers,
        mask: &mut Mask,
    ) -> Result<(), Box<Fault>>;
}

macro_rules! map {
    ($all:ident, $raw:ident, $op:ident, $mask:ident, $result:ty, ($a:ty), |$x:ident| $body:expr) => {
        for k in 0..4 {
            let xs = <$a as Lane>::load($raw, $op.a, k);
            let mut out = [<$result>::default(); CHUNK];
            for i in 0..CHUNK {
                let $x: $a = xs[i];
                out[i] = $body;
            }
            <$result as Lane>::store::<$all>($raw, $op.d, k, out, $mask);
        }
    };
    ($all:ident, $raw:ident, $op:ident, $mask:ident, $result:ty, ($a:ty, $b:ty), |$x:ident, $y:ident| $body:expr) => {
        for k in 0..4 {
            let xs = <$a as Lane>::load($raw, $op.a, k);
            let ys = <$b as Lane>::load($raw, $op.b, k);
            let mut out = [<$result>::default(); CHUNK];
            for i in 0..CHUNK {
                let ($x, $y): ($a, $b) = (xs[i], ys[i]);
                out[i] = $body;
            }
            <$result as Lane>::store::<$all>($raw, $op.d, k, out, $mask);
        }
    };
    ($all:ident, $raw:ident, $op:ident, $mask:ident, $result:ty, ($a:ty, $b:ty, $c:ty), |$x:ident, $y:ident, $z:ident| $body:expr) => {
        for k in 0..4 {
            let xs = <$a as Lane>::load($raw, $op.a, k);
            let ys = <$b as Lane>::load($raw, $op.b, k);
            let zs = <$c as Lane>::load($raw, $op.c, k);
            let mut out = [<$result>::default(); CHUNK];
            for i in 0..CHUNK {
                let ($x, $y, $z): ($a, $b, $c) = (xs[i], ys[i], zs[i]);
                out[i] = $body;
            }
            <$result as Lane>::store::<$all>($raw, $op.d, k, out, $mask);
        }
    };
    ($all:ident, $raw:ident, $op:ident, $mask:ident, $result:ty, ($a:ty, $b:ty, $c:ty, $e:ty), |$x:ident, $y:ident, $z:ident, $w:ident| $body:expr) => {
        for k in 0..4 {
            let xs = <$a as Lane>::load($raw, $op.a, k);
            let ys = <$b as Lane>::load($raw, $op.b, k);
            let zs = <$c as Lane>::load($raw, $op.c, k);
            let ws = <$e as Lane>::load($raw, $op.e, k);
            let mut out = [<$result>::default(); CHUNK];
            for i in 0..CHUNK {
                let ($x, $y, $z, $w): ($a, $b, $c, $e) = (xs[i], ys[i], zs[i], ws[i]);
                out[i] = $body;
            }
            <$result as Lane>::store::<$all>($raw, $op.d, k, out, $mask);
        }
    };
}

macro_rules! arms {
    ($($name:ident: $result:ty = ($($type:ty),*) |$($argument:ident),*| $body:expr; $spelling:literal;)*) => {
        /// One operation in the lanes of `mask`, or in all.
        ///
        /// # Safety
        /// The slots of `ops` must be slots of `registers`.
        // The table says which comparisons are ordered; clippy's shorter forms give other answers for NaN.
        #[allow(clippy::neg_cmp_op_on_partial_ord, clippy::double_comparisons)]
        #[inline(always)]
        unsafe fn body<const ALL: bool, S: Special>(
            first: u32,
            ops: &[Op],
            registers: &mut Registers,
            mask: &mut Mask,
            machine: &mut S,
        ) -> Result<(), Box<Fault>> {
            let mut raw = registers.raw();
            for (at, op) in ops.iter().enumerate() {
                // SAFETY: the caller's promise; a chunk's number is below 4.
                unsafe {
                    match op.code {
                        $(Code::$name => {
                            map!(ALL, raw, op, mask, $result, ($($type),*), |$($argument),*| $body);
                        })*
                        _ => {
                            machine.special(first + at as u32, op, registers, mask)?;
                            // Whoever borrowed the registers took the ground from the old pointers.
                            raw = registers.raw();
                        }
                    }
                }
            }
            Ok(())
        }
    };
}
instructions!(arms);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn wide<const ALL: bool, S: Special>(
    first: u32,
    ops: &[Op],
    registers: &mut Registers,
    mask: &mut Mask,
    machine: &mut S,
) -> Result<(), Box<Fault>> {
    // SAFETY: the caller's promise.
    unsafe { body::<ALL, S>(first, ops, registers, mask, machine) }
}

/// Whether this processor has what the wide versions need.
pub fn wide_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Runs `ops`, the first of which has number `first`. With `all`, arithmetic is done in all lanes,
/// active or not: right where inactive lanes have ended.
///
/// # Errors
/// What an operation did wrong.
///
/// # Safety
/// `registers` were made for the program that `ops` are of: they have all of its slots.
pub unsafe fn run<S: Special>(
    first: u32,
    ops: &[Op],
    registers: &mut Registers,
    (mask, all): (&mut Mask, bool),
    machine: &mut S,
) -> Result<(), Box<Fault>> {
    // SAFETY: the caller's promise; the wide version runs where the processor has the instructions.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if wide_here() {
            return if all {
                wide::<true, S>(first, ops, registers, mask, machine)
            } else {
                wide::<false, S>(first, ops, registers, mask, machine)
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = all;
        // Right for all lanes too, and slow anyway: a third copy of the table is compile time enough.
        body::<false, S>(first, ops, registers, mask, machine)
    }
}
