//! What the options of training do to the numbers, and what happens when these go wrong.

use super::{assert_same, assert_whole, draw, fails, here, history, json, names, succeeds, tensors};
use std::fs;
use std::path::Path;

/// A job on the classifier alone; `more` comes last.
fn head<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["finetune", "data", "-o", out, "--size", "32", "--units", "8", "--batch", "4"];
    args.extend(["--epochs", "0"]);
    args.extend(more);
    args
}

/// Makes validation say the contrary of training: the more is learned, the worse it gets.
fn contradict(data: &Path) {
    let [cold, warm, aside] = ["validation/cold", "validation/warm", "aside"].map(|name| data.join(name));
    fs::rename(&cold, &aside).unwrap();
    fs::rename(&warm, &cold).unwrap();
    fs::rename(&aside, &warm).unwrap();
}

#[test]
fn early_stopping_ends_with_the_best_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [8, 8]), ("validation", [4, 4])]);
    contradict(&here.join("data"));
    let options = ["--head-epochs", "20", "--head-rate", "1e-3", "--early-stopping", "2"];
    let (text, said) = succeeds(&here, &[&head("run", &options)[..], &["--json"]].concat());
    let epochs = history(&here.join("run"));
    assert!(epochs.len() < 20, "{}", epochs.len());
    let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.val_loss.unwrap()).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[losses.len() - 3], least, "two epochs after the best: {losses:?}");
    let (last, best) = (epochs.len(), epochs.len() - 2);
    let put_back = format!(
        "stopped after epoch {last} of 20; the weights of epoch {best}, the best by val_loss, are put back"
    );
    assert!(said.contains(&put_back), "{said}");
    let (outcome, _) = succeeds(&here, &["evaluate", "run", "data", "--split", "validation", "--json"]);
    let loss = json(&outcome)["loss"].as_f64().unwrap();
    // The same weights on the same images; single precision, in batches of other sizes.
    assert!((loss - least).abs() <= 1e-5 * least, "{loss} and {least} of {losses:?}");
    // What is written down of the run is what its weights give.
    let written = json(&text)["result"]["val_loss"].as_f64().unwrap();
    assert_eq!(written, least, "{losses:?}");
    // Without it, the same epochs and others after them.
    let options = ["--head-epochs", "20", "--head-rate", "1e-3"];
    succeeds(&here, &head("all", &options));
    let all = history(&here.join("all"));
    assert_eq!((all.len(), &all[..epochs.len()]), (20, &epochs[..]));
}

#[test]
fn automatic_class_weights_are_those_that_one_would_give() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [12, 4]), ("validation", [3, 3])]);
    let run = |out: &str, more: &[&str]| {
        let options = [&["--head-epochs", "2", "--head-rate", "1e-3"], more].concat();
        succeeds(&here, &head(out, &options));
        tensors(&here.join(out).join("model.safetensors"))
    };
    // 16 / (2 * 12) and 16 / (2 * 4).
    let (auto, given) =
        (run("auto", &["--class-weights", "auto"]), run("given", &["--class-weights", "0.6666667,2"]));
    assert!(auto == given && auto != run("plain", &[]));
    let error = fails(&here, &head("few", &["--class-weights", "1,2,3"]), 2);
    assert!(error.contains("2 (cold, warm)"), "{error}");
}

