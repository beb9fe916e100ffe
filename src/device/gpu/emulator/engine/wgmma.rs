//! `wgmma`: products of a warpgroup that are done later.
//!
//! In: four warps that issue the same instruction, one after the other; groups; waits. Out: accumulators,
//! when somebody waits (or when all four have come), and notes of what is read from shared memory until then.
//! The order of a kernel's own reads and writes is checked by those notes; registers in flight by `Grounded`.

use super::layout::Layout;
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::{Check, Fault, place};
use crate::device::gpu::emulator::lanes::{Mask, Registers};
use crate::device::gpu::emulator::shared::{Agent, Tag};
use crate::ptx::{Asynchronous, Left, Multiply, Wgmma};
use std::collections::VecDeque;

/// One `wgmma` of a warpgroup.
#[derive(Clone, Copy, Debug)]
pub struct Issue {
    /// The operation.
    pub at: u32,
    /// Its row.
    pub index: u32,
    /// Descriptors of a (or 0) and b.
    pub descriptors: [u64; 2],
    /// Whether the accumulators are added.
    pub adds: bool,
    /// Bits of the warps that have issued it.
    pub came: u8,
    /// Whether it is done.
    pub done: bool,
}

/// A warpgroup's.
#[derive(Default)]
pub struct Warpgroup {
    /// In order of issue; those that are done and first are dropped.
    pub queue: VecDeque<Issue>,
    /// The number of the first in the queue.
    pub first: u32,
}

impl Core<'_, '_> {
    fn misused(&self, at: u32, what: String, help: &str) -> Box<Fault> {
        self.fault(Check::Wgmma, at, 0, what, help)
    }

    /// Where the matrices of a `wgmma` lie, of a block whose shared memory begins at `window`.
    pub(in crate::device::gpu::emulator) fn layouts(
        wgmma: &Wgmma,
        [a, b]: [u64; 2],
        window: u32,
    ) -> (Option<Layout>, Layout) {
        let layout = |descriptor, transposed| Layout::new(descriptor, transposed).within(window);
        let left = matches!(wgmma.a, Left::Shared(_)).then(|| layout(a, wgmma.transposed[0]));
        (left, layout(b, wgmma.transposed[1]))
    }

    /// A warp issues a `wgmma`; whether all four have.
    pub(in crate::device::gpu::emulator) fn issue_wgmma(
        &mut self,
        at: u32,
        index: u32,
        wgmma: &Wgmma,
        registers: &Registers,
        lanes: u32,
    ) -> Result<bool, Box<Fault>> {
        self.whole_group(at, lanes)?;
        let (group, rank) = (self.warp / 4, self.warp % 4);
        if !self.engine.work[self.warp].fenced {
            let what = "wgmma runs before any wgmma.fence".to_owned();
            let help = "registers are handed over by wgmma.fence.sync.aligned before the first wgmma";
            return Err(self.misused(at, what, help));
        }
        let descriptors = [
            if let Left::Shared(slot) = wgmma.a {
                self.same(at, registers.long(slot), "a descriptor")?
            } else {
                0
            },
            self.same(at, registers.long(wgmma.b), "a descriptor")?,
        ];
        let scale = registers.predicate(wgmma.scale);
        if scale != 0 && scale != u32::MAX {
            let what = "the lanes of a wgmma have different predicates for its sum".to_owned();
            return Err(self.misused(at, what, "scale-d must be the same in the whole warpgroup"));
        }
        let issue = Issue { at, index, descriptors, adds: scale != 0, came: 1 << rank, done: false };
        let number = self.engine.work[self.warp].issued;
        self.engine.work[self.warp].issued += 1;
        self.engine.version += 1;
        let own = &mut self.engine.groups[group];
        let (mut first, warps) = (false, own.queue.get_mut((number - own.first) as usize));
        let came = match warps {
            Some(known) => {
                let other = *known;
                if (other.at, other.descriptors, other.adds) != (at, descriptors, issue.adds) {
                    return Err(self.different(at, &issue, &other));
                }
                known.came |= issue.came;
                known.came
            }
            None => {
                own.queue.push_back(issue);
                first = true;
                issue.came
            }
        };
        self.operands(at, wgmma, descriptors, first, number)?;
        Ok(came == 15)
    }

    fn different(&self, at: u32, issue: &Issue, other: &Issue) -> Box<Fault> {
        let what = "the warps of a warpgroup issue different wgmma".to_owned();
        let help = "all four warps must run the same wgmma with the same descriptors and predicate";
        let mut fault = self.misused(at, what, help);
        let shown = |issue: &Issue| {
            let [a, b] = issue.descriptors;
            let at = place(self.grid.module, self.line(issue.at));
            format!("{a:#x} {b:#x} add={} at {at}", u8::from(issue.adds))
        };
        fault.facts.push(("this".into(), shown(issue)));
        fault.facts.push(("other".into(), shown(other)));
        fault
    }

    /// The value that all lanes have.
    fn same(&self, at: u32, values: &[u64], name: &str) -> Result<u64, Box<Fault>> {
        if values.iter().all(|value| *value == values[0]) {
            return Ok(values[0]);
        }
        let what = format!("the lanes of a wgmma have different values of {name}");
        Err(self.misused(at, what, "descriptors must be the same in the whole warpgroup"))
    }

