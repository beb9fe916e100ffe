//! An emulator whose launches are written down, for those who want to look at a kernel.
//!
//! In: the verbs of a [`Driver`]. Out: the same, and a list of [`Started`] launches with the steps of
//! one thread where that was asked for.

use super::trace::{Step, Trace};
use super::{Emulator, lock};
use crate::device::gpu::driver::{Address, Driver};
use crate::device::gpu::launch::{Launch, Limits};
use crate::device::gpu::module::Module;
use crate::device::gpu::tensor_map::{self, TensorMap};
use crate::device::{Description, Dtype};
use crate::error::Result;
use std::sync::Mutex;

/// A launch that was run.
#[derive(Clone, Debug)]
pub struct Started {
    /// The kernel.
    pub entry: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Bytes of shared memory of a block, static and dynamic.
    pub shared: u32,
    /// What the followed thread did; nothing where there is no such thread.
    pub steps: Vec<Step>,
}

/// The machine and its diary.
pub struct Watched {
    machine: Emulator,
    follow: Option<([u32; 3], u32)>,
    started: Mutex<Vec<Started>>,
}

impl Watched {
    /// `follow` is a block along x, y, z and the number of a thread in it.
    pub fn new(machine: Emulator, follow: Option<([u32; 3], u32)>) -> Self {
        Self { machine, follow, started: Mutex::default() }
    }

    /// The machine itself.
    pub fn machine(&self) -> &Emulator {
        &self.machine
    }

    /// The launches so far, in order.
    pub fn started(&self) -> Vec<Started> {
        lock(&self.started).clone()
    }
}

impl Driver for Watched {
    fn describe(&self) -> Description {
        self.machine.describe()
    }

    fn limits(&self) -> &Limits {
        self.machine.limits()
    }

    fn load(&self, module: &Module) -> Result<()> {
        self.machine.load(module)
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address> {
        self.machine.alloc(dtype, len)
    }

    fn free(&self, at: Address) {
        self.machine.free(at);
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        self.machine.write(to, bytes)
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.machine.read(from, bytes)
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let trace = self.follow.map(|(block, thread)| Trace::new(block, thread));
        self.machine.launch_traced(launch, trace.as_ref())?;
        lock(&self.started).push(Started {
            entry: launch.entry.name,
            grid: launch.grid,
            block: launch.block,
            shared: launch.entry.static_shared + launch.shared,
            steps: trace.map(Trace::steps).unwrap_or_default(),
        });
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.machine.synchronize()
    }

    fn tensor_map(&self, map: &TensorMap) -> Result<[u8; tensor_map::BYTES]> {
        self.machine.tensor_map(map)
    }
}
