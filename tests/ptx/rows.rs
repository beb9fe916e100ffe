//! Rows of results: an entry on one input, run by the cuda device or by the emulator, and how they are kept.

use super::form::{Form, Row, UNTOUCHED, Want, forms};
use super::machine::{Machine, pointer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vgg_ft::device::gpu::cuda::{Cuda, Options};
use vgg_ft::device::gpu::driver::Driver;
use vgg_ft::device::gpu::emulator::{self, Tensor};
use vgg_ft::device::gpu::launch::{Arg, Launch};
use vgg_ft::device::gpu::module::{Entry, Module, Param};
use vgg_ft::device::{Cost, Dtype};
use vgg_ft::ptx::{Space, parse};
use vgg_ft::random::{Draws, Stream};

/// The forms of a file that a GPU can be asked: not those of other tensor cores alone, and not what a copy
/// does before it is waited for, which is the machine's choice.
fn fixed(file: &str, text: &str, tensor: Tensor) -> impl Iterator<Item = Form> {
    let all = forms(file, text).into_iter();
    all.filter(move |form| form.number("late", 1) == 1 && !rows_of(form, tensor).is_empty())
}

/// Random inputs of each entry of a table.
const SEEDS: u64 = 4;

/// A row as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub file: String,
    pub entry: String,
    pub row: String,
    /// SHA-256 of input and arguments, sixteen digits of it.
    pub input: String,
    /// Of a random input.
    pub seed: Option<u64>,
    #[serde(flatten)]
    pub bits: Bits,
    /// What should have come out, where something else did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<String>,
}

/// What came out: bytes in the order of memory; of a random input their hash, NaNs made alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bits {
    Bits(String),
    Sha256(String),
}

impl Line {
    /// Which row of which input.
    pub fn key(&self) -> (&str, &str, &str, &str) {
        (&self.file, &self.entry, &self.row, &self.input)
    }

    /// Whether the ISA leaves the last bits open.
    pub fn approximate(&self) -> bool {
        self.row.contains(".approx") || self.row.contains("div.full")
    }
}

/// A row of the emulator.
pub struct Emulated {
    pub line: Line,
    wants: Vec<Want>,
    bytes: Vec<u8>,
}

impl Emulated {
    /// Whether a GPU's bytes are those of the emulator: any NaN is as good as another, where the ISA says so.
    pub fn meets(&self, bits: &str) -> bool {
        let card = unhex(bits);
        let mut at = 0;
        card.len() == self.bytes.len()
            && self.wants.iter().all(|want| {
                let range = at..at + want.len();
                at = range.end;
                let (card, mine) = (&card[range.clone()], &self.bytes[range]);
                match want {
                    Want::Any(_) => true,
                    Want::Nan(_) => want.meets(card) && want.meets(mine),
                    Want::Bytes(_) => card == mine,
                }
            })
    }

    pub fn hash(&self) -> String {
        hash(&self.line.row, &self.wants, &self.bytes)
    }
}

/// What a file of forms gave on a GPU.
#[derive(Default)]
pub struct Found {
    /// The GPU, as the first line of the file.
    pub card: serde_json::Value,
    pub lines: Vec<Line>,
    pub wrong: Vec<String>,
    /// Why nothing was run.
    pub skipped: Option<String>,
    /// Elements of `.approx` that are not the nearest number, and the largest distance.
    pub approximate: usize,
    pub places: u32,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..][..2], 16).unwrap()).collect()
}

/// Sixteen digits are enough to tell inputs apart.
fn input_hash(input: &[u8], args: &[Vec<u8>]) -> String {
    hex(&Sha256::digest([input, &args.concat()].concat())[..8])
}

/// Of a row, with NaNs of floats made alike: their payload is nobody's promise.
fn hash(row: &str, wants: &[Want], bytes: &[u8]) -> String {
    let kind = row.split('.').find_map(|word| {
        ["f16x2", "bf16x2", "f16", "bf16", "f32", "f64"].into_iter().find(|&kind| kind == word)
    });
    let mut alike = bytes.to_vec();
    let mut at = 0;
    for want in wants {
        let here = &mut alike[at..at + want.len()];
        at += want.len();
        let part = match kind {
            Some("f16" | "f16x2" | "bf16" | "bf16x2") => 2,
            Some("f32") => 4,
            Some("f64") => 8,
            _ => continue,
        };
        for number in here.chunks_exact_mut(part) {
            let nan = match (kind, &*number) {
                (Some("bf16" | "bf16x2"), &[low, high]) => f32::from_le_bytes([0, 0, low, high]).is_nan(),
                _ => Want::Nan(part).meets(number),
            };
            if nan {
                number.fill(0xff);
            }
        }
    }
    hex(&Sha256::digest(&alike))
}

