//! Ctrl-C, SIGTERM, kill -9: the run that was stopped ends as the one that was not.
#![cfg(unix)]

use super::{
    assert_same, assert_whole, draw, fails, here, history, names, signal, spawn, succeeds, tensors,
    wait_until,
};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::weights::Weights;

/// A job of two stages; `more` comes last.
fn job<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["finetune", "data", "-o", out, "--size", "32", "--units", "8", "--batch", "3"];
    args.extend(["--head-epochs", "3", "--epochs", "3", "--unfreeze-from", "block5_conv3"]);
    args.extend(["--head-rate", "1e-3", "--rate", "1e-4"]);
    args.extend(more);
    args
}

/// What a checkpoint says of itself.
fn state(run: &Path) -> Option<serde_json::Value> {
    let path = run.join("checkpoint.safetensors");
    let state = path.exists().then(|| Weights::open(&path).unwrap().metadata()["state"].clone())?;
    Some(super::json(&state))
}

/// Runs `args` until the history has `epochs` epochs, waits `pause`, sends `name`; the process must end as
/// it should. Gives the steps of the broken epoch that were done.
fn stop(dir: &Path, run: &str, args: &[&str], epochs: usize, pause: u64, name: &str) -> u64 {
    let mut child = spawn(dir, args);
    let csv = dir.join(run).join("history.csv");
    wait_until(&mut child, || fs::read_to_string(&csv).is_ok_and(|text| text.lines().count() > epochs));
    std::thread::sleep(Duration::from_millis(pause));
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = match name {
        "-TERM" => 143,
        "-USR1" => 138,
        _ => 130,
    };
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains("error: stopped by the user"), "{error}");
    assert!(error.contains("goes on from there, or the same command with --resume"), "{error}");
    let there = names(&dir.join(run));
    assert!(!there.iter().any(|name| name == "run.toml" || name.contains("partial")), "{there:?}");
    let state = state(&dir.join(run)).unwrap();
    assert_eq!(state["position"]["over"], false);
    state["position"]["within"].as_u64().unwrap()
}

/// Stopped in both stages, once with each signal, and taken up on another number of threads.
fn stopped_twice_is_never_stopped(more: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    succeeds(&here, &[&job("whole", more)[..], &["--threads", "1"]].concat());
    let begin = [&job("stopped", more)[..], &["--threads", "2"]].concat();
    let resume = [&begin[..], &["--resume"]].concat();
    // Where a stop falls is the machine's business: begun anew until one falls within an epoch.
    let mut within = 0;
    for pause in [60, 90, 30, 120, 45, 75] {
        let _ = fs::remove_dir_all(here.join("stopped"));
        within = stop(
            &here,
            "stopped",
            &begin,
            1,
            pause,
            if cfg!(target_os = "linux") { "-USR1" } else { "-INT" },
        );
        if within > 0 {
            break;
        }
    }
    let error = fails(&here, &begin, 2);
    assert!(error.contains("holds a run that was stopped") && error.contains("--resume"), "{error}");
    let seconds = |state: serde_json::Value| state["seconds"].as_f64().unwrap();
    let first = seconds(state(&here.join("stopped")).unwrap());
    within += stop(&here, "stopped", &resume, 4, 60, "-TERM");
    assert!(within > 0, "every stop fell between two epochs: the steps are too quick for this test");
    let both = seconds(state(&here.join("stopped")).unwrap());
    assert!(first > 0.0 && both > first, "{first} {both}");
    // The last leg from the folder alone.
    let (_, said) = succeeds(&here, &["resume", "stopped", "--threads", "1"]);
    assert!(said.contains("going on after"), "{said}");
    assert_same(&here.join("whole"), &here.join("stopped"));
    assert_whole(&here.join("stopped"));
    // The last leg is the shortest: by itself it takes less than those before.
    let toml: toml::Table = fs::read_to_string(here.join("stopped/run.toml")).unwrap().parse().unwrap();
    let all = toml["result"]["seconds"].as_float().unwrap();
    assert!(all > both, "{all} seconds in all, {both} before the last leg");
    let (text, _) = succeeds(&here, &resume);
    assert!(text.contains("stopped is finished, there is nothing to go on with"), "{text}");
    let (text, _) = succeeds(&here, &["resume", "stopped"]);
    assert!(text.contains("is finished"), "{text}");
    let other: Vec<&str> = resume.iter().copied().chain(["--early-stopping", "50"]).collect();
    let error = fails(&here, &other, 2);
    assert!(error.contains("holds another job") && error.contains("early_stopping = 50"), "{error}");
}

