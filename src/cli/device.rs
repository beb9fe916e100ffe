//! `--device`: which names there are, and the device behind each.

use crate::device::Device;
use crate::device::cpu::CpuDevice;
use crate::device::gpu::Gpu;
use crate::device::gpu::emulator::{Emulator, Options};
use crate::error::Result;

/// A device that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// The fastest that needs nothing installed: the cpu.
    Auto,
    /// Rust with SIMD and threads.
    Cpu,
    /// Our PTX machine.
    Emulator {
        /// With all checks, which take about as long again as the work.
        checked: bool,
    },
}

impl DeviceName {
    /// For clap.
    ///
    /// # Errors
    /// The names that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "emulator" => Ok(Self::Emulator { checked: false }),
            "emulator:checked" => Ok(Self::Emulator { checked: true }),
            _ => Err("choose auto, cpu, emulator or emulator:checked".into()),
        }
    }

    /// The device, with `threads` threads or as many as the machine has.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) when the system gives no threads.
    pub fn open(self, threads: Option<usize>) -> Result<Box<dyn Device>> {
        match self {
            Self::Auto | Self::Cpu => Ok(Box::new(CpuDevice::new(threads)?)),
            Self::Emulator { checked } => {
                let options = if checked { Options::default() } else { Options::fast() };
                Ok(Box::new(Gpu::new(Emulator::new(Options { threads, ..options })?)?))
            }
        }
    }
}
