//! What a launch does on a GPU, as tiles in waves: from the machine code's counts to cycles.
//!
//! In: a launch and a GPU. Out: [`Work`]. `predict.rs` says what is assumed of a GPU, and makes seconds of it.

use super::card::Card;
use super::pipes::Pipes;
use crate::device::Precision;
use crate::device::gpu::launch::Launch;
use crate::device::gpu::lower::is_turned;

/// What `mma.sync` reaches in our loops of the tensor cores' peak on 9.0, whose own instruction is another. Fitted; a
/// loop of nothing else reaches 0.59 on an H200, arXiv 2501.12084 says 0.63.
const MMA: f64 = 0.44;
/// What `wgmma` reaches of it: 918 TFLOP/s of random numbers on an H200, by a loop of nothing else.
const WGMMA: f64 = 0.858;
/// What fused multiply-adds reach of theirs in our loops. Fitted.
const FMA: f64 = 0.6;
/// What of the other pipes' cycles does not hide behind those of the busiest. Fitted.
const SERIAL: f64 = 0.13;
/// Cycles of a step that no other block hides, where a block is alone on its multiprocessor. Fitted.
const ALONE: f64 = 195.0;
/// Steps that a block takes to fill its stages and to store its results. Fitted.
const ENDS: f64 = 2.7;
/// What of the time for its traffic a Hopper's convolution takes besides what it computes: a multiprocessor has one block,
/// which waits for memory by itself. Fitted.
pub const WAITS: f64 = 0.76;
/// Bytes that a row of Hopper's tiles has along the depth of a step.
const ROW: u32 = 128;

/// A launch on a GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Of the product, or blocks where there is none.
    pub tiles: u64,
    /// Tiles over those that the GPU has room for at once.
    pub waves: f64,
    /// Of the busiest multiprocessor.
    pub cycles: f64,
}

impl Work {
    /// Of `launch` on `card`; `None` for a kernel that is not in the table.
    pub fn of(launch: &Launch, card: &Card) -> Option<Self> {
        if let Some(work) = Self::of_blocks_that_stay(launch, card) {
            return Some(work);
        }
        let pipes = Pipes::find(launch.entry.name, card.capability)?;
        let threads: u32 = launch.block.iter().product();
        let blocks: u64 = launch.grid.iter().map(|&axis| u64::from(axis)).product();
        let one = f64::from(threads.div_ceil(32)) * step(&pipes, card, launch.entry.name);
        let fit = u64::from(resident(&pipes, launch.shared, threads, card.capability));
        let steps = if pipes.is_loop { passes(launch, &pipes, blocks, threads) + ENDS } else { 1.0 };
        let alone = if pipes.is_loop { ALONE } else { 0.0 };
        Some(Self {
            tiles: blocks,
            waves: blocks as f64 / (u64::from(card.sms) * fit) as f64,
            cycles: in_waves(blocks, card, fit, |at_once| steps * (at_once * one).max(one + alone)),
        })
    }

