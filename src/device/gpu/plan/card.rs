//! GPUs as a plan needs them: figures of the data sheets, each with its source.
//!
//! Sources: \[H\] NVIDIA H100 Tensor Core GPU Architecture whitepaper (SXM5) and the H200's data sheet;
//! \[A\] NVIDIA A100 Tensor Core GPU Architecture whitepaper and the 80 GB SXM data sheet; \[T\] NVIDIA Turing
//! GPU Architecture whitepaper and the T4's data sheet; \[N\] NVIDIA Ampere GA102 and \[D\] Ada GPU Architecture
//! whitepapers; \[C\] CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability".
//! Clocks are the sheets' boost clocks. A GPU under load may run slower. Those of a GeForce are typical ones, by NVIDIA's
//! word: there a GPU may also run faster, and be faster than a floor.

use crate::device::Precision;
use crate::device::gpu::launch::Limits;
use crate::error::{Error, Kind, Result};

/// A GPU on paper.
#[derive(Debug, PartialEq)]
pub struct Card {
    /// What `--gpu` takes.
    pub name: &'static str,
    /// Its name in words.
    pub title: &'static str,
    /// Compute capability: 90 for 9.0.
    pub capability: u32,
    /// Multiprocessors.
    pub sms: u32,
    /// Boost clock, Hz.
    pub clock: f64,
    /// f32 multiply-adds of one multiprocessor in a cycle.
    pub fma: u32,
    /// f16 multiply-adds of one multiprocessor's tensor cores in a cycle, summed in f32. As many of bf16 and half as
    /// many of tf32 where there are such ([`Precision::runs_on`]).
    pub tensor: u32,
    /// Bytes per second of the global memory, by the data sheet.
    pub bandwidth: f64,
    /// Bytes of global memory, as nvidia-smi shows them: more than the number of the name in GB, which counts in powers
    /// of two ("80 GB" is 80 GiB, less what the driver keeps). A process finds a percent or two less.
    pub memory: u64,
}

/// The share of the sheet's bandwidth that a copy reaches: 4.19 of 4.8 TB/s were measured on an H200. That
/// others reach the same share is an assumption.
pub const COPY: f64 = 0.873;

/// How far a GPU's memory may be from the table's, one in so many: what drivers keep differs, halves and slices are
/// farther off.
const APART: u64 = 10;

const fn mib(count: u64) -> u64 {
    count << 20
}

