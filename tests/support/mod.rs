//! What the tests of kernels share: the devices that are here, naive loops as the specification, one
//! table of cases, and what "close" means.

// Every test binary compiles all of this and uses a part.
#![allow(dead_code)]

pub mod cases;
pub mod close;
pub mod devices;
pub mod naive;
pub mod run;
