//! `compare`: runs side by side.

use super::Host;
use super::notebook;
use super::output::Output;
use super::run::{Config, HISTORY, JOB, RUN, is_held};
use crate::data::folder::is_run;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::report::comparison::{Line, Stage, text};
use crate::report::curves::{best, comparison};
use crate::report::differences::{self, differences};
use crate::train::History;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What to compare.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The run folders, finished or stopped.
    pub runs: Vec<PathBuf>,
    /// Where to draw their curves.
    pub output: Option<Output>,
}

/// Prints a table, and draws the curves if asked.
///
/// # Errors
/// Of the runs and files; [`Kind::Usage`] for a file that is neither SVG nor PNG, or there.
pub fn compare(host: &Host, job: &Compare) -> Result<()> {
    let file = |output: &Output| -> Result<(PathBuf, Ending)> {
        let ending = output.format(&ENDINGS)?;
        output.check()?;
        Ok((output.path.clone(), ending))
    };
    let output = job.output.as_ref().map(file).transpose()?;
    let (mut lines, mut read) = (Vec::new(), Vec::new());
    // A pattern such as runs/* names other folders, too.
    let (runs, others): (Vec<&PathBuf>, Vec<&PathBuf>) = job.runs.iter().partition(|run| is_run(run));
    if let (true, Some(other)) = (runs.is_empty(), others.first()) {
        let help = notebook::help(other)
            .unwrap_or_else(|| "give folders that `vgg-ft finetune` or `vgg-ft fit` wrote with -o".into());
        return Err(Error::new(Kind::Usage, format!("{} is not a run", other.display()))
            .fact("missing", other.join(RUN).display())
            .help(help));
    }
    let mut validated: Option<(&Path, String)> = None;
    let mut skipped = Vec::new();
    for other in others {
        let reason = match other.join(RUN).try_exists() {
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                Error::io("look into", other, &e).line()
            }
            _ => format!("{} is not a run", other.display()),
        };
        host.note(format_args!("{reason}; it is passed over"));
        skipped.push(json!({ "path": files::shown(other), "reason": reason }));
    }
    let mut damaged = None;
    for run in runs {
        match Run::read(run) {
            Ok((line, one)) => {
                match (&validated, &one.validated) {
                    (Some((first, there)), Some(digest)) if there != digest => host.note(format_args!(
                        "{} was validated with other images than {}: their val_ figures cannot be compared",
                        run.display(),
                        first.display()
                    )),
                    (None, Some(digest)) => validated = Some((run, digest.clone())),
                    _ => {}
                }
                lines.push(line);
                read.push(one);
            }
            Err(error) => {
                // What is said of the others does not hang on it.
                host.note(format_args!("{} is passed over: {}", run.display(), error.line()));
                skipped.push(json!({ "path": files::shown(run), "reason": error.line() }));
                damaged = damaged.or(Some(error));
            }
        }
    }
    if let Some(error) = damaged.filter(|_| lines.is_empty()) {
        return Err(error);
    }
    if let Some((path, ending)) = &output {
        let named: Vec<(String, &History)> =
            lines.iter().map(|line| line.run.clone()).zip(read.iter().map(|one| &one.history)).collect();
        let chart = comparison(&named);
        match ending {
            Ending::Svg => files::write_bytes(path, chart.svg().as_bytes())?,
            Ending::Png => files::write_bytes(path, &chart.png()?)?,
        }
        host.say(format_args!("curves     {}", path.display()));
    }
    let path = output.map(|(path, _)| files::shown(&path));
    if read.windows(2).any(|pair| pair[0].smoothing != pair[1].smoothing) {
        host.note("these runs use different label smoothing, so their losses cannot be compared");
    }
    let settings: Vec<Value> = read.into_iter().map(|one| one.settings).collect();
    let mut differ = differences(&settings, &TOLD);
    differ.retain(|(key, values)| key != SAMPLES || differ_where_known(values));
    let mut table = text(&lines);
    if !differ.is_empty() {
        let runs: Vec<String> = lines.iter().map(|line| line.run.clone()).collect();
        table += &format!("\n{}", differences::text(&runs, &differ));
    }
    let differ: Map<String, Value> = differ.into_iter().map(|(key, values)| (key, values.into())).collect();
    host.result(&table, &json!({ "runs": lines, "differs": differ, "skipped": skipped, "path": path }))
}

