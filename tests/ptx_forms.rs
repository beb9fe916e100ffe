//! Every form of every instruction that the emulator knows, against results that it did not make.
//!
//! `tests/ptx/forms/*.ptx` hold entries with two parameters, `in` and `out`. Comments `//>` before an
//! entry say what comes in and what must come out:
//!
//! ```text
//! //> launch block=64 grid=2 shared=128 late=0   what the launch asks for
//! //> in NAME: 00000001 0002 4*ff 00..1f         bytes of `in`: little end first
//! //> out LABEL: 00000001 ~7fff ----             bytes of `out`: exact, any NaN of that width, anything
//! //> arg NAME: 00000001 02                      a parameter after `in` and `out`, as its bytes
//! //> tensor hopper                              for the results that follow: how tensor cores round
//! //> untouched 64                               so many bytes at the end of `out` that nobody writes
//! ```
//!
//! Entries with a third parameter `lanes` run in all lanes and in some; the others must stay untouched.
//! Files named `table_` and `tensor` are written by scripts beside them, from exact fractions; the rest is
//! by hand from the PTX ISA 9.0. `tests/ptx_card.rs` compares all of it with GPUs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::form;
use crate::machine;

use form::{Form, Row, UNTOUCHED, Want, all, forms, shown};
use machine::{Machine, kernels, pointer};
use std::collections::BTreeSet;
use vgg_ft::device::gpu::emulator::{Options, Schedule, Tensor};
use vgg_ft::device::gpu::launch::Arg;
use vgg_ft::ptx::{parse, spellings};

/// Runs a form on machines with these options; says where `out` is not as it must be.
fn check(file: &str, text: &str, form: &Form, options: Options, failures: &mut Vec<String>) {
    for tensor in [Tensor::Fast, Tensor::Ampere, Tensor::Hopper] {
        let rows: Vec<&Row> = form.rows.iter().filter(|row| row.tensor == tensor).collect();
        let len: usize = rows.iter().flat_map(|row| &row.wants).map(Want::len).sum();
        if rows.is_empty() {
            continue;
        }
        let late_copies = form.number("late", 1) == 1;
        let machine = Machine::new(Options { tensor, late_copies, ..options }, file, text).unwrap();
        for lanes in if form.masked { vec![u32::MAX, 0x5a3c_00ff] } else { vec![u32::MAX] } {
            let (from, to) = (machine.upload(&form.input), machine.upload(&vec![UNTOUCHED; len]));
            let mut args = vec![pointer("in", from, form.input.len() / 4), pointer("out", to, len / 4)];
            if form.masked {
                args.push(Arg::value("lanes", &lanes));
            }
            args.extend(form.args.iter().map(|bytes| Arg::Value { name: "arg", bytes: bytes.clone() }));
            let (grid, shared) = (form.number("grid", 1), form.number("shared", 0));
            if let Err(error) = machine.launch(&form.entry, grid, form.block(), shared, args) {
                failures.push(format!("{file}: {}: {error}", form.entry));
                continue;
            }
            let got = machine.download(to, len);
            let mut at = 0;
            for row in rows.iter() {
                for (lane, want) in row.wants.iter().enumerate() {
                    let here = &got[at..at + want.len()];
                    at += want.len();
                    let untouched = Want::Bytes(vec![UNTOUCHED; want.len()]);
                    let want = if lanes >> (lane % 32) & 1 == 1 { want } else { &untouched };
                    if !want.meets(here) {
                        let here: String = here.iter().rev().map(|byte| format!("{byte:02x}")).collect();
                        let (entry, label, want) = (&form.entry, &row.label, shown(want));
                        failures
                            .push(format!("{file}: {entry}: {label} [{lane}]: expected {want}, got {here}"));
                    }
                }
            }
        }
    }
}

#[test]
fn every_form_gives_what_the_isa_says() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (file, text) in all() {
        for form in forms(&file, &text) {
            count += form.rows.len();
            for (checked, schedule) in [
                (true, Schedule::Lowest),
                (false, Schedule::Lowest),
                (true, Schedule::Reverse),
                (true, Schedule::Random(1)),
            ] {
                let options =
                    Options { checked, schedule, threads: Some(1), budget: 1_000_000, ..Options::default() };
                check(&file, &text, &form, options, &mut failures);
                if !failures.is_empty() {
                    break;
                }
            }
        }
    }
    assert!(count > 400, "only {count} rows were found");
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures[..failures.len().min(80)].join("\n")
    );
}

fn opcodes(files: &[(String, String)]) -> BTreeSet<String> {
    let modules = files.iter().map(|(file, text)| parse(file, text).unwrap());
    let entries = modules.flat_map(|module| module.entries);
    entries.flat_map(|entry| entry.body.into_iter().map(|instruction| instruction.opcode)).collect()
}

