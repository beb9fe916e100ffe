//! A GPU that is full: what is said, and who makes room for whom.

use vgg_ft::device::call::LossRule;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{Cuda, Options};
use vgg_ft::device::gpu::module::{MODULES, Module};
use vgg_ft::device::{Call, Device, Dtype};
use vgg_ft::error::Result;
use vgg_ft::shape::Conv2d;

#[test]
#[ignore = "runs on the fake library"]
fn full() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    device.label("block1_conv2");
    let half = device.alloc(Dtype::F32, 8 << 20).unwrap();
    device.label("fc1");
    let error = device.alloc(Dtype::F32, 9 << 20).unwrap_err().to_string();
    for part in [
        "cuda: out of memory",
        "f32[9437184], 36.0 MiB for fc1",
        "of 64.0 MiB",
        "taken      32.0 MiB by this run, in 2 buffers",
        "largest    block1_conv2: 32.0 MiB in 1 buffer\n",
        "without a name: 8 bytes in 1 buffer",
        "--batch",
    ] {
        assert!(error.contains(part), "`{part}` is not in\n{error}");
    }
    let memory = device.memory().unwrap().unwrap();
    assert_eq!(memory.total, 64 << 20);
    assert_eq!(memory.free, (32 << 20) - 256, "the word for faults has a grain, `half` the rest");
    drop(half);
    assert_eq!(device.memory().unwrap().unwrap().free, (64 << 20) - 256);
    device.alloc(Dtype::F32, 8 << 20).unwrap();
}

/// Whoever waits learns that the kernel went wrong, so these did not: with two pieces of pinned memory the third list of a
/// step waited for the first, which comes behind all kernels of the step before, and a GPU ran dry in every step.
#[test]
#[ignore = "runs on the fake library"]
fn uploads() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let (x, mut y) = (device.upload(&[1.0f32; 8]).unwrap(), device.zeros(8).unwrap());
    device.synchronize().unwrap();
    device.run(Call::ReluForward { x: &x, y: &mut y }).unwrap();
    // Three lists of each of three steps: indices, what is done to images, labels.
    let kept: Vec<_> = (0..9u32).map(|at| device.upload(&[at; 20])).collect();
    assert!(kept.iter().all(|upload| upload.is_ok()));
    assert!(device.synchronize().is_err(), "the kernel was told to fail");
}

#[test]
#[ignore = "runs on the fake library"]
fn later() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let floats = |bytes: Vec<u8>| -> Vec<f32> { bytemuck::pod_collect_to_vec(&bytes) };
    let mut x = device.upload(&[1.0f32, 2.0, 3.0]).unwrap();
    let first = device.download_later(&x).unwrap();
    assert!(!first.is_here());
    device.upload_bytes(bytemuck::cast_slice(&[4.0f32, 5.0, 6.0]), &mut x).unwrap();
    let second = device.download_later(&x).unwrap();
    // Its place is another's at once.
    drop(x);
    let other = device.upload(&[7.0f32, 8.0, 9.0]).unwrap();
    let third = device.download_later(&other).unwrap();
    assert_eq!(floats(device.arrived(second).unwrap()), [4.0, 5.0, 6.0]);
    assert_eq!(floats(device.arrived(first).unwrap()), [1.0, 2.0, 3.0]);
    assert_eq!(floats(device.arrived(third).unwrap()), [7.0, 8.0, 9.0]);
    // More than anybody's outcome comes at once.
    let large = device.upload(&vec![1.0f32; 10_000]).unwrap();
    let large = device.download_later(&large).unwrap();
    assert!(large.is_here() && device.arrived(large).unwrap().len() == 40_000);
    // What only kernels see comes along, and once.
    let (logits, labels) = (device.upload(&[0.0f32; 4]).unwrap(), device.upload(&[1u32, 7]).unwrap());
    let mut outcome = device.zeros(4).unwrap();
    let rule = LossRule { denominator: 2, smoothing: 0.0 };
    let call = Call::SoftmaxCrossEntropy {
        rule,
        classes: 2,
        logits: &logits,
        labels: &labels,
        weights: None,
        outcome: &mut outcome,
        dlogits: None,
    };
    device.run(call).unwrap();
    let wrong = device.download_later(&outcome).unwrap();
    let error = device.arrived(wrong).unwrap_err().to_string();
    assert!(error.contains("the label of row 1 is not a class"), "{error}");
    device.arrived(device.download_later(&outcome).unwrap()).unwrap();
}

#[test]
#[ignore = "runs on the fake library"]
fn room() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let mib = 1 << 20;
    // They and the filler leave no room for a third in the first slab, which has 32 MiB.
    let len = 300_000;
    let x = device.upload(&vec![-1.0f32; len]).unwrap();
    let mut y = device.upload(&vec![7.0f32; len]).unwrap();
    let _filler = device.alloc(Dtype::U8, 29 * mib).unwrap();
    let large = device.alloc(Dtype::U8, 90 * mib).unwrap();
    drop(large);
    let mut larger = None;
    device
        .together(&mut || {
            // Lies where the large one was, and is used by launches that are kept back: they have to run
            // before that slab goes to the system for the larger one.
            let mut z = device.alloc(Dtype::F32, len)?;
            device.run(Call::ReluForward { x: &x, y: &mut z })?;
            device.run(Call::ReluForward { x: &z, y: &mut y })?;
            drop(z);
            larger = Some(device.alloc(Dtype::U8, 100 * mib)?);
            Ok(())
        })
        .unwrap();
    assert!(device.download::<f32>(&y).unwrap() == vec![0.0; len]);
    assert_eq!(device.memory().unwrap().unwrap().total, 192 * mib as u64);
    drop(larger);
}

