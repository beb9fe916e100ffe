//! The cuda device where there is no GPU: its own code on a libcuda with the emulator behind it
//! (`tests/libcuda`), and what a user reads where there is no driver at all.
//!
//! The library is found when a process starts, so each test starts this binary again with that libcuda
//! in `LD_LIBRARY_PATH`, to run one of the ignored tests of [`inner`], [`errors`], [`memory`] or [`steps`].
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[path = "cuda/errors.rs"]
mod errors;
#[path = "cuda/memory.rs"]
mod memory;
#[path = "cuda/steps.rs"]
mod steps;
use crate::support;

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

/// One of the tests of [`inner`], [`errors`], [`memory`] or [`steps`] on the fake library, changed by `words`.
fn inside(test: &str, words: &str) {
    // In the bundle's program this file is a module.
    let here = module_path!().split_once("::").map_or_else(String::new, |(_, module)| format!("{module}::"));
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{here}{test}"), "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", fake())
        .env("VGG_FT_FAKE_CUDA", words)
        .env("VGG_FT_TEST_DEVICES", "cuda")
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    // `cargo test --test devices` makes these tests anew, and not the library.
    let made = |file: PathBuf| std::fs::metadata(file).unwrap().modified().unwrap();
    let is_old = made(fake().join("libcuda.so")) < made(std::env::current_exe().unwrap());
    let hint = if is_old { "libcuda.so is older than these tests: cargo build --example cuda\n" } else { "" };
    assert!(output.status.success() && said.contains("1 passed"), "{hint}{test} with `{words}`:\n{said}");
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
        skipped!("this machine has a GPU");
        return;
    }
    let [_, error] = says(vgg_ft().args(["--device", "cuda", "predict", ".", "x.png"]), 1);
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
    assert_eq!(card["hardware"], "No GPU, the emulator, 8.0, 8 GiB, driver 12.4");
    assert_eq!((&card["capability"], &card["driver"]), (&"8.0".into(), &"12.4".into()));
    let reason = |offer: &serde_json::Value| offer["devices"][0]["reason"].as_str().unwrap().to_owned();
    let offer = with("no-card");
    assert_eq!(offer["auto"], "cpu");
    assert!(reason(&offer).contains("CUDA_ERROR_NO_DEVICE (100)"), "{offer}");
    let offer = with("old-card");
    assert_eq!(offer["auto"], "cpu");
    assert!(reason(&offer).contains("compute capability 7.5 or later"), "{offer}");
}

/// Only of a whole GPU that is known something can be predicted: a slice of it has its name.
#[test]
fn a_card_is_known_by_its_name_and_size() {
    inside("inner::known", "hopper,name=NVIDIA H200,sms=132,memory=150110011392");
    inside("inner::unknown", "hopper,name=NVIDIA H200 MIG 1g.18gb,sms=16,memory=18790481920");
    inside("inner::unknown", "");
}

#[test]
fn ptx_that_the_driver_cannot_read_is_explained() {
    let mut command = vgg_ft();
    command.env("LD_LIBRARY_PATH", fake()).env("VGG_FT_FAKE_CUDA", "old-driver");
    let [_, error] = says(command.args(["predict", ".", "x.png"]), 1);
    for part in [
        "error: cuda: cannot compile kernels/ptx/",
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)",
        "driver     CUDA 10.2",
        "current version is '6.5'",
        "PTX needs  CUDA 11.0",
        "while opening the GPU that --device auto found",
        "help: update the NVIDIA driver",
    ] {
        assert!(error.contains(part), "`{part}` is not in\n{error}");
    }
}

#[test]
fn a_card_that_is_not_there_is_refused_with_those_that_are() {
    let mut command = vgg_ft();
    command.env("LD_LIBRARY_PATH", fake());
    let [_, error] = says(command.args(["--device", "cuda:3", "predict", ".", "x.png"]), 1);
    assert!(error.contains("there is no cuda:3") && error.contains("cuda:0 No GPU"), "{error}");
}

