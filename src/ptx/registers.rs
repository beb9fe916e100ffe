//! Virtual registers become slots.
//!
//! In: a draft. Out: its program with slot numbers. nvcc's text names every value anew (1500 registers in
//! a convolution, of which 120 live at once); kept apart they would not fit a cache. Liveness by blocks,
//! then linear scan over the text. Lanes have columns of their own, so a slot may serve two values as
//! long as no lane needs both, whatever the other lanes do.

use super::alu::{Class, Code};
use super::asynchronous::Asynchronous;
use super::decode::{Draft, Virtual};
use super::flow::successors;
use super::program::{Barrier, End, NONE, Op, Program, Reduce, ReduceKind};
use super::refuse;
use super::tree::{Function, Module};
use super::visit::Role;
use crate::error::Result;

/// Most bits of liveness that are computed: 64 MiB.
const MOST_BITS: usize = 1 << 29;

/// Most words of liveness that are computed: seconds. What compilers write takes a few rounds.
const MOST_WORK: usize = 1 << 31;

struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }
    fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }
    fn each(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        })
    }
}

/// Registers read and written by a block's end and its meeting, in that order of `see`.
fn visit_end(end: &mut End, see: &mut dyn FnMut(&mut u16, Class, Role)) {
    match end {
        End::Jump(_) => {}
        End::Branch { p, .. } => see(p, Class::P, Role::Use),
        End::Barrier { barrier: Barrier { id, count, reduce, .. }, .. } => {
            see(id, Class::W, Role::Use);
            if *count != NONE {
                see(count, Class::W, Role::Use);
            }
            if let Some(Reduce { d, p, kind, .. }) = reduce {
                see(p, Class::P, Role::Use);
                see(d, if *kind == ReduceKind::Popc { Class::W } else { Class::P }, Role::Def);
            }
        }
    }
}

/// Calls `see` for everything in block `at`, in order of execution, with the position in the text.
fn visit_block(program: &mut Program, at: usize, see: &mut dyn FnMut(usize, &mut u16, Class, Role)) {
    let mut block = program.blocks[at].clone();
    let position = |op: u32| op as usize + at;
    if block.meet != NONE {
        see(position(block.ops.start), &mut block.meet, Class::W, Role::Use);
    }
    for index in block.ops.clone() {
        let mut op = program.ops[index as usize];
        program.visit(&mut op, &mut |slot, class, role| see(position(index), slot, class, role));
        program.ops[index as usize] = op;
    }
    visit_end(&mut block.end, &mut |slot, class, role| see(position(block.ops.end), slot, class, role));
    program.blocks[at] = block;
}

/// Gives every virtual register a slot. With `tracked`, operations that watch registers which may be
/// read before they are written are put in.
pub(super) fn rename(module: &Module, function: &Function, draft: &mut Draft, tracked: bool) -> Result<()> {
    let Draft { program, registers } = draft;
    let (blocks, count) = (program.blocks.len(), registers.len());
    if blocks * count * 2 > MOST_BITS {
        let what = format!("`{}` is too large: {blocks} blocks, {count} registers", function.name);
        return Err(refuse(&module.file, function.line, what));
    }
    let live = liveness(program, count).ok_or_else(|| {
        let what = format!("the branches of `{}` are too tangled to follow", function.name);
        refuse(&module.file, function.line, what)
    })?;
    let watched: Vec<usize> = live[0].each().filter(|&r| registers[r].fixed.is_none()).collect();
    let slots = scan(program, registers, &live).ok_or_else(|| {
        refuse(&module.file, function.line, format!("`{}` needs too many registers", function.name))
    })?;
    if usize::from(slots.count[0]) + watched.len() >= usize::from(NONE) {
        let what = format!("`{}` needs too many registers", function.name);
        return Err(refuse(&module.file, function.line, what));
    }
    let bits = if tracked { watch(program, registers, &watched, &slots) } else { Vec::new() };
    for at in 0..blocks {
        visit_block(program, at, &mut |_, slot, _, _| *slot = slots.of[usize::from(*slot)]);
    }
    program.slots = slots.count;
    // What the machine's unchecked accesses rely on.
    for at in 0..blocks {
        let mut wrong = false;
        let counts = slots.count;
        visit_block(program, at, &mut |_, slot, class, _| wrong |= *slot >= counts[class as usize]);
        if wrong {
            let what = format!("`{}` names a register that has no slot", function.name);
            return Err(refuse(&module.file, function.line, what));
        }
    }
    for (register, &slot) in registers.iter().zip(&slots.of) {
        if let Some(fixed) = register.fixed.filter(|_| slot != NONE) {
            program.fixed.push((register.class, slot, fixed));
        }
    }
    program.slots[0] += program.tracked.len() as u16;
    insert(program, bits);
    Ok(())
}

