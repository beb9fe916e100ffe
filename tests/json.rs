//! What programs read: the keys of results, errors as JSON, and what exit codes say.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, json, stdout, vgg_ft};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A run of a few seconds, and the data that it is of.
fn trained(here: &Path) {
    draw(&here.join("data"), &[("train", 3), ("validation", 2), ("test", 2)]);
    let job = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--head-epochs", "1"];
    stdout(vgg_ft(here).args(job).args(["--epochs", "0"]));
}

/// The keys of a command, as docs/usage.md lists them.
fn documented(command: &str) -> BTreeSet<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/usage.md");
    let text = fs::read_to_string(docs).unwrap();
    let ticked = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let row = rows.find(|(commands, _)| ticked(commands).iter().any(|one| one == command));
    let (_, keys) = row.unwrap_or_else(|| panic!("{command} is not in the table"));
    ticked(keys.split(';').next().unwrap()).into_iter().collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().cloned().collect()
}

#[test]
fn every_command_prints_the_keys_that_are_documented() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3), ("validation", 2), ("test", 2)]);
    fs::write(here.join("data/test/cold/cut.png"), b"").unwrap();
    let small = "--size 32 --units 4";
    let finetune = format!("finetune data -o run {small} --head-epochs 1 --epochs 0");
    let demo = format!("demo -o demo {small} --head-epochs 1 --epochs 0");
    let notebook = format!(
        "notebook data -o book {small} --features-epochs 1 --frozen-epochs 0 --finetune-epochs 0 --batch 4"
    );
    let rest = [
        ("arrange", "arrange data/train -o halves --splits train=0.5,test=0.5"),
        ("check", "check data"),
        ("check", "check data -o found.csv"),
        ("extract", "extract data -o features --size 32"),
        ("fit", "fit features -o fitted --epochs 1 --units 4"),
        ("fit", "fit features -o fitted --epochs 1 --units 4 --resume"),
        ("finetune", &finetune),
        ("finetune", &format!("{finetune} --resume")),
        ("resume", "resume run"),
        ("demo", &demo),
        ("notebook", &notebook),
        ("evaluate", "evaluate run data"),
        ("evaluate", "evaluate run data -o rows.csv"),
        ("report", "report run"),
        ("report", "report fitted features -o page.html"),
        ("predict", "predict run data/test/warm"),
        ("predict -o", "predict run data/test/warm -o rows.txt"),
        ("augment preview", "augment preview data -o sheet.png --size 32"),
        ("compare", "compare run fitted"),
        ("compare", "compare run fitted -o curves.svg"),
        ("export", "export run -o run.onnx"),
        ("weights inspect", "weights inspect run/model.safetensors"),
        ("weights convert", "weights convert run/model.safetensors half.safetensors --dtype f16"),
        ("weights diff", "weights diff run/model.safetensors run/model.safetensors"),
        ("weights fetch --list", "weights fetch --list"),
        ("summary", "summary"),
        ("summary", "summary run"),
        ("devices", "devices"),
        ("bench --plan", "bench --plan --gpu h100"),
        ("emulate KERNEL", "emulate softmax"),
        ("emulate", "emulate"),
    ];
    for (command, typed) in rest {
        let text = stdout(vgg_ft(here).arg("--json").args(typed.split(' ')));
        let value = json(text.lines().next().unwrap());
        let value = value.as_array().map_or(&value, |all| &all[0]);
        assert_eq!(keys(value), documented(command), "{typed}");
        for skipped in value.get("skipped").and_then(Value::as_array).into_iter().flatten() {
            let path = skipped["path"].as_str().unwrap();
            assert!(path.ends_with("test/cold/cut.png") && here.join(path).is_file(), "{typed}: {skipped}");
        }
        let outcome = ["evaluate", "report"].contains(&command);
        assert_eq!(value.get("accuracy").is_some_and(Value::is_f64), outcome, "{typed}");
        if documented("finetune") == documented(command) {
            let again = typed.contains("resume");
            let figures = [&value["finished"], &value["trained"], &value["test"]];
            assert_eq!((figures[0], figures[1]), (&true.into(), &(!again).into()), "{typed}");
            assert_eq!(figures[2].is_null(), again, "{typed}");
            assert!(
                value["history"].as_array().unwrap().len() == 1 && value["device"].is_string(),
                "{typed}"
            );
            assert_eq!(value["history"][0]["skipped_steps"], 0, "{typed}");
        }
    }
    // Where there are no predictions, an outcome's keys are there all the same.
    fs::remove_dir_all(here.join("data")).unwrap();
    let value = json(&stdout(vgg_ft(here).args(["report", "run", "-o", "none.html", "--json"])));
    assert_eq!(keys(&value), documented("report"));
    assert_eq!([&value["images"], &value["folder"], &value["confusion"]], [&Value::Null; 3]);
    // Nor is a part of data that are gone what was asked for.
    fails(vgg_ft(here).args(["report", "run", "-o", "other.html", "--split", "test"]), 2);
    // What sets two runs apart, and nothing else.
    let compared = json(&stdout(vgg_ft(here).args(["compare", "run", "run", "--json"])));
    assert_eq!(compared["differs"], serde_json::json!({}));
    let text = fs::read_to_string(here.join("run/run.toml")).unwrap();
    fs::create_dir(here.join("other")).unwrap();
    fs::copy(here.join("run/history.csv"), here.join("other/history.csv")).unwrap();
    fs::write(here.join("other/run.toml"), text.replacen("units = ", "units = 9", 1)).unwrap();
    let compared = json(&stdout(vgg_ft(here).args(["compare", "run", "other", "--json"])));
    let differs = compared["differs"].as_object().unwrap();
    assert_eq!(differs.keys().collect::<Vec<_>>(), ["network.units"], "{differs:?}");
    // A run that was stopped in its first epoch took no time, not less than none.
    fs::create_dir(here.join("begun")).unwrap();
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    fs::write(here.join("begun/job.toml"), config.split("[result]").next().unwrap()).unwrap();
    assert!(stdout(vgg_ft(here).args(["compare", "begun", "--json"])).contains("\"seconds\":0.0,"));
}

