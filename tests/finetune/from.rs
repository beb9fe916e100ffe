//! A job that begins with another run's network: `finetune --from`.

use super::{draw, fails, here, succeeds, tensors};
use std::fs;
use std::path::Path;

/// The book's chapter step by step: features, a classifier on them, then both together. At a rate of nothing the
/// network is the one that it began with, classifier and all.
#[test]
fn a_classifier_that_was_fit_is_trained_on_with_its_base() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3])]);
    succeeds(&here, &["extract", "data", "-o", "features", "--size", "32x48", "--preprocess", "notebook"]);
    let fit = ["fit", "features", "-o", "head", "--epochs", "2", "--units", "4", "--batch", "4"];
    succeeds(&here, &[&fit[..], &["--dropout", "0.25", "--seed", "7"]].concat());
    let on = ["finetune", "data", "--from", "head", "-o", "on", "--batch", "4", "--epochs", "1"];
    let (_, told) = succeeds(&here, &[&on[..], &["--rate", "1e-30"]].concat());
    assert!(told.contains("the classifier begins as it was trained"), "{told}");
    assert!(!told.contains("learned from other images"), "{told}");
    let toml = |run: &str| fs::read_to_string(here.join(run).join("run.toml")).unwrap();
    for line in [
        "size = [32, 48]",
        "preprocess = \"notebook\"",
        "units = 4",
        "dropout = 0.25",
        "seed = 7",
        "trained_classifier = true",
    ] {
        assert!(toml("on").contains(line), "{line}: {}", toml("on"));
    }
    let measured = |run: &str| {
        let toml = toml(run);
        toml.lines().find(|line| line.starts_with("val_loss")).unwrap().to_owned()
    };
    assert_eq!(measured("on"), measured("head"));
    let (began, ended) =
        (tensors(&here.join("head/model.safetensors")), tensors(&here.join("on/model.safetensors")));
    assert!(began.keys().eq(ended.keys()));
    for (name, bits) in &began {
        // What was 0 moves by as little as a step has.
        let far = bits.iter().zip(&ended[name]).find(|(a, b)| {
            let [a, b] = [a, b].map(|bits| f32::from_bits(**bits));
            (a - b).abs() > 1e-25
        });
        assert!(far.is_none(), "{name}: {far:?}");
    }
    // The same job by its file: it begins where this one began.
    succeeds(&here, &["finetune", "--config", "on/run.toml", "-o", "again"]);
    assert_eq!(tensors(&here.join("again/model.safetensors")), ended);
}

/// What the network cannot be trained on with is refused, and what flatters its figures is said.
#[test]
fn other_classes_are_refused_and_other_images_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3])]);
    let run =
        ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--batch", "4", "--epochs", "0"];
    succeeds(&here, &[&run[..], &["--head-epochs", "1"]].concat());
    draw(&here.join("more"), &[("train", [6, 6]), ("validation", [3, 3])]);
    let on = ["finetune", "more", "--from", "run", "--epochs", "1", "-o"];
    let (_, told) = succeeds(&here, &[&on[..], &["same"]].concat());
    assert!(!told.contains("is among those") && !told.contains("parted"), "{told}");
    // Two change their folders.
    let more = |file: &str| here.join("more").join(file);
    for (from, to) in [
        ("train/cold/0.png", "validation/cold/renamed.png"),
        ("validation/warm/1.png", "train/warm/once.png"),
    ] {
        fs::rename(more(from), more(to)).unwrap();
    }
    let (_, told) = succeeds(&here, &[&on[..], &["on"]].concat());
    for note in [
        "in validation 1 image is among those that run learned from, pixel for pixel, so its figures are too good; the \
         first: cold/renamed.png",
        "in train 1 image is among those that run held out, pixel for pixel, so validation is not the same as there; \
         the first: warm/once.png",
    ] {
        assert!(told.contains(note), "{note}: {told}");
    }
    // Also where the base alone is taken; and by a network of another size nobody can tell more than that they are others.
    let base =
        ["finetune", "more", "--weights", "run/model.safetensors", "--units", "3", "--epochs", "0", "-o"];
    let (_, told) = succeeds(&here, &[&base[..], &["new", "--size", "32", "--head-epochs", "1"]].concat());
    assert!(told.contains("in validation 1 image is among those that run learned from"), "{told}");
    let (_, told) = succeeds(&here, &[&base[..], &["larger", "--size", "40", "--head-epochs", "1"]].concat());
    assert!(told.contains("run, whose weights this run begins with, learned from other images"), "{told}");

    fs::rename(here.join("more/train/cold"), here.join("more/train/tepid")).unwrap();
    fs::rename(here.join("more/validation/cold"), here.join("more/validation/tepid")).unwrap();
    let error = fails(&here, &[&on[..], &["other"]].concat(), 1);
    assert!(error.contains("cold, warm") && error.contains("tepid, warm"), "{error}");
    assert!(error.contains("`vgg-ft finetune DATA --weights run/model.safetensors"), "{error}");
    assert!(!here.join("other").exists());
    // Its base, at least, fits.
    let base = ["finetune", "more", "--weights", "run/model.safetensors", "-o", "base", "--size", "32"];
    succeeds(&here, &[&base[..], &["--units", "3", "--head-epochs", "1", "--epochs", "0"]].concat());
    let error = fails(&here, &[&on[..], &["other", "--size", "48"]].concat(), 2);
    assert!(error.contains("--size"), "{error}");
}

