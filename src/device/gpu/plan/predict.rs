//! How long a launch should take on a card, from the table of machine code and the data sheet.
//!
//! Every number here is an assumption until it was measured; none is fitted. In a cycle a multiprocessor
//! - issues four instructions of a warp (one for each of its quarters);
//! - does `Card::fma` lanes of multiply-adds, additions, multiplications;
//! - does 64 lanes of integer arithmetic and 16 of roots and exponentials;
//! - does `Card::tensor` multiply-adds of f16 or bf16 on tensor cores, half as many of tf32, and on 9.0 no more than
//!   [`MMA`] of that by `mma.sync`;
//! - moves 128 bytes of shared memory, without conflicts, and with no gain where lanes read the same words:
//!   the passes that the emulator counts for our tiles.
//!
//! A pass of a main loop takes what its busiest pipe takes, times the passes of a block, times the blocks of
//! the busiest multiprocessor: as many as fit at once (registers, shared memory, threads, blocks), wave after
//! wave, the last wave spread out evenly. A single block cannot hide how long a load takes, so a pass lasts at
//! least [`LOAD`] cycles. A kernel without such a loop runs through its body once. Traffic is what the launch
//! must move once, at the speed of a copy; caches never help and never hurt. Compute and traffic overlap
//! wholly; start and end of a launch ([`START`]) overlap with nothing.

use super::card::Card;
use super::pipes::Pipes;
use super::{BACKWARD, Record};
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::{Cost, Precision};

/// What `mma.sync` reaches of the tensor cores' peak on 9.0, whose own instruction is another
/// (arXiv 2501.12084: 62.9 %).
const MMA: f64 = 0.63;
/// Cycles until the second cache has answered a load.
const LOAD: f64 = 300.0;
/// Seconds from one kernel to the next, filling and draining it included.
const START: f64 = 3.5e-6;

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
    /// What it must do.
    pub cost: Cost,
    /// Predicted, seconds.
    pub seconds: f64,
    /// Why.
    pub bound: Bound,
    /// Seconds that no kernel for this call can save on the card; 0 for a launch that only ends a sum, which
    /// a better cut would save.
    pub floor: f64,
}

/// The launches of the last step of `record`, on `card`.
pub fn lines(record: &Record, card: &Card) -> Vec<Line> {
    record.launches().map(|(launch, label)| line(launch, label, card)).collect()
}

fn line(launch: &Launch, label: &str, card: &Card) -> Line {
    let ends_a_sum = launch.entry.name.ends_with("_reduce");
    // The parts are written besides what the call must move.
    let parts = launch.args.iter().filter(|arg| arg.name() == "parts" && !ends_a_sum);
    let traffic = launch.cost.bytes() + parts.map(Arg::buffer_bytes).sum::<u64>();
    let bandwidth = traffic as f64 / card.copy();
    let least = launch.cost.flops as f64 / card.peak_of_convolutions(numbers(launch.entry.name));
    let compute = cycles(launch, card).map_or(least, |c| c / card.clock);
    let longest = compute.max(bandwidth);
    let bound = match () {
        () if longest < START => Bound::Latency,
        () if compute >= bandwidth => Bound::Compute,
        () => Bound::Bandwidth,
    };
    let floor = least.max(launch.cost.bytes() as f64 / card.copy());
    Line {
        label: label.trim_end_matches(BACKWARD).to_owned(),
        backward: label.ends_with(BACKWARD),
        kernel: launch.entry.name,
        grid: launch.grid,
        block: launch.block,
        cost: launch.cost,
        seconds: START + longest,
        bound,
        floor: if ends_a_sum { 0.0 } else { floor },
    }
}

/// In which numbers a kernel multiplies: where convolutions do so on tensor cores, their names say it.
fn numbers(kernel: &str) -> Precision {
    match kernel {
        name if name.starts_with("conv2d") && (name.contains("_bf16") || name.contains("_sm90")) => {
            Precision::Bf16
        }
        name if name.starts_with("conv2d") && name.contains("_f16") => Precision::F16,
        name if name.starts_with("conv2d") && name.contains("_tf32") => Precision::Tf32,
        _ => Precision::F32,
    }
}

/// Cycles of the busiest multiprocessor; `None` for a kernel that is not in the table.
fn cycles(launch: &Launch, card: &Card) -> Option<f64> {
    if let Some(cycles) = of_blocks_that_stay(launch, card) {
        return Some(cycles);
    }
    let pipes = Pipes::find(launch.entry.name, card.capability)?;
    let threads: u32 = launch.block.iter().product();
    let blocks: u64 = launch.grid.iter().map(|&axis| u64::from(axis)).product();
    let warps = f64::from(threads.div_ceil(32));
    let fit = u64::from(resident(&pipes, launch.shared, threads, card.capability));
    let sms = u64::from(card.sms);
    // Whole waves, and what is left spread over all.
    let (whole, left) = (blocks / (sms * fit), blocks % (sms * fit));
    let one = warps * busiest(&pipes, card, launch.entry.name);
    let pass = |at_once: u64| (at_once as f64 * one).max(if pipes.is_loop { LOAD } else { 0.0 });
    let last = if left == 0 { 0.0 } else { pass(left.div_ceil(sms)) };
    let passes = if pipes.is_loop { passes(launch, &pipes, blocks, threads) } else { 1.0 };
    Some(passes * (whole as f64 * pass(fit) + last))
}

