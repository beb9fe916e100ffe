//! `devices`: what this computer offers to compute on, and why not more.

use super::Host;
use crate::device::cpu::CpuDevice;
use crate::device::gpu::cuda::{self, Card, Version};
use crate::device::gpu::driver::Driver;
use crate::device::gpu::emulator::{Emulator, Options};
use crate::device::{Description, Device, Precision};
use crate::error::{Error, Result};
use serde::Serialize;

/// One line of the table.
#[derive(Default, Serialize)]
struct Row {
    /// What `--device` takes.
    name: String,
    /// Whether it can be used.
    available: bool,
    /// The hardware in words; nothing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    hardware: Option<String>,
    /// Why it cannot be used, with what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What `--precision` takes there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    precisions: Vec<Precision>,
    /// Of a GPU, "9.0".
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<String>,
    /// Of a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// The newest CUDA that the GPU's driver knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
}

/// What there is, GPUs first.
#[derive(Serialize)]
struct Offer {
    /// What `--device auto` takes.
    auto: String,
    devices: Vec<Row>,
}

/// Prints the table.
///
/// # Errors
/// [`Kind::Device`](crate::error::Kind::Device) when the system gives no threads; a GPU or a driver that
/// is missing is a line of the table.
pub fn devices(host: &Host, threads: Option<usize>) -> Result<()> {
    let mut devices = match cuda::find() {
        Ok(found) => found.cards.iter().map(|card| Row::card(card, found.driver)).collect(),
        Err(error) => vec![Row::missing("cuda".into(), &error)],
    };
    let emulator = Emulator::new(Options { threads, ..Options::fast() })?;
    devices.push(Row { precisions: vec![Precision::F32], ..Row::ready(CpuDevice::new(threads)?.describe()) });
    devices.push(Row {
        precisions: precisions(emulator.limits().capability),
        ..Row::ready(emulator.describe())
    });
    let auto = devices.iter().find(|row| row.available).map_or_else(String::new, |row| row.name.clone());
    let offer = Offer { auto, devices };
    host.result(&offer.text(), &offer)
}

/// Of a GPU of this compute capability.
fn precisions(capability: u32) -> Vec<Precision> {
    Precision::ALL.into_iter().filter(|precision| precision.runs_on(capability)).collect()
}

impl Row {
    fn ready(Description { name, hardware }: Description) -> Self {
        Self { name, available: true, hardware: Some(hardware), ..Self::default() }
    }

    fn missing(name: String, error: &Error) -> Self {
        Self { name, reason: Some(error.to_string()), ..Self::default() }
    }

    fn card(card: &Card, driver: Version) -> Self {
        let description = card.describe(driver);
        let row = match card.too_old() {
            Some(error) => {
                Self { hardware: Some(description.hardware), ..Self::missing(description.name, &error) }
            }
            None => Self { precisions: precisions(card.limits.capability), ..Self::ready(description) },
        };
        Self {
            capability: Some(card.capability().to_string()),
            memory_bytes: Some(card.memory),
            driver: Some(driver.to_string()),
            ..row
        }
    }
}

impl Offer {
    /// For a person: what can be used with its hardware, the rest with the reason.
    fn text(&self) -> String {
        let width = self.devices.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut out = String::new();
        for row in &self.devices {
            let note = if row.name == self.auto { "   (--device auto)" } else { "" };
            let facts =
                [&row.hardware, &row.reason].into_iter().flatten().map(String::as_str).collect::<Vec<_>>();
            let facts = facts.join("\n").replace('\n', &format!("\n{:width$}   ", ""));
            let mark = if row.available { "+" } else { "-" };
            out.push_str(&format!("{mark} {:width$} {facts}{note}\n", row.name));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn what_is_missing_says_why_below_its_name() {
        let ready = |name: &str, hardware: &str| {
            Row::ready(Description { name: name.into(), hardware: hardware.into() })
        };
        let error = Error::new(Kind::Device, "no driver").help("get one");
        let offer = Offer {
            auto: "cpu".into(),
            devices: vec![
                Row::missing("cuda".into(), &error),
                ready("cpu", "2 threads"),
                ready("emulator", "slow"),
            ],
        };
        assert_eq!(
            offer.text(),
            "- cuda     no driver\n             help: get one\n+ cpu      2 threads   (--device auto)\n+ emulator slow\n"
        );
    }
}
