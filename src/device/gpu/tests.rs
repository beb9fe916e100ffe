//! The device on a driver that runs nothing: what is loaded, kept, given back, refused.

use super::driver::Address;
use super::emulator::{Emulator, Options};
use super::ladder;
use super::launch::{Arg, Launch};
use super::module::{Entry, MODULES, Module, Param, find};
use super::plan::{Card, Plan};
use super::*;
use crate::device::Cost;
use crate::device::call::LossRule;
use crate::error::Kind;

fn gpu() -> Gpu<Plan> {
    Gpu::new(Plan::new(Card::named("rtx4090").unwrap())).unwrap()
}

fn call_names() -> Vec<&'static str> {
    let source = include_str!("../call/name.rs");
    source.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split("=> \"").nth(1)).collect()
}

#[test]
fn every_call_has_an_entry_and_every_entry_a_call() {
    let names = call_names();
    // As many as there are calls: tests/house.rs.
    assert!(names.len() >= 31, "only {names:?} were found in call/name.rs");
    for name in &names {
        // One begins as another does and ends in its own way.
        let entry = find(name, 75).or_else(|| find(&format!("{name}_reduce"), 75));
        // Two calls in one, which is one kernel on one kind of GPU.
        let special = format!("{name}_sm90_");
        let of_one = MODULES.iter().flat_map(|module| module.entries).any(|e| e.name.starts_with(&special));
        assert!(entry.is_some() || of_one, "no kernel has the name {name}");
    }
    // The ladder's are for people.
    for entry in MODULES.iter().filter(|module| !ladder::teaches(module)).flat_map(|module| module.entries) {
        // Products, and the transforms before and behind them, which no call is called after.
        if let Some(step) = entry.name.strip_prefix("conv2d_winograd_") {
            let transforms = ["_f4x4", "_f3x3"].iter().any(|form| step.ends_with(form));
            assert!(transforms || names.contains(&&*format!("conv2d_{step}")), "{}", entry.name);
            continue;
        }
        // What follows a kernel that shares a sum; what `augment` must know before.
        let part = ["_reduce", "_range"].iter().find_map(|end| entry.name.strip_suffix(end));
        let call = part.unwrap_or(entry.name);
        // The same in other numbers, and in what tiles.
        let call = ["_sm90", "_bf16", "_f16", "_tf32"]
            .iter()
            .find_map(|form| Some(call.split_once(form)?.0))
            .unwrap_or(call);
        let call = call.trim_end_matches("_parts");
        assert!(names.contains(&call), "{} belongs to no call", entry.name);
    }
}

#[test]
fn all_modules_are_loaded_and_all_memory_comes_back() {
    let gpu = gpu();
    // Those of one GPU alone, and of tensor cores, are loaded when they are asked for.
    let ours = MODULES.iter().filter(|module| !ladder::teaches(module) && !module.is_special());
    let ours = ours.filter(|module| module.precision().is_none());
    let mut ours: Vec<_> = ours.map(|module| module.name).collect();
    // Once, in the newest text that the GPU reads.
    ours.dedup();
    assert_eq!(gpu.driver().modules(), ours);
    let device: &dyn Device = &gpu;
    let held = || gpu.driver().held();
    assert_eq!(held(), 1, "the word for faults");
    let (rows, channels) = (5000, 3);
    let dy = device.zeros(rows * channels).unwrap();
    let mut dbias = device.alloc(Dtype::F32, channels).unwrap();
    assert_eq!(held(), 3);
    device.run(Call::BiasBackward { rows, channels, dy: &dy, dbias: &mut dbias }).unwrap();
    assert_eq!(held(), 3, "the parts were given back");
    assert_eq!(gpu.driver().take().launches().count(), 2);
    let nothing = device.zeros(0).unwrap();
    assert_eq!(device.download::<f32>(&nothing).unwrap(), [0.0; 0]);
    assert_eq!(held(), 3, "nothing takes no memory");
    assert_eq!(device.download::<f32>(&dy).unwrap(), vec![0.0; rows * channels]);
    drop((dy, dbias, nothing));
    assert_eq!(held(), 1);
}

#[test]
fn buffers_of_another_device_are_refused() {
    let (here, there) = (gpu(), gpu());
    let (here, there): (&dyn Device, &dyn Device) = (&here, &there);
    let x = there.zeros(4).unwrap();
    let mut y = here.zeros(4).unwrap();
    let error = here.run(Call::ReluForward { x: &x, y: &mut y }).unwrap_err();
    assert!(error.to_string().contains("while opening `x` of relu_forward"), "{error}");
    assert_eq!(here.download::<f32>(&x).unwrap_err().kind(), Kind::Device);
    let error = here.alloc(Dtype::F32, usize::MAX / 4).unwrap_err();
    assert!(error.to_string().contains("asked for"), "{error}");
}

#[test]
fn a_label_that_is_no_class_is_found_at_the_next_wait() {
    let gpu = gpu();
    let device: &dyn Device = &gpu;
    let logits = device.zeros(4).unwrap();
    let labels = device.upload(&[0u32, 2]).unwrap();
    let mut outcome = device.zeros(4).unwrap();
    let mut step = || {
        let (logits, labels, outcome) = (&logits, &labels, &mut outcome);
        let (rule, weights) = (LossRule::mean(2), None);
        device.run(Call::SoftmaxCrossEntropy {
            rule,
            classes: 2,
            logits,
            labels,
            weights,
            outcome,
            dlogits: None,
        })
    };
    step().unwrap();
    device.synchronize().unwrap();
    step().unwrap();
    // What the kernel does.
    gpu.driver().write(gpu.fault.at(), bytemuck::bytes_of(&[1, u32::MAX])).unwrap();
    let error = device.synchronize().unwrap_err();
    assert_eq!(error.message(), "softmax_cross_entropy: the label of row 1 is not a class");
    step().unwrap();
    device.download::<u32>(&labels).unwrap();
}

