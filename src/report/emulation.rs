//! What a person sees of a kernel on the emulator: launches, the difference from the cpu, a table of
//! source lines, the steps of a thread.
//!
//! In: counts and steps of the emulator. Out: text, and the same as values for JSON.

use super::table::thousands;
use crate::device::Precision;
use crate::device::gpu::emulator::{LineCount, Step, Touched};
use crate::device::gpu::module::source_line;
use crate::ptx::{Class, Module};
use serde::Serialize;
use std::fmt::Write as _;

/// How many lines of a kernel are marked as the ones that cost most.
const MARKED: usize = 3;
/// Characters of a source line that are shown.
const SOURCE: usize = 64;

/// A kernel that was run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub kernel: &'static str,
    /// What it computes.
    pub formula: &'static str,
    /// Sizes by axis.
    #[serde(serialize_with = "axes")]
    pub shape: Vec<(&'static str, usize)>,
    /// Of the inputs.
    pub seed: u64,
    /// What was checked, in which order things ran, in which numbers if not f32.
    pub machine: String,
    /// In which numbers.
    pub precision: Precision,
    /// In order.
    pub launches: Vec<LaunchReport>,
    /// In the order of the call.
    pub outputs: Vec<OutputReport>,
}

/// One launch.
#[derive(Clone, Debug, Serialize)]
pub struct LaunchReport {
    /// The entry in the PTX.
    pub entry: &'static str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// What the lines cost, where it was counted.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rows")]
    pub lines: Option<Vec<LineCount>>,
    /// What the followed thread did, where one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<TraceLine>>,
}

/// How one output compares with the cpu's.
#[derive(Clone, Debug, Serialize)]
pub struct OutputReport {
    /// As the call names it.
    pub name: &'static str,
    /// Elements.
    pub len: usize,
    /// The element that differs most.
    pub worst: usize,
    /// The emulator's there.
    pub got: f64,
    /// The cpu's there.
    pub want: f64,
    /// Between those two.
    pub difference: f64,
    /// The same as a share of the cpu's largest element.
    pub relative: f64,
    /// The largest share that is right.
    pub tolerance: f64,
}

/// One instruction of the followed thread.
#[derive(Clone, Debug, Serialize)]
pub struct TraceLine {
    /// `kernels/dense.cu:58`.
    pub place: String,
    /// The source there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// The instruction.
    pub instruction: String,
    /// The element that an access begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// What came out.
    pub values: Vec<String>,
    /// Whether a branch was taken, or a conditional instruction ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<bool>,
}

impl TraceLine {
    /// A step in words.
    pub fn new(step: &Step, module: &Module) -> Self {
        let instruction = step.text(module).split_whitespace().collect::<Vec<_>>().join(" ");
        let place = step.place(module);
        let source = place.rsplit_once(':').and_then(|(file, line)| source_line(file, line.parse().ok()?));
        let opcode = instruction.split(' ').find(|word| !word.starts_with('@')).unwrap_or_default();
        let kind = kind(opcode.trim_end_matches(';'));
        let values = step.values.iter().map(|&(class, value)| shown(class, value, kind)).collect();
        Self { place, source, memory: step.memory.clone(), values, taken: step.taken, instruction }
    }

    fn outcome(&self) -> String {
        let branch = self.instruction.contains("bra");
        let taken = match self.taken {
            Some(true) if branch => "taken",
            Some(false) if branch => "not taken",
            Some(false) => "does not run",
            _ => "",
        };
        let memory = self.memory.as_deref().unwrap_or_default();
        [memory, &self.values.join(" "), taken]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join("  ")
    }
}

/// The type of an opcode's result: `f32` of `ld.global.nc.v4.f32` and of `cvt.rn.f32.s32`.
fn kind(opcode: &str) -> &str {
    let mut parts = opcode.rsplit('.');
    let last = parts.next().unwrap_or_default();
    if opcode.starts_with("cvt.") { parts.next().unwrap_or(last) } else { last }
}

fn shown(class: Class, value: u64, kind: &str) -> String {
    match (class, kind) {
        (Class::P, _) => (value != 0).to_string(),
        (Class::W, "f32") => f32::from_bits(value as u32).to_string(),
        (Class::L, "f64") => f64::from_bits(value).to_string(),
        (Class::W, "s32" | "s16" | "s8") => (value as u32 as i32).to_string(),
        (Class::W, "u32" | "u16" | "u8") => value.to_string(),
        // Bits of any kind: a small number is a number, the rest an address or a pattern.
        (Class::W, _) if value >> 24 == 0 => value.to_string(),
        (Class::L, _) if value >> 32 == 0 => value.to_string(),
        _ => format!("{value:#x}"),
    }
}

/// A row of the table as JSON has it.
#[derive(Serialize)]
struct JsonRow<'r> {
    file: &'r str,
    line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    warp_instructions: u64,
    active_lanes: u64,
    flops: u64,
    branches: u64,
    diverged: u64,
    global_bytes: u64,
    sectors: u64,
    sectors_ideal: u64,
    shared_bytes: u64,
    bank_passes: u64,
    bank_passes_ideal: u64,
}