/// Two batches of two make the step of one batch of four: the gradient is the same sum in another order.
#[test]
fn accumulated_batches_are_one_large_batch() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [7, 6]), ("validation", [2, 2])]);
    let run = |out: &str, more: &[&str]| {
        let mut args = vec!["finetune", "data", "-o", out, "--size", "32", "--units", "8", "--dropout", "0"];
        args.extend(["--head-epochs", "2", "--epochs", "2", "--unfreeze-from", "block5_conv3"]);
        // Not RMSprop, whose step is as long for a gradient of rounding errors as for any other.
        args.extend(["--optimizer", "sgd", "--momentum", "0.9", "--head-rate", "1e-4", "--rate", "1e-5"]);
        args.extend(more);
        succeeds(&here, &args);
        let of = tensors(&here.join(out).join("model.safetensors"));
        of.into_iter().map(|(name, bits)| (name, bits.into_iter().map(f32::from_bits).collect::<Vec<_>>()))
    };
    let large: Vec<_> = run("large", &["--batch", "4"]).collect();
    let small: Vec<_> = run("small", &["--batch", "2", "--accumulate", "2"]).collect();
    let twice: Vec<_> = run("twice", &["--batch", "2"]).collect();
    let distance = |a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]| {
        let pairs = a.iter().zip(b).flat_map(|((_, a), (_, b))| a.iter().zip(b));
        pairs.map(|(a, b)| f64::from(a - b).abs()).fold(0.0, f64::max)
    };
    // Weights are up to 1, so their last bit is 6e-8: gradients rounded in another order move it now and then.
    let (near, far) = (distance(&large, &small), distance(&large, &twice));
    println!("accumulated: {near:e} from the large batch; steps of the small batch: {far:e}");
    assert!(near <= 2e-7 && far > 1e-3, "{near:e} {far:e}");
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_moment() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    contradict(&here.join("data"));
    let mut args = vec!["finetune", "data", "-o", "run", "--size", "32", "--units", "8", "--batch", "2"];
    args.extend([
        "--head-epochs",
        "8",
        "--epochs",
        "2",
        "--head-rate",
        "1e-3",
        "--rate",
        "1e30",
        "--restore-best",
    ]);
    args.extend(["--unfreeze-from", "block5_conv3"]);
    let error = fails(&here, &args, 1);
    assert!(error.contains("no longer a finite number") || error.contains("not a finite number"), "{error}");
    assert!(error.contains("help: training diverged: use a lower learning rate"), "{error}");
    assert!(error.contains("checkpoint.safetensors, the last good moment"), "{error}");
    assert!(error.contains("`vgg-ft resume run --rate-factor 0.1` goes on from there"), "{error}");
    let run = here.join("run");
    assert!(!run.join("run.toml").exists() && !run.join("model.safetensors").exists());
    let losses: Vec<f64> = history(&run).iter().map(|epoch| epoch.val_loss.unwrap()).collect();
    assert_eq!(losses.len(), 8, "the epochs of the first stage");
    assert!(losses[..7].iter().any(|loss| *loss < losses[7]), "the last must not be the best: {losses:?}");
    let kept = tensors(&run.join("checkpoint.safetensors"));
    assert!(kept.values().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
    // The first stage is over, and its best epoch put back: nothing asks for it again, or takes another
    // stage's for it.
    fs::remove_file(run.join("best.safetensors")).unwrap();
    let error = fails(&here, &["resume", "run"], 1);
    assert!(error.contains("finite number"), "{error}");
    assert_eq!(kept, tensors(&run.join("checkpoint.safetensors")));
    // It can be asked: with the weights of that moment, those of the best epoch.
    let (text, said) = succeeds(&here, &["evaluate", "run", "data", "--split", "validation", "--json"]);
    assert!(said.contains("the run is not finished"), "{said}");
    let (loss, best) =
        (json(&text)["loss"].as_f64().unwrap(), losses.iter().copied().fold(f64::MAX, f64::min));
    // Single precision, in batches of other sizes.
    assert!((loss - best).abs() <= 1e-5 * best, "{loss} and {best}");
    // The command that the error named, with a factor that mends so wild a rate.
    let (_, said) = succeeds(&here, &["resume", "run", "--rate-factor", "1e-35"]);
    assert!(said.contains("finetune: from block5_conv3 on, 2 epochs, rmsprop 1e30 times"), "{said}");
    assert!(!said.contains("head: classifier, 8 epochs, rmsprop 1e-3 times"), "{said}");
    assert_whole(&run);
    let epochs = history(&run);
    assert_eq!(epochs.len(), 10);
    assert!((epochs[9].rate - 1e-5).abs() < 1e-9, "{epochs:?}");
    succeeds(&here, &["finetune", "--config", "run/run.toml", "-o", "again"]);
    assert_same(&run, &here.join("again"));

    // In the first step there is nothing to keep yet.
    let error = fails(&here, &head("first", &["--head-rate", "1e30", "--head-epochs", "2"]), 1);
    assert!(error.contains("training diverged") && !error.contains("kept"), "{error}");
    assert!(error.contains("`vgg-ft resume first --rate-factor 0.1` begins again"), "{error}");
    succeeds(&here, &["resume", "first", "--rate-factor", "1e-34"]);
    assert_whole(&here.join("first"));
}