#[test]
fn rmsprop_with_dropout_and_augmentation_is_taken_up_to_the_bit() {
    stopped_twice_is_never_stopped(&["--augment", "book", "--steps-per-epoch", "12"]);
}

#[test]
fn adamw_with_all_that_counts_steps_is_taken_up_to_the_bit() {
    stopped_twice_is_never_stopped(&[
        "--optimizer",
        "adamw",
        "--accumulate",
        "2",
        "--schedule",
        "cosine:0.1",
        "--warmup",
        "5",
        "--augment",
        "book",
        "--steps-per-epoch",
        "9",
        "--validation-steps",
        "1",
        "--restore-best",
        "--rates",
        "block5=0.5",
        "--label-smoothing",
        "0.1",
        "--class-weights",
        "auto",
    ]);
}

/// Under nohup the terminal's end is not ours; in the background of a script its Ctrl-C is not.
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5])]);
    for (trap, sent, ends) in
        [("trap '' HUP; ", "-HUP", 0), ("", "-HUP", 129), ("trap '' INT; ", "-INT", 0), ("", "-INT", 130)]
    {
        let run = format!("run{sent}{ends}");
        let mut command = std::process::Command::new("sh");
        let mut child = super::signals::hears(&mut command)
            .args(["-c", &format!("{trap}exec \"$0\" \"$@\"")])
            .arg(assert_cmd::cargo::cargo_bin("vgg-ft"))
            .args([
                "finetune", "data", "-o", &run, "--size", "32", "--units", "8", "--batch", "3", "--epochs",
                "0",
            ])
            // Long enough for the signal to find it at work.
            .args(["--head-epochs", if ends == 0 { "100" } else { "3000" }])
            .env("VGG_FT_CACHE", here.join("cache"))
            .current_dir(&here)
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let csv = here.join(&run).join("history.csv");
        wait_until(&mut child, || csv.exists());
        signal(&child, sent);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(ends), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in [("-INT", "-INT", 130), ("-INT", "-TERM", 143)] {
        ends_at_once(first, second, code);
    }
}

/// `timeout` ends a process and then its group: two signals that are one end, and the work in hand is kept.
#[test]
fn two_signals_that_come_together_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [8, 8])]);
    let args = ["finetune", "data", "-o", "run", "--size", "64", "--augment", "book", "--head-epochs", "300"];
    let mut child = spawn(&here, &args);
    let csv = here.join("run/history.csv");
    wait_until(&mut child, || csv.exists());
    signal(&child, "-TERM");
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(143), "{error}");
    assert!(error.contains("goes on from there"), "{error}");
}

fn ends_at_once(first: &str, second: &str, code: i32) {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [8, 8])]);
    // Steps of seconds, so that the first signal finds one in hand.
    let args = ["finetune", "data", "-o", "slow", "--size", "512", "--batch", "16", "--augment", "book"];
    let mut child = spawn(&here, &args);
    let job = here.join("slow/job.toml");
    wait_until(&mut child, || job.exists());
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, first);
    std::thread::sleep(Duration::from_millis(600));
    signal(&child, second);
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains("press Ctrl-C again to stop at once"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// A child is killed at a random moment, again and again. What lies there is whole at every moment, no more
/// than the epoch in hand is lost, and the end is that of a run in peace.
#[test]
fn killed_at_random_moments_it_loses_an_epoch_at_most_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    let more = ["--restore-best", "--optimizer", "sgd", "--momentum", "0.9"];
    let began = Instant::now();
    succeeds(&here, &job("whole", &more));
    let whole = began.elapsed().as_millis() as usize;
    let mut draws = Draws::new(5, Stream::Demo, 0);
    let (mut kills, mut fresh, mut epochs_before, mut ended) = (0, 0, 0, 0);
    let mut moments = Vec::new();
    let mut run = "killed0".to_owned();
    while kills < 16 {
        let folder = here.join(&run);
        let args = goes_on(&folder, &run, &more);
        let mut child = spawn(&here, &args);
        // A fresh start costs a part of it before the first epoch.
        std::thread::sleep(Duration::from_millis(draws.below(whole as u32) as u64));
        let over = child.try_wait().unwrap();
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if let Some(status) = over {
            assert!(status.success(), "{error}");
            assert_same(&here.join("whole"), &folder);
            assert_whole(&folder);
            ended += 1;
            fresh += 1;
            (run, epochs_before) = (format!("killed{fresh}"), 0);
            continue;
        }
        kills += 1;
        if !folder.exists() {
            continue;
        }
        // Whatever has its name is whole.
        for name in names(&folder).iter().filter(|name| name.ends_with(".safetensors")) {
            tensors(&folder.join(name));
        }
        let told = if folder.join("history.csv").exists() { history(&folder).len() } else { 0 };
        let kept = state(&folder).map_or(0, |state| state["history"]["epochs"].as_array().unwrap().len());
        let finished = folder.join("run.toml").exists();
        if !finished {
            assert!(kept >= epochs_before, "an epoch that was kept is gone: {epochs_before} and {kept}");
            let printed = error.lines().filter(|line| line.contains(" - acc: ")).count();
            assert!(epochs_before + printed <= kept + 1, "{epochs_before} + {printed} and {kept}: {error}");
            assert!(told <= kept + 1, "{told} told, {kept} kept");
            epochs_before = kept;
        }
        moments.push(if finished { "end".to_owned() } else { kept.to_string() });
    }
    println!("{kills} kills, {ended} runs came through; epochs kept: {}", moments.join(" "));
    let folder = here.join(&run);
    succeeds(&here, &goes_on(&folder, &run, &more));
    assert_same(&here.join("whole"), &folder);
    assert_whole(&folder);
}

