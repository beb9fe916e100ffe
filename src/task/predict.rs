//! `predict`: images of unknown class.

use super::Host;
use super::estimate::Estimate;
use super::feeding::Feeding;
use super::images::{Skipped, as_stored, clipped, in_batch, tell_passed_over};
use super::look::Look;
use super::output::{self, Output};
use super::subject::Subject;
use crate::data::{Batch, Inputs, Loaded, LoadedAhead, Loading, Size, Unreadable};
use crate::error::{Error, Kind, Result};
use crate::model::Network;
use crate::report::{Format, Progress, Rows, Said, replaced};
use crate::train::Views;
use crate::{files, interrupt};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What to classify.
#[derive(Clone, Debug)]
pub struct Predict {
    /// The run folder, or a file of weights with the classifier of ImageNet.
    pub run: PathBuf,
    /// How a file of weights is fed.
    pub feeding: Feeding,
    /// Images, folders, patterns, or `-`.
    pub inputs: Vec<PathBuf>,
    /// Whether paths on stdin end in NUL.
    pub null: bool,
    /// How the images are looked at.
    pub look: Look,
    /// How many classes to show.
    pub top: usize,
    /// Whether every class is shown.
    pub all: bool,
    /// How rows look; if not given as `output` ends, or `--json` says.
    pub format: Option<Format>,
    /// A file for the rows instead of stdout.
    pub output: Option<Output>,
    /// Images per pass.
    pub batch: usize,
    /// Whether the first unreadable image ends it.
    pub strict: bool,
}

/// Prints one row per image. An image that cannot be read is reported and the others go on.
///
/// # Errors
/// Of the run, the inputs and the device; [`Kind::Usage`] for two formats at once; [`Kind::Data`] at the end when
/// some images could not be read. With [`Predict::strict`] the first of those is the error.
pub fn predict(host: &Host, job: &Predict) -> Result<()> {
    let (output, format) = match (&job.output, job.format) {
        (Some(output), format) => {
            let (path, format) = rows_file(output, format)?;
            (Some(path), format)
        }
        (None, Some(Format::Text | Format::Csv)) if host.json => {
            return Err(Error::new(Kind::Usage, "--json and --format ask for two things")
                .help("leave one of them out: --json is --format jsonl"));
        }
        (None, Some(format)) => (None, format),
        (None, None) if host.json => (None, Format::Jsonl),
        (None, None) => (None, Format::Text),
    };
    host.introduce();
    let subject = Subject::open(host, &job.run, job.feeding)?;
    let views = job.look.views(host, &subject)?;
    let inputs = Inputs::find(&job.inputs, job.null)?;
    if let Some(output) = &job.output {
        output.is_none_of(inputs.named())?;
    }
    tell_passed_over(host, &inputs.runs, &inputs.unread, &inputs.links);
    let (architecture, images) = (&subject.architecture, inputs.count().unwrap_or(usize::MAX));
    Estimate { architecture, batch: job.batch, images, training: None }.check(host)?;
    let network = subject.network(host)?;
    let [h, w] = subject.architecture.input;
    let how = Loading { size: Size { h, w }, resize: subject.resize, batch: job.batch, strict: job.strict };
    let classes = &subject.classes;
    let rows = Rows { format, classes, top: job.top, all: job.all, labelled: false };
    // Rows that run over a terminal are progress enough, and a bar between them would tear them.
    let shows = output.is_some() || !std::io::stdout().is_terminal();
    let many = inputs.count().is_none_or(|count| count > job.batch);
    let progress = match inputs.count() {
        _ if !(shows && many) => Progress::silent(),
        Some(count) => host.progress("classifying", count, "images"),
        None if host.quiet => Progress::silent(),
        None => Progress::endless("classifying", "images"),
    };
    let classifier = Classifier { host, job, network: &network, views: &views, rows, progress };
    let ahead = inputs.load(how)?;
    let mut done = Done::default();
    match output {
        None => done = classifier.run(ahead, &mut |bytes| host.write(bytes))?,
        Some(path) => {
            files::write_atomic(path, |out| {
                done = classifier.run(ahead, &mut |bytes| {
                    out.write_all(bytes).map(|()| true).map_err(|e| Error::io("write", path, &e))
                })?;
                Ok(())
            })?;
            done.report(host, path, &subject)?;
        }
    }
    if let Some(note) = replaced(done.replaced, "--format jsonl").filter(|_| format == Format::Csv) {
        host.note(format_args!("{note}"));
    }
    for note in as_stored(done.sideways).into_iter().chain(clipped(done.clipped)) {
        host.note(format_args!("{note}"));
    }
    if done.seen == 0 && !done.unheard {
        host.note("stdin named no image");
    }
    done.complaint().map_or(Ok(()), Err)
}