/// Frozen layers run in every epoch where their output may not be kept; the bits are those of the cache.
#[test]
fn without_room_for_features_the_frozen_layers_run_again_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    let run = |out: &str, more: &[&str]| {
        let mut args = vec!["finetune", "data", "-o", out, "--size", "32", "--units", "8", "--batch", "3"];
        args.extend(["--head-epochs", "2", "--epochs", "2", "--keep-features"]);
        args.extend(more);
        succeeds(&here, &args).1
    };
    let said = run("cached", &[]);
    assert!(said.contains("computed once: saves"), "{said}");
    let said = run("again", &["--cache-limit", "0"]);
    assert!(
        said.contains("more than --cache-limit leaves, so the layers before it run in every epoch"),
        "{said}"
    );
    assert!(!said.contains("computed once"), "{said}");
    assert!(
        names(&here.join("again")).iter().all(|name| name != "features")
            || names(&here.join("again/features")).is_empty()
    );
    // Validation's losses are summed up batch by batch, and features are evaluated more at once than images:
    // the sums differ in the last bits of a double. Nothing else does.
    let [mut cached, mut again] = ["cached", "again"].map(|out| history(&here.join(out)));
    for (a, b) in cached.iter_mut().zip(&mut again) {
        let (a, b) = (a.val_loss.take().unwrap(), b.val_loss.take().unwrap());
        assert!((a - b).abs() <= 1e-12 * a, "{a} {b}");
    }
    assert_eq!(cached, again);
    let [cached, again] = ["cached", "again"].map(|out| tensors(&here.join(out).join("model.safetensors")));
    assert!(cached == again);
}

/// A small file system of its own; `None` where we may not mount one.
#[cfg(target_os = "linux")]
struct Disk(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Disk {
    fn new(at: &Path, megabytes: usize) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).output();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_clear_message_and_leaves_what_was_whole() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    // Room for the first stage's checkpoints, not for the second's (19 MB and more).
    let Some(disk) = Disk::new(&here.join("small"), 12) else {
        skipped!("no file system may be mounted here, so none can be full");
        return;
    };
    let mut args =
        vec!["finetune", "data", "-o", "small/run", "--size", "32", "--units", "8", "--batch", "3"];
    args.extend(["--head-epochs", "2", "--epochs", "2", "--unfreeze-from", "block5_conv3"]);
    let error = fails(&here, &args, 1);
    assert!(error.contains("small/run/checkpoint.safetensors"), "{error}");
    assert!(error.contains("help: free some space, or choose a folder on another disk"), "{error}");
    assert!(
        error.contains("checkpoint.safetensors; `vgg-ft resume small/run` goes on from there"),
        "{error}"
    );
    let run = here.join("small/run");
    assert!(!names(&run).iter().any(|name| name.contains("partial")), "{:?}", names(&run));
    assert_eq!(history(&run).len(), 3, "the epoch that could not be kept was told");
    tensors(&run.join("checkpoint.safetensors"));
    // With room the run goes on to the end of one that always had it.
    let status = std::process::Command::new("mount").args(["-o", "remount,size=300m"]).arg(&disk.0).status();
    assert!(status.unwrap().success());
    succeeds(&here, &["resume", "small/run"]);
    args[3] = "whole";
    succeeds(&here, &args);
    assert_same(&here.join("whole"), &run);
    assert_whole(&run);
}

