//! Damaged PTX: whatever the text, reading and decoding it ends soon, with a program or an error.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::machine;

use machine::{files, folder, kernels};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::LazyLock;
use vgg_ft::error::Kind;
use vgg_ft::ptx::{Module, Program, Space, parse};

/// Addresses of a module's variables, as the emulator would give them.
fn addresses(module: &Module) -> HashMap<String, u64> {
    let placed = module.variables.iter().filter(|v| matches!(v.space, Space::Const | Space::Global));
    placed.map(|variable| (variable.name.clone(), 0)).collect()
}

/// Decodes all entries in both modes; an error must be one for the user, with file and line.
fn decode(name: &str, text: &str) -> Result<usize, String> {
    let told = |error: vgg_ft::error::Error| {
        assert_eq!(error.kind(), Kind::Device);
        assert!(error.message().starts_with(&format!("{name}:")), "no place in: {error}");
        error.to_string()
    };
    let module = parse(name, text).map_err(told)?;
    for entry in &module.entries {
        for tracked in [true, false] {
            let program = Program::new(&module, entry, &addresses(&module), tracked).map_err(told)?;
            assert_eq!(program.priority.len(), program.blocks.len());
        }
    }
    Ok(module.entries.len())
}

#[test]
fn every_committed_kernel_decodes_checked_and_unchecked() {
    for (name, text) in kernels() {
        let entries = decode(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        assert!(entries > 0, "{name} has no entry");
    }
}

/// Short texts that together have everything: a damaged one is tried in a millisecond.
static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut all = kernels();
    all.extend(files(&folder("wrong"), "ptx"));
    all.extend(files(&folder("forms"), "ptx").into_iter().filter(|(name, _)| !name.starts_with("table")));
    // Comments take no part; the longest kernels would only cost time.
    let bare =
        |text: &str| text.lines().filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
    all.iter().map(|(_, text)| bare(text)).filter(|text| text.len() < 60_000).collect()
});

/// What may happen to a text.
#[derive(Clone, Debug)]
enum Damage {
    Byte(usize, u8),
    Swap(usize, usize),
    Delete(usize),
    Repeat(usize, usize),
    Replace(usize, &'static str),
    Cut(usize),
}

/// What stands where it should not.
const STRANGERS: [&str; 28] = [
    "18446744073709551615",
    "-9223372036854775808",
    "4294967295",
    "0",
    "0xFFFFFFFFFFFFFFFF",
    "99999999999999999999",
    "0f7FC00000",
    "0dFFFFFFFFFFFFFFFF",
    "0b2",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ";",
    ":",
    "@",
    "_",
    "%tid.w",
    "%r0<4000000000>",
    ".reg",
    ".shared",
    ".loc",
    "\"",
    "/*",
    "bra",
    "bar.sync",
];

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Damage::Swap(a, b)),
        any::<usize>().prop_map(Damage::Delete),
        (any::<usize>(), 1usize..50).prop_map(|(at, times)| Damage::Repeat(at, times)),
        (any::<usize>(), 0..STRANGERS.len()).prop_map(|(at, which)| Damage::Replace(at, STRANGERS[which])),
        any::<usize>().prop_map(Damage::Cut),
    ]
}

/// Words and marks of a line, with the white space before them.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for c in text.chars() {
        let word = |c: char| c.is_alphanumeric() || "_$%.".contains(c);
        let fresh = tokens
            .last()
            .and_then(|token| token.chars().last())
            .is_some_and(|before| !(word(before) && word(c)));
        if fresh {
            tokens.push(String::new());
        }
        tokens.last_mut().unwrap().push(c);
    }
    tokens
}

