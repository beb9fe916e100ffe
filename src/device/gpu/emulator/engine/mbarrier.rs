//! `mbarrier`: arrivals and bytes that a phase waits for.
//!
//! In: a place in shared memory. Out: phases that complete, order between those who arrive and those who wait.
//! The truth is kept here; in memory is only a mark, so that a barrier that somebody writes over is noticed.
//! (PTX ISA 9.0, 9.7.13.15.)

use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::{Check, Fault, place};
use crate::device::gpu::emulator::lanes::{Mask, Registers, lanes};
use crate::device::gpu::emulator::shared::{Agent, BARRIERS, Carries, Clock, Write};
use crate::ptx::{NONE, Order, Spot};

/// In memory, with the barrier's number.
const MARK: u32 = 0x4d42_a500;
/// Most arrivals and most bytes of a phase.
const MOST: i64 = (1 << 20) - 1;

/// One barrier.
pub struct Mbarrier {
    /// Where it lies.
    pub address: u32,
    /// Whether it was not invalidated.
    pub live: bool,
    /// The warp that initialized it.
    pub by: usize,
    /// How far it had come then.
    pub made: u32,
    /// Whether a fence has shown it to the asynchronous proxy.
    pub published: bool,
    /// Where it was initialized.
    at: u32,
    /// Arrivals of a phase.
    pub count: u32,
    /// Arrivals that this phase still waits for.
    pub pending: u32,
    /// Bytes that this phase still waits for; below zero where they came before they were announced.
    pub bytes: i64,
    /// Phases completed so far.
    pub phase: u64,
    /// What those who arrived have done.
    arrived: Past,
    /// The same when the last phase completed.
    done: Past,
}

/// What arrivals order, for who waits at each scope.
#[derive(Clone)]
struct Past {
    /// `.acquire.cta`: arrivals from the block where the barrier lies, and all who wait are of it.
    block: Clock,
    /// `.acquire.cluster`: those of other blocks at that scope, too.
    cluster: Clock,
}

/// A warp touched the shared memory of another block than its own.
pub struct Visit {
    /// The operation.
    pub at: u32,
    /// The other block.
    pub rank: u32,
    /// The warp.
    pub warp: usize,
    /// Of an arrival the warp's clock: who knows it knows that the visit is over.
    pub clock: Option<u32>,
    /// So does who knows that this is: the copies to the barrier, whose clock is its phase.
    pub over: (usize, u32),
}

/// What a wait asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The phase of this parity.
    Parity(u32),
    /// The phase that an arrival was at.
    State(u64),
}

impl Core<'_, '_> {
    /// `` `full`+8 `` or an address, for messages.
    pub(in crate::device::gpu::emulator) fn shared_name(&self, address: u32) -> String {
        let address = self.shared.whose(address.into()).1 as u32;
        let before = self.grid.program.shared.iter().filter(|placed| placed.offset <= address);
        match before.max_by_key(|placed| placed.offset) {
            Some(placed) if placed.offset == address => format!("`{}`", placed.name),
            Some(placed) => format!("`{}`+{}", placed.name, address - placed.offset),
            None => format!("{address:#x}"),
        }
    }

    fn misuse(&self, at: u32, lane: usize, what: String, help: &str) -> Box<Fault> {
        self.fault(Check::Mbarrier, at, lane, what, help)
    }

    pub(super) fn init(&mut self, at: u32, lane: usize, address: u64, count: u32) -> Result<(), Box<Fault>> {
        self.check_shared(at, lane, address, 8, false)?;
        let address = address as u32;
        let name = self.shared_name(address);
        if !(1..=MOST).contains(&i64::from(count)) {
            let what = format!("the mbarrier {name} is initialized for {count} arrivals");
            return Err(self.misuse(at, lane, what, "from 1 to 1048575"));
        }
        if let Some(known) = self.engine.barriers.iter().find(|known| known.live && known.address == address)
        {
            let before = place(self.grid.module, self.line(known.at));
            let what = format!("the mbarrier {name} is initialized twice");
            let mut fault = self.misuse(at, lane, what, "invalidate it before (mbarrier.inval)");
            fault.facts.push(("before".into(), format!("at {before}")));
            return Err(fault);
        }
        let noted = self.shared.note_write(address, 8, (self.warp, at, lane), Write::Plain);
        noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
        let number = self.engine.barriers.len();
        if number >= BARRIERS {
            let what = format!("a block or a cluster initializes more than {BARRIERS} mbarriers");
            return Err(self.misuse(at, lane, what, "this machine tells no more of them apart"));
        }
        self.shared.store(address, 4, MARK | number as u32);
        self.shared.store(address + 4, 4, !MARK);
        self.shared.keep_for_barrier(address, true);
        let nothing = Past { block: self.shared.ignorance(), cluster: self.shared.ignorance() };
        self.engine.barriers.push(Mbarrier {
            address,
            live: true,
            by: self.warp,
            made: self.shared.clock(self.warp),
            published: false,
            at,
            count,
            pending: count,
            bytes: 0,
            phase: 0,
            arrived: nothing.clone(),
            done: nothing,
        });
        Ok(())
    }