/// The GPUs that are known.
pub static CARDS: [Card; 7] = [
    // [H] 132 SMs, 1.98 GHz, 128 FP32 cores per SM (66.9 TFLOP/s), 80 GB HBM3, 3.35 TB/s.
    Card {
        name: "h100",
        title: "NVIDIA H100 SXM",
        capability: 90,
        sms: 132,
        clock: 1.98e9,
        fma: 128,
        tensor: 2048,
        bandwidth: 3.35e12,
        memory: mib(81_559),
    },
    // [H] The same chip with 141 GB HBM3e, 4.8 TB/s.
    Card {
        name: "h200",
        title: "NVIDIA H200 SXM",
        capability: 90,
        sms: 132,
        clock: 1.98e9,
        fma: 128,
        tensor: 2048,
        bandwidth: 4.8e12,
        memory: mib(143_771),
    },
    // [A] 108 SMs, 1.41 GHz, 64 FP32 cores per SM (19.5 TFLOP/s), 80 GB HBM2e, 2.039 TB/s.
    Card {
        name: "a100",
        title: "NVIDIA A100 SXM 80 GB",
        capability: 80,
        sms: 108,
        clock: 1.41e9,
        fma: 64,
        tensor: 1024,
        bandwidth: 2.039e12,
        memory: mib(81_920),
    },
    // [T] 40 SMs, 1.59 GHz, 64 FP32 cores per SM (8.1 TFLOP/s, 65 of f16), 16 GB GDDR6, 320 GB/s.
    Card {
        name: "t4",
        title: "NVIDIA T4",
        capability: 75,
        sms: 40,
        clock: 1.59e9,
        fma: 64,
        tensor: 512,
        bandwidth: 3.2e11,
        memory: mib(15_360),
    },
    // [N] 82 SMs, 1.695 GHz, 128 FP32 cores per SM (35.6 TFLOP/s), 24 GB GDDR6X, 936 GB/s.
    Card {
        name: "rtx3090",
        title: "NVIDIA GeForce RTX 3090",
        capability: 86,
        sms: 82,
        clock: 1.695e9,
        fma: 128,
        tensor: 256,
        bandwidth: 9.36e11,
        memory: mib(24_576),
    },
    // [D] 58 SMs, 2.04 GHz, 128 FP32 cores per SM (30.3 TFLOP/s), 24 GB GDDR6, 300 GB/s.
    Card {
        name: "l4",
        title: "NVIDIA L4",
        capability: 89,
        sms: 58,
        clock: 2.04e9,
        fma: 128,
        tensor: 512,
        bandwidth: 3.0e11,
        memory: mib(23_034),
    },
    // [D] 128 SMs, 2.52 GHz, 128 FP32 cores per SM (82.6 TFLOP/s), 24 GB GDDR6X, 1008 GB/s.
    Card {
        name: "rtx4090",
        title: "NVIDIA GeForce RTX 4090",
        capability: 89,
        sms: 128,
        clock: 2.52e9,
        fma: 128,
        tensor: 256,
        bandwidth: 1.008e12,
        memory: mib(24_564),
    },
];

