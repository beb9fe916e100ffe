//! Optimizers: how tensors are dealt out to blocks and launches, and that checks reach through the struct.

use super::{Bench, check_all, words};
use crate::device::call::{Adamw, Adjust, ParameterUpdate, Sgd};
use crate::device::gpu::driver::{Address, Driver};
use crate::device::gpu::emulator::{Emulator, Options};
use crate::device::gpu::launch::{Arg, Held, Launch};
use crate::device::gpu::lower::{Site, lower};
use crate::device::gpu::module;
use crate::device::gpu::params::Tensors;
use crate::device::gpu::storage::Storage;
use crate::device::{Buffer, Call, Dtype, Kernels, Precision};
use std::sync::Arc;

fn tensors(launch: &Launch) -> (Tensors, &[Held]) {
    let Some(Arg::Table { bytes, operands, .. }) = launch.args.first() else { panic!("no table") };
    (bytemuck::pod_read_unaligned(bytes), operands)
}

/// Blocks of 1024 elements are dealt out to the tensors in order, to each as many as it needs.
pub fn check_tensors(launch: &Launch) {
    assert_eq!(Some(launch.block[0]), launch.entry.max_threads, "{}", launch.entry.name);
    let (p, operands) = tensors(launch);
    let count = p.first.iter().filter(|&&first| first != u32::MAX).count();
    let mut block = 0;
    for k in 0..count {
        assert_eq!(p.first[k], block, "tensor {k}");
        block += p.len[k].div_ceil(1024);
        assert!(p.gradient[k] != 0 && p.weight[k] != 0 && p.len[k] > 0, "tensor {k}");
    }
    assert!(p.first[count..].iter().all(|&first| first == u32::MAX), "a gap");
    assert_eq!(launch.grid, [block, 1, 1]);
    assert_eq!(operands.iter().filter(|held| held.name.starts_with("weight[")).count(), count);
}

pub fn slot<'a>(
    gradient: &'a Buffer,
    weight: &'a mut Buffer,
    velocity: Option<&'a mut Buffer>,
    momentum: Option<&'a mut Buffer>,
) -> ParameterUpdate<'a> {
    ParameterUpdate { gradient, weight, velocity, momentum, mean: None, shadow: None }
}

#[test]
fn many_tensors_share_a_launch_and_more_take_another() {
    let bench = Bench::new();
    let adjust = Adjust { scale: 0.5, l2: 0.25, decay: 0.125 };
    for (count, launches) in [(1, 1), (32, 1), (64, 1), (65, 2), (200, 4)] {
        let buffers = || -> Vec<Buffer> { (0..count).map(|k| bench.f32(300 * k + 1)).collect() };
        let (gradients, mut weights, mut velocities, mut momenta) =
            (buffers(), buffers(), buffers(), buffers());
        let tensors = gradients.iter().zip(&mut weights).zip(velocities.iter_mut().zip(&mut momenta));
        let tensors = tensors.map(|((g, w), (v, m))| slot(g, w, Some(v), Some(m))).collect();
        let rule = Adamw { rate: 2.0, beta_1: 0.5, beta_2: 0.75, epsilon: 1.0, corrected: true };
        let all = bench.run(Call::AdamwStep { rule, step: 2, adjust, scaling: None, tensors });
        check_all(&all, &vec!["adamw_step"; launches]);
        let held: Vec<_> = all.iter().flat_map(|launch| tensors_of(launch, "momentum")).collect();
        assert_eq!(held, (0..count).map(|k| format!("momentum[{k}]")).collect::<Vec<_>>());
        let bits = |x: f32| x.to_bits() as usize;
        // 1 - 0.5² = 0.75, 1 - 0.75² = 0.4375, whose root is 0.6614378.
        let root = 0.437_5f64.sqrt();
        let rule = [(2.0 * root / 0.75) as f32, 0.5, 0.25, root as f32];
        assert_eq!(words(&all[0], "rule"), rule.map(bits));
        assert_eq!(words(&all[0], "adjust"), [0.5, 0.25, 0.125, 2.0].map(bits));
    }
}

fn tensors_of(launch: &Launch, state: &str) -> Vec<String> {
    let names = tensors(launch).1.iter().map(|held| held.name.clone());
    names.filter(|name| name.starts_with(state)).collect()
}

