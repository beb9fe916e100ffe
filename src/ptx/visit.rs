//! Which registers an operation reads and writes.
//!
//! In: an operation and the program's tables. Out: every slot, shown one by one, to be read or renamed.

use super::alu::{Class, Code};
use super::program::{Group, Matrix, NONE, Op, Program, Vote};

/// Whether an operation reads or writes a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Def,
    Use,
    /// Written, and read before where an operation's own predicate says so: only there must it have been written.
    Summand,
    /// Not read, but it must keep its place.
    Kept,
}

impl Program {
    /// Shows `see` every register of an operation, operands first.
    pub(super) fn visit(&mut self, op: &mut Op, see: &mut dyn FnMut(&mut u16, Class, Role)) {
        let mut one = |slot: &mut u16, class: Class, role: Role| {
            if *slot != NONE {
                see(slot, class, role);
            }
        };
        match op.code {
            Code::Access => {
                let access = &mut self.accesses[op.imm as usize];
                let class = access.class;
                one(&mut access.base, access.base_class, Role::Use);
                match access.group {
                    Group::Load { .. } => {
                        access.regs.iter_mut().for_each(|slot| one(slot, class, Role::Def));
                    }
                    Group::Store => access.regs.iter_mut().for_each(|slot| one(slot, class, Role::Use)),
                    Group::Atomic(_) => {
                        one(&mut access.regs[1], class, Role::Use);
                        one(&mut access.regs[2], class, Role::Use);
                        one(&mut access.regs[0], class, Role::Def);
                    }
                    Group::AsyncCopy => {
                        one(&mut access.regs[0], access.second_class, Role::Use);
                        one(&mut access.regs[1], Class::W, Role::Use);
                    }
                }
            }
            Code::LoadParam => {
                one(&mut op.d, if op.a == 8 { Class::L } else { Class::W }, Role::Def);
            }
            Code::Vote => {
                let (operand, result) = match self.votes[op.imm as usize] {
                    Vote::All | Vote::Any | Vote::Uni => (Class::P, Class::P),
                    Vote::Ballot => (Class::P, Class::W),
                    _ => (Class::W, Class::W),
                };
                one(&mut op.a, operand, Role::Use);
                one(&mut op.b, Class::W, Role::Use);
                one(&mut op.d, result, Role::Def);
                one(&mut op.e, Class::P, Role::Def);
            }
            Code::Shuffle => {
                let (_, mask) = &mut self.shuffles[op.imm as usize];
                for slot in [&mut op.a, &mut op.b, &mut op.c, mask] {
                    one(slot, Class::W, Role::Use);
                }
                one(&mut op.d, Class::W, Role::Def);
                one(&mut op.e, Class::P, Role::Def);
            }
            Code::Matrix => match &mut self.matrices[op.imm as usize] {
                Matrix::Load { regs, base, base_class, .. } => {
                    one(base, *base_class, Role::Use);
                    regs.iter_mut().for_each(|slot| one(slot, Class::W, Role::Def));
                }
                Matrix::Store { regs, base, base_class, .. } => {
                    one(base, *base_class, Role::Use);
                    regs.iter_mut().for_each(|slot| one(slot, Class::W, Role::Use));
                }
                Matrix::Multiply { d, a, b, c, .. } => {
                    a.iter_mut().chain(b).chain(c).for_each(|slot| one(slot, Class::W, Role::Use));
                    d.iter_mut().for_each(|slot| one(slot, Class::W, Role::Def));
                }
            },
            Code::Guarded => {
                one(&mut op.a, Class::P, Role::Use);
                let mut inner = self.guarded[op.imm as usize];
                // Where the guard is not set the old value stays: a result is an operand too.
                let mut results = Vec::new();
                self.visit(&mut inner, &mut |slot, class, role| {
                    if role == Role::Def {
                        results.push((*slot, class));
                    }
                });
                for (mut slot, class) in results {
                    see(&mut slot, class, Role::Use);
                }
                self.visit(&mut inner, see);
                self.guarded[op.imm as usize] = inner;
            }
            Code::Asynchronous => self.asynchronous[op.imm as usize].visit(see),
            Code::MarkInit => one(&mut op.d, Class::P, Role::Def),
            Code::CheckInit => one(&mut op.a, Class::P, Role::Use),
            Code::CommitGroup | Code::WaitGroup | Code::AwaitPredecessor | Code::Trap | Code::Nothing => {}
            code => {
                if let Some(signature) = code.signature() {
                    let operands = [&mut op.a, &mut op.b, &mut op.c, &mut op.e];
                    for (slot, &class) in operands.into_iter().zip(signature.operands) {
                        one(slot, class, Role::Use);
                    }
                    one(&mut op.d, signature.result, Role::Def);
                }
            }
        }
    }
}
