//! What a command is to read must be there, and be a folder or a file as it should: one error and one exit code for all of
//! them, before a device is opened.
//!
//! In: what was typed. Out: nothing, or [`Kind::Usage`] that names the path. Images of `predict` are not asked for
//! here: one that is missing is one that cannot be read, and the others go on. Nor is what a file names, such as the data
//! of a `run.toml`: that is a job that fails.

use super::args::Command;
use super::augment::AugmentCommand;
use super::weights::WeightsCommand;
use crate::data::folder::{RUN, is_image_name, is_run, no_data};
use crate::data::{Features, Split};
use crate::error::{Error, Kind, Result};
use crate::files::quoted;
use crate::task::MODEL;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a path is typed for.
#[derive(Clone, Copy)]
enum For {
    Run,
    /// A run, or a file of weights.
    Network,
    Data,
    Images,
    Labels,
    Features,
    Weights,
    Config,
}

impl For {
    fn help(self) -> &'static str {
        match self {
            Self::Run => "give the folder that `vgg-ft finetune` or `vgg-ft fit` wrote with -o",
            Self::Network => "name the folder of a run, or a file of weights with a classifier",
            Self::Data => "give a folder with train/, validation/, test/, or with one folder per class",
            Self::Images => "give the folder of the images",
            Self::Labels => "give the list of images and their classes",
            Self::Features => "give the folder that `vgg-ft extract` wrote with -o",
            Self::Weights => "check the path; `vgg-ft weights fetch --list` names the files that can be had",
            Self::Config => "check the path; a run's folder holds its run.toml or job.toml",
        }
    }

    /// What is wrong with `path`, which is there, if it is no such thing. Runs are looked at by those who read them: some
    /// need a finished one.
    fn unlike(self, path: &Path) -> Option<Error> {
        let name = path.display();
        let usage = |message: String| Error::new(Kind::Usage, message).help(self.help());
        match self {
            Self::Data => no_data(path).map(|error| error.of_kind(Kind::Usage)),
            Self::Features if !path.is_dir() => {
                Some(usage(format!("{name} is a file, not a folder of features")))
            }
            // Half of them are those of an extraction that was stopped, which `fit` says.
            Self::Features => {
                let whole = Features::path(path, Split::Train);
                let half = Features::partial_path(path, Split::Train);
                let none = !whole.exists() && !half.exists();
                none.then(|| usage(format!("{name} holds no features")).fact("missing", whole.display()))
            }
            // It has one, though.
            Self::Weights if is_run(path) => {
                let own = path.join(MODEL);
                let error = Error::new(Kind::Usage, format!("{name} is a run, not a file"));
                Some(error.help(if own.exists() {
                    format!("its weights are in {}", quoted(&own))
                } else {
                    format!(
                        "it has no weights file until it is finished: `vgg-ft resume {}` goes on",
                        quoted(path)
                    )
                }))
            }
            Self::Images if !path.is_dir() => Some(usage(format!("{name} is a file, not a folder"))),
            Self::Images => no_data(path).map(|error| error.of_kind(Kind::Usage)),
            Self::Labels | Self::Weights | Self::Config if path.is_dir() => {
                Some(usage(format!("{name} is a folder, not a file")))
            }
            Self::Run | Self::Network | Self::Labels | Self::Weights | Self::Config => None,
        }
    }
}

/// Whether all that `command` is to read is there, and what it should be.
///
/// # Errors
/// [`Kind::Usage`] for the first path that is missing, else for the first that is something else. One that cannot be
/// looked at is left to those who read it.
pub fn there(command: &Command) -> Result<()> {
    in_order(command)?;
    let mut seen = Vec::new();
    for (what, path) in typed(command) {
        match std::fs::metadata(path) {
            Ok(_) => seen.push((what, path)),
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
                ) =>
            {
                return Err(
                    Error::new(Kind::Usage, format!("{} does not exist", path.display())).help(what.help())
                );
            }
            Err(_) => {}
        }
    }
    for (what, path) in &seen {
        // `compare` passes over what it cannot read.
        if let (For::Run | For::Network, Err(e)) = (what, path.join(RUN).try_exists())
            && e.kind() == ErrorKind::PermissionDenied
            && !matches!(command, Command::Compare(_))
        {
            // It may be a run for all that can be seen.
            return Err(Error::io("look into", path, &e));
        }
    }
    seen.into_iter().find_map(|(what, path)| what.unlike(path)).map_or(Ok(()), Err)
}

