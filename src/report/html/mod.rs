//! A run as one page: `report.html`, with everything inside it, readable without a network.
//!
//! In: a [`Page`], plain names, numbers and small images. Out: HTML. Each part is a function of its data alone;
//! a part without data says why it is missing.

mod mistakes;
mod image;
mod plots;
mod tables;

pub use image::{Thumbnail, thumbnails};
pub use mistakes::{Mistake, worst};
pub use tables::duration;

use super::Outcome;
use super::calibration::Calibration;
use super::chart::escape;
use super::curves::{best, curves};
use super::ranking::{against_the_rest, called};
use super::roc::Roc;
use crate::data::Split;
use crate::train::History;
use std::fmt::Write as _;

/// Everything that the page shows.
pub struct Page<'a> {
    /// The run's name.
    pub title: String,
    /// What it is, in a sentence.
    pub subtitle: String,
    /// The epochs.
    pub history: &'a History,
    /// The epoch, from 1 through all stages, whose weights the model has, if the run says so.
    pub kept: Option<usize>,
    /// What an epoch of each stage goes through, by its name: samples of training and of validation.
    pub passes: &'a [(String, [f64; 2])],
    /// Labelled images and what the network says of them.
    pub verdict: Option<Verdict<'a>>,
    /// Why there is no verdict, or how it was found.
    pub remark: String,
    /// Names and values of the configuration's main points.
    pub settings: Vec<(String, String)>,
    /// The whole configuration as it lies in the run.
    pub config: String,
    /// What it was computed on, with what.
    pub environment: Vec<(String, String)>,
    /// Wall-clock seconds of the whole job.
    pub seconds: f64,
}

/// Predictions beside the truth.
pub struct Verdict<'a> {
    /// `test` or `validation`; nothing for a folder without splits.
    pub split: Option<Split>,
    /// "the test images", "all images of pets".
    pub judged: String,
    /// Counts and scores.
    pub outcome: &'a Outcome,
    /// The true class of each image.
    pub labels: &'a [u32],
    /// One row per image, one column per class.
    pub probabilities: &'a [Vec<f32>],
    /// The mistakes to show, the most confident first.
    pub mistakes: Vec<Mistake>,
    /// How many mistakes there are.
    pub wrong: usize,
    /// How the mistakes' maps were made, or why there are none.
    pub maps: String,
}

impl Verdict<'_> {
    /// The curve of each class against the rest; of two classes, that of the second alone.
    fn rocs(&self) -> Vec<(&str, Option<Roc>)> {
        let classes = &self.outcome.classes;
        let first = usize::from(classes.len() == 2);
        (first..classes.len())
            .map(|class| {
                let samples = against_the_rest(class, self.labels, self.probabilities);
                (classes[class].as_str(), Roc::new(samples))
            })
            .collect()
    }

    fn calibration(&self) -> Option<Calibration> {
        Calibration::new(&called(self.labels, self.probabilities), self.outcome.classes.len())
    }
}

/// The column with the highest probability, the first of equals; 0 of an empty row.
pub fn highest(row: &[f32]) -> usize {
    (0..row.len()).reduce(|best, k| if row[k] > row[best] { k } else { best }).unwrap_or_default()
}

/// What stands before the name of the split that a page is on, in its head.
const SPLIT: &str = "<meta name=\"vgg-ft-split\" content=\"";

/// The split that a page is on, by its first bytes; none where it is on none, or older than the mark.
pub fn split_of(begin: &str) -> Option<&str> {
    begin.split_once(SPLIT)?.1.split_once('"').map(|(split, _)| split)
}

