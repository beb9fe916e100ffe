//! Rules of single PTX instructions that no kernel of ours and no wrong one leans on: what the emulator must notice,
//! and what it must let pass. Texts are written here by hand, a body each.
//!
//! `%r1` is the thread, `%rd1` the buffer, `%rd3` the thread's word in it, `%p1` whether the warp is the first,
//! `%p2` the second, `%p3` the third, `%p4` whether the thread is not the first.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::machine;

use machine::{Machine, pointer};
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::{Address, Driver};
use vgg_ft::device::gpu::emulator::{Options, Schedule};
use vgg_ft::device::gpu::launch::Arg;
use vgg_ft::device::gpu::tensor_map::{Swizzle, TensorMap};

/// What a case comes to.
enum Comes {
    /// To its end, with these words in the buffer from this place on.
    To(usize, &'static [u32]),
    /// To a report with these words in it.
    Wrong(&'static str),
}
use Comes::{To, Wrong};

struct Case {
    name: &'static str,
    body: &'static str,
    threads: u32,
    comes: Comes,
}

const HEAD: &str = "
.version 8.0
.target sm_90a
.address_size 64
";

const START: &str = "
.reg .pred %p<16>; .reg .b32 %r<64>; .reg .b64 %rd<32>; .reg .b16 %h<8>;
ld.param.u64 %rd1, [out]; cvta.to.global.u64 %rd1, %rd1;
mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2;
shr.u32 %r3, %r1, 5; setp.eq.u32 %p1, %r3, 0; setp.eq.u32 %p2, %r3, 1; setp.eq.u32 %p3, %r3, 2;
setp.ne.u32 %p4, %r1, 0;
";

fn text(body: &str) -> String {
    format!(
        "{HEAD}.visible .entry small(.param .u64 out, .param .align 64 .b8 q[128])\n{{\n\
         .shared .align 128 .b32 x[64]; .shared .align 8 .b64 m;{START}{body}\nret;\n}}\n"
    )
}

/// Each thread copies its word of the buffer to `x`, commits and waits as `wait` says, and puts what it finds behind.
macro_rules! copied {
    ($commit:literal, $wait:literal) => {
        concat!(
            "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; setp.eq.u32 %p5, %r1, 0;\n",
            "cp.async.ca.shared.global [%r2], [%rd3], 4;\n",
            $commit,
            $wait,
            "bar.sync 0; ld.shared.u32 %r5, [%r2]; st.global.u32 [%rd3], %r5;"
        )
    };
}

/// All write, meet and read; then the first warp writes again. The third warp ends before.
const AGAIN: &str = "@%p3 bra DONE; @%p2 bra B; st.shared.u32 [x], 7;
B: bar.sync 0; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5; @%p1 bra DONE; st.shared.u32 [x], 8;
DONE:";

/// The first thread asks an `mbarrier` so often before it arrives there itself.
macro_rules! polled {
    ($times:literal) => {
        concat!(
            "@%p4 bra E; mbarrier.init.shared.b64 [m], 1; mov.u32 %r7, 0;\n",
            "L: mbarrier.test_wait.parity.shared.b64 %p5, [m], 0; @%p5 bra D; add.u32 %r7, %r7, 1; ",
            "setp.eq.u32 %p6, %r7, ",
            $times,
            "; @%p6 mbarrier.arrive.shared.b64 _, [m]; bra L;\nD: st.global.u32 [%rd3], %r7;\nE:"
        )
    };
}

/// The first thread makes an `mbarrier`, the second warp copies 128 bytes by it; the fences of both.
macro_rules! bulk {
    ($maker:literal, $issuer:literal) => {
        concat!(
            "bar.sync 0; @%p4 bra A; mbarrier.init.shared.b64 [m], 1; ",
            $maker,
            "\nA: bar.sync 0; setp.ne.u32 %p5, %r1, 32; @%p5 bra B; ",
            $issuer,
            "mbarrier.arrive.expect_tx.shared.b64 _, [m], 128;\n",
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [x], [%rd1], 128, [m];\n",
            "B: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra B; ",
            "ld.shared.u32 %r5, [x+12]; st.global.u32 [%rd1+256], %r5;"
        )
    };
}

/// The first warp reads what the second writes when its first lane has arrived.
macro_rules! released {
    ($read:literal, $between:literal) => {
        concat!(
            "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; @%p4 bra A; mbarrier.init.shared.b64 [m], 1;\n",
            "A: st.shared.u32 [%r2], %r1; bar.sync 0; @%p2 bra W; ld.shared.u32 %r5, ",
            $read,
            ";\n",
            $between,
            "\n@%p4 bra E; mbarrier.arrive.shared.b64 _, [m]; bra E;\n",
            "W: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra W; st.shared.u32 [%r2+-128], 5; E:"
        )
    };
}

/// Two `wgmma`s whose left factors are registers, one behind the other: what the second adds to, and what it takes. `x` is
/// the right factor, of ones.
macro_rules! chained {
    ($between:literal, $sums:literal, $factors:literal) => {
        chained!($between, $sums, $factors, "")
    };
    ($between:literal, $sums:literal, $factors:literal, $behind:literal) => {
        concat!(
            ".reg .f32 %f<16>; shl.b32 %r4, %r1, 2; mov.u32 %r2, x; add.u32 %r4, %r2, %r4; mov.u32 %r5, 1065369472;\n",
            "setp.gt.u32 %p5, %r1, 63; @%p5 bra F; st.shared.u32 [%r4], %r5; F: fence.proxy.async; bar.sync 0;\n",
            "shr.u32 %r2, %r2, 4; cvt.u64.u32 %rd5, %r2; or.b64 %rd5, %rd5, 34360262656;\n",
            "mov.f32 %f1, 0f00000000; mov.f32 %f2, %f1; mov.f32 %f3, %f1; mov.f32 %f4, %f1;\n",
            "mov.f32 %f5, %f1; mov.f32 %f6, %f1; mov.f32 %f7, %f1; mov.f32 %f8, %f1;\n",
            "mov.b32 %f9, %r5; mov.f32 %f10, %f9; mov.f32 %f11, %f9; mov.f32 %f12, %f9; wgmma.fence.sync.aligned;\n",
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1,%f2,%f3,%f4}, {%f9,%f10,%f11,%f12}, %rd5, 1, 1, 1, 0;\n",
            $between,
            "\nwgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 ",
            $sums,
            ", ",
            $factors,
            ", %rd5, 1, 1, 1, 0;\n",
            $behind,
            "\nwgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; st.global.f32 [%rd3], %f1;"
        )
    };
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "a volatile store is a first write", threads: 32,
        body: "@%p4 bra E; st.volatile.shared.u32 [x], 7; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5; E:",
        comes: To(0, &[7]) },
    Case { name: "a relaxed store is a first write", threads: 32,
        body: "@%p4 bra E; st.relaxed.cta.shared.u32 [x], 7; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5; E:",
        comes: To(0, &[7]) },
    Case { name: "an atomic reads what nobody wrote", threads: 32,
        body: "red.shared.add.u32 [x], 7;", comes: Wrong("where nobody wrote") },
    Case { name: "who arrives learns nothing", threads: 64,
        body: "@%p1 bra W; bar.arrive 1, 64; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5; ret;
W: st.shared.u32 [x], 7; bar.sync 1, 64;", comes: Wrong("`x`") },
    Case { name: "what follows an arrival is not before it", threads: 64,
        body: "@%p1 bra W; bar.sync 1, 64; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5; ret;
W: bar.arrive 1, 64; st.shared.u32 [x], 7;", comes: Wrong("`x`") },
    Case { name: "what precedes an arrival is known behind it", threads: 64,
        body: "@%p1 bra W; bar.sync 1, 64; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5; ret;
W: setp.ne.u32 %p5, %r1, 0; @!%p5 st.shared.u32 [x], 7; bar.arrive 1, 64;", comes: To(32, &[7, 7]) },
    Case { name: "who arrived is ahead, and no one's readers are judged by that", threads: 96,
        body: "@%p4 bra A; st.shared.u32 [x], 7;
A: bar.sync 0; @%p1 bra B; bar.arrive 1, 96;
B: bar.sync 0; @%p1 bra C; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5;
C: bar.sync 0; @%p4 bra D; st.shared.u32 [x], 8;
D: @!%p1 bra E; bar.sync 1, 96;
E:", comes: To(32, &[7]) },
    Case { name: "a write after several readers", threads: 64, body: AGAIN, comes: Wrong("race on `x`") },
    Case { name: "a write after several readers, one warp has ended", threads: 96, body: AGAIN,
        comes: Wrong("race on `x`") },
    Case { name: "a store to a parameter", threads: 32,
        body: "mov.b64 %rd5, q; cvta.param.u64 %rd6, %rd5; st.u32 [%rd6], 99;",
        comes: Wrong("write to the parameters") },
    Case { name: "an atomic on a parameter", threads: 32,
        body: "mov.b64 %rd5, q; cvta.param.u64 %rd6, %rd5; mov.u32 %r5, 9; red.add.u32 [%rd6], %r5;",
        comes: Wrong("write to the parameters") },
    Case { name: "a warp alone waits for wgmma", threads: 32, body: "wgmma.wait_group.sync.aligned 0;",
        comes: Wrong("less than four warps") },
    Case { name: "copies without a wait", threads: 32, body: copied!("cp.async.commit_group;\n", ""),
        comes: Wrong("cp.async") },
    Case { name: "copies and a wait", threads: 32,
        body: copied!("cp.async.commit_group;\n", "cp.async.wait_group 0;\n"), comes: To(0, &[1, 2, 3]) },
    Case { name: "one lane waits for its copies", threads: 32,
        body: copied!("cp.async.commit_group;\n", "@%p5 cp.async.wait_all;\n"), comes: Wrong("cp.async") },
    Case { name: "one lane waits for its copies in a branch", threads: 32,
        body: copied!("cp.async.commit_group;\n", "@%p4 bra J; cp.async.wait_all;\nJ:\n"),
        comes: Wrong("cp.async") },
    Case { name: "one lane commits its copies", threads: 32,
        body: copied!("@%p5 cp.async.commit_group;\n", "cp.async.wait_group 0;\n"), comes: Wrong("cp.async") },
    Case { name: "a store to where a copy is on its way", threads: 64,
        body: "mov.u32 %r2, x; @%p4 bra A; cp.async.ca.shared.global [%r2], [%rd3], 4; cp.async.commit_group;
A: bar.sync 0; setp.ne.u32 %p5, %r1, 32; @%p5 bra B; st.shared.u32 [x], 99;
B: bar.sync 0; cp.async.wait_all; bar.sync 0; ld.shared.u32 %r5, [x]; st.global.u32 [%rd3], %r5;",
        comes: Wrong("race on `x`") },
    Case { name: "a constant is no result of a barrier", threads: 32,
        body: "bar.red.popc.u32 5, 0, %p4;", comes: Wrong("a register to write") },
    Case { name: "barrier 16", threads: 32, body: "bar.sync 16;", comes: Wrong("a block has 16, from 0 on") },
    Case { name: "barrier 15", threads: 32, body: "bar.sync 15;", comes: To(0, &[1]) },
    Case { name: "a barrier of 33 threads", threads: 64, body: "bar.sync 1, 33;",
        comes: Wrong("multiple of 32") },
    Case { name: "a barrier of no threads", threads: 64, body: "bar.sync 1, 0;", comes: Wrong("multiple of 32") },
    Case { name: "lanes at different barriers", threads: 32, body: "and.b32 %r4, %r1, 1; bar.sync %r4;",
        comes: Wrong("name different barriers") },
    Case { name: "fifty polls", threads: 32, body: polled!("50"), comes: To(0, &[50]) },
    Case { name: "the maker's fence shows an mbarrier", threads: 64,
        body: bulk!("fence.mbarrier_init.release.cluster;", ""), comes: To(64, &[4]) },
    Case { name: "the fence of who copies shows an mbarrier", threads: 64, body: bulk!("", "fence.proxy.async; "),
        comes: To(64, &[4]) },
    Case { name: "no fence shows an mbarrier", threads: 64, body: bulk!("", ""),
        comes: Wrong("whose init no fence has shown it") },
    Case { name: "a meeting of lanes that names others", threads: 32, body: "bar.warp.sync 1;",
        comes: Wrong("does not name it (0x00000001)") },
    Case { name: "halves of a warp meet", threads: 32,
        body: "setp.lt.u32 %p5, %r1, 16; @%p5 bra A; bar.warp.sync 0xffff0000; bra E; A: bar.warp.sync 0x0000ffff; E:",
        comes: To(0, &[1]) },
    Case { name: "a shuffle of lanes with other masks", threads: 32,
        body: "mov.u32 %r5, 0xffffffff; setp.eq.u32 %p5, %r1, 31; @%p5 mov.u32 %r5, 0xfffffffe; \
               shfl.sync.bfly.b32 %r6|%p6, %r1, 1, 31, %r5;",
        comes: Wrong("which names other lanes") },
    Case { name: "a volatile read beside a volatile write", threads: 64,
        body: "@%p4 bra A; st.shared.u32 [x], 6; A: bar.sync 0; @%p4 bra B; st.volatile.shared.u32 [x], 7; \
               B: setp.ne.u32 %p5, %r1, 32; @%p5 bra E; ld.volatile.shared.u32 %r5, [x]; E:",
        comes: To(0, &[1]) },
    Case { name: "an mbarrier is no data", threads: 32,
        body: "@%p4 bra E; mbarrier.init.shared.b64 [m], 1; ld.shared.u32 %r5, [m]; E:",
        comes: Wrong("read of the mbarrier `m`") },
    Case { name: "an mbarrier that was is memory", threads: 32,
        body: "@%p4 bra E; mbarrier.init.shared.b64 [m], 1; mbarrier.inval.shared.b64 [m]; st.shared.u32 [m], 5; \
               ld.shared.u32 %r5, [m]; st.global.u32 [%rd3], %r5; mbarrier.init.shared.b64 [m], 1; E:",
        comes: To(0, &[5]) },
    Case { name: "an mbarrier that was holds nothing", threads: 32,
        body: "@%p4 bra E; mbarrier.init.shared.b64 [m], 1; mbarrier.inval.shared.b64 [m]; ld.shared.u32 %r5, [m]; E:",
        comes: Wrong("read of `m` in shared memory, where nobody wrote") },
    Case { name: "past the end of a shared variable", threads: 32, body: "st.shared.u32 [x+256], 5;",
        comes: Wrong("write past the end of `x`") },
    Case { name: "inc does not take registers away", threads: 384,
        body: "setmaxnreg.dec.sync.aligned.u32 40; setmaxnreg.inc.sync.aligned.u32 32;",
        comes: Wrong("setmaxnreg.inc asks for fewer registers than the warp has") },
    Case { name: "a launch may give fewer registers than the most", threads: 256,
        body: "@%p1 bra A; setmaxnreg.inc.sync.aligned.u32 240; A:", comes: Wrong("different setmaxnreg") },
    Case { name: "a first inc asks for what it will", threads: 256, body: "setmaxnreg.inc.sync.aligned.u32 240;",
        comes: To(0, &[1]) },
    Case { name: "dec gives no registers", threads: 384, body: "setmaxnreg.dec.sync.aligned.u32 232;",
        comes: Wrong("setmaxnreg.dec asks for more registers than the warp has") },
    Case { name: "registers are waited for", threads: 384,
        body: "setp.lt.u32 %p5, %r1, 128; @%p5 bra A; setmaxnreg.inc.sync.aligned.u32 232; bra E; \
               A: setmaxnreg.dec.sync.aligned.u32 40; E: bar.sync 0;",
        comes: To(0, &[1]) },
    Case { name: "registers that are given back too late", threads: 384,
        body: "setp.lt.u32 %p5, %r1, 128; @%p5 bra A; setmaxnreg.inc.sync.aligned.u32 232; bar.sync 0; bra E; \
               A: bar.sync 0; setmaxnreg.dec.sync.aligned.u32 40; E:",
        comes: Wrong("setmaxnreg.inc waits until others have given back so many") },
    Case { name: "a wgmma adds to the sums of the one before", threads: 128,
        body: chained!("", "{%f1,%f2,%f3,%f4}", "{%f9,%f10,%f11,%f12}"), comes: To(0, &[0x4200_0000]) },
    Case { name: "a wgmma takes the sums of one on its way for factors", threads: 128,
        body: chained!("", "{%f5,%f6,%f7,%f8}", "{%f1,%f2,%f3,%f4}"),
        comes: Wrong("a wgmma takes registers of another one") },
    Case { name: "a wgmma adds to the factors of one on its way", threads: 128,
        body: chained!("", "{%f9,%f10,%f11,%f12}", "{%f5,%f6,%f7,%f8}"),
        comes: Wrong("a wgmma takes registers of another one") },
    Case { name: "a wgmma takes the sums of one that was waited for", threads: 128,
        body: chained!("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;", "{%f5,%f6,%f7,%f8}",
            "{%f1,%f2,%f3,%f4}"), comes: To(0, &[0x4180_0000]) },
    Case { name: "one lane arrives for a warp that has read", threads: 64, body: released!("[%r2]", ""),
        comes: Wrong("race on `x`") },
    Case { name: "one lane arrives for a warp that has read one word", threads: 64, body: released!("[x]", ""),
        comes: Wrong("race on `x`") },
    Case { name: "one lane arrives for a warp that has read and met", threads: 64,
        body: released!("[%r2]", "bar.warp.sync 0xffffffff;"), comes: To(0, &[1]) },
    Case { name: "a lane's own work is in order, whatever others did", threads: 64,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; @%p4 bra A; mbarrier.init.shared.b64 [m], 1; \
               A: st.shared.u32 [%r2], %r1; bar.sync 0; @%p2 bra W; ld.shared.u32 %r5, [%r2]; @%p4 bra E; \
               st.shared.u32 [x+128], 77; mbarrier.arrive.shared.b64 _, [m]; bra E; \
               W: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra W; ld.shared.u32 %r5, [x+128]; \
               st.global.u32 [%rd3], %r5; E:",
        comes: To(32, &[77, 77]) },
    Case { name: "a lane fences its own, whatever others wrote", threads: 32,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; st.shared.u32 [%r2+128], %r1; @%p4 bra E; \
               st.shared.v4.u32 [x], {%r1, %r1, %r1, %r1}; fence.proxy.async; \
               cp.async.bulk.global.shared::cta.bulk_group [%rd1], [x], 16; cp.async.bulk.commit_group; \
               cp.async.bulk.wait_group.read 0; E:",
        comes: To(0, &[0, 0, 0, 0, 5]) },
    Case { name: "halves that met arrive by one lane each", threads: 64,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; @%p4 bra A; mbarrier.init.shared.b64 [m], 2; \
               A: bar.sync 0; @%p2 bra W; st.shared.u32 [%r2], %r1; setp.lt.u32 %p5, %r1, 16; @%p5 bra L; \
               bar.warp.sync 0xffff0000; setp.ne.u32 %p6, %r1, 16; bra J; L: bar.warp.sync 0x0000ffff; \
               setp.ne.u32 %p6, %r1, 0; J: @%p6 bra E; mbarrier.arrive.shared.b64 _, [m]; bra E; \
               W: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra W; ld.shared.u32 %r5, [%r2+-128]; \
               st.global.u32 [%rd3], %r5; E:",
        comes: To(32, &[0, 1, 2]) },
    Case { name: "what a whole warp has released stays so, whatever one lane says later", threads: 64,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; @%p4 bra A; mbarrier.init.shared.b64 [m], 32; \
               mbarrier.init.shared.b64 [x+128], 1; st.shared.u32 [x+160], 9; A: @!%p1 bra B; st.shared.u32 [%r2], %r1; \
               B: bar.sync 0; @%p2 bra W; ld.shared.u32 %r5, [%r2]; mbarrier.arrive.shared.b64 _, [m]; \
               ld.shared.u32 %r5, [x+160]; @%p4 bra E; mbarrier.arrive.shared.b64 _, [x+128]; bra E; \
               W: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra W; \
               V: mbarrier.try_wait.parity.shared.b64 %p6, [x+128], 0; @!%p6 bra V; st.shared.u32 [%r2+-128], 5; \
               st.global.u32 [%rd3], %r1; E:",
        comes: To(32, &[32, 33]) },
    Case { name: "who came to a barrier and went on has told it all", threads: 64,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; @%p4 bra A; mbarrier.init.shared.b64 [m], 1; \
               A: st.shared.u32 [%r2], %r1; bar.sync 0; @%p2 bra W; ld.shared.u32 %r5, [%r2]; bar.arrive 1, 64; \
               @%p4 bra E; mbarrier.arrive.shared.b64 _, [m]; bra E; \
               W: bar.sync 1, 64; V: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra V; \
               st.shared.u32 [%r2+-128], 5; st.global.u32 [%rd3], %r1; E:",
        comes: To(32, &[32, 33]) },
    Case { name: "a fence of all stays one when one lane fences again", threads: 32,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; st.shared.u32 [%r2], %r1; fence.proxy.async; \
               bar.warp.sync 0xffffffff; st.shared.u32 [%r2+128], %r1; @%p4 bra E; fence.proxy.async; \
               cp.async.bulk.global.shared::cta.bulk_group [%rd1], [x], 16; cp.async.bulk.commit_group; \
               cp.async.bulk.wait_group.read 0; E:",
        comes: To(0, &[0, 1, 2, 3, 5]) },
    Case { name: "one lane fences for a relaxed arrival of its warp", threads: 64,
        body: "mov.u32 %r2, x; shl.b32 %r4, %r1, 2; add.u32 %r2, %r2, %r4; @%p4 bra A; mbarrier.init.shared.b64 [m], 1; \
               A: st.shared.u32 [%r2], %r1; bar.sync 0; @%p2 bra W; ld.shared.u32 %r5, [%r2]; @%p4 bra E; \
               fence.acq_rel.cta; mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [m]; bra E; \
               W: mbarrier.try_wait.parity.shared.b64 %p6, [m], 0; @!%p6 bra W; st.shared.u32 [%r2+-128], 5; E:",
        comes: Wrong("race on `x`") },
    Case { name: "a write that does not run hands nothing over", threads: 128,
        body: chained!("setp.eq.u32 %p9, %r1, 4096; @%p9 mov.f32 %f2, 0f3f800000;", "{%f5,%f6,%f7,%f8}",
            "{%f9,%f10,%f11,%f12}"), comes: To(0, &[0x4180_0000]) },
    Case { name: "a guarded write behind the fence", threads: 128,
        body: chained!("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; setp.lt.u32 %p9, %r1, 4096; \
            @%p9 mov.f32 %f6, 0f3f800000;", "{%f5,%f6,%f7,%f8}", "{%f9,%f10,%f11,%f12}"),
        comes: Wrong("written behind the last wgmma.fence") },
    Case { name: "a first inc that gives is no help to others", threads: 384,
        body: "setp.lt.u32 %p5, %r1, 128; @%p5 bra A; setmaxnreg.inc.sync.aligned.u32 240; bra E; \
               A: setmaxnreg.inc.sync.aligned.u32 24; E:",
        comes: Wrong("setmaxnreg.inc waits") },
    Case { name: "a whole warp polls a volatile flag", threads: 64,
        body: "@%p4 bra A; st.shared.u32 [x], 6; A: bar.sync 0; @%p2 bra P; @%p4 bra E; st.volatile.shared.u32 [x], 7; bra E; \
               P: ld.volatile.shared.u32 %r5, [x]; E:",
        comes: To(0, &[1]) },
    Case { name: "accumulators that overlap and are others", threads: 128,
        body: chained!("", "{%f2,%f3,%f4,%f5}", "{%f9,%f10,%f11,%f12}"),
        comes: Wrong("a wgmma takes registers of another one") },
    Case { name: "a fence in the first turn is enough for sums that nobody touches", threads: 128,
        body: chained!("mov.u32 %r7, 0; L: setp.ne.u32 %p7, %r7, 0; @%p7 bra N; wgmma.fence.sync.aligned; N: add.u32 %r7, %r7, 1;\n\
            setp.lt.u32 %p8, %r7, 3;", "{%f1,%f2,%f3,%f4}", "{%f9,%f10,%f11,%f12}", "@%p8 bra L;"),
        comes: To(0, &[0x4280_0000]) },
    Case { name: "lo is a comparison of unsigned numbers", threads: 32, body: "setp.lo.s32 %p5, %r1, 0;",
        comes: Wrong("setp.lo.s32") },
];

/// Words of the buffer: 1, 2, 3 …
const WORDS: usize = 256;

fn run(body: &str, threads: u32, schedule: Schedule) -> Result<Vec<u32>, String> {
    let options = Options { schedule, threads: Some(1), ..Options::default() };
    let machine = Machine::new(options, "small", &text(body)).map_err(|error| error.to_string())?;
    let words = |count: u32| (1..=count).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let at = machine.upload(&words(WORDS as u32));
    let q = Arg::Value { name: "q", bytes: words(32) };
    machine
        .launch("small", 1, [threads, 1, 1], 0, vec![pointer("out", at, WORDS), q])
        .map_err(|error| error.to_string())?;
    let bytes = machine.download(at, 4 * WORDS);
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

#[test]
fn rules_are_kept_in_every_order() {
    let mut failures = Vec::new();
    for case in CASES {
        for schedule in [Schedule::Lowest, Schedule::Reverse, Schedule::Random(3)] {
            let got = run(case.body, case.threads, schedule);
            let sound = match (&case.comes, &got) {
                (To(at, want), Ok(words)) => words[*at..].starts_with(want),
                (Wrong(part), Err(report)) => report.contains(part),
                _ => false,
            };
            if !sound {
                let got = got.map(|words| format!("{:?} …", &words[..8]));
                failures.push(format!(
                    "{}, {schedule:?}: {}",
                    case.name,
                    got.unwrap_or_else(|report| report)
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a block finds in local memory is not what another left there.
#[test]
fn blocks_leave_nothing_to_each_other() {
    let body =
        ".local .align 4 .b32 l[4]; mov.u32 %r5, %ctaid.x; ld.local.u32 %r6, [l]; st.local.u32 [l], %r5;
mul.wide.u32 %rd5, %r5, 4; add.s64 %rd6, %rd1, %rd5; st.global.u32 [%rd6], %r6;";
    let options = Options { threads: Some(1), ..Options::default() };
    let machine = Machine::new(options, "small", &text(body)).unwrap();
    let at = machine.upload(&[0; 4 * 8]);
    let q = Arg::Value { name: "q", bytes: vec![0; 128] };
    machine.launch("small", 8, [1, 1, 1], 0, vec![pointer("out", at, 8), q]).unwrap();
    assert_eq!(machine.download(at, 32), [0xff; 32]);
}

/// A box whose bytes do not fill the lines of its swizzle: chunks move within the whole of the last line.
#[test]
fn a_box_smaller_than_its_swizzle_is_looked_for_where_it_lies() {
    // Three lines of 16 bytes at x + 128, whose line of 128 bytes is the second: chunk k goes to place k ^ 1.
    let body = |read: u32| {
        format!(
            "mov.b64 %rd5, q; cvta.param.u64 %rd6, %rd5; mov.u32 %r2, 0; @%p4 bra E;
mbarrier.init.shared.b64 [m], 1; fence.mbarrier_init.release.cluster;
mbarrier.arrive.expect_tx.shared.b64 _, [m], 48;
cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [x+128], [%rd6, {{%r2, %r2}}], [m];
W: mbarrier.try_wait.parity.shared.b64 %p5, [m], 0; @!%p5 bra W;
ld.shared.u32 %r5, [x+{read}]; st.global.u32 [%rd1+256], %r5;
E:"
        )
    };
    let run = |read: u32| -> Result<u32, String> {
        let options = Options { threads: Some(1), ..Options::default() };
        let machine = Machine::new(options, "small", &text(&body(read))).unwrap();
        let words: Vec<u8> = (1..=WORDS as u32).flat_map(u32::to_le_bytes).collect();
        let at = machine.upload(&words);
        let map = map(at);
        let q = Arg::Value { name: "q", bytes: machine.emulator.tensor_map(&map).unwrap().to_vec() };
        machine
            .launch("small", 1, [32, 1, 1], 0, vec![pointer("out", at, WORDS), q])
            .map_err(|error| error.to_string())?;
        let bytes = machine.download(at, 4 * WORDS);
        Ok(u32::from_le_bytes(bytes[256..260].try_into().unwrap()))
    };
    let lines: Vec<Result<u32, String>> = (0..8).map(|chunk| run(128 + 16 * chunk)).collect();
    assert_eq!(lines.iter().filter(|line| line.is_ok()).count(), 3, "{lines:?}");
    let mut found: Vec<u32> = lines.iter().flatten().copied().collect();
    found.sort_unstable();
    assert_eq!(found, [1, 5, 9], "{lines:?}");
}

fn map(base: Address) -> TensorMap {
    TensorMap::tile(Dtype::F32, base, &[4, 16], &[16], &[4, 3], Swizzle::B128).unwrap()
}