/// One thread's buffer asks for the room of an empty slab; while it waits for the GPU, another one's step
/// uses that slab and lets it go again, with its launches kept back.
#[test]
#[ignore = "runs on the fake library"]
fn room_for_two() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let mib = 1 << 20;
    let len = 300_000;
    let x = device.upload(&vec![-1.0f32; len]).unwrap();
    let mut y = device.upload(&vec![7.0f32; len]).unwrap();
    let _filler = device.alloc(Dtype::U8, 29 * mib).unwrap();
    let large = device.alloc(Dtype::U8, 90 * mib).unwrap();
    drop(large);
    let larger = device.together(&mut || {
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| device.alloc(Dtype::U8, 100 * mib));
            // It is waiting now (`slow-wait`).
            std::thread::sleep(std::time::Duration::from_millis(150));
            let mut z = device.alloc(Dtype::F32, len)?;
            device.run(Call::ReluForward { x: &x, y: &mut z })?;
            device.run(Call::ReluForward { x: &z, y: &mut y })?;
            drop(z);
            asks.join().unwrap().map(drop)
        })
    });
    larger.unwrap();
    assert!(device.download::<f32>(&y).unwrap() == vec![0.0; len]);
}

/// Modules that the GPU of the fake library, an 8.0, gets at the start.
pub fn at_the_start() -> usize {
    let here = |module: &&Module| {
        let ladder = module.name.starts_with("ladder/");
        !ladder && !module.is_special() && module.precision().is_none() && module.runs_on(80)
    };
    MODULES.iter().filter(here).count()
}

/// A convolution in bf16 on a device that works in f32: its module comes with the first launch, amid others that are kept
/// back, and where there is no room for it once, again.
#[test]
#[ignore = "runs on the fake library"]
fn late_module() {
    let [y, z] = late().unwrap();
    // A pixel of the middle sees nine taps of eight channels, one in the corner four.
    assert_eq!((y[5 * 8], y[0]), (72.5, 32.5));
    assert_eq!(z, [7.0; 8]);
}

/// Where it is refused for another reason, that reason is given.
#[test]
#[ignore = "runs on the fake library"]
fn late_module_refused() {
    let error = late().unwrap_err().to_string();
    assert!(error.contains("cannot compile kernels/ptx/conv2d_bf16.sm_80.ptx"), "{error}");
    assert!(error.contains("CUDA_ERROR_INVALID_VALUE"), "{error}");
}

/// The convolution's map, and what a ReLU before it gave.
fn late() -> Result<[Vec<f32>; 2]> {
    let device = Gpu::new(Cuda::open(Options::default())?)?;
    let device: &dyn Device = &device;
    let geometry = Conv2d { n: 1, h: 4, w: 4, c_in: 8, c_out: 8 };
    let ones = |len: usize| device.upload(&vec![half::bf16::ONE; len]);
    let (x, weight) = (ones(geometry.x().len())?, ones(geometry.weight().len())?);
    let bias = device.upload(&[0.5f32; 8])?;
    let mut y = device.alloc(Dtype::Bf16, geometry.y().len())?;
    let seven = device.upload(&[7.0f32; 8])?;
    let mut z = device.zeros(8)?;
    device.together(&mut || {
        device.run(Call::ReluForward { x: &seven, y: &mut z })?;
        device.run(Call::Conv2dForward {
            geometry,
            x: &x,
            weight: &weight,
            bias: &bias,
            relu: true,
            y: &mut y,
        })
    })?;
    Ok([device.download_floats(&y)?, device.download(&z)?])
}

/// What the GPU has no room for costs the graphs that are kept, and what an empty slab makes room for does not.
#[test]
#[ignore = "runs on the fake library"]
fn graphs_go() {
    let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let x = device.upload(&[-1.0f32, 1.0]).unwrap();
    let (mut y, mut z) = (device.zeros(2).unwrap(), device.zeros(2).unwrap());
    let mut step = || {
        device
            .together(&mut || {
                (0..6).try_for_each(|_| {
                    device.run(Call::ReluForward { x: &x, y: &mut y })?;
                    device.run(Call::ReluForward { x: &y, y: &mut z })
                })
            })
            .unwrap();
        assert_eq!(device.download::<f32>(&z).unwrap(), [0.0, 1.0]);
        let counts = gpu.driver().counts();
        (counts.built, counts.replayed)
    };
    assert_eq!(step(), (1, 0));
    assert_eq!(step(), (1, 1));
    let slab = device.alloc(Dtype::U8, 90 << 20).unwrap();
    drop(slab);
    let _larger = device.alloc(Dtype::U8, 100 << 20).unwrap();
    assert_eq!(step(), (1, 2), "the graph is there");
    assert!(device.alloc(Dtype::U8, 100 << 20).is_err());
    assert_eq!(step(), (2, 2), "and was given back");
}
