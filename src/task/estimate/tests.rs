//! What fits, what does not, and what is advised.

use super::*;
use crate::device::cpu::CpuDevice;
use crate::device::{Buffer, Call, Description, Device, Dtype};
use crate::model::{Head, Pooling, Variant};

/// The cpu, with so much memory of its own, and by name the kernels of a GPU.
struct Small(CpuDevice, u64, Option<(u32, Kernels, Precision)>);

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

    fn precision(&self) -> Precision {
        self.2.map_or(Precision::F32, |(_, _, precision)| precision)
    }

    fn kernels(&self) -> Option<(u32, Kernels)> {
        self.2.map(|(capability, kernels, _)| (capability, kernels))
    }
}

fn host(free: u64, card: Option<(u32, Kernels, Precision)>) -> Host {
    let device = Box::new(Small(CpuDevice::new(Some(1)).unwrap(), free, card));
    Host { device, reason: None, advice: None, json: false, quiet: true }
}

/// A GPU that runs the kernels of all.
const T4: Option<(u32, Kernels, Precision)> = Some((75, Kernels::Portable, Precision::F32));

fn vgg16(size: usize) -> Architecture {
    let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 };
    Architecture::vgg(Variant::Vgg16, [size, size]).unwrap().with_head(head).unwrap()
}

fn peak(job: &Estimate<'_>, host: &Host) -> u64 {
    job.need(&Place::of(host).unwrap().unwrap()).unwrap().memory.peak
}

#[test]
fn a_job_that_does_not_fit_is_refused_with_one_that_does() {
    let architecture = &vgg16(150);
    let boundary = architecture.position("block3_conv1").unwrap();
    // So many that training needs most, also of a smaller batch: validation does not go below 128.
    let training =
        Some(Learning { boundary, samples: [1000, 1000], augmented: false, keeps: Keeps::default() });
    let job = Estimate { architecture, batch: 128, images: 2000, training };
    job.check(&host(16 << 30, T4)).unwrap();
    let need = peak(&job, &host(0, T4));
    job.check(&host(need, T4)).unwrap();
    let error = job.check(&host(need - 1, T4)).unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Kind::Device, 1));
    let free = need / 4 * 3;
    let text = job.check(&host(free, T4)).unwrap_err().to_string();
    assert!(text.contains(&format!("{} of 16.0 GiB", gib(free))) && text.contains("weights 64."), "{text}");
    // What is advised fits, and a little more does not.
    let number = text.split("--batch ").nth(1).unwrap().split(',').next().unwrap();
    let batch: usize = number.split(' ').next().unwrap().parse().unwrap();
    assert!(peak(&Estimate { batch, ..job }, &host(0, T4)) <= free, "{text}");
    assert!(peak(&Estimate { batch: batch + 1, ..job }, &host(0, T4)) > free, "{text}");
    let text = job.check(&host(1 << 20, T4)).unwrap_err().to_string();
    assert!(text.contains("no batch and no --unfreeze-from fits"), "{text}");
}

#[test]
fn what_is_planned_are_the_kernels_of_the_card() {
    let architecture = &vgg16(150);
    let from = architecture.position("block3_conv1").unwrap();
    let training =
        Some(Learning { boundary: from, samples: [1000, 0], augmented: true, keeps: Keeps::default() });
    let job = Estimate { architecture, batch: 20, images: 0, training };
    let mut needs = Vec::new();
    for (capability, kernels, name) in
        [(80, Kernels::Portable, "a100"), (89, Kernels::Portable, "l4"), (90, Kernels::Sm90a, "h200")]
    {
        let host = host(0, Some((capability, kernels, Precision::Bf16)));
        let on = (Card::named(name).unwrap(), Precision::Bf16, kernels);
        let record = plan::training(on, architecture, 0, Trainable { from }, 20).unwrap();
        assert_eq!(peak(&job, &host), Memory::of(&record).peak, "{name}");
        needs.push(Memory::of(&record).peak);
    }
    // Or nothing here could fail.
    assert_ne!(needs[0], needs[2]);
}

#[test]
fn no_more_runs_at_once_than_there_is() {
    let architecture = &vgg16(224);
    let boundary = architecture.position("block3_conv1").unwrap();
    let of = |batch, images, samples| {
        let training = Some(Learning { boundary, samples, augmented: false, keeps: Keeps::default() });
        peak(&Estimate { architecture, batch, images, training }, &host(0, None))
    };
    assert_eq!(of(1 << 20, 30, [20, 10]), of(30, 30, [20, 10]));
    assert!(of(20, 30, [20, 10]) < of(30, 30, [20, 10]));
    // Activations are validated 128 at once, if there are as many.
    assert!(of(1, 1, [20, 10]) < of(1, 1, [20, 128]));
    assert_eq!(of(1, 1, [20, 128]), of(1, 1, [20, 4000]));
}

