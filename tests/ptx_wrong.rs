//! The emulator is lied to: one deliberately wrong kernel per check, and what the report says of it.
//!
//! `tests/ptx/wrong/NAME.cu` says in comments how it is launched; `NAME.ptx` and `NAME.mended.ptx` are made
//! of it by `tests/ptx/make_wrong.py`. `NAME.txt` is the report, word for word; `VGG_FT_BLESS=1` writes it
//! anew, to be read before it is committed. The mended kernel must pass in every order of warps and lanes.
//!
//! ```text
//! // launch: grid=2 block=64           also shared, budget, global_races=1, unusual=1: not found in the usual order
//! // args: x=f32[100] y=f32[100]? z=f32[9]! n=u32:100
//! ```
//! Buffers hold 1, 2, 3 …; `?` nobody fills; `!` is given back before the wrong kernel runs.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::machine;

use machine::{Machine, files, folder};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::Driver;
use vgg_ft::device::gpu::emulator::{Options, Schedule};
use vgg_ft::device::gpu::launch::Arg;
use vgg_ft::error::Result;

struct Wrong {
    name: String,
    source: String,
    numbers: BTreeMap<String, u32>,
}

fn all() -> Vec<Wrong> {
    let said = |source: &str, what: &str| -> String {
        let line = source.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap_or_else(|| panic!("no line begins with {what}")).to_owned()
    };
    let each = |(file, source): (String, String)| {
        let numbers = said(&source, "// launch: ");
        let pair =
            |word: &str| word.split_once('=').map(|(name, n)| (name.to_owned(), n.parse().unwrap())).unwrap();
        let numbers = numbers.split_whitespace().map(pair).collect();
        Wrong { name: file.trim_end_matches(".cu").to_owned(), source: said(&source, "// args: "), numbers }
    };
    files(&folder("wrong"), "cu").into_iter().map(each).collect()
}

impl Wrong {
    fn text(&self, ending: &str) -> String {
        std::fs::read_to_string(folder("wrong").join(format!("{}{ending}", self.name))).unwrap()
    }

    /// Arguments as the comment has them.
    fn args(&self, machine: &Machine, mended: bool) -> Vec<Arg> {
        let leaked = |name: &str| -> &'static str { name.to_owned().leak() };
        let arg = |word: &str| {
            let (name, rest) = word.split_once('=').unwrap();
            if let Some(value) = rest.strip_prefix("u32:") {
                return Arg::value(leaked(name), &value.parse::<u32>().unwrap());
            }
            if let Some(count) = rest.strip_prefix("words:") {
                let words: Vec<u32> = (1..=count.parse().unwrap()).collect();
                let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                return Arg::Value { name: leaked(name), bytes };
            }
            let (kind, rest) = rest.split_once('[').unwrap();
            let (len, mark) = rest.split_once(']').unwrap();
            let len: usize = len.parse().unwrap();
            let dtype = if kind == "f32" { Dtype::F32 } else { Dtype::U32 };
            let at = machine.emulator.alloc(dtype, len).unwrap();
            let number = |k: usize| match dtype {
                Dtype::F32 => (k as f32 + 1.0).to_le_bytes(),
                _ => (k as u32 + 1).to_le_bytes(),
            };
            if mark != "?" {
                machine.emulator.write(at, &(0..len).flat_map(number).collect::<Vec<u8>>()).unwrap();
            }
            if mark == "!" && !mended {
                machine.emulator.free(at);
            }
            Arg::Pointer { name: leaked(name), at, dtype, len }
        };
        self.source.split_whitespace().map(arg).collect()
    }

    /// The orders in which it is found.
    fn schedules(&self) -> &'static [Schedule] {
        &SCHEDULES[usize::from(self.numbers.contains_key("unusual"))..]
    }

    fn run(&self, mended: bool, schedule: Schedule, threads: usize) -> Result<()> {
        let number = |name: &str, other: u32| self.numbers.get(name).copied().unwrap_or(other);
        let options = Options {
            schedule,
            threads: Some(threads),
            global_races: number("global_races", 0) == 1,
            budget: u64::from(number("budget", 1_000_000)),
            ..Options::default()
        };
        let ending = if mended { ".mended.ptx" } else { ".ptx" };
        let file = format!("tests/ptx/wrong/{}{ending}", self.name);
        let machine = Machine::new(options, &file, &self.text(ending))?;
        let args = self.args(&machine, mended);
        machine.launch(&self.name, number("grid", 1), [number("block", 32), 1, 1], number("shared", 0), args)
    }
}

const SCHEDULES: [Schedule; 5] = [
    Schedule::Lowest,
    Schedule::Reverse,
    Schedule::Random(1),
    Schedule::Random(2),
    Schedule::Random(0x1234_5678_9abc),
];

/// The texts are those of the sources: who edits one without `tests/ptx/make_wrong.py` would test the old one.
#[test]
fn the_texts_were_made_of_these_sources() {
    let read = |(_, text): &(String, String)| text.clone();
    let headers: String = files(&folder("wrong"), "cuh").iter().map(read).collect();
    let made: String = files(&folder("wrong"), "cu")
        .iter()
        .map(|(file, source)| {
            let hash = Sha256::digest(format!("{source}{headers}"));
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} {hash}\n", file.trim_end_matches(".cu"))
        })
        .collect();
    let manifest = std::fs::read_to_string(folder("wrong").join("MANIFEST")).unwrap();
    let changed: Vec<&str> = made.lines().filter(|line| !manifest.contains(line)).collect();
    assert!(changed.is_empty(), "run tests/ptx/make_wrong.py, for these: {changed:#?}");
    assert_eq!(made.lines().count(), manifest.lines().count());
}

#[test]
fn every_wrong_kernel_is_caught_in_these_words() {
    let mut failures = Vec::new();
    let all = all();
    assert!(all.len() >= 70, "only {} wrong kernels", all.len());
    for wrong in all {
        let reports = [1, 2].map(|threads| match wrong.run(false, wrong.schedules()[0], threads) {
            Ok(()) => "nothing was noticed\n".to_owned(),
            Err(error) => format!("{error}\n"),
        });
        let path = folder("wrong").join(format!("{}.txt", wrong.name));
        // What was not noticed is blessed by nobody.
        if std::env::var_os("VGG_FT_BLESS").is_some() && reports[0].starts_with("emulator: ") {
            std::fs::write(&path, &reports[0]).unwrap();
        }
        let want = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        for (report, threads) in reports.iter().zip([1, 2]) {
            if *report != want {
                failures.push(format!("{}, {threads} threads: expected\n{want}\ngot\n{report}", wrong.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Not always in the same words: which thread is the first to go wrong depends on the order.
#[test]
fn every_wrong_kernel_is_caught_in_every_order() {
    let mut failures = Vec::new();
    for wrong in all() {
        for &schedule in wrong.schedules() {
            if wrong.run(false, schedule, 1).is_ok() {
                failures.push(format!("{}: nothing was noticed, {schedule:?}", wrong.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_mended_kernel_passes_in_every_order() {
    let mut failures = Vec::new();
    for wrong in all() {
        for (schedule, threads) in SCHEDULES.iter().flat_map(|&schedule| [(schedule, 1), (schedule, 2)]) {
            if let Err(error) = wrong.run(true, schedule, threads) {
                failures.push(format!("{}, {schedule:?}, {threads} threads: {error}", wrong.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
