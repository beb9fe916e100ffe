//! From instructions as text to operations on (still virtual) registers.
//!
//! In: a [`Function`]. Out: a [`Draft`]: blocks, operations, and what each virtual register is. Control is
//! read here, the table's rows in `plain`, registers like `%tid.x` in `special`, memory in `memory`, warp-wide instructions in `warp`, what sm_90
//! does later in `asynchronous`. Nothing is skipped: what is not known is refused.

mod asynchronous;
mod memory;
mod plain;
mod slots;
mod special;
mod warp;

use super::alu::{Class, Code};
use super::program::*;
use super::refuse;
use super::tree::{Function, Instruction, Module, Operand, Space};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// A program whose operands are virtual registers.
pub(super) struct Draft {
    pub program: Program,
    /// What each virtual register is: those of the function, then constants and special registers.
    pub registers: Vec<Virtual>,
}

/// A virtual register.
#[derive(Clone, Debug)]
pub(super) struct Virtual {
    pub class: Class,
    pub fixed: Option<Fixed>,
    pub name: String,
}

/// Most virtual registers: their numbers must fit an [`Op`].
const MOST: usize = 60_000;

pub(super) struct Decoder<'m> {
    module: &'m Module,
    pub(super) function: &'m Function,
    pub(super) addresses: &'m HashMap<String, u64>,
    pub(super) program: Program,
    registers: Vec<Virtual>,
    fixed: HashMap<Fixed, u16>,
    line: Line,
    pub(super) guard: Option<(u16, bool)>,
    /// Whether some arrivals or waits are relaxed, so that fences count.
    pub(super) relaxed: bool,
}

/// Decodes `function` into blocks on virtual registers.
pub(super) fn decode(
    module: &Module,
    function: &Function,
    addresses: &HashMap<String, u64>,
) -> Result<Draft> {
    let registers = function
        .registers
        .iter()
        .map(|register| Virtual { class: register.class, fixed: None, name: register.name.clone() })
        .collect();
    let mut decoder = Decoder {
        module,
        function,
        addresses,
        program: Program { name: function.name.clone(), ..Program::default() },
        registers,
        fixed: HashMap::new(),
        line: Line { ptx: function.line, place: None },
        guard: None,
        relaxed: function.body.iter().any(|it| {
            let barrier = it.opcode.starts_with("mbarrier.") || it.opcode.starts_with("barrier.cluster.");
            barrier && it.opcode.contains(".relaxed")
        }),
    };
    if decoder.registers.len() > MOST {
        return Err(decoder.error(format!("more than {MOST} registers")));
    }
    decoder.place_variables()?;
    decoder.blocks()?;
    Ok(Draft { program: decoder.program, registers: decoder.registers })
}

fn is_terminator(opcode: &str) -> bool {
    matches!(opcode.split('.').next(), Some("bra" | "ret" | "exit" | "brx")) || is_barrier(opcode)
}

fn is_barrier(opcode: &str) -> bool {
    let block = opcode.starts_with("bar.") && !opcode.starts_with("bar.warp.");
    block || (opcode.starts_with("barrier.") && !opcode.starts_with("barrier.cluster.arrive"))
}

/// Instructions that name the lanes which must take part.
fn meets(opcode: &str) -> bool {
    const STARTS: [&str; 11] = [
        "bar.warp.sync",
        "vote.sync.",
        "shfl.sync.",
        "match.",
        "redux.sync.",
        "elect.sync",
        "mma.sync.",
        "ldmatrix.",
        "stmatrix.",
        "wgmma.",
        "setmaxnreg.",
    ];
    STARTS.iter().any(|start| opcode.starts_with(start))
}

/// The first multiple of `align` from `end` on that is none of twice as much.
fn barely_aligned(end: u32, align: u32) -> u32 {
    let first = end.next_multiple_of(align);
    first + if (first / align).is_multiple_of(2) { align } else { 0 }
}

