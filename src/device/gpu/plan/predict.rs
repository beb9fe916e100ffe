//! How long a launch should take on a GPU, from the table of machine code and the data sheet.
//!
//! In a cycle a multiprocessor
//! - issues four instructions of a warp (one for each of its quarters);
//! - does `Card::fma` lanes of multiply-adds, additions, multiplications;
//! - does 64 lanes of integer arithmetic and 16 of roots and exponentials;
//! - does `Card::tensor` multiply-adds of f16 or bf16 on tensor cores, half as many of tf32;
//! - moves 128 bytes of shared memory, without conflicts, and with no gain where lanes read the same words:
//!   the passes that the emulator counts for our tiles.
//!
//! A step of a main loop takes what its busiest pipe takes and a share of the others, times the steps of a block, times
//! the blocks of the busiest multiprocessor: as many as fit at once (registers, shared memory, threads, blocks), wave
//! after wave, the last wave spread out evenly. A kernel without such a loop runs through its body once. Traffic is what
//! the launch must move once, at the speed of a copy; caches never help and never hurt. Compute and traffic overlap
//! wholly, but for the convolutions of Hopper's own.
//!
//! These are rules; `work.rs` has the shares that were fitted by hand to the times of one H200 on 2026-11-26: with
//! [`START`] seven constants for 240 times. How well they fit is in docs/predictions.md, which `tests/predictions.rs`
//! writes. For other GPUs and sizes they are predictions.

use super::card::Card;
use super::work::{WAITS, Work, numbers};
use super::{BACKWARD, Record};
use crate::device::Cost;
use crate::device::gpu::launch::{Arg, Launch};

/// Seconds from one kernel to the next in a graph, filling and draining it included. Fitted.
const START: f64 = 2.5e-6;

/// What of it a kernel saves that begins while the one before it runs: to be launched, and what it gets ready before it
/// waits. An assumption: nobody has measured it.
pub const EARLY: f64 = 1e-6;

/// What a launch should be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Instructions.
    Compute,
    /// Global memory.
    Bandwidth,
    /// Its own start and end.
    Latency,
}

impl Bound {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Bandwidth => "bandwidth",
            Self::Latency => "latency",
        }
    }
}

/// A launch of a plan.
#[derive(Clone, Debug)]
pub struct Line {
    /// The layer, or what else was current.
    pub label: String,
    /// Whether it is of the way back.
    pub backward: bool,
    /// The entry.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads along x, y, z.
    pub block: [u32; 3],
    /// Of its product; blocks where there is none.
    pub tiles: u64,
    /// Tiles over those that the GPU has room for at once.
    pub waves: f64,
    /// What it must do.
    pub cost: Cost,
    /// Predicted, seconds.
    pub seconds: f64,
    /// Whether it begins early where launches are programmatic; then it saves [`EARLY`] of these.
    pub early: bool,
    /// Why.
    pub bound: Bound,
    /// Seconds that no kernel for this call can save on the GPU; 0 for a launch that only ends a sum, which
    /// a better cut would save, puts numbers in another order, or pools what another kernel would have pooled.
    pub floor: f64,
}

/// The launches of the last step of `record`, on `card`.
pub fn lines(record: &Record, card: &Card) -> Vec<Line> {
    let line = |(launch, label)| predict(launch, label, card);
    let mut lines: Vec<_> = record.launches().map(line).collect();
    // Before the first one is another graph, and a kernel that does not wait lets none begin before it has ended.
    let waits: Vec<_> = lines.iter().map(|line| line.early).collect();
    for (at, line) in lines.iter_mut().enumerate() {
        line.early &= at > 0 && waits[at - 1];
    }
    lines
}