#[test]
fn the_case_table_passes_through_libcuda() {
    inside("inner::case_table", "");
}

#[test]
fn large_copies_arrive_in_order_from_many_threads() {
    inside("inner::copies", "");
}

#[test]
fn a_full_card_says_how_full_and_can_be_used_again() {
    inside("memory::full", "memory=67108864");
}

#[test]
fn what_is_fetched_later_is_what_was_there() {
    inside("memory::later", "");
}

#[test]
fn slabs_that_are_empty_make_room_for_one_of_another_size() {
    inside("memory::room", "memory=201326592");
}

#[test]
fn steps_are_replayed_and_learn_the_same_bits_as_launch_by_launch() {
    inside("steps::steps", "");
}

#[test]
fn a_driver_without_graphs_learns_too() {
    inside("steps::steps_without_graphs", "no-graphs");
}

#[test]
fn kernels_that_begin_early_learn_the_same_bits() {
    inside("steps::programmatic", "hopper");
    inside("steps::programmatic_hopper", "hopper");
}

#[test]
fn programmatic_launches_are_refused_before_hopper() {
    inside("steps::not_programmatic", "");
}

#[test]
fn copies_and_waits_split_a_step() {
    inside("steps::splits", "");
}

#[test]
fn passes_forward_are_replayed_and_answer_the_same_bits_as_launch_by_launch() {
    inside("steps::passes", "");
}

#[test]
fn a_fault_in_a_replayed_graph_names_its_kernels() {
    inside("steps::fault_in_graph", "fault=relu_forward:4");
}

#[test]
fn graphs_that_are_not_used_make_room() {
    inside("steps::many_graphs", "");
}

#[test]
fn without_room_for_graphs_launches_go_one_by_one() {
    for function in
        ["cuGraphCreate", "cuGraphAddKernelNode:3", "cuGraphInstantiate", "cuGraphLaunch", "cuGraphLaunch:2"]
    {
        inside("steps::no_room", &format!("full={function}"));
    }
}

#[test]
fn a_graph_that_cannot_be_changed_is_made_anew() {
    inside("steps::changes_refused", "full=cuGraphExecKernelNodeSetParams");
}

#[test]
fn kept_graphs_make_room_for_the_one_that_is_started() {
    inside("steps::room_for_one", "graphs=1");
}

#[test]
fn what_another_thread_keeps_back_does_not_lose_its_memory() {
    inside("memory::room_for_two", "memory=201326592,slow-wait=400");
}

/// As many modules are loaded at the start as [`memory::at_the_start`] counts: the next one is that of the first launch
/// that needs it.
#[test]
fn a_module_that_is_loaded_late_gets_room() {
    let next = memory::at_the_start() + 1;
    inside("memory::late_module", "");
    // CUDA_ERROR_OUT_OF_MEMORY; any other answer is that of a module which no room helps.
    inside("memory::late_module", &format!("refuse=cuModuleLoadDataEx:{next}:2"));
    inside("memory::late_module_refused", &format!("refuse=cuModuleLoadDataEx:{next}"));
}

#[test]
fn graphs_make_room_for_a_buffer() {
    inside("memory::graphs_go", "memory=201326592");
}

#[test]
fn the_ceilings_are_measured() {
    inside("inner::ceilings", "");
}

#[test]
fn small_uploads_of_several_steps_wait_for_no_kernel() {
    inside("memory::uploads", "fault=relu_forward");
}

#[test]
fn a_write_beside_a_buffer_is_found() {
    inside("inner::beside", "");
}

#[test]
fn tensor_maps_reach_hoppers_kernels_through_libcuda() {
    inside("inner::hopper", "hopper");
}

#[test]
fn a_driver_too_old_for_hoppers_kernels_gets_the_portable_ones() {
    inside("inner::held_back", "hopper,driver=12000");
}

