//! Compute capabilities in refusals: one wording for all of them.

use crate::error::Error;

/// The one that code for sm_90a runs on, and whose kernels may be launched early: Hopper.
pub const HOPPER: u32 = 90;

/// As NVIDIA writes it: `9.0` for 90.
pub fn in_words(capability: u32) -> String {
    format!("{}.{}", capability / 10, capability % 10)
}

/// `error`, since a GPU of capability `got` is older than `least`.
pub fn older(error: Error, least: u32, got: u32) -> Error {
    error.expected_got(format!("compute capability {} or later", in_words(least)), in_words(got))
}

/// `error`, since what is made for `only` runs on no GPU of capability `got`.
pub fn other(error: Error, only: u32, got: u32) -> Error {
    error.expected_got(format!("compute capability {}", in_words(only)), in_words(got))
}