#[test]
fn a_job_is_taken_from_another_runs_file() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [5, 5]), ("validation", [3, 3])]);
    draw(&here.join("others"), &[("train", [4, 4])]);
    let options =
        ["--head-epochs", "2", "--schedule", "cosine", "--label-smoothing", "0.1", "--augment", "book"];
    succeeds(&here, &head("first", &options));
    succeeds(&here, &["finetune", "--config", "first/run.toml", "-o", "second"]);
    assert_same(&here.join("first"), &here.join("second"));
    // The same job by other draws.
    succeeds(&here, &["finetune", "--config", "first/run.toml", "-o", "seeded", "--seed", "9"]);
    let toml = fs::read_to_string(here.join("seeded/run.toml")).unwrap();
    assert!(toml.contains("seed = 9"), "{toml}");
    assert_ne!(history(&here.join("first")), history(&here.join("seeded")));
    let error = fails(&here, &["finetune", "--config", "first/run.toml", "-o", "none", "--batch", "8"], 2);
    assert!(error.contains("'--config <FILE>' cannot be used with '--batch <N>'"), "{error}");
    succeeds(&here, &["finetune", "others", "--config", "first/run.toml", "-o", "third"]);
    let toml = fs::read_to_string(here.join("third/run.toml")).unwrap();
    assert!(toml.contains("others\"") && toml.contains("schedule = \"cosine:0\""), "{toml}");
    // New data with a validation folder against a file with a split, and the other way round.
    succeeds(
        &here,
        &head("split", &["--head-epochs", "1", "--validation-split", "0.25"])[..]
            .iter()
            .map(|&word| if word == "data" { "others" } else { word })
            .collect::<Vec<_>>(),
    );
    let over = ["finetune", "data", "--config", "split/run.toml", "-o", "parted"];
    let error = fails(&here, &over, 2);
    assert!(error.contains("there is a validation folder") && error.contains("data/validation"), "{error}");
    assert!(error.contains("`--validation-split 0`"), "{error}");
    succeeds(&here, &[&over[..], &["--validation-split", "0"]].concat());
    let toml = fs::read_to_string(here.join("parted/run.toml")).unwrap();
    assert!(!toml.contains("validation_split") && toml.contains("samples = [10, 6]"), "{toml}");
    let over =
        ["finetune", "others", "--config", "first/run.toml", "-o", "held", "--validation-split", "0.5"];
    succeeds(&here, &over);
    let toml = fs::read_to_string(here.join("held/run.toml")).unwrap();
    assert!(toml.contains("validation_split = 0.5") && toml.contains("samples = [4, 4]"), "{toml}");
    for typed in [["--units", "4"], ["--rotation", "3"], ["--optimizer", "sgd"], ["--epochs", "3"]] {
        let args = [&["finetune", "--config", "first/run.toml", "-o", "fourth"][..], &typed].concat();
        let error = fails(&here, &args, 2);
        assert!(error.contains("cannot be used with"), "{error}");
    }
    let error = fails(&here, &["finetune", "-o", "fourth"], 2);
    assert!(error.contains("DATA"), "{error}");
    // A file is refused what the command line is.
    let toml = fs::read_to_string(here.join("first/run.toml")).unwrap();
    let stage = toml.find("[[training.stages]]").unwrap();
    let twice =
        format!("{}{}{}", &toml[..stage], &toml[stage..toml.find("[result]").unwrap()], &toml[stage..]);
    for (text, named) in [
        (toml.replace("batch = 4", "batch = 0"), "`batch` cannot have this value"),
        (
            toml.replace("size = [\n    32,\n    32,\n]", "size = [0, 32]")
                .replace("size = [32, 32]", "size = [0, 32]"),
            "`size` cannot have this value",
        ),
        (toml.replace("units = 8", "units = 65537"), "`units` cannot have this value"),
        (toml.replace("epochs = 2", "epochs = 0"), "`epochs` of stage `head` cannot have this value"),
        (twice, "two stages have one name"),
    ] {
        assert_ne!(text, toml, "{named}");
        fs::write(here.join("wrong.toml"), text).unwrap();
        let error = fails(&here, &["finetune", "--config", "wrong.toml", "-o", "fourth"], 2);
        assert!(error.contains(named) && error.contains("reading wrong.toml"), "{error}");
    }
    assert!(toml.contains("job = \"finetune\""), "{toml}");
    // A job of `fit` is known by what it says, with or without its features.
    succeeds(&here, &["extract", "data", "-o", "features", "--size", "32"]);
    succeeds(&here, &["fit", "features", "-o", "head", "--epochs", "1", "--units", "4"]);
    fs::remove_dir_all(here.join("features")).unwrap();
    let error = fails(&here, &["finetune", "--config", "head/run.toml", "-o", "fourth"], 2);
    assert!(error.contains("head/run.toml is a job of `vgg-ft fit`"), "{error}");
    let error = fails(&here, &["finetune", "--config", "first/history.csv", "-o", "fourth"], 2);
    assert!(error.contains("history.csv cannot be understood"), "{error}");
    // A word that is not known is not passed over.
    fs::write(here.join("wrong.toml"), toml.replace("units = 8", "units = 8\nunit = 9")).unwrap();
    let error = fails(&here, &["finetune", "--config", "wrong.toml", "-o", "fourth"], 2);
    assert!(error.contains("unknown field `unit`"), "{error}");
    // Classes are the data's, which is said where the file has others.
    fs::rename(here.join("others/train/warm"), here.join("others/train/hot")).unwrap();
    let (_, said) = succeeds(&here, &["finetune", "others", "--config", "first/run.toml", "-o", "fifth"]);
    assert!(said.contains("the classes are those of the data, cold, hot, not cold, warm"), "{said}");
    assert!(!here.join("fourth").exists());
}
