//! What a person looks at: curves, tables, progress, the verdict of an evaluation.
//!
//! In: plain numbers and names. Out: text, SVG, CSV, or lines on stderr. Nothing here decides or
//! computes anything that training would need.

pub mod calibration;
pub mod chart;
pub mod comparison;
pub mod curves;
pub mod differences;
pub mod emulation;
pub mod findings;
pub mod history;
pub mod html;
pub mod outcome;
pub mod plan;
pub mod progress;
mod ranking;
pub mod roc;
pub mod rows;
pub mod table;
pub mod tensorboard;

pub use curves::curves;
pub use outcome::Outcome;
pub use progress::{Progress, duration, epoch_heading, epoch_line};
pub use rows::{Format, Rows, Said, csv_rows, replaced};
pub use table::{Row, Table, Weight};

/// "1 epoch", "2 epochs": a count with its noun.
pub fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// "1 image is", "2 images are".
pub fn counted_are(n: usize, noun: &str) -> String {
    format!("{} {}", counted(n, noun), if n == 1 { "is" } else { "are" })
}
