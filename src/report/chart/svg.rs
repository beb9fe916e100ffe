//! Marks as text of an SVG.

use super::paint::{EDGE, GRID, GROUND, SERIES, STRONG, WORDS};
use super::{Anchor, Chart, Ink, Mark, WIDTH};
use crate::error::is_obeyed;
use std::fmt::Write as _;

impl Chart {
    /// A self-contained SVG. It follows the reader's theme, in a page too: all its rules are for `svg.curves`.
    pub fn svg(&self) -> String {
        let height = self.height();
        let mut out = String::new();
        let (title, subtitle) = (escape(&self.title), escape(&self.subtitle));
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"curves\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<desc>{subtitle}</desc>\n\
             <style>{}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>",
            self.style()
        );
        let mut open = None;
        for mark in self.marks() {
            let series = match mark {
                Mark::Dot { series, .. } | Mark::Path { series, .. } => Some(series),
                Mark::Text { .. } | Mark::Rule { .. } => None,
            };
            if open != series {
                if open.is_some() {
                    out.push_str("</g>\n");
                }
                if let Some(series) = series {
                    let _ = writeln!(out, "<g class=\"s{series}\">");
                }
                open = series;
            }
            write(&mut out, &mark);
        }
        if open.is_some() {
            out.push_str("</g>\n");
        }
        out.push_str("</svg>\n");
        out
    }

    fn style(&self) -> String {
        let theme = |i: usize| {
            let mut out = format!(
                "svg.curves{{fill:{}}}.curves .ground{{fill:{}}}.curves .title,.curves .name{{fill:{}}}\
                 .curves .grid{{stroke:{}}}.curves .edge,.curves .stage{{stroke:{}}}",
                WORDS[i], GROUND[i], STRONG[i], GRID[i], EDGE[i]
            );
            for (n, series) in self.series.iter().enumerate() {
                let colour = SERIES[series.colour % SERIES.len()][i];
                let dot = if series.hollow {
                    format!("fill:{};stroke:{colour}", GROUND[i])
                } else {
                    format!("fill:{colour}")
                };
                let _ = write!(out, ".curves .s{n} .line{{stroke:{colour}}}.curves .s{n} circle{{{dot}}}");
            }
            out
        };
        let mut out = String::from(
            "svg.curves{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif}\
             .curves .title{font-size:18px;font-weight:600}.curves .name{font-size:13px;font-weight:600}\
             .curves .grid,.curves .edge,.curves .stage{stroke-width:1}.curves .stage{stroke-dasharray:3 3}\
             .curves .line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}",
        );
        for (n, series) in self.series.iter().enumerate() {
            let dot = if series.hollow {
                "fill-opacity:.9;stroke-opacity:.65;stroke-width:1.3"
            } else {
                "fill-opacity:.45"
            };
            let _ = write!(out, ".curves .s{n} circle{{{dot}}}");
        }
        out + &theme(0) + "@media (prefers-color-scheme:dark){" + &theme(1) + "}"
    }
}

fn write(out: &mut String, mark: &Mark) {
    let class = |ink: &Ink| match ink {
        Ink::Title => " class=\"title\"",
        Ink::Name => " class=\"name\"",
        Ink::Words => "",
        Ink::Grid => " class=\"grid\"",
        Ink::Edge => " class=\"edge\"",
        Ink::Stage => " class=\"stage\"",
    };
    let _ = match mark {
        Mark::Text { ink, at: [x, y], anchor, words } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let (class, words) = (class(ink), escape(words));
            writeln!(out, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>")
        }
        Mark::Rule { ink, ends: [x1, y1, x2, y2] } => {
            let class = class(ink);
            writeln!(out, "<line{class} x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
        }
        Mark::Dot { at: [x, y], radius, label, .. } if label.is_empty() => {
            writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>")
        }
        Mark::Dot { at: [x, y], radius, label, .. } => {
            let label = escape(label);
            writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{label}</title></circle>"
            )
        }
        Mark::Path { points, .. } => {
            let corners: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1} {y:.1}")).collect();
            writeln!(out, "<path class=\"line\" d=\"M{}\"/>", corners.join("L"))
        }
    };
}

/// Text for XML and HTML, in one line; characters that XML 1.0 cannot hold are dropped, what a page would obey is
/// written as in a string.
pub fn escape(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if is_obeyed(c) => out.extend(c.escape_debug()),
            c => out.push(c),
        }
    }
    out
}