    /// Of Hopper's own convolutions, whose blocks stay until all tiles are done. What brings tiles runs ahead, and
    /// results are stored meanwhile: neither the ends of a tile nor a block that is alone cost more.
    fn of_blocks_that_stay(launch: &Launch, card: &Card) -> Option<Self> {
        let name = launch.entry.name;
        let [n, h, w, c_in, c_out] = words(launch, "p").try_into().ok()?;
        let tile = tile(name).filter(|_| name.contains("_sm90_"))?;
        let depth = ROW / if numbers(name) == Precision::Tf32 { 4 } else { 2 };
        let (pixels, blocks) = (n * h * w, launch.grid[0].max(1));
        let fit = u64::from(blocks.div_ceil(card.sms));
        let pipes = Pipes::find(name, card.capability)?;
        let room = card.sms * resident(&pipes, launch.shared, launch.block.iter().product(), card.capability);
        if name.starts_with("conv2d_backward_weight") {
            let [rows, columns, _] = tile;
            let tiles = c_out.div_ceil(rows) * (9 * c_in).div_ceil(columns);
            let steps = (u64::from(tiles) * u64::from(pixels.div_ceil(depth))).div_ceil(u64::from(blocks));
            // Of tf32 the warpgroups share the columns (kernels/conv2d_sm90_tf32_weight.cu).
            let sides = if name.contains("_tf32_") { [columns, rows] } else { [rows, columns] };
            return Some(Self {
                tiles: u64::from(tiles),
                waves: f64::from(tiles) / f64::from(room),
                cycles: (steps * fit) as f64 * of_warpgroups(sides, 1.0, card),
            });
        }
        let backward = name.starts_with("conv2d_backward_input");
        let (deep, across) = if backward { (c_out, c_in) } else { (c_in, c_out) };
        let (tiles, sides, fresh) = match tile {
            // Filters x columns x lines of pixels, whose nine taps are read from one box.
            [filters, wide, lines] if lines > 0 => {
                let boxes = n * h.div_ceil(lines) * w.div_ceil(wide);
                (boxes * across.div_ceil(filters), [wide * lines, filters], 1.0 / 9.0)
            }
            [rows, columns, _] => {
                // Of products that are turned pixels are the columns (kernels/conv2d_sm90_turned.cu).
                let sides = if is_turned(rows as usize) { [columns, rows] } else { [rows, columns] };
                (pixels.div_ceil(rows) * across.div_ceil(columns), sides, 1.0)
            }
        };
        // Blocks of a cluster share a tile's depth (kernels/conv2d_sm90_split.cu); what they leave for each other is
        // counted with the bytes.
        let sharers = if name.ends_with("_split") { 4 } else { 1 };
        let tiles = tiles * sharers;
        let steps = f64::from(9 * deep / depth) / f64::from(sharers);
        let one = of_warpgroups(sides, fresh, card);
        let first = if name.starts_with("conv2d_conv2d") { of_first(tile) } else { 0.0 };
        Some(Self {
            tiles: u64::from(tiles),
            waves: f64::from(tiles) / f64::from(room),
            cycles: in_waves(u64::from(tiles), card, fit, |at_once| at_once * (steps * one).max(first)),
        })
    }
}

/// Whole waves of `fit` blocks on each multiprocessor, and what is left spread over all.
fn in_waves(blocks: u64, card: &Card, fit: u64, wave: impl Fn(f64) -> f64) -> f64 {
    let sms = u64::from(card.sms);
    let (whole, left) = (blocks / (sms * fit), blocks % (sms * fit));
    let last = if left == 0 { 0.0 } else { wave(left.div_ceil(sms) as f64) };
    whole as f64 * wave(fit as f64) + last
}

/// The busiest pipe, and what the others add.
fn together(pipes: &[f64]) -> f64 {
    let busiest = pipes.iter().copied().fold(0.0, f64::max);
    busiest + SERIAL * (pipes.iter().sum::<f64>() - busiest)
}

/// Cycles that one warp's share of the pipes takes for one pass.
fn step(pipes: &Pipes, card: &Card, kernel: &str) -> f64 {
    let lanes = |count: u32, lanes: f64| f64::from(count) * 32.0 / lanes;
    together(&[
        f64::from(pipes.instructions) / 4.0,
        lanes(pipes.float, f64::from(card.fma) * if pipes.is_loop { FMA } else { 1.0 }),
        lanes(pipes.integer, 64.0),
        lanes(pipes.special, 16.0),
        f64::from(pipes.shared_words),
        if pipes.tensor_fma == 0 { 0.0 } else { f64::from(pipes.tensor_fma) / tensor(card, kernel) },
    ])
}

