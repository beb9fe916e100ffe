//! Panels over epochs, one below the other: points as they were measured, a local fit (`smooth`) through them.
//!
//! In: a [`Chart`], plain names and numbers. Out: an SVG that follows the reader's light or dark theme
//! ([`Chart::svg`]), or the same as PNG pixels ([`Chart::png`]). Both paint the same list of marks.

mod axis;
mod font;
mod paint;
mod png;
mod smooth;
mod svg;

use axis::{Axis, FARTHEST};
use std::ops::Range;
pub use svg::escape;

/// The panels' left end.
pub(super) const LEFT: f64 = 64.0;
/// Their right end.
pub(super) const RIGHT: f64 = 776.0;
/// Width of the whole.
const WIDTH: f64 = 800.0;
/// Top and bottom of the panels.
pub(super) const PANELS: [(f64, f64); 2] = [(106.0, 312.0), (352.0, 558.0)];
/// Height without a legend below.
const HEIGHT: f64 = 600.0;
/// Height of a legend's row.
const ROW: f64 = 20.0;

/// What is drawn in two panels.
pub struct Chart {
    /// Above all.
    pub title: String,
    /// Below the title.
    pub subtitle: String,
    /// How many epochs there are.
    pub epochs: usize,
    /// Where stages end; nothing is marked for fewer than two.
    pub stages: Vec<Stage>,
    /// What is compared.
    pub series: Vec<Series>,
    /// The panels.
    pub panels: [Panel; 2],
}

/// A stage of training.
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its epochs, from 0.
    pub epochs: Range<usize>,
}

/// Lines of one colour.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its place in the palette.
    pub colour: usize,
    /// Whether points are hollow.
    pub hollow: bool,
}

/// One measure.
pub struct Panel {
    /// Its name.
    pub name: String,
    /// The points of each series.
    pub lines: Vec<Line>,
}

/// The points of a series.
#[derive(Default)]
pub struct Line {
    /// With rising epochs.
    pub points: Vec<Point>,
    /// Runs of epochs (from 0) that are smoothed on their own; between them the line is broken.
    pub runs: Vec<Range<usize>>,
}

/// A measurement.
pub struct Point {
    /// The epoch, from 1.
    pub epoch: usize,
    /// What was measured.
    pub value: f64,
    /// What a pointer that rests on it is told.
    pub label: String,
}

/// How text and lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    Title,
    Name,
    Words,
    Grid,
    Edge,
    Stage,
}

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// Something to paint.
enum Mark {
    Text { ink: Ink, at: [f64; 2], anchor: Anchor, words: String },
    Rule { ink: Ink, ends: [f64; 4] },
    Dot { series: usize, at: [f64; 2], radius: f64, label: String },
    Path { series: usize, points: Vec<[f64; 2]> },
}

impl Chart {
    fn height(&self) -> f64 {
        if self.keys_below() { HEIGHT + ROW * self.series.len() as f64 } else { HEIGHT }
    }

    /// Whether the legend has rows of its own: there are many series, or names too long for the title's line.
    fn keys_below(&self) -> bool {
        self.series.len() > 2
            || self.series.iter().any(|series| series.name.chars().count() > "validation".len())
    }

    /// Everything, back to front.
    fn marks(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        text(&mut marks, Ink::Title, [24.0, 36.0], Anchor::Start, &self.title);
        text(&mut marks, Ink::Words, [24.0, 58.0], Anchor::Start, &self.subtitle);
        self.legend(&mut marks);
        let x = Axis::epochs(self.epochs, LEFT, RIGHT);
        for (panel, ends) in self.panels.iter().zip(PANELS) {
            self.panel(&mut marks, panel, ends, &x);
        }
        let [(top, _), (_, bottom)] = PANELS;
        for (at, label) in x.ticks() {
            text(&mut marks, Ink::Words, [at, bottom + 18.0], Anchor::Middle, &label);
        }
        text(&mut marks, Ink::Words, [RIGHT, bottom + 34.0], Anchor::End, "epoch");
        self.stage_rules(&mut marks, &x, top - 22.0, bottom);
        marks
    }

