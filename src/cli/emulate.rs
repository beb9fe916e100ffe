//! The arguments of `emulate`.

use super::values::whole;
use crate::device::gpu::emulator::{Options, Schedule};
use crate::device::{Kernels, Precision};
use crate::task;
use clap::Args;

/// `emulate`
#[derive(Args, Debug)]
pub struct EmulateArgs {
    /// Which kernel; without one, all are listed with what they compute
    pub kernel: Option<String>,
    /// Sizes by axis, such as n=1,h=8,w=8; axes that are not named keep their defaults
    #[arg(long, value_name = "AXIS=N,...", value_delimiter = ',', value_parser = axis)]
    pub shape: Vec<(String, usize)>,
    /// Decides the inputs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
    /// Count instructions, lanes, memory traffic and flops for every line of the kernel's source
    #[arg(long)]
    pub stats: bool,
    /// Print each instruction of one thread with its value: 0,0,0:37 or, for blocks along x alone, 0,37
    #[arg(long, value_name = "BLOCK,THREAD", value_parser = trace)]
    pub trace: Option<Followed>,
    /// Who goes first among warps and among lanes that went different ways: lowest, reverse, random:SEED
    #[arg(long, value_name = "ORDER", default_value = "lowest", value_parser = schedule)]
    pub schedule: Schedule,
    /// All checks: bounds, alignment, unwritten memory and registers, races (the default)
    #[arg(long)]
    pub checked: bool,
    /// Only bounds and alignment
    #[arg(long, conflicts_with = "checked")]
    pub fast: bool,
    /// Also report plain accesses of global memory by two blocks, or by two warps of a block with no barrier between; slow
    #[arg(long, conflicts_with = "fast")]
    pub global_races: bool,
    /// cp.async arrives when it is waited for (the default)
    #[arg(long)]
    pub late_copies: bool,
    /// cp.async arrives at once
    #[arg(long, conflicts_with = "late_copies")]
    pub early_copies: bool,
}

/// A block along x, y, z and a thread's number in it.
type Followed = ([u32; 3], u32);

impl EmulateArgs {
    /// What is to be done, on so many threads, in which numbers, by which convolutions.
    pub fn job(
        self,
        threads: Option<usize>,
        precision: Option<Precision>,
        kernels: Kernels,
    ) -> task::Emulate {
        let options = Options {
            checked: !self.fast,
            global_races: self.global_races,
            late_copies: !self.early_copies,
            statistics: self.stats,
            schedule: self.schedule,
            threads,
            ..Options::default()
        };
        let Self { kernel, shape, seed, stats, trace, .. } = self;
        task::Emulate { kernel, shape, seed, options, precision, kernels, stats, trace }
    }
}

fn axis(text: &str) -> Result<(String, usize), String> {
    match text.split_once('=').map(|(axis, size)| (axis.trim(), size.trim().parse::<usize>())) {
        Some((axis, Ok(size))) if !axis.is_empty() && (1..=1 << 30).contains(&size) => {
            Ok((axis.to_owned(), size))
        }
        _ => Err("write AXIS=N with a whole number from 1 up, as in n=1,c_in=16".into()),
    }
}

fn trace(text: &str) -> Result<Followed, String> {
    let read = || {
        let (block, thread) = text.split_once(':').or_else(|| text.rsplit_once(','))?;
        let mut at = [0; 3];
        let axes: Vec<u32> = block.split(',').map(|axis| axis.trim().parse().ok()).collect::<Option<_>>()?;
        at.get_mut(..axes.len())?.copy_from_slice(&axes);
        Some((at, thread.trim().parse().ok()?))
    };
    read().ok_or_else(|| "write BLOCK,THREAD (3,17) or X,Y,Z:THREAD (0,0,0:5)".into())
}

fn schedule(text: &str) -> Result<Schedule, String> {
    match text {
        "lowest" => Ok(Schedule::Lowest),
        "reverse" => Ok(Schedule::Reverse),
        _ => match text.strip_prefix("random:").map(str::parse) {
            Some(Ok(seed)) => Ok(Schedule::Random(seed)),
            _ => Err("choose lowest, reverse or random:SEED with a whole number".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_orders_are_read_or_refused() {
        assert_eq!(trace("3,17"), Ok(([3, 0, 0], 17)));
        assert_eq!(trace("1,2,3:5"), Ok(([1, 2, 3], 5)));
        assert_eq!(trace("1,2,5"), Ok(([1, 2, 0], 5)));
        assert_eq!(trace("4:5"), Ok(([4, 0, 0], 5)));
        for bad in ["", "5", "1,2,3,4:5", "x,1", "1:", "-1,2"] {
            assert!(trace(bad).is_err(), "{bad}");
        }
        assert_eq!(schedule("random:7"), Ok(Schedule::Random(7)));
        assert!(schedule("random").is_err() && schedule("random:x").is_err());
        assert_eq!(axis("c_in=16"), Ok(("c_in".into(), 16)));
        for bad in ["c_in", "=3", "n=0", "n=-1", "n=x"] {
            assert!(axis(bad).is_err(), "{bad}");
        }
    }
}