/// What features were parted by goes with the classifier that was fit on them: what was held out is held out again, also
/// when the features are gone.
#[test]
fn what_was_held_out_of_features_is_held_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("parts"), &[("all", [8, 8]), ("test", [3, 3])]);
    fs::rename(here.join("parts/all"), here.join("data")).unwrap();
    let extract = ["extract", "data", "-o", "features", "--size", "32", "--validation-split", "0.25"];
    succeeds(&here, &[&extract[..], &["--seed", "7"]].concat());
    succeeds(&here, &["fit", "features", "-o", "head", "--epochs", "1", "--units", "4", "--seed", "3"]);
    let (_, told) = succeeds(&here, &["finetune", "data", "--from", "head", "-o", "on", "--epochs", "1"]);
    assert!(!told.contains("learned from other images"), "{told}");
    let toml = |run: &str| -> toml::Table {
        fs::read_to_string(here.join(run).join("run.toml")).unwrap().parse().unwrap()
    };
    assert_eq!(toml("on")["training"]["samples"], toml("head")["training"]["samples"]);
    assert_eq!(toml("on")["training"]["digests"], toml("head")["training"]["digests"]);
    fs::remove_dir_all(here.join("features")).unwrap();
    // (Drawn images are all of one size, so that nothing but this tells them from others.)
    let (text, _) = succeeds(&here, &["evaluate", "head", "data", "--split", "validation", "--json"]);
    let judged = super::json(&text);
    assert_eq!((&judged["split"], &judged["images"]), (&"validation".into(), &4.into()), "{judged}");
    assert_eq!(judged["accuracy"].as_f64(), toml("head")["result"]["val_accuracy"].as_float());
    // The run that it begins with stays.
    for begins in [["data", "--from", "on"], ["data", "--weights", "on/model.safetensors"]] {
        let over = ["--size", "32", "-o", "./on/", "--force"];
        let over = if begins[1] == "--from" { &over[2..] } else { &over[..] };
        let error = fails(&here, &[&["finetune"], &begins[..], over].concat(), 2);
        assert!(error.contains("would be written over"), "{error}");
    }
    let error = fails(&here, &["finetune", "data", "--from", "on/model.safetensors", "-o", "off"], 2);
    assert!(error.contains("is a file, not the folder of a run"), "{error}");
    // Moved, it is named where it is now.
    fs::rename(here.join("head"), here.join("moved")).unwrap();
    let again = ["finetune", "--config", "on/run.toml", "-o", "again"];
    fails(&here, &again, 1);
    succeeds(&here, &[&again[..], &["--weights", "moved/model.safetensors"]].concat());
    assert_eq!(tensors(&here.join("again/model.safetensors")), tensors(&here.join("on/model.safetensors")));
}

/// The paths of a list of a run, sorted.
fn listed(run: &Path, list: &str) -> Vec<String> {
    let text = fs::read_to_string(run.join(list)).unwrap();
    let name = |line: &str| super::json(line)[0].as_str().unwrap().to_owned();
    let mut names: Vec<String> = text.lines().map(name).collect();
    names.sort();
    names
}

