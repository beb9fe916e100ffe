//! Bulk copies between global and shared memory: `cp.async.bulk` and its `.tensor`.
//!
//! In: an instruction of one or more lanes. Out: a copy on its way, which arrives when its `mbarrier`, or its
//! group, is waited for (or at once). Who touches its bytes meanwhile is told so.

use crate::device::gpu::driver::Address;
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::{Check, Fault};
use crate::device::gpu::emulator::lanes::{Mask, Registers, lanes};
use crate::device::gpu::emulator::shared::{Agent, Tag};
use crate::device::gpu::tensor_map::{BYTES, RANK, Swizzle, TensorMap, Window};
use crate::ptx::{NONE, Outside, PARAM_WINDOW, Spot, WINDOW};

/// The side of a bulk copy that lies in global memory.
#[derive(Clone, Copy)]
pub enum Place {
    /// An address.
    Bytes(u64),
    /// A box of a tensor.
    Tensor {
        map: TensorMap,
        /// Coordinates, innermost first.
        at: [i32; RANK],
        /// Offsets of an im2col instruction along W, H, D.
        offsets: Option<[i32; 3]>,
    },
}

impl Place {
    pub fn swizzle(&self) -> Swizzle {
        match self {
            Self::Bytes(_) => Swizzle::None,
            Self::Tensor { map, .. } => map.swizzle(),
        }
    }

    /// Where the chunks of 16 bytes of a copy lie in shared memory, in their order.
    fn places(&self, first: u32, bytes: u32) -> impl Iterator<Item = u32> + use<> {
        let swizzle = self.swizzle();
        (first..first + bytes).step_by(16).map(move |address| swizzle.place(address))
    }

    /// Whether a copy of `bytes` fills the lines of its swizzle, within which chunks change places.
    fn fills(&self, bytes: u32) -> bool {
        self.swizzle().span().is_none_or(|line| bytes.is_multiple_of(line))
    }
}

/// Where a copy of `bytes` lies in shared memory, as runs of bytes: one where it fills the lines of its swizzle.
fn runs(other: &Place, first: u32, bytes: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
    let whole = other.fills(bytes);
    let (all, chunks) = (whole.then_some((first, bytes)), other.places(first, if whole { 0 } else { bytes }));
    all.into_iter().chain(chunks.map(|place| (place, 16)))
}

/// A copy on its way into shared memory.
pub struct Load {
    pub at: u32,
    pub warp: usize,
    pub lane: usize,
    pub to: u32,
    pub bytes: u32,
    barrier: usize,
    from: Place,
}

/// A copy on its way out.
pub struct Store {
    pub at: u32,
    pub warp: usize,
    pub lane: usize,
    pub from: u32,
    bytes: u32,
    /// Of its lane.
    group: u32,
    /// Among its warp's.
    number: u32,
    to: Place,
}

impl Core<'_, '_> {
    /// The side in global memory of one lane's copy, and its bytes.
    fn far_side(
        &mut self,
        at: u32,
        lane: usize,
        outside: &Outside,
        registers: &Registers,
    ) -> Result<(Place, u32), Box<Fault>> {
        self.check_awaited(at, 1 << lane)?;
        let wrong = |it: &Self, what: String, help: &str| Err(it.fault(Check::Bulk, at, lane, what, help));
        let (map, coordinates, im2col) = match outside {
            Outside::Bytes(spot, bytes) => {
                let address = self.addresses(registers, spot.base, spot.class, spot.offset)[lane];
                let bytes = registers.word(*bytes)[lane];
                if !bytes.is_multiple_of(16) || !address.is_multiple_of(16) || bytes == 0 {
                    let what = format!("a bulk copy of {bytes} bytes at {address:#x}");
                    return wrong(self, what, "address and bytes must be multiples of 16");
                }
                return Ok((Place::Bytes(address), bytes));
            }
            Outside::Tensor { map, at, im2col } => {
                (self.addresses(registers, map.base, map.class, map.offset)[lane], at, im2col)
            }
        };
        let map = self.map(at, lane, map)?;
        let rank = map.sizes().len();
        let pixels = matches!(map.window(), Window::Im2col { .. });
        if rank != coordinates.len() || pixels != im2col.is_some() {
            let name = |pixels: bool| if pixels { "im2col" } else { "tile" };
            let what = "the tensor map is of another kind than the instruction".to_owned();
            let mut fault = self.fault(Check::Bulk, at, lane, what, "");
            let kind = |rank, pixels| format!("{rank} dimensions, {}", name(pixels));
            fault.facts.push(("map".into(), kind(rank, pixels)));
            fault.facts.push(("instruction".into(), kind(coordinates.len(), im2col.is_some())));
            return Err(fault);
        }
        let value = |slot: &u16| registers.word(*slot)[lane] as i32;
        let mut place = [0; RANK];
        place.iter_mut().zip(coordinates).for_each(|(to, slot)| *to = value(slot));
        let mut offsets = None;
        if let Some(slots) = im2col {
            let mut found = [0; 3];
            // As wide as the corners are: 16 bits of one offset, 8 of two, 5 of three.
            let most = [65535, 255, 31][slots.len().clamp(1, 3) - 1];
            for (to, slot) in found.iter_mut().zip(slots) {
                *to = value(slot) & 0xffff;
                if *to > most {
                    let what = format!("an im2col offset of {to}, where {rank} dimensions allow {most}");
                    return wrong(
                        self,
                        what,
                        "offsets count from the box's lower corner and are not negative",
                    );
                }
            }
            offsets = Some(found);
        }
        Ok((Place::Tensor { map, at: place, offsets }, map.bytes()))
    }

