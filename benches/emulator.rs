//! How fast the emulator is: lane-instructions per second of the tiled fp32 convolution, the loop in
//! which whole models spend their time. `cargo bench --bench emulator`.
#![allow(clippy::unwrap_used)] // a bench that cannot go on should say where

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::{Call, Device};
use vgg_ft::shape::{Conv2d, Shape};

/// Instructions of all lanes in one launch.
fn lane_instructions(gpu: &Gpu<Emulator>, entry: &str) -> u64 {
    let statistics = gpu.driver().take_statistics(entry).unwrap();
    let sum = |program: &vgg_ft::ptx::Program| -> u64 {
        let blocks = program.blocks.iter().zip(&statistics.ran);
        blocks.map(|(block, ran)| ran.lanes * (block.ops.len() as u64 + 1)).sum()
    };
    gpu.driver().look(entry, |program, _| sum(program)).unwrap()
}

fn conv2d_forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("emulator_conv2d_forward");
    group.sample_size(20);
    let geometry = Conv2d::of(Shape::new(&[1, 32, 32, 64]), Shape::new(&[128, 3, 3, 64])).unwrap();
    for threads in [1, 2] {
        for (name, options) in [("fast", Options::fast()), ("checked", Options::default())] {
            let options = Options { threads: Some(threads), ..options };
            let gpu = Gpu::new(Emulator::new(options).unwrap()).unwrap();
            let device: &dyn Device = &gpu;
            let up = |len: usize| {
                device.upload(&(0..len).map(|i| (i % 17) as f32 * 0.1).collect::<Vec<_>>()).unwrap()
            };
            let (x, weight, bias) = (up(geometry.x().len()), up(geometry.weight().len()), up(128));
            let mut y = up(geometry.y().len());
            let mut run = || {
                let call = Call::Conv2dForward {
                    geometry,
                    x: &x,
                    weight: &weight,
                    bias: &bias,
                    relu: true,
                    y: &mut y,
                };
                device.run(call).unwrap();
            };
            run();
            group.throughput(Throughput::Elements(lane_instructions(&gpu, "conv2d_forward")));
            group.bench_function(format!("{name}/{threads}"), |b| b.iter(&mut run));
        }
    }
    group.finish();
}

criterion_group!(benches, conv2d_forward);
criterion_main!(benches);
