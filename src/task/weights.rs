//! `weights inspect`, `convert` and `diff`: files of any format, looked at, rewritten and compared.

mod diff;
mod network;

pub use diff::diff;
pub(super) use network::{architecture, classes};

use super::Host;
use super::base::told;
use super::export::{check_ending, describe};
use super::feeding::{Feeding, remark};
use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::export::{Format, Model, write};
use crate::model::classes::in_lines;
use crate::model::{Lineage, Pooling, Preprocess, Pretrained, SINCE};
use crate::weights::{self, FileFormat, FloatType, Named, Rounding, Table, Weights, find_default};
use crate::{files, interrupt};
use network::{fits, said_classes};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to rewrite as what.
#[derive(Clone, Debug)]
pub struct Convert {
    /// The file to read.
    pub from: PathBuf,
    /// The file to write.
    pub to: Output,
    /// Its format.
    pub format: Format,
    /// Its float type, if it is safetensors of ours; f32 if not given.
    pub float: Option<FloatType>,
    /// Height and width of the images, where the file does not say it.
    pub size: Option<[usize; 2]>,
    /// Pixel scaling, where the file does not tell it or tells it wrongly.
    pub preprocess: Option<Preprocess>,
    /// Remarks to keep in the file.
    pub metadata: Vec<(String, String)>,
}

impl Convert {
    /// How the new file says that images are fed, as far as options decide it.
    fn feeding(&self) -> Feeding {
        Feeding { size: self.size, preprocess: self.preprocess, resize: None }
    }
}

/// What was written, for `--json`: of every format alike.
#[derive(Serialize)]
struct Converted<'a> {
    path: String,
    bytes: u64,
    sha256: String,
    bytes_before: u64,
    tensors: usize,
    values: usize,
    /// Tensors of 64-bit floats, which were rounded to f32 before all else.
    doubles: usize,
    /// What the new file's type did to the f32 values.
    rounding: Rounding,
    /// What network it is; `None` for none.
    lineage: Option<&'a Lineage>,
}

/// Rewrites a file of weights in another format or float type.
///
/// # Errors
/// [`Kind::Weights`] when the file is refused or holds no network that the new format can; [`Kind::Usage`] for
/// options that the new format does not have, or that the file contradicts; those of [`Output`]; the new file's I/O.
pub fn convert(host: &Host, job: &Convert) -> Result<()> {
    check_ending(&job.to.path, job.format)?;
    job.to.check()?;
    if files::real(&job.from)? == files::real(&job.to.path)? {
        return Err(Error::new(Kind::Usage, format!("{} would be written over itself", job.from.display()))
            .help("give the new file another name"));
    }
    let ours = job.format == Format::Safetensors;
    for (option, given) in [("--dtype", job.float.is_some()), ("--metadata", !job.metadata.is_empty())] {
        if given && !ours {
            return Err(Error::new(Kind::Usage, format!("{option} means nothing to this format"))
                .help("it is for safetensors with Keras' names; leave it out"));
        }
    }
    refuse_own(&job.metadata)?;
    let weights = Weights::open(&job.from)?;
    if ours && weights.format() == FileFormat::Safetensors && weights.names().any(|n| n.ends_with(".kernel"))
    {
        // Names and layouts are right already: whatever is there stays.
        let found = understand(job, Weights::open(&job.from)?);
        let asked = job.size.is_some() || job.preprocess.is_some();
        match found {
            Err(error) if asked => return Err(error),
            Err(_) => return rewrite(host, job, &weights, None, &weights.all()?),
            // But a first kernel that has its channels the other way round, and a last one of two columns.
            Ok(found) if found.lineage().turned || found.lineage().joined => {}
            Ok(found) => {
                remark(host, &found, job.feeding(), "written");
                return rewrite(host, job, &weights, Some(&found), &weights.all()?);
            }
        }
    }
    let found = understand(job, weights)?;
    if ours {
        host.say_lines(format_args!("read       {}\n{}", job.from.display(), found.lineage()));
        remark(host, &found, job.feeding(), "written");
        return rewrite(host, job, found.weights(), Some(&found), &understood(&found)?);
    }
    if job.size.is_some() && job.format == Format::Torch && found.lineage().dense.is_empty() {
        return Err(Error::new(Kind::Usage, "--size means nothing to a .pth of convolutions alone")
            .help("they take images of any size; leave it out"));
    }
    let help = "write it as safetensors with Keras' names: --format safetensors";
    let (architecture, classes) = (architecture(&found, job.size, help)?, classes(&found));
    let recipe = job.preprocess.map_or_else(|| told(&found), Ok)?;
    let resize = found.said("resize").and_then(|word| word.parse().ok());
    let since = found.lineage().since(found.weights(), job.preprocess);
    let model = Model::new(&architecture, &found, recipe, &classes).scaled_since(since).resized_by(resize);
    write(&job.to.path, &model, job.format)?;
    host.say_lines(format_args!("read       {}\n{}", job.from.display(), found.lineage()));
    remark(host, &found, job.feeding(), "written");
    describe(host, &model, job.format);
    let parameters = architecture.parameters();
    let values = parameters.iter().map(|spec| spec.shape.len()).sum();
    let (from, rounding) = (found.weights(), Rounding::default());
    report(host, job, (from, Some(found.lineage())), (parameters.len(), values, rounding), "")
}