/// What a run learned from is not held out by those that go on from it, however the folder changes, and what it held out
/// is not learned from; the same job, its resumption and its judgement have the same parts.
#[test]
fn who_was_held_out_stays_so_as_a_folder_grows() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("all"), &[("pets", [10, 10]), ("late", [6, 6])]);
    fs::rename(here.join("all/pets"), here.join("pets")).unwrap();
    fs::write(here.join("pets/warm/torn.png"), b"no").unwrap();
    let small = ["--size", "32", "--units", "4", "--batch", "4", "--epochs", "0", "--head-epochs", "1"];
    let run = ["finetune", "pets", "-o", "run", "--validation-split", "0.4"];
    succeeds(&here, &[&run[..], &small[..]].concat());
    let parts = |run: &str| {
        ["samples-train.jsonl", "samples-validation.jsonl"].map(|list| listed(&here.join(run), list))
    };
    let on = |data: &str, from: &str, to: &str| {
        let typed = ["finetune", data, "--from", from, "--batch", "4", "--epochs", "1", "-o", to];
        succeeds(&here, &typed).1
    };
    let told = on("pets", "run", "same");
    assert!(!told.contains("parted") && !told.contains("among those"), "{told}");
    assert_eq!(parts("same"), parts("run"));
    let [learned, held] = parts("run");

    // It grows, loses an image, and one that was learned from is saved anew.
    for class in ["cold", "warm"] {
        for i in 0..6 {
            let late = here.join(format!("all/late/{class}/{i}.png"));
            fs::rename(late, here.join(format!("pets/{class}/late{i}.png"))).unwrap();
        }
    }
    fs::rename(here.join("pets").join(&held[0]), here.join("aside.png")).unwrap();
    let anew = here.join("pets").join(&learned[0]);
    fs::write(&anew, [fs::read(&anew).unwrap(), vec![0; 9]].concat()).unwrap();
    let told = on("pets", "run", "grown");
    let [train, validation] = parts("grown");
    assert!(learned.iter().all(|name| train.contains(name)), "{learned:?}: {train:?}");
    assert!(held[1..].iter().all(|name| validation.contains(name)), "{held:?}: {validation:?}");
    let new = [train.len() - learned.len(), validation.len() - (held.len() - 1)];
    assert!(new[0] + new[1] == 12 && new[0] > 0 && new[1] > 1, "{new:?}");
    let note = format!(
        "note: parted by the lists of run: train is {} images that it learned from and {} new ones, validation {} \
         images that it held out and {} new ones",
        learned.len(),
        new[0],
        held.len() - 1,
        new[1]
    );
    assert!(told.contains(&note) && !told.contains("among those"), "{note}: {told}");
    // The seed alone would have parted them otherwise, or nothing is shown here.
    let drawn = ["finetune", "pets", "-o", "drawn", "--validation-split", "0.4"];
    succeeds(&here, &[&drawn[..], &small[..]].concat());
    assert!(parts("drawn")[1].iter().any(|name| learned.contains(name)), "{:?}", parts("drawn"));

    // A list that lacks a line is not believed; a list that a kill left before the job was written is written over.
    let list = here.join("run/samples-train.jsonl");
    let whole = fs::read_to_string(&list).unwrap();
    fs::write(&list, whole.split_once('\n').unwrap().1).unwrap();
    let half = ["finetune", "pets", "--from", "run", "--batch", "4", "--epochs", "1", "-o", "half"];
    let error = fails(&here, &half, 1);
    assert!(error.contains("were changed") && error.contains("--weights RUN/model.safetensors"), "{error}");
    fs::write(&list, whole).unwrap();
    fs::create_dir(here.join("half")).unwrap();
    fs::write(here.join("half/earlier-train.jsonl"), "").unwrap();
    succeeds(&here, &half);
    assert_eq!(parts("half"), parts("grown"));

    // It is judged by what it held out.
    let toml = |run: &str| -> toml::Table {
        fs::read_to_string(here.join(run).join("run.toml")).unwrap().parse().unwrap()
    };
    let accuracy = |said: &serde_json::Value| said["accuracy"].as_f64();
    let judged = super::json(&succeeds(&here, &["evaluate", "grown", "pets", "--json"]).0);
    assert_eq!(judged["images"], validation.len(), "{judged}");
    assert_eq!(accuracy(&judged), toml("grown")["result"]["val_accuracy"].as_float());

    // The same job by its file, also where the first run has gone (its weights lie elsewhere), and by a copy of the file.
    fs::create_dir(here.join("kept")).unwrap();
    fs::rename(here.join("run/model.safetensors"), here.join("kept/model.safetensors")).unwrap();
    fs::remove_dir_all(here.join("run")).unwrap();
    fs::copy(here.join("grown/run.toml"), here.join("copy.toml")).unwrap();
    for (file, to) in [("grown/run.toml", "again"), ("copy.toml", "third")] {
        let again = ["finetune", "--config", file, "--weights", "kept/model.safetensors", "-o", to];
        let (_, told) = succeeds(&here, &again);
        assert!(!told.contains("not quite the images"), "{told}");
        assert_eq!(parts(to), parts("grown"));
        assert_eq!(toml(to)["training"]["digests"], toml("grown")["training"]["digests"]);
        assert_eq!(
            tensors(&here.join(to).join("model.safetensors")),
            tensors(&here.join("grown/model.safetensors"))
        );
    }
    // The next one knows what the first learned from, though it was not there for the second.
    fs::rename(here.join("pets").join(&learned[1]), here.join("away.png")).unwrap();
    on("pets", "again", "fewer");
    assert!(!parts("fewer")[0].contains(&learned[1]));
    fs::rename(here.join("away.png"), here.join("pets").join(&learned[1])).unwrap();
    fs::rename(here.join("aside.png"), here.join("pets").join(&held[0])).unwrap();
    on("pets", "fewer", "last");
    let [train, validation] = parts("last");
    assert!(train.contains(&learned[1]) && validation.contains(&held[0]), "{train:?} {validation:?}");
    // In a copy of the folder, too.
    fs::rename(here.join("pets"), here.join("moved")).unwrap();
    on("moved", "last", "there");
    assert_eq!(parts("there"), parts("last"));
    // What a file names and is gone is told of.
    fs::remove_dir_all(here.join("grown")).unwrap();
    let copied =
        ["finetune", "moved", "--config", "copy.toml", "--weights", "kept/model.safetensors", "-o", "lost"];
    let error = fails(&here, &copied, 2);
    assert!(
        error.contains("names lists of images that are gone") && error.contains("RUN/run.toml"),
        "{error}"
    );
}