/// Cycles of a step of Hopper's products, [`ROW`] bytes deep: of the tensor cores, and of the shared memory that the
/// tiles are written to and read from. Each of two warpgroups reads its half of the rows and all columns; of the rows a
/// share of `fresh` is new.
fn of_warpgroups([rows, columns]: [u32; 2], fresh: f64, card: &Card) -> f64 {
    // Of numbers that are twice as long half as many, in twice the time: by the row it is the same.
    let products = f64::from(rows) * f64::from(columns) * f64::from(ROW / 2) / f64::from(card.tensor);
    let (rows, columns) = (f64::from(rows), f64::from(columns));
    together(&[products / WGMMA, rows + 2.0 * columns + fresh * rows + columns])
}

/// Cycles of the four warps that make a tile's pixels of the first of two convolutions, and those around them, 16 at a
/// time by `mma.sync`, while two warpgroups do the second: whoever takes longer.
fn of_first([_, wide, lines]: [u32; 3]) -> f64 {
    /// Of a warp for 16 pixels and 64 filters: measured, an H200 took 80.7 us for VGG16's block. The tensor cores' own
    /// part is a twentieth; what takes so long are some 250 instructions, one behind the other.
    const SIXTEEN: f64 = 1780.0;
    f64::from((wide + 2) * (lines + 2)) / 16.0 / 4.0 * SIXTEEN
}

/// Multiply-adds of a multiprocessor's tensor cores in a cycle, in the numbers that `kernel` multiplies.
fn tensor(card: &Card, kernel: &str) -> f64 {
    let share = if card.capability == 90 { MMA } else { 1.0 };
    let part = if matches!(numbers(kernel), Precision::Bf16 | Precision::F16) { 1.0 } else { 0.5 };
    f64::from(card.tensor) * share * part
}

/// In which numbers a kernel multiplies: of what does so on tensor cores the name says it.
pub fn numbers(kernel: &str) -> Precision {
    match kernel {
        name if !name.starts_with("conv2d") && !name.starts_with("dense") => Precision::F32,
        name if name.contains("_tf32x3") => Precision::Tf32x3,
        name if name.contains("_tf32") => Precision::Tf32,
        name if name.contains("_f16") => Precision::F16,
        name if name.contains("_bf16") || name.contains("_sm90") => Precision::Bf16,
        _ => Precision::F32,
    }
}

/// Rows and columns of a block's tile and the depth of a step, where the kernel's name ends in them:
/// `conv2d_forward_bf16_128x64x64`; 0 for a third number that is not there.
fn tile(kernel: &str) -> Option<[u32; 3]> {
    // Of any number of channels and filters (kernels/conv2d_any.cuh).
    if kernel.ends_with("_any") {
        return Some([128, 64, 32]);
    }
    let sizes = kernel.rsplit('_').find(|part| part.contains('x'))?;
    let mut sizes = sizes.split('x').map(|size| size.parse().ok());
    Some([sizes.next()??, sizes.next()??, sizes.next().unwrap_or(Some(0))?])
}

