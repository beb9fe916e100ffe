//! Whether a training fits into the device's memory, asked before anything is done.
//!
//! In: the architecture and what is to learn. Out: one line that says what is needed, or an error that says
//! what takes the memory and which smaller job would fit. Every number comes from the planning driver, on
//! which the job's steps are run.

use super::Host;
use crate::device::gpu::plan::{CARDS, KINDS, Memory, Record};
use crate::device::{Capacity, Kernels, Precision};
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Layer, Trainable};
use crate::report::plan::gib;
use crate::train::{EVALUATION_BATCH, plan};

/// A training as far as memory is concerned.
#[derive(Clone, Copy)]
pub(super) struct Estimate<'a> {
    pub architecture: &'a Architecture,
    /// The first layer that learns, at which samples enter; for the classifier alone, its first.
    pub boundary: usize,
    pub batch: usize,
    /// Whether pictures go through the base too: into features, and for the test.
    pub pictures: bool,
    /// Whether training samples enter as pictures, whatever is frozen.
    pub augmented: bool,
}

/// The greediest part of a job.
struct Need {
    doing: String,
    memory: Memory,
}

impl Estimate<'_> {
    /// Says what is needed, if the device has memory of its own.
    ///
    /// # Errors
    /// [`Kind::Device`] when it does not fit.
    pub fn check(&self, host: &Host) -> Result<()> {
        let Some(Capacity { free, total }) = host.device.memory()? else { return Ok(()) };
        let precision = host.device.precision();
        let need = self.need(precision)?;
        if need.memory.peak <= free {
            host.say(format_args!("memory     needs {} of {}", gib(need.memory.peak), gib(free)));
            return Ok(());
        }
        let parts: Vec<String> = KINDS
            .iter()
            .map(|&(kind, name)| (name, need.memory.of_kind(kind)))
            .filter(|&(_, bytes)| bytes > 0)
            .map(|(name, bytes)| format!("{name} {}", gib(bytes)))
            .collect();
        Err(Error::new(Kind::Device, "this job does not fit into the device's memory")
            .fact("needed", format!("{} for {}", gib(need.memory.peak), need.doing))
            .fact("of that", parts.join(", "))
            .fact("free", format!("{} of {}", gib(free), gib(total)))
            .help(self.advice(free, precision)))
    }

    /// The part that needs most.
    fn need(&self, precision: Precision) -> Result<Need> {
        let (net, batch) = (self.architecture, self.batch);
        let (base, end) = (net.base(), net.layers().len());
        // The card decides speed; what is allocated is the same on all.
        let on = (&CARDS[0], precision, Kernels::Auto);
        let enters = |from: usize| if self.augmented { 0 } else { from };
        let train = |from: usize| plan::training(on, net, enters(from), Trainable { from }, batch);
        let run = |from: usize, to: usize, batch: usize| plan::inference(on, net, from..to, batch);
        let many = batch.max(EVALUATION_BATCH);
        let mut records: Vec<(String, Record)> = vec![
            ("training the classifier".into(), train(base)?),
            ("validation".into(), run(base, end, many)?),
        ];
        if self.pictures {
            records.push(("running pictures".into(), run(0, end, batch)?));
        }
        if self.boundary < base {
            let name = &net.layers()[self.boundary].name;
            records.push((format!("training from {name} on"), train(self.boundary)?));
            // Pictures are evaluated as they are trained, activations many at once.
            let checked = if self.boundary == 0 { batch } else { many };
            records.push((format!("validation from {name} on"), run(self.boundary, end, checked)?));
        }
        let needs = records.into_iter().map(|(doing, record)| Need { doing, memory: Memory::of(&record) });
        let most = needs.max_by_key(|need| need.memory.peak);
        Ok(most.unwrap_or_else(|| Need { doing: "nothing".into(), memory: Memory::default() }))
    }

    /// What would fit: the largest batch, and the lowest boundary above this one.
    fn advice(&self, free: u64, precision: Precision) -> String {
        let fits = |estimate: &Self| estimate.need(precision).is_ok_and(|need| need.memory.peak <= free);
        let mut ways = Vec::new();
        // `low` fits or is 0, `high` does not fit.
        let (mut low, mut high) = (0, self.batch);
        while high - low > 1 {
            let batch = low + (high - low) / 2;
            if fits(&Self { batch, ..*self }) {
                low = batch;
            } else {
                high = batch;
            }
        }
        if low > 0 {
            ways.push(format!("--batch {low}"));
        }
        let layers = self.architecture.layers();
        let later = (self.boundary + 1..self.architecture.base())
            .filter(|&at| matches!(layers[at].layer, Layer::Conv2d { .. }))
            .find(|&boundary| fits(&Self { boundary, ..*self }));
        if let Some(boundary) = later {
            ways.push(format!("--unfreeze-from {}", layers[boundary].name));
        }
        if ways.is_empty() {
            return "no batch and no --unfreeze-from fits; use smaller pictures (--size), another device \
                    (--device cpu), or end what else holds the memory"
                .into();
        }
        format!("{} would fit", ways.join(", or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::CpuDevice;
    use crate::device::{Buffer, Call, Description, Device, Dtype};
    use crate::model::{Head, Variant};

    /// The cpu, with so much memory of its own.
    struct Small(CpuDevice, u64);

    impl Device for Small {
        fn describe(&self) -> Description {
            self.0.describe()
        }

        fn alloc(&self, _: Dtype, _: usize) -> Result<Buffer> {
            panic!("something was allocated before the estimate");
        }

        fn upload_bytes(&self, from: &[u8], to: &mut Buffer) -> Result<()> {
            self.0.upload_bytes(from, to)
        }

        fn download_bytes(&self, from: &Buffer, to: &mut [u8]) -> Result<()> {
            self.0.download_bytes(from, to)
        }

        fn run(&self, call: Call<'_>) -> Result<()> {
            self.0.run(call)
        }

        fn synchronize(&self) -> Result<()> {
            self.0.synchronize()
        }

        fn memory(&self) -> Result<Option<Capacity>> {
            Ok(Some(Capacity { free: self.1, total: 16 << 30 }))
        }
    }

    fn host(free: u64) -> Host {
        let device = Box::new(Small(CpuDevice::new(Some(1)).unwrap(), free));
        Host { device, reason: None, json: false, quiet: true }
    }

    #[test]
    fn a_job_that_does_not_fit_is_refused_with_one_that_does() {
        let head = Head { units: 256, dropout: 0.5, classes: 2 };
        let architecture = &Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap().with_head(head).unwrap();
        let boundary = architecture.position("block3_conv1").unwrap();
        // So many that training needs most, also of a smaller batch: validation does not go below 128.
        let job = Estimate { architecture, boundary, batch: 128, pictures: true, augmented: false };
        job.check(&host(16 << 30)).unwrap();
        let need = job.need(Precision::F32).unwrap().memory.peak;
        job.check(&host(need)).unwrap();
        let error = job.check(&host(need - 1)).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (Kind::Device, 1));
        let free = need / 4 * 3;
        let text = job.check(&host(free)).unwrap_err().to_string();
        assert!(
            text.contains(&format!("{} of 16.0 GiB", gib(free))) && text.contains("weights 64."),
            "{text}"
        );
        // What is advised fits, and a little more does not.
        let number = text.split("--batch ").nth(1).unwrap().split(',').next().unwrap();
        let batch: usize = number.split(' ').next().unwrap().parse().unwrap();
        assert!(Estimate { batch, ..job }.need(Precision::F32).unwrap().memory.peak <= free, "{text}");
        assert!(
            Estimate { batch: batch + 1, ..job }.need(Precision::F32).unwrap().memory.peak > free,
            "{text}"
        );
        let text = job.check(&host(1 << 20)).unwrap_err().to_string();
        assert!(text.contains("no batch and no --unfreeze-from fits"), "{text}");
    }
}
