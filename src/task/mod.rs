//! What was asked, each file a story read from top to bottom.
//!
//! In: typed options. Out: a report on stdout, files on the disk, remarks on stderr.

mod base;
mod bench;
mod demo;
mod devices;
mod emulate;
mod estimate;
mod evaluate;
mod extract;
mod finetune;
mod fit;
mod pictures;
mod predict;
mod run;
mod stage;
mod summary;
mod weights;

pub use base::Host;
pub use bench::{Bench, bench};
pub use demo::{Demo, demo};
pub use devices::devices;
pub use emulate::{Emulate, emulate};
pub use evaluate::{Evaluate, SplitName, evaluate};
pub use extract::{Extract, extract};
pub use finetune::{Finetune, finetune};
pub use fit::{Fit, HeadOptions, fit};
pub use pictures::{PictureOptions, Reading};
pub use predict::{Predict, predict};
pub use summary::{Summary, Top, summary};
pub use weights::{convert, inspect};
