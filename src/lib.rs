//! vgg-ft: fine-tune VGG16 on your own pictures.
//!
//! Modules are listed by dependency: a module uses only modules listed below it (`tests/house.rs` reads every
//! `crate::` path and enforces it). To follow the data, read `cli`, `task`, `data`, `train`, `model`, `op`, `graph`,
//! `device`.

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
// Base modules: used by all, use nothing above.
pub mod shape;
pub mod random;
pub mod interrupt;
pub mod proto;
pub mod files;
pub mod error;