/// The page.
pub fn page(page: &Page<'_>) -> String {
    let mut out = String::new();
    let (title, subtitle) = (escape(&page.title), escape(&page.subtitle));
    // What a later report asks, before it takes this one's place.
    let split = page.verdict.as_ref().and_then(|verdict| verdict.split);
    let split = split.map_or_else(String::new, |split| format!("{SPLIT}{split}\">\n"));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{split}\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title} – vgg-ft</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n\
         <header><h1>{title}</h1><p>{subtitle}</p></header>\n",
        include_str!("style.css")
    );
    let rocs = page.verdict.as_ref().map(Verdict::rocs).unwrap_or_default();
    out += &tiles(page, &rocs);
    let mut part = |id: &str, heading: &str, body: &str| {
        let _ = writeln!(out, "<section id=\"{id}\">\n<h2>{heading}</h2>\n{body}</section>");
    };
    part("curves", "Training", &format!("<div>{}</div>", curves(page.history).svg()));
    match &page.verdict {
        None => part("verdict", "Predictions", &format!("<p class=\"empty\">{}</p>\n", escape(&page.remark))),
        Some(verdict) => {
            let heading = format!("On {}", escape(&verdict.judged));
            let remark = format!("<p class=\"note\">{}</p>\n", escape(&page.remark));
            part("classes", &heading, &(remark + &tables::classes(verdict.outcome)));
            part("roc", "Confidence", &confidence(verdict, &rocs));
            part("mistakes", "Worst mistakes", &mistakes::gallery(verdict));
        }
    }
    part("timings", "Timings", &tables::timings(page.history, page.passes, page.seconds));
    let settings = tables::facts(&page.settings)
        + &format!("<details><summary>run.toml</summary><pre>{}</pre></details>\n", lines(&page.config));
    part("configuration", "Configuration", &settings);
    part("environment", "Environment", &tables::facts(&page.environment));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Escaped line by line: a line break is a character that XML text may lose.
fn lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// The figures that everybody asks for first.
fn tiles(page: &Page<'_>, rocs: &[(&str, Option<Roc>)]) -> String {
    let mut tiles = Vec::new();
    if let Some(verdict) = &page.verdict {
        let [low, high] = verdict.outcome.interval;
        let split = verdict.split.map_or(String::new(), |split| format!("{split} "));
        tiles.push((
            format!("{:.4}", verdict.outcome.accuracy),
            format!("{split}accuracy, 95 % interval {low:.3} to {high:.3}"),
        ));
        tiles.push((format!("{:.4}", verdict.outcome.loss), format!("{split}loss")));
        let areas: Vec<f64> = rocs.iter().filter_map(|(_, roc)| Some(roc.as_ref()?.area)).collect();
        if !areas.is_empty() {
            let mean = areas.iter().sum::<f64>() / areas.len() as f64;
            let what =
                if areas.len() == 1 { "area under the ROC curve" } else { "mean area under the ROC curves" };
            tiles.push((format!("{mean:.4}"), what.into()));
        }
    }
    let of_kept = page.kept.and_then(|kept| Some((page.history.epochs.get(kept - 1)?.val_accuracy?, kept)));
    let (what, than) = match (of_kept, best(&page.history.epochs)) {
        (Some((kept, epoch)), Some((best, other))) if best > kept => (
            Some((kept, format!("validation accuracy of the weights that were kept, epoch {epoch}"))),
            format!("; {best:.4} in epoch {other}"),
        ),
        (_, best) => (
            best.map(|(best, epoch)| (best, format!("best validation accuracy, epoch {epoch}"))),
            String::new(),
        ),
    };
    if let Some((accuracy, what)) = what {
        tiles.push((format!("{accuracy:.4}"), what + &than));
    }
    tiles.push((duration(page.seconds), "the whole job".into()));
    let tiles: String = tiles
        .iter()
        .map(|(value, what)| {
            format!("<div class=\"tile\"><b>{value}</b><span>{}</span></div>\n", escape(what))
        })
        .collect();
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

fn confidence(verdict: &Verdict<'_>, rocs: &[(&str, Option<Roc>)]) -> String {
    let left = format!("<div><h3>ROC</h3>\n{}{}</div>\n", plots::roc(rocs), tables::areas(rocs));
    let right = match verdict.calibration() {
        Some(calibration) => format!(
            "<div id=\"calibration\"><h3>Reliability</h3>\n{}<p class=\"note\">Expected calibration error \
             <b>{:.4}</b>: the mean gap between confidence and accuracy, by images, in {} bins from {:.2} to \
             1. Bars are the accuracy of images called with that confidence; the outlined part is the gap; below, how many there are.</p>\
             </div>\n",
            plots::reliability(&calibration),
            calibration.error,
            calibration.bins.len(),
            calibration.bins.first().map_or(0.0, |bin| bin.low)
        ),
        None => {
            "<div id=\"calibration\"><p class=\"empty\">There are no probabilities to calibrate.</p></div>\n"
                .into()
        }
    };
    format!("<div class=\"pair\">\n{left}{right}</div>\n")
}

#[cfg(test)]
mod tests;
