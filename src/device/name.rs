//! A device by its name: what `--device`, `--precision`, `--kernels` and `--launches` ask for.
//!
//! In: a name (`auto`, `cpu`, `cuda:1`, `emulator`), a precision, kernels. Out: the device, or why there is none: nothing
//! falls back in silence.

use super::cpu::{self, CpuDevice};
use super::gpu::Gpu;
use super::gpu::cuda::{self, Cuda};
use super::gpu::driver::Driver;
use super::gpu::emulator::{Emulator, Options};
use super::{Device, Kernels, Launches, Precision};
use crate::error::{Error, Kind, Result};

/// A device that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// A GPU that can run the kernels, if there is one, else the cpu.
    Auto,
    /// Rust with SIMD and threads.
    Cpu,
    /// An NVIDIA GPU.
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

/// How a device is to work; by default as a command line without options has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The numbers that it multiplies and keeps.
    pub precision: Precision,
    /// Which of its kernels, where there are several.
    pub kernels: Kernels,
    /// When the kernels of a step begin on a GPU.
    pub launches: Launches,
    /// Threads of the cpu and the emulator; as many as the machine has if not given.
    pub threads: Option<usize>,
    /// Waits for each kernel of a GPU, so that one that goes wrong is named; slow.
    pub sync: bool,
}

/// A device, and why it is this one if nobody named it.
pub struct Opened {
    /// The device.
    pub device: Box<dyn Device>,
    /// What `auto` found.
    pub reason: Option<String>,
    /// Precisions of a GPU's tensor cores, where it works in f32 without them.
    pub tensor_cores: Option<&'static str>,
}

/// Precisions by which a GPU of this compute capability would use its tensor cores, where `precision` does not.
fn tensor_cores(precision: Precision, capability: u32) -> Option<&'static str> {
    let faster = if capability >= 80 { "bf16 or tf32" } else { "f16" };
    precision.is_f32().then_some(faster)
}

impl DeviceName {
    /// Reads a name.
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

    /// The device, working by `options`. `auto` takes the cpu only where there is no GPU for us: a GPU that is there and
    /// does not work is an error, since nobody wants to find out by the clock.
    ///
    /// # Errors
    /// [`Kind::Device`] when the device is not there, does not work, or not in this precision or by these kernels;
    /// [`Kind::Usage`] for a precision, kernels or launches that the cpu was named with.
    pub fn open(self, options: DeviceOptions) -> Result<Opened> {
        let DeviceOptions { precision, kernels, launches, threads, sync } = options;
        let card = |number| -> Result<Opened> {
            let options = cuda::Options { number, sync, launches, ..Default::default() };
            let gpu = Gpu::new(Cuda::open(options)?)?;
            let tensor_cores = tensor_cores(precision, gpu.driver().limits().capability);
            Ok(Opened { device: working(gpu, precision, kernels)?, reason: None, tensor_cores })
        };
        if launches != Launches::Serial && !matches!(self, Self::Auto | Self::Cuda { .. }) {
            return Err(no_launches(launches));
        }
        let device: Box<dyn Device> = match self {
            Self::Auto => {
                return match cuda::find().and_then(|found| found.first().map(|card| card.number)) {
                    Ok(number) => card(Some(number))
                        .map_err(|error| error.context("opening the GPU that --device auto found")),
                    Err(error) if launches != Launches::Serial => {
                        Err(no_launches(launches).fact("no GPU", error.message()))
                    }
                    Err(error) => match open_cpu(precision, kernels, threads) {
                        Ok(device) => Ok(Opened {
                            device,
                            reason: Some(error.message().to_owned()),
                            tensor_cores: None,
                        }),
                        Err(refused) => Err(refused.fact("no GPU", error.message())),
                    },
                };
            }
            Self::Cpu => open_cpu(precision, kernels, threads)?,
            Self::Cuda { number } => return card(number),
            Self::Emulator { checked } => {
                let options = if checked { Options::default() } else { Options::fast() };
                // 8.0 is the oldest that has every precision; Hopper's own kernels want theirs.
                let capability = if kernels == Kernels::Sm90a { 90 } else { options.capability };
                let emulator = Emulator::new(Options { threads, capability, ..options })?;
                working(Gpu::new(emulator)?, precision, kernels)?
            }
        };
        Ok(Opened { device, reason: None, tensor_cores: None })
    }
}

