//! Which registers may belong to a `wgmma` that is still on its way.
//!
//! In: blocks on virtual registers. Out: every `wgmma.wait_group` knows the registers that it may wait for, so
//! that they keep their slots until then; and with checks, an operation that may touch such a register has a
//! check before it. A kernel that waits as it must has none: the check costs nothing there. (ptxas does the
//! same analysis, and serializes what it cannot prove.)

use super::alu::Code;
use super::asynchronous::{Asynchronous, Left};
use super::flow::successors;
use super::program::{Op, Program};
use super::registers::{Inserts, insert};
use super::visit::Role;
use std::collections::BTreeMap;

/// For each register on its way: how many groups have begun since, 0 where its own is not committed. Of two
/// ways to a place the younger counts. `true`: the register is written (an accumulator), not only read.
type Flying = BTreeMap<u16, (u32, bool)>;

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
    let mut before: Vec<Option<Flying>> = vec![None; count];
    before[0] = Some(Flying::new());
    let mut work = vec![0];
    while let Some(at) = work.pop() {
        let mut flying = before[at].clone().unwrap_or_default();
        for index in program.blocks[at].ops.clone() {
            step(program, program.ops[index as usize], &mut flying);
        }
        for next in successors(&program.blocks[at]) {
            let changed = match &mut before[next] {
                Some(known) => {
                    let there = known.len();
                    let changed = join(known, &flying);
                    held += known.len() - there;
                    changed
                }
                none => {
                    held += flying.len();
                    *none = Some(flying.clone());
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
    for (at, flying) in before.iter().enumerate() {
        let Some(mut flying) = flying.clone() else { continue };
        for index in program.blocks[at].ops.clone() {
            let op = program.ops[index as usize];
            if checked && !flying.is_empty() {
                let touched = touched(program, op, &flying);
                if !touched.is_empty() {
                    program.asynchronous.push(Asynchronous::Grounded(touched));
                    let imm = program.asynchronous.len() as u32 - 1;
                    inserts.push((index, false, Op { imm, ..Op::new(Code::Asynchronous) }));
                }
            }
            if op.code == Code::Asynchronous
                && let Asynchronous::WaitWgmma { flying: waits, .. } =
                    &mut program.asynchronous[op.imm as usize]
            {
                *waits = flying.keys().copied().collect();
            }
            step(program, op, &mut flying);
        }
    }
    insert(program, inserts);
    true
}

/// Takes what is younger or new in `from`; whether anything changed.
fn join(into: &mut Flying, from: &Flying) -> bool {
    let mut changed = false;
    for (&register, &(age, written)) in from {
        let known = into.entry(register).or_insert_with(|| {
            changed = true;
            (age, written)
        });
        let new = (known.0.min(age), known.1 | written);
        changed |= *known != new;
        *known = new;
    }
    changed
}

fn step(program: &Program, op: Op, flying: &mut Flying) {
    if op.code != Code::Asynchronous {
        return;
    }
    match &program.asynchronous[op.imm as usize] {
        Asynchronous::Wgmma(wgmma) => {
            if let Left::Registers(slots) = wgmma.a {
                for slot in slots {
                    flying.entry(slot).and_modify(|(age, _)| *age = 0).or_insert((0, false));
                }
            }
            flying.extend(wgmma.d.iter().map(|&slot| (slot, (0, true))));
        }
        Asynchronous::CommitWgmma => flying.values_mut().for_each(|(age, _)| *age = (*age + 1).min(OLDEST)),
        // The youngest group has age 1.
        Asynchronous::WaitWgmma { left, .. } => flying.retain(|_, (age, _)| *age <= *left),
        _ => {}
    }
}

/// The registers in flight that an operation other than `wgmma` reads, or writes.
fn touched(program: &mut Program, op: Op, flying: &Flying) -> Vec<u16> {
    let mut inner = if op.code == Code::Guarded { program.guarded[op.imm as usize] } else { op };
    let multiplies = inner.code == Code::Asynchronous
        && matches!(program.asynchronous[inner.imm as usize], Asynchronous::Wgmma(_));
    let mut found = Vec::new();
    if multiplies {
        return found;
    }
    program.visit(&mut inner, &mut |slot, _, role| {
        let Some(&(_, written)) = flying.get(slot) else { return };
        if role == Role::Def || (role == Role::Use && written) {
            found.push(*slot);
        }
    });
    found
}
