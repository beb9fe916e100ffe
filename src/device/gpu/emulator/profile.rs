//! What each line of the source cost.
//!
//! In: a program and its [`Statistics`]. Out: one [`LineCount`] per source line that ran. The emulator
//! counts blocks of the program and memory accesses only; all else follows from them, so counting costs
//! nothing where nobody asks.

use super::grid::{Ran, Statistics, Touched};
use crate::device::gpu::module::{plain_path, source_line};
use crate::ptx::{Asynchronous, Code, End, Line, Matrix, Module, Program, Space};
use std::collections::BTreeMap;

/// Counts of one line of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineCount {
    /// "kernels/dense.cu"; the PTX file for what nvcc gave no source line.
    pub file: String,
    /// From 1; 0 for what has no source line.
    pub line: u32,
    /// Instructions that warps ran.
    pub instructions: u64,
    /// Lanes that were active in them, together: at most 32 times as many.
    pub lanes: u64,
    /// Floating-point operations of those lanes: 2 for a fused multiply-add, 1 for other arithmetic, none
    /// for comparisons, moves and conversions.
    pub flops: u64,
    /// Conditional branches that warps ran.
    pub branches: u64,
    /// Of those, the ones whose lanes went different ways.
    pub diverged: u64,
    /// Global memory; passes are sectors of 32 bytes.
    pub global: Touched,
    /// Shared memory; passes are turns of the 32 banks.
    pub shared: Touched,
}

impl LineCount {
    /// The text of the line.
    pub fn source(&self) -> Option<&'static str> {
        if self.line == 0 { Some("(no source line)") } else { source_line(&self.file, self.line) }
    }

    /// Adds `other`'s counts.
    pub fn add(&mut self, other: &Self) {
        self.instructions += other.instructions;
        self.lanes += other.lanes;
        self.flops += other.flops;
        self.branches += other.branches;
        self.diverged += other.diverged;
        self.global.add(&other.global);
        self.shared.add(&other.shared);
    }
}

/// The lines that ran, in order of file and line.
pub fn profile(program: &Program, module: &Module, statistics: &Statistics) -> Vec<LineCount> {
    let mut lines: BTreeMap<(String, u32), LineCount> = BTreeMap::new();
    for (block, ran) in program.blocks.iter().zip(&statistics.ran) {
        if ran.warps == 0 {
            continue;
        }
        // The decoder makes several operations of some instructions.
        let mut last = None;
        for at in block.ops.clone() {
            let (op, line) = (&program.ops[at as usize], program.lines[at as usize]);
            if matches!(op.code, Code::MarkInit | Code::CheckInit) {
                continue;
            }
            let count = entry(&mut lines, module, line);
            if last != Some(line.ptx) {
                ran_once(count, ran);
                last = Some(line.ptx);
            }
            let op = if op.code == Code::Guarded { &program.guarded[op.imm as usize] } else { op };
            count.flops += flops(op.code) * ran.lanes;
            match op.code {
                Code::Access => {
                    let touched = &statistics.touched[op.imm as usize];
                    match program.accesses[op.imm as usize].space {
                        Space::Shared => count.shared.add(touched),
                        Space::Global | Space::Generic => count.global.add(touched),
                        Space::Local | Space::Const | Space::Param => {}
                    }
                }
                Code::Asynchronous => {
                    // A warp's quarter of the product.
                    if let Asynchronous::Wgmma(wgmma) = &program.asynchronous[op.imm as usize] {
                        count.flops += 2 * 16 * u64::from(wgmma.n) * wgmma.k() as u64 * ran.warps;
                    }
                }
                Code::Matrix => match program.matrices[op.imm as usize] {
                    Matrix::Multiply { k, .. } => count.flops += 2 * 16 * 8 * u64::from(k) * ran.warps,
                    Matrix::Load { .. } | Matrix::Store { .. } => {
                        count.shared.add(&statistics.matrices[op.imm as usize]);
                    }
                },
                _ => {}
            }
        }
        let count = entry(&mut lines, module, block.line);
        match block.end {
            End::Branch { .. } => {
                ran_once(count, ran);
                count.branches += ran.warps;
                count.diverged += ran.diverged;
            }
            End::Barrier { .. } => ran_once(count, ran),
            End::Jump(_) if is_jump(module, block.line) => ran_once(count, ran),
            End::Jump(_) => {}
        }
    }
    lines.into_values().filter(|count| count.instructions > 0).collect()
}

fn entry<'l>(
    lines: &'l mut BTreeMap<(String, u32), LineCount>,
    module: &Module,
    line: Line,
) -> &'l mut LineCount {
    let file =
        |number| module.files.iter().find(|(other, _)| *other == number).map(|(_, path)| plain_path(path));
    let (file, line) = match line.place {
        Some(place) => (file(place.file).unwrap_or_else(|| "?".into()), place.line),
        None => (module.file.clone(), 0),
    };
    lines.entry((file.clone(), line)).or_insert_with(|| LineCount { file, line, ..LineCount::default() })
}

fn ran_once(count: &mut LineCount, ran: &Ran) {
    count.instructions += ran.warps;
    count.lanes += ran.lanes;
}

/// Whether a block ends with an instruction, or the next one just begins.
fn is_jump(module: &Module, line: Line) -> bool {
    let text = module.lines.get((line.ptx as usize).wrapping_sub(1)).map_or("", |text| text.trim());
    ["bra", "ret", "exit"].iter().any(|opcode| text.starts_with(opcode))
}

/// Of one lane.
fn flops(code: Code) -> u64 {
    use Code::*;
    match code {
        FmaF | FmaSatF | FmaFz | FmaRz | FmaRm | FmaRp | FmaD => 2,
        AddF | SubF | MulF | AddSatF | MulSatF | DivF | RcpF | SqrtF | RsqrtF | MinF | MaxF | MinNanF
        | MaxNanF | Ex2F | Lg2F | SinF | CosF | TanhF | AddFz | SubFz | MulFz | DivFz | RcpFz | SqrtFz
        | RsqrtFz | MinFz | MaxFz | Ex2Fz | Lg2Fz | SinFz | CosFz | AddRz | AddRm | AddRp | SubRz | MulRz
        | MulRm | MulRp | AddD | SubD | MulD | DivD | RcpD | SqrtD => 1,
        _ => 0,
    }
}
