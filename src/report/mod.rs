//! What a person looks at: curves, tables, progress, the verdict of an evaluation.
//!
//! In: plain numbers and names. Out: text, SVG, CSV, or lines on stderr. Nothing here decides or
//! computes anything that training would need.

pub mod curves;
pub mod emulation;
pub mod history;
pub mod outcome;
pub mod plan;
pub mod progress;
pub mod rows;
pub mod table;

pub use curves::curves_svg;
pub use outcome::Outcome;
pub use progress::{Progress, epoch_heading, epoch_line};
pub use rows::{Format, Rows, Said};
pub use table::{Row, Table, Weight};