/// What `launch` should take on `card`, for the layer `label`.
pub fn predict(launch: &Launch, label: &str, card: &Card) -> Line {
    let ends_a_sum = launch.entry.name.ends_with("_reduce");
    // Winograd's steps each count what they move.
    let apart = launch.entry.name.contains("_winograd_");
    // The parts are written besides what the call must move; what adds them counts them itself.
    let parts = launch.args.iter().filter(|arg| matches!(arg.name(), "parts" | "biases"));
    let parts: u64 = parts.map(Arg::buffer_bytes).sum();
    let traffic = launch.cost.bytes + if ends_a_sum || apart { 0 } else { parts };
    let bandwidth = traffic as f64 / card.copy();
    let least = launch.cost.flops as f64 / card.peak_of_convolutions(numbers(launch.entry.name));
    let work = Work::of(launch, card);
    let compute = work.map_or(least, |work| work.cycles / card.clock);
    let bound = match () {
        () if compute.max(bandwidth) < START => Bound::Latency,
        () if compute >= bandwidth => Bound::Compute,
        () => Bound::Bandwidth,
    };
    // What another kernel would read as it lies.
    let turns = launch.entry.name.ends_with("_turn");
    let waits = if launch.entry.name.contains("_sm90_") && !ends_a_sum && !turns { WAITS } else { 0.0 };
    let busy = compute.max(bandwidth) + waits * compute.min(bandwidth);
    // Points are there for the algorithm's sake: another kernel may leave none. Of Winograd's launches the floor is the
    // arithmetic alone.
    let compulsory =
        if apart { 0 } else { launch.compulsory.saturating_sub(if ends_a_sum { parts } else { 0 }) };
    let floor = least.max(compulsory as f64 / card.copy());
    // A sum may end in more than a sum: that was the call's.
    let ends_only = ends_a_sum && launch.cost.flops == 0;
    Line {
        label: label.trim_end_matches(BACKWARD).to_owned(),
        backward: label.ends_with(BACKWARD),
        kernel: launch.entry.name,
        grid: launch.grid,
        block: launch.block,
        tiles: work.map_or(0, |work| work.tiles),
        waves: work.map_or(0.0, |work| work.waves),
        cost: launch.cost,
        seconds: START + busy,
        early: launch.entry.awaits,
        bound,
        floor: if ends_only || turns { 0.0 } else { floor },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::Gpu;
    use crate::device::gpu::plan::{Mark, Plan};
    use crate::device::{Call, Device, Dtype};
    use crate::shape::Conv2d;

    fn conv2d(card: &str, geometry: Conv2d) -> Line {
        let card = Card::named(card).unwrap();
        let gpu = Gpu::new(Plan::new(card)).unwrap();
        let f32 = |len| gpu.alloc(Dtype::F32, len).unwrap();
        let (x, weight, bias) =
            (&f32(geometry.x().len()), &f32(geometry.weight().len()), &f32(geometry.c_out));
        let y = &mut f32(geometry.y().len());
        gpu.label("block");
        gpu.driver().mark(Mark::Step);
        gpu.run(Call::Conv2dForward { geometry, x, weight, bias, relu: true, y }).unwrap();
        lines(&gpu.driver().take(), card).remove(0)
    }

    #[test]
    fn a_large_convolution_waits_for_the_arithmetic_and_a_small_launch_for_itself() {
        let large = Conv2d { n: 20, h: 75, w: 75, c_in: 128, c_out: 128 };
        let line = conv2d("h100", large);
        assert_eq!((line.bound, line.label.as_str(), line.backward), (Bound::Compute, "block", false));
        // 33.2 GFLOP at 66.9 TFLOP/s are 496 us; 1075 were measured on an H200.
        assert!((line.floor * 1e6 - 496.0).abs() < 1.0, "{}", line.floor);
        assert!(line.seconds > line.floor && line.seconds < 2.5 * line.floor, "{}", line.seconds);
        let t4 = conv2d("t4", large);
        assert!(t4.seconds > 5.0 * line.seconds, "{}", t4.seconds);
        assert_eq!(relu("h100", 64).bound, Bound::Latency);
        assert_eq!(relu("h100", 64 << 20).bound, Bound::Bandwidth);
        // A tile is computed whole: the three channels of an image cost as much as eight.
        let [three, eight] =
            [3, 8].map(|c_in| conv2d("t4", Conv2d { n: 20, h: 150, w: 150, c_in, c_out: 64 }).seconds);
        assert!((three - eight).abs() < 1e-9, "{three} {eight}");
    }

    fn relu(card: &str, len: usize) -> Line {
        let card = Card::named(card).unwrap();
        let gpu = Gpu::new(Plan::new(card)).unwrap();
        let [x, mut y] = [(); 2].map(|()| gpu.alloc(Dtype::F32, len).unwrap());
        gpu.driver().mark(Mark::Step);
        gpu.run(Call::ReluForward { x: &x, y: &mut y }).unwrap();
        lines(&gpu.driver().take(), card).remove(0)
    }
}
