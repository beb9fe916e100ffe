//! `--device`: which names there are, and the device behind each.

use crate::device::Device;
use crate::device::cpu::CpuDevice;
use crate::device::gpu::Gpu;
use crate::device::gpu::cuda::{self, Cuda};
use crate::device::gpu::emulator::{Emulator, Options};
use crate::error::Result;

/// A device that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// A card that can run the kernels, if there is one, else the cpu.
    Auto,
    /// Rust with SIMD and threads.
    Cpu,
    /// An NVIDIA card.
    Cuda {
        /// Which; the first that can run the kernels if not given.
        number: Option<usize>,
    },
    /// Our PTX machine.
    Emulator {
        /// With all checks, which take about as long again as the work.
        checked: bool,
    },
}

/// A device, and why it is this one if nobody named it.
pub struct Opened {
    /// The device.
    pub device: Box<dyn Device>,
    /// What `auto` found.
    pub reason: Option<String>,
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
            "cuda" => Ok(Self::Cuda { number: None }),
            "emulator" => Ok(Self::Emulator { checked: false }),
            "emulator:checked" => Ok(Self::Emulator { checked: true }),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Cuda { number: Some(number) }),
                _ => Err("choose auto, cpu, cuda, cuda:N, emulator or emulator:checked".into()),
            },
        }
    }

    /// The device, with `threads` threads or as many as the machine has; `sync` waits for each kernel of
    /// a card. `auto` takes the cpu only where there is no card for us: a card that is there and does not
    /// work is an error, since nobody wants to find out by the clock.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) when the device is not there or does not work.
    pub fn open(self, threads: Option<usize>, sync: bool) -> Result<Opened> {
        let card = |number| -> Result<Box<dyn Device>> {
            Ok(Box::new(Gpu::new(Cuda::open(cuda::Options { number, sync, ..Default::default() })?)?))
        };
        let device: Box<dyn Device> = match self {
            Self::Auto => {
                return match cuda::find().and_then(|found| found.first().map(|card| card.number)) {
                    Ok(number) => {
                        let device = card(Some(number))
                            .map_err(|error| error.context("opening the card that --device auto found"))?;
                        Ok(Opened { device, reason: None })
                    }
                    Err(error) => {
                        let device = Box::new(CpuDevice::new(threads)?);
                        Ok(Opened { device, reason: Some(error.message().to_owned()) })
                    }
                };
            }
            Self::Cpu => Box::new(CpuDevice::new(threads)?),
            Self::Cuda { number } => card(number)?,
            Self::Emulator { checked } => {
                let options = if checked { Options::default() } else { Options::fast() };
                Box::new(Gpu::new(Emulator::new(Options { threads, ..options })?)?)
            }
        };
        Ok(Opened { device, reason: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_or_refused() {
        assert_eq!(DeviceName::parse("auto"), Ok(DeviceName::Auto));
        assert_eq!(DeviceName::parse("cuda"), Ok(DeviceName::Cuda { number: None }));
        assert_eq!(DeviceName::parse("cuda:3"), Ok(DeviceName::Cuda { number: Some(3) }));
        assert_eq!(DeviceName::parse("emulator:checked"), Ok(DeviceName::Emulator { checked: true }));
        for bad in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "emulator:", ""] {
            assert!(DeviceName::parse(bad).is_err(), "{bad}");
        }
    }
}
