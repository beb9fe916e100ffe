//! vgg-ft: fine-tune VGG16 on your own pictures.
//!
//! The modules stand in the order in which the data meets them; a module uses only modules below it
//! (`tests/house.rs` reads the `use crate::` lines and says no).

pub mod report;

pub mod device;
// The cellar: used by all, uses nothing above.
pub mod error;
pub mod files;
pub mod random;
pub mod shape;