/// The rows that hold for these tensor cores: those that say so, or those that say nothing.
fn rows_of(form: &Form, tensor: Tensor) -> Vec<&Row> {
    let of = |tensor| form.rows.iter().filter(|row| row.tensor == tensor).collect::<Vec<_>>();
    let rows = of(tensor);
    if rows.is_empty() { of(Tensor::Fast) } else { rows }
}

/// The form's own input, and for a table random words.
fn inputs(file: &str, form: &Form) -> Vec<(Option<u64>, Vec<u8>)> {
    let mut all = vec![(None, form.input.clone())];
    if file.starts_with("table_") {
        all.extend((0..SEEDS).map(|seed| {
            let mut draws = Draws::new(seed, Stream::Demo, 0);
            let word = |_| (draws.below(1 << 16) << 16 | draws.below(1 << 16)).to_le_bytes();
            let mut bytes: Vec<u8> = (0..form.input.len().div_ceil(4)).flat_map(word).collect();
            bytes.truncate(form.input.len());
            (Some(seed), bytes)
        }));
    }
    all
}

fn length(rows: &[&Row]) -> usize {
    rows.iter().flat_map(|row| &row.wants).map(Want::len).sum()
}

/// One line for each row of `out`.
fn lines(file: &str, form: &Form, rows: &[&Row], seed: Option<u64>, input: &[u8], out: &[u8]) -> Vec<Line> {
    let input = input_hash(input, &form.args);
    let mut at = 0;
    let line = |row: &&Row| {
        let len: usize = row.wants.iter().map(Want::len).sum();
        let bytes = &out[at..at + len];
        at += len;
        let keep = seed.is_none() || row.label.contains(".approx");
        Line {
            file: file.to_owned(),
            entry: form.entry.clone(),
            row: row.label.clone(),
            input: input.clone(),
            seed,
            bits: if keep {
                Bits::Bits(hex(bytes))
            } else {
                Bits::Sha256(hash(&row.label, &row.wants, bytes))
            },
            expected: None,
        }
    };
    rows.iter().map(line).collect()
}

/// Arguments after `in` and `out`, all lanes at work.
fn others(form: &Form, args: &mut Vec<Arg>) {
    if form.masked {
        args.push(Arg::value("lanes", &u32::MAX));
    }
    args.extend(form.args.iter().map(|bytes| Arg::Value { name: "arg", bytes: bytes.clone() }));
}

/// All rows of a file by the emulator.
pub fn emulated(file: &str, text: &str, tensor: Tensor) -> Vec<Emulated> {
    let mut all = Vec::new();
    let machine = machine(file, text, tensor);
    for form in fixed(file, text, tensor) {
        let rows = rows_of(&form, tensor);
        for (seed, input) in inputs(file, &form) {
            let out = run_emulated(&machine, &form, length(&rows), &input);
            let mut at = 0;
            for (row, line) in rows.iter().zip(lines(file, &form, &rows, seed, &input, &out)) {
                let len: usize = row.wants.iter().map(Want::len).sum();
                let bytes = out[at..at + len].to_vec();
                at += len;
                all.push(Emulated { line, wants: row.wants.clone(), bytes });
            }
        }
    }
    all
}

fn machine(file: &str, text: &str, tensor: Tensor) -> Machine {
    let options = emulator::Options { checked: false, tensor, threads: Some(1), ..Default::default() };
    Machine::new(options, file, text).unwrap()
}

fn run_emulated(machine: &Machine, form: &Form, len: usize, input: &[u8]) -> Vec<u8> {
    let (from, to) = (machine.upload(input), machine.upload(&vec![UNTOUCHED; len]));
    let mut args = vec![pointer("in", from, input.len() / 4), pointer("out", to, len / 4)];
    others(form, &mut args);
    let (grid, shared) = (form.number("grid", 1), form.number("shared", 0));
    machine.launch(&form.entry, grid, form.block(), shared, args).unwrap();
    machine.download(to, len)
}

/// All rows of a file by the cuda device.
pub fn measured(file: &str, text: &str) -> Found {
    let cuda = Cuda::open(Options::default()).unwrap();
    let capability = cuda.limits().capability;
    let it = cuda.describe();
    let (tensor, named) = match capability {
        _ if it.hardware.contains("the emulator") => (Tensor::Fast, "fast"),
        90.. => (Tensor::Hopper, "hopper"),
        _ => (Tensor::Ampere, "ampere"),
    };
    let card = serde_json::json!({ "card": it.hardware, "capability": capability, "tensor": named });
    let mut found = Found { card, ..Found::default() };
    // An older GPU may still know all that the file uses.
    let text = if capability < 90 {
        text.replace(".target sm_90", &format!(".target sm_{capability}"))
    } else {
        text.to_owned()
    };
    let module = module(file, &text);
    if let Err(error) = cuda.load(&module) {
        assert!(capability < 90, "{error}");
        found.skipped = Some(format!("the GPU is too old for it: {}", error.message()));
        return found;
    }
    let machine = machine(file, &text, tensor);
    for form in fixed(file, &text, tensor) {
        let entry = module.entries.iter().find(|entry| entry.name == form.entry).unwrap();
        let rows = rows_of(&form, tensor);
        for (seed, input) in inputs(file, &form) {
            let out = run_measured(&cuda, entry, &form, length(&rows), &input)
                .unwrap_or_else(|error| panic!("{file}: {}: {error}", form.entry));
            let expected = seed.map(|_| run_emulated(&machine, &form, out.len(), &input));
            judge(&mut found, file, &form, &rows, seed, &input, &out, expected.as_deref());
        }
    }
    found
}

