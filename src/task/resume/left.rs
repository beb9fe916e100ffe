//! What is left of a run that is finished: its test and its report, if it was stopped before them.
//!
//! In: the run's folder, and where its data lie now. Out: the run's file with the test's figures, the report, and what is
//! said of them.

use super::Job;
use crate::data::Splits;
use crate::error::{Error, Kind, Result};
use crate::files::quoted;
use crate::task::earlier;
use crate::task::evaluate::adopted;
use crate::task::finetune::{Measured, measure};
use crate::task::report;
use crate::task::run::{Begin, Config, Lock, REPORT, RUN, Run, Told, nothing_left};
use crate::task::{Host, Reading};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What is left of a finished run, done and said, if it was stopped before it: the test on the split that its data have,
/// which lie at `data` if they were moved, and the report.
///
/// # Errors
/// Those of the data and of the test; [`Kind::Interrupted`].
pub(in crate::task) fn conclude(
    host: &Host,
    run: &Path,
    data: Option<PathBuf>,
    reading: Reading,
) -> Result<Told> {
    let measured = untested(host, run, data.clone(), reading.clone())?;
    if measured.is_none() {
        let job = Config::read(&run.join(RUN))?.training.job;
        let moved = data.filter(|_| job == Job::Finetune && !run.join(REPORT).exists());
        if let Some(data) = &moved {
            same_images(run, &Run::open(run)?.splits(data)?)?;
        }
        report::missing(host, run, moved, reading)?;
    }
    let mut told = nothing_left(run);
    if let Some(Measured { outcome, skipped }) = measured {
        told.text = format!("test\n{}\n{}", outcome.text(), told.text);
        told.json["test"] = if host.json { json!(outcome) } else { Value::Null };
        told.json["skipped"] = json!(skipped);
    }
    Ok(told)
}

/// The test of a finished run that was stopped before it; none where there is nothing to test.
fn untested(host: &Host, run: &Path, data: Option<PathBuf>, reading: Reading) -> Result<Option<Measured>> {
    let file = run.join(RUN);
    let config = Config::read(&file)?;
    if config.training.job == Job::Fit || config.result.is_some_and(|result| result.test_accuracy.is_some()) {
        if let Some(data) = data.filter(|_| config.training.job == Job::Fit || run.join(REPORT).exists()) {
            host.note(format_args!("{} was not used: the run needs no more data", data.display()));
        }
        return Ok(None);
    }
    let (classes, typed) = (config.network.classes.clone(), data.is_some());
    let mut job = config.job(&file, run.to_owned(), Begin::Resume, reading)?;
    job.data = data.unwrap_or(job.data);
    if !job.data.exists() {
        host.note(format_args!(
            "{} is gone; if it had a test split, `vgg-ft resume {} DATA` tests the run on the copy at DATA",
            job.data.display(),
            quoted(run)
        ));
        return Ok(None);
    }
    let splits = earlier::splits(&job.data, job.validation_split, job.head.seed, job.earlier.as_ref());
    let split = splits.and_then(|splits| {
        if typed {
            same_images(run, &splits)?;
        }
        splits.test.map(|split| adopted(&split, &classes)).transpose()
    });
    let split = match split {
        Ok(Some(split)) => split,
        Ok(None) => return Ok(None),
        Err(error) if typed => return Err(error),
        Err(error) => {
            host.note(format_args!("the run was not tested, and cannot be now: {}", error.message()));
            return Ok(None);
        }
    };
    let _lock = Lock::take(run)?;
    measure(host, &job, &split)
}

/// Whether `splits` are what the run learned from and was validated with: its figures are of no others.
fn same_images(run: &Path, splits: &Splits) -> Result<()> {
    if Run::open(run)?.saw_all(splits)? {
        return Ok(());
    }
    let there = splits.train.root.display();
    Err(Error::new(Kind::Data, format!("{there} holds other images than {} was trained with", run.display()))
        .help(format!("to judge it on other images: `vgg-ft evaluate {} DATA`", quoted(run))))
}