/// The command for a run that was killed, or never began.
fn goes_on<'a>(folder: &Path, run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let there = ["job.toml", "run.toml"].iter().any(|name| folder.join(name).exists());
    if there { vec!["resume", run] } else { job(run, more) }
}

/// Killed between the last file and the clearing away.
#[test]
fn remains_beside_a_finished_run_are_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    succeeds(&here, &job("run", &["--keep-features"]));
    let run = here.join("run");
    let text = fs::read_to_string(run.join("run.toml")).unwrap();
    fs::write(run.join("run.toml"), text.replace("keep_features = true", "keep_features = false")).unwrap();
    let remains =
        ["job.toml", "checkpoint.safetensors", "best.safetensors", "checkpoint.safetensors.123.partial"];
    for name in remains {
        fs::write(run.join(name), b"remains").unwrap();
    }
    fs::write(run.join("mine.123.partial"), b"mine").unwrap();
    let events = ["train", "validation"].map(|part| run.join("tensorboard").join(part));
    for folder in &events {
        for name in
            ["events.out.tfevents.17.vgg-ft.v2.123.partial", "events.out.tfevents.17.other.123.partial"]
        {
            fs::write(folder.join(name), b"remains").unwrap();
        }
    }
    let (text, _) = succeeds(&here, &["resume", "run"]);
    assert!(text.contains("run is finished"), "{text}");
    let there = names(&run);
    assert!(!remains.iter().any(|name| there.contains(&(*name).to_owned())), "{there:?}");
    assert!(
        there.contains(&"mine.123.partial".to_owned()) && !there.contains(&"features".to_owned()),
        "{there:?}"
    );
    for folder in &events {
        let there = names(folder);
        let partial: Vec<&String> = there.iter().filter(|name| name.ends_with(".partial")).collect();
        assert_eq!(partial, ["events.out.tfevents.17.other.123.partial"], "{there:?}");
    }
    // Killed while it drew, when the job was gone already.
    fs::write(run.join("curves.png.123.partial"), b"remains").unwrap();
    succeeds(&here, &["resume", "run"]);
    assert!(!run.join("curves.png.123.partial").exists());
}

/// A soft limit of processor time is a stop with time for the work in hand, however often Linux repeats it.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_processor_time_is_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    // Steps of some seconds each: the limit comes in the midst of one and is repeated before it ends.
    let job = "finetune data -o run --size 224 --units 8 --batch 10 --head-epochs 0 --epochs 500 --unfreeze-from block1_conv1";
    let limited = format!("ulimit -S -t 3; exec \"$0\" {job} --threads 2");
    let weights = vgg_ft::weights::find_default().unwrap().canonicalize().unwrap();
    let output = std::process::Command::new("bash")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_vgg-ft")])
        .env("VGG_FT_CACHE", here.join("cache"))
        .env("VGG_FT_WEIGHTS", weights)
        .current_dir(&here)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(152), "{error}");
    assert!(error.contains("error: stopped by the user"), "{error}");
    assert!(!here.join("run/.lock").exists());
}

