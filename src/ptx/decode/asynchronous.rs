//! Instructions of sm_90 that begin now and are done later.
//!
//! In: an instruction whose family is `mbarrier wgmma setmaxnreg`, a `cp.async.bulk`, a fence of the
//! asynchronous proxy. Out: rows of `Program::asynchronous`.

use super::Decoder;
use super::plain::nothing;
use crate::error::Result;
use crate::ptx::alu::{Class, Code};
use crate::ptx::asynchronous::{Asynchronous, Left, Order, Outside, Spot, Wgmma};
use crate::ptx::program::*;
use crate::ptx::tree::{Instruction, Operand, Space};

/// Whether lanes may have to wait for something before the instruction.
pub(super) fn is_gate(opcode: &str) -> bool {
    ["mbarrier.try_wait.", "mbarrier.test_wait.", "wgmma.mma_async.", "wgmma.wait_group.", "setmaxnreg.inc."]
        .iter()
        .any(|start| opcode.starts_with(start))
}

/// Whether it is one of those here.
pub(super) fn is_asynchronous(opcode: &str) -> bool {
    const STARTS: [&str; 6] =
        ["mbarrier.", "wgmma.", "setmaxnreg.", "cp.async.bulk.", "fence.proxy.async", "fence.mbarrier_init."];
    STARTS.iter().any(|start| opcode.starts_with(start))
}

