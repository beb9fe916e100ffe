//! The training curves: loss above, accuracy below, epochs to the right, as R's `plot(history)`.
//!
//! In: a [`History`]. Out: a [`Chart`]. Points are what was measured; lines are a local fit, stage by stage.

use super::chart::{Chart, Line, Panel, Point, Series, Stage};
use crate::train::{Epoch, History};
use std::ops::Range;

/// What a series shows of an epoch.
type Measure = fn(&Epoch) -> Option<f64>;

/// The names of a history's series, and what the panels show of each.
const SERIES: [&str; 2] = ["training", "validation"];
const PANELS: [(&str, [Measure; 2]); 2] =
    [("Loss", [|e| Some(e.loss), |e| e.val_loss]), ("Accuracy", [|e| Some(e.accuracy), |e| e.val_accuracy])];

/// The history's diagram. NaN, infinite and absurd values are left out and counted in a note; a history
/// without epochs gives an empty diagram that says so.
pub fn curves(history: &History) -> Chart {
    let epochs = &history.epochs[..];
    let has_validation = epochs.iter().any(|e| e.val_loss.is_some() || e.val_accuracy.is_some());
    let count = if has_validation { 2 } else { 1 };
    let stages = stages(epochs);
    let panels = PANELS.map(|(name, measures)| Panel {
        name: name.into(),
        lines: measures[..count]
            .iter()
            .zip(SERIES)
            .map(|(of, series)| line(epochs, &stages, *of, &format!("{series} {}", name.to_lowercase())))
            .collect(),
    });
    Chart {
        title: "Training history".into(),
        subtitle: subtitle(epochs),
        epochs: epochs.len(),
        stages: stages
            .into_iter()
            .map(|epochs_of| Stage { name: epochs[epochs_of.start].stage.clone(), epochs: epochs_of })
            .collect(),
        series: (0..count).map(|i| Series { name: SERIES[i].into(), colour: i, hollow: i == 1 }).collect(),
        panels,
    }
}

/// Several histories in one diagram: validation where there is one, else training, which the run's name then says.
pub fn comparison(runs: &[(String, &History)]) -> Chart {
    let validated = |history: &History| history.epochs.iter().any(|epoch| epoch.val_loss.is_some());
    let named = |&(ref name, history): &(String, _)| {
        (if validated(history) { name.clone() } else { format!("{name} (training)") }, history)
    };
    let runs: Vec<(String, &History)> = runs.iter().map(named).collect();
    let of_run = |history: &History, name: &str, both: [Measure; 2]| {
        let of = both[usize::from(history.epochs.iter().any(|e| both[1](e).is_some()))];
        line(&history.epochs, &stages(&history.epochs), of, name)
    };
    let panels = PANELS.map(|(name, measures)| Panel {
        name: name.into(),
        lines: runs.iter().map(|(run, history)| of_run(history, run, measures)).collect(),
    });
    let best = runs
        .iter()
        .filter_map(|(name, history)| Some((best(&history.epochs)?, name)))
        .reduce(|best, next| if next.0.0 > best.0.0 { next } else { best });
    Chart {
        title: "Validation of runs".into(),
        subtitle: best.map_or(format!("{} runs", runs.len()), |((value, epoch), name)| {
            format!("{} runs, best validation accuracy {value:.3}: {name}, epoch {epoch}", runs.len())
        }),
        epochs: runs.iter().map(|(_, history)| history.epochs.len()).max().unwrap_or_default(),
        stages: Vec::new(),
        series: runs
            .iter()
            .enumerate()
            .map(|(i, (name, _))| Series { name: name.clone(), colour: i, hollow: i % 2 == 1 })
            .collect(),
        panels,
    }
}

fn line(epochs: &[Epoch], stages: &[Range<usize>], of: Measure, name: &str) -> Line {
    let point = |(e, i): (&Epoch, usize)| {
        let value = of(e)?;
        let label = format!("{} epoch {}: {name} {value:.4}", e.stage, e.epoch);
        Some(Point { epoch: i, value, label })
    };
    Line { points: epochs.iter().zip(1..).filter_map(point).collect(), runs: stages.to_vec() }
}

/// What the curves say, in one line.
fn subtitle(epochs: &[Epoch]) -> String {
    let count = match epochs.len() {
        0 => return "no epochs".into(),
        n => super::counted(n, "epoch"),
    };
    match best(epochs) {
        Some((value, i)) => format!("{count}, best validation accuracy {value:.3} in epoch {i}"),
        None => count,
    }
}

/// The best validation accuracy and its epoch, from 1 through all stages; the first of equals.
pub fn best(epochs: &[Epoch]) -> Option<(f64, usize)> {
    epochs
        .iter()
        .zip(1..)
        .filter_map(|(e, i)| e.val_accuracy.filter(|v| v.is_finite()).map(|v| (v, i)))
        // `max_by` would give the last of equals.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
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

#[cfg(test)]
mod tests;