/// Cycles of Hopper's own convolutions, whose blocks stay until all tiles are done: the steps of the busiest
/// multiprocessor at its tensor cores' peak, which `wgmma` reaches. Results are stored meanwhile.
fn of_blocks_that_stay(launch: &Launch, card: &Card) -> Option<f64> {
    let name = launch.entry.name;
    let [rows, columns] = match tile(name).filter(|_| name.contains("_sm90_"))? {
        // Filters x 8 columns x lines of pixels.
        [filters, 8] => [if filters == 64 { 8 * 32 } else { 8 * 16 }, filters],
        sides => sides,
    };
    let [n, h, w, c_in, c_out] = words(launch, "p").try_into().ok()?;
    let (pixels, blocks) = (n * h * w, launch.grid[0].max(1));
    let steps = if name.starts_with("conv2d_backward_weight") {
        let tiles = c_out.div_ceil(rows) * (9 * c_in).div_ceil(columns);
        (tiles * pixels.div_ceil(64)).div_ceil(blocks)
    } else {
        let backward = name.starts_with("conv2d_backward_input");
        let (depth, across) = if backward { (c_out, c_in) } else { (c_in, c_out) };
        (pixels.div_ceil(rows) * across.div_ceil(columns)).div_ceil(blocks) * (9 * depth / 64)
    };
    let step = f64::from(rows) * f64::from(columns) * 64.0 / f64::from(card.tensor);
    Some(f64::from(blocks.div_ceil(card.sms)) * f64::from(steps) * step)
}

