//! The cuda device where there is no card: its own code on a libcuda with the emulator behind it
//! (`tests/libcuda`), and what a user reads where there is no driver at all.
//!
//! The library is found when a process starts, so each test starts this binary again with that libcuda
//! in `LD_LIBRARY_PATH`, to run one of the ignored tests of [`inner`].
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

mod support;

use assert_cmd::Command;
use std::path::PathBuf;
use vgg_ft::device::gpu::cuda;

/// The folder of `libcuda.so`, beside the one of this binary.
fn fake() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples");
    let file = folder.join("libcuda.so");
    assert!(
        file.is_file(),
        "{} is missing: cargo build --example cuda (with --release if this is)",
        file.display()
    );
    folder
}

/// One of the tests of [`inner`] on the fake library, changed by `words`.
fn inside(test: &str, words: &str) {
    // In the bundle's program this file is a module.
    let here = module_path!().split_once("::").map_or_else(String::new, |(_, module)| format!("{module}::"));
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{here}inner::{test}"), "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", fake())
        .env("VGG_FT_FAKE_CUDA", words)
        .env("VGG_FT_TEST_DEVICES", "cuda")
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{test} with `{words}`:\n{said}");
}

fn vgg_ft() -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command.env("RUST_BACKTRACE", "0").env_remove("LD_LIBRARY_PATH");
    command
}

/// stdout and stderr of a command that ends with `code`.
fn says(command: &mut Command, code: i32) -> [String; 2] {
    let output = command.assert().code(code).get_output().clone();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(!said[1].contains("panicked"), "{}", said[1]);
    said
}

#[test]
fn without_a_driver_the_cure_is_said_and_nothing_falls_back() {
    if cuda::find().is_ok() {
        println!("skipped: this machine has a card");
        return;
    }
    let [_, error] = says(vgg_ft().args(["--device", "cuda", "predict", "RUN", "x.png"]), 1);
    assert!(error.starts_with("error: "), "{error}");
    assert!(error.contains("help: "), "{error}");
    let [offer, _] = says(vgg_ft().args(["devices", "--json"]), 0);
    let offer: serde_json::Value = serde_json::from_str(&offer).unwrap();
    assert_eq!(offer["auto"], "cpu");
    assert_eq!(offer["devices"][0]["name"], "cuda");
    assert_eq!(offer["devices"][0]["available"], false);
    let [table, _] = says(vgg_ft().arg("devices"), 0);
    assert!(
        table.contains("- cuda") && table.contains("+ cpu") && table.contains("(--device auto)"),
        "{table}"
    );
}

#[test]
fn devices_shows_a_card_or_why_it_cannot_be_used() {
    let with = |words: &str| {
        let mut command = vgg_ft();
        command.env("LD_LIBRARY_PATH", fake()).env("VGG_FT_FAKE_CUDA", words).args(["devices", "--json"]);
        serde_json::from_str::<serde_json::Value>(&says(&mut command, 0)[0]).unwrap()
    };
    let offer = with("");
    assert_eq!(offer["auto"], "cuda:0");
    let card = &offer["devices"][0];
    assert_eq!(card["hardware"], "No card, the emulator, 8.0, 8 GiB, driver 12.4");
    assert_eq!((&card["capability"], &card["driver"]), (&"8.0".into(), &"12.4".into()));
    let reason = |offer: &serde_json::Value| offer["devices"][0]["reason"].as_str().unwrap().to_owned();
    let offer = with("no-card");
    assert_eq!(offer["auto"], "cpu");
    assert!(reason(&offer).contains("CUDA_ERROR_NO_DEVICE (100)"), "{offer}");
    let offer = with("old-card");
    assert_eq!(offer["auto"], "cpu");
    assert!(reason(&offer).contains("compute capability 7.5 or later"), "{offer}");
}

#[test]
fn ptx_that_the_driver_cannot_read_is_explained() {
    let mut command = vgg_ft();
    command.env("LD_LIBRARY_PATH", fake()).env("VGG_FT_FAKE_CUDA", "old-driver");
    let [_, error] = says(command.args(["predict", "RUN", "x.png"]), 1);
    for part in [
        "error: cuda: cannot compile kernels/ptx/",
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)",
        "driver     CUDA 10.2",
        "current version is '6.5'",
        "PTX needs  CUDA 11.0",
        "while opening the card that --device auto found",
        "help: update the NVIDIA driver",
    ] {
        assert!(error.contains(part), "`{part}` is not in\n{error}");
    }
}

