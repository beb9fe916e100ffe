//! The training curves as one self-contained SVG: loss above, accuracy below, epochs to the right.
//!
//! In: a [`History`]. Out: text of an SVG of 800 x 600 units that follows the reader's light or dark
//! theme. Points are what was measured; lines are a local fit (`smooth`), stage by stage.

mod axis;
mod smooth;

use crate::train::{Epoch, History};
use axis::{Axis, FARTHEST};
use std::fmt::Write as _;
use std::ops::Range;

const LEFT: f64 = 64.0;
const RIGHT: f64 = 776.0;
/// Top and bottom of the two panels.
const PANELS: [(f64, f64); 2] = [(106.0, 312.0), (352.0, 558.0)];

/// Blue and vermillion of Okabe and Ito ("Color universal design", 2008) and their brighter relatives
/// on dark ground: told apart with every common colour vision, and by filled and hollow points.
const STYLE: &str = "\
svg.curves{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif;fill:#5b6470}\
.curves .ground{fill:#ffffff}\
.curves .title{font-size:18px;font-weight:600;fill:#1c2128}\
.curves .name{font-size:13px;font-weight:600;fill:#1c2128}\
.curves .grid{stroke:#e8eaed;stroke-width:1}\
.curves .edge{stroke:#9aa2ad;stroke-width:1}\
.curves .stage{stroke:#9aa2ad;stroke-width:1;stroke-dasharray:3 3}\
.curves .line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}\
.curves .training .line{stroke:#0072b2}\
.curves .training circle{fill:#0072b2;fill-opacity:.45}\
.curves .validation .line{stroke:#d55e00}\
.curves .validation circle{fill:#ffffff;fill-opacity:.9;stroke:#d55e00;stroke-opacity:.65;stroke-width:1.3}\
@media (prefers-color-scheme:dark){\
svg.curves{fill:#9aa4b0}\
.curves .ground{fill:#15181d}\
.curves .title,.curves .name{fill:#e8ebef}\
.curves .grid{stroke:#262b32}\
.curves .edge,.curves .stage{stroke:#5b6470}\
.curves .training .line{stroke:#56b4e9}\
.curves .training circle{fill:#56b4e9}\
.curves .validation .line{stroke:#e69f00}\
.curves .validation circle{fill:#15181d;stroke:#e69f00}\
}";

/// Training and validation, in the order of [`Panel::series`].
const SERIES: [&str; 2] = ["training", "validation"];

/// What a series shows of an epoch.
type Measure = fn(&Epoch) -> Option<f64>;

struct Panel {
    name: &'static str,
    series: [Measure; 2],
    top: f64,
    bottom: f64,
}

/// Draws the history. NaN, infinite and absurd values are left out and counted in a note; a
/// history without epochs gives an empty diagram that says so.
pub fn curves_svg(history: &History) -> String {
    let epochs = &history.epochs[..];
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"curves\" viewBox=\"0 0 800 600\" width=\"800\" \
         height=\"600\" role=\"img\">\n<title>Training history</title>\n<desc>{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"800\" height=\"600\"/>",
        escape(&subtitle(epochs))
    );
    text(&mut out, "title", 24.0, 36.0, "start", "Training history");
    text(&mut out, "", 24.0, 58.0, "start", &subtitle(epochs));
    let has_validation = epochs.iter().any(|e| e.val_loss.is_some() || e.val_accuracy.is_some());
    legend(&mut out, if has_validation { 2 } else { 1 });

    let x = Axis::epochs(epochs.len(), LEFT, RIGHT);
    let panels: [(&str, [Measure; 2]); 2] = [
        ("Loss", [|e| Some(e.loss), |e| e.val_loss]),
        ("Accuracy", [|e| Some(e.accuracy), |e| e.val_accuracy]),
    ];
    for ((name, series), (top, bottom)) in panels.into_iter().zip(PANELS) {
        panel(&mut out, &Panel { name, series, top, bottom }, epochs, &x);
    }
    let [(top, _), (_, bottom)] = PANELS;
    for (at, label) in x.ticks() {
        text(&mut out, "", at, bottom + 18.0, "middle", &label);
    }
    text(&mut out, "", RIGHT, bottom + 34.0, "end", "epoch");
    stage_rules(&mut out, epochs, &x, top - 22.0, bottom);
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, p: &Panel, epochs: &[Epoch], x: &Axis) {
    let values: Vec<f64> = epochs.iter().flat_map(|e| p.series.map(|of| of(e))).flatten().collect();
    let drawable = |v: &f64| v.abs() <= FARTHEST;
    let drawn = || values.iter().copied().filter(drawable);
    let y = Axis::values(drawn(), p.bottom, p.top);

    for (at, label) in y.ticks() {
        line(out, "grid", [LEFT, at, RIGHT, at]);
        text(out, "", LEFT - 10.0, at + 4.0, "end", &label);
    }
    line(out, "edge", [LEFT, p.bottom, RIGHT, p.bottom]);
    for (at, _) in x.ticks() {
        line(out, "edge", [at, p.bottom, at, p.bottom + 4.0]);
    }
    text(out, "name", 24.0, p.top - 15.0, "start", p.name);

    let stages = stages(epochs);
    for (series, of) in SERIES.iter().zip(p.series) {
        let _ = writeln!(out, "<g class=\"{series}\">");
        let points: Vec<(f64, f64)> = epochs
            .iter()
            .zip(1u32..)
            .filter_map(|(e, i)| of(e).filter(drawable).map(|v| (f64::from(i), v)))
            .collect();
        let radius = if epochs.len() > 120 { 1.6 } else { 3.2 - epochs.len() as f64 / 100.0 };
        for &(at, value) in &points {
            let e = &epochs[at as usize - 1];
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{} epoch {}: {series} {} {value:.4}</title></circle>",
                x.place(at),
                y.place(value),
                escape(&e.stage),
                e.epoch,
                p.name.to_lowercase()
            );
        }
        for stage in &stages {
            let within = |&&(at, _): &&(f64, f64)| stage.contains(&(at as usize - 1));
            let part: Vec<(f64, f64)> = points.iter().filter(within).copied().collect();
            let path: Vec<String> = smooth::smooth(&part)
                .iter()
                .map(|&(at, value)| format!("{:.1} {:.1}", x.place(at), y.place(value)))
                .collect();
            if path.len() > 1 {
                let _ = writeln!(out, "<path class=\"line\" d=\"M{}\"/>", path.join("L"));
            }
        }
        out.push_str("</g>\n");
    }

    let missing = values.len() - drawn().count();
    let note = match (values.is_empty(), missing) {
        (true, _) => "no epochs yet".to_owned(),
        (_, 0) => return,
        (_, 1) => "1 value cannot be drawn".to_owned(),
        (_, n) => format!("{n} values cannot be drawn"),
    };
    text(out, "", RIGHT - 6.0, p.top + 16.0, "end", &note);
}