    pub(super) fn invalidate(&mut self, at: u32, lane: usize, address: u64) -> Result<(), Box<Fault>> {
        let number = self.barrier(at, lane, address)?;
        self.engine.barriers[number].live = false;
        let address = address as u32;
        self.shared.keep_for_barrier(address, false);
        let noted = self.shared.note_write(address, 8, (self.warp, at, lane), Write::Plain);
        noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
        self.shared.store(address, 4, 0);
        // Its memory may be used again, and holds nothing.
        self.shared.keep_for_barrier(address, false);
        Ok(())
    }

    /// The number of the barrier at an address.
    pub(super) fn barrier(&mut self, at: u32, lane: usize, address: u64) -> Result<usize, Box<Fault>> {
        self.check_shared(at, lane, address, 8, true)?;
        let address = address as u32;
        let found = self.engine.barriers.iter().position(|known| known.live && known.address == address);
        let Some(number) = found else {
            let what = format!("there is no mbarrier at {}", self.shared_name(address));
            let help = "one thread initializes it (mbarrier.init), then all meet at a barrier";
            return Err(self.misuse(at, lane, what, help));
        };
        let marked = [self.shared.load(address, 4), self.shared.load(address + 4, 4)];
        if marked != [MARK | number as u32, !MARK] {
            let what = format!("the mbarrier {} was written over", self.shared_name(address));
            return Err(self.misuse(at, lane, what, "does an array or a tile reach into it?"));
        }
        let after = self.shared.after_init(address, self.warp);
        after.map_err(|conflict| self.conflict(at, lane, conflict, false))?;
        Ok(number)
    }

    /// Bytes announced (more than none) or arrived (less).
    pub(super) fn transact(
        &mut self,
        at: u32,
        lane: usize,
        number: usize,
        bytes: i64,
    ) -> Result<(), Box<Fault>> {
        self.engine.version += 1;
        let barrier = &mut self.engine.barriers[number];
        barrier.bytes += bytes;
        let (now, address) = (barrier.bytes, barrier.address);
        if (-MOST..=MOST).contains(&now) {
            return Ok(());
        }
        let what = format!("the transaction count of the mbarrier {} overflows", self.shared_name(address));
        let mut fault = self.misuse(at, lane, what, "does expect_tx announce the bytes of one phase?");
        fault.facts.push(("bytes".into(), format!("{now}, at most {MOST}")));
        Err(fault)
    }

    /// Completes the phase if nothing is missing.
    pub(super) fn settle_barrier(&mut self, number: usize) {
        let barrier = &mut self.engine.barriers[number];
        if barrier.pending > 0 || barrier.bytes != 0 {
            return;
        }
        barrier.phase += 1;
        barrier.pending = barrier.count;
        barrier.done.clone_from(&barrier.arrived);
        let agent = self.agents.number(Agent::Load(number));
        for known in [&mut barrier.done.block, &mut barrier.done.cluster] {
            for place in [agent, self.agents.over().start + agent] {
                if let Some(clock) = known.get_mut(place) {
                    // The copies of phase p have clock p + 1.
                    *clock = barrier.phase as u32;
                }
            }
        }
    }

