//! What is said when the driver refuses something, wherever it comes up, and what works afterwards.

use super::inside;
use super::steps::chain;
use vgg_ft::device::call::LossRule;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{Cuda, Options};
use vgg_ft::device::gpu::driver::{Address, Driver};
use vgg_ft::device::gpu::launch::{Arg, Launch};
use vgg_ft::device::gpu::module::{self, Entry, Module};
use vgg_ft::device::{Arrival, Call, Cost, Device, Dtype, Launches};
use vgg_ft::error::Error;

fn contains(error: &Error, parts: &[&str]) {
    let error = error.to_string();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in\n{error}");
    }
}

#[test]
fn a_fault_names_the_kernels_that_may_have_done_it() {
    inside("errors::fault", "fault=relu_forward");
}

#[test]
#[ignore = "runs on the fake library"]
fn fault() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let x = device.upload(&[1.0f32; 8]).unwrap();
    let (mut y, mut z) = (device.zeros(8).unwrap(), device.zeros(8).unwrap());
    device.run(Call::Sigmoid { x: &x, y: &mut z }).unwrap();
    device.run(Call::ReluForward { x: &x, y: &mut y }).unwrap();
    contains(
        &device.synchronize().unwrap_err(),
        &[
            "a kernel went wrong",
            "CUDA_ERROR_ILLEGAL_ADDRESS (700)",
            "sigmoid, relu_forward",
            "again with --sync to",
        ],
    );
    contains(&device.download::<f32>(&y).unwrap_err(), &["cannot use the GPU any more", "700"]);
    assert!(device.zeros(3).is_err());
}

#[test]
fn with_sync_a_fault_names_its_kernel() {
    inside("errors::fault_with_sync", "fault=relu_forward");
}

