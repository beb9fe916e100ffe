//! `vgg-ft emulate`: the list, every kernel, the tables, and what is refused; `--device emulator`.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use std::path::Path;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::emulator::{Emulator, Options, Schedule};
use vgg_ft::device::gpu::module::MODULES;
use vgg_ft::device::{Call, Device, Dtype};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::weights::find_default;

fn emulate(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command.env("RUST_BACKTRACE", "0").arg("emulate").args(args);
    command
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

fn fails(command: &mut Command, code: i32) -> String {
    let text = String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn names() -> Vec<String> {
    let all = json(&stdout(&mut emulate(&["--json"])));
    all.as_array().unwrap().iter().map(|kernel| kernel["kernel"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_kernels_are_listed_with_what_they_compute() {
    let text = stdout(&mut emulate(&[]));
    assert_eq!(text.lines().count(), 42, "33 calls and 9 rungs of the ladder\n{text}");
    let row = text.lines().find(|line| line.starts_with("conv2d_forward ")).unwrap();
    assert!(row.contains("y = f(bias + Σ x·weight)") && row.contains("c_in=16"), "{row}");
    assert!(names().contains(&"conv2d_2_tiled".to_owned()));
}

#[test]
fn every_kernel_gives_what_the_cpu_gives_in_any_order_of_turns() {
    // tests/kernels.rs has them all in the usual order.
    for (name, order) in names().iter().zip(["reverse", "random:7"].into_iter().cycle()) {
        let args = [name.as_str(), "--json", "--seed", "3", "--schedule", order, "--global-races"];
        let result = json(&stdout(&mut emulate(&args)));
        assert_eq!(result["kernel"], name.as_str());
        // A sum of parts comes after, the range of an image before; a step may be taken where a sum ends.
        let launches = result["launches"].as_array().unwrap();
        // Two calls in one are two launches where no kernel takes both.
        let last = name.replace("conv2d_conv2d", "conv2d");
        let own = |launch: &serde_json::Value| launch["entry"].as_str().unwrap().starts_with(&last);
        assert!(launches.iter().any(own), "{name}: {launches:?}");
        let outputs = result["outputs"].as_array().unwrap();
        assert!(!outputs.is_empty(), "{name}");
        for output in outputs {
            let tolerance = output["tolerance"].as_f64().unwrap();
            // Of bf16, which the ladder's last rungs have, an eighth bit.
            assert!(tolerance < 2f64.powi(-7), "{name}: {output}");
            assert!(output["relative"].as_f64().unwrap() <= tolerance, "{name} {order}: {output}");
        }
    }
}

/// Warps that store halves of one word have no race.
#[test]
fn neighbours_of_16_bits_are_no_race() {
    for shape in ["n=2,h=21,w=17,c=3", "n=1,h=18,w=22,c=5"] {
        let args = ["maxpool2d_backward", "--shape", shape, "--precision", "bf16", "--global-races"];
        stdout(&mut emulate(&args));
    }
}

/// Of two pixels that are equal in 16 bits either may win a pool.
#[test]
fn ties_of_16_bits_are_no_difference() {
    for (precision, shape) in [("bf16", "n=2,w=20"), ("f16", "c_in=8,h=22"), ("bf16", "c_in=5,h=9,w=23")] {
        let args = ["conv2d_maxpool2d_forward", "--precision", precision, "--shape", shape, "--json"];
        let result = json(&stdout(&mut emulate(&args)));
        assert_eq!(result["outputs"][1]["relative"], 0.0, "{result}");
    }
}

#[test]
fn sizes_are_taken_by_name() {
    let text = stdout(&mut emulate(&["dense_forward", "--shape", "n=2,c_in=40", "--fast"]));
    assert!(text.contains("n=2 c_in=40 c_out=64") && text.contains("y   128 numbers"), "{text}");
    assert!(text.contains("checks bounds and alignment;"), "{text}");
    let text = stdout(&mut emulate(&["relu_forward", "--shape", "len=3000", "--early-copies"]));
    assert!(text.contains("grid 3x1x1   block 256x1x1") && text.contains("cp.async early"), "{text}");
}

#[test]
fn the_table_of_lines_adds_up() {
    let args = ["conv2d_forward", "--stats", "--shape", "h=4,w=4"];
    let text = stdout(&mut emulate(&args));
    for part in [
        "sectors/ideal",
        "banks/ideal",
        "split%",
        "kernels/tile.cuh",
        "fmaf(a[r], b[c]",
        "arithmetic intensity",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(text.lines().filter(|line| line.starts_with("> ")).count() >= 3, "{text}");
    let result = json(&stdout(emulate(&args).arg("--json")));
    let lines = result["launches"][0]["lines"].as_array().unwrap();
    let sum = |what: &str| lines.iter().map(|line| line[what].as_u64().unwrap()).sum::<u64>();
    // A tile of 128 pixels x 64 filters, whatever the image's size: 144 products each, two flops a product.
    let products = 2 * 128 * 64 * 144;
    assert!((products..products + products / 100).contains(&sum("flops")), "{}", sum("flops"));
    assert!(sum("sectors") >= sum("sectors_ideal") && sum("sectors_ideal") > 0);
    assert_eq!(sum("bank_passes"), sum("bank_passes_ideal"), "tiles are laid out without conflicts");
    assert!(sum("active_lanes") <= 32 * sum("warp_instructions"));
    assert!(lines.iter().any(|line| line["source"].as_str().is_some_and(|s| s.contains("__syncthreads"))));
}

/// What docs/emulator.md says of the second rung.
#[test]
fn bank_conflicts_are_counted_at_their_line() {
    let args = ["conv2d_2_tiled", "--stats", "--json", "--shape", "h=16,w=16,c_in=32,c_out=64"];
    let result = json(&stdout(&mut emulate(&args)));
    let lines = result["launches"][0]["lines"].as_array().unwrap();
    let count = |line: &serde_json::Value, what: &str| line[what].as_u64().unwrap();
    let worst = lines.iter().max_by_key(|line| count(line, "bank_passes")).unwrap();
    assert!(count(worst, "bank_passes") > 4 * count(worst, "bank_passes_ideal"), "{worst}");
    assert!(worst["file"].as_str().unwrap().ends_with("conv2d_2_tiled.cu"), "{worst}");
}

/// Rung 6 reads its tiles by `ldmatrix` alone: a pass for each matrix of eight rows, thanks to the swizzle.
#[test]
fn passes_of_ldmatrix_are_counted() {
    let args = ["conv2d_6_pipelined", "--stats", "--json", "--shape", "h=16,w=16,c_in=64,c_out=128"];
    let result = json(&stdout(&mut emulate(&args)));
    let lines = result["launches"][0]["lines"].as_array().unwrap();
    let sum = |what: &str| lines.iter().map(|line| line[what].as_u64().unwrap()).sum::<u64>();
    // Each of 8 blocks, of 64 pixels by 64 filters, goes through 9 taps of 4 times 16 channels; for these each of its 4
    // warps, of 32 by 32, needs 8 matrices of pixels and 8 of filters.
    assert_eq!((sum("bank_passes_ideal"), sum("bank_passes")), (8 * 9 * 4 * 4 * 16, 18_432));
}

#[test]
fn a_thread_is_followed_from_line_to_line() {
    let text = stdout(&mut emulate(&["relu_forward", "--trace", "0,0,0:5"]));
    for part in
        ["relu_forward: ", "kernels/elementwise.cu:", "if (at >= len) return;", "not taken", "x[20]", "y[20]"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let result = json(&stdout(&mut emulate(&["add", "--trace", "0,7", "--json"])));
    let steps = result["launches"][0]["trace"].as_array().unwrap();
    let store =
        steps.iter().rev().find(|step| step["instruction"].as_str().unwrap().starts_with("st.")).unwrap();
    assert_eq!(store["memory"], "into[28]");
    assert_eq!(store["values"].as_array().unwrap().len(), 4);
    let error = fails(&mut emulate(&["add", "--trace", "9,3"]), 2);
    assert!(
        error.contains("1x1x1 blocks of 256 threads") && error.contains("thread 3 of block 9,0,0"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let error = fails(&mut emulate(&["conv3d"]), 2);
    assert!(
        error.contains("`conv3d`") && names().iter().all(|name| error.contains(name.as_str())),
        "{error}"
    );
    let error = fails(&mut emulate(&["add", "--shape", "n=3"]), 2);
    assert!(error.contains("no axis `n`") && error.contains("len=1000"), "{error}");
    for shape in ["len=0", "len", "len=x", "len=1073741824"] {
        fails(&mut emulate(&["add", "--shape", shape]), 2);
    }
    fails(&mut emulate(&["conv2d_forward", "--shape", "h=100000,w=100000,c_in=100000"]), 2);
    fails(&mut emulate(&["add", "--trace", "5"]), 2);
    fails(&mut emulate(&["add", "--schedule", "sideways"]), 2);
    fails(&mut emulate(&["add", "--fast", "--checked"]), 2);
    fails(&mut emulate(&["add", "--device", "cuda:x"]), 2);
}

/// One image of 32x32 through VGG16, some steps of a head: the whole model on our own kernels.
#[test]
fn a_run_on_the_emulator_agrees_with_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data/train"), 2);
    draw(&here.join("data/validation"), 1);
    let run = |device: &str, args: &[&str]| {
        let mut command = Command::cargo_bin("vgg-ft").unwrap();
        command
            .env("VGG_FT_CACHE", here.join("cache"))
            .env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap())
            .current_dir(here)
            .args(["--json", "--device", device])
            .args(args);
        let output = command.assert().success().get_output().clone();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("device     {}", device.split(':').next().unwrap())), "{said}");
        (json(&String::from_utf8(output.stdout).unwrap()), said)
    };
    run("cpu", &["extract", "data", "-o", "features", "--size", "32"]);
    let mut results = Vec::new();
    for device in ["cpu", "emulator:checked"] {
        let out = device.split(':').next().unwrap();
        let fit =
            ["fit", "features", "-o", out, "--epochs", "2", "--units", "8", "--rate", "1e-5", "--batch", "2"];
        let (result, said) = run(device, &fit);
        assert_eq!(said.contains("all checks"), device == "emulator:checked", "{said}");
        results.push(result["result"]["val_loss"].as_f64().unwrap());
    }
    assert!((results[0] - results[1]).abs() <= 1e-4 * results[0].abs(), "{results:?}");
    let image = ["predict", "cpu", "data/train/warm/0.png"];
    let probability = |device| run(device, &image).0["top"][0]["probability"].as_f64().unwrap();
    let (want, got) = (probability("cpu"), probability("emulator"));
    assert!((want - got).abs() < 1e-5, "{want} on the cpu, {got} on the emulator");
}

/// Noisy images, reddish and bluish.
fn draw(split: &Path, n: usize) {
    let mut draws = Draws::new(1, Stream::Demo, 0);
    for (class, lift) in [("cold", 2), ("warm", 0)] {
        std::fs::create_dir_all(split.join(class)).unwrap();
        for i in 0..n {
            let mut image = image::RgbImage::new(32, 32);
            for pixel in image.pixels_mut() {
                let mut rgb = [0; 3].map(|_: u8| draws.below(120) as u8);
                rgb[lift] += 100;
                pixel.0 = rgb;
            }
            image.save(split.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
}

/// What the machine says of a shipped kernel whose PTX was damaged by `damage`.
fn damaged(
    options: Options,
    file: &str,
    damage: (&str, &str),
    run: impl Fn(&dyn Device) -> vgg_ft::error::Result<()>,
) -> String {
    let gpu = Gpu::new(Emulator::new(options).unwrap()).unwrap();
    run(&gpu).unwrap();
    let module = MODULES.iter().find(|module| module.name == file).unwrap();
    assert!(module.text.contains(damage.0), "{file} has no `{}` any more", damage.0);
    let text = module.text.replace(damage.0, damage.1);
    gpu.driver().load_text(&format!("kernels/ptx/{file}.sm_75.ptx"), &text).unwrap();
    run(&gpu).unwrap_err().to_string()
}

/// The reports that docs/emulator.md shows.
#[test]
fn damaged_kernels_are_reported_with_line_thread_and_element() {
    let bias = |device: &dyn Device| {
        let dy = device.zeros(100 * 40)?;
        let mut dbias = device.alloc(Dtype::F32, 40)?;
        device.run(Call::BiasBackward { rows: 100, channels: 40, dy: &dy, dbias: &mut dbias })
    };
    let relu = |device: &dyn Device| {
        let x = device.zeros(1000)?;
        let mut y = device.alloc(Dtype::F32, 1000)?;
        device.run(Call::ReluForward { x: &x, y: &mut y })
    };
    // In the usual order warp 0 reads first, what nobody has written yet.
    let reverse = Options { schedule: Schedule::Reverse, ..Options::default() };
    let race = damaged(reverse, "bias_backward", ("bar.sync \t0;", ""), bias);
    println!("{race}\n");
    for part in ["race on", "bias_backward   kernels/bias_backward.cu:", "thread", "block"] {
        assert!(race.contains(part), "no {part} in\n{race}");
    }
    // The kernel believes in eight elements more than there are.
    let past = damaged(
        Options::default(),
        "elementwise",
        ("ld.param.u32 \t%r2, [relu_forward_param_0];", "mov.u32 \t%r2, 1008;"),
        relu,
    );
    println!("{past}\n");
    for part in ["`x`", "relu_forward   kernels/", "thread"] {
        assert!(past.contains(part), "no {part} in\n{past}");
    }
}

/// PTX of one's own in the place of what ships: it runs, and says that it is not what ships; what does not fit the program
/// is refused.
#[test]
fn kernels_are_tried_without_a_build() {
    let folder = tempfile::tempdir().unwrap();
    let tried = |from: &str, to: &str| {
        let shipped = MODULES.iter().find(|m| m.name == "elementwise" && m.target == "sm_75").unwrap().text;
        assert!(shipped.contains(from), "{from}");
        let path = folder.path().join("elementwise.sm_75.ptx");
        std::fs::write(&path, shipped.replace(from, to)).unwrap();
        let mut command = emulate(&["add"]);
        command.env("VGG_FT_PTX", folder.path());
        command
    };
    let same = tried(".version", ".version").assert().success().get_output().clone();
    let told = String::from_utf8([same.stdout, same.stderr].concat()).unwrap();
    assert!(told.contains(", of VGG_FT_PTX elementwise.sm_75)"), "{told}");
    let error = fails(&mut tried("add.f32", "sub.f32"), 1);
    assert!(error.contains("is not what the cpu gives"), "{error}");
    let error = fails(&mut tried(".b8 add_param_0[4]", ".b8 add_param_0[8]"), 2);
    assert!(error.contains("takes other parameters") && error.contains("VGG_FT_PTX"), "{error}");
    let error = fails(&mut tried(".maxntid 256", ".maxntid 128"), 2);
    assert!(error.contains("another largest block"), "{error}");
    let error = fails(&mut tried(".entry add(", ".entry added("), 2);
    assert!(error.contains("has no entry `add`"), "{error}");
    std::fs::remove_file(folder.path().join("elementwise.sm_75.ptx")).unwrap();
    let error = fails(emulate(&["add"]).env("VGG_FT_PTX", folder.path()), 2);
    assert!(error.contains("a folder without kernels to try"), "{error}");
}

/// Convolutions and what lies between them have kernels of other numbers; channels that Hopper's take are a default there.
#[test]
fn kernels_of_other_numbers_give_what_the_cpu_gives_of_rounded_ones() {
    let halves = [
        "normalize",
        "augment",
        "relu_forward",
        "relu_backward",
        "add",
        "maxpool2d_forward",
        "maxpool2d_backward",
        "conv2d_forward",
        "conv2d_maxpool2d_forward",
        "conv2d_backward_input",
        "conv2d_backward_weight",
        "bias_backward",
        "conv2d_rmsprop_step",
        "conv2d_conv2d_maxpool2d_forward",
    ];
    let products = [
        "conv2d_forward",
        "conv2d_maxpool2d_forward",
        "conv2d_backward_input",
        "conv2d_backward_weight",
        "conv2d_rmsprop_step",
        "conv2d_conv2d_maxpool2d_forward",
        "dense_forward",
    ];
    // No first block in tf32.
    let hoppers = &products[..6];
    for (precision, kernels, names, part) in [
        ("bf16", "portable", &halves[..], "bf16"),
        ("f16", "portable", &halves, "f16"),
        ("tf32", "portable", &products, "tf32"),
        ("tf32x3", "auto", &products, "tf32x3"),
        ("bf16", "sm90a", hoppers, "_sm90"),
        ("tf32", "sm90a", &hoppers[..5], "_sm90_tf32"),
        ("f32", "winograd", &products[..5], "_winograd_"),
    ] {
        for name in names {
            let args = [name, "--json", "--seed", "5", "--precision", precision, "--kernels", kernels];
            let result = json(&stdout(&mut emulate(&args)));
            assert_eq!(result["precision"], precision);
            let launches = result["launches"].as_array().unwrap();
            let product = products.contains(name);
            let whole = if kernels == "sm90a" && name.starts_with("conv2d_conv2d") { name } else { "" };
            let own = |launch: &serde_json::Value| {
                let entry = launch["entry"].as_str().unwrap();
                entry.contains(part) && entry.starts_with(whole)
            };
            assert!(!product || launches.iter().any(own), "{name} {precision} {kernels}: {launches:?}");
            for output in result["outputs"].as_array().unwrap() {
                let [relative, tolerance] =
                    ["relative", "tolerance"].map(|key| output[key].as_f64().unwrap());
                assert!(relative <= tolerance, "{name} {precision} {kernels}: {output}");
                // It is the kernel of those numbers that ran: what has 16 bits is not the cpu's f32 to the bit.
                let rounded = ["y", "dx", "into"].contains(&output["name"].as_str().unwrap());
                let sums = name.starts_with("conv2d") || ["normalize", "augment", "add"].contains(name);
                if rounded && sums && ["bf16", "f16"].contains(&precision) {
                    assert!(relative > 1e-5, "{name} {precision} {kernels}: {output}");
                }
            }
        }
    }
}

#[test]
fn numbers_and_kernels_that_are_not_there_are_refused() {
    for (args, word) in [
        (vec!["softmax", "--precision", "f16"], "softmax has no kernel of f16"),
        (vec!["dense_forward", "--precision", "bf16"], "f32, tf32 or tf32x3"),
        (vec!["relu_forward", "--precision", "tf32"], "relu_forward has no kernel of tf32"),
        (vec!["add", "--precision", "bf16", "--kernels", "sm90a"], "add has no kernel of sm90a in bf16"),
        (vec!["conv2d_forward", "--kernels", "sm90a"], "multiplies bf16 and tf32 alone"),
        (
            vec!["conv2d_conv2d_maxpool2d_forward", "--precision", "tf32", "--kernels", "sm90a"],
            "has no kernel of sm90a in tf32",
        ),
        (
            vec![
                "conv2d_conv2d_maxpool2d_forward",
                "--precision",
                "bf16",
                "--kernels",
                "sm90a",
                "--shape",
                "c_in=4",
            ],
            "3 channels and 64 filters",
        ),
        (vec!["conv2d_5_mma", "--precision", "f32"], "--precision bf16"),
        (vec!["conv2d_7_wgmma", "--kernels", "sm90a"], "a rung of the ladder"),
        (
            vec!["conv2d_forward", "--precision", "bf16", "--kernels", "sm90a", "--shape", "c_in=65"],
            "has no kernel of sm90a for these sizes",
        ),
    ] {
        let error = fails(&mut emulate(&args), 2);
        assert!(error.contains(word) && error.contains("\n  help: "), "{args:?}: {error}");
    }
    stdout(&mut emulate(&["conv2d_5_mma", "--precision", "bf16"]));
}
