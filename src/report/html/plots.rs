//! The page's own diagrams: the ROC curves and the reliability diagram. Colours are the page's variables.

use super::escape;
use crate::report::calibration::Calibration;
use crate::report::counted;
use crate::report::roc::Roc;
use std::fmt::Write as _;

const LEFT: f64 = 48.0;
const RIGHT: f64 = 444.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 372.0;
/// The counts below the reliability diagram.
const COUNTS: [f64; 2] = [420.0, 476.0];

fn x(share: f64) -> f64 {
    LEFT + share * (RIGHT - LEFT)
}

fn y(share: f64) -> f64 {
    BOTTOM - share * (BOTTOM - TOP)
}

/// A square from 0 to 1 with names at its axes.
fn frame(out: &mut String, height: f64, title: &str, [across, up]: [&str; 2], from: f64) {
    let _ = writeln!(
        out,
        "<svg class=\"plot\" viewBox=\"0 0 460 {height}\" role=\"img\"><title>{}</title>",
        escape(title)
    );
    for i in 0..=5 {
        let share = f64::from(i) / 5.0;
        let (at, label) = (y(share), format!("{share:.1}"));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{RIGHT}\" y2=\"{at:.1}\"/>"
        );
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        );
        let value = from + share * (1.0 - from);
        let digits = if from == 0.0 || from == 0.5 { 1 } else { 2 };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value:.digits$}</text>",
            x(share),
            BOTTOM + 17.0
        );
    }
    let _ =
        writeln!(out, "<line class=\"edge\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>");
    let _ = writeln!(out, "<text x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">{across}</text>", BOTTOM + 34.0);
    let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{up}</text>", LEFT, TOP - 12.0);
}

/// How the line of class `i` is drawn: seven colours, then the same seven broken in three ways.
pub fn line(i: usize) -> String {
    let colour = i % 7;
    match i / 7 % 4 {
        0 => format!("c{colour}"),
        broken => format!("c{colour} d{broken}"),
    }
}

/// All curves, and the diagonal of a coin.
pub fn roc(rocs: &[(&str, Option<Roc>)]) -> String {
    let mut out = String::new();
    frame(&mut out, 412.0, "ROC curves", ["false positive rate", "true positive rate"], 0.0);
    let _ = writeln!(
        out,
        "<path class=\"even\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0)
    );
    for (i, (class, roc)) in rocs.iter().enumerate() {
        let Some(roc) = roc else { continue };
        let points: Vec<String> =
            roc.points.iter().map(|p| format!("{:.1} {:.1}", x(p[0]), y(p[1]))).collect();
        let _ = writeln!(
            out,
            "<path class=\"curve {}\" d=\"M{}\"><title>{}: AUC {:.4}</title></path>",
            line(i),
            points.join("L"),
            escape(class),
            roc.area
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Accuracy by confidence, the gap to the diagonal, and counts.
pub fn reliability(calibration: &Calibration) -> String {
    let from = calibration.bins.first().map_or(0.0, |bin| bin.low);
    let across = |confidence: f64| x((confidence - from) / (1.0 - from).max(1e-9));
    let most = calibration.bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
    let mut out = String::new();
    frame(&mut out, 500.0, "Reliability diagram", ["confidence", "accuracy"], from);
    for bin in &calibration.bins {
        let (left, width) = (across(bin.low) + 1.5, across(bin.high) - across(bin.low) - 3.0);
        if bin.count == 0 {
            continue;
        }
        let _ = writeln!(
            out,
            "<g><title>{} called with {:.3} on average; {:.3} of them right</title>",
            counted(bin.count, "image"),
            bin.confidence,
            bin.accuracy
        );
        let mut bar = |class: &str, top: f64, bottom: f64| {
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                (bottom - top).max(0.0)
            );
        };
        bar("bar", y(bin.accuracy), BOTTOM);
        let (high, low) = (bin.accuracy.max(bin.confidence), bin.accuracy.min(bin.confidence));
        // Over the bar itself an outline is enough.
        bar(if bin.accuracy > bin.confidence { "over" } else { "gap" }, y(high), y(low));
        let [top, bottom] = COUNTS;
        bar("count", bottom - (bottom - top) * bin.count as f64 / most as f64, bottom);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
            left + width / 2.0,
            bottom + 15.0,
            bin.count
        );
    }
    // Where confidence and accuracy agree.
    let _ = writeln!(
        out,
        "<path class=\"even\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
        x(0.0),
        y(from),
        x(1.0),
        y(1.0)
    );
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_past_the_seventh_have_lines_of_their_own() {
        let all: std::collections::HashSet<String> = (0..28).map(line).collect();
        assert_eq!(all.len(), 28);
        let style = include_str!("style.css");
        for name in all.iter().flat_map(|all| all.split(' ')) {
            assert!(style.contains(&format!(".{name}{{stroke")), "{name} has no rule");
        }
    }
}