#[test]
fn every_spelling_of_the_table_has_a_form() {
    let tried = opcodes(&all());
    let missing: Vec<_> = spellings().filter(|&spelling| !tried.contains(spelling)).collect();
    assert!(missing.is_empty(), "no form in tests/ptx/forms tries {missing:?}");
}

/// What src/ptx/decode/ knows beside the table: all words of one list with all of the next.
const DECODER: [&[&[&str]]; 17] = [
    &[
        &["setp."],
        &["eq.", "ne.", "lt.", "le.", "gt.", "ge."],
        &["s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64"],
    ],
    &[&["setp."], &["equ.", "neu.", "ltu.", "leu.", "gtu.", "geu.", "num.", "nan."], &["f32", "f64"]],
    &[&["setp."], &["lo.", "ls.", "hi.", "hs."], &["u16", "u32", "u64"]],
    &[&["setp."], &["eq.", "ne."], &["b16", "b32", "b64"]],
    &[&["setp.lt."], &["and.", "or.", "xor."], &["s32"]],
    &[
        &["ld.global.", "st.global."],
        &["u8", "s8", "u16", "s16", "b16", "u32", "s32", "f32", "b32", "u64", "s64", "f64", "b64"],
    ],
    &[&["ld.", "st."], &["global.v2.", "global.v4."], &["u32", "f32"]],
    &[
        &["ld.param."],
        &["u8", "s8", "u16", "s16", "b16", "u32", "f32", "u64", "f64", "v2.u32", "v4.u32", "v2.b64"],
    ],
    &[
        &["cvta."],
        &[
            "to.global.u64",
            "global.u64",
            "shared.u64",
            "to.shared.u64",
            "local.u64",
            "to.local.u64",
            "const.u64",
            "to.const.u64",
        ],
    ],
    &[&["shfl.sync."], &["up.b32", "down.b32", "bfly.b32", "idx.b32"]],
    &[&["vote.sync."], &["all.pred", "any.pred", "uni.pred", "ballot.b32"]],
    &[
        &["redux.sync."],
        &["add.s32", "add.u32", "min.s32", "max.s32", "min.u32", "max.u32", "and.b32", "or.b32", "xor.b32"],
    ],
    &[&[
        "match.any.sync.b32",
        "activemask.b32",
        "elect.sync",
        "bar.sync",
        "bar.arrive",
        "barrier.sync",
        "bar.warp.sync",
        "bar.red.popc.u32",
        "bar.red.and.pred",
        "bar.red.or.pred",
        "bra",
        "bra.uni",
        "ret",
        "exit",
        "trap",
    ]],
    &[
        &["atom.global."],
        &[
            "add.u32", "add.s32", "add.f32", "add.f64", "min.s32", "max.s32", "min.u32", "max.u32",
            "min.u64", "max.u64", "min.s64", "max.s64", "and.b32", "or.b32", "xor.b32", "and.b64", "or.b64",
            "xor.b64", "exch.b32", "exch.b64", "cas.b32", "cas.b64", "inc.u32", "dec.u32",
        ],
    ],
    &[&["ldmatrix.sync.aligned.m8n8."], &["x1", "x2", "x4"], &["", ".trans"], &[".shared.b16"]],
    &[
        &["mma.sync.aligned."],
        &[
            "m16n8k16.row.col.f32.bf16.bf16.f32",
            "m16n8k8.row.col.f32.bf16.bf16.f32",
            "m16n8k16.row.col.f32.f16.f16.f32",
            "m16n8k8.row.col.f32.f16.f16.f32",
            "m16n8k8.row.col.f32.tf32.tf32.f32",
            "m16n8k4.row.col.f32.tf32.tf32.f32",
        ],
    ],
    &[&["cp.async."], &["ca.shared.global", "cg.shared.global", "commit_group", "wait_group", "wait_all"]],
];

#[test]
fn every_form_of_the_decoder_is_tried() {
    let tried = opcodes(&all());
    let join = |parts: &[&[&str]]| {
        parts.iter().fold(vec![String::new()], |all, words| {
            all.iter().flat_map(|begin| words.iter().map(move |word| format!("{begin}{word}"))).collect()
        })
    };
    let missing: Vec<_> =
        DECODER.iter().flat_map(|parts| join(parts)).filter(|form| !tried.contains(form)).collect();
    assert!(missing.is_empty(), "no form in tests/ptx/forms tries {missing:?}");
}

#[test]
fn every_instruction_that_ships_has_a_form() {
    // Hopper's own are tried by whole kernels, since they mean nothing alone: tests/hopper.rs, kernels_sm90.rs.
    let portable: Vec<_> = kernels().into_iter().filter(|(name, _)| !name.contains("sm_90a")).collect();
    let (tried, shipped) = (opcodes(&all()), opcodes(&portable));
    let missing: Vec<_> = shipped.difference(&tried).collect();
    assert!(missing.is_empty(), "no form in tests/ptx/forms tries {missing:?}");
}
