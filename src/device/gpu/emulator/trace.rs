//! Follows one thread: what it ran, what came out, where in memory.
//!
//! In: each operation of the thread's warp, before and after. Out: [`Step`]s. Where a value goes is
//! asked before an operation, because a load may overwrite the register that held its address.

use super::fault::place;
use super::grid::Grid;
use super::lanes::{LANES, Registers};
use crate::ptx::{Block, Class, Code, End, Group, Line, Module, NONE, Op, Space};
use std::sync::{Mutex, PoisonError};

/// One instruction of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where in the kernel.
    pub line: Line,
    /// The element of memory that an access begins with: `x[12]`.
    pub memory: Option<String>,
    /// What it left in registers, or took from them to memory: lowest first, with the kind of register.
    pub values: Vec<(Class, u64)>,
    /// For a branch: whether it was taken. For an instruction under a condition: whether it ran.
    pub taken: Option<bool>,
}

impl Step {
    /// `kernels/dense.cu:58`.
    pub fn place(&self, module: &Module) -> String {
        place(module, self.line)
    }

    /// The instruction as the PTX has it.
    pub fn text<'m>(&self, module: &'m Module) -> &'m str {
        module.lines.get((self.line.ptx as usize).wrapping_sub(1)).map_or("", |text| text.trim())
    }
}

/// One thread whose steps are written down.
pub struct Trace {
    /// The block's number along x, y, z.
    pub block: [u32; 3],
    /// The thread's number in the block.
    pub thread: u32,
    steps: Mutex<Vec<Step>>,
}

impl Trace {
    /// Nothing written down yet.
    pub fn new(block: [u32; 3], thread: u32) -> Self {
        Self { block, thread, steps: Mutex::default() }
    }

    /// What was written down.
    pub fn steps(self) -> Vec<Step> {
        self.steps.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self) -> usize {
        self.thread as usize % LANES
    }

    fn add(&self, step: Step) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// Before operation `at`; none for the machine's own bookkeeping.
    pub(super) fn begin(&self, grid: &Grid<'_>, at: u32, op: &Op, registers: &Registers) -> Option<Step> {
        if matches!(op.code, Code::MarkInit | Code::CheckInit) {
            return None;
        }
        let line = grid.program.lines.get(at as usize).copied()?;
        let mut step = Step { line, memory: None, values: Vec::new(), taken: None };
        if op.code == Code::Guarded {
            let set = registers.predicate(op.a) >> self.lane() & 1 == 1;
            step.taken = Some(set != (op.b == 1));
        }
        if let Op { code: Code::Access, imm, .. } = actual(grid, op) {
            step.memory = self.element(grid, imm as usize, registers);
        }
        Some(step)
    }

    /// After the operation.
    pub(super) fn end(&self, grid: &Grid<'_>, step: Option<Step>, op: &Op, registers: &Registers) {
        let Some(mut step) = step else { return };
        let op = actual(grid, op);
        let value = |class, slot| (class, registers.value(class, slot, self.lane()));
        if step.taken != Some(false) {
            match op.code {
                Code::Access => {
                    let access = &grid.program.accesses[op.imm as usize];
                    let slots = match access.group {
                        Group::AsyncCopy => &[],
                        Group::Atomic(_) => &access.regs[..1],
                        Group::Load { .. } | Group::Store => &access.regs[..],
                    };
                    let slots = slots.iter().filter(|&&slot| slot != NONE);
                    step.values = slots.map(|&slot| value(access.class, slot)).collect();
                }
                Code::LoadParam => {
                    step.values = vec![value(if op.a == 8 { Class::L } else { Class::W }, op.d)];
                }
                Code::Shuffle => step.values = vec![value(Class::W, op.d)],
                code => step.values.extend(code.signature().map(|row| value(row.result, op.d))),
            }
        }
        self.add(step);
    }

    /// At the end of a block of the program.
    pub(super) fn leave(&self, block: &Block, registers: &Registers) {
        let taken = match block.end {
            End::Branch { p, inverted, .. } => {
                Some((registers.predicate(p) >> self.lane() & 1 == 1) != inverted)
            }
            End::Barrier { .. } => None,
            // Most are no instructions: the code just goes on.
            End::Jump(_) => return,
        };
        self.add(Step { line: block.line, memory: None, values: Vec::new(), taken });
    }

    /// Where an access of this thread begins.
    fn element(&self, grid: &Grid<'_>, index: usize, registers: &Registers) -> Option<String> {
        let access = grid.program.accesses.get(index)?;
        let base = if access.base == NONE {
            0
        } else {
            registers.value(access.base_class, access.base, self.lane())
        };
        let address = base.wrapping_add(access.offset as u64);
        match access.space {
            Space::Global | Space::Generic => {
                let before = grid.named.iter().filter(|named| named.base != 0 && named.base <= address);
                let named = before.max_by_key(|named| named.base)?;
                Some(format!("{}[{}]", named.name, (address - named.base) / named.dtype.size() as u64))
            }
            Space::Shared => {
                let address = address as u32;
                let before = grid.program.shared.iter().filter(|placed| placed.offset <= address);
                let placed = before.max_by_key(|placed| placed.offset)?;
                Some(format!("{}+{} bytes", placed.name, address - placed.offset))
            }
            Space::Local | Space::Const | Space::Param => None,
        }
    }
}

/// The operation under a condition, or itself.
fn actual(grid: &Grid<'_>, op: &Op) -> Op {
    match op.code {
        Code::Guarded => grid.program.guarded.get(op.imm as usize).copied().unwrap_or(*op),
        _ => *op,
    }
}