    /// The tensor map at a generic address.
    fn map(&mut self, at: u32, lane: usize, address: u64) -> Result<TensorMap, Box<Fault>> {
        let mut bytes = [0; BYTES];
        if (PARAM_WINDOW..PARAM_WINDOW + WINDOW).contains(&address) {
            let first = (address - PARAM_WINDOW) as usize;
            if let Some(found) = self.grid.args.get(first..first + BYTES) {
                bytes.copy_from_slice(found);
            }
        } else {
            self.pull(at, lane, address, 1, &mut bytes)?;
        }
        if !address.is_multiple_of(64) {
            let what = format!("a tensor map at {address:#x}");
            return Err(self.fault(
                Check::Bulk,
                at,
                lane,
                what,
                "a tensor map lies at a multiple of 64 bytes",
            ));
        }
        TensorMap::decode(&bytes).ok_or_else(|| {
            let what = format!("there is no tensor map at {address:#x}");
            let help = "the host passes it by value: `const __grid_constant__ CUtensorMap`";
            self.fault(Check::Bulk, at, lane, what, help)
        })
    }

    /// Whether `bytes` of shared memory at `address` can be one side of a copy.
    fn inside(
        &self,
        at: u32,
        lane: usize,
        address: u64,
        bytes: u32,
        other: &Place,
    ) -> Result<(), Box<Fault>> {
        let align = if matches!(other, Place::Bytes(_)) { 16 } else { 128 };
        if !address.is_multiple_of(align) {
            let what = format!("a bulk copy at {} of shared memory", self.shared_name(address as u32));
            let help = format!("its address in shared memory must be a multiple of {align}");
            return Err(self.fault(Check::Alignment, at, lane, what, &help));
        }
        // Both ends in one block: what is beyond its window is nowhere, not in the next one's.
        let (rank, first) = self.shared.whose(address);
        let moved = other.places(address as u32, if other.fills(bytes) { 0 } else { bytes });
        let last = moved.max().map_or(bytes - 16, |last| last - address as u32);
        for end in [address, self.shared.place(rank, first.saturating_add(u64::from(last)))] {
            self.check_shared(at, lane, end, 16, false)?;
        }
        Ok(())
    }

    pub(super) fn load_bulk(
        &mut self,
        at: u32,
        (to, from, barrier, blocks): (&Spot, &Outside, &Spot, u16),
        registers: &Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let places = |spot: &Spot| self.addresses(registers, spot.base, spot.class, spot.offset);
        let (to, barriers) = (places(to), places(barrier));
        for lane in lanes(mask.bits) {
            let (from, bytes) = self.far_side(at, lane, from, registers)?;
            let own = 1 << self.rank;
            let wanted = if blocks == NONE { own } else { registers.word(blocks)[lane] & 0xffff };
            let all = (1u32 << self.grid.program.cluster) - 1;
            if wanted == 0 || wanted & !all != 0 {
                let what = format!("a bulk copy to blocks {wanted:#b} of a cluster");
                let mut fault =
                    self.fault(Check::Cluster, at, lane, what, "a bit for each block that there is");
                fault.facts.push(("blocks".into(), format!("{all:#b}")));
                return Err(fault);
            }
            for rank in lanes(wanted) {
                let [to, barrier] = [to, barriers].map(|all| self.shared.place(rank as u32, all[lane]));
                self.load_one(at, lane, (to, bytes), from, barrier)?;
            }
        }
        Ok(())
    }