/// What is said of a rectifier behind a sigmoid, each waited for, whose fault costs the GPU.
fn refused_with_sync() -> Error {
    let options = Options { sync: true, ..Options::default() };
    let device = Gpu::new(Cuda::open(options).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let x = device.upload(&[1.0f32; 8]).unwrap();
    let mut y = device.zeros(8).unwrap();
    device.run(Call::Sigmoid { x: &x, y: &mut y }).unwrap();
    let error = device.run(Call::ReluForward { x: &x, y: &mut y }).unwrap_err();
    contains(&device.synchronize().unwrap_err(), &["cannot use the GPU any more"]);
    error
}

#[test]
#[ignore = "runs on the fake library"]
fn fault_with_sync() {
    contains(
        &refused_with_sync(),
        &["cuda: relu_forward went wrong on the GPU", "block   256 x 1 x 1", "emulator:checked"],
    );
}

/// Of a kernel that took too long, or of a GPU that broke, no kernel is wrong; the cure is another.
#[test]
fn with_sync_a_timeout_is_no_wrong_kernel() {
    inside("errors::timeout_with_sync", "fault=relu_forward,code=702");
    inside("errors::broken_with_sync", "fault=relu_forward,code=214");
}

fn lost_with_sync() -> Error {
    let error = refused_with_sync();
    let text = error.to_string();
    assert!(!text.contains("went wrong") && !text.contains("emulator:checked"), "{text}");
    assert!(!text.contains("sigmoid"), "it was waited for: {text}");
    error
}

#[test]
#[ignore = "runs on the fake library"]
fn timeout_with_sync() {
    let parts =
        ["CUDA_ERROR_LAUNCH_TIMEOUT (702)", "relu_forward", "use a smaller batch", "block    256 x 1 x 1"];
    contains(&lost_with_sync(), &parts);
}

#[test]
#[ignore = "runs on the fake library"]
fn broken_with_sync() {
    contains(&lost_with_sync(), &["error 214", "relu_forward", "the hardware failed"]);
}

/// An answer that says nothing of the GPU.
#[test]
fn with_sync_a_wait_that_is_refused_costs_no_card() {
    inside("errors::wait_refused", "refuse=cuStreamSynchronize");
}

#[test]
#[ignore = "runs on the fake library"]
fn wait_refused() {
    let options = Options { sync: true, ..Options::default() };
    let device = Gpu::new(Cuda::open(options).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let x = device.upload(&[1.0f32; 8]).unwrap();
    let mut y = device.zeros(8).unwrap();
    let error = device.run(Call::ReluForward { x: &x, y: &mut y }).unwrap_err();
    contains(&error, &["CUDA_ERROR_INVALID_VALUE (1)", "block   256 x 1 x 1"]);
    device.run(Call::ReluForward { x: &x, y: &mut y }).unwrap();
    assert_eq!(device.download::<f32>(&y).unwrap(), [1.0; 8]);
}

/// A driver may answer for earlier work wherever it is asked something.
#[test]
fn a_fault_names_its_kernels_wherever_it_comes_up() {
    for function in [
        "cuCtxSetCurrent",
        "cuFuncSetAttribute",
        "cuModuleLoadDataEx",
        "cuModuleGetFunction",
        "cuMemHostAlloc",
        "cuEventCreate",
    ] {
        inside("errors::late", &format!("fault=relu_forward,surfaces={function}"));
    }
}

/// The rectifier, loaded, and a launch of it.
fn relu(cuda: &Cuda) -> Launch {
    let (module, entry) = module::find("relu_forward", cuda.limits().capability).unwrap();
    cuda.load(module).unwrap();
    relu_of(cuda, entry)
}

fn relu_of(cuda: &Cuda, entry: &'static Entry) -> Launch {
    let pointer = |name| {
        let at = cuda.alloc(Dtype::F32, 8).unwrap();
        cuda.write(at, &[0; 32]).unwrap();
        Arg::Pointer { name, at, dtype: Dtype::F32, len: 8 }
    };
    let args = vec![Arg::value("n", &8u32), pointer("x"), pointer("y")];
    Launch {
        entry,
        grid: [1, 1, 1],
        block: [256, 1, 1],
        shared: 0,
        args,
        cost: Cost::default(),
        compulsory: 0,
    }
}

/// Where the launch leaves its results.
fn results(launch: &Launch) -> Address {
    launch.args[2].place().unwrap().1
}

#[test]
#[ignore = "runs on the fake library"]
fn late() {
    let cuda = Cuda::open(Options::default()).unwrap();
    let launch = relu(&cuda);
    cuda.launch(&launch).unwrap();
    let (other, _) = module::find("sigmoid_cross_entropy", cuda.limits().capability).unwrap();
    // None of these waits by itself.
    let large = Launch { shared: 60 << 10, ..launch.clone() };
    let error = cuda
        .launch(&large)
        .and_then(|()| cuda.load(other))
        .and_then(|()| cuda.read_later(results(&launch), 32))
        .unwrap_err();
    contains(&error, &["a kernel went wrong", "(700)", "kernels  relu_forward", "run again with --sync"]);
    contains(&cuda.synchronize().unwrap_err(), &["cannot use the GPU any more"]);
}

/// A graph that is refused by itself: --sync uses none, but is refused beside --launches.
#[test]
fn what_is_wrong_with_a_graph_comes_with_a_cure_that_can_be_typed() {
    inside("errors::graph_refused", "refuse=cuGraphLaunch");
    inside("errors::early_graph_refused", "hopper,refuse=cuGraphLaunch");
    inside("errors::early_fault", "hopper,fault=relu_forward");
}

fn graph(launches: Launches) -> Error {
    let gpu = Gpu::new(Cuda::open(Options { launches, ..Options::default() }).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
    let mut y = device.zeros(3).unwrap();
    let done = device.together(&mut || chain(device, &x, &mut y, 6));
    done.and_then(|()| device.synchronize()).unwrap_err()
}

#[test]
#[ignore = "runs on the fake library"]
fn graph_refused() {
    contains(
        &graph(Launches::Serial),
        &["cannot start a graph", "sigmoid x4", "run again with --sync, which"],
    );
}

#[test]
#[ignore = "runs on the fake library"]
fn early_graph_refused() {
    let error = graph(Launches::Programmatic);
    contains(&error, &["cannot start a graph", "leave --launches out"]);
    assert!(!error.to_string().contains("--sync"), "{error}");
}

#[test]
#[ignore = "runs on the fake library"]
fn early_fault() {
    contains(&graph(Launches::Programmatic), &["a kernel went wrong", "with --sync and without --launches"]);
}

/// Of a module that is refused in part no kernel stays: it is unloaded.
#[test]
fn a_module_that_is_refused_leaves_no_kernel() {
    inside("errors::half_loaded", "");
}

#[test]
#[ignore = "runs on the fake library"]
fn half_loaded() {
    let cuda = Cuda::open(Options::default()).unwrap();
    let (good, entry) = module::find("relu_forward", cuda.limits().capability).unwrap();
    let entries = vec![*entry, Entry { name: "no_such_kernel", ..*entry }].leak();
    let error = cuda.load(&Module { entries, ..*good }).unwrap_err();
    contains(&error, &["find the kernel no_such_kernel", "a bug in vgg-ft"]);
    let launch = relu_of(&cuda, &entries[0]);
    contains(&cuda.launch(&launch).unwrap_err(), &["the kernel relu_forward is not loaded"]);
}

/// The second of two copies is refused: the first one's piece comes back, and what kernels saw is said later.
#[test]
fn a_later_copy_that_is_refused_costs_nothing() {
    // 18 pieces are there from the beginning.
    inside("errors::second_copy_refused", "refuse=cuMemHostAlloc:20");
}

#[test]
#[ignore = "runs on the fake library"]
fn second_copy_refused() {
    let device = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &device;
    let (logits, labels) = (device.upload(&[0.0f32; 4]).unwrap(), device.upload(&[1u32, 7]).unwrap());
    let mut outcome = device.zeros(4).unwrap();
    let call = Call::SoftmaxCrossEntropy {
        rule: LossRule { denominator: 2, smoothing: 0.0 },
        classes: 2,
        logits: &logits,
        labels: &labels,
        weights: None,
        outcome: &mut outcome,
        dlogits: None,
    };
    device.run(call).unwrap();
    contains(&device.download_later(&outcome).unwrap_err(), &["cannot pin memory of the host"]);
    let arrival = device.download_later(&outcome).unwrap();
    assert!(matches!(arrival, Arrival::Travelling { bytes: 0, seen: Some(1) }), "{arrival:?}");
    contains(&device.arrived(arrival).unwrap_err(), &["the label of row 1 is not a class"]);
}

/// A piece whose event could not be made goes back without a wait for it.
#[test]
fn a_piece_without_an_event_is_given_back() {
    inside("errors::event_refused", "refuse=cuEventCreate:19");
}

#[test]
#[ignore = "runs on the fake library"]
fn event_refused() {
    let cuda = Cuda::open(Options::default()).unwrap();
    let launch = relu(&cuda);
    cuda.launch(&launch).unwrap();
    contains(&cuda.read_later(results(&launch), 32).unwrap_err(), &["cannot make an event"]);
    let number = cuda.read_later(results(&launch), 32).unwrap().unwrap();
    assert_eq!(cuda.landed(number).unwrap().len(), 32);
}

/// A driver that is given too few arguments reads past their list.
#[test]
fn a_launch_without_its_arguments_never_reaches_the_driver() {
    inside("errors::arguments", "");
}

#[test]
#[ignore = "runs on the fake library"]
fn arguments() {
    let cuda = Cuda::open(Options::default()).unwrap();
    let mut launch = relu(&cuda);
    launch.args.pop();
    let wrong = ["relu_forward: the number of arguments", "2 (n, x)"];
    contains(&cuda.launch(&launch).unwrap_err(), &wrong);
    contains(&cuda.together(&mut || cuda.launch(&launch)).unwrap_err(), &wrong);
}