/// The machine's checks reach through the struct: bounds, what nobody wrote, and a name for each buffer.
/// A kernel takes 4096 bytes (CUDA C++ Programming Guide, "__global__ Function Parameters"; more since CUDA 12.1
/// alone).
#[test]
fn tables_fit_into_a_kernels_parameters() {
    for entry in ["rmsprop_step", "sgd_step", "adamw_step"] {
        let (_, entry) = module::find(entry, 75).unwrap();
        let bytes = entry.params.iter().fold(0, |end, p| u32::next_multiple_of(end, p.align) + p.size);
        assert!(bytes <= 4096, "{}: {bytes}", entry.name);
        assert_eq!(entry.params[0].size as usize, size_of::<Tensors>());
    }
}

#[test]
fn shadows_are_known_by_name_and_format() {
    let bench = Bench::new();
    let gradients: Vec<Buffer> = (0..3).map(|k| bench.f32(300 * k + 1)).collect();
    let mut weights: Vec<Buffer> = (0..3).map(|k| bench.f32(300 * k + 1)).collect();
    let mut shadow = bench.bf16(301);
    let mut tensors: Vec<ParameterUpdate<'_>> =
        gradients.iter().zip(&mut weights).map(|(g, w)| slot(g, w, None, None)).collect();
    tensors[1].shadow = Some(&mut shadow);
    let all = bench.run(Call::SgdStep { rule: Sgd::default(), adjust: Adjust::NONE, scaling: None, tensors });
    check_all(&all, &["sgd_step"]);
    let (p, operands) = self::tensors(&all[0]);
    let held: Vec<&Held> = operands.iter().filter(|held| held.dtype == Dtype::Bf16).collect();
    assert_eq!((held.len(), held[0].name.as_str(), held[0].len), (1, "shadow[1]", 301));
    assert_eq!(p.shadow.map(|at| at != 0)[..4], [false, true, false, false]);
    assert_eq!(p.shadow[1], held[0].at.0);
    // Read twice, written once, and the shadow written.
    assert_eq!(all[0].cost.bytes, 3 * 4 * (1 + 301 + 601) + 2 * 301);
}

#[test]
fn buffers_of_a_struct_are_checked_and_named() {
    let driver: Arc<dyn Driver> = Arc::new(Emulator::new(Options::default()).unwrap());
    let (module, _) = module::find("sgd_step", 80).unwrap();
    driver.load(module).unwrap();
    let buffer = |dtype, len: usize, filled: bool| {
        let storage = Storage::take(&driver, dtype, len).unwrap();
        if filled {
            driver.write(storage.at(), &vec![0; 4 * len]).unwrap();
        }
        Buffer::new(dtype, len, storage)
    };
    let run = |written: bool, damage: &dyn Fn(&mut Tensors)| {
        let gradients = [buffer(Dtype::F32, 5, true), buffer(Dtype::F32, 7, written)];
        let mut weights = [buffer(Dtype::F32, 5, true), buffer(Dtype::F32, 7, true)];
        let tensors = gradients.iter().zip(&mut weights).map(|(g, w)| slot(g, w, None, None)).collect();
        let call = Call::SgdStep { rule: Sgd::default(), adjust: Adjust::NONE, scaling: None, tensors };
        let mut site = Site::new(&call, &driver, Address(0), (Precision::F32, Kernels::Portable));
        lower(call, &mut site)?;
        let mut launch = site.launches.remove(0);
        let mut p = self::tensors(&launch).0;
        damage(&mut p);
        let Some(Arg::Table { bytes, .. }) = launch.args.first_mut() else { panic!("no table") };
        *bytes = bytemuck::bytes_of(&p).to_vec();
        launch.check(driver.limits()).and_then(|()| driver.launch(&launch))
    };
    run(true, &|_| ()).unwrap();
    let said = |written, damage: &dyn Fn(&mut Tensors)| run(written, damage).unwrap_err().to_string();
    let unwritten = said(false, &|_| ());
    assert!(unwritten.contains("read of `gradient[1]`, where nobody wrote"), "{unwritten}");
    let past = said(true, &|p| p.len[1] = 8);
    assert!(past.contains("read past the end of `gradient[1]`"), "{past}");
    let swapped = said(true, &|p| p.weight.swap(0, 1));
    assert!(swapped.contains("the place of `weight[0]` in `p`"), "{swapped}");
}