    /// A copy of one lane to one block.
    fn load_one(
        &mut self,
        at: u32,
        lane: usize,
        (to, bytes): (u64, u32),
        from: Place,
        barrier: u64,
    ) -> Result<(), Box<Fault>> {
        let number = self.barrier(at, lane, barrier)?;
        if !self.engine.barriers[number].published && self.grid.options.checked {
            let name = self.shared_name(barrier as u32);
            let what = format!("a bulk copy uses the mbarrier {name}, whose init no fence has shown it");
            let help =
                "the thread that initializes runs fence.mbarrier_init or fence.proxy.async before all meet";
            return Err(self.fault(Check::Proxy, at, lane, what, help));
        }
        self.inside(at, lane, to, bytes, &from)?;
        let phase = self.engine.barriers[number].phase as u32;
        let agent = self.agents.number(Agent::Load(number));
        self.visit(at, to, None, (agent, phase + 1));
        let to = to as u32;
        let tag = Tag::new(phase + 1, agent, at, lane);
        for (place, bytes) in runs(&from, to, bytes) {
            let noted = self.shared.note_flight(place, bytes, self.warp, tag);
            noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
        }
        self.engine.loads.push(Load { at, warp: self.warp, lane, to, bytes, barrier: number, from });
        self.engine.version += 1;
        if self.grid.options.late_copies { Ok(()) } else { self.deliver(number) }
    }

    /// Copies that complete on a barrier arrive.
    pub(super) fn deliver(&mut self, barrier: usize) -> Result<(), Box<Fault>> {
        while let Some(next) = self.engine.loads.iter().position(|load| load.barrier == barrier) {
            let load = self.engine.loads.remove(next);
            let here = self.warp;
            self.stand_for(load.warp);
            let mut data = vec![0; load.bytes as usize];
            self.gather(load.at, load.lane, &load.from, &mut data)?;
            for (place, chunk) in load.from.places(load.to, load.bytes).zip(data.chunks_exact(16)) {
                let words = &mut self.shared.words[place as usize / 4..][..4];
                for (word, four) in words.iter_mut().zip(chunk.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*four);
                }
            }
            for (place, bytes) in runs(&load.from, load.to, load.bytes) {
                self.shared.land(place, bytes);
            }
            self.transact(load.at, load.lane, barrier, -i64::from(load.bytes))?;
            self.settle_barrier(barrier);
            self.stand_for(here);
        }
        Ok(())
    }

    /// The copy on its way that covers an address of shared memory.
    pub(in crate::device::gpu::emulator) fn flying(&self, address: u32) -> Option<&Load> {
        let covers = |load: &&Load| {
            runs(&load.from, load.to, load.bytes)
                .any(|(place, bytes)| (place..place + bytes).contains(&address))
        };
        self.engine.loads.iter().find(covers)
    }

    pub(super) fn store_bulk(
        &mut self,
        at: u32,
        (to, from): (&Outside, &Spot),
        registers: &Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let from = self.spots(registers, from);
        for lane in lanes(mask.bits) {
            let (to, bytes) = self.far_side(at, lane, to, registers)?;
            self.inside(at, lane, from[lane], bytes, &to)?;
            let from = from[lane] as u32;
            let places = || to.places(from, bytes);
            let noted = self.shared.check_proxy(places(), self.warp);
            noted.map_err(|conflict| self.conflict(at, lane, conflict, false))?;
            let work = &mut self.engine.work[self.warp];
            work.stored += 1;
            let (number, group) = (work.stored, work.committed[lane] + 1);
            let agent = self.agents.number(Agent::Store(self.warp));
            self.shared.note_proxy(places(), Tag::new(number, agent, at, lane));
            let store = Store { at, warp: self.warp, lane, from, bytes, group, number, to };
            if !self.grid.options.late_copies {
                self.leave(&store)?;
            }
            self.engine.work[self.warp].stores.push(store);
        }
        Ok(())
    }

    /// The bytes of a copy leave shared memory.
    fn leave(&mut self, store: &Store) -> Result<(), Box<Fault>> {
        let mut data = Vec::with_capacity(store.bytes as usize);
        for place in store.to.places(store.from, store.bytes) {
            let words = &self.shared.words[place as usize / 4..][..4];
            words.iter().for_each(|word| data.extend(word.to_le_bytes()));
        }
        self.scatter(store.at, store.lane, &store.to, &data)
    }

    /// Lanes wait for their own groups. Who may touch the bytes again is known of all copies up to the first that
    /// is still on its way, whose ever it is.
    pub(super) fn wait_bulk(&mut self, left: u32, mask: &Mask) -> Result<(), Box<Fault>> {
        let work = &mut self.engine.work[self.warp];
        let committed = work.committed;
        let waited = |store: &Store| {
            mask.bits >> store.lane & 1 == 1 && store.group <= committed[store.lane].saturating_sub(left)
        };
        let all = std::mem::take(&mut work.stores);
        let (now, later): (Vec<Store>, Vec<Store>) = all.into_iter().partition(waited);
        let upto = later.first().map_or(work.stored, |store| store.number - 1);
        work.stores = later;
        if self.grid.options.late_copies {
            now.iter().try_for_each(|store| self.leave(store))?;
        }
        self.shared.learn(self.warp, Agent::Store(self.warp), upto);
        Ok(())
    }

    /// Where a tensor begins, for reports.
    pub(super) fn tensor_base(map: &TensorMap) -> u64 {
        let Address(base) = map.base();
        base
    }
}
