//! The device of our own kernels: the host code that `cuda` and `emulator` share.
//!
//! In: [`Call`](super::Call)s. Out: [`Launch`](launch::Launch)es, given to a [`Driver`](driver::Driver).

pub mod driver;
pub mod emulator;
pub mod launch;
pub mod module;