/// A file for rows, which can be written, and how they look: as asked, else as the name ends, else as text.
///
/// # Errors
/// Those of [`Output::check`]; [`Kind::Usage`] for an ending that is not known, or is that of another format.
pub(super) fn rows_file(output: &Output, asked: Option<Format>) -> Result<(&Path, Format)> {
    let path = &output.path;
    let format = match (asked, output::named(path, &Format::ENDINGS)) {
        // Any rows may be called text.
        (Some(asked), Some(named)) if asked != named && output::ending(path) != "txt" => {
            let (asked, named) = (asked.name(), named.name());
            return Err(Error::new(
                Kind::Usage,
                format!("--format {asked} does not go with {}", path.display()),
            )
            .fact("its ending says", named)
            .help(format!("write --format {named}, or leave it out; or give the file another ending")));
        }
        (Some(asked), _) => asked,
        (None, Some(named)) => named,
        (None, None) if path.extension().is_none() => Format::Text,
        (None, None) if path.is_dir() => output.format(&Format::ENDINGS)?,
        (None, None) => output
            .format(&Format::ENDINGS)
            .map_err(|error| error.help("give the file one of these endings, or say how with --format"))?,
    };
    output.check()?;
    Ok((path, format))
}

#[derive(Default)]
struct Done {
    seen: usize,
    sideways: usize,
    clipped: usize,
    /// Paths that are no UTF-8.
    replaced: usize,
    /// Nobody reads stdout any more.
    unheard: bool,
    skipped: Vec<Skipped>,
}

impl Done {
    /// What could not be read, if anything, and what was done all the same.
    fn complaint(&self) -> Option<Error> {
        let unreadable = self.skipped.len();
        let classified = match (unreadable, self.seen - unreadable) {
            (0, _) => return None,
            (_, 0) => "none was classified".to_owned(),
            (_, 1) => "the other one was classified".to_owned(),
            (_, n) => format!("the other {n} were classified"),
        };
        let message = format!("{unreadable} of {} images could not be read", self.seen);
        Some(
            Error::new(Kind::Data, message).help(format!("the errors above say which and why; {classified}")),
        )
    }

    fn report(&self, host: &Host, path: &Path, subject: &Subject) -> Result<()> {
        let classified = self.seen - self.skipped.len();
        let text = format!("{}  {classified} images classified", files::line(path));
        let value = json!({
            "path": files::shown(path),
            "images": classified,
            "skipped": self.skipped,
            "device": host.name(),
            "precision": host.device.precision(),
            "run_precision": subject.precision,
            "stopped": subject.stopped,
        });
        host.result(&text, &value)
    }
}

struct Classifier<'a> {
    host: &'a Host,
    job: &'a Predict,
    network: &'a Network,
    views: &'a Views,
    rows: Rows<'a>,
    progress: Progress,
}

impl Classifier<'_> {
    /// Classifies all of `ahead`; `write` takes the rows of each batch and says whether anybody wants more.
    fn run(&self, ahead: LoadedAhead, write: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<Done> {
        let mut done = Done::default();
        if !write(&self.rows.header())? {
            done.unheard = true;
            return Ok(done);
        }
        for loaded in ahead {
            interrupt::check()?;
            let mut loaded = loaded?;
            // What stdin names is known only now; the file is replaced at the end.
            if let Some(output) = &self.job.output {
                output.is_none_of(loaded.paths.iter().map(PathBuf::as_path))?;
            }
            done.sideways += loaded.sideways;
            done.clipped += loaded.clipped;
            done.replaced += loaded.paths.iter().filter(|path| path.to_str().is_none()).count();
            done.seen += loaded.paths.len() + loaded.unreadable.len();
            let rows = self.classify(&mut loaded)?;
            let wanted = rows.is_empty() || write(&rows)?;
            for Unreadable { path, error, .. } in loaded.unreadable {
                if self.job.strict {
                    return Err(error);
                }
                self.progress.aside(|| self.host.complain(&error));
                done.skipped.push(Skipped::new(&path, &error));
            }
            if !wanted {
                break;
            }
            self.progress.set(done.seen as u64);
        }
        Ok(done)
    }

    /// The rows of a batch; in JSON images that cannot be read stand in their places.
    fn classify(&self, loaded: &mut Loaded) -> Result<Vec<u8>> {
        let Loaded { paths, pixels, unreadable, .. } = loaded;
        let indices = (0..paths.len() as u32).collect();
        let batch = Batch { indices, pixels: std::mem::take(pixels), labels: Vec::new() };
        let all = match paths.first() {
            Some(first) => self
                .views
                .predict(self.host.device.as_ref(), self.network, &batch)
                .map_err(|error| in_batch(error, first))?,
            None => Vec::new(),
        };
        let mut unread = unreadable.iter().filter(|_| !self.job.strict).peekable();
        let mut out = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            let row = &all[at];
            while let Some(unread) = unread.next_if(|unread| unread.after <= at) {
                out.extend(self.rows.unread(&unread.path, &unread.error));
            }
            let class = self.job.look.class(row).unwrap_or_else(|| Views::most_probable(row));
            out.extend(self.rows.row(&Said { path, label: None, class, probabilities: row })?);
        }
        unread.for_each(|unread| out.extend(self.rows.unread(&unread.path, &unread.error)));
        Ok(out)
    }
}