/// For devices that run one kernel after another, or none.
pub fn no_launches(launches: Launches) -> Error {
    Error::new(Kind::Usage, "only a GPU overlaps the kernels of a step")
        .expected_got("--launches serial", launches)
        .help("use --device cuda, or leave --launches out")
}

/// The cpu, where that can do what was asked for.
fn open_cpu(precision: Precision, kernels: Kernels, threads: Option<usize>) -> Result<Box<dyn Device>> {
    if !precision.is_f32() {
        return Err(Error::new(Kind::Usage, "the cpu computes in f32 alone")
            .expected_got("--precision f32", precision)
            .help("use --device cuda or --device emulator, or --precision f32"));
    }
    if kernels != Kernels::Auto {
        return Err(Error::new(Kind::Usage, "the cpu runs no kernels")
            .expected_got("--kernels auto", kernels)
            .help("use --device cuda or --device emulator, or leave --kernels out"));
    }
    cpu::check_instructions()?;
    Ok(Box::new(CpuDevice::new(threads)?))
}

/// A GPU that works in `precision` by `kernels`, if it can.
fn working<D: Driver + 'static>(
    gpu: Gpu<D>,
    precision: Precision,
    kernels: Kernels,
) -> Result<Box<dyn Device>> {
    precision.check(&gpu.describe(), gpu.driver().limits().capability)?;
    Ok(Box::new(gpu.with_precision(precision).with_kernels(kernels)?))
}

#[cfg(test)]
mod tests {
    use super::super::gpu::plan::{Card, Plan};
    use super::*;

    #[test]
    fn launches_are_a_matter_of_cards() {
        for name in [DeviceName::Cpu, DeviceName::Emulator { checked: false }] {
            let launches = Launches::Programmatic;
            let opened = name.open(DeviceOptions { launches, ..DeviceOptions::default() });
            let Err(error) = opened else { panic!("it was opened") };
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("only a GPU overlaps"), "{error}");
        }
    }

    #[test]
    fn the_cpu_takes_f32_alone_and_old_cards_f16_besides() {
        let by = |precision, kernels| DeviceOptions { precision, kernels, ..DeviceOptions::default() };
        let Err(error) = DeviceName::Cpu.open(by(Precision::Bf16, Kernels::Auto)) else {
            panic!("it was opened")
        };
        assert_eq!((error.kind(), error.exit_code()), (Kind::Usage, 2));
        assert!(error.to_string().contains("--precision f32"), "{error}");
        let emulator = DeviceName::Emulator { checked: false };
        for precision in Precision::ALL {
            let opened = emulator.open(by(precision, Kernels::Auto)).unwrap();
            assert_eq!(opened.device.precision(), precision);
            // Hopper's kernels multiply these; then the machine is a Hopper.
            let opened = emulator.open(by(precision, Kernels::Sm90a));
            assert_eq!(opened.is_ok(), [Precision::Bf16, Precision::Tf32].contains(&precision));
            if let Ok(opened) = opened {
                assert!(opened.device.describe().hardware.ends_with("kernels sm_90a"));
            }
        }
        let Err(error) = DeviceName::Cpu.open(by(Precision::F32, Kernels::Portable)) else {
            panic!("it was opened")
        };
        assert_eq!(error.kind(), Kind::Usage);
        // A Turing GPU on paper.
        let t4 = || Gpu::new(Plan::new(Card::named("t4").unwrap())).unwrap();
        assert!(working(t4(), Precision::F32, Kernels::Auto).is_ok());
        assert!(working(t4(), Precision::F32, Kernels::Sm90a).is_err());
        assert!(working(t4(), Precision::F16, Kernels::Auto).is_ok());
        for precision in Precision::ALL.into_iter().filter(|precision| !precision.runs_on(75)) {
            let Err(error) = working(t4(), precision, Kernels::Auto) else { panic!("{precision} on a T4") };
            let text = error.to_string();
            assert!(text.contains("8.0 or later") && text.contains("7.5"), "{text}");
        }
    }

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
