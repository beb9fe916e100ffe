//! What kernels are made of on each kind of GPU: `kernels/ptx/pipes.tsv`, which `scripts/sass-model` counts
//! in the machine code.

/// One pass of a kernel's main loop, or its whole body, in instructions of a warp.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipes {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Whether the counts are those of one pass of the main loop.
    pub is_loop: bool,
    /// All instructions.
    pub instructions: u32,
    /// Fused multiply-adds.
    pub fma: u32,
    /// All of the multiply-add pipe.
    pub float: u32,
    /// Integer arithmetic, comparisons, moves.
    pub integer: u32,
    /// Roots, exponentials, reciprocals.
    pub special: u32,
    /// Four-byte words of shared memory that a lane reads or writes.
    pub shared_words: u32,
    /// Multiply-adds of a warp on tensor cores.
    pub tensor_fma: u32,
}

/// The table, as committed.
const TABLE: &str = include_str!("../../../../kernels/ptx/pipes.tsv");

impl Pipes {
    /// The counts of `kernel` for a GPU of this compute capability (90 for 9.0), or of the nearest older one.
    /// `None` for a kernel that was written after the table.
    pub fn find(kernel: &str, capability: u32) -> Option<Self> {
        let rows = TABLE.lines().filter_map(|line| row(kernel, line));
        rows.filter(|(arch, _)| *arch <= capability).max_by_key(|(arch, _)| *arch).map(|(_, pipes)| pipes)
    }
}

fn row(kernel: &str, line: &str) -> Option<(u32, Pipes)> {
    let cells: Vec<&str> = line.strip_prefix(kernel)?.strip_prefix('\t')?.split('\t').collect();
    let number = |at: usize| cells.get(at)?.parse().ok();
    Some((
        number(0)?,
        Pipes {
            registers: number(2)?,
            shared: number(3)?,
            is_loop: *cells.get(4)? == "loop",
            instructions: number(5)?,
            fma: number(6)?,
            float: number(7)?,
            integer: number(8)?,
            special: number(9)?,
            shared_words: number(10)?,
            tensor_fma: number(13)?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::module::{MODULES, SOURCES};

    /// A product is counted by its loop; a kernel without a row would be predicted without its pipes.
    #[test]
    fn every_hot_kernel_has_a_main_loop_for_every_architecture() {
        let mut seen = 0;
        for module in MODULES.iter().filter(|module| !module.name.starts_with("ladder/")) {
            let path = format!("kernels/{}.cu", module.name);
            let (_, text) = SOURCES.iter().find(|(name, _)| *name == path).unwrap();
            let hot: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("// hot:"))
                .flat_map(str::split_whitespace)
                .collect();
            for entry in module.entries {
                for capability in [75, 80, 86, 89, 90].into_iter().filter(|&c| module.runs_on(c)) {
                    let pipes = Pipes::find(entry.name, capability);
                    let pipes = pipes.unwrap_or_else(|| {
                        panic!("{} has no row: run scripts/ptx, then scripts/sass-model", entry.name)
                    });
                    assert!(pipes.instructions > 0 && pipes.registers > 0, "{}: {pipes:?}", entry.name);
                    // One for ragged sizes may have a loop without being hot.
                    assert!(pipes.is_loop || !hot.contains(&entry.name), "{} {capability}", entry.name);
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "{seen}");
        assert_eq!(Pipes::find("conv2d", 90), None);
        assert_eq!(Pipes::find("add", 60), None);
        assert_eq!(Pipes::find("add", 120), Pipes::find("add", 90));
    }
}
