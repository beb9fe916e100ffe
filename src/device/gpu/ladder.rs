//! The teaching convolutions of `kernels/ladder/`: rungs that lead up to `conv2d_forward`.
//!
//! In: a rung. Out: a device that runs it wherever `conv2d_forward` would run, with the same arguments, so
//! that tests, benches and the emulator treat both alike. No device of the engine is made this way.

use super::driver::Driver;
use super::launch::Launch;
use super::module::{self, Entry, Module};
use super::{Gpu, Result};
use crate::error::{Error, Kind};

/// A rung: its entry, and how its blocks cover the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its entry.
    pub name: &'static str,
    /// Pixels and filters of a block.
    pub tile: [u32; 2],
    /// Threads of a block.
    pub block: [u32; 3],
}

/// From the formula upwards; `conv2d_forward` stands above the last.
pub const RUNGS: [Rung; 4] = [
    Rung { name: "conv2d_1_naive", tile: [256, 1], block: [256, 1, 1] },
    Rung { name: "conv2d_2_tiled", tile: [16, 16], block: [16, 16, 1] },
    Rung { name: "conv2d_3_padded", tile: [16, 16], block: [16, 16, 1] },
    Rung { name: "conv2d_4_blocked", tile: [64, 64], block: [256, 1, 1] },
];

/// Whether a module holds rungs.
pub(super) fn teaches(module: &Module) -> bool {
    module.name.starts_with("ladder/")
}

/// A rung that stands in for `conv2d_forward`.
pub(super) struct Standing {
    rung: Rung,
    entry: &'static Entry,
}

impl Standing {
    /// Puts the rung into a launch of `conv2d_forward`. Its first argument is the geometry: n, h, w, c_in,
    /// c_out, four bytes each.
    pub fn take(&self, launch: &mut Launch) {
        if launch.entry.name != "conv2d_forward" {
            return;
        }
        let geometry = launch.args.first().map(|arg| arg.bytes()).unwrap_or_default();
        let axes: Vec<u32> = geometry
            .chunks_exact(4)
            .map(|four| four.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
            .collect();
        if let [n, h, w, _, filters] = axes[..] {
            let [pixels_of_block, filters_of_block] = self.rung.tile;
            launch.entry = self.entry;
            launch.block = self.rung.block;
            launch.grid = [(n * h * w).div_ceil(pixels_of_block), filters.div_ceil(filters_of_block), 1];
        }
    }
}

impl<D: Driver + 'static> Gpu<D> {
    /// A device that runs `rung` in the place of `conv2d_forward`.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn on_rung(driver: D, rung: Rung) -> Result<Self> {
        let found = module::find(rung.name, driver.limits().capability);
        let (module, entry) = found.ok_or_else(|| {
            Error::new(Kind::Device, format!("no kernel is called `{}`", rung.name))
                .help("the ladder's kernels are in kernels/ladder; run scripts/ptx")
        })?;
        driver.load(module)?;
        Ok(Self { standing: Some(Standing { rung, entry }), ..Self::new(driver)? })
    }
}
