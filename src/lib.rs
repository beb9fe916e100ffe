//! vgg-ft: fine-tune VGG16 on your own pictures.
//!
//! The modules stand in the order in which the data meets them; a module uses only modules below it
//! (`tests/house.rs` reads the `use crate::` lines and says no).

pub mod cli;
pub mod task;
pub mod export;
pub mod report;
pub mod train;
pub mod data;
pub mod model;
pub mod weights;
pub mod op;
pub mod graph;
pub mod device;
pub mod ptx;
pub mod fetch;
// The cellar: used by all, uses nothing above.
pub mod shape;
pub mod random;
pub mod interrupt;
pub mod proto;
pub mod files;
pub mod error;
