//! tract and candle as workers of `benches/peers/cpu.py`: the base of VGG16 once for each line on stdin.
//!
//! `peers tract FILE.onnx SIDE BATCH` or `peers candle SIDE BATCH`. Answers with its name, then with seconds.

use candle_core::{Device, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Module};
use std::error::Error;
use std::io::BufRead;
use std::time::Instant;
use tract_onnx::prelude::*;

type Outcome<T> = Result<T, Box<dyn Error>>;
type Work = Box<dyn FnMut() -> Outcome<()>>;

/// Convolutions and outputs of each block; a pool behind each.
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

fn tract(file: &str, side: usize, batch: usize) -> Outcome<Work> {
    let threads = std::thread::available_parallelism()?.get();
    tract_linalg::multithread::set_default_executor(tract_linalg::multithread::Executor::multithread(threads));
    let shape = [batch, 3, side, side];
    let model = tract_onnx::onnx()
        .model_for_path(file)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let pixels = tract_ndarray::Array4::<f32>::from_elem((batch, 3, side, side), 0.5).into_tensor();
    Ok(Box::new(move || {
        model.run(tvec!(pixels.clone().into()))?;
        Ok(())
    }))
}

fn candle(side: usize, batch: usize) -> Outcome<Work> {
    let device = Device::Cpu;
    let mut layers = Vec::new();
    let mut c_in = 3;
    for (count, c_out) in BLOCKS {
        let mut block = Vec::new();
        for _ in 0..count {
            let deviation = (2.0 / (9 * c_in) as f64).sqrt();
            let weight = Tensor::randn(0f32, deviation as f32, (c_out, c_in, 3, 3), &device)?;
            let bias = Tensor::zeros(c_out, candle_core::DType::F32, &device)?;
            block.push(Conv2d::new(weight, Some(bias), Conv2dConfig { padding: 1, ..Default::default() }));
            c_in = c_out;
        }
        layers.push(block);
    }
    let pixels = Tensor::rand(0f32, 1f32, (batch, 3, side, side), &device)?;
    Ok(Box::new(move || {
        let mut x = pixels.clone();
        for block in &layers {
            for conv in block {
                x = conv.forward(&x)?.relu()?;
            }
            x = x.max_pool2d(2)?;
        }
        Ok(())
    }))
}

/// The most main memory that this process held, in bytes.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse::<u64>()? << 10)
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut work = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tract", file, side, batch] => tract(file, side.parse()?, batch.parse()?)?,
        ["candle", side, batch] => candle(side.parse()?, batch.parse()?)?,
        _ => return Err("usage: peers tract FILE.onnx SIDE BATCH | peers candle SIDE BATCH".into()),
    };
    println!("{}", arguments[0]);
    for line in std::io::stdin().lock().lines() {
        if line? == "memory" {
            println!("{}", peak()?);
            continue;
        }
        let begin = Instant::now();
        work()?;
        println!("{}", begin.elapsed().as_secs_f64());
    }
    Ok(())
}
