//! Which registers may belong to a `wgmma` that is still on its way, and which were not handed over to one.
//!
//! In: blocks on virtual registers. Out: every `wgmma.wait_group` knows the registers that it may wait for, so
//! that they keep their slots until then; and with checks, an operation that may touch such a register has a
//! check before it, another `wgmma` too, unless it adds to the same accumulators in the same shape. A `wgmma` that may take
//! a register written since the last `wgmma.fence` has one, too, and what writes that register a mark behind it. A kernel
//! that waits and fences as it must has none: the check costs nothing there. (ptxas does the same analysis, and
//! serializes what it cannot prove.)

use super::alu::{Class, Code};
use super::asynchronous::{Asynchronous, Wgmma};
use super::flow::successors;
use super::program::{Op, Program};
use super::registers::{Inserts, insert};
use super::visit::Role;
use std::collections::{BTreeMap, BTreeSet};

/// For each register on its way: how many groups have begun since, 0 where its own is not committed. Of two
/// ways to a place the younger counts. `true`: the register is written (an accumulator), not only read.
type Flying = BTreeMap<u16, (u32, bool)>;

/// What may be at a place of the program.
#[derive(Clone, Default)]
struct There {
    flying: Flying,
    /// Registers of some `wgmma` that were written, by whatever else, and not handed over since.
    kept: BTreeSet<u16>,
}

/// Older than any `wait_group` asks for.
const OLDEST: u32 = 64;

/// Fills in what waits wait for, and puts checks in.
///
/// Whether it could: a damaged text of many blocks and accumulators may ask for more memory than there is.
#[must_use]
pub(super) fn follow(program: &mut Program, checked: bool) -> bool {
    if !program.asynchronous.iter().any(|row| matches!(row, Asynchronous::Wgmma(_))) {
        return true;
    }
    /// Registers on their way before all blocks together; kernels have some ten thousand.
    const MOST: usize = 4 << 20;
    let mut held = 0;
    let count = program.blocks.len();
    let mut before: Vec<Option<There>> = vec![None; count];
    before[0] = Some(There::default());
    let used = used(program);
    let mut work = vec![0];
    while let Some(at) = work.pop() {
        let mut there = before[at].clone().unwrap_or_default();
        for index in program.blocks[at].ops.clone() {
            step(program, program.ops[index as usize], &mut there, &used);
        }
        for next in successors(&program.blocks[at]) {
            let changed = match &mut before[next] {
                Some(known) => {
                    let held_before = known.len();
                    let changed = join(known, &there);
                    held += known.len() - held_before;
                    changed
                }
                none => {
                    held += there.len();
                    *none = Some(there.clone());
                    true
                }
            };
            if held > MOST {
                return false;
            }
            if changed {
                work.push(next);
            }
        }
    }
    let mut inserts: Inserts = Vec::new();
    let mut asked = BTreeSet::new();
    for (at, there) in before.iter().enumerate() {
        let Some(mut there) = there.clone() else { continue };
        for index in program.blocks[at].ops.clone() {
            let op = program.ops[index as usize];
            for check in checks(program, op, &there).into_iter().filter(|_| checked) {
                if let Asynchronous::Unfenced(slots) = &check {
                    asked.extend(slots);
                }
                inserts.push((index, false, beside(program, op, check)));
            }
            if op.code == Code::Asynchronous
                && let Asynchronous::WaitWgmma { flying: waits, .. } =
                    &mut program.asynchronous[op.imm as usize]
            {
                *waits = there.flying.keys().copied().collect();
            }
            step(program, op, &mut there, &used);
        }
    }
    if !asked.is_empty() {
        for index in 0..program.ops.len() {
            let op = program.ops[index];
            let written = written(program, op, &asked);
            if !written.is_empty() {
                inserts.push((index as u32, true, beside(program, op, Asynchronous::Wrote(written))));
            }
        }
        // A check stays before the mark of the same operation.
        inserts.sort_by_key(|&(index, after, _)| (index, after));
    }
    insert(program, inserts);
    true
}

/// What runs where `op` does.
fn beside(program: &mut Program, op: Op, what: Asynchronous) -> Op {
    program.asynchronous.push(what);
    let row = Op { imm: program.asynchronous.len() as u32 - 1, ..Op::new(Code::Asynchronous) };
    if op.code != Code::Guarded {
        return row;
    }
    program.guarded.push(row);
    Op { a: op.a, b: op.b, imm: program.guarded.len() as u32 - 1, ..Op::new(Code::Guarded) }
}

