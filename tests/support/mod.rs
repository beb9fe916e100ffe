//! What the tests of kernels share: the devices that are here, naive loops as the specification, one
//! table of cases, and what "close" means.

// Each of two programs compiles all of this and uses a part.
#![allow(dead_code)]

pub mod augment;
pub mod cases;
pub mod close;
pub mod devices;
pub mod half;
pub mod layout;
pub mod loss_scale;
pub mod naive;
pub mod optimizer;
pub mod rounded;
pub mod run;
pub mod tensor_cores;
pub mod whole;

/// `tests/golden` of this checkout, or of the folder in `VGG_FT_TEST_ROOT`: a bundle has no checkout.
pub fn golden() -> std::path::PathBuf {
    let root = std::env::var_os("VGG_FT_TEST_ROOT")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), std::path::PathBuf::from);
    root.join("tests/golden")
}
