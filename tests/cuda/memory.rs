//! A card that is full: what is said, and who makes room for whom.

use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{Cuda, Options};
use vgg_ft::device::{Call, Device, Dtype};

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

/// One thread's buffer asks for the room of an empty slab; while it waits for the card, another one's step
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