/// Whether a run that is typed with images stands before them.
fn in_order(command: &Command) -> Result<()> {
    let (run, rest): (&Path, Vec<&PathBuf>) = match command {
        Command::Evaluate(a) => (&a.run, vec![&a.data]),
        Command::Predict(a) => (&a.run, a.inputs.iter().collect()),
        Command::Report(a) => (&a.run, a.data.iter().collect()),
        Command::Resume(a) => (&a.run, a.data.iter().collect()),
        _ => return Ok(()),
    };
    let network =
        |path: &Path| is_run(path) || (path.is_file() && !path.file_name().is_some_and(is_image_name));
    match rest.into_iter().find(|path| is_run(path)) {
        Some(late) if run.exists() && !network(run) => {
            Err(Error::new(Kind::Usage, format!("{} is not a run, but {} is", run.display(), late.display()))
                .help(format!("name the run first: {} {}", quoted(late), quoted(run))))
        }
        _ => Ok(()),
    }
}

/// The paths that are read, in the order in which they are typed.
fn typed(command: &Command) -> Vec<(For, &Path)> {
    fn one(what: For, path: &Path) -> Vec<(For, &Path)> {
        vec![(what, path)]
    }
    fn maybe(what: For, path: &Option<PathBuf>) -> Vec<(For, &Path)> {
        path.iter().map(|path| (what, path.as_path())).collect()
    }
    match command {
        Command::Arrange(a) => [one(For::Images, &a.images), maybe(For::Labels, &a.labels)].concat(),
        Command::Check(a) => one(For::Data, &a.data),
        Command::Summary(a) => maybe(For::Run, &a.run),
        Command::Extract(a) => [one(For::Data, &a.data), maybe(For::Weights, &a.images.weights)].concat(),
        Command::Fit(a) => [one(For::Features, &a.features), maybe(For::Weights, &a.weights)].concat(),
        Command::Finetune(a) => {
            let (config, weights) = (maybe(For::Config, &a.config), &a.job.images.weights);
            let from = maybe(For::Run, &a.from);
            [maybe(For::Data, &a.data), config, from, maybe(For::Weights, weights)].concat()
        }
        Command::Notebook(a) => {
            let config = maybe(For::Config, &a.config);
            [maybe(For::Data, &a.data), config, maybe(For::Weights, &a.weights)].concat()
        }
        Command::Resume(a) => [one(For::Run, &a.run), maybe(For::Data, &a.data)].concat(),
        Command::Evaluate(a) => [one(For::Run, &a.run), one(For::Data, &a.data)].concat(),
        Command::Predict(a) => one(For::Network, &a.run),
        Command::Augment(a) => match &a.command {
            AugmentCommand::Preview(a) => one(For::Data, &a.data),
        },
        Command::Report(a) => [one(For::Run, &a.run), maybe(For::Data, &a.data)].concat(),
        Command::Compare(a) => a.runs.iter().map(|run| (For::Run, run.as_path())).collect(),
        Command::Export(a) => one(For::Run, &a.run),
        Command::Demo(a) => maybe(For::Weights, &a.job.images.weights),
        Command::Weights(a) => match &a.command {
            WeightsCommand::Convert(a) => one(For::Weights, &a.from),
            WeightsCommand::Inspect { file } => maybe(For::Weights, file),
            WeightsCommand::Diff { a, b } => [one(For::Weights, a), one(For::Weights, b)].concat(),
            WeightsCommand::Fetch(_) => Vec::new(),
        },
        Command::Devices | Command::Bench(_) | Command::Emulate(_) => Vec::new(),
    }
}
