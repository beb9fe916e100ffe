//! The table that `vgg-ft bench --plan` prints: one line per launch, then sums, then memory.
//!
//! In: launches and bytes as plain data. Out: text, columns as wide as their widest cell.

use serde::Serialize;
use std::fmt::Write as _;

/// One launch.
#[derive(Clone, Debug, Serialize)]
pub struct Launched {
    /// The layer, or what else was at work.
    pub layer: String,
    /// `forward` or `backward`.
    pub pass: &'static str,
    /// The kernel.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads along x, y, z.
    pub block: [u32; 3],
    /// Of the product that blocks share; blocks where there is none.
    pub tiles: u64,
    /// Tiles over those that the GPU has room for at once.
    pub waves: f64,
    /// Bytes that must be read and written.
    pub bytes: u64,
    /// Floating-point operations.
    pub flops: u64,
    /// Predicted.
    pub microseconds: f64,
    /// `compute`, `bandwidth` or `latency`.
    pub bound: &'static str,
    /// What no kernel could save.
    pub floor_microseconds: f64,
    /// Floor over prediction: 1 is the best there can be.
    pub share_of_floor: f64,
}

/// Memory of one kind at the peak.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// `weights`.
    pub kind: &'static str,
    /// How much.
    pub bytes: u64,
}

/// A step on paper.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// What was planned, in words.
    pub title: String,
    /// In which numbers: `f32`, `tf32x3`, `tf32`, `bf16`.
    pub precision: &'static str,
    /// On what, in words.
    pub gpu: String,
    /// In order.
    pub launches: Vec<Launched>,
    /// Alive at once, at most.
    pub peak_bytes: u64,
    /// Of what that consists.
    pub memory: Vec<Share>,
    /// The GPU's.
    pub gpu_bytes: u64,
}

/// What the launches are together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sums {
    /// How many.
    pub launches: usize,
    /// Floating-point operations, 10^9.
    pub gflop: f64,
    /// Bytes that must be moved, 10^9.
    pub gbyte: f64,
    /// Predicted.
    pub milliseconds: f64,
    /// The sum of the floors.
    pub floor_milliseconds: f64,
    /// Floor over prediction: 1 is the best there can be.
    pub share_of_roof: f64,
}

const COLUMNS: usize = 13;
const HEAD: [&str; COLUMNS] = [
    "#", "layer", "pass", "kernel", "grid", "tiles", "waves", "MB", "GFLOP", "µs", "floor", "of it",
    "bound by",
];

impl Planned {
    /// All launches together.
    pub fn sums(&self) -> Sums {
        let sum = |of: &dyn Fn(&Launched) -> f64| self.launches.iter().map(of).sum::<f64>();
        let milliseconds = sum(&|l| l.microseconds) / 1e3;
        let floor_milliseconds = sum(&|l| l.floor_microseconds) / 1e3;
        Sums {
            launches: self.launches.len(),
            gflop: sum(&|l| l.flops as f64) / 1e9,
            gbyte: sum(&|l| l.bytes as f64) / 1e9,
            milliseconds,
            floor_milliseconds,
            share_of_roof: if milliseconds > 0.0 { floor_milliseconds / milliseconds } else { 0.0 },
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{}\n\n", self.title, self.gpu);
        let rows: Vec<[String; COLUMNS]> =
            self.launches.iter().enumerate().map(|(at, line)| cells(at + 1, line)).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([HEAD[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let mut line = |cells: [&str; COLUMNS]| {
            let mut text = String::new();
            for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
                // Numbers to the right, names to the left.
                let _ = match column {
                    0 | 5..=11 => write!(text, "{cell:>width$}  "),
                    _ => write!(text, "{cell:<width$}  "),
                };
            }
            let _ = writeln!(out, "{}", text.trim_end());
        };
        line(HEAD);
        rows.iter().for_each(|row| line(std::array::from_fn(|column| row[column].as_str())));
        let sums = self.sums();
        let _ = write!(
            out,
            "\n{} launches, {:.2} GFLOP, {:.3} GB; predicted {:.3} ms, floor {:.3} ms: {:.0} % of the roof\n",
            sums.launches,
            sums.gflop,
            sums.gbyte,
            sums.milliseconds,
            sums.floor_milliseconds,
            100.0 * sums.share_of_roof
        );
        let _ = writeln!(out, "memory     {} of {}", gib(self.peak_bytes), gib(self.gpu_bytes));
        for share in self.memory.iter().filter(|share| share.bytes > 0) {
            let _ = writeln!(out, "           {:<12}{:>10}", share.kind, gib(share.bytes));
        }
        out
    }
}

fn cells(number: usize, line: &Launched) -> [String; COLUMNS] {
    [
        number.to_string(),
        line.layer.clone(),
        line.pass.to_owned(),
        line.kernel.to_owned(),
        axes(line.grid),
        line.tiles.to_string(),
        format!("{:.2}", line.waves),
        format!("{:.2}", line.bytes as f64 / 1e6),
        format!("{:.2}", line.flops as f64 / 1e9),
        format!("{:.1}", line.microseconds),
        format!("{:.1}", line.floor_microseconds),
        format!("{:.0} %", 100.0 * line.share_of_floor),
        line.bound.to_owned(),
    ]
}

/// `1266x1`: axes of one at the end are left out.
fn axes(axes: [u32; 3]) -> String {
    let last = axes.iter().rposition(|&axis| axis > 1).unwrap_or(0);
    axes[..=last].iter().map(u32::to_string).collect::<Vec<_>>().join("x")
}

/// Memory in binary units, as `nvidia-smi` counts them.
pub fn gib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1000.0 { format!("{mib:.1} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_table_with_sums_below() {
        let launched = |layer: &str, bytes, flops, microseconds, floor| Launched {
            layer: layer.into(),
            pass: "forward",
            kernel: "add",
            grid: [12, 1, 1],
            block: [256, 1, 1],
            bytes,
            flops,
            microseconds,
            bound: "bandwidth",
            tiles: 12,
            waves: 0.05,
            floor_microseconds: floor,
            share_of_floor: floor / microseconds,
        };
        let plan = Planned {
            title: "a step".into(),
            precision: "f32",
            gpu: "a GPU".into(),
            launches: vec![
                launched("one", 1_500_000, 0, 10.0, 5.0),
                launched("block1", 500_000, 2_000_000_000, 30.0, 15.0),
            ],
            peak_bytes: 3 << 30,
            memory: vec![
                Share { kind: "weights", bytes: 2 << 30 },
                Share { kind: "optimizer", bytes: 0 },
                Share { kind: "scratch", bytes: 1 << 20 },
            ],
            gpu_bytes: 80_000_000_000,
        };
        let expected = "\
a step
a GPU

#  layer   pass     kernel  grid  tiles  waves    MB  GFLOP    µs  floor  of it  bound by
1  one     forward  add     12       12   0.05  1.50   0.00  10.0    5.0   50 %  bandwidth
2  block1  forward  add     12       12   0.05  0.50   2.00  30.0   15.0   50 %  bandwidth

2 launches, 2.00 GFLOP, 0.002 GB; predicted 0.040 ms, floor 0.020 ms: 50 % of the roof
memory     3.0 GiB of 74.5 GiB
           weights        2.0 GiB
           scratch        1.0 MiB
";
        assert_eq!(plan.text(), expected);
        assert_eq!([[1, 1, 1], [3, 1, 1], [3, 1, 2]].map(axes), ["1", "3", "3x1x2"]);
    }
}