impl Decoder<'_> {
    /// An error at the current line, with the line's text.
    pub(super) fn error(&self, what: impl Into<String>) -> Error {
        let text = self.module.lines.get(self.line.ptx as usize - 1).map_or("", |line| line.trim());
        let error = refuse(&self.module.file, self.line.ptx, what).fact("text", text);
        match self.line.place {
            Some(place) => error.fact("source", self.module.place(place)),
            None => error,
        }
    }

    /// Shared variables stand apart, so that an access past the end of one does not hit the next, and at a multiple of what
    /// they ask for and of no more: what needs more and does not say so would go well until somebody adds another variable.
    /// The launch's limit is checked against their own bytes.
    fn place_variables(&mut self) -> Result<()> {
        let mut shared = SHARED_BASE;
        let mut local = 0u32;
        let all = self.module.variables.iter().chain(&self.function.variables);
        let used: Vec<_> = all.filter(|v| matches!(v.space, Space::Shared | Space::Local)).collect();
        let mut dynamic = Vec::new();
        for variable in used {
            if variable.space == Space::Shared && variable.size == 0 {
                dynamic.push(variable);
                continue;
            }
            let (end, list) = match variable.space {
                Space::Shared => (&mut shared, &mut self.program.shared),
                _ => (&mut local, &mut self.program.local),
            };
            if variable.space == Space::Shared && !list.is_empty() {
                *end += GUARD;
            }
            let offset = match variable.space {
                Space::Shared => barely_aligned(*end, variable.align),
                _ => end.next_multiple_of(variable.align),
            };
            *end = offset + variable.size;
            let (name, symbol) = (variable.plain_name().to_owned(), variable.name.clone());
            list.push(Placed { name, symbol, offset, size: variable.size, element: variable.element });
            if *end > 1 << 24 {
                return Err(self.error("the variables take more than 16 MiB"));
            }
        }
        // They all begin at one place.
        if let Some(align) = dynamic.iter().map(|variable| variable.align).max() {
            if !self.program.shared.is_empty() {
                shared += GUARD;
            }
            shared = barely_aligned(shared, align);
        }
        for variable in dynamic {
            let (name, symbol) = (variable.plain_name().to_owned(), variable.name.clone());
            let element = variable.element;
            self.program.shared.push(Placed { name, symbol, offset: shared, size: 0, element });
        }
        self.program.shared_end = shared;
        if local > 512 << 10 {
            return Err(self
                .error("a thread has 512 KiB of local memory")
                .expected_got("at most 524288", local));
        }
        self.program.local_size = local.next_multiple_of(16);
        self.program.param_size = self.function.params.last().map_or(0, |last| last.offset + last.size);
        self.program.cluster = match self.function.cluster {
            None => 1,
            Some([blocks @ 1..=8, 1, 1]) => blocks,
            Some([x, y, z]) => {
                return Err(self
                    .error("a cluster that is not known here")
                    .expected_got("1 to 8 blocks along x", format!("{x}, {y}, {z}")));
            }
        };
        Ok(())
    }

    fn blocks(&mut self) -> Result<()> {
        let body = &self.function.body;
        let mut leaders = vec![false; body.len() + 1];
        leaders[0] = true;
        for &label in &self.function.labels {
            leaders[label as usize] = true;
        }
        for (at, instruction) in body.iter().enumerate() {
            if is_terminator(&instruction.opcode) {
                leaders[at + 1] = true;
            }
            // Where lanes must meet, a part of the warp can wait before a block, not within one.
            let opcode = instruction.opcode.as_str();
            if meets(opcode) || is_barrier(opcode) || asynchronous::is_gate(opcode) {
                leaders[at] = true;
            }
        }
        let mut number = vec![EXIT; body.len() + 1];
        let mut count = 0;
        for at in 0..body.len() {
            if leaders[at] {
                number[at] = count;
                count += 1;
            }
        }
        let mut first = 0;
        let (mut meet, mut gate) = (NONE, NO_GATE);
        for (at, instruction) in body.iter().enumerate() {
            self.line = Line { ptx: instruction.line, place: instruction.place };
            if meets(&instruction.opcode) {
                meet = self.meeting(instruction)?;
            }
            let is = |at: usize, start: &str| body.get(at).is_some_and(|one| one.opcode.starts_with(start));
            let [arrives, waits] = ["barrier.cluster.arrive", "barrier.cluster.wait"];
            // Here they are one: who does not arrive must not wait either.
            let apart = || self.function.labels.iter().any(|&label| label as usize == at + 1);
            if is(at, arrives) != is(at + 1, waits)
                || is(at, arrives) && (instruction.guard.is_some() || apart())
            {
                return Err(
                    self.error("the parts of a cluster's barrier must stand one behind the other here")
                );
            }
            let next = number[at + 1];
            let end = if is_terminator(&instruction.opcode) {
                self.end((at.checked_sub(1).map(|at| &body[at]), instruction), next, &number)?
            } else {
                self.guarded(instruction)?;
                if asynchronous::is_gate(&instruction.opcode) {
                    gate = self.program.asynchronous.len() as u32 - 1;
                }
                if !leaders[at + 1] && at + 1 < body.len() {
                    continue;
                }
                End::Jump(next)
            };
            let reads = match end {
                End::Branch { .. } => true,
                End::Barrier { .. } => instruction.operands.iter().any(|one| !matches!(one, Operand::Int(_))),
                _ => false,
            };
            if reads && self.program.ops.len() as u32 == first {
                // Something for a check of what the end reads to stand behind.
                self.emit(Op::new(Code::Nothing));
            }
            let last = self.program.ops.len() as u32;
            self.program.blocks.push(Block { ops: first..last, end, line: self.line, meet, gate });
            (first, meet, gate) = (last, NONE, NO_GATE);
        }
        if body.first().is_some_and(|first| first.opcode.starts_with("barrier.cluster.wait")) {
            return Err(self.error("a kernel begins with a wait at its cluster's barrier"));
        }
        if self.program.blocks.is_empty() {
            let line = self.line;
            self.program.blocks.push(Block {
                ops: 0..0,
                end: End::Jump(EXIT),
                line,
                meet: NONE,
                gate: NO_GATE,
            });
        }
        Ok(())
    }

    fn end(
        &mut self,
        (before, instruction): (Option<&Instruction>, &Instruction),
        next: u32,
        number: &[u32],
    ) -> Result<End> {
        let opcode = instruction.opcode.as_str();
        if is_barrier(opcode) {
            if instruction.guard.is_some() {
                return Err(self.error("a predicated barrier is not known"));
            }
            // Only a cluster's barrier has an arrival of its own, right before it (`blocks`).
            let relaxed = before.is_some_and(|it| it.opcode.starts_with("barrier.cluster.arrive.relaxed"));
            return Ok(End::Barrier { barrier: Barrier { relaxed, ..self.barrier(instruction)? }, next });
        }
        let taken = match (opcode, instruction.operands.as_slice()) {
            ("bra" | "bra.uni", [Operand::Label(label)]) => {
                number[self.function.labels[*label as usize] as usize]
            }
            ("ret" | "ret.uni" | "exit", []) => EXIT,
            _ => return Err(self.error(format!("unknown instruction `{opcode}`"))),
        };
        Ok(match instruction.guard {
            None => End::Jump(taken),
            Some((p, inverted)) => {
                let p = self.register(p, Class::P)?;
                End::Branch { p, inverted, taken, next }
            }
        })
    }

    fn barrier(&mut self, instruction: &Instruction) -> Result<Barrier> {
        let opcode =
            instruction.opcode.replace("barrier.", "bar.").replace(".aligned", "").replace(".cta", "");
        let operands = &instruction.operands;
        let unknown = || format!("unknown barrier `{}`", instruction.opcode);
        let none =
            Barrier { id: NONE, count: NONE, cluster: false, waits: true, relaxed: false, reduce: None };
        match opcode.as_str() {
            // Right behind its arrival (`blocks`), so that all meet here.
            "bar.cluster.wait" | "bar.cluster.wait.acquire" if operands.is_empty() => {
                let id = self.fixed(Fixed::ConstW(CLUSTER_BARRIER))?;
                Ok(Barrier { id, cluster: true, ..none })
            }
            "bar.sync" | "bar.arrive" => {
                let waits = opcode == "bar.sync";
                let id = operands.first().ok_or_else(|| self.error(unknown()))?;
                let id = self.operand(id, Class::W)?;
                let count = match operands.get(1) {
                    Some(count) => self.operand(count, Class::W)?,
                    None if waits => NONE,
                    None => return Err(self.error("`bar.arrive` needs a number of threads")),
                };
                Ok(Barrier { id, count, waits, ..none })
            }
            "bar.red.popc.u32" | "bar.red.and.pred" | "bar.red.or.pred" => {
                let (kind, class) = match opcode.as_str() {
                    "bar.red.popc.u32" => (ReduceKind::Popc, Class::W),
                    "bar.red.and.pred" => (ReduceKind::And, Class::P),
                    _ => (ReduceKind::Or, Class::P),
                };
                let (d, id, count, p) = match operands.as_slice() {
                    [d, id, p] => (d, id, None, p),
                    [d, id, count, p] => (d, id, Some(count), p),
                    _ => return Err(self.error(unknown())),
                };
                let d = self.result(d, class)?;
                let id = self.operand(id, Class::W)?;
                let count = count.map_or(Ok(NONE), |count| self.operand(count, Class::W))?;
                let (p, inverted) = match p {
                    Operand::Not(p) => (self.register(*p, Class::P)?, true),
                    other => (self.operand(other, Class::P)?, false),
                };
                Ok(Barrier { id, count, reduce: Some(Reduce { d, p, inverted, kind }), ..none })
            }
            _ => Err(self.error(unknown())),
        }
    }

    fn guarded(&mut self, instruction: &Instruction) -> Result<()> {
        self.guard = match instruction.guard {
            Some((p, inverted)) => Some((self.register(p, Class::P)?, inverted)),
            None => None,
        };
        if self.guard.is_some() && meets(&instruction.opcode) {
            return Err(self.error("a predicated warp-wide instruction is not known"));
        }
        if let Some((p, inverted)) = self.guard
            && !instruction.operands.is_empty()
            && instruction.opcode.starts_with("setp")
        {
            // It may become several operations, of which the first changes its own guard.
            let kept = self.temporary(Class::P)?;
            self.guard = None;
            self.emit(Op { d: kept, a: p, ..Op::new(Code::MovP) });
            self.guard = Some((kept, inverted));
        }
        self.instruction(instruction)?;
        self.guard = None;
        Ok(())
    }

    /// Appends an operation.
    pub(super) fn emit(&mut self, op: Op) {
        let op = match self.guard {
            None => op,
            Some((p, inverted)) => {
                self.program.guarded.push(op);
                let imm = self.program.guarded.len() as u32 - 1;
                Op { a: p, b: u16::from(inverted), imm, ..Op::new(Code::Guarded) }
            }
        };
        self.program.ops.push(op);
        self.program.lines.push(self.line);
    }
}
