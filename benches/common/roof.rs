//! The most that a device can do: what rates are compared with.
//!
//! `VGG_FT_BENCH_PEAK_GFLOPS` and `VGG_FT_BENCH_PEAK_GBYTES` say so for any device. Otherwise a GPU's figures
//! are those of the table behind `bench --plan`, and the cpu's are measured here: multiply-adds in registers
//! and a copy, on all threads. The emulator has no roof worth a name.

use super::report::precision;
use criterion::Throughput;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;
use vgg_ft::device::Device;
use vgg_ft::device::gpu::plan::Card;

/// Rates, per second; none where nobody knows.
#[derive(Clone, Copy, Debug)]
pub struct Roof {
    flops: Option<f64>,
    bytes: Option<f64>,
    /// Fewer bytes than this may stay in a cache between runs, of which a copy's rate says nothing.
    least: u64,
}

/// More than most processors' last cache. (On a GPU lines that are measured by the byte go round more bytes than its
/// second-level cache has: `line.rs`.)
const CACHES: u64 = 64 << 20;

impl Roof {
    /// The roof of `device`.
    pub fn of(device: &dyn Device) -> Self {
        let said = |name: &str| std::env::var(name).ok().map(|value| value.parse::<f64>().unwrap() * 1e9);
        let it = device.describe();
        let known = match it.name.split(':').next() {
            Some("cuda") => {
                let card = device.card();
                // Of what the precision is for; what stays f32 (a head's layers, optimizers) is far from it.
                let peak = |card: &Card| card.peak_of_convolutions(precision());
                Self { flops: card.map(peak), bytes: card.map(Card::copy), least: 0 }
            }
            Some("cpu") => Self { flops: cpu::flops(), bytes: Some(cpu::bytes()), least: CACHES },
            _ => Self { flops: None, bytes: None, least: 0 },
        };
        Self {
            flops: said("VGG_FT_BENCH_PEAK_GFLOPS").or(known.flops),
            bytes: said("VGG_FT_BENCH_PEAK_GBYTES").or(known.bytes),
            least: if std::env::var_os("VGG_FT_BENCH_PEAK_GBYTES").is_some() { 0 } else { known.least },
        }
    }

    /// The share of the roof that `work` in `seconds` reaches.
    pub fn share(&self, work: &Throughput, seconds: f64) -> Option<f64> {
        match work {
            Throughput::Elements(flop) => Some(*flop as f64 / seconds / self.flops?),
            Throughput::Bytes(bytes) if *bytes < self.least => None,
            Throughput::Bytes(bytes) => Some(*bytes as f64 / seconds / self.bytes?),
            _ => None,
        }
    }
}

mod cpu {
    use super::*;

    fn threads() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// The best of a few runs of `work` on all threads at once; it gives what one thread did.
    fn best(work: impl Fn() -> f64 + Sync) -> f64 {
        let once = || {
            let begin = Instant::now();
            let done: f64 = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads()).map(|_| scope.spawn(&work)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            done / begin.elapsed().as_secs_f64()
        };
        (0..5).map(|_| once()).fold(0.0, f64::max)
    }

    #[cfg(target_arch = "x86_64")]
    pub fn flops() -> Option<f64> {
        if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
            return None;
        }
        if vgg_ft::device::cpu::instructions().contains("AVX-512") {
            // SAFETY: the processor has what the function is compiled for: the cpu device asked it.
            return Some(best(|| unsafe { wide_multiply_adds() }));
        }
        // SAFETY: the processor has what the function is compiled for.
        Some(best(|| unsafe { multiply_adds() }))
    }

    #[cfg(target_arch = "aarch64")]
    pub fn flops() -> Option<f64> {
        Some(best(multiply_adds))
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn flops() -> Option<f64> {
        None
    }

    /// Sixteen chains hide the latency of four pipes; as wide as the cpu device's own kernels.
    #[cfg(target_arch = "aarch64")]
    fn multiply_adds() -> f64 {
        use std::arch::aarch64::{vdupq_n_f32, vfmaq_f32};
        const PASSES: usize = 10_000_000;
        // SAFETY: every aarch64 has the instructions.
        unsafe {
            let (a, b) = (black_box(vdupq_n_f32(0.999)), black_box(vdupq_n_f32(0.001)));
            let mut sums = [vdupq_n_f32(1.0); 16];
            for _ in 0..PASSES {
                for sum in &mut sums {
                    // The instruction writes over the addend.
                    *sum = vfmaq_f32(*sum, a, b);
                }
            }
            black_box(sums);
        }
        (PASSES * 16 * 4 * 2) as f64
    }

    /// Ten chains hide the latency of two pipes; as wide as the cpu device's own kernels.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn wide_multiply_adds() -> f64 {
        use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
        const PASSES: usize = 10_000_000;
        let (a, b) = (black_box(_mm512_set1_ps(0.999)), black_box(_mm512_set1_ps(0.001)));
        let mut sums = [_mm512_set1_ps(1.0); 10];
        for _ in 0..PASSES {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
        (PASSES * sums.len() * 16 * 2) as f64
    }

    /// The same of half the width.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_adds() -> f64 {
        use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
        const PASSES: usize = 10_000_000;
        let (a, b) = (black_box(_mm256_set1_ps(0.999)), black_box(_mm256_set1_ps(0.001)));
        let mut sums = [_mm256_set1_ps(1.0); 10];
        for _ in 0..PASSES {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
        (PASSES * sums.len() * 8 * 2) as f64
    }

    /// Bytes read and written by a copy that no cache holds. Starting threads, and a first touch of pages, are not timed.
    pub fn bytes() -> f64 {
        const LEN: usize = 64 << 20;
        const PASSES: usize = 8;
        let count = threads();
        let meeting = Barrier::new(count + 1);
        let copies = || {
            let (from, mut to) = (vec![1u8; LEN], vec![0u8; LEN]);
            to.copy_from_slice(&from);
            meeting.wait();
            for _ in 0..PASSES {
                to.copy_from_slice(black_box(&from));
                black_box(&to);
            }
            meeting.wait();
        };
        let once = || {
            std::thread::scope(|scope| {
                (0..count).for_each(|_| drop(scope.spawn(copies)));
                meeting.wait();
                let begin = Instant::now();
                meeting.wait();
                (2 * PASSES * LEN * count) as f64 / begin.elapsed().as_secs_f64()
            })
        };
        (0..5).map(|_| once()).fold(0.0, f64::max)
    }
}
