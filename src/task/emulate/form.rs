//! What runs a kernel: in which numbers, by which convolutions, or which rung of the ladder in its place.
//!
//! In: a kernel's row, the rung that stands in for it, if one does, and what was typed. Out: sizes that it takes, numbers
//! as it keeps them in memory, a machine that has it, and how far from the cpu it may be. What has no kernel in these
//! numbers is refused.

use super::Numbers;
use super::kernels::{Array, Fill, Kernel};
use crate::device::gpu::Gpu;
use crate::device::gpu::driver::Driver;
use crate::device::gpu::emulator::{Options, Started};
use crate::device::gpu::ladder::Rung;
use crate::device::{Dtype, Kernels, Precision};
use crate::error::{Error, Kind, Result};
use half::{bf16, f16};

/// What tensor cores leave out when they add: they cut where f32 rounds, once for each step of the depth.
const CUTS: f64 = 3e-5;

/// Two convolutions in one: what the first gives is rounded before the second reads it, and not on the cpu.
const TWO: &str = "conv2d_conv2d_maxpool2d_forward";

/// The arrays that have the format of activations, by kernel; none of a kernel that knows f32 alone.
fn activations(kernel: &str) -> &'static [&'static str] {
    match kernel {
        "normalize" | "augment" => &["y"],
        "relu_forward" | "maxpool2d_forward" => &["x", "y"],
        "relu_backward" => &["y", "gradient"],
        "add" => &["x", "into"],
        "maxpool2d_backward" => &["dy", "mask", "dx"],
        "conv2d_forward" | "conv2d_maxpool2d_forward" => &["x", "weight", "y"],
        TWO => &["x", "first_weight", "weight", "y"],
        "conv2d_backward_input" => &["dy", "weight", "mask", "dx"],
        "conv2d_backward_weight" | "conv2d_rmsprop_step" => &["x", "dy"],
        "bias_backward" => &["dy"],
        _ => &[],
    }
}

/// The arrays that are factors of a product on tensor cores.
fn factors(kernel: &str) -> &'static [&'static str] {
    match kernel {
        "conv2d_backward_input" => &["dy", "weight"],
        TWO => &["x", "first_weight", "weight"],
        "conv2d_backward_weight" | "conv2d_rmsprop_step" => &["x", "dy"],
        "conv2d_forward" | "conv2d_maxpool2d_forward" | "dense_forward" => &["x", "weight"],
        _ => &[],
    }
}

/// Whether it is the gradient of a convolution's weights.
fn is_gradient(kernel: &str) -> bool {
    matches!(kernel, "conv2d_backward_weight" | "conv2d_rmsprop_step")
}

/// Who runs a kernel, and how.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    kernel: &'static str,
    pub rung: Option<Rung>,
    pub precision: Precision,
    kernels: Kernels,
}

impl Form {
    /// `kernel`, or the rung that stands in for it, as typed; a rung has numbers of its own.
    ///
    /// # Errors
    /// [`Kind::Usage`] for numbers or kernels that it does not have.
    pub fn new(
        kernel: &Kernel,
        rung: Option<Rung>,
        (precision, kernels): (Option<Precision>, Kernels),
    ) -> Result<Self> {
        let name = rung.map_or(kernel.name, |rung| rung.name);
        let own = rung.map(|rung| rung.precision);
        let form = Self {
            kernel: kernel.name,
            rung,
            precision: own.or(precision).unwrap_or_default(),
            // f32 as each sum is written, unless the other way is asked for.
            kernels: match (own.or(precision).unwrap_or_default(), kernels) {
                _ if rung.is_some() => Kernels::Portable,
                (Precision::F32, Kernels::Auto) => Kernels::Portable,
                _ => kernels,
            },
        };
        let refuse = |what: String, expected: &str, got: &dyn std::fmt::Display| {
            Err(Error::new(Kind::Usage, what).expected_got(expected, got).help("leave the option out"))
        };
        if let Some(own) = own {
            return match precision {
                Some(asked) if asked != own => refuse(
                    format!("{name} is a rung of the ladder, which has its own numbers"),
                    &format!("--precision {own}"),
                    &asked,
                ),
                _ if kernels != Kernels::Auto => {
                    refuse(format!("{name} is a rung of the ladder, one kernel"), "--kernels auto", &kernels)
                }
                _ => Ok(form),
            };
        }
        let multiplies = !factors(kernel.name).is_empty();
        let known = match form.precision {
            Precision::F32 => true,
            Precision::Tf32 | Precision::Tf32x3 => multiplies,
            Precision::Bf16 | Precision::F16 => !activations(kernel.name).is_empty(),
        };
        if !known {
            let more = if multiplies { "f32, tf32 or tf32x3" } else { "f32" };
            return refuse(format!("{name} has no kernel of {}", form.precision), more, &form.precision);
        }
        let lacks = match kernel.name {
            "dense_forward" => true,
            TWO => form.precision != Precision::Bf16,
            _ => !multiplies,
        };
        // Of Winograd's, which are f32's, the precision is judged with the device.
        let lacks = match kernels {
            Kernels::Sm90a => lacks,
            Kernels::Winograd => !kernel.name.starts_with("conv2d_"),
            _ => false,
        };
        if lacks {
            let what = format!("{name} has no kernel of {kernels} in {}", form.precision);
            return refuse(what, "--kernels auto or portable", &kernels);
        }
        Ok(form)
    }