/// One command that a batch system starts again and again: it begins, goes on, and has nothing left to do.
#[test]
fn with_resume_a_run_begins_where_there_is_none_and_gets_the_report_that_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    let begin = job("run", &["--resume"]);
    let (_, said) = succeeds(&here, &begin);
    assert!(said.contains("there is no run in run to go on with, so it begins"), "{said}");
    let whole = names(&here.join("run"));
    for name in ["report.html", "curves.png"] {
        fs::remove_file(here.join("run").join(name)).unwrap();
    }
    let (text, said) = succeeds(&here, &begin);
    assert!(text.contains("is finished") && said.contains("report     run"), "{text}{said}");
    assert_eq!(names(&here.join("run")), whole);
    // So it is with `resume`, and of features.
    succeeds(&here, &["extract", "data", "-o", "features", "--size", "32"]);
    let fit = ["fit", "features", "-o", "fitted", "--epochs", "1", "--units", "4", "--resume"];
    succeeds(&here, &fit);
    for command in [&fit[..], &["resume", "fitted"]] {
        fs::remove_file(here.join("fitted/report.html")).unwrap();
        succeeds(&here, command);
        assert!(here.join("fitted/report.html").exists(), "{command:?}");
    }
    // Files of somebody else's are none of a run's.
    fs::create_dir(here.join("mine")).unwrap();
    fs::write(here.join("mine/history.csv"), "mine").unwrap();
    let error = fails(&here, &job("mine", &["--resume"]), 2);
    assert!(error.contains("mine holds files that a run would write over"), "{error}");
}

#[test]
fn another_job_other_images_and_no_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    let more = ["--augment", "book", "--steps-per-epoch", "9"];
    let begin = job("run", &more);
    stop(&here, "run", &begin, 1, 0, "-INT");
    let error = fails(&here, &[&begin[..], &["--resume", "--seed", "2"]].concat(), 2);
    assert!(error.contains("run holds another job than this"), "{error}");
    assert!(error.contains("seed = 1 there, seed = 2 here"), "{error}");
    assert!(error.contains("vgg-ft resume run"), "{error}");
    let error = fails(&here, &["resume", "data"], 2);
    assert!(error.contains("data holds no run to go on with"), "{error}");
    // It can be asked as far as it is: the weights are those of the checkpoint.
    let (text, said) = succeeds(&here, &["evaluate", "run", "data", "--json"]);
    assert!(said.contains("the run is not finished"), "{said}");
    let (asked, kept) = (super::json(&text), state(&here.join("run")).unwrap());
    assert_eq!(asked["stopped"]["epochs"], kept["position"]["epochs"].as_array().unwrap().len());
    assert_eq!(asked["stopped"]["steps"], kept["position"]["within"]);
    assert_eq!(asked["images"], 6);
    succeeds(&here, &["predict", "run", "data/validation/warm/0.png"]);
    succeeds(&here, &["summary", "run"]);
    for command in ["report", "export"] {
        let export: &[&str] = if command == "export" { &["--format", "onnx", "-o", "run.onnx"] } else { &[] };
        let error = fails(&here, &[&[command, "run"][..], export].concat(), 2);
        assert!(
            error.contains("run is not a finished run") && error.contains("vgg-ft resume run"),
            "{error}"
        );
    }
    let before = fs::read(here.join("run/checkpoint.safetensors")).unwrap();
    let data = here.join("data");
    let refused = |purpose: &str, reason: &str| {
        let error = fails(&here, &["resume", "run"], 1);
        let message = format!("the images {purpose} are not those that the run began with");
        assert!(error.contains(&message) && error.contains(reason), "{error}");
        assert!(error.contains("checkpoint.safetensors, the last good moment"), "{error}");
        // Refused before anything is computed from them.
        assert!(!error.contains("is made anew"), "{error}");
        error
    };
    fs::rename(data.join("train/cold/4.png"), here.join("aside.png")).unwrap();
    let error = refused("to train on", "some were added or removed");
    assert!(error.contains("expected  10, sha256") && error.contains("got       9, sha256"), "{error}");
    assert!(error.contains("\n  lost      cold/4.png\n"), "{error}");
    // As many, but one has another name, or another class, or another content.
    let others = "some have another name, class or size";
    for place in ["train/cold/5.png", "train/warm/5.png"] {
        fs::rename(here.join("aside.png"), data.join(place)).unwrap();
        let error = refused("to train on", others);
        let added = place.strip_prefix("train/").unwrap();
        assert!(error.contains("lost      cold/4.png\n"), "{error}");
        assert!(error.contains(&format!("added     {added}\n")), "{error}");
        fs::rename(data.join(place), here.join("aside.png")).unwrap();
    }
    fs::rename(here.join("aside.png"), data.join("train/cold/4.png")).unwrap();
    let image = data.join("validation/warm/1.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, [&bytes[..], b"\0"].concat()).unwrap();
    let error = refused("to validate with", others);
    let [was, is] = [bytes.len(), bytes.len() + 1];
    assert!(error.contains(&format!("changed   warm/1.png, {was} bytes then and {is} now")), "{error}");
    fs::write(&image, &bytes).unwrap();
    fs::rename(data.join("validation"), here.join("validation")).unwrap();
    let error = refused("to validate with", "some were added or removed");
    assert!(error.contains("got       none"), "{error}");
    assert!(error.contains("lost      cold/0.png; and 5 more"), "{error}");
    fs::rename(here.join("validation"), data.join("validation")).unwrap();
    assert!(before == fs::read(here.join("run/checkpoint.safetensors")).unwrap());
    // A checkpoint that was cut is named, and what to do about it.
    fs::write(here.join("run/checkpoint.safetensors"), &before[..before.len() / 2]).unwrap();
    let error = fails(&here, &["resume", "run"], 1);
    assert!(error.contains("checkpoint.safetensors"), "{error}");
    // Begun anew over all of it.
    succeeds(&here, &[&begin[..], &["--force"]].concat());
    assert_whole(&here.join("run"));
}