/// The network in `weights`, as far as the job's options fit it.
fn understand(job: &Convert, weights: Weights) -> Result<Pretrained> {
    let mut found = Pretrained::of(weights)?;
    if let Some(recipe) = job.preprocess {
        found.feed(recipe);
    }
    if let Some(size) = job.size {
        fits(&found, size).map_err(|error| {
            error.of_kind(Kind::Usage).help("give the size that it was trained with, or leave --size out")
        })?;
    }
    Ok(found)
}

/// Prints what was written: a line, and `more`.
fn report(
    host: &Host,
    job: &Convert,
    (from, lineage): (&Weights, Option<&Lineage>),
    (tensors, values, rounding): (usize, usize, Rounding),
    more: &str,
) -> Result<()> {
    let path = &job.to.path;
    let (bytes, sha256) = files::sha256_file(path)?;
    let (bytes_before, doubles) = (from.len_bytes(), from.doubles());
    if doubles > 0 {
        let tensors = crate::report::counted(doubles, "tensor");
        host.note(format_args!("{tensors} of 64-bit floats rounded to f32; what it cost is not counted"));
    }
    let text = format!("{}\t{bytes} bytes\tsha256 {sha256}{more}", path.display());
    let path = files::shown(path);
    host.result(
        &text,
        &Converted { path, bytes, sha256, bytes_before, tensors, values, doubles, rounding, lineage },
    )
}