/// Cycles that one warp's share of the busiest pipe takes for one pass.
fn busiest(pipes: &Pipes, card: &Card, kernel: &str) -> f64 {
    let lanes = |count: u32, lanes: u32| f64::from(count) * 32.0 / f64::from(lanes);
    [
        f64::from(pipes.instructions) / 4.0,
        lanes(pipes.float, card.fma),
        lanes(pipes.integer, 64),
        lanes(pipes.special, 16),
        f64::from(pipes.shared_words),
        if pipes.tensor_fma == 0 { 0.0 } else { f64::from(pipes.tensor_fma) / tensor(card, kernel) },
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

/// Multiply-adds of a multiprocessor's tensor cores in a cycle, in the numbers that `kernel` multiplies.
fn tensor(card: &Card, kernel: &str) -> f64 {
    let share = if card.capability == 90 { MMA } else { 1.0 };
    let part = if numbers(kernel) == Precision::Tf32 { 0.5 } else { 1.0 };
    f64::from(card.tensor) * share * part
}

/// Rows and columns of a block's tile, where the kernel's name ends in them: `conv2d_forward_bf16_128x64x32`, a step of
/// which is 32 deep. Not of those that share a sum by its depth.
fn tile(kernel: &str) -> Option<[u32; 2]> {
    let sizes = kernel.rsplit('_').find(|part| part.contains('x') && !kernel.contains("_parts"))?;
    let mut sizes = sizes.split('x').map(|size| size.parse().ok());
    Some([sizes.next()??, sizes.next()??])
}

/// Passes of a block's main loop: its steps through the depth of the product. A kernel that is not named
/// here is taken to waste nothing.
fn passes(launch: &Launch, pipes: &Pipes, blocks: u64, threads: u32) -> f64 {
    let p = words(launch, "p");
    let at = |k: usize| p.get(k).copied().unwrap_or(0);
    let length = words(launch, "split").first().copied().unwrap_or(0);
    if let (Some([rows, columns]), 1..) = (tile(launch.entry.name), pipes.tensor_fma) {
        let depth = match launch.entry.name {
            name if name.starts_with("conv2d_backward_weight") => length,
            name if name.starts_with("conv2d_backward_input") => 9 * at(4),
            _ => 9 * at(3),
        };
        let warps = f64::from(threads.div_ceil(32));
        let products = f64::from(rows) * f64::from(columns) * f64::from(depth);
        return products / warps / f64::from(pipes.tensor_fma);
    }
    // Steps, and multiply-adds of a thread in each: `kernels/tile.cuh`, `dense.cu`, `dense_backward_weight.cu`.
    let (steps, each) = match launch.entry.name {
        "conv2d_forward" => (9 * at(3).div_ceil(8), 512),
        "conv2d_backward_input" => (9 * at(4).div_ceil(8), 512),
        "conv2d_backward_weight" => (length.div_ceil(8), 512),
        "dense_forward" => (length.div_ceil(16), 512),
        "dense_backward_input" => (at(2).div_ceil(16), 512),
        "dense_backward_weight" | "dense_rmsprop_step" => (at(0).div_ceil(16), 256),
        _ => {
            let per_thread = launch.cost.flops as f64 / 2.0 / (blocks as f64 * f64::from(threads));
            if pipes.tensor_fma > 0 {
                return 32.0 * per_thread / f64::from(pipes.tensor_fma);
            }
            return per_thread / f64::from(pipes.fma.max(1));
        }
    };
    f64::from(steps) * f64::from(each) / f64::from(pipes.fma.max(1))
}

/// The fields of a struct argument.
fn words(launch: &Launch, name: &str) -> Vec<u32> {
    let arg = launch.args.iter().find(|arg| arg.name() == name && arg.buffer_bytes() == 0);
    arg.map(|arg| arg.bytes().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect()).unwrap_or_default()
}

/// Blocks that a multiprocessor holds at once: CUDA C++ Programming Guide, "Technical Specifications per
/// Compute Capability". 64 Ki registers, given to warps in units of 256 and to warps in fours; the system
/// takes 1 KiB of shared memory per block from 8.0 on.
fn resident(pipes: &Pipes, dynamic: u32, threads: u32, capability: u32) -> u32 {
    let (warps, blocks, shared, system) = match capability {
        ..80 => (32, 16, 64, 0),
        80..86 => (64, 32, 164, 1),
        86..89 => (48, 16, 100, 1),
        89..90 => (48, 24, 100, 1),
        _ => (64, 32, 228, 1),
    };
    let mine = threads.div_ceil(32).max(1);
    let by_registers = 65_536 / (pipes.registers.max(1) * 32).next_multiple_of(256) / 4 * 4 / mine;
    let bytes = (pipes.shared + dynamic + (system << 10)).next_multiple_of(128).max(128);
    [warps / mine, blocks, by_registers, (shared << 10) / bytes].into_iter().min().unwrap_or(1).max(1)
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
        // 33.2 GFLOP at 66.9 TFLOP/s are 496 us; issue and waves cost more, but not twice as much.
        assert!((line.floor * 1e6 - 496.0).abs() < 1.0, "{}", line.floor);
        assert!(line.seconds > line.floor && line.seconds < 2.0 * line.floor, "{}", line.seconds);
        let t4 = conv2d("t4", large);
        assert!(t4.seconds > 5.0 * line.seconds, "{}", t4.seconds);
        let small = conv2d("h100", Conv2d { n: 1, h: 2, w: 2, c_in: 3, c_out: 4 });
        assert_eq!(small.bound, Bound::Latency);
        // A tile is computed whole: the three channels of a picture cost as much as eight.
        let [three, eight] = [3, 8].map(|c_in| {
            let cost = conv2d("t4", Conv2d { n: 20, h: 150, w: 150, c_in, c_out: 64 });
            cycles_of(&cost)
        });
        assert!((three - eight).abs() < 1e-9, "{three} {eight}");
    }

    fn cycles_of(line: &Line) -> f64 {
        line.seconds
    }

    #[test]
    fn tiles_are_read_from_names() {
        assert_eq!(tile("conv2d_forward_bf16_128x64"), Some([128, 64]));
        assert_eq!(tile("conv2d_forward_bf16_128x64x32"), Some([128, 64]));
        assert_eq!(tile("conv2d_forward_parts_bf16_128x64x32"), None);
        assert_eq!(tile("conv2d_backward_weight_tf32_256x128_2"), Some([256, 128]));
        assert_eq!(tile("conv2d_maxpool2d_forward"), None);
        let card = Card::named("h200").unwrap();
        assert!((tensor(card, "conv2d_forward_tf32_128x64") - 0.5 * 0.63 * 2048.0).abs() < 1e-9);
    }

    #[test]
    fn blocks_fit_by_the_scarcest_resource() {
        let pipes = |registers, shared| Pipes { registers, shared, ..Pipes::default() };
        // 128 threads of 143 registers: 12 warps of 4608 on one of four register files' worth.
        assert_eq!(resident(&pipes(143, 12_544), 0, 128, 90), 3);
        assert_eq!(resident(&pipes(32, 0), 0, 256, 90), 8);
        assert_eq!(resident(&pipes(32, 0), 0, 256, 75), 4);
        assert_eq!(resident(&pipes(32, 20_992), 0, 128, 75), 3);
        assert_eq!(resident(&pipes(32, 20_992), 0, 128, 80), 7);
        assert_eq!(resident(&pipes(16, 0), 0, 32, 86), 16);
    }
}
