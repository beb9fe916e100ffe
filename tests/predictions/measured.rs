//! Calls that were timed on a GPU, and what the model says of each.

use super::layers::{BATCH, CONV2D, CONV2D_MAXPOOL2D};
use serde_json::Value;
use std::fs;
use std::path::Path;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::plan::{Card, Line, Mark, Plan, lines};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::shape::Conv2d;

/// A run of the benches on a GPU.
#[derive(Clone, Copy)]
pub struct Set {
    pub name: &'static str,
    pub precision: Precision,
    pub kernels: Kernels,
}

pub const SETS: [Set; 8] = [
    Set { name: "f32", precision: Precision::F32, kernels: Kernels::Portable },
    Set { name: "f32, winograd", precision: Precision::F32, kernels: Kernels::Winograd },
    Set { name: "tf32x3", precision: Precision::Tf32x3, kernels: Kernels::Portable },
    Set { name: "tf32", precision: Precision::Tf32, kernels: Kernels::Portable },
    Set { name: "tf32, sm90a", precision: Precision::Tf32, kernels: Kernels::Sm90a },
    Set { name: "f16", precision: Precision::F16, kernels: Kernels::Portable },
    Set { name: "bf16", precision: Precision::Bf16, kernels: Kernels::Portable },
    Set { name: "bf16, sm90a", precision: Precision::Bf16, kernels: Kernels::Sm90a },
];

/// The run of all sets in one call, on an H200: a line of JSON for each.
const RUN: &str = "h200-2026-11-27-evening";

/// Calls of f32 were timed at one layer in that run, at all of them the day before.
const F32: &str = "h200-2026-11-26-f32-kernels.json";

/// The calls of a convolution.
pub const CALLS: [&str; 4] =
    ["conv2d_forward", "conv2d_maxpool2d_forward", "conv2d_backward_input", "conv2d_backward_weight"];

/// Whether what runs now is not what ran in [`RUN`]: Hopper's own gradient of weights in tf32 came a day later, and
/// what reads 32-bit numbers across the depth finds them with fewer instructions since then (`kernels/mma.cuh`).
pub fn replaced(set: Set, call: &str) -> bool {
    let across = match set.precision {
        Precision::Tf32 if set.kernels == Kernels::Sm90a => &["conv2d_backward_weight"][..],
        Precision::Tf32 | Precision::Tf32x3 => &["conv2d_backward_weight", "conv2d_backward_input"],
        _ => &[],
    };
    across.contains(&call)
}

/// One call at one layer: microseconds.
pub struct Row {
    pub call: &'static str,
    pub layer: &'static str,
    /// None of what no GPU has run yet.
    pub measured: Option<f64>,
    pub predicted: f64,
    pub floor: f64,
    pub kernels: String,
}

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results").join(name)).unwrap()
}

/// What a bench (`kernels` or `steps`) printed of a set: `auto` takes Hopper's own kernels of bf16.
pub fn results(set: Set, bench: &str) -> Value {
    if set.name == "f32" && bench == "kernels" {
        return serde_json::from_str(&text(F32)).unwrap();
    }
    let kernels = match set.kernels {
        Kernels::Sm90a if set.precision == Precision::Bf16 => Kernels::Auto,
        kernels => kernels,
    };
    let (precision, kernels) = (set.precision.to_string(), kernels.to_string());
    let text = text(&format!("{RUN}-{bench}.jsonl"));
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["precision"] == *precision && line["kernels"] == *kernels).unwrap()
}

/// Microseconds of the line whose id begins so.
pub fn microseconds(results: &Value, id: &str) -> Option<f64> {
    let lines = results["lines"].as_array().unwrap();
    lines.iter().find(|line| line["id"].as_str().unwrap().starts_with(id))?["microseconds"].as_f64()
}

/// The convolutions of a run.
pub fn rows(set: Set) -> Vec<Row> {
    let results = results(set, "kernels");
    let card = Card::named("h200").unwrap();
    let mut rows = Vec::new();
    for call in CALLS {
        let layers = if call == "conv2d_maxpool2d_forward" { CONV2D_MAXPOOL2D } else { CONV2D };
        for &(layer, side, c_in, c_out) in layers {
            // Nobody asks for the images' gradient.
            if call == "conv2d_backward_input" && c_in == 3 {
                continue;
            }
            let geometry = Conv2d { n: BATCH, h: side, w: side, c_in, c_out };
            let measured = microseconds(&results, &format!("{call}/{layer}/"));
            if measured.is_none() {
                // A quick run asks one layer of those whose calls take longest.
                assert_eq!(set.precision, Precision::F32, "{call}/{layer}");
                continue;
            }
            let measured = measured.filter(|_| !replaced(set, call));
            let lines = launches(card, set, call, geometry);
            let sum = |of: fn(&Line) -> f64| 1e6 * lines.iter().map(of).sum::<f64>();
            let kernels: Vec<&str> = lines.iter().map(|line| line.kernel).collect();
            rows.push(Row {
                call,
                layer,
                measured,
                predicted: sum(|line| line.seconds),
                floor: sum(|line| line.floor),
                kernels: kernels.join(" + "),
            });
        }
    }
    rows
}

/// What a call is on a GPU.
pub fn launches(card: &'static Card, set: Set, call: &str, geometry: Conv2d) -> Vec<Line> {
    let gpu = Gpu::new(Plan::new(card)).unwrap().with_precision(set.precision);
    let gpu = gpu.with_kernels(set.kernels).unwrap();
    let g = geometry;
    let kept = set.precision.activations();
    let room = |dtype: Dtype, len: usize| -> Buffer { gpu.alloc(dtype, len).unwrap() };
    let (x, mut y) = (room(kept, g.x().len()), room(kept, g.y().len()));
    let (weight, bias) = (room(kept, g.weight().len()), room(Dtype::F32, g.c_out));
    let mut dweight = room(Dtype::F32, g.weight().len());
    let mut dx = room(kept, g.x().len());
    let mut small = room(kept, g.pool().y().len());
    gpu.driver().mark(Mark::Step);
    let call = match call {
        "conv2d_forward" => {
            Call::Conv2dForward { geometry, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y }
        }
        "conv2d_maxpool2d_forward" => Call::Conv2dMaxpool2dForward {
            geometry,
            x: &x,
            weight: &weight,
            bias: &bias,
            y: &mut small,
            winner: None,
        },
        "conv2d_backward_input" => {
            Call::Conv2dBackwardInput { geometry, dy: &y, weight: &weight, mask: Some(&x), dx: &mut dx }
        }
        _ => Call::Conv2dBackwardWeight { geometry, x: &x, dy: &y, dweight: &mut dweight, dbias: None },
    };
    gpu.run(call).unwrap();
    lines(&gpu.driver().take(), card)
}

/// A table in Markdown.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let rule = line(vec!["---"; head.len()]);
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    line(head.to_vec()) + &rule + &rows.collect::<String>()
}

/// `4.2 %`; of an error with its sign.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// `+4 %`.
pub fn error(predicted: f64, measured: f64) -> String {
    format!("{:+.0} %", 100.0 * (predicted / measured - 1.0))
}

pub fn root_mean_square(errors: &[f64]) -> f64 {
    (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt()
}
