//! What a command that trains says of its run, for people and for machines.
//!
//! In: the run's folder. Out: a text, and the keys of the JSON that `docs/usage.md` lists.

use super::{Config, HISTORY, REPORT, RUN};
use crate::files::{self, quoted};
use crate::train::History;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// What came out of a command that trains.
pub(in crate::task) struct Told {
    /// For people.
    pub text: String,
    /// For machines: the keys of [`told`].
    pub json: Value,
}

/// That the run at `path` is finished.
pub(in crate::task) fn nothing_left(path: &Path) -> Told {
    let mut text = format!("{} is finished, there is nothing to go on with", files::line(path));
    if !path.join(REPORT).exists() {
        let _ = write!(text, " (`vgg-ft report {}` makes its report, which is missing)", quoted(path));
    }
    // What cannot be read has been said, or will be by who reads more of it.
    let config = Config::read(&path.join(RUN)).ok();
    let history = History::load(&path.join(HISTORY)).unwrap_or_default();
    Told { json: told(path, config.as_ref(), &history), text }
}

/// What a command that trains prints of the run at `path`, for machines: the same keys whether it trained, which is for
/// who did so to say, or there was nothing left.
pub(in crate::task) fn told(path: &Path, config: Option<&Config>, history: &History) -> Value {
    let training = config.map(|config| &config.training);
    json!({
        "run": files::shown(path),
        "finished": true,
        "trained": false,
        // "cuda:0 (9.0, winograd) bf16"
        "device": training.and_then(|training| training.device.split(' ').next()),
        "precision": training.map(|training| training.precision),
        "result": config.and_then(|config| config.result),
        "test": null,
        "history": history.epochs,
        "skipped": [],
        "counters": {},
    })
}
