//! The page's tables.

use super::escape;
use super::plots::line;
use crate::report::Outcome;
use crate::report::outcome::{Average, MOST_CLASSES};
use crate::report::roc::Roc;
use crate::train::History;
use std::fmt::Write as _;

/// "0.9412", or a dash for a share of nothing.
fn share(value: Option<f64>) -> String {
    value.map_or("–".into(), |v| format!("{v:.4}"))
}

/// The confusion matrix beside the figures per class.
pub fn classes(outcome: &Outcome) -> String {
    let mut rows = String::new();
    for s in &outcome.scores {
        let _ = writeln!(
            rows,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&s.class),
            share(s.precision),
            share(s.recall),
            share(s.f1),
            s.images
        );
    }
    let Average { precision, recall, f1 } = outcome.macro_average;
    let _ = writeln!(
        rows,
        "<tr><th>(macro avg)</th><td>{precision:.4}</td><td>{recall:.4}</td><td>{f1:.4}</td><td>{}</td></tr>",
        outcome.images
    );
    format!(
        "<div class=\"pair\">\n<div id=\"confusion\"><h3>Confusion</h3>\n{}</div>\n<div id=\"scores\"><h3>By class\
         </h3>\n<div class=\"scroll\"><table><thead><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th>\
         <th>images</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div></div>\n</div>\n",
        confusion(outcome)
    )
}

/// Rows are the truth. A cell is tinted by its share of the row.
fn confusion(outcome: &Outcome) -> String {
    if outcome.classes.len() > MOST_CLASSES {
        return format!(
            "<p class=\"empty\">{} classes are more than a table can show; `vgg-ft evaluate --json` gives all \
             counts.</p>\n",
            outcome.classes.len()
        );
    }
    let heads: String = outcome.classes.iter().map(|class| format!("<th>{}</th>", escape(class))).collect();
    let mut rows = String::new();
    for (i, (class, counts)) in outcome.classes.iter().zip(&outcome.confusion).enumerate() {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        let _ = write!(rows, "<tr><th>{}</th>", escape(class));
        for (k, count) in counts.iter().enumerate() {
            let part = *count as f64 / all;
            let tint = if i == k { "--good" } else { "--bad" };
            let strength = if *count == 0 { 0.04 } else { 0.1 + 0.45 * part };
            let _ = write!(
                rows,
                "<td style=\"background:rgba(var({tint}),{strength:.2})\">{count}<small>{:.1} %</small></td>",
                100.0 * part
            );
        }
        rows.push_str("</tr>\n");
    }
    format!(
        "<div class=\"scroll\"><table class=\"confusion\"><thead><tr><th>true \\ called</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// The colours' key with the areas.
pub fn areas(rocs: &[(&str, Option<Roc>)]) -> String {
    let two = rocs.len() == 1;
    let mut items = String::new();
    for (i, (class, roc)) in rocs.iter().enumerate() {
        let against = if two { "" } else { " against the rest" };
        let area = match roc {
            Some(roc) => format!("AUC <b>{:.4}</b>", roc.area),
            None => "no curve: it needs images of the class and others".into(),
        };
        let (line, class) = (line(i), escape(class));
        let swatch = format!(
            "<svg width=\"24\" height=\"4\" aria-hidden=\"true\"><path class=\"{line}\" d=\"M0 2H24\"/></svg>"
        );
        let _ = writeln!(items, "<li>{swatch}{class}{against}: {area}</li>");
    }
    format!("<ul class=\"key\">\n{items}</ul>\n")
}

/// Seconds by stage, whose epochs go through the samples of `passes`.
pub fn timings(history: &History, passes: &[(String, [f64; 2])], seconds: f64) -> String {
    let mut rows = String::new();
    let mut trained = 0.0;
    for stage in history.epochs.chunk_by(|a, b| a.stage == b.stage) {
        let sum: f64 = stage.iter().map(|e| e.seconds).sum();
        trained += sum;
        let each = sum / stage.len() as f64;
        let seen = passes.iter().find(|(name, _)| *name == stage[0].stage).map(|(_, seen)| *seen);
        let [samples, rate] = match seen {
            Some([learned, checked]) if each > 0.0 => {
                // A part of a pass need not be as many in every epoch.
                let learned_from = if learned.fract() == 0.0 { 0 } else { 1 };
                [
                    format!("{learned:.learned_from$} + {checked}"),
                    format!("{:.1}", (learned + checked) / each),
                ]
            }
            _ => ["–".into(), "–".into()],
        };
        let _ = writeln!(
            rows,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{samples}</td><td>{rate}</td></tr>",
            escape(&stage[0].stage),
            stage.len(),
            duration(sum),
            duration(each)
        );
    }
    let rest = (seconds - trained).max(0.0);
    format!(
        "<div class=\"scroll\"><table><thead><tr><th>stage</th><th>epochs</th><th>time</th><th>an epoch</th>\
         <th>its samples</th><th>samples a second</th></tr></thead>\n<tbody>\n{rows}<tr><th>everything else</th><td></td><td>{}</td>\
         <td></td><td></td><td></td></tr>\n<tr><th>whole job</th><td>{}</td><td>{}</td><td></td><td></td><td></td></tr></tbody></table></div>\n\
         <p class=\"note\">Samples of training + validation; where layers are \
         frozen, samples are their activations. Everything else is reading images, the frozen layers, saving, the \
         test. Stages that were taken up again count all their epochs.</p>\n",
        duration(rest),
        history.epochs.len(),
        duration(seconds)
    )
}

/// Names and values.
pub fn facts(facts: &[(String, String)]) -> String {
    let rows: String = facts
        .iter()
        .map(|(name, value)| {
            format!("<tr><th>{}</th><td class=\"text\">{}</td></tr>\n", escape(name), escape(value))
        })
        .collect();
    format!("<table class=\"facts\"><tbody>\n{rows}</tbody></table>\n")
}

/// "3.2 s", "4 min 10 s", "2 h 5 min".
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}