    pub(super) fn arrive_all(
        &mut self,
        at: u32,
        (spot, count, bytes, state): (&Spot, u16, u16, u16),
        (remote, order): (bool, Order),
        registers: &mut Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let addresses = if remote {
            let named = self.addresses(registers, spot.base, spot.class, spot.offset);
            named.map(|address| self.shared.place_in_cluster(self.rank, address))
        } else {
            self.spots(registers, spot)
        };
        for lane in lanes(mask.bits) {
            let number = self.barrier(at, lane, addresses[lane])?;
            let phase = self.engine.barriers[number].phase;
            // It has been there when its phase is over, whoever else that waits for.
            let arrived = (self.agents.number(Agent::Load(number)), phase as u32 + 1);
            self.visit(at, addresses[lane], Some(self.shared.clock(self.warp)), arrived);
            if bytes != NONE {
                let bytes = registers.word(bytes)[lane];
                self.transact(at, lane, number, i64::from(bytes))?;
            }
            let count = if count == NONE { 1 } else { registers.word(count)[lane] };
            let barrier = &mut self.engine.barriers[number];
            if count == 0 || count > barrier.pending {
                let (left, all, address) = (barrier.pending, barrier.count, barrier.address);
                let what =
                    format!("more arrivals at the mbarrier {} than its phase has", self.shared_name(address));
                let help = "mbarrier.init names the arrivals of a phase; who arrives twice must wait between";
                let mut fault = self.misuse(at, lane, what, help);
                fault.facts.push(("arrivals".into(), format!("{count}, where {left} of {all} are missing")));
                fault.facts.push(("phase".into(), format!("{phase} (parity {})", phase % 2)));
                return Err(fault);
            }
            barrier.pending -= count;
            let own = self.shared.whose(addresses[lane]).0 == self.rank;
            // For waits at the block's scope and at the cluster's.
            let (near, far) = match (order, own) {
                (Order::Relaxed, true) => (Carries::Fenced(Order::Block), Carries::Fenced(Order::Block)),
                (Order::Relaxed, false) => (Carries::Over, Carries::Fenced(Order::Cluster)),
                (Order::Block | Order::Cluster, true) => (Carries::All, Carries::All),
                (Order::Block, false) => (Carries::Over, Carries::Over),
                (Order::Cluster, false) => (Carries::Over, Carries::All),
            };
            self.shared.release(self.warp, mask.bits, &mut barrier.arrived.block, near);
            self.shared.release(self.warp, mask.bits, &mut barrier.arrived.cluster, far);
            self.shared.arrived_lanes(self.warp, mask.bits);
            self.engine.version += 1;
            self.settle_barrier(number);
            if state != NONE {
                registers.long_mut(state)[lane] = phase;
            }
        }
        Ok(())
    }

    /// Notes that an agent, the warp itself or a copy of its, touches a block's memory, which must still be there: one that is
    /// not its own.
    pub(super) fn visit(&mut self, at: u32, address: u64, clock: Option<u32>, over: (usize, u32)) {
        let (rank, _) = self.shared.whose(address);
        if rank != self.rank && self.shared.checked() {
            self.engine.visits.push(Visit { at, rank, warp: self.warp, clock, over });
        }
    }

    /// Whether a wait is over; what copies still bring may arrive for it, unless the answer is wanted at once.
    pub(in crate::device::gpu::emulator) fn asks(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        asked: Asked,
        at_once: bool,
    ) -> Result<Option<usize>, Box<Fault>> {
        let number = self.barrier(at, lane, address)?;
        if !at_once && !self.is_over(number, asked) {
            self.deliver(number)?;
        }
        Ok(self.is_over(number, asked).then_some(number))
    }

    fn is_over(&self, number: usize, asked: Asked) -> bool {
        let phase = self.engine.barriers[number].phase;
        match asked {
            Asked::Parity(parity) => phase & 1 != u64::from(parity & 1),
            Asked::State(state) => phase > state,
        }
    }

    /// A warp goes on behind a wait.
    pub(in crate::device::gpu::emulator) fn acquired(&mut self, number: usize, order: Order) {
        let Past { block, cluster } = &self.engine.barriers[number].done;
        self.shared.acquire(self.warp, [block, cluster], order);
    }

    /// What a wait is still about, for reports.
    pub(in crate::device::gpu::emulator) fn missing(&self, address: u64, asked: Asked) -> String {
        let name = self.shared_name(address as u32);
        let known = self.engine.barriers.iter().find(|b| b.live && u64::from(b.address) == address);
        let asked = match asked {
            Asked::Parity(parity) => format!("parity {}", parity & 1),
            Asked::State(state) => format!("phase {state}"),
        };
        let Some(barrier) = known else { return format!("the mbarrier {name} for {asked}") };
        format!(
            "the mbarrier {name} for {asked}; it is in phase {} (parity {}): {} of {} arrivals and {} bytes are missing",
            barrier.phase,
            barrier.phase % 2,
            barrier.pending,
            barrier.count,
            barrier.bytes
        )
    }
}