/// Taken up at other rates in the middle of a stage: what the files say of it does the same again, to the bit.
#[test]
fn rates_that_were_cut_on_the_way_are_written_down_and_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    let more = ["--augment", "book", "--steps-per-epoch", "12"];
    let begin = job("run", &more);
    stop(&here, "run", &begin, 1, 0, "-INT");
    let stopped = state(&here.join("run")).unwrap()["position"]["step"].as_u64().unwrap();
    let cut = ["resume", "run", "--rate-factor", "0.25"];
    let error = fails(&here, &["resume", "run", "--rate-factor", "0"], 2);
    assert!(error.contains("a number above 0"), "{error}");
    // Stopped again, and on with the first command: it knows nothing of the cut, the run does.
    stop(&here, "run", &cut, 2, 0, "-INT");
    let job = fs::read_to_string(here.join("run/job.toml")).unwrap();
    assert!(job.contains("factor = 0.25") && job.contains(&format!("step = {stopped}")), "{job}");
    let (_, said) = succeeds(&here, &[&begin[..], &["--resume"]].concat());
    assert!(said.contains(&format!("rmsprop 1e-3 times 0.25 after {stopped} steps")), "{said}");
    assert!(said.contains("rmsprop 1e-4 times 0.25"), "{said}");
    let run = here.join("run");
    assert_whole(&run);
    let rates: Vec<f64> = history(&run).iter().map(|epoch| epoch.rate).collect();
    let expected = [1e-3, 2.5e-4, 2.5e-4, 2.5e-5, 2.5e-5, 2.5e-5];
    let near = |(got, expected): (&f64, &f64)| (got - expected).abs() <= 1e-6 * expected;
    assert!(rates.len() == 6 && rates.iter().zip(&expected).all(near), "{rates:?}");
    succeeds(&here, &["finetune", "--config", "run/run.toml", "-o", "again"]);
    assert_same(&run, &here.join("again"));
}

/// Checkpoints of before the 28th of November 2026 do not tell of pixels: what they tell is enough.
#[test]
fn a_checkpoint_that_does_not_tell_of_pixels_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    stop(&here, "run", &job("run", &["--augment", "book", "--steps-per-epoch", "9"]), 1, 0, "-INT");
    let path = here.join("run/checkpoint.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    // The state is JSON in JSON's quotes; spaces change no length there.
    let key = br#",\"pixels\":\""#;
    let mut parts = 0;
    while let Some(at) = bytes[..header].windows(key.len()).position(|window| window == key) {
        bytes[at..at + key.len() + 64 + 2].fill(b' ');
        parts += 1;
    }
    assert_eq!(parts, 2);
    // Nor did they have a checksum, which this would not be.
    let crc = br#""crc32":""#;
    let at = bytes[..header].windows(crc.len()).position(|window| window == crc).unwrap();
    fs::write(&path, &bytes).unwrap();
    let error = fails(&here, &["resume", "run"], 1);
    assert!(error.contains("checkpoint.safetensors is damaged"), "{error}");
    bytes[at..at + crc.len() + 8 + 2].fill(b' ');
    fs::write(&path, bytes).unwrap();
    assert!(state(&here.join("run")).unwrap()["samples"][0].get("pixels").is_none());
    succeeds(&here, &["resume", "run"]);
    assert_whole(&here.join("run"));
}