/// What is needed at the begin of each block.
fn liveness(program: &mut Program, count: usize) -> Option<Vec<Bits>> {
    let blocks = program.blocks.len();
    let mut live: Vec<Bits> = (0..blocks).map(|_| Bits::new(count)).collect();
    let mut written: Vec<Bits> = (0..blocks).map(|_| Bits::new(count)).collect();
    for at in 0..blocks {
        let (live, written) = (&mut live[at], &mut written[at]);
        visit_block(program, at, &mut |_, slot, _, role| {
            let register = usize::from(*slot);
            match role {
                Role::Def => written.set(register),
                Role::Use | Role::Kept if !written.has(register) => live.set(register),
                Role::Use | Role::Kept => {}
                Role::Summand => {
                    if !written.has(register) {
                        live.set(register);
                    }
                    written.set(register);
                }
            }
        });
    }
    let mut changed = true;
    let mut work = 0;
    while changed {
        changed = false;
        work += blocks * count.div_ceil(64) * 2;
        if work > MOST_WORK {
            return None;
        }
        for at in (0..blocks).rev() {
            for next in successors(&program.blocks[at]) {
                for word in 0..live[at].0.len() {
                    let new = live[at].0[word] | (live[next].0[word] & !written[at].0[word]);
                    changed |= new != live[at].0[word];
                    live[at].0[word] = new;
                }
            }
        }
    }
    Some(live)
}

struct Slots {
    /// For each virtual register, [`NONE`] where it is never used.
    of: Vec<u16>,
    /// Of class P, W, L.
    count: [u16; 3],
}

fn scan(program: &mut Program, registers: &[Virtual], live: &[Bits]) -> Option<Slots> {
    let mut spans = vec![(usize::MAX, 0usize); registers.len()];
    let mut widen = |register: usize, at: usize| {
        let (first, last) = &mut spans[register];
        *first = (*first).min(at);
        *last = (*last).max(at);
    };
    for at in 0..program.blocks.len() {
        let ops = program.blocks[at].ops.clone();
        let (begin, end) = (ops.start as usize + at, ops.end as usize + at);
        live[at].each().for_each(|register| widen(register, begin));
        for next in successors(&program.blocks[at]) {
            live[next].each().for_each(|register| widen(register, end));
        }
        visit_block(program, at, &mut |position, slot, _, _| widen(usize::from(*slot), position));
    }
    let mut slots = Slots { of: vec![NONE; registers.len()], count: [0; 3] };
    let mut free: [Vec<u16>; 3] = Default::default();
    let mut take = |class: Class, free: &mut [Vec<u16>; 3]| -> Option<u16> {
        let kind = class as usize;
        if let Some(slot) = free[kind].pop() {
            return Some(slot);
        }
        let slot = slots.count[kind];
        slots.count[kind] = slot.checked_add(1).filter(|&count| count < NONE)?;
        Some(slot)
    };
    let mut order: Vec<usize> = (0..registers.len()).filter(|&r| spans[r].0 != usize::MAX).collect();
    for &register in order.iter().filter(|&&r| registers[r].fixed.is_some()) {
        slots.of[register] = take(registers[register].class, &mut free)?;
    }
    order.retain(|&r| registers[r].fixed.is_none());
    order.sort_by_key(|&r| (spans[r].0, r));
    let mut active: std::collections::BTreeSet<(usize, usize)> = Default::default();
    for register in order {
        let (first, last) = spans[register];
        while let Some(&(end, done)) = active.first().filter(|(end, _)| *end < first) {
            active.remove(&(end, done));
            free[registers[done].class as usize].push(slots.of[done]);
        }
        slots.of[register] = take(registers[register].class, &mut free)?;
        active.insert((last, register));
    }
    Some(slots)
}

/// Operations to put before (`false`) or after (`true`) the one at an index.
pub(super) type Inserts = Vec<(u32, bool, Op)>;