/// Registers of `among` that an operation other than `wgmma` writes.
fn written(program: &mut Program, op: Op, among: &BTreeSet<u16>) -> Vec<u16> {
    let mut inner = if op.code == Code::Guarded { program.guarded[op.imm as usize] } else { op };
    let mut written = Vec::new();
    if multiplied(program, inner).is_none() {
        program.visit(&mut inner, &mut |slot, class, role| {
            if matches!(role, Role::Def | Role::Summand) && class == Class::W && among.contains(slot) {
                written.push(*slot);
            }
        });
    }
    written
}

impl There {
    fn len(&self) -> usize {
        self.flying.len() + self.kept.len()
    }
}

/// Accumulators, and factors in registers, of all `wgmma`s of a program.
fn used(program: &Program) -> BTreeSet<u16> {
    let mut used = BTreeSet::new();
    for row in &program.asynchronous {
        if let Asynchronous::Wgmma(wgmma) = row {
            used.extend(&wgmma.d);
            used.extend(wgmma.factors());
        }
    }
    used
}

/// Takes what is younger or new in `from`; whether anything changed.
fn join(into: &mut There, from: &There) -> bool {
    let before = into.kept.len();
    into.kept.extend(&from.kept);
    let mut changed = into.kept.len() > before;
    for (&register, &(age, written)) in &from.flying {
        let known = into.flying.entry(register).or_insert_with(|| {
            changed = true;
            (age, written)
        });
        let new = (known.0.min(age), known.1 | written);
        changed |= *known != new;
        *known = new;
    }
    changed
}

fn step(program: &mut Program, op: Op, there: &mut There, used: &BTreeSet<u16>) {
    let There { flying, kept } = there;
    kept.extend(written(program, op, used));
    if op.code != Code::Asynchronous {
        return;
    }
    match &program.asynchronous[op.imm as usize] {
        Asynchronous::FenceWgmma => kept.clear(),
        Asynchronous::Wgmma(wgmma) => {
            for slot in wgmma.factors() {
                flying.entry(slot).and_modify(|(age, _)| *age = 0).or_insert((0, false));
            }
            flying.extend(wgmma.d.iter().map(|&slot| (slot, (0, true))));
        }
        Asynchronous::CommitWgmma => flying.values_mut().for_each(|(age, _)| *age = (*age + 1).min(OLDEST)),
        // The youngest group has age 1.
        Asynchronous::WaitWgmma { left, .. } => flying.retain(|_, (age, _)| *age <= *left),
        _ => {}
    }
}

/// The `wgmma` that an operation is.
fn multiplied(program: &Program, op: Op) -> Option<&Wgmma> {
    match program.asynchronous.get(op.imm as usize) {
        Some(Asynchronous::Wgmma(wgmma)) if op.code == Code::Asynchronous => Some(wgmma),
        _ => None,
    }
}

/// What is to be checked before an operation.
fn checks(program: &mut Program, op: Op, There { flying, kept }: &There) -> Vec<Asynchronous> {
    let mut inner = if op.code == Code::Guarded { program.guarded[op.imm as usize] } else { op };
    if let Some(wgmma) = multiplied(program, inner) {
        let own: Vec<u16> = wgmma.d.iter().copied().chain(wgmma.factors()).collect();
        let unfenced: Vec<u16> = own.iter().copied().filter(|slot| kept.contains(slot)).collect();
        let mut out = Vec::new();
        if !unfenced.is_empty() {
            out.push(Asynchronous::Unfenced(unfenced));
        }
        // Which of them another one has, and how, is seen when it runs.
        if own.iter().any(|slot| flying.contains_key(slot)) {
            out.push(Asynchronous::Chained(inner.imm));
        }
        return out;
    }
    let mut touched = Vec::new();
    program.visit(&mut inner, &mut |slot, _, role| {
        let Some(&(_, written)) = flying.get(slot) else { return };
        if matches!(role, Role::Def | Role::Summand) || (role == Role::Use && written) {
            touched.push(*slot);
        }
    });
    if touched.is_empty() { Vec::new() } else { vec![Asynchronous::Grounded(touched)] }
}