fn axes<S: serde::Serializer>(shape: &[(&'static str, usize)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(shape.iter().copied())
}

fn rows<S: serde::Serializer>(lines: &Option<Vec<LineCount>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(lines.iter().flatten().map(|count| JsonRow {
        file: &count.file,
        line: count.line,
        source: count.source(),
        warp_instructions: count.instructions,
        active_lanes: count.lanes,
        flops: count.flops,
        branches: count.branches,
        diverged: count.diverged,
        global_bytes: count.global.bytes,
        sectors: count.global.passes,
        sectors_ideal: count.global.ideal,
        shared_bytes: count.shared.bytes,
        bank_passes: count.shared.passes,
        bank_passes_ideal: count.shared.ideal,
    }))
}

/// The list of kernels: name, formula, default sizes.
pub fn kernel_list(kernels: &[(&str, &str, String)]) -> String {
    let width = |cell: fn(&(&str, &str, String)) -> usize| kernels.iter().map(cell).max().unwrap_or(0);
    let (names, formulas) = (width(|row| row.0.len()), width(|row| row.1.chars().count()));
    let mut out = String::new();
    for (name, formula, shape) in kernels {
        let _ = writeln!(out, "{name:names$}  {formula:formulas$}  {shape}");
    }
    out
}

impl Report {
    /// All of it, ending with a line break.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let shape: Vec<_> = self.shape.iter().map(|(axis, size)| format!("{axis}={size}")).collect();
        let _ = writeln!(out, "{}   {}", self.kernel, self.formula);
        let _ = writeln!(out, "shape      {}, inputs from seed {}", shape.join(" "), self.seed);
        let _ = writeln!(out, "machine    {}", self.machine);
        for launch in &self.launches {
            let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| format!("{x}x{y}x{z}"));
            let shared = thousands(launch.shared.into());
            let _ = writeln!(
                out,
                "launch     {}   grid {grid}   block {block}   shared {shared} bytes",
                launch.entry
            );
        }
        for output in &self.outputs {
            let _ = writeln!(out, "output     {}   {}", output.name, verdict(output));
        }
        for launch in &self.launches {
            if let Some(lines) = &launch.lines {
                out.push('\n');
                table(&mut out, launch.entry, lines);
            }
        }
        for launch in &self.launches {
            if let Some(trace) = &launch.trace {
                out.push('\n');
                steps(&mut out, launch.entry, trace);
            }
        }
        out
    }
}

fn verdict(output: &OutputReport) -> String {
    let len = thousands(output.len as u64);
    if output.difference == 0.0 {
        return format!("{len} numbers, the cpu's bit for bit");
    }
    format!(
        "{len} numbers, max difference from the cpu {:.1e}, {:.1e} of the largest (at most {:.0e})",
        output.difference, output.relative, output.tolerance
    )
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.1}", 100.0 * part as f64 / whole as f64) }
}

fn against(touched: &Touched) -> String {
    match touched.requests {
        0 => String::new(),
        _ => format!("{}/{}", thousands(touched.passes), thousands(touched.ideal)),
    }
}

/// One row: everything but the source line.
fn cells(count: &LineCount, all: u64) -> String {
    format!(
        "{:>12} {:>5} {:>5} {:>15} {:>15} {:>6} {:>13}",
        thousands(count.instructions),
        percent(count.instructions, all),
        percent(count.lanes, 32 * count.instructions),
        against(&count.global),
        against(&count.shared),
        percent(count.diverged, count.branches),
        if count.flops == 0 { String::new() } else { thousands(count.flops) },
    )
}

fn table(out: &mut String, entry: &str, lines: &[LineCount]) {
    let mut total = LineCount::default();
    lines.iter().for_each(|count| total.add(count));
    let mut order: Vec<_> = lines.iter().map(|count| count.instructions).collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let least = order.get(MARKED - 1).or(order.last()).copied().unwrap_or(0);
    let _ = writeln!(
        out,
        "{entry}\n   line {:>12} {:>5} {:>5} {:>15} {:>15} {:>6} {:>13}   source",
        "instructions", "all %", "lane %", "sectors/ideal", "banks/ideal", "split%", "flops"
    );
    let mut file = "";
    // The kernel itself before what it includes.
    let (own, headers): (Vec<_>, Vec<_>) = lines.iter().partition(|count| count.file.ends_with(".cu"));
    for count in own.into_iter().chain(headers) {
        if count.file != file {
            file = &count.file;
            let _ = writeln!(out, "{file}");
        }
        let mark = if count.instructions >= least { '>' } else { ' ' };
        let source: String = count.source().unwrap_or_default().chars().take(SOURCE).collect();
        let row = format!("{mark} {:>5} {}   {source}", count.line, cells(count, total.instructions));
        let _ = writeln!(out, "{}", row.trim_end());
    }
    let _ = writeln!(out, "  {:>5} {}", "total", cells(&total, total.instructions).trim_end());
    totals(out, &total);
}

fn totals(out: &mut String, total: &LineCount) {
    let moved = 32 * total.global.passes;
    let _ = writeln!(
        out,
        "global     {} bytes asked for by lanes, {} moved in sectors",
        thousands(total.global.bytes),
        thousands(moved)
    );
    if total.shared.requests > 0 {
        let _ = writeln!(
            out,
            "shared     {} bytes, {:.2} passes where 1 would do",
            thousands(total.shared.bytes),
            total.shared.passes as f64 / total.shared.ideal.max(1) as f64
        );
    }
    if total.flops > 0 && moved > 0 {
        let _ = writeln!(
            out,
            "flops      {}, {:.2} for each byte that lanes move (arithmetic intensity, without caches)",
            thousands(total.flops),
            total.flops as f64 / moved as f64
        );
    }
}

fn steps(out: &mut String, entry: &str, trace: &[TraceLine]) {
    let _ = writeln!(out, "{entry}: {} instructions of the thread", thousands(trace.len() as u64));
    let mut place = "";
    for step in trace {
        if step.place != place {
            place = &step.place;
            let _ = writeln!(out, "{place}   {}", step.source.unwrap_or_default());
        }
        let row = format!("    {:<64} {}", step.instruction, step.outcome());
        let _ = writeln!(out, "{}", row.trim_end());
    }
}