#[test]
fn a_file_for_a_folder_and_the_reverse_are_wrong_use_in_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    trained(here);
    fs::write(here.join("FILE"), b"mine").unwrap();
    fs::create_dir(here.join("DIR")).unwrap();
    stdout(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "32"]));
    for typed in [
        // A file, or a run, where a folder is wanted.
        "summary FILE",
        "extract FILE -o new",
        "extract run -o new",
        "fit FILE -o new",
        "fit DIR -o new",
        "finetune FILE -o new",
        "finetune run -o new",
        "finetune data --from FILE -o new",
        "notebook FILE -o new",
        "notebook run -o new",
        "resume FILE",
        "resume run FILE",
        "evaluate FILE data",
        "evaluate run FILE",
        "evaluate run run",
        "augment preview FILE -o new.png",
        "augment preview run -o new.png",
        "report FILE",
        "report run FILE",
        "compare FILE",
        "export FILE -o new.h5",
        // A folder where a file is wanted.
        "extract data -o new --weights DIR",
        "fit features -o new --weights DIR",
        "finetune data -o new --weights DIR",
        "finetune --config DIR -o new",
        "notebook data -o new --weights DIR",
        "notebook data -o new --config DIR",
        "demo -o new --weights DIR",
        "weights inspect DIR",
        "weights inspect run",
        "weights convert DIR new.h5",
        "weights diff DIR run/model.safetensors",
        "evaluate run data -o DIR",
        "predict run data -o DIR",
        "augment preview data -o DIR",
        "report run -o DIR",
        "compare run -o DIR",
        "export run -o DIR",
        "weights convert run/model.safetensors DIR",
        "weights fetch vgg16 -o DIR",
        // What is to be written lies where nothing can.
        "extract data -o FILE",
        "extract data -o FILE/new",
        "extract data -o -",
        "extract data -o run",
        "fit features -o FILE",
        "fit features -o FILE/new",
        "finetune data -o FILE",
        "finetune data -o FILE/new",
        "finetune data -o -",
        "notebook data -o FILE",
        "notebook data -o FILE/new",
        "notebook data -o run",
        "demo -o FILE",
        "demo -o FILE/new",
        "evaluate run data -o FILE/new.csv",
        "predict run data -o FILE/new.csv",
        "augment preview data -o FILE/new.png",
        "report run -o FILE/new.html",
        "compare run -o FILE/new.svg",
        "export run -o FILE/new.h5",
        "weights convert run/model.safetensors FILE/new.h5",
        "weights fetch vgg16 -o FILE/new.h5",
        // A split that is not there.
        "report run features --split test -o new.html --force",
    ] {
        // Of these features there is a test split, of the others none.
        if typed.contains("--split test") {
            fs::remove_file(here.join("features/test.safetensors")).unwrap();
        }
        let error = fails(vgg_ft(here).args(typed.split(' ')), 2);
        assert!(error.contains("\n  help: "), "{typed}: {error}");
        // Not that its name lacks an ending.
        if typed.ends_with(" -o DIR") {
            assert!(error.contains("`DIR` is a folder\n  help: name a file in it"), "{typed}: {error}");
        }
        assert!(!here.join("new").exists() && fs::read(here.join("FILE")).unwrap() == b"mine", "{typed}");
    }
    // Class folders are contents.
    fails(vgg_ft(here).args(["extract", "DIR", "-o", "new"]), 1);
}

