//! What the NVIDIA driver says of this machine: its version and its GPUs, without touching any of them.
//!
//! In: nothing. Out: [`Found`], or the reason why there is none as an error. `vgg-ft devices` prints it,
//! `--device auto` decides by it.

use super::library::{Library, SUCCESS, library};
use crate::device::gpu::launch::Limits;
use crate::device::gpu::module;
use crate::device::{Description, capability};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys::{CUdevice, CUdevice_attribute as Attribute};
use std::fmt;
use std::os::raw::{c_char, c_int};

/// A version of CUDA: 13.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 13.
    pub major: u32,
    /// 0.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A driver and its GPUs.
#[derive(Clone, Debug)]
pub struct Found {
    /// The newest CUDA that the driver knows.
    pub driver: Version,
    /// In the driver's order, which `CUDA_VISIBLE_DEVICES` changes.
    pub cards: Vec<Card>,
}

/// One GPU.
#[derive(Clone, Debug)]
pub struct Card {
    /// N of `cuda:N`.
    pub number: usize,
    /// "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// Bytes of memory.
    pub memory: u64,
    /// What a launch may ask for, with the compute capability.
    pub limits: Limits,
    /// How the driver calls it.
    pub(super) device: CUdevice,
}

impl Found {
    /// The first GPU that can run the kernels, for `--device auto` and `--device cuda`.
    ///
    /// # Errors
    /// [`Kind::Device`] when all GPUs are too old, with what they are.
    pub fn first(&self) -> Result<&Card> {
        match self.cards.iter().find(|card| card.too_old().is_none()) {
            Some(card) => Ok(card),
            None => Err(self.cards.first().and_then(Card::too_old).unwrap_or_else(no_card)),
        }
    }

    /// `cuda:number`.
    ///
    /// # Errors
    /// [`Kind::Device`] when there is no such GPU, with those that there are, or when it is too old.
    pub fn card(&self, number: usize) -> Result<&Card> {
        let Some(card) = self.cards.get(number) else {
            let names: Vec<String> =
                self.cards.iter().map(|card| format!("cuda:{} {}", card.number, card.name)).collect();
            return Err(Error::new(Kind::Device, format!("there is no cuda:{number}"))
                .fact("GPUs", names.join("\n"))
                .help("choose one of these; CUDA_VISIBLE_DEVICES hides GPUs and changes their numbers"));
        };
        card.too_old().map_or(Ok(card), Err)
    }
}

impl Card {
    /// "9.0".
    pub fn capability(&self) -> Version {
        Version { major: self.limits.capability / 10, minor: self.limits.capability % 10 }
    }

    /// "cuda:0", "NVIDIA H100 80GB HBM3, 9.0, 79 GiB, driver 13.0".
    pub fn describe(&self, driver: Version) -> Description {
        let (name, memory) = (&self.name, self.memory >> 30);
        Description {
            name: format!("cuda:{}", self.number),
            hardware: format!("{name}, {}, {memory} GiB, driver {driver}", self.capability()),
        }
    }

    /// Why it cannot run our kernels, if so.
    pub fn too_old(&self) -> Option<Error> {
        let least = module::least_capability();
        let got = self.limits.capability;
        (got < least).then(|| {
            let who = format!("cuda:{} ({})", self.number, self.name);
            let error = Error::new(Kind::Device, format!("{who} is too old for our kernels"));
            capability::older(error, least, got).help("use --device cpu, or another GPU")
        })
    }
}

fn no_card() -> Error {
    Error::new(Kind::Device, "there is a CUDA driver on this machine but no GPU")
        .help("see CUDA_VISIBLE_DEVICES (in a container: run with GPU access), or use --device cpu")
}