/// Passes of a block's main loop: its steps through the depth of the product. A kernel that is not named
/// here is taken to waste nothing.
fn passes(launch: &Launch, pipes: &Pipes, blocks: u64, threads: u32) -> f64 {
    let p = words(launch, "p");
    let at = |k: usize| p.get(k).copied().unwrap_or(0);
    let length = words(launch, "split").first().copied().unwrap_or(0);
    // Of the tensor cores for one of the sum.
    let multiplies = if numbers(launch.entry.name) == Precision::Tf32x3 { 3.0 } else { 1.0 };
    if let (Some([rows, columns, deep]), 1..) = (tile(launch.entry.name), pipes.tensor_fma) {
        let depth = match launch.entry.name {
            name if name.starts_with("conv2d_backward_weight") || name.starts_with("dense_forward") => length,
            // Of a part the steps are counted.
            name if name.contains("_parts") => length * deep,
            name if name.starts_with("conv2d_backward_input") => 9 * at(4),
            _ => 9 * at(3),
        };
        let warps = f64::from(threads.div_ceil(32));
        let products = f64::from(rows) * f64::from(columns) * f64::from(depth);
        return multiplies * products / warps / f64::from(pipes.tensor_fma);
    }
    // Steps, and multiply-adds of a thread in each: `kernels/tile.cuh`, `dense.cu`, `dense_backward_weight.cu`.
    let (steps, each) = match launch.entry.name {
        "conv2d_forward" | "conv2d_maxpool2d_forward" => (9 * at(3).div_ceil(8), 512),
        "conv2d_backward_input" => (9 * at(4).div_ceil(8), 512),
        "conv2d_backward_weight" => (length.div_ceil(8), 512),
        // Of the depth a block's own length.
        name if name.starts_with("conv2d_winograd_") => (at(3).div_ceil(8), 512),
        "dense_forward" => (length.div_ceil(16), 512),
        "dense_backward_input" => (at(2).div_ceil(16), 256),
        "dense_backward_weight" | "dense_rmsprop_step" => (at(0).div_ceil(16), 256),
        _ => {
            let per_thread = launch.cost.flops as f64 / 2.0 / (blocks as f64 * f64::from(threads));
            if pipes.tensor_fma > 0 {
                return multiplies * 32.0 * per_thread / f64::from(pipes.tensor_fma);
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

    #[test]
    fn tiles_are_read_from_names() {
        assert_eq!(tile("conv2d_forward_bf16_128x64"), Some([128, 64, 0]));
        assert_eq!(tile("conv2d_forward_parts_bf16_128x64x32"), Some([128, 64, 32]));
        assert_eq!(tile("conv2d_backward_weight_tf32_256x128_2"), Some([256, 128, 0]));
        assert_eq!(tile("conv2d_maxpool2d_forward"), None);
        assert_eq!(tile("conv2d_maxpool2d_forward_bf16_any"), Some([128, 64, 32]));
        let card = Card::named("h200").unwrap();
        assert!((tensor(card, "conv2d_forward_tf32_128x64") - 0.5 * MMA * 2048.0).abs() < 1e-9);
        assert_eq!(tile("conv2d_forward_tf32x3_128x64x16"), Some([128, 64, 16]));
        assert_eq!(tile("conv2d_forward_tf32x3_reduce"), None);
        assert!((tensor(card, "conv2d_forward_tf32x3_128x64x16") - 0.5 * MMA * 2048.0).abs() < 1e-9);
        assert_eq!(numbers("conv2d_forward_sm90_128x64"), Precision::Bf16);
        assert_eq!(numbers("dense_forward"), Precision::F32);
        assert_eq!(numbers("conv2d_forward_f16_128x64x32"), Precision::F16);
        let t4 = Card::named("t4").unwrap();
        assert_eq!(tensor(t4, "conv2d_forward_f16_128x64x32"), 512.0);
    }

    #[test]
    fn what_is_left_of_waves_is_spread() {
        let card = Card::named("h200").unwrap();
        let wave = |at_once: f64| 10.0 * at_once + 1.0;
        assert_eq!(in_waves(0, card, 2, wave), 0.0);
        assert_eq!(in_waves(132, card, 2, wave), 11.0);
        assert_eq!(in_waves(133, card, 2, wave), 21.0);
        assert_eq!(in_waves(264 + 1, card, 2, wave), 21.0 + 11.0);
    }

    #[test]
    fn the_other_pipes_add_a_share() {
        assert_eq!(together(&[10.0, 100.0, 30.0]), 100.0 + SERIAL * 40.0);
        // A step of 128x256 on wgmma: 1024 cycles at the peak, as many bytes of shared memory as it has cycles.
        let card = Card::named("h200").unwrap();
        let want = 1024.0 / WGMMA + SERIAL * (128.0 + 512.0 + 128.0 + 256.0);
        assert!((of_warpgroups([128, 256], 1.0, card) - want).abs() < 1e-9);
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