#[test]
fn an_error_is_one_line_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    trained(here);
    let error = |typed: &str, code| {
        let said = fails(vgg_ft(here).args(["--json", "--quiet"]).args(typed.split(' ')), code);
        assert_eq!(said.lines().count(), 1, "{typed}: {said}");
        let value = json(&said);
        let known = ["facts", "help", "kind", "message", "while"].map(str::to_owned);
        assert_eq!((keys(&value).len(), keys(&value["error"])), (1, known.into()), "{said}");
        value["error"].clone()
    };
    let gone = error("evaluate GONE data", 2);
    assert_eq!((&gone["kind"], &gone["message"]), (&"usage".into(), &"GONE does not exist".into()));
    assert!(gone["help"].as_str().unwrap().contains("-o"), "{gone}");
    let not = error("evaluate data data", 2);
    assert_eq!(not["facts"]["missing"], "data/run.toml");
    // What clap says, too.
    let option = error("evaluate run data --spilt test", 2);
    assert!(option["message"].as_str().unwrap().contains("'--spilt'"), "{option}");
    assert!(option["help"].as_str().unwrap().contains("Usage: vgg-ft evaluate"), "{option}");
    // An image that cannot be read stands in its place among the rows.
    fs::write(here.join("cut.png"), b"").unwrap();
    let image = "data/test/warm/0.png";
    let job = ["predict", "run", image, "cut.png", image, "gone.png", "--json", "--quiet"];
    let output = vgg_ft(here).args(job).assert().code(1).get_output().clone();
    let rows: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(json).collect();
    let paths: Vec<&str> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [image, "cut.png", image, "gone.png"]);
    let read: Vec<bool> = rows.iter().map(|row| row.get("error").is_none()).collect();
    assert_eq!(read, [true, false, true, false]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().count() == 3 && said.lines().all(|line| json(line)["error"].is_object()), "{said}");
    // A file of rows is what stdout would have; the result lists them, too.
    let output = vgg_ft(here).args(job).args(["-o", "rows.jsonl"]).assert().code(1).get_output().clone();
    let result = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((&result["images"], &result["skipped"][1]["path"]), (&2.into(), &"gone.png".into()));
    let written = fs::read_to_string(here.join("rows.jsonl")).unwrap();
    assert_eq!(written.lines().map(json).collect::<Vec<_>>(), rows);
}

#[test]
fn what_changes_nothing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    trained(here);
    for (typed, words) in [
        ("summary --device emulator", "note: --device changes nothing"),
        ("summary --precision bf16", "note: --precision changes nothing"),
        ("emulate softmax --device cpu", "note: --device changes nothing"),
        ("resume run data", "note: data was not used"),
    ] {
        let output = vgg_ft(here).args(typed.split(' ')).assert().success().get_output().clone();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words), "{typed}: {said}");
    }
    let rates = ["finetune", "data", "-o", "new", "--optimizer", "sgd", "--rates", "block5=1,block5=2"];
    assert!(fails(vgg_ft(here).args(rates), 2).contains("block5 is named twice"));
}

/// 1 says that they differ, whatever becomes of the answer.
#[cfg(target_os = "linux")]
#[test]
fn equal_files_whose_answer_cannot_be_written_are_not_told_from_others() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let file = vgg_ft::weights::find_default().unwrap();
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"))
        .args(["weights", "diff"])
        .args([&file, &file])
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