/// A run that began with the lists of another goes on by them, wherever it lies and whatever has become of the other's;
/// and its data are known in a copy.
#[cfg(unix)]
#[test]
fn a_stopped_run_goes_on_with_the_parts_that_it_began_with() {
    use super::{signal, spawn, wait_until};
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("all"), &[("pets", [10, 10]), ("late", [6, 6])]);
    // Of a size each, by which a copy is known: what is behind a PNG's end is none of its image.
    for (at, (part, class)) in
        [("pets", "cold"), ("pets", "warm"), ("late", "cold"), ("late", "warm")].into_iter().enumerate()
    {
        for entry in fs::read_dir(here.join("all").join(part).join(class)).unwrap() {
            let file = entry.unwrap().path();
            let name: usize = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            fs::write(&file, [fs::read(&file).unwrap(), vec![0; 10 * at + name]].concat()).unwrap();
        }
    }
    fs::rename(here.join("all/pets"), here.join("pets")).unwrap();
    let run = ["finetune", "pets", "-o", "run", "--validation-split", "0.4", "--size", "32", "--units", "4"];
    succeeds(&here, &[&run[..], &["--batch", "4", "--epochs", "0", "--head-epochs", "1"]].concat());
    for class in ["cold", "warm"] {
        for i in 0..6 {
            let late = here.join(format!("all/late/{class}/{i}.png"));
            fs::rename(late, here.join(format!("pets/{class}/late{i}.png"))).unwrap();
        }
    }
    let job = |to| {
        let fixed = ["finetune", "pets", "--from", "run", "-o", to, "--batch", "4", "--head-epochs", "30"];
        // Augmented, so that it runs for some time yet.
        [&fixed[..], &["--epochs", "0", "--augment", "book"]].concat()
    };
    succeeds(&here, &job("whole"));
    let mut child = spawn(&here, &job("stopped"));
    let csv = here.join("stopped/history.csv");
    wait_until(&mut child, || fs::read_to_string(&csv).is_ok_and(|text| text.lines().count() > 2));
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    for list in ["samples-train.jsonl", "samples-validation.jsonl"] {
        fs::write(here.join("run").join(list), "").unwrap();
    }
    // The command itself, until it can be stopped again, and what needs no command.
    let mut child = spawn(&here, &[&job("stopped")[..], &["--resume"]].concat());
    let lines = fs::read_to_string(&csv).unwrap().lines().count();
    wait_until(&mut child, || fs::read_to_string(&csv).is_ok_and(|text| text.lines().count() > lines));
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    fs::rename(here.join("stopped"), here.join("elsewhere")).unwrap();
    succeeds(&here, &["resume", "elsewhere"]);
    super::assert_same(&here.join("elsewhere"), &here.join("whole"));

    let held = listed(&here.join("elsewhere"), "samples-validation.jsonl");
    fs::rename(here.join("pets"), here.join("copy")).unwrap();
    let (text, told) = succeeds(&here, &["evaluate", "elsewhere", "copy", "--json"]);
    assert!(told.contains("copy has the run's own images"), "{told}");
    let judged = super::json(&text);
    assert_eq!((&judged["split"], &judged["images"]), (&"validation".into(), &held.len().into()), "{judged}");
    // Its report, which was lost, is of those.
    fs::remove_file(here.join("elsewhere/report.html")).unwrap();
    succeeds(&here, &["resume", "elsewhere", "copy"]);
    assert!(here.join("elsewhere/report.html").exists());
}