    /// One or two short names stand right of the title, others in rows of their own at the foot.
    fn legend(&self, marks: &mut Vec<Mark>) {
        let mut key = |series: usize, [x, y]: [f64; 2]| {
            marks.push(Mark::Path { series, points: vec![[x, y], [x + 24.0, y]] });
            marks.push(Mark::Dot { series, at: [x + 12.0, y], radius: 3.2, label: String::new() });
            text(marks, Ink::Words, [x + 31.0, y + 4.0], Anchor::Start, &self.series[series].name);
        };
        match self.series.len() {
            n if self.keys_below() => (0..n).for_each(|i| key(i, [LEFT, HEIGHT + ROW * i as f64])),
            // The widths are those of "training" and "validation" with their mark.
            1 => key(0, [RIGHT - 84.0, 32.0]),
            2 => [0, 1].into_iter().for_each(|i| key(i, [RIGHT - 190.0 + 100.0 * i as f64, 32.0])),
            _ => {}
        }
    }

    fn panel(&self, marks: &mut Vec<Mark>, panel: &Panel, (top, bottom): (f64, f64), x: &Axis) {
        let values = || panel.lines.iter().flat_map(|line| &line.points).map(|point| point.value);
        let drawable = |v: &f64| v.abs() <= FARTHEST;
        let y = Axis::values(values().filter(drawable), bottom, top);
        for (at, label) in y.ticks() {
            marks.push(Mark::Rule { ink: Ink::Grid, ends: [LEFT, at, RIGHT, at] });
            text(marks, Ink::Words, [LEFT - 10.0, at + 4.0], Anchor::End, &label);
        }
        marks.push(Mark::Rule { ink: Ink::Edge, ends: [LEFT, bottom, RIGHT, bottom] });
        for (at, _) in x.ticks() {
            marks.push(Mark::Rule { ink: Ink::Edge, ends: [at, bottom, at, bottom + 4.0] });
        }
        text(marks, Ink::Name, [24.0, top - 15.0], Anchor::Start, &panel.name);

        let radius = if self.epochs > 120 { 1.6 } else { 3.2 - self.epochs as f64 / 100.0 };
        for (series, line) in panel.lines.iter().enumerate() {
            let points: Vec<&Point> = line.points.iter().filter(|point| drawable(&point.value)).collect();
            for point in &points {
                let at = [x.place(point.epoch as f64), y.place(point.value)];
                marks.push(Mark::Dot { series, at, radius, label: point.label.clone() });
            }
            for run in &line.runs {
                let within = points.iter().filter(|point| run.contains(&(point.epoch - 1)));
                let part: Vec<(f64, f64)> = within.map(|p| (p.epoch as f64, p.value)).collect();
                let fit = smooth::smooth(&part);
                let path: Vec<[f64; 2]> = fit.iter().map(|&(at, v)| [x.place(at), y.place(v)]).collect();
                if path.len() > 1 {
                    marks.push(Mark::Path { series, points: path });
                }
            }
        }

        let missing = values().filter(|v| !drawable(v)).count();
        let note = match (values().next(), missing) {
            (None, _) => "no epochs yet".to_owned(),
            (_, 0) => return,
            (_, 1) => "1 value cannot be drawn".to_owned(),
            (_, n) => format!("{n} values cannot be drawn"),
        };
        text(marks, Ink::Words, [RIGHT - 6.0, top + 16.0], Anchor::End, &note);
    }

    /// Where one stage ends and the next begins, through both panels; names stand above.
    fn stage_rules(&self, marks: &mut Vec<Mark>, x: &Axis, top: f64, bottom: f64) {
        if self.stages.len() < 2 {
            return;
        }
        for Stage { name, epochs } in &self.stages {
            let from = if epochs.start == 0 { LEFT } else { x.place(epochs.start as f64 + 0.5) };
            let to = if epochs.end == self.epochs { RIGHT } else { x.place(epochs.end as f64 + 0.5) };
            if epochs.start > 0 {
                marks.push(Mark::Rule { ink: Ink::Stage, ends: [from, top, from, bottom] });
            }
            // A wide letter takes 6.5 units; a name that would run into the next stage is left to the
            // points' tooltips.
            if to - from > 6.5 * name.chars().count() as f64 + 12.0 {
                text(marks, Ink::Words, [from + 7.0, top + 7.0], Anchor::Start, name);
            }
        }
    }
}

fn text(marks: &mut Vec<Mark>, ink: Ink, at: [f64; 2], anchor: Anchor, words: &str) {
    marks.push(Mark::Text { ink, at, anchor, words: words.to_owned() });
}
