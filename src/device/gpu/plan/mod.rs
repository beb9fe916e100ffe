//! The dry run: a driver that runs nothing and keeps no numbers. It records what a GPU would be asked to do.
//!
//! In: what every driver is given. Out: a [`Record`] of allocations, frees and launches in their order, each
//! with the label that was current; from it [`Line`]s (`predict.rs`: what each launch should take on a GPU)
//! and [`Memory`] (what is alive, of which kind, for which layer). What is read is zero, but for buffers of eight
//! bytes, which keep what was written. A training step of VGG16 is planned in milliseconds, so that it can be asked for
//! before anything is done.

mod card;
mod memory;
mod pipes;
mod predict;
mod work;

pub use card::{CARDS, COPY, Card};
pub use memory::{KINDS, Kind, Memory};
pub use predict::{Bound, EARLY, Line, lines, predict};

use super::driver::{Address, Driver};
use super::launch::{Launch, Limits};
use super::module::Module;
use super::tensor_map::{self, TensorMap};
use crate::device::{Capacity, Description, Dtype};
use crate::error::{Error, Kind as ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What ends the label of a layer on the way back: `block5_conv1 backward`.
pub const BACKWARD: &str = " backward";

/// Something that a driver was asked, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// So many bytes were taken.
    Alloc {
        /// Where; no two allocations of a record have one address.
        at: Address,
        /// How much.
        bytes: u64,
        /// For whom.
        label: Arc<str>,
    },
    /// What was taken at this address was given back.
    Free(Address),
    /// A kernel was started.
    Launch {
        /// Which, on what, at what cost.
        launch: Box<Launch>,
        /// For whom.
        label: Arc<str>,
    },
    /// The planner said so.
    Mark(Mark),
}

/// Where a part of the record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A step of training, or a forward pass.
    Step,
    /// What comes after the last one.
    End,
}

/// Everything that was asked.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// In order.
    pub events: Vec<Event>,
}

impl Record {
    /// The launches of the last step with their labels.
    pub fn launches(&self) -> impl Iterator<Item = (&Launch, &str)> {
        self.events[self.last_step()..].iter().filter_map(|event| match event {
            Event::Launch { launch, label } => Some((&**launch, &**label)),
            _ => None,
        })
    }

    /// Where the last step begins.
    fn last_step(&self) -> usize {
        self.events.iter().rposition(|event| matches!(event, Event::Mark(Mark::Step))).unwrap_or(0)
    }
}

#[derive(Default)]
struct State {
    record: Record,
    /// Bytes of what is held, and the content of what has eight: the device above keeps two words in which kernels
    /// leave faults.
    held: BTreeMap<Address, (u64, [u8; 8])>,
    live: u64,
    next: u64,
    label: Arc<str>,
    modules: Vec<&'static str>,
}

/// The driver.
pub struct Plan {
    card: &'static Card,
    limits: Limits,
    state: Mutex<State>,
}

/// Addresses begin here, far from zero.
const FIRST: u64 = 1 << 40;

impl Plan {
    /// An empty plan for `card`.
    pub fn new(card: &'static Card) -> Self {
        let state = State { next: FIRST, label: "start".into(), ..State::default() };
        Self { card, limits: card.limits(), state: Mutex::new(state) }
    }

    /// Whose limits hold.
    pub fn card(&self) -> &'static Card {
        self.card
    }

    /// Says where a part begins.
    pub fn mark(&self, mark: Mark) {
        self.state().record.events.push(Event::Mark(mark));
    }

    /// What was asked so far; from here on the record is empty.
    pub fn take(&self) -> Record {
        std::mem::take(&mut self.state().record)
    }

    /// Allocations that were not given back.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// The modules that were loaded.
    pub fn modules(&self) -> Vec<&'static str> {
        self.state().modules.clone()
    }

    // Nothing panics while it holds the lock, and what is in it is whole between two lines.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a driver's user cannot do by what he typed.
fn misused(what: &str, at: Address) -> Error {
    Error::bug(ErrorKind::Device, format!("plan: {what}")).fact("address", format!("{:#x}", at.0))
}

impl Driver for Plan {
    fn describe(&self) -> Description {
        Description { name: "plan".into(), hardware: format!("{}, on paper", self.card.title) }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn load(&self, module: &Module) -> Result<()> {
        self.state().modules.push(module.name);
        Ok(())
    }

    /// There is always memory: whether it is enough is a question to the record.
    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address> {
        let mut state = self.state();
        let (at, bytes) = (Address(state.next), (dtype.size() * len) as u64);
        state.next = (at.0 + bytes.max(1)).next_multiple_of(256);
        state.held.insert(at, (bytes, [0; 8]));
        state.live += bytes;
        let label = Arc::clone(&state.label);
        state.record.events.push(Event::Alloc { at, bytes, label });
        Ok(at)
    }

    fn free(&self, at: Address) {
        let mut state = self.state();
        let held = state.held.remove(&at);
        debug_assert!(held.is_some(), "{at:?} was freed twice");
        state.live -= held.map_or(0, |(bytes, _)| bytes);
        state.record.events.push(Event::Free(at));
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        match self.state().held.get_mut(&to) {
            Some((len, word)) if *len == bytes.len() as u64 => {
                if let Ok(bytes) = bytes.try_into() {
                    *word = bytes;
                }
                Ok(())
            }
            _ => Err(misused("a write to what was not allocated so", to)),
        }
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        match self.state().held.get(&from) {
            Some((len, word)) if *len == bytes.len() as u64 => {
                bytes.fill(0);
                if bytes.len() == word.len() {
                    bytes.copy_from_slice(word);
                }
                Ok(())
            }
            _ => Err(misused("a read from what was not allocated so", from)),
        }
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let mut state = self.state();
        let label = Arc::clone(&state.label);
        state.record.events.push(Event::Launch { launch: Box::new(launch.clone()), label });
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// As the emulator's: nobody follows it.
    fn tensor_map(&self, map: &TensorMap) -> Result<[u8; tensor_map::BYTES]> {
        Ok(map.encode())
    }

    fn card(&self) -> Option<&'static Card> {
        Some(self.card)
    }

    fn memory(&self) -> Result<Option<Capacity>> {
        let total = self.card.memory;
        Ok(Some(Capacity { free: total.saturating_sub(self.state().live), total }))
    }

    /// But for eight bytes: the weights of a plan may be larger than the host's memory.
    fn keeps(&self) -> bool {
        false
    }

    fn label(&self, label: &str) {
        let mut state = self.state();
        if *state.label != *label {
            state.label = label.into();
        }
    }
}