/// A classifier on features is tested on those of a test split, as `finetune` tests on its images.
#[test]
fn a_classifier_on_features_is_tested() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("data"), &[("train", [6, 6]), ("validation", [3, 3]), ("test", [4, 4])]);
    succeeds(&here, &["extract", "data", "-o", "features", "--size", "32"]);
    let (text, _) =
        succeeds(&here, &["fit", "features", "-o", "head", "--epochs", "1", "--units", "4", "--json"]);
    let fitted = super::json(&text);
    let (text, _) = succeeds(&here, &["evaluate", "head", "data", "--json"]);
    let judged = super::json(&text);
    assert_eq!((&judged["split"], &judged["images"]), (&"test".into(), &8.into()), "{judged}");
    assert_eq!(fitted["test"]["accuracy"], judged["accuracy"]);
    assert_eq!(fitted["result"]["test_accuracy"], judged["accuracy"]);
    let page = fs::read_to_string(here.join("head/report.html")).unwrap();
    assert!(page.contains("On the test"), "the page is on the test split");
    succeeds(&here, &["report", "head"]);
    assert!(fs::read_to_string(here.join("head/report.html")).unwrap().contains("On the test"));
}

/// A run that was validated with nothing has a list of nothing, and is trained on; one whose list names others is not.
#[test]
fn a_run_without_validation_is_trained_on_and_its_images_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let here = here(&dir);
    draw(&here.join("parts"), &[("all", [6, 6]), ("more", [8, 8])]);
    fs::rename(here.join("parts/all"), here.join("pets")).unwrap();
    fs::rename(here.join("parts/more"), here.join("more")).unwrap();
    let run = [
        "finetune",
        "pets",
        "-o",
        "run",
        "--size",
        "32",
        "--units",
        "4",
        "--head-epochs",
        "1",
        "--epochs",
        "0",
    ];
    succeeds(&here, &run);
    let on = ["finetune", "more", "--from", "run", "--validation-split", "0.25", "--epochs", "1", "-o"];
    succeeds(&here, &[&on[..], &["on"]].concat());
    // What it learned from is known when it lies in a validation split.
    // (The first to be drawn are those of `pets`.)
    draw(&here.join("split"), &[("pets", [6, 6]), ("train", [6, 6]), ("validation", [2, 2])]);
    fs::remove_dir_all(here.join("split/pets")).unwrap();
    for class in ["cold", "warm"] {
        fs::copy(
            here.join(format!("pets/{class}/0.png")),
            here.join(format!("split/validation/{class}/known.png")),
        )
        .unwrap();
    }
    let from = ["finetune", "split", "--from", "run", "--epochs", "1", "-o", "told"];
    let (_, told) = succeeds(&here, &from);
    assert!(told.contains("in validation 2 images are among those that run learned from"), "{told}");
    // Its folder has moved, and its page is gone: resume makes it of the images in their new place.
    fs::rename(here.join("pets"), here.join("moved")).unwrap();
    fs::remove_file(here.join("run/report.html")).unwrap();
    succeeds(&here, &["resume", "run", "moved"]);
    let list = here.join("run/samples-train.jsonl");
    let lines = fs::read_to_string(&list).unwrap();
    fs::write(&list, lines.replacen("0.png", "9.png", 1)).unwrap();
    let error = fails(&here, &[&on[..], &["other"]].concat(), 1);
    assert!(error.contains("the list of the images of train was changed"), "{error}");
    assert!(error.contains("expected  12 images") && error.contains("instead of `--from`"), "{error}");
}