fn damaged(text: &str, all: &[Damage]) -> String {
    let mut text = text.to_owned();
    for one in all {
        match one {
            Damage::Byte(at, byte) => {
                let mut bytes = text.into_bytes();
                let at = at % bytes.len().max(1);
                if let Some(place) = bytes.get_mut(at) {
                    *place ^= byte;
                }
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            Damage::Swap(a, b) => {
                let mut tokens = tokens(&text);
                let count = tokens.len();
                // Near ones, mostly: operands change places, or instructions their operands.
                let (a, b) = (a % count, (a % count + b % 40) % count);
                tokens.swap(a, b);
                text = tokens.concat();
            }
            Damage::Replace(at, with) => {
                let mut tokens = tokens(&text);
                let at = at % tokens.len();
                tokens[at] = (*with).to_owned();
                text = tokens.concat();
            }
            Damage::Delete(at) | Damage::Repeat(at, _) => {
                let mut lines: Vec<&str> = text.lines().collect();
                if lines.is_empty() {
                    continue;
                }
                let at = at % lines.len();
                let line = lines.remove(at);
                if let Damage::Repeat(_, times) = one {
                    lines.splice(at..at, std::iter::repeat_n(line, times + 1));
                }
                text = lines.join("\n");
            }
            Damage::Cut(at) => {
                let mut at = at % (text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                text.truncate(at);
            }
        }
    }
    text
}

proptest! {
    // Failures are kept nowhere: a seed that fails belongs into a test of its own.
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_text_is_a_program_or_an_error(seed in any::<usize>(), all in prop::collection::vec(damage(), 1..5)) {
        let text = damaged(&SEEDS[seed % SEEDS.len()], &all);
        let began = std::time::Instant::now();
        // A panic is the failure; a text that still makes sense is none.
        let read = decode("damaged.ptx", &text);
        if std::env::var_os("VGG_FT_SHOW").is_some() {
            println!("{read:?}");
        }
        prop_assert!(began.elapsed().as_secs() < 5, "{} bytes took {:?}", text.len(), began.elapsed());
    }

    #[test]
    fn any_tokens_at_all_are_refused_or_read(which in prop::collection::vec((any::<usize>(), any::<usize>()), 0..60)) {
        let seeds = &*SEEDS;
        let mut text = ".version 8.0\n.target sm_90\n.visible .entry f(.param .u64 p)\n{\n".to_owned();
        for (seed, line) in which {
            let lines: Vec<&str> = seeds[seed % seeds.len()].lines().collect();
            text += lines[line % lines.len()];
            text.push('\n');
        }
        text.push('}');
        let _ = decode("damaged.ptx", &text);
    }
}

/// Texts that ask for more than they are worth.
#[test]
fn greedy_texts_are_refused() {
    let entry = |body: &str| format!(".version 8.0\n.target sm_90\n.visible .entry f()\n{{\n{body}\n}}\n");
    let greedy = [
        entry(".reg .b32 %r<4294967295>;"),
        entry(&".reg .b64 %a<60000>;\n".repeat(3)),
        entry(".shared .b8 x[18446744073709551615];"),
        entry(".shared .b8 x[65536][65536][65536];"),
        entry(".local .align 4096 .b8 x[16777216]; .local .b8 y[16777216];"),
        entry(".shared .align 3 .b8 x[4];"),
        entry(".reg .b32 %r<65536>; add.s32 %r65535, %r65535, %r65535; ret;"),
        entry(".local .b8 x[600000]; ret;"),
        entry("ret;") + &(0..5).map(|k| format!(".global .b8 x{k}[16777216] = {{1}};\n")).collect::<String>(),
        entry("membar.foo 1, 2;"),
        entry("fence.proxy.alias.foo;"),
        entry("fence.proxy.async.foo;"),
        entry("fence.mbarrier_init.acquire.cta;"),
        entry(".reg .pred %p<2>; @%p1 barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; ret;"),
        entry("bra W; barrier.cluster.arrive; W: barrier.cluster.wait; ret;"),
        entry(".shared .b32 tile; .reg .pred %p<3>; and.pred %p1, %p2, tile; ret;"),
        format!("{}.global .b128 x = 1;\n", entry("ret;")),
        entry(&"{\n".repeat(100_000)),
        format!("{}{}", entry("ret;"), ".global .b8 x[99999999999];"),
        ".visible .entry f(.param .align 8 .b8 p[4294967295])\n{\n}\n".to_owned(),
        ".visible .entry f(.param .align 0 .b8 p[4])\n{\n}\n".to_owned(),
    ];
    for text in greedy {
        let said = decode("greedy.ptx", &text);
        assert!(said.is_err(), "accepted: {}", &text[..text.len().min(120)]);
    }
}

/// Branches that no compiler would write take no longer than they are worth.
#[test]
fn long_texts_end() {
    const COUNT: usize = if cfg!(debug_assertions) { 3_000 } else { 20_000 };
    let mut body = ".reg .pred %p<50>; .reg .b32 %r<50>;\n".to_owned();
    for k in 0..COUNT {
        body += &format!("L{k}: setp.eq.s32 %p{}, %r{}, 5;\n", k % 50, k * 7 % 50);
        body += &format!("@%p{} bra L{};\n", k % 50, k * 31 % COUNT);
    }
    let text = format!(".version 8.0\n.target sm_90\n.visible .entry f()\n{{\n{body}\nret;\n}}\n");
    let began = std::time::Instant::now();
    let _ = decode("long.ptx", &text);
    assert!(began.elapsed().as_secs() < 60, "took {:?}", began.elapsed());
}
