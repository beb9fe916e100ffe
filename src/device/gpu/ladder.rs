//! The teaching convolutions of `kernels/ladder/`: rungs that lead up to the kernels of the engine.
//!
//! In: a rung. Out: a device that runs it wherever `conv2d_forward` is called, so that tests, benches and the
//! emulator treat both alike (`lower/ladder.rs` makes the launch). No device of the engine is made this way.

use super::driver::Driver;
use super::module::{self, Module};
use super::{Gpu, Result};
use crate::device::{Precision, capability};
use crate::error::{Error, Kind};

/// How factors reach a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factors {
    /// By addresses.
    Pointers,
    /// By tensor maps, im2col for pixels: TMA moves them.
    Maps,
}

/// A rung: its entry, what it takes, and how its blocks cover the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its entry.
    pub name: &'static str,
    /// What x, weight and y are: f32, or bf16 with sums in f32.
    pub precision: Precision,
    /// Channels and filters come in whole so many.
    pub channels: usize,
    /// How it gets x and weight.
    pub factors: Factors,
    /// Pixels and filters of a block; of Winograd's squares of pixels and filters.
    pub tile: [usize; 2],
    /// Side of a square of pixels that are computed together; 1 where each is by itself.
    pub square: usize,
    /// Threads of a block, along x and y.
    pub block: [usize; 2],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Whether blocks stay until all tiles are done; else each has one.
    pub stays: bool,
}

const F32: Rung = Rung {
    name: "",
    precision: Precision::F32,
    channels: 1,
    factors: Factors::Pointers,
    tile: [16, 16],
    square: 1,
    block: [16, 16],
    shared: 0,
    stays: false,
};
const BF16: Rung = Rung { precision: Precision::Bf16, channels: 8, block: [128, 1], ..F32 };
const SM90: Rung = Rung { channels: 64, factors: Factors::Maps, ..BF16 };

/// From the formula upwards. `conv2d_forward` stands above the fourth, `conv2d_bf16.cu` above the sixth,
/// `conv2d_sm90.cu` above the eighth; the last stands beside the ladder, below `conv2d_winograd.cu`.
pub const RUNGS: [Rung; 9] = [
    Rung { name: "conv2d_1_naive", tile: [256, 1], block: [256, 1], ..F32 },
    Rung { name: "conv2d_2_tiled", ..F32 },
    Rung { name: "conv2d_3_padded", ..F32 },
    Rung { name: "conv2d_4_blocked", tile: [64, 64], block: [256, 1], ..F32 },
    Rung { name: "conv2d_5_mma", tile: [128, 32], ..BF16 },
    Rung { name: "conv2d_6_pipelined", tile: [64, 64], ..BF16 },
    Rung { name: "conv2d_7_wgmma", tile: [128, 64], ..SM90 },
    Rung {
        name: "conv2d_8_persistent",
        tile: [256, 128],
        block: [384, 1],
        shared: 196_672,
        stays: true,
        ..SM90
    },
    Rung { name: "conv2d_w_winograd", tile: [16, 32], square: 2, block: [256, 1], ..F32 },
];

impl Rung {
    /// The oldest GPU that it runs on, and for TMA's the only one: 80 for 8.0.
    pub fn capability(&self) -> u32 {
        match (self.factors, self.precision) {
            (Factors::Maps, _) => 90,
            (Factors::Pointers, Precision::Bf16) => 80,
            (Factors::Pointers, _) => 75,
        }
    }
}

/// Whether a module holds rungs.
pub(super) fn teaches(module: &Module) -> bool {
    module.name.starts_with("ladder/")
}

impl<D: Driver + 'static> Gpu<D> {
    /// A device that runs `rung` for `conv2d_forward`, in the rung's precision.
    ///
    /// # Errors
    /// As [`Gpu::new`]; [`Kind::Device`] when the GPU cannot run it.
    pub fn on_rung(driver: D, rung: Rung) -> Result<Self> {
        let got = driver.limits().capability;
        let found = module::find(rung.name, got);
        let (module, _) = found.ok_or_else(|| {
            let error = Error::new(Kind::Device, format!("{} does not run on this device", rung.name));
            let needs = if rung.factors == Factors::Maps { capability::other } else { capability::older };
            needs(error, rung.capability(), got)
                .help("what is written for 90 runs on Hopper alone; docs/ladder.md has a rung for every GPU")
        })?;
        driver.load(module)?;
        Ok(Self { standing: Some(rung), ..Self::new(driver)?.with_precision(rung.precision) })
    }
}