/// No kernel counts 20 maps of 4096x4096x64; the cpu could, and needs as much more as there are images.
#[test]
fn the_cpu_is_asked_about_what_no_kernel_counts() {
    let architecture = &Architecture::vgg(Variant::Vgg16, [4096, 4096]).unwrap();
    let of = |images, card| {
        let job = Estimate { architecture, batch: 1 << 20, images, training: None };
        job.check(&host(8 << 30, card))
    };
    let map = 4096u64 * 4096 * 64 * 4;
    for (images, needed) in [(1, map), (20, 20 * map), (1 << 20, map << 20)] {
        let job = Estimate { architecture, batch: 1 << 20, images, training: None };
        let peak = peak(&job, &host(0, None));
        // A map and the next, a quarter of it, the weights, and their points, at most four for each.
        let more = needed / 4 + 5 * 4 * architecture.parameters_from(0) + (1 << 20);
        assert!((needed..=needed + more).contains(&peak), "{images}: {peak}");
    }
    of(1, None).unwrap();
    let text = of(20, None).unwrap_err().to_string();
    assert!(text.contains("needed   at least 10") && text.contains("help: --batch 1 would fit"), "{text}");
    assert!(of(20, T4).unwrap_err().to_string().contains("is too large for one call"));
    // Neither do the weights of so wide a classifier fit a kernel: 2 TB of them.
    let head = Head { pooling: Pooling::Flatten, units: 65_536, dropout: 0.5, classes: 2 };
    let architecture = &architecture.clone().with_head(head).unwrap();
    let training = Some(Learning {
        boundary: architecture.base(),
        samples: [20, 0],
        augmented: false,
        keeps: Keeps::default(),
    });
    let job = Estimate { architecture, batch: 20, images: 0, training };
    let text = job.check(&host(1 << 40, None)).unwrap_err().to_string();
    assert!(text.contains("weights 2048.") && text.contains("optimizer 2048."), "{text}");
    assert!(text.contains("a machine with more"), "{text}");
}

/// AdamW keeps two numbers for each weight where RMSprop keeps one, accumulation adds the sums, and all rules but the plain
/// RMSprop have the gradients of a step side by side.
#[test]
fn what_a_rule_keeps_counts() {
    let architecture = &vgg16(150);
    let boundary = architecture.position("block3_conv1").unwrap();
    let need = |keeps| {
        let training = Some(Learning { boundary, samples: [1000, 0], augmented: true, keeps });
        peak(&Estimate { architecture, batch: 20, images: 0, training }, &host(0, T4))
    };
    let keeps = |states, batches| Keeps { states, batches };
    let learns = architecture.parameters_from(boundary);
    assert_eq!(need(keeps(2, 0)) - need(keeps(0, 0)), 8 * learns);
    // When the last gradient is there the activations are gone, so that it may cost less than all of them.
    let more = need(keeps(0, 1)) - need(keeps(0, 0));
    assert!(more > 2 * learns && more <= 4 * learns, "{more} for {learns} weights");
    // Sums lie there through the next batch, and each gradient comes beside its sum.
    let summed = need(keeps(0, 2)) - need(keeps(0, 0));
    assert!(summed > more && summed >= 4 * learns, "{summed} for {learns} weights");
    assert_eq!(need(keeps(0, 9)), need(keeps(0, 2)));
    let stage = |toml: &str| -> StageConfig {
        toml::from_str(&format!("name = \"a\"\nepochs = 1\nrate = 0.001\n{toml}")).unwrap()
    };
    for (toml, expected) in [
        ("", keeps(0, 0)),
        ("accumulate = 4", keeps(0, 4)),
        ("[optimizer]\nrule = \"adamw\"", keeps(1, 1)),
        ("[optimizer]\nrule = \"sgd\"", keeps(0, 1)),
        ("[optimizer]\nrule = \"sgd\"\nmomentum = 0.9", keeps(0, 1)),
        ("[optimizer]\nweight_decay = 0.01", keeps(0, 1)),
        ("[optimizer]\nepsilon_outside = true", keeps(0, 1)),
        ("accumulate = 2\n[optimizer]\ncentered = true\nmomentum = 0.9", keeps(2, 2)),
    ] {
        assert_eq!(Keeps::of(&[stage(toml)]), expected, "{toml}");
    }
    assert_eq!(Keeps::of(&[stage(""), stage("accumulate = 2")]), keeps(0, 2));
}
