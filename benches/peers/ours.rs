//! Our side of `benches/peers/cpu.py`: does one piece of work for each line on stdin and answers with its seconds.
//!
//! Not a bench of its own: without `--worker` it says so and ends, so that `cargo bench` passes over it.

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/vgg16.rs"]
mod vgg16;

use std::io::BufRead;
use std::time::Instant;
use vgg_ft::device::Device;
use vgg_ft::device::cpu::CpuDevice;
use vgg16::{BATCH, forward, step};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == "--worker") else {
        println!("a worker of benches/peers/cpu.py; nothing to do");
        return;
    };
    let device = CpuDevice::new(None).unwrap();
    let mut run: Box<dyn FnMut() + '_> = match arguments[at + 1].as_str() {
        "forward-150-b20" => Box::new(forward(&device, BATCH, 150, true)),
        "forward-224-b1" => Box::new(forward(&device, 1, 224, true)),
        "step-dense" => Box::new(step(&device, "dense")),
        "step-block5_conv1" => Box::new(step(&device, "block5_conv1")),
        "step-block3_conv1" => Box::new(step(&device, "block3_conv1")),
        other => panic!("{other}: no work of ours"),
    };
    println!("vgg-ft {} ({})", env!("CARGO_PKG_VERSION"), device.describe().hardware);
    for line in std::io::stdin().lock().lines() {
        if line.unwrap() == "memory" {
            println!("{}", peak());
            continue;
        }
        let begin = Instant::now();
        run();
        println!("{}", begin.elapsed().as_secs_f64());
    }
}

/// The most main memory that this process held, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