    /// The kernel's own sizes; channels in as many as are taken at once.
    pub fn axes(&self, kernel: &Kernel) -> Vec<(&'static str, usize)> {
        let hoppers = self.kernels == Kernels::Sm90a;
        let winograd = self.kernels == Kernels::Winograd;
        let whole = self.rung.map_or(if hoppers { 64 } else { 1 }, |rung| rung.channels);
        // A tile of Hopper's gradient has 128 filters.
        let filters = if hoppers && is_gradient(self.kernel) { 128 } else { whole };
        let axis = |&(name, size): &(&'static str, usize)| match name {
            "c_in" if hoppers && self.kernel == TWO => (name, 3),
            "c_in" if winograd => (name, size.max(64)),
            "c_out" if winograd => (name, size.max(80)),
            "c_in" => (name, size.next_multiple_of(whole)),
            "c_out" => (name, size.next_multiple_of(filters)),
            _ => (name, size),
        };
        kernel.axes.iter().map(axis).collect()
    }

    /// The machine as a GPU that has it.
    pub fn options(&self, options: Options) -> Options {
        let needed = match (self.rung, self.kernels) {
            (Some(rung), _) => rung.capability(),
            (None, Kernels::Sm90a) => 90,
            (None, _) => self.precision.oldest(),
        };
        Options { capability: needed.max(options.capability), ..options }
    }