static ENTRY: Entry = Entry {
    name: "kernel",
    params: &[Param { size: 20, align: 4 }, Param { size: 8, align: 8 }],
    max_threads: Some(256),
    static_shared: 4096,
    awaits: false,
};

fn good() -> Launch {
    let p = Arg::Value { name: "p", bytes: vec![0; 20] };
    let x = Arg::Pointer { name: "x", at: Address(256), dtype: Dtype::F32, len: 5 };
    Launch {
        entry: &ENTRY,
        grid: [9, 1, 1],
        block: [256, 1, 1],
        shared: 0,
        args: vec![p, x],
        cost: Cost::default(),
        compulsory: 0,
    }
}

#[test]
fn a_launch_that_fits_neither_kernel_nor_device_is_refused_with_both_numbers() {
    let limits = Card::named("rtx4090").unwrap().limits();
    good().check(&limits).unwrap();
    let pointer = |at, len| Arg::Pointer { name: "x", at: Address(at), dtype: Dtype::F32, len };
    let value = |bytes| Arg::Value { name: "v", bytes: vec![0; bytes] };
    type Damage<'a> = &'a dyn Fn(&mut Launch);
    let cases: &[(Damage<'_>, &str, &str, &str)] = &[
        (&|l| drop(l.args.pop()), "the number of arguments", "2", "1 (p)"),
        (&|l| l.args[0] = value(24), "the size of `v`", "20 bytes", "24"),
        (&|l| l.args[1] = value(4), "the size of `v`", "8 bytes", "4"),
        (&|l| l.args.swap(0, 1), "the size of `x`", "20 bytes", "8"),
        (&|l| l.args[1] = pointer(0, 5), "the address of `x`", "the place of 5 elements", "0"),
        (&|l| l.args[1] = pointer(0x104, 5), "the address of `x`", "a multiple of 16", "0x104"),
        (&|l| l.grid[0] = 0, "the grid's x is out of range", "1 to 2147483647", "0"),
        (&|l| l.grid[1] = 65_536, "the grid's y is out of range", "1 to 65535", "65536"),
        (&|l| l.block[2] = 65, "the block's z is out of range", "1 to 64", "65"),
        (&|l| l.block[1] = 5, "a block has too many threads for the device", "at most 1024", "1280"),
        (&|l| l.block[1] = 2, "a block has more threads than the kernel was compiled for", "256", "512"),
        (&|l| l.shared = 98 << 10, "a block asks for too much shared memory", "at most 101376", "104448"),
    ];
    for (damage, what, expected, got) in cases {
        let mut launch = good();
        damage(&mut launch);
        let error = launch.check(&limits).unwrap_err();
        assert_eq!(error.message(), format!("kernel: {what}"));
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(&format!("got       {got}")), "{text}");
    }
    let mut launch = good();
    launch.args[1] = Arg::nothing("x", Dtype::U8);
    launch.check(&limits).unwrap();

    static WIDE: Entry =
        Entry { params: &[Param { size: 8, align: 4 }], static_shared: 49_153, max_threads: None, ..ENTRY };
    let mut launch = Launch { entry: &WIDE, args: vec![pointer(256, 5)], ..good() };
    assert_eq!(launch.check(&limits).unwrap_err().message(), "kernel: the kind of `x`");
    launch.args = vec![value(8)];
    let error = launch.check(&limits).unwrap_err();
    assert_eq!(error.message(), "kernel: the kernel declares too much shared memory");
}

/// A text is read when one of its kernels is first launched: here all are, for every target.
#[test]
fn every_kernel_that_ships_becomes_a_program() {
    for module in MODULES {
        let emulator = Emulator::new(Options::default()).unwrap();
        let names = emulator.load_text(module.name, module.text).unwrap();
        assert_eq!(names, module.entries.iter().map(|entry| entry.name).collect::<Vec<_>>());
    }
}

/// Nothing of a text is looked at before one of its kernels is asked for; then what is wrong has a file and a line, each
/// time. To say again that a module is there changes nothing.
#[test]
fn a_text_that_cannot_be_read_stops_its_kernels_and_no_other() {
    let (good, _) = find("relu_forward", 75).unwrap();
    let damaged = Module { name: "damaged", text: "no PTX", ..*good };
    let emulator = Emulator::new(Options::default()).unwrap();
    emulator.load(&damaged).unwrap();
    for _ in 0..2 {
        let error = emulator.look("relu_forward", |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("kernels/ptx/damaged.sm_75.ptx"), "{error}");
    }
    assert!(emulator.look("no such kernel", |_, _| ()).unwrap_err().to_string().contains("no such kernel"));
    let emulator = Emulator::new(Options::default()).unwrap();
    for _ in 0..2 {
        emulator.load(good).unwrap();
        emulator.look("relu_forward", |_, _| ()).unwrap();
    }
}
