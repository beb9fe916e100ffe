#![allow(clippy::unwrap_used)]
use std::time::Instant;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::{Call, Device};
use vgg_ft::shape::{Conv2d, Shape};
#[test]
fn speed() {
    for threads in [1, 2] {
        for (name, options) in [("fast", Options::fast()), ("checked", Options::default())] {
            let gpu = Gpu::new(Emulator::new(Options { threads: Some(threads), ..options }).unwrap()).unwrap();
            let d: &dyn Device = &gpu;
            let g = Conv2d::of(Shape::new(&[1, 32, 32, 64]), Shape::new(&[128, 3, 3, 64])).unwrap();
            let up = |n: usize| d.upload(&(0..n).map(|i| (i % 17) as f32 * 0.1).collect::<Vec<_>>()).unwrap();
            let (x, w, b) = (up(g.x().len()), up(g.weight().len()), up(128));
            let mut y = up(g.y().len());
            let mut best = f64::MAX;
            for _ in 0..5 {
                let t = Instant::now();
                d.run(Call::Conv2dForward { geometry: g, x: &x, weight: &w, bias: &b, relu: true, y: &mut y }).unwrap();
                best = best.min(t.elapsed().as_secs_f64());
            }
            let s = gpu.driver().take_statistics("conv2d_forward").unwrap();
            let (lanes, warps) = gpu.driver().look("conv2d_forward", |p, _| {
                let f = |n: fn(&vgg_ft::device::gpu::emulator::Ran) -> u64| -> u64 { p.blocks.iter().zip(&s.ran).map(|(b, r)| n(r) * (b.ops.len() as u64 + 1)).sum::<u64>() / 5 };
                (f(|r| r.lanes), f(|r| r.warps))
            }).unwrap();
            println!("{name} {threads}: {:.1} ms, {:.2} G lane-instr/s, {:.1} ns/warp-instr, {:.2} GMAC/s", best * 1e3, lanes as f64 / best / 1e9, best * 1e9 / warps as f64 * threads as f64, g.macs() as f64 / best / 1e9);
        }
    }
}
