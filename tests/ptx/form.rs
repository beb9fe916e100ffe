//! What the comments of `tests/ptx/forms/*.ptx` say: what goes into an entry and what must come out. The
//! notation is described in `tests/ptx_forms.rs`.
#![allow(dead_code)] // each test binary uses a part

use super::machine::{files, folder};
use std::collections::BTreeMap;
use vgg_ft::device::gpu::emulator::Tensor;

/// What `out` holds before.
pub const UNTOUCHED: u8 = 0xa5;

/// What a place of `out` must hold.
#[derive(Clone, Debug)]
pub enum Want {
    Bytes(Vec<u8>),
    /// So many bytes that are a NaN.
    Nan(usize),
    Any(usize),
}

impl Want {
    /// In bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Nan(len) | Self::Any(len) => *len,
        }
    }

    pub fn meets(&self, got: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == got,
            Self::Any(_) => true,
            Self::Nan(2) => got[1] & 0x7c == 0x7c && (got[1] & 3 != 0 || got[0] != 0),
            Self::Nan(4) => f32::from_le_bytes(got.try_into().unwrap()).is_nan(),
            Self::Nan(_) => f64::from_le_bytes(got.try_into().unwrap()).is_nan(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Row {
    pub label: String,
    pub wants: Vec<Want>,
    pub tensor: Tensor,
}

/// An entry's comments.
#[derive(Clone, Debug)]
pub struct Form {
    pub entry: String,
    pub numbers: BTreeMap<String, u32>,
    pub input: Vec<u8>,
    pub args: Vec<Vec<u8>>,
    pub rows: Vec<Row>,
    pub masked: bool,
}

fn bytes(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "half a byte: {digits}");
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
    pairs.rev().collect()
}

fn tokens(text: &str) -> Vec<Want> {
    let mut wants = Vec::new();
    for token in text.split_whitespace() {
        if let Some((first, last)) = token.split_once("..") {
            let [low, high] = [first, last].map(|digits| u64::from_str_radix(digits, 16).unwrap());
            let width = first.len();
            wants.extend((low..=high).map(|value| Want::Bytes(bytes(&format!("{value:0width$x}")))));
            continue;
        }
        let (count, digits) = token.split_once('*').map_or((1, token), |(n, t)| (n.parse().unwrap(), t));
        let want = match digits.strip_prefix('~') {
            Some(nan) => Want::Nan(nan.len() / 2),
            None if digits.starts_with('-') => Want::Any(digits.len() / 2),
            None => Want::Bytes(bytes(digits)),
        };
        wants.extend(std::iter::repeat_n(want, count));
    }
    wants
}

pub fn forms(file: &str, text: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    let (mut numbers, mut input, mut rows) = (BTreeMap::new(), Vec::new(), Vec::<Row>::new());
    let mut args = Vec::new();
    let (mut tensor, mut into_input) = (Tensor::Fast, false);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(".visible .entry ") {
            let entry = rest.split('(').next().unwrap().to_owned();
            assert!(!rows.is_empty(), "{file}: {entry} says nothing of its results");
            let masked = rest.contains(" lanes)");
            let (numbers, input) = (std::mem::take(&mut numbers), std::mem::take(&mut input));
            let (args, rows) = (std::mem::take(&mut args), std::mem::take(&mut rows));
            forms.push(Form { entry, numbers, input, args, rows, masked });
            tensor = Tensor::Fast;
            continue;
        }
        let Some(said) = line.strip_prefix("//>") else { continue };
        let more = said.starts_with("  ");
        let said = said.trim();
        let words = |rest: &str| -> Vec<u8> {
            tokens(rest)
                .into_iter()
                .flat_map(|w| if let Want::Bytes(b) = w { b } else { panic!("{line}") })
                .collect()
        };
        if more && into_input {
            input.extend(words(said));
        } else if more {
            rows.last_mut().unwrap().wants.extend(tokens(said));
        } else if let Some(rest) = said.strip_prefix("in ") {
            input.extend(words(rest.split_once(':').unwrap().1));
            into_input = true;
        } else if let Some(rest) = said.strip_prefix("out ") {
            let (label, rest) = rest.split_once(": ").unwrap();
            rows.push(Row { label: label.to_owned(), wants: tokens(rest), tensor });
            into_input = false;
        } else if let Some(rest) = said.strip_prefix("arg ") {
            args.push(words(rest.split_once(':').unwrap().1));
        } else if let Some(rest) = said.strip_prefix("untouched ") {
            let wants = vec![Want::Bytes(vec![UNTOUCHED]); rest.parse().unwrap()];
            rows.push(Row { label: "untouched".into(), wants, tensor });
        } else if let Some(rest) = said.strip_prefix("launch ") {
            for (name, value) in rest.split_whitespace().map(|word| word.split_once('=').unwrap()) {
                numbers.insert(name.to_owned(), value.parse().unwrap());
            }
        } else {
            tensor = match said {
                "tensor fast" => Tensor::Fast,
                "tensor ampere" => Tensor::Ampere,
                "tensor hopper" => Tensor::Hopper,
                _ => panic!("{file}: cannot read `{line}`"),
            };
        }
    }
    forms
}

pub fn shown(want: &Want) -> String {
    match want {
        Want::Bytes(bytes) => bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect(),
        other => format!("{other:?}"),
    }
}

pub fn all() -> Vec<(String, String)> {
    files(&folder("forms"), "ptx")
}

impl Form {
    /// A number of its launch.
    pub fn number(&self, name: &str, other: u32) -> u32 {
        self.numbers.get(name).copied().unwrap_or(other)
    }

    /// Threads of a block.
    pub fn block(&self) -> [u32; 3] {
        [self.number("block", 32), self.number("y", 1), self.number("z", 1)]
    }
}