#[test]
fn a_card_that_is_not_there_is_refused_with_those_that_are() {
    let mut command = vgg_ft();
    command.env("LD_LIBRARY_PATH", fake());
    let [_, error] = says(command.args(["--device", "cuda:3", "predict", "RUN", "x.png"]), 1);
    assert!(error.contains("there is no cuda:3") && error.contains("cuda:0 No card"), "{error}");
}

#[test]
fn the_case_table_passes_through_libcuda() {
    inside("case_table", "");
}

#[test]
fn large_copies_arrive_in_order_from_many_threads() {
    inside("copies", "");
}

#[test]
fn a_full_card_says_how_full_and_can_be_used_again() {
    inside("full", "memory=67108864");
}

#[test]
fn slabs_that_are_empty_make_room_for_one_of_another_size() {
    inside("room", "memory=201326592");
}

#[test]
fn steps_are_replayed_and_learn_the_same_bits_as_launch_by_launch() {
    inside("steps", "");
}

#[test]
fn a_driver_without_graphs_learns_too() {
    inside("steps_without_graphs", "no-graphs");
}

#[test]
fn copies_and_waits_split_a_step() {
    inside("splits", "");
}

#[test]
fn a_fault_in_a_replayed_graph_names_its_kernels() {
    inside("fault_in_graph", "fault=relu_forward:4");
}

#[test]
fn graphs_that_are_not_used_make_room() {
    inside("many_graphs", "");
}

#[test]
fn the_ceilings_are_measured() {
    inside("ceilings", "");
}

#[test]
fn a_fault_names_the_kernels_that_may_have_done_it() {
    inside("fault", "fault=relu_forward");
}

#[test]
fn with_sync_a_fault_names_its_kernel() {
    inside("fault_with_sync", "fault=relu_forward");
}

#[test]
fn a_write_beside_a_buffer_is_found() {
    inside("beside", "");
}

/// What runs on the fake library.
mod inner {
    use super::support::{cases, devices};
    use vgg_ft::device::call::Rmsprop;
    use vgg_ft::device::gpu::Gpu;
    use vgg_ft::device::gpu::cuda::{Counts, Cuda, Options};
    use vgg_ft::device::gpu::driver::Driver;
    use vgg_ft::device::gpu::launch::{Arg, Launch};
    use vgg_ft::device::gpu::module;
    use vgg_ft::device::{Buffer, Call, Cost, Device, Dtype};
    use vgg_ft::error::Result;
    use vgg_ft::graph::Tensor;
    use vgg_ft::model::{Architecture, Head, Layer, Network, Source, Trainable};
    use vgg_ft::random::{Draws, Stream};
    use vgg_ft::shape::Shape;
    use vgg_ft::train::{Epoch, Fit, Observer, Optimizer, Samples, Score};

    #[test]
    #[ignore = "runs on the fake library"]
    fn case_table() {
        let device = devices::card();
        assert!(device.describe().hardware.contains("the emulator"), "not the fake library");
        let misses: Vec<_> = cases::all()
            .iter()
            .filter_map(|case| Some(format!("{}: {}", case.name(&*device), case.check(&*device)?)))
            .collect();
        assert!(misses.is_empty(), "{}", misses.join("\n"));
    }

    /// Longer than both pinned pieces together, and not a multiple of one.
    const LONG: usize = 5_000_003;