/// Compares with the written results, or with the emulator's.
#[allow(clippy::too_many_arguments)] // all that is known of a run
fn judge(
    found: &mut Found,
    file: &str,
    form: &Form,
    rows: &[&Row],
    seed: Option<u64>,
    input: &[u8],
    out: &[u8],
    emulated: Option<&[u8]>,
) {
    let mut at = 0;
    for (row, mut line) in rows.iter().zip(lines(file, form, rows, seed, input, out)) {
        let len: usize = row.wants.iter().map(Want::len).sum();
        let here = &out[at..at + len];
        let right = match emulated.map(|all| &all[at..at + len]) {
            Some(mine) => hash(&row.label, &row.wants, mine) == hash(&row.label, &row.wants, here),
            None => {
                let mut from = 0;
                row.wants.iter().all(|want| {
                    from += want.len();
                    want.meets(&here[from - want.len()..from])
                })
            }
        };
        let expected: Vec<u8> = match emulated {
            Some(all) => all[at..at + len].to_vec(),
            None => row.wants.iter().flat_map(plain).collect(),
        };
        at += len;
        if !right {
            line.expected = Some(hex(&expected));
            line.bits = Bits::Bits(hex(here));
            if line.approximate() {
                let pairs = here.chunks_exact(4).zip(expected.chunks_exact(4));
                for (got, want) in pairs.filter(|(got, want)| got != want) {
                    let [got, want] = [got, want].map(|b| i32::from_le_bytes(b.try_into().unwrap()));
                    let nans = [got, want].map(|bits| f32::from_bits(bits as u32).is_nan());
                    if nans != [true; 2] && seed.is_none() {
                        found.approximate += 1;
                        found.places = found.places.max(got.abs_diff(want));
                    }
                }
            } else {
                found.wrong.push(format!(
                    "{file}: {}: {} (seed {seed:?}): expected {}, got {}",
                    form.entry,
                    row.label,
                    hex(&expected),
                    hex(here)
                ));
            }
        }
        found.lines.push(line);
    }
}

/// Bytes for a report.
fn plain(want: &Want) -> Vec<u8> {
    match want {
        Want::Bytes(bytes) => bytes.clone(),
        Want::Nan(len) | Want::Any(len) => vec![0xff; *len],
    }
}

fn run_measured(
    cuda: &Cuda,
    entry: &'static Entry,
    form: &Form,
    len: usize,
    input: &[u8],
) -> vgg_ft::error::Result<Vec<u8>> {
    let put = |bytes: &[u8]| {
        let at = cuda.alloc(Dtype::U8, bytes.len().max(1))?;
        if bytes.is_empty() { Ok(at) } else { cuda.write(at, bytes).map(|()| at) }
    };
    let (from, to) = (put(input)?, put(&vec![UNTOUCHED; len])?);
    let mut args = vec![pointer("in", from, input.len() / 4), pointer("out", to, len / 4)];
    others(form, &mut args);
    let (grid, shared) = ([form.number("grid", 1), 1, 1], form.number("shared", 0));
    let launch =
        Launch { entry, grid, block: form.block(), shared, args, cost: Cost::default(), compulsory: 0 };
    launch.check(cuda.limits())?;
    cuda.launch(&launch)?;
    let mut out = vec![0; len];
    cuda.read(to, &mut out)?;
    cuda.free(from);
    cuda.free(to);
    Ok(out)
}

/// A file of forms as a module: its entries live as long as the process.
fn module(file: &str, text: &str) -> Module {
    let parsed = parse(file, text).unwrap();
    let entries: Vec<Entry> = parsed
        .entries
        .iter()
        .map(|entry| {
            let params: Vec<_> =
                entry.params.iter().map(|param| Param { size: param.size, align: param.align }).collect();
            let shared = entry.variables.iter().filter(|variable| variable.space == Space::Shared);
            Entry {
                name: entry.name.clone().leak(),
                params: params.leak(),
                max_threads: None,
                static_shared: shared.map(|variable| variable.size).sum(),
                awaits: false,
            }
        })
        .collect();
    Module {
        name: file.trim_end_matches(".ptx").to_owned().leak(),
        target: "sm_90",
        text: text.to_owned().leak(),
        canonical: false,
        entries: entries.leak(),
    }
}