    /// The device on `driver` that runs it.
    ///
    /// # Errors
    /// Those of [`Gpu::new`], [`Gpu::on_rung`] and [`Gpu::with_kernels`].
    pub fn gpu<D: Driver + 'static>(&self, driver: D) -> Result<Gpu<D>> {
        match self.rung {
            Some(rung) => Gpu::on_rung(driver, rung),
            None => Gpu::new(driver)?.with_precision(self.precision).with_kernels(self.kernels),
        }
    }

    /// An array as it lies in memory. Factors are rounded to what tensor cores take of them before anybody sees them, so
    /// that what differs from the cpu is the kernel's.
    pub fn kept(&self, name: &str, numbers: Numbers) -> Numbers {
        let half = activations(self.kernel).contains(&name);
        match (numbers, self.precision) {
            (Numbers::F32(data), Precision::Bf16) if half => {
                Numbers::Bf16(data.into_iter().map(bf16::from_f32).collect())
            }
            (Numbers::F32(data), Precision::F16) if half => {
                Numbers::F16(data.into_iter().map(f16::from_f32).collect())
            }
            (Numbers::Unwritten(Dtype::F32, len), Precision::Bf16 | Precision::F16) if half => {
                Numbers::Unwritten(self.precision.activations(), len)
            }
            (Numbers::F32(data), Precision::Tf32) if factors(self.kernel).contains(&name) => {
                // Dense layers multiply as tf32x3 does.
                let round = |x: f32| f32::from_bits((x.to_bits() + 0x1000) & !0x1fff);
                let exact = self.kernel == "dense_forward";
                Numbers::F32(data.into_iter().map(|x| if exact { x } else { round(x) }).collect())
            }
            (other, _) => other,
        }
    }

    /// How far from the cpu's the result `array` may be, as a share of its largest number: what is kept in 16 bits is
    /// rounded once more, by half a unit in the last of its 8 or 11 places.
    pub fn tolerance(&self, kernel: &Kernel, array: &Array) -> f64 {
        let rounded = match self.precision {
            _ if !activations(self.kernel).contains(&array.name)
                || !matches!(array.fill, Fill::Signed | Fill::Positive | Fill::Unwritten(Dtype::F32)) =>
            {
                0.0
            }
            Precision::Bf16 => 2f64.powi(-8),
            Precision::F16 => 2f64.powi(-11),
            _ => 0.0,
        };
        let cores = !self.precision.is_f32() && !factors(self.kernel).is_empty();
        let between = match self.precision {
            _ if self.kernel != TWO => 0.0,
            Precision::F32 | Precision::Tf32x3 => 0.0,
            Precision::Bf16 => 2f64.powi(-8),
            Precision::Tf32 | Precision::F16 => 2f64.powi(-11),
        };
        kernel.tolerance + rounded + between + if cores { CUTS } else { 0.0 }
    }

    /// Whether it ran by the kernels that were asked for: some sizes have none of sm90a, or none of Winograd's.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it did not.
    pub fn ran(&self, started: &[Started]) -> Result<()> {
        // Two calls in one may run apart, one of them by Hopper's.
        let whole = self.kernel == TWO;
        let hoppers =
            |one: &Started| one.entry.contains("_sm90") && (!whole || one.entry.starts_with(self.kernel));
        let ran = match self.kernels {
            _ if self.rung.is_some() => true,
            Kernels::Sm90a => started.iter().any(hoppers),
            Kernels::Winograd => started.iter().any(|one| one.entry.contains("_winograd_")),
            Kernels::Auto | Kernels::Portable => true,
        };
        if ran {
            return Ok(());
        }
        let ran: Vec<&str> = started.iter().map(|one| one.entry).collect();
        let what = format!("{} has no kernel of {} for these sizes", self.kernel, self.kernels);
        Err(Error::new(Kind::Usage, what)
            .fact("numbers", self.precision)
            .expected_got(
                match self.kernel {
                    _ if self.kernels == Kernels::Winograd => {
                        "multiples of 16 with c_in·c_out above 32·(c_in + c_out), such as 64 and 80"
                    }
                    TWO => "3 channels and 64 filters",
                    _ => "channels and filters in multiples of 64, for the weights' gradient filters of 128",
                },
                format!("{} instead", ran.join(", ")),
            )
            .help("change c_in and c_out with --shape, or leave --kernels out"))
    }

    /// In words, where it is not f32 by the kernels of all GPUs.
    pub fn words(&self) -> String {
        match (self.precision, self.kernels) {
            (Precision::F32, Kernels::Winograd) => "; kernels winograd".to_owned(),
            (Precision::F32, _) => String::new(),
            (precision, Kernels::Sm90a) => format!("; {precision}, kernels sm90a"),
            (precision, _) => format!("; {precision}"),
        }
    }
}

/// The same numbers for a device that works in f32.
pub fn widened(numbers: &Numbers) -> Numbers {
    match numbers {
        Numbers::Bf16(data) => Numbers::F32(data.iter().map(|x| x.to_f32()).collect()),
        Numbers::F16(data) => Numbers::F32(data.iter().map(|x| x.to_f32()).collect()),
        // The one array of 16 bits that is so in f32 too is `cast`'s, which the cpu writes as well.
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernels::KERNELS;
    use super::*;
    use crate::device::gpu::module::MODULES;

    /// What has a kernel of 16 bits has arrays of 16 bits; or it is a product of f32 that tensor cores round.
    #[test]
    fn kernels_of_sixteen_bits_say_which_arrays_are() {
        let mut seen = 0;
        for kernel in KERNELS {
            let start = format!("{}_bf16", kernel.name);
            if MODULES.iter().flat_map(|module| module.entries).any(|entry| entry.name.starts_with(&start)) {
                let known = activations(kernel.name).len() + factors(kernel.name).len();
                assert!(known > 0, "{start} is an entry, and task::emulate::form knows none of its arrays");
                seen += 1;
            }
        }
        assert!(seen > 10, "{seen}");
    }
}