/// Writes `values` as safetensors of ours. `found` is the network in the file, if it is one.
fn rewrite(
    host: &Host,
    job: &Convert,
    from: &Weights,
    found: Option<&Pretrained>,
    values: &[Named<'_>],
) -> Result<()> {
    let mut metadata = match found {
        Some(found) => said_again(job, found),
        // It is not ours to say what this is.
        None => from.metadata().clone(),
    };
    metadata.extend(job.metadata.clone());
    metadata.insert("converted-from".into(), format!("sha256:{}", from.sha256()));
    let float = job.float.unwrap_or(FloatType::F32);
    let done = weights::rewrite(values, &job.to.path, float, &metadata)?;
    let parts = (done.tensors, done.values, done.rounding);
    report(host, job, (from, found.map(Pretrained::lineage)), parts, &format!("\n{done}"))
}

/// The metadata of a file of ours: what the source said, and what it means in names of ours. What it said in others is
/// gone with the layout of which it was true.
fn said_again(job: &Convert, found: &Pretrained) -> BTreeMap<String, String> {
    let (from, lineage) = (found.weights(), found.lineage());
    let mut out = BTreeMap::new();
    let said = from.metadata();
    if from.format() == FileFormat::Safetensors {
        out.extend(
            said.iter().filter(|(key, _)| !is_own(key)).map(|(key, text)| (key.clone(), text.clone())),
        );
    }
    // Where names and layouts stay, a guess can be made again, and stays one.
    let stays = from.format() == FileFormat::Safetensors
        && from.names().any(|name| name.ends_with(".kernel"))
        && !lineage.turned;
    let told = || found.said("preprocess")?.parse().ok();
    let recipe = job.preprocess.or_else(|| if stays { told() } else { lineage.recipe() });
    let since = recipe.and_then(|_| lineage.since(from, job.preprocess));
    let classes = said_classes(found);
    // A guess can be made again, and what is said of tensors that stay is said again.
    let means = lineage.pooled(job.size.or(found.size())) == Pooling::Average && !lineage.guessed_means;
    let pooling =
        if means { Some(Pooling::Average.name()) } else { found.said("pooling") }.map(str::to_owned);
    for (key, text) in [
        ("format", Some("keras".to_owned())),
        ("layout", Some("HWIO".to_owned())),
        ("preprocess", recipe.map(|recipe| recipe.name().to_owned())),
        (SINCE, since.map(str::to_owned)),
        ("classes", (!classes.is_empty()).then(|| in_lines(&classes))),
        ("size", job.size.or_else(|| found.size()).map(|[h, w]| format!("{h}x{w}"))),
        ("pooling", pooling),
        ("resize", found.said("resize").map(str::to_owned)),
    ] {
        if let Some(text) = text {
            out.insert(key.into(), text);
        }
    }
    out
}

/// Whether the program reads this key itself.
fn is_own(key: &str) -> bool {
    key.starts_with("vgg_ft_")
        || ["format", "layout", "preprocess", SINCE, "classes", "size", "pooling", "resize"].contains(&key)
}

/// Remarks are the user's; what the program reads, it writes as it is.
fn refuse_own(metadata: &[(String, String)]) -> Result<()> {
    let read = [
        "converted-from",
        "rescaling",
        "preprocessing",
        "unlike-vgg",
        "unlike-classifier",
        "normalised-classifier",
        "linear-output",
    ];
    match metadata.iter().find(|(key, _)| is_own(key) || read.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) => {
            let error = Error::new(Kind::Usage, format!("--metadata cannot set `{key}`"))
                .fact("reason", "vgg-ft reads it, and writes it as the weights are");
            Err(error.help(match key.as_str() {
                "preprocess" | "vgg_ft_preprocess" => "give --preprocess RECIPE",
                "size" | "vgg_ft_input" => "give --size SIZE",
                _ => "leave it out, or choose another key",
            }))
        }
    }
}

fn understood(found: &Pretrained) -> Result<Vec<Named<'_>>> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        interrupt::check()?;
        let values = found.tensor(&name, &shape)?;
        Ok((name, shape, values))
    };
    found.parameters().into_iter().map(tensor).collect()
}

/// Lists a file's tensors, and says what network it holds.
///
/// # Errors
/// [`Kind::Weights`] when the file is refused.
pub fn inspect(host: &Host, file: Option<&Path>) -> Result<()> {
    #[derive(Serialize)]
    struct Inspected {
        #[serde(flatten)]
        table: Table,
        /// What network it is; `None` for none.
        lineage: Option<Lineage>,
    }
    let path = file.map_or_else(find_default, |path| Ok(path.to_owned()))?;
    let weights = Weights::open(&path)?;
    let table = Table::of(&weights)?;
    let lineage = Pretrained::of(weights);
    // The table is as long as the file's list of tensors, and JSON has no use for it.
    let text = match &lineage {
        _ if host.json => String::new(),
        Ok(found) => format!("{table}\n\n{}", found.lineage()),
        Err(error) => format!("{table}\n\n  network     none: {}", error.line()),
    };
    let lineage = lineage.ok().map(|found| found.lineage().clone());
    host.result(&text, &Inspected { table, lineage })
}
