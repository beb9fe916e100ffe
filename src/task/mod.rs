//! What was asked, each file a story read from top to bottom.
//!
//! In: typed options. Out: a report on stdout, files on the disk, remarks on stderr.

mod augment;
mod base;
mod bench;
mod compare;
mod contents;
mod course;
mod demo;
mod devices;
mod emulate;
mod estimate;
mod evaluate;
mod export;
mod extract;
mod finetune;
mod fit;
pub mod limits;
mod notebook;
mod look;
mod output;
mod parts;
mod pictures;
mod predict;
mod report;
mod resume;
mod run;
mod stage;
mod subject;
mod summary;
mod weights;

pub use augment::{Preview, preview};
pub use base::{Host, scaling};
pub use bench::{Bench, bench};
pub use compare::{Compare, compare};
pub use course::{Auto, ClassWeights, OptimizerConfig, RuleName, StageConfig};
pub use demo::{Demo, demo};
pub use devices::devices;
pub use emulate::{Emulate, emulate};
pub use evaluate::{Evaluate, SplitName, evaluate};
pub use export::{Export, export};
pub use extract::{Extract, extract};
pub use finetune::{Finetune, finetune};
pub use fit::{Fit, HeadOptions, fit};
pub use look::{Look, Tta};
pub use notebook::{Notebook, Numbers, notebook};
pub use output::Output;
pub use pictures::{PictureOptions, Reading};
pub use predict::{Predict, predict};
pub use report::{Report, report};
pub use resume::{job_of, resume};
pub use run::Begin;
pub use summary::{Summary, Top, summary};
pub use subject::Feeding;
pub use weights::{Convert, convert, diff, inspect};