    #[test]
    #[ignore = "runs on the fake library"]
    fn copies() {
        let device = devices::card();
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let device = &*device;
                scope.spawn(move || {
                    let mut draws = Draws::new(seed, Stream::Demo, 0);
                    let data: Vec<f32> = (0..LONG).map(|_| draws.range(-1.0, 1.0)).collect();
                    let x = device.upload(&data).unwrap();
                    let mut y = device.alloc(Dtype::F32, 1000).unwrap();
                    let short = device.upload(&data[..1000]).unwrap();
                    device.run(Call::ReluForward { x: &short, y: &mut y }).unwrap();
                    drop(short);
                    assert!(device.download::<f32>(&x).unwrap() == data);
                    let relu: Vec<f32> = data[..1000].iter().map(|x| x.max(0.0)).collect();
                    assert!(device.download::<f32>(&y).unwrap() == relu);
                });
            }
        });
    }

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
            "without a name: 4 bytes in 1 buffer",
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
        let error = device.synchronize().unwrap_err().to_string();
        for part in
            ["a kernel went wrong", "CUDA_ERROR_ILLEGAL_ADDRESS (700)", "sigmoid, relu_forward", "--sync"]
        {
            assert!(error.contains(part), "`{part}` is not in\n{error}");
        }
        let error = device.download::<f32>(&y).unwrap_err().to_string();
        assert!(error.contains("cannot use the card any more") && error.contains("700"), "{error}");
        assert!(device.zeros(3).is_err());
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn fault_with_sync() {
        let options = Options { sync: true, ..Options::default() };
        let device = Gpu::new(Cuda::open(options).unwrap()).unwrap();
        let device: &dyn Device = &device;
        let x = device.upload(&[1.0f32; 8]).unwrap();
        let mut y = device.zeros(8).unwrap();
        device.run(Call::Sigmoid { x: &x, y: &mut y }).unwrap();
        let error = device.run(Call::ReluForward { x: &x, y: &mut y }).unwrap_err().to_string();
        assert!(error.contains("cuda: relu_forward went wrong on the card"), "{error}");
        assert!(error.contains("block   256 x 1 x 1"), "{error}");
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn beside() {
        let cuda = Cuda::open(Options { guarded: true, ..Options::default() }).unwrap();
        let (module, entry) = module::find("relu_forward", 80).unwrap();
        cuda.load(module).unwrap();
        let (x, y) = (cuda.alloc(Dtype::F32, 9).unwrap(), cuda.alloc(Dtype::F32, 8).unwrap());
        cuda.write(x, &[0; 36]).unwrap();
        let mut bytes = [0; 32];
        cuda.read(y, &mut bytes).unwrap();
        assert_eq!(bytes, [0xFF; 32], "fresh memory is NaN");
        let pointer = |name, at| Arg::Pointer { name, at, dtype: Dtype::F32, len: 9 };
        let args = vec![Arg::value("n", &9u32), pointer("x", x), pointer("y", y)];
        let launch =
            Launch { entry, grid: [1, 1, 1], block: [256, 1, 1], shared: 0, args, cost: Cost::default() };
        launch.check(cuda.limits()).unwrap();
        cuda.launch(&launch).unwrap();
        let error = cuda.read(y, &mut bytes).unwrap_err().to_string();
        assert!(error.contains("written behind a buffer") && error.contains("1 behind it"), "{error}");
        // A copy that belongs to no buffer.
        assert!(cuda.write(y, &[0; 36]).unwrap_err().message().contains("lies in no buffer"));
    }
    /// A chain of so many calls: relu again and again, the last into `y`.
    fn chain(device: &dyn Device, x: &Buffer, y: &mut Buffer, count: usize) -> Result<()> {
        let mut last = device.alloc(Dtype::F32, x.len())?;
        device.run(Call::ReluForward { x, y: &mut last })?;
        for _ in 2..count {
            let mut next = device.alloc(Dtype::F32, x.len())?;
            device.run(Call::Sigmoid { x: &last, y: &mut next })?;
            last = next;
        }
        device.run(Call::ReluForward { x: &last, y })
    }

    fn counts(built: u64, replayed: u64, changed: u64) -> Counts {
        Counts { built, replayed, changed }
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn splits() {
        let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
        let (device, cuda): (&dyn Device, _) = (&gpu, gpu.driver());
        let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
        let (mut y, mut z) = (device.zeros(3).unwrap(), device.zeros(3).unwrap());
        let mut alone = device.zeros(3).unwrap();
        chain(device, &x, &mut alone, 6).unwrap();
        let alone: Vec<f32> = device.download(&alone).unwrap();
        assert_eq!(cuda.counts(), counts(0, 0, 0), "nothing was together");
        device.together(&mut || chain(device, &x, &mut y, 6)).unwrap();
        assert_eq!(cuda.counts(), counts(1, 0, 0));
        assert_eq!(device.download::<f32>(&y).unwrap(), alone);
        device.together(&mut || chain(device, &x, &mut y, 6)).unwrap();
        assert_eq!(cuda.counts(), counts(1, 1, 0));
        // Another output: one node.
        device.together(&mut || chain(device, &x, &mut z, 6)).unwrap();
        assert_eq!(cuda.counts(), counts(1, 2, 1));
        assert_eq!(device.download::<f32>(&z).unwrap(), alone);
        // A copy in between: what came before runs before it, and both halves are graphs of their own.
        let mut between = Vec::new();
        for _ in 0..2 {
            let mut x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
            device
                .together(&mut || {
                    chain(device, &x, &mut y, 5)?;
                    device.upload_bytes(&7.0f32.to_le_bytes().repeat(3), &mut x)?;
                    chain(device, &x, &mut z, 7)?;
                    between = device.download::<f32>(&z)?;
                    Ok(())
                })
                .unwrap();
            assert!(device.download::<f32>(&y).unwrap() != between);
            assert_eq!(between[0], between[1], "all sevens");
        }
        assert_eq!(cuda.counts(), counts(3, 4, 1));
        // A few launches are not worth a graph, and an error of the work is said.
        device.together(&mut || chain(device, &x, &mut y, 3)).unwrap();
        assert_eq!(cuda.counts(), counts(3, 4, 1));
        let error = device.together(&mut || {
            chain(device, &x, &mut y, 6)?;
            device.alloc(Dtype::F32, usize::MAX / 4).map(|_| ())
        });
        assert!(error.unwrap_err().to_string().contains("asked for"));
        assert_eq!(device.download::<f32>(&y).unwrap(), alone, "what was asked for before was done");
        // From another thread, in the middle: after what came before, before what comes after.
        let fresh = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
        device
            .together(&mut || {
                chain(device, &fresh, &mut y, 4)?;
                let (y, z) = (&y, &mut z);
                std::thread::scope(|scope| {
                    scope.spawn(|| device.run(Call::ReluForward { x: y, y: z })).join()
                })
                .unwrap()
            })
            .unwrap();
        assert_eq!(device.download::<f32>(&z).unwrap(), device.download::<f32>(&y).unwrap());
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn many_graphs() {
        let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
        let device: &dyn Device = &gpu;
        let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
        let mut y = device.zeros(3).unwrap();
        // Ten of different lengths, where eight are kept; nobody waits in between.
        for count in (4..14).chain(4..6).chain(10..14) {
            device.together(&mut || chain(device, &x, &mut y, count)).unwrap();
        }
        assert_eq!(gpu.driver().counts(), counts(12, 4, 0));
        device.synchronize().unwrap();
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn fault_in_graph() {
        let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
        let device: &dyn Device = &gpu;
        let x = device.upload(&[1.0f32; 8]).unwrap();
        let mut y = device.zeros(8).unwrap();
        device.together(&mut || chain(device, &x, &mut y, 7)).unwrap();
        device.synchronize().unwrap();
        device.together(&mut || chain(device, &x, &mut y, 7)).unwrap();
        assert_eq!(gpu.driver().counts(), counts(1, 1, 0));
        let error = device.synchronize().unwrap_err().to_string();
        for part in [
            "a kernel went wrong",
            "CUDA_ERROR_ILLEGAL_ADDRESS (700)",
            "a graph of 7 launches (relu_forward x2, sigmoid x5)",
            "--sync",
        ] {
            assert!(error.contains(part), "`{part}` is not in\n{error}");
        }
        let error = device.together(&mut || chain(device, &x, &mut y, 7)).unwrap_err().to_string();
        assert!(error.contains("cannot use the card any more"), "{error}");
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn ceilings() {
        let cuda = Cuda::open(Options::default()).unwrap();
        assert!(cuda.copy_ceiling(16 << 20).unwrap() > 0.0);
        assert!(cuda.multiply_add_ceiling(2).unwrap() > 0.0);
    }

    /// Pictures of noise.
    struct Noise {
        values: Vec<f32>,
        labels: Vec<u32>,
    }

    const SHAPE: [usize; 4] = [1, 16, 16, 3];

    impl Samples for Noise {
        fn labels(&self) -> &[u32] {
            &self.labels
        }

        fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
            let row = SHAPE.iter().product::<usize>();
            let rows: Vec<f32> =
                indices.iter().flat_map(|&i| &self.values[i as usize * row..][..row]).copied().collect();
            Tensor::constant(Shape::new(&[indices.len(), 16, 16, 3]), device.upload(&rows)?)
        }
    }

    /// Remembers the losses and what became of the steps.
    struct Log<'a> {
        cuda: &'a Cuda,
        losses: Vec<u64>,
        counts: Vec<Counts>,
    }

    impl Observer for Log<'_> {
        fn step(&mut self, _: usize, _: usize, _: usize, score: &Score) {
            self.losses.push(score.loss_sum.to_bits());
            self.counts.push(self.cuda.counts());
        }

        fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
            self.losses.push(epoch.val_loss.unwrap().to_bits());
            self.counts.push(self.cuda.counts());
            Ok(())
        }
    }

    /// Three epochs of three batches of four and one of two, each followed by two and one of evaluation.
    fn learn(options: Options) -> (Vec<u64>, Vec<Vec<u32>>, Vec<Counts>) {
        let gpu = Gpu::new(Cuda::open(options).unwrap()).unwrap();
        let device: &dyn Device = &gpu;
        let layers = [
            ("conv1", Layer::Conv2d { filters: 8 }),
            ("pool", Layer::Maxpool2d),
            ("conv2", Layer::Conv2d { filters: 8 }),
        ];
        let layers = layers.map(|(name, layer)| (name.to_owned(), layer)).to_vec();
        let base = Architecture::base_of("tiny", [16, 16], layers).unwrap();
        let architecture = base.with_head(Head { units: 12, dropout: 0.5, classes: 2 }).unwrap();
        let trainable = Trainable::from(&architecture, "conv1").unwrap();
        let mut network = Network::new(device, architecture, |_| Source::Glorot { seed: 5 }).unwrap();
        network.set_trainable(trainable);
        let rule = Rmsprop { rate: 1e-3, rho: 0.9, epsilon: 1e-7 };
        let mut optimizer = Optimizer::new(rule, network.parameters().len());
        let noise = |count: usize| {
            let mut draws = Draws::new(count as u64, Stream::Demo, 0);
            let values = (0..count * 16 * 16 * 3).map(|_| draws.range(-1.0, 1.0)).collect();
            Noise { values, labels: (0..count as u32).map(|i| i % 2).collect() }
        };
        let (train, validation) = (noise(14), noise(10));
        let mut log = Log { cuda: gpu.driver(), losses: Vec::new(), counts: Vec::new() };
        let fit = Fit {
            device,
            from: 0,
            train: &train,
            validation: Some(&validation),
            stage: "all",
            epochs: 3,
            batch: 4,
            seed: 3,
            first_step: 0,
        };
        fit.run(&mut network, &mut optimizer, &mut log).unwrap();
        let weights = network.parameters().iter().map(|parameter| {
            let values: Vec<f32> = device.download(parameter.value()).unwrap();
            values.iter().map(|value| value.to_bits()).collect()
        });
        (log.losses, weights.collect(), log.counts)
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn steps() {
        let (losses, weights, after) = learn(Options::default());
        let built: Vec<u64> = after.iter().map(|counts| counts.built).collect();
        // Each epoch: three whole batches, the last one, and evaluation. Two graphs for each, from the first
        // epoch; all else is a replay.
        assert_eq!(built, [1, 1, 1, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4], "{after:?}");
        let steps = after.windows(2).filter(|pair| pair[1].built == pair[0].built);
        for pair in steps {
            let replayed = pair[1].replayed - pair[0].replayed;
            let changed = pair[1].changed - pair[0].changed;
            // The dropout of the way there and of the way back.
            assert!(replayed >= 1 && changed <= 2 * replayed, "{pair:?}");
        }
        let (losses1, weights1, after) = learn(Options { single: true, ..Options::default() });
        assert_eq!(after.last(), Some(&counts(0, 0, 0)));
        assert!(losses == losses1 && weights == weights1, "graphs change the numbers");
        let (losses2, weights2, after) = learn(Options { sync: true, ..Options::default() });
        assert_eq!(after.last(), Some(&counts(0, 0, 0)));
        assert!(losses == losses2 && weights == weights2, "--sync changes the numbers");
        println!("{losses:?}");
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn steps_without_graphs() {
        let (losses, weights, after) = learn(Options::default());
        assert_eq!(after.last(), Some(&counts(0, 0, 0)));
        let (losses1, weights1, _) = learn(Options { guarded: true, ..Options::default() });
        assert!(losses == losses1 && weights == weights1, "guards change the numbers");
    }
}
