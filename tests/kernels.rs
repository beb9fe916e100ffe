//! Every call on every device against naive loops; and what every kernel owes besides its result.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::{cases, devices};
use vgg_ft::device::{Buffer, Device};
use vgg_ft::error::Kind;

fn fail_together(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// Outputs start as NaN where the device can do that, so an element that is not written fails;
/// downloads fail when something was written beside a buffer.
#[test]
fn every_call_agrees_with_naive_loops() {
    let mut failures = Vec::new();
    let cases = cases::all();
    for device in devices::all() {
        let device = &*device;
        for case in &cases {
            if let Some(miss) = case.check(device) {
                failures.push(format!("{}: {}: {miss}", devices::name(device), case.name(device)));
            }
        }
    }
    fail_together(&failures);
}

/// The table of names is read from the source, so a new call without a case is found.
#[test]
fn every_call_has_cases() {
    let source = include_str!("../src/device/call.rs");
    let names = source.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split("=> \"").nth(1));
    let device = &devices::cpus(&[1])[0];
    let cases = cases::all();
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(cases.iter().any(|case| case.call_name(&**device) == name), "{name} has no case");
    }
    assert!(count >= 19, "only {count} names were found in call.rs");
}

#[test]
fn the_cpu_gives_the_same_bits_with_any_number_of_threads() {
    let cpus = devices::cpus(&[1, 2, 3]);
    let mut failures = Vec::new();
    for case in cases::all() {
        let results: Vec<_> = cpus.iter().map(|cpu| case.results(&**cpu).unwrap()).collect();
        let bits = |at: usize| results[at].iter().map(|data| data.bits()).collect::<Vec<_>>();
        if bits(0) != bits(1) || bits(0) != bits(2) {
            failures.push(case.name(&*cpus[0]));
        }
    }
    fail_together(&failures);
}

/// Every buffer of every case, one element short, one too long, and of another type.
#[test]
fn wrong_buffers_are_refused_by_name() {
    let mut failures = Vec::new();
    for device in devices::all() {
        let device = &*device;
        for case in cases::all() {
            let count = case.inputs.len() + case.outputs.len();
            for (which, damage) in (0..count).flat_map(|which| (0..3).map(move |damage| (which, damage))) {
                if let Some(failure) = accepts(device, &case, which, damage) {
                    failures.push(failure);
                }
            }
        }
    }
    fail_together(&failures);
}

/// What is wrong with the answer to a damaged buffer, if anything.
fn accepts(device: &dyn Device, case: &support::run::Case, which: usize, damage: usize) -> Option<String> {
    let (mut inputs, mut outputs) = case.buffers(device);
    let name = (case.make)(&inputs, &mut outputs).name();
    let all = inputs.len();
    let buffer: &mut Buffer = if which < all { &mut inputs[which] } else { &mut outputs[which - all] };
    let blank = match buffer.dtype() {
        vgg_ft::device::Dtype::F32 => support::run::Data::F32(vec![0.0; buffer.len()]),
        vgg_ft::device::Dtype::U32 => support::run::Data::U32(vec![0; buffer.len()]),
        vgg_ft::device::Dtype::U8 => support::run::Data::U8(vec![0; buffer.len()]),
    };
    let wrong = [blank.resized(false), blank.resized(true), blank.retyped()][damage].upload(device);
    let what = format!("{name} {}: buffer {which} as {wrong:?}", case.title);
    *buffer = wrong;
    match device.run((case.make)(&inputs, &mut outputs)) {
        Ok(()) => Some(format!("{what} was accepted")),
        Err(error) if error.kind() != Kind::Device => Some(format!("{what}: {error:?}")),
        Err(error) if !error.message().starts_with(&format!("{name}: `")) => Some(format!("{what}: {error}")),
        Err(_) => None,
    }
}

/// A device that runs its calls later may find this out later; the cpu knows at once.
#[test]
fn a_label_that_is_no_class_is_refused() {
    for device in devices::cpus(&[1]) {
        let device = &*device;
        let logits = device.zeros(4).unwrap();
        let labels = device.upload(&[0u32, 2]).unwrap();
        let mut outcome = device.zeros(4).unwrap();
        let call = vgg_ft::device::Call::SoftmaxCrossEntropy {
            classes: 2,
            logits: &logits,
            labels: &labels,
            outcome: &mut outcome,
            dlogits: None,
        };
        let error = device.run(call).unwrap_err();
        assert!(error.message().contains("the label of row 1"), "{error}");
    }
}
