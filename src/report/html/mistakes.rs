//! The images that the network is most sure of and wrong about.

use super::{Thumbnail, Verdict, escape, highest};
use crate::report::{counted, counted_are};
use std::fmt::Write as _;

/// An image and what was called.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// Its file, as people look for it.
    pub file: String,
    /// What it is.
    pub truth: String,
    /// What was called.
    pub called: String,
    /// With what probability.
    pub confidence: f64,
    /// What it looks like, if it could be read.
    pub image: Option<Thumbnail>,
}

/// Rows that are wrong, the most confident first, equals in their order.
pub fn worst(labels: &[u32], probabilities: &[Vec<f32>]) -> Vec<usize> {
    let wrong = |row: &usize| highest(&probabilities[*row]) != labels[*row] as usize;
    let mut rows: Vec<usize> = (0..labels.len()).filter(wrong).collect();
    rows.sort_by_cached_key(|&row| {
        let confidence = probabilities[row][highest(&probabilities[row])];
        // Of numbers from 0 to 1 the bits are in their order.
        std::cmp::Reverse(confidence.to_bits())
    });
    rows
}

/// All mistakes with their images.
pub fn gallery(verdict: &Verdict<'_>) -> String {
    if verdict.mistakes.is_empty() {
        return match verdict.wrong {
            0 => "<p class=\"empty\">There are none.</p>\n".into(),
            n => {
                format!("<p class=\"empty\">{} called wrongly; none is shown.</p>\n", counted_are(n, "image"))
            }
        };
    }
    let mut out = format!(
        "<p>Of {}, {} called wrongly; {} most confidently. {}</p>\n<div class=\"mistakes\">\n",
        counted(verdict.labels.len(), "image"),
        if verdict.wrong == 1 { "1 is".into() } else { format!("{} are", verdict.wrong) },
        if verdict.mistakes.len() == 1 {
            "this one".into()
        } else {
            format!("these {}", verdict.mistakes.len())
        },
        escape(&verdict.maps)
    );
    for mistake in &verdict.mistakes {
        let _ = writeln!(
            out,
            "<figure>{}<figcaption><b>{}</b> called <span class=\"called\">{}</span> with {:.1} %<br>\
             <span class=\"note\">{}</span></figcaption></figure>",
            images(mistake),
            escape(&mistake.truth),
            escape(&mistake.called),
            100.0 * mistake.confidence,
            escape(&mistake.file)
        );
    }
    out.push_str("</div>\n");
    out
}

fn images(mistake: &Mistake) -> String {
    let Some(Thumbnail { size: [h, w], plain, overlay }) = &mistake.image else { return String::new() };
    let (truth, called) = (escape(&mistake.truth), escape(&mistake.called));
    let class = if overlay.is_some() { "" } else { " class=\"single\"" };
    let over = overlay.as_ref().map_or(String::new(), |overlay| {
        format!("<img class=\"cam\" alt=\"what spoke for {called}\" src=\"{overlay}\">")
    });
    format!("<div{class} style=\"--aspect:{w}/{h}\"><img alt=\"{truth}\" src=\"{plain}\">{over}</div>")
}
