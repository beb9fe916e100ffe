//! What a rung of the ladder gets that its call does not say: sizes that it takes, numbers of bf16, a card.
//!
//! In: a kernel's row and the rung that stands in for it, if one does. Out: the same with what the rung needs;
//! without a rung everything stays as it is.

use super::Numbers;
use super::kernels::Kernel;
use crate::device::gpu::emulator::Options;
use crate::device::gpu::ladder::Rung;
use crate::device::{Dtype, Precision};
use half::bf16;

/// Half a unit in the last place of bf16, of the largest number.
const HALF_UNIT: f64 = 1.0 / 512.0;

fn is_bf16(rung: Option<Rung>) -> bool {
    rung.is_some_and(|rung| rung.precision == Precision::Bf16)
}

/// The kernel's own sizes; channels in as many as the rung takes at once.
pub fn axes(kernel: &Kernel, rung: Option<Rung>) -> Vec<(&'static str, usize)> {
    let whole = rung.map_or(1, |rung| rung.channels);
    let axis = |&(name, size): &(&'static str, usize)| {
        (name, if matches!(name, "c_in" | "c_out") { size.next_multiple_of(whole) } else { size })
    };
    kernel.axes.iter().map(axis).collect()
}

/// The machine as a card that the rung runs on.
pub fn options(options: Options, rung: Option<Rung>) -> Options {
    Options {
        capability: rung.map_or(options.capability, |r| r.capability().max(options.capability)),
        ..options
    }
}

/// An array as the rung keeps it in memory: of a convolution's, all but the bias are bf16.
pub fn kept(rung: Option<Rung>, name: &str, numbers: Numbers) -> Numbers {
    match numbers {
        Numbers::F32(data) if is_bf16(rung) && name != "bias" => {
            Numbers::Bf16(data.into_iter().map(bf16::from_f32).collect())
        }
        Numbers::Unwritten(Dtype::F32, len) if is_bf16(rung) => Numbers::Unwritten(Dtype::Bf16, len),
        other => other,
    }
}

/// The same numbers for a device that works in f32.
pub fn widened(numbers: &Numbers) -> Numbers {
    match numbers {
        Numbers::Bf16(data) => Numbers::F32(data.iter().map(|x| x.to_f32()).collect()),
        Numbers::Unwritten(Dtype::Bf16, len) => Numbers::Unwritten(Dtype::F32, *len),
        other => other.clone(),
    }
}

/// How far from the cpu's the result may be: a result of bf16 is rounded once more.
pub fn tolerance(kernel: &Kernel, rung: Option<Rung>) -> f64 {
    kernel.tolerance + if is_bf16(rung) { HALF_UNIT } else { 0.0 }
}