/// Where one stage ends and the next begins, through both panels; names stand above.
fn stage_rules(out: &mut String, epochs: &[Epoch], x: &Axis, top: f64, bottom: f64) {
    let stages = stages(epochs);
    if stages.len() < 2 {
        return;
    }
    for stage in stages {
        let from = if stage.start == 0 { LEFT } else { x.place(stage.start as f64 + 0.5) };
        let to = if stage.end == epochs.len() { RIGHT } else { x.place(stage.end as f64 + 0.5) };
        if stage.start > 0 {
            line(out, "stage", [from, top, from, bottom]);
        }
        let name = &epochs[stage.start].stage;
        // A wide letter takes 6.5 units; a name that would run into the next stage is left to the
        // points' tooltips.
        if to - from > 6.5 * name.chars().count() as f64 + 12.0 {
            text(out, "", from + 7.0, top + 7.0, "start", name);
        }
    }
}

fn legend(out: &mut String, entries: usize) {
    // Right-aligned; the widths are those of the two words with their mark.
    let mut at = RIGHT - if entries == 2 { 190.0 } else { 84.0 };
    for series in &SERIES[..entries] {
        let _ = writeln!(
            out,
            "<g class=\"{series}\"><path class=\"line\" d=\"M{:.0} 32L{:.0} 32\"/><circle cx=\"{:.0}\" cy=\"32\" r=\"3.2\"/></g>",
            at,
            at + 24.0,
            at + 12.0
        );
        text(out, "", at + 31.0, 36.0, "start", series);
        at += 100.0;
    }
}

/// What the curves say, in one line.
fn subtitle(epochs: &[Epoch]) -> String {
    let count = match epochs.len() {
        0 => return "no epochs".into(),
        1 => "1 epoch".to_owned(),
        n => format!("{n} epochs"),
    };
    // The first of equals: `max_by` alone would give the last.
    let best = epochs
        .iter()
        .zip(1..)
        .filter_map(|(e, i)| e.val_accuracy.filter(|v| v.is_finite()).map(|v| (v, i)))
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    match best {
        Some((value, i)) => format!("{count}, best validation accuracy {value:.3} in epoch {i}"),
        None => count,
    }
}

/// Runs of epochs of the same stage, as indices.
fn stages(epochs: &[Epoch]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    for run in epochs.chunk_by(|a, b| a.stage == b.stage) {
        out.push(start..start + run.len());
        start += run.len();
    }
    out
}

fn line(out: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn text(out: &mut String, class: &str, x: f64, y: f64, anchor: &str, words: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = writeln!(
        out,
        "<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(words)
    );
}

/// Text for XML; characters that XML 1.0 cannot hold are dropped.
fn escape(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