    /// Checks that the matrices are there for this warp, and notes that it reads its rows of the left one, and the `first` of
    /// the four all of the right one: from now on the hardware may read them, though the product is done when all have come.
    fn operands(
        &mut self,
        at: u32,
        wgmma: &Wgmma,
        descriptors: [u64; 2],
        first: bool,
        number: u32,
    ) -> Result<(), Box<Fault>> {
        let window = self.shared.place(self.rank, 0);
        let (a, b) = Self::layouts(wgmma, descriptors, window as u32);
        let (k, size) = (wgmma.k() as u32, if wgmma.kind == Multiply::Tf32 { 4 } else { 2 });
        let n = u32::from(wgmma.n);
        let mine = 16 * (self.warp as u32 % 4);
        let (left, right) = (a.map(|a| a.chunks(0..64, k, size)), b.chunks(0..n, k, size));
        for address in left.clone().into_iter().flatten().chain(right.clone()) {
            // What is beyond the block's own window is nowhere.
            let address = self.shared.place(self.rank, u64::from(address) - window);
            self.check_shared(at, 0, address, 16, true)?;
        }
        if !self.shared.checked() {
            return Ok(());
        }
        let own = a.map(|a| a.chunks(mine..mine + 16, k, size)).into_iter().flatten();
        let sound = self.shared.check_proxy(own.clone().chain(right.clone()), self.warp);
        sound.map_err(|conflict| self.conflict(at, 0, conflict, false))?;
        let tag = Tag::new(number + 1, self.agents.number(Agent::Wgmma(self.warp / 4)), at, 0);
        self.shared.note_proxy(own.chain(right.into_iter().filter(|_| first)), tag);
        Ok(())
    }

    /// How many `wgmma`s must be done before a warp goes on behind `wgmma.wait_group left`.
    pub(in crate::device::gpu::emulator) fn awaited_wgmma(&self, left: u32) -> u32 {
        let groups = &self.engine.work[self.warp].groups;
        groups.len().checked_sub(left as usize + 1).map_or(0, |last| groups[last])
    }

    /// Whether a warp as a whole, of a warpgroup that is whole, does something with `wgmma`.
    pub(in crate::device::gpu::emulator) fn whole_group(
        &mut self,
        at: u32,
        lanes: u32,
    ) -> Result<(), Box<Fault>> {
        self.whole_warp(at, &Mask::new(lanes), "wgmma")?;
        if self.agents.warps < 4 * (self.warp / 4) + 4 {
            let what = "wgmma runs in a warpgroup of less than four warps".to_owned();
            return Err(self.misused(at, what, "a block that runs it has a multiple of 128 threads"));
        }
        Ok(())
    }

    /// A warp goes on behind a wait.
    pub(in crate::device::gpu::emulator) fn waited_wgmma(&mut self, upto: u32) {
        self.shared.learn(self.warp, Agent::Wgmma(self.warp / 4), upto);
        let group = self.warp / 4;
        let work = &mut self.engine.work[self.warp];
        work.waited = work.waited.max(upto);
        let waited = work.waited;
        work.groups.retain(|&end| end > waited);
        // What nobody of the four waits for any more is forgotten.
        let least = self.engine.work[4 * group..].iter().take(4).map(|work| work.waited).min().unwrap_or(0);
        let own = &mut self.engine.groups[group];
        while own.first < least && own.queue.pop_front().is_some() {
            own.first += 1;
        }
    }

    /// Those that the warp has issued and not waited for, and where.
    fn on_their_way(&self) -> impl Iterator<Item = (&Wgmma, u32)> {
        let group = &self.engine.groups[self.warp / 4];
        let work = &self.engine.work[self.warp];
        let numbered = (group.first..).zip(&group.queue);
        numbered.filter(|(number, _)| (work.waited..work.issued).contains(number)).filter_map(|(_, issue)| {
            match &self.grid.program.asynchronous[issue.index as usize] {
                Asynchronous::Wgmma(wgmma) => Some((&**wgmma, issue.at)),
                _ => None,
            }
        })
    }

    /// Registers that may be in flight here are touched: are they?
    pub(super) fn grounded(&self, at: u32, slots: &[u16], mask: &Mask) -> Result<(), Box<Fault>> {
        let holds = |(wgmma, _): &(&Wgmma, u32)| {
            slots.iter().any(|slot| wgmma.d.contains(slot) || wgmma.factors().any(|factor| factor == *slot))
        };
        let Some((_, issued)) = self.on_their_way().find(holds) else { return Ok(()) };
        let what = "a register of a wgmma is touched before the wgmma is waited for".to_owned();
        let help =
            "wgmma.commit_group, then wgmma.wait_group, before accumulators are read or registers written";
        Err(self.in_flight(at, mask, what, help, issued))
    }

    /// The `wgmma` of this row may have registers of others on their way: does it, and may it not?
    pub(super) fn chained(&self, at: u32, row: u32, mask: &Mask) -> Result<(), Box<Fault>> {
        let Asynchronous::Wgmma(next) = &self.grid.program.asynchronous[row as usize] else { return Ok(()) };
        let Some((_, issued)) = self.on_their_way().find(|(before, _)| !next.may_follow(before)) else {
            return Ok(());
        };
        let what = "a wgmma takes registers of another one that is not waited for".to_owned();
        let help = "wgmma.wait_group between them; only accumulators of one shape may be summed on without";
        Err(self.in_flight(at, mask, what, help, issued))
    }

    fn in_flight(&self, at: u32, mask: &Mask, what: String, help: &str, issued: u32) -> Box<Fault> {
        let mut fault = self.fault(Check::InFlight, at, mask.first(), what, help);
        let issued = place(self.grid.module, self.line(issued));
        fault.facts.push(("wgmma".into(), format!("at {issued}")));
        fault
    }
}