impl Card {
    /// The GPU of that name.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the names that there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        CARDS.iter().find(|card| card.name == name).ok_or_else(|| {
            let names: Vec<_> = CARDS.iter().map(|card| card.name).collect();
            Error::new(Kind::Usage, format!("no GPU is known as `{name}`"))
                .help(format!("choose one of {}", names.join(", ")))
        })
    }

    /// One that is given the kernels which a GPU of `capability` is given: of those that are known the newest that is
    /// not newer.
    pub fn like(capability: u32) -> &'static Self {
        let older = CARDS.iter().filter(|card| card.capability <= capability);
        older.max_by_key(|card| card.capability).unwrap_or(&CARDS[3])
    }

    /// The GPU that a driver calls `words` ("NVIDIA H100 80GB HBM3"), with so many multiprocessors and bytes of memory.
    /// The name alone says too little: slices of a GPU (MIG), GPUs for other sockets, for laptops, and those with half the
    /// memory have it, too, and are none that is known.
    pub fn of(words: &str, sms: u32, memory: u64) -> Option<&'static Self> {
        let words: Vec<String> = words
            .split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::to_lowercase)
            .filter(|word| !word.is_empty())
            .collect();
        // A name may be two words ("RTX 4090"), and never a part of one: an L40S is no L4.
        let names = |card: &Card| {
            words.iter().any(|word| word == card.name)
                || words.windows(2).any(|two| two.concat() == card.name)
        };
        // The same chip and memory as in another socket, and slower.
        if words.iter().any(|word| ["pcie", "nvl"].contains(&word.as_str())) {
            return None;
        }
        let near = |card: &Card| card.memory.abs_diff(memory) <= card.memory / APART;
        CARDS.iter().find(|card| names(card) && card.sms == sms && near(card))
    }

    /// f32 operations per second: every lane a multiply-add in every cycle.
    pub fn peak(&self) -> f64 {
        2.0 * f64::from(self.fma) * f64::from(self.sms) * self.clock
    }

    /// Operations per second of convolutions in `precision`, on tensor cores but for f32.
    pub fn peak_of_convolutions(&self, precision: Precision) -> f64 {
        let tensor = 2.0 * f64::from(self.tensor) * f64::from(self.sms) * self.clock;
        match precision {
            Precision::F32 => self.peak(),
            // Three products for one.
            Precision::Tf32x3 => tensor / 6.0,
            Precision::Tf32 => tensor / 2.0,
            Precision::Bf16 | Precision::F16 => tensor,
        }
    }

    /// Bytes per second of a copy.
    pub fn copy(&self) -> f64 {
        COPY * self.bandwidth
    }

    /// What a launch may ask for. \[C\]; shared memory of a block: 64, 163, 99 or 227 KiB.
    pub fn limits(&self) -> Limits {
        let shared_opt_in = match self.capability {
            75 => 64,
            80 => 163,
            90 => 227,
            _ => 99,
        };
        Limits {
            capability: self.capability,
            sms: self.sms,
            grid: [0x7FFF_FFFF, 65_535, 65_535],
            block: [1024, 1024, 64],
            threads: 1024,
            shared: 48 << 10,
            shared_opt_in: shared_opt_in << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_have_the_peaks_of_their_sheets() {
        for (name, tera) in [
            ("h100", 66.9),
            ("h200", 66.9),
            ("a100", 19.5),
            ("t4", 8.1),
            ("rtx3090", 35.6),
            ("l4", 30.3),
            ("rtx4090", 82.6),
        ] {
            let card = Card::named(name).unwrap();
            // The sheets give three digits.
            assert!((card.peak() / 1e12 / tera - 1.0).abs() < 0.006, "{name}: {}", card.peak());
        }
        // f16 on tensor cores, summed in f32; an H100's sheet counts with 1.83 GHz instead of 1.98.
        for (name, tera) in [
            ("a100", 312.0),
            ("rtx3090", 71.0),
            ("l4", 121.0),
            ("rtx4090", 165.0),
            ("h200", 1070.0),
            ("t4", 65.1),
        ] {
            let card = Card::named(name).unwrap();
            let peak = card.peak_of_convolutions(Precision::F16);
            assert!((peak / 1e12 / tera - 1.0).abs() < 0.006, "{name}: {peak}");
        }
        let error = Card::named("voodoo").unwrap_err().to_string();
        assert!(error.contains("`voodoo`") && error.contains("h100, h200"), "{error}");
    }

    #[test]
    fn a_card_is_known_by_its_name_with_its_size() {
        // A process is told of a little less than nvidia-smi shows.
        for (words, sms, mib, name) in [
            ("NVIDIA GeForce RTX 4090", 128, 24_217, "rtx4090"),
            ("NVIDIA GeForce RTX 3090", 82, 24_259, "rtx3090"),
            ("NVIDIA H100 80GB HBM3", 132, 81_090, "h100"),
            ("NVIDIA H200", 132, 143_156, "h200"),
            ("NVIDIA A100-SXM4-80GB", 108, 81_051, "a100"),
            ("Tesla T4", 40, 15_102, "t4"),
            ("NVIDIA L4", 58, 22_564, "l4"),
        ] {
            assert_eq!(Card::of(words, sms, mib << 20).map(|card| card.name), Some(name), "{words}");
        }
        for (words, sms, mib) in [
            ("NVIDIA A100-SXM4-40GB", 108, 40_536),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 14, 4_864),
            ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", 60, 40_448),
            ("NVIDIA H100 PCIe", 114, 81_090),
            ("NVIDIA H100 NVL", 132, 95_830),
            ("NVIDIA A100 80GB PCIe", 108, 81_051),
            ("NVIDIA H200 NVL", 132, 143_156),
            ("NVIDIA GeForce RTX 3090 Ti", 84, 24_247),
            ("NVIDIA GeForce RTX 4090 D", 114, 24_217),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", 76, 16_376),
            ("NVIDIA L40S", 142, 45_589),
            ("NVIDIA L40S", 58, 23_034),
            ("NVIDIA T400 4GB", 40, 15_360),
            ("Quadro", 132, 81_559),
        ] {
            assert_eq!(Card::of(words, sms, mib << 20), None, "{words}");
        }
    }
}