/// The default is f32 on every device; who did not choose it hears what else the GPU has.
#[test]
fn tensor_cores_that_are_idle_are_said() {
    let empty = tempfile::tempdir().unwrap();
    let said = |words: &str, precision: &[&str]| {
        let mut command = vgg_ft();
        command
            .env("LD_LIBRARY_PATH", fake())
            .env("VGG_FT_FAKE_CUDA", words)
            .arg("extract")
            .arg(empty.path());
        says(command.args(["-o", "features", "--device", "cuda"]).args(precision), 1)[1].clone()
    };
    for (words, faster) in [
        ("hopper", "--precision bf16 or tf32 is"),
        ("", "--precision bf16 or tf32 is"),
        ("turing", "--precision f16 is"),
    ] {
        let text = said(words, &[]);
        assert!(text.contains("its tensor cores are idle") && text.contains(faster), "{words}: {text}");
        assert!(!said(words, &["--precision", "f32"]).contains("idle"));
    }
}

/// What runs on the fake library.
mod inner {
    use super::support::cases::{self, Integers, Reals};
    use super::support::{devices, tensor_cores};
    use vgg_ft::device::gpu::Gpu;
    use vgg_ft::device::gpu::cuda::{Cuda, Options};
    use vgg_ft::device::gpu::driver::Driver;
    use vgg_ft::device::gpu::launch::{Arg, Launch};
    use vgg_ft::device::gpu::module;
    use vgg_ft::device::{Call, Cost, Device, Dtype, Kernels, Precision};
    use vgg_ft::random::{Draws, Stream};

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

    /// One geometry takes im2col maps, tiled ones and stores; the second a pool's boxes.
    #[test]
    #[ignore = "runs on the fake library"]
    fn hopper() {
        let geometries = [(2, 13, 10, 192, 128), (1, 4, 70, 64, 64)];
        for precision in [Precision::Bf16, Precision::Tf32] {
            let devices = tensor_cores::devices(precision, Kernels::Sm90a);
            // Of tf32 reals, which show whether maps round; integers are whole either way.
            let kind = if precision == Precision::Tf32 { Reals } else { Integers };
            tensor_cores::all_agree(&devices, &geometries, precision, kind);
        }
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn held_back() {
        let open = || Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
        let device = open().with_precision(Precision::Bf16).with_kernels(Kernels::Auto).unwrap();
        let hardware = device.describe().hardware;
        assert!(hardware.contains("kernels portable") && hardware.contains("CUDA 12.1"), "{hardware}");
        let asked = open().with_precision(Precision::Bf16).with_kernels(Kernels::Sm90a);
        // Whoever asks for them by name gets them or an error; this library reads any text.
        assert!(asked.is_ok());
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn known() {
        assert_eq!(devices::card().card().map(|card| card.name), Some("h200"));
    }

    #[test]
    #[ignore = "runs on the fake library"]
    fn unknown() {
        assert_eq!(devices::card().card(), None);
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
        let launch = Launch {
            entry,
            grid: [1, 1, 1],
            block: [256, 1, 1],
            shared: 0,
            args,
            cost: Cost::default(),
            compulsory: 0,
        };
        launch.check(cuda.limits()).unwrap();
        cuda.launch(&launch).unwrap();
        let error = cuda.read(y, &mut bytes).unwrap_err().to_string();
        assert!(error.contains("written behind a buffer") && error.contains("1 behind it"), "{error}");
        // A copy that belongs to no buffer.
        assert!(cuda.write(y, &[0; 36]).unwrap_err().message().contains("lies in no buffer"));
    }
    #[test]
    #[ignore = "runs on the fake library"]
    fn ceilings() {
        let cuda = Cuda::open(Options::default()).unwrap();
        assert!(cuda.copy_ceiling(16 << 20).unwrap() > 0.0);
        assert!(cuda.multiply_add_ceiling(2).unwrap() > 0.0);
    }
}