impl Decoder<'_> {
    pub(super) fn asynchronous(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let row = match opcode.split('.').next().unwrap_or_default() {
            "mbarrier" => self.mbarrier(instruction)?,
            "wgmma" => self.wgmma(instruction)?,
            "cp" => match self.bulk(instruction)? {
                Some(row) => row,
                None => {
                    self.emit(Op::new(Code::Nothing));
                    return Ok(());
                }
            },
            _ => self.plain_asynchronous(instruction)?,
        };
        if row.is_gate() && self.guard.is_some() {
            return Err(self.error("a predicated instruction that may wait is not known"));
        }
        self.program.asynchronous.push(row);
        let imm = self.program.asynchronous.len() as u32 - 1;
        self.emit(Op { imm, ..Op::new(Code::Asynchronous) });
        Ok(())
    }

    fn unknown(&self, instruction: &Instruction) -> crate::error::Error {
        self.error(format!("unknown instruction `{}`", instruction.opcode))
    }

    fn plain_asynchronous(&self, instruction: &Instruction) -> Result<Asynchronous> {
        let proxies =
            ["fence.proxy.async", "fence.proxy.async.shared::cta", "fence.proxy.async.shared::cluster"];
        match (instruction.opcode.as_str(), instruction.operands.as_slice()) {
            (opcode, []) if proxies.contains(&opcode) => Ok(Asynchronous::FenceProxy),
            ("fence.mbarrier_init.release.cluster", []) => Ok(Asynchronous::FenceInit),
            (opcode, []) if nothing(opcode) == Some(0) => {
                Ok(Asynchronous::Fence(if opcode.ends_with(".cta") { Order::Block } else { Order::Cluster }))
            }
            (opcode, [Operand::Int(count)]) if opcode.starts_with("setmaxnreg.") => {
                let grows = match opcode {
                    "setmaxnreg.inc.sync.aligned.u32" => true,
                    "setmaxnreg.dec.sync.aligned.u32" => false,
                    _ => return Err(self.unknown(instruction)),
                };
                if !(24..=256).contains(count) || !count.is_multiple_of(8) {
                    return Err(self
                        .error("setmaxnreg: registers of a thread")
                        .expected_got("a multiple of 8 from 24 to 256", count));
                }
                Ok(Asynchronous::Registers(*count as u32, grows))
            }
            _ => Err(self.unknown(instruction)),
        }
    }

    /// An address in shared memory.
    fn spot(&mut self, operand: &Operand, space: Space) -> Result<Spot> {
        let base = self.base(operand, space)?;
        Ok(Spot { base: base.slot, class: base.class, offset: base.offset })
    }

    fn mbarrier(&mut self, instruction: &Instruction) -> Result<Asynchronous> {
        let names = |name| instruction.opcode.split('.').any(|part| part == name);
        // PTX's own words where nothing is said: release or acquire, `.cta`.
        let order = match () {
            () if names("relaxed") => Order::Relaxed,
            () if names("cluster") => Order::Cluster,
            () => Order::Block,
        };
        let plain: Vec<&str> = instruction
            .opcode
            .split('.')
            .filter(|part| {
                !matches!(
                    *part,
                    "acquire"
                        | "release"
                        | "relaxed"
                        | "cta"
                        | "cluster"
                        | "shared"
                        | "shared::cta"
                        | "shared::cluster"
                )
            })
            .collect();
        let operands = instruction.operands.as_slice();
        match (plain.as_slice(), operands) {
            (["mbarrier", "init", "b64"], [at, count]) => {
                Ok(Asynchronous::Init(self.spot(at, Space::Shared)?, self.operand(count, Class::W)?))
            }
            (["mbarrier", "inval", "b64"], [at]) => {
                Ok(Asynchronous::Invalidate(self.spot(at, Space::Shared)?))
            }
            (["mbarrier", "arrive", rest @ ..], [state, at, number @ ..])
                if matches!(rest, ["b64"] | ["expect_tx", "b64"]) && number.len() <= 1 =>
            {
                let expects = rest.len() == 2;
                let number = number.first().map_or(Ok(NONE), |number| self.operand(number, Class::W))?;
                let (count, bytes) = if expects { (NONE, number) } else { (number, NONE) };
                if expects && bytes == NONE {
                    return Err(self.unknown(instruction));
                }
                let state = match state {
                    Operand::Sink => NONE,
                    state => self.result(state, Class::L)?,
                };
                let remote = instruction.opcode.contains(".shared::cluster.");
                if remote && state != NONE {
                    return Err(self.error("an arrival in another block gives no state"));
                }
                Ok(Asynchronous::Arrive {
                    barrier: self.spot(at, Space::Shared)?,
                    count,
                    bytes,
                    state,
                    remote,
                    order,
                })
            }
            (["mbarrier", kind @ ("expect_tx" | "complete_tx"), "b64"], [at, bytes]) => {
                let bytes = self.operand(bytes, Class::W)?;
                Ok(Asynchronous::Transactions(self.spot(at, Space::Shared)?, bytes, *kind == "complete_tx"))
            }
            (["mbarrier", "try_wait" | "test_wait", rest @ ..], [d, at, what, hint @ ..])
                if matches!(rest, ["b64"] | ["parity", "b64"]) && hint.len() <= 1 =>
            {
                let (parity, state) = if rest.len() == 2 {
                    (self.operand(what, Class::W)?, NONE)
                } else {
                    (NONE, self.operand(what, Class::L)?)
                };
                let barrier = self.spot(at, Space::Shared)?;
                Ok(Asynchronous::Wait { d: self.result(d, Class::P)?, barrier, parity, state, order })
            }
            _ => Err(self.unknown(instruction)),
        }
    }

    /// Bulk copies; none for what only fetches ahead.
    fn bulk(&mut self, instruction: &Instruction) -> Result<Option<Asynchronous>> {
        let opcode = instruction.opcode.as_str();
        let mut operands = instruction.operands.as_slice();
        match (opcode, operands) {
            ("cp.async.bulk.commit_group", []) => return Ok(Some(Asynchronous::CommitBulk)),
            ("cp.async.bulk.wait_group" | "cp.async.bulk.wait_group.read", [Operand::Int(left)]) => {
                return Ok(Some(Asynchronous::WaitBulk(*left as u32)));
            }
            _ if opcode.starts_with("cp.async.bulk.prefetch.") => return Ok(None),
            _ => {}
        }
        let mut parts: Vec<&str> = opcode.split('.').skip(3).collect();
        let mut tail = |name: &str, operands: &mut &[Operand]| {
            let there = parts.last() == Some(&name);
            if there {
                parts.pop();
                *operands = &operands[..operands.len().saturating_sub(1)];
            }
            there
        };
        tail("L2::cache_hint", &mut operands);
        let blocks = if tail("multicast::cluster", &mut operands) {
            match instruction.operands.get(operands.len()) {
                Some(blocks) => self.operand(blocks, Class::W)?,
                None => return Err(self.unknown(instruction)),
            }
        } else {
            NONE
        };
        let rank = parts
            .first()
            .filter(|&&part| part == "tensor")
            .and_then(|_| parts.get(1)?.strip_suffix('d')?.parse::<usize>().ok());
        let parts = if rank.is_some() { &parts[2..] } else { &parts[..] };
        let to_shared = |part: &str| part == "shared::cluster" || part == "shared::cta";
        let shared = Space::Shared;
        let row = match (rank, parts, operands) {
            (None, [to, "global", "mbarrier::complete_tx::bytes"], [d, s, size, barrier])
                if to_shared(to) =>
            {
                let from = Outside::Bytes(self.spot(s, Space::Global)?, self.operand(size, Class::W)?);
                let (to, barrier) = (self.spot(d, shared)?, self.spot(barrier, shared)?);
                Asynchronous::Load { to, from, barrier, blocks }
            }
            (None, ["global", "shared::cta", "bulk_group"], [d, s, size]) => {
                let to = Outside::Bytes(self.spot(d, Space::Global)?, self.operand(size, Class::W)?);
                Asynchronous::Store { to, from: self.spot(s, shared)? }
            }
            (
                Some(rank),
                [to, "global", mode @ .., "mbarrier::complete_tx::bytes"],
                [d, Operand::Tensor(map, at), barrier, offsets @ ..],
            ) if to_shared(to) => {
                let im2col = match (mode, offsets) {
                    ([] | ["tile"], []) => None,
                    (["im2col"], [Operand::Vector(offsets)]) if offsets.len() + 2 == rank => Some(offsets),
                    _ => return Err(self.unknown(instruction)),
                };
                let from = self.tensor(rank, map, at, im2col)?;
                let (to, barrier) = (self.spot(d, shared)?, self.spot(barrier, shared)?);
                Asynchronous::Load { to, from, barrier, blocks }
            }
            (
                Some(rank),
                ["global", "shared::cta", "bulk_group"] | ["global", "shared::cta", "tile", "bulk_group"],
                [Operand::Tensor(map, at), s],
            ) => Asynchronous::Store { to: self.tensor(rank, map, at, None)?, from: self.spot(s, shared)? },
            _ => return Err(self.unknown(instruction)),
        };
        Ok(Some(row))
    }

    fn tensor(
        &mut self,
        rank: usize,
        map: &Operand,
        at: &[Operand],
        im2col: Option<&Vec<Operand>>,
    ) -> Result<Outside> {
        if !(1..=5).contains(&rank) || at.len() != rank {
            return Err(self.error("a tensor has one to five coordinates").expected_got(rank, at.len()));
        }
        let map = self.spot(&Operand::Memory(Box::new(map.clone()), 0), Space::Global)?;
        let mut slots = |list: &[Operand]| {
            list.iter().map(|each| self.operand(each, Class::W)).collect::<Result<Vec<_>>>()
        };
        let at = slots(at)?;
        let im2col = im2col.map(|offsets| slots(offsets)).transpose()?;
        Ok(Outside::Tensor { map, at, im2col })
    }

    fn wgmma(&mut self, instruction: &Instruction) -> Result<Asynchronous> {
        let opcode = instruction.opcode.as_str();
        match (opcode, instruction.operands.as_slice()) {
            ("wgmma.fence.sync.aligned", []) => return Ok(Asynchronous::FenceWgmma),
            ("wgmma.commit_group.sync.aligned", []) => return Ok(Asynchronous::CommitWgmma),
            ("wgmma.wait_group.sync.aligned", [Operand::Int(left)]) => {
                return Ok(Asynchronous::WaitWgmma { left: *left as u32, flying: Vec::new() });
            }
            _ => {}
        }
        let rest = opcode.strip_prefix("wgmma.mma_async.sync.aligned.m64n");
        let (n, kind) = rest
            .and_then(|rest| rest.split_once('k'))
            .and_then(|(n, rest)| {
                let kind = match rest {
                    "16.f32.bf16.bf16" => Multiply::Bf16,
                    "16.f32.f16.f16" => Multiply::F16,
                    "8.f32.tf32.tf32" => Multiply::Tf32,
                    _ => return None,
                };
                Some((n.parse::<u16>().ok()?, kind))
            })
            .filter(|(n, _)| n.is_multiple_of(8) && (8..=256).contains(n))
            .ok_or_else(|| self.unknown(instruction))?;
        let [Operand::Vector(d), a, b, scale, rest @ ..] = instruction.operands.as_slice() else {
            return Err(self.unknown(instruction));
        };
        let numbers: Vec<i64> = rest
            .iter()
            .map(|operand| match operand {
                Operand::Int(value) => Ok(*value as i64),
                _ => Err(self.error("the factors and transpositions of wgmma are numbers")),
            })
            .collect::<Result<_>>()?;
        let from_registers = matches!(a, Operand::Vector(_));
        let sign = |value: i64| match value {
            1 => Ok(false),
            -1 => Ok(true),
            _ => Err(self.error("a factor of wgmma").expected_got("1 or -1", value)),
        };
        let flag = |value: i64| match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("a transposition of wgmma").expected_got("0 or 1", value)),
        };
        let wide = kind == Multiply::Tf32;
        let (negate, transposed) = match numbers.as_slice() {
            [] if wide => ([false; 2], [false; 2]),
            [a, b] if wide => ([sign(*a)?, sign(*b)?], [false; 2]),
            [a, b, flip] if !wide && from_registers => ([sign(*a)?, sign(*b)?], [false, flag(*flip)?]),
            [a, b, flip_a, flip_b] if !wide && !from_registers => {
                ([sign(*a)?, sign(*b)?], [flag(*flip_a)?, flag(*flip_b)?])
            }
            _ => return Err(self.unknown(instruction)),
        };
        if d.len() != usize::from(n) / 2 {
            return Err(self.error("wgmma has another number of accumulators").expected_got(n / 2, d.len()));
        }
        if matches!(scale, Operand::Not(_)) {
            return Err(self.error("an inverted predicate of wgmma is not known"));
        }
        let d = d.iter().map(|each| self.result(each, Class::W)).collect::<Result<Vec<_>>>()?;
        let a = match a {
            Operand::Vector(_) => Left::Registers(self.vector(a, 4, false)?),
            descriptor => Left::Shared(self.operand(descriptor, Class::L)?),
        };
        let (b, scale) = (self.operand(b, Class::L)?, self.operand(scale, Class::P)?);
        Ok(Asynchronous::Wgmma(Box::new(Wgmma { kind, n, d, a, b, scale, negate, transposed })))
    }
}