/// Settings that the table has, that are no choice of the user's, or that other words are found for.
const TOLD: [&str; 18] = [
    "format",
    "vgg_ft",
    "result",
    "training.job",
    "training.digests",
    "training.earlier",
    "training.earlier_sha256",
    "training.features",
    "training.keep_features",
    "training.cache_limit",
    "training.split_seed",
    ".name",
    ".unfreeze_from",
    ".rate",
    ".epochs",
    ".rate_cuts",
    ".rule",
    "training.weights",
];

/// How many images a run saw; nothing until it has read them.
const SAMPLES: &str = "training.samples";

fn differ_where_known(values: &[Value]) -> bool {
    let mut known = values.iter().filter(|value| !value.is_null());
    known.next().is_some_and(|first| known.any(|other| other != first))
}

/// How curves are drawn.
#[derive(Clone, Copy)]
enum Ending {
    Svg,
    Png,
}

const ENDINGS: [(&str, Ending); 2] = [("svg", Ending::Svg), ("png", Ending::Png)];

/// What is asked of a run beside its line.
struct Run {
    history: History,
    /// What tells the images that it was validated with, if any were and it says so.
    validated: Option<String>,
    /// Of the last stage's targets.
    smoothing: Option<f32>,
    /// All of its run.toml.
    settings: Value,
}

impl Run {
    fn read(run: &Path) -> Result<(Line, Self)> {
        let (finished, stopped) = (run.join(RUN), run.join(JOB));
        let whole = finished.exists();
        let config = Config::read(if whole { &finished } else { &stopped })?;
        let csv = run.join(HISTORY);
        // A run that was stopped in its first epoch has none.
        let history = if whole || csv.exists() { History::load(&csv)? } else { History::default() };
        let last = history.epochs.last();
        let top = best(&history.epochs);
        let kept = config.result.as_ref();
        let stage = |stage: &super::StageConfig| Stage {
            name: stage.name.clone(),
            unfreeze_from: stage.unfreeze_from.clone(),
            rate: stage.rate_cuts.iter().fold(files::short(stage.rate), |rate, cut| rate * cut.factor),
            epochs: stage.epochs,
            optimizer: stage.optimizer.to_string(),
            augmented: stage.augment.is_some(),
        };
        let line = Line {
            run: run.display().to_string(),
            finished: whole,
            running: !whole && is_held(run),
            stages: config.training.stages.iter().map(stage).collect(),
            epochs: history.epochs.len(),
            best_val_accuracy: top.map(|(value, _)| value),
            best_epoch: top.map(|(_, epoch)| epoch),
            // The weights that were kept need not be the last epoch's.
            val_accuracy: kept
                .map_or_else(|| last.and_then(|epoch| epoch.val_accuracy), |kept| kept.val_accuracy),
            val_loss: kept.map_or_else(|| last.and_then(|epoch| epoch.val_loss), |kept| kept.val_loss),
            test_accuracy: config.result.and_then(|result| result.test_accuracy),
            // Rust's sum of nothing is -0.
            seconds: config.result.map_or_else(
                || history.epochs.iter().fold(0.0, |sum, epoch| sum + epoch.seconds),
                |result| result.seconds,
            ),
        };
        let validated = config.training.digests.get(1).filter(|digest| !digest.is_empty()).cloned();
        let smoothing = config.training.stages.last().map(|stage| stage.label_smoothing);
        let unread = config.training.samples == [0, 0];
        let mut settings = serde_json::to_value(&config)
            .map_err(|e| Error::new(Kind::Data, format!("{}: {e}", run.join(RUN).display())))?;
        if unread {
            settings["training"]["samples"] = Value::Null;
        }
        // Files leave out what is usual.
        settings["network"]["pooling"] = config.network.pooling.name().into();
        Ok((line, Self { history, validated, smoothing, settings }))
    }
}
