//! What a launch of clusters must be.
//!
//! In: a program and its launch. Out: an error where its blocks make no whole clusters, or more warps than the emulator
//! tells apart.

use super::shared::Agents;
use crate::device::gpu::launch::Launch;
use crate::error::{Error, Kind, Result};
use crate::ptx::Program;

/// Whether the blocks of a launch make whole clusters, of as many warps as are told apart here.
pub fn check(program: &Program, launch: &Launch) -> Result<()> {
    let (blocks, threads) = (program.cluster, launch.block.iter().product::<u32>());
    if blocks == 1 {
        return Ok(());
    }
    let refused = |what: String| Error::new(Kind::Device, format!("{}: {what}", program.name));
    if !launch.grid[0].is_multiple_of(blocks) {
        return Err(refused(format!("clusters of {blocks} blocks do not divide the grid"))
            .fact("blocks along x", launch.grid[0])
            .help("this is a bug in vgg-ft: launch whole clusters"));
    }
    let agents = |warps: u32| Agents { warps: warps as usize, later: true }.count();
    let most = (1..=64).take_while(|&warps| agents(warps) <= Agents::MOST).last().unwrap_or(0);
    let warps = blocks * threads.div_ceil(32);
    if !threads.is_multiple_of(128) || warps > most {
        return Err(refused(format!("clusters of {blocks} blocks of {threads} threads are not known here"))
            .help(format!("the emulator takes clusters of whole warpgroups, {most} warps in all")));
    }
    Ok(())
}
