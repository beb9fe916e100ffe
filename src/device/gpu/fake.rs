//! For tests: a driver that keeps memory and runs nothing, but remembers what it was asked.

use super::driver::{Address, Driver};
use super::launch::{Launch, Limits};
use super::module::Module;
use crate::device::{Description, Dtype};
use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What a large card allows.
pub const LIMITS: Limits = Limits {
    capability: 75,
    grid: [0x7FFF_FFFF, 65_535, 65_535],
    block: [1024, 1024, 64],
    threads: 1024,
    shared: 48 << 10,
    shared_opt_in: 99 << 10,
};

#[derive(Default)]
pub struct Fake {
    pub modules: Mutex<Vec<&'static str>>,
    pub launches: Mutex<Vec<Launch>>,
    /// Bytes that were asked for, and those that were written: a test of a large geometry asks for
    /// gigabytes and writes to none of them.
    pub memory: Mutex<BTreeMap<Address, (usize, Vec<u8>)>>,
}

impl Driver for Fake {
    fn describe(&self) -> Description {
        Description { name: "fake".into(), hardware: "nothing at all".into() }
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn load(&self, module: &Module) -> Result<()> {
        self.modules.lock().unwrap().push(module.name);
        Ok(())
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address> {
        let mut memory = self.memory.lock().unwrap();
        let end = memory.last_key_value().map_or(1 << 40, |(at, (len, _))| at.0 + *len as u64);
        let at = Address(end.next_multiple_of(256));
        memory.insert(at, (dtype.size() * len, Vec::new()));
        Ok(at)
    }

    fn free(&self, at: Address) {
        assert!(self.memory.lock().unwrap().remove(&at).is_some(), "{at:?} was freed twice");
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        let mut memory = self.memory.lock().unwrap();
        let (len, content) = memory.get_mut(&to).unwrap();
        assert_eq!(*len, bytes.len());
        *content = bytes.to_vec();
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(&self.memory.lock().unwrap()[&from].1);
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.launches.lock().unwrap().push(launch.clone());
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