/// Asks the driver. Takes some tenths of a second where there are GPUs, nothing where there is no driver.
///
/// # Errors
/// [`Kind::Device`]: no driver, one that does not work, or one without a GPU.
pub fn find() -> Result<Found> {
    let library = library()?;
    // SAFETY: the manual asks for 0; more than one call does no harm.
    library.check(unsafe { (library.call.init)(0) }, "start the driver")?;
    let (mut version, mut count) = (0, 0);
    // SAFETY: both write one int.
    library.check(unsafe { (library.call.version)(&mut version) }, "ask for the driver's version")?;
    // SAFETY: as above.
    library.check(unsafe { (library.call.device_count)(&mut count) }, "count the GPUs")?;
    let cards = (0..count).map(|number| card(library, number)).collect::<Result<Vec<_>>>()?;
    if cards.is_empty() {
        return Err(no_card());
    }
    // 13000 for 13.0, 12040 for 12.4.
    let version = version.unsigned_abs();
    Ok(Found { driver: Version { major: version / 1000, minor: version % 1000 / 10 }, cards })
}

fn card(library: &Library, number: c_int) -> Result<Card> {
    let mut device = 0;
    // SAFETY: writes one int.
    library.check(unsafe { (library.call.device)(&mut device, number) }, &format!("open cuda:{number}"))?;
    let mut name = [0u8; 256];
    // SAFETY: writes at most the 256 bytes that are there, a NUL among them.
    let answer = unsafe { (library.call.device_name)(name.as_mut_ptr().cast::<c_char>(), 256, device) };
    library.check(answer, &format!("ask for the name of cuda:{number}"))?;
    let end = name.iter().position(|&c| c == 0).unwrap_or(name.len());
    let mut memory = 0;
    // SAFETY: writes one size_t.
    let answer = unsafe { (library.call.device_memory)(&mut memory, device) };
    library.check(answer, &format!("ask for the memory of cuda:{number}"))?;
    let ask = |attribute| attribute_of(library, device, attribute);
    let capability = 10 * ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?
        + ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(Card {
        number: number.unsigned_abs() as usize,
        name: String::from_utf8_lossy(&name[..end]).trim().to_owned(),
        memory: memory as u64,
        limits: Limits {
            capability,
            sms: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            grid: [
                ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)?,
                ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y)?,
                ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)?,
            ],
            block: [
                ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X)?,
                ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y)?,
                ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z)?,
            ],
            threads: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            shared: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK)?,
            shared_opt_in: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        },
        device,
    })
}

fn attribute_of(library: &Library, device: CUdevice, attribute: Attribute) -> Result<u32> {
    let mut value = 0;
    // SAFETY: writes one int.
    let answer = unsafe { (library.call.device_attribute)(&mut value, attribute, device) };
    if answer != SUCCESS {
        return Err(library
            .error(answer, "ask for a property of the GPU")
            .fact("property", format!("{attribute:?}")));
    }
    Ok(value.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(capabilities: &[u32]) -> Found {
        let limits = |capability| Limits { capability, ..crate::device::gpu::plan::CARDS[0].limits() };
        let card = |(number, &capability)| Card {
            number,
            name: format!("GPU {number}"),
            memory: 8 << 30,
            limits: limits(capability),
            device: 0,
        };
        let cards = capabilities.iter().enumerate().map(card).collect();
        Found { driver: Version { major: 13, minor: 0 }, cards }
    }

    #[test]
    fn the_first_card_that_can_is_taken_and_one_that_cannot_is_refused() {
        let mixed = found(&[61, 75, 90]);
        assert_eq!(mixed.first().unwrap().number, 1);
        assert_eq!(mixed.card(2).unwrap().capability().to_string(), "9.0");
        let error = mixed.card(0).unwrap_err().to_string();
        assert!(error.contains("cuda:0 (GPU 0) is too old") && error.contains("got       6.1"), "{error}");
        let error = mixed.card(3).unwrap_err().to_string();
        assert!(error.contains("there is no cuda:3") && error.contains("cuda:1 GPU 1"), "{error}");
        assert!(found(&[52]).first().unwrap_err().message().contains("too old"));
        assert!(found(&[]).first().unwrap_err().message().contains("no GPU"));
    }
}