fn watch(program: &mut Program, registers: &[Virtual], watched: &[usize], slots: &Slots) -> Inserts {
    let mut inserts = Vec::new();
    let mut bit_of = std::collections::HashMap::new();
    for &register in watched {
        let slot = slots.count[0] + bit_of.len() as u16;
        bit_of.insert(register as u16, (slot, program.tracked_names.len() as u32));
        program.tracked.push(slot);
        program.tracked_names.push(registers[register].name.clone());
    }
    for index in 0..program.ops.len() {
        let op = program.ops[index];
        let guard = (op.code == Code::Guarded).then_some((op.a, op.b));
        let mut uses = Vec::new();
        let mut summands = Vec::new();
        let mut defs = Vec::new();
        let mut inner = if guard.is_some() { program.guarded[op.imm as usize] } else { op };
        program.visit(&mut inner, &mut |slot, _, role| {
            if bit_of.contains_key(slot) {
                match role {
                    Role::Def => defs.push(*slot),
                    Role::Use => uses.push(*slot),
                    Role::Summand => {
                        summands.push(*slot);
                        defs.push(*slot);
                    }
                    Role::Kept => {}
                }
            }
        });
        let mut add = |after: bool, op: Op, guard: Option<(u16, u16)>, program: &mut Program| {
            let op = match guard {
                None => op,
                Some((p, inverted)) => {
                    program.guarded.push(op);
                    let imm = program.guarded.len() as u32 - 1;
                    let p = slots.of[usize::from(p)];
                    Op { a: p, b: inverted, imm, ..Op::new(Code::Guarded) }
                }
            };
            inserts.push((index as u32, after, op));
        };
        for slot in uses {
            let (a, imm) = bit_of[&slot];
            add(false, Op { a, imm, ..Op::new(Code::CheckInit) }, guard, program);
        }
        if !summands.is_empty()
            && let Asynchronous::Wgmma(wgmma) = &program.asynchronous[inner.imm as usize]
        {
            let scale = Some((wgmma.scale, 0));
            for slot in summands {
                let (a, imm) = bit_of[&slot];
                add(false, Op { a, imm, ..Op::new(Code::CheckInit) }, scale, program);
            }
        }
        for slot in defs {
            let (d, _) = bit_of[&slot];
            add(true, Op { d, ..Op::new(Code::MarkInit) }, guard, program);
        }
        if let Some((a, imm)) = guard.and_then(|(p, _)| bit_of.get(&p)) {
            inserts.push((index as u32, false, Op { a: *a, imm: *imm, ..Op::new(Code::CheckInit) }));
        }
    }
    for block in &program.blocks {
        // A block whose end reads a register has an operation (`decode`).
        let Some(last) = block.ops.clone().next_back() else { continue };
        let (read, written) = match block.end {
            End::Branch { p, .. } => ([p, NONE, NONE], NONE),
            End::Barrier { barrier: Barrier { id, count, reduce, .. }, .. } => {
                let (p, d) = reduce.map_or((NONE, NONE), |reduce| (reduce.p, reduce.d));
                ([id, count, p], d)
            }
            _ => continue,
        };
        for (a, imm) in read.iter().filter_map(|slot| bit_of.get(slot).copied()) {
            inserts.push((last, true, Op { a, imm, ..Op::new(Code::CheckInit) }));
        }
        // A barrier's result is there before anybody can read it.
        if let Some(&(d, _)) = bit_of.get(&written) {
            inserts.push((last, true, Op { d, ..Op::new(Code::MarkInit) }));
        }
    }
    inserts.sort_by_key(|&(index, after, _)| (index, after));
    inserts
}

/// Puts the operations of `inserts` in.
pub(super) fn insert(program: &mut Program, inserts: Inserts) {
    if inserts.is_empty() {
        return;
    }
    let (mut ops, mut lines) = (Vec::new(), Vec::new());
    let mut moved = Vec::with_capacity(program.ops.len() + 1);
    let mut waiting = inserts.into_iter().peekable();
    for (index, (&op, &line)) in program.ops.iter().zip(&program.lines).enumerate() {
        moved.push(ops.len() as u32);
        while let Some((.., check)) = waiting.next_if(|(at, after, _)| *at == index as u32 && !after) {
            ops.push(check);
            lines.push(line);
        }
        ops.push(op);
        lines.push(line);
        while let Some((.., mark)) = waiting.next_if(|(at, ..)| *at == index as u32) {
            ops.push(mark);
            lines.push(line);
        }
    }
    moved.push(ops.len() as u32);
    for block in &mut program.blocks {
        block.ops = moved[block.ops.start as usize]..moved[block.ops.end as usize];
    }
    (program.ops, program.lines) = (ops, lines);
}
