//! `weights inspect`, `convert` and `diff`: files of any format, looked at, rewritten and compared.

use super::Host;
use super::base::told;
use super::export::{check_ending, describe};
use super::output::Output;
use crate::data::folder::is_run;
use crate::error::{Error, Kind, Result};
use crate::export::{Format, Model, write};
use crate::model::{Architecture, Head, Lineage, Preprocess, Pretrained};
use crate::weights::{self, FileFormat, FloatType, Named, Table, Weights, find_default};
use crate::{files, interrupt, model};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
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
    /// Height and width of the pictures, for formats that hold layers, where the file does not say it.
    pub size: Option<[usize; 2]>,
    /// Pixel scaling, where the file does not tell it or tells it wrongly.
    pub preprocess: Option<Preprocess>,
    /// Remarks to keep in the file.
    pub metadata: Vec<(String, String)>,
}

/// Rewrites a file of weights in another format or float type.
///
/// # Errors
/// [`Kind::Weights`] when the file is refused or holds no network that the new format can; [`Kind::Usage`] for
/// options that the new format does not have; those of [`Output`]; the new file's I/O.
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
    let weights = Weights::open(&job.from)?;
    if ours && weights.format() == FileFormat::Safetensors && weights.names().any(|n| n.ends_with(".kernel"))
    {
        // Names and layouts are right already: whatever is there stays.
        return rewrite(host, job, &weights, &weights.all()?, job.preprocess);
    }
    let found = Pretrained::of(weights)?;
    if ours {
        let values = understood(&found)?;
        host.say(format_args!("read       {}\n{}", job.from.display(), found.lineage()));
        return rewrite(host, job, found.weights(), &values, job.preprocess.or(found.lineage().recipe()));
    }
    let architecture = architecture(&found, job.size)?;
    let classes = match found.lineage().has_top() {
        true => model::imagenet::names().map(str::to_owned).collect(),
        false => said_classes(&found),
    };
    let recipe = job.preprocess.map_or_else(|| told(&found), Ok)?;
    let model = Model::new(&architecture, &found, recipe, &classes);
    write(&job.to.path, &model, job.format)?;
    interrupt::check()?;
    host.say(format_args!("read       {}\n{}", job.from.display(), found.lineage()));
    describe(host, &model, job.format);
    let (bytes, sha256) = files::sha256_file(&job.to.path)?;
    let path = &job.to.path;
    host.result(
        &format!("{}\t{bytes} bytes\tsha256 {sha256}", path.display()),
        &json!({ "path": files::shown(path), "bytes": bytes, "sha256": sha256, "lineage": found.lineage() }),
    )
}

fn rewrite(
    host: &Host,
    job: &Convert,
    from: &Weights,
    values: &[Named<'_>],
    recipe: Option<Preprocess>,
) -> Result<()> {
    let mut metadata = BTreeMap::new();
    if from.format() == FileFormat::Safetensors {
        metadata.extend(from.metadata().clone());
    }
    if let Some(recipe) = recipe {
        let said = [("format", "keras"), ("layout", "HWIO"), ("preprocess", recipe.name())];
        metadata.extend(said.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    for key in ["vgg_ft_classes", "classes", "size"] {
        if let Some(text) = from.metadata().get(key) {
            metadata.insert(key.trim_start_matches("vgg_ft_").into(), text.clone());
        }
    }
    metadata.extend(job.metadata.clone());
    metadata.insert("converted-from".into(), format!("sha256:{}", from.sha256()));
    let float = job.float.unwrap_or(FloatType::F32);
    let report = weights::rewrite(values, from.len_bytes(), &job.to.path, float, &metadata)?;
    host.result(&report.to_string(), &report)
}

/// The network as its lineage says it is.
fn architecture(found: &Pretrained, size: Option<[usize; 2]>) -> Result<Architecture> {
    let lineage = found.lineage();
    let file = found.weights().path().display();
    let other = |what: String| {
        let error = Error::new(Kind::Weights, format!("{file} cannot be written in this format"));
        error
            .expected_got("a VGG of 64 to 512 filters, alone, with the classifier of ImageNet, or with two dense layers", what)
            .help("write it as safetensors with Keras' names: --format safetensors")
    };
    let variant = lineage.variant().ok_or_else(|| other(format!("{} convolutions", lineage.convolutions)))?;
    let rows = found.parameters().iter().find(|(name, _)| name == "dense.kernel").map(|(_, shape)| shape[0]);
    let known = size.or_else(|| found.size());
    match (&lineage.dense[..], rows) {
        ([], _) => Architecture::vgg(variant, known.unwrap_or([224; 2])),
        _ if lineage.has_top() && size.is_none_or(|size| size == [224; 2]) => {
            Architecture::vgg(variant, [224; 2])?.with_top()
        }
        _ if lineage.has_top() => {
            let [h, w] = size.unwrap_or_default();
            Err(Error::new(Kind::Usage, "the classifier of ImageNet takes pictures of 224x224")
                .expected_got("224x224", format!("{h}x{w}"))
                .help("leave --size out"))
        }
        (&[_, 2], _) => Err(other("a softmax of two classes, where ours is one sigmoid".into())),
        (&[units, outputs], Some(rows)) => {
            // 7 x 7 x 512 is 224 for everybody; of others, and of means over the picture, rows do not tell.
            let known = known.or((rows == 25088).then_some([224; 2])).ok_or_else(|| {
                Error::new(Kind::Usage, format!("{file} does not say how large its pictures are"))
                    .fact("inputs of the classifier", rows)
                    .help("say it with --size, as the network was trained")
            })?;
            let head = Head { units, dropout: 0.0, classes: if outputs == 1 { 2 } else { outputs } };
            Architecture::vgg(variant, known)?.with_head(head)
        }
        (dense, _) => Err(other(format!("dense layers of {dense:?}"))),
    }
}

/// The classes that an export of ours names.
fn said_classes(found: &Pretrained) -> Vec<String> {
    let said = ["vgg_ft_classes", "classes"].iter().find_map(|key| found.weights().metadata().get(*key));
    said.map_or_else(Vec::new, |text| text.lines().map(str::to_owned).collect())
}

/// What a tensor of a file is, for a comparison.
enum Values<'a> {
    Floats(Cow<'a, [f32]>),
    /// Counters of training, say.
    Others(Cow<'a, [u8]>),
}

type Compared<'a> = (String, Vec<usize>, Values<'a>);

/// All tensors as they are in the file, numbers that are none included.
fn raw(weights: &Weights) -> Result<Vec<Compared<'_>>> {
    let tensor = |name: &str| {
        let values = if weights.is_float(name)? {
            Values::Floats(weights.values(name)?)
        } else {
            Values::Others(weights.bytes(name)?)
        };
        Ok((name.to_owned(), weights.shape(name)?.to_vec(), values))
    };
    weights.names().map(tensor).collect()
}

fn network(found: &Pretrained) -> Result<Vec<Compared<'_>>> {
    let floats = |(name, shape, values)| (name, shape, Values::Floats(values));
    Ok(understood(found)?.into_iter().map(floats).collect())
}

fn understood(found: &Pretrained) -> Result<Vec<Named<'_>>> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
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
    if is_run(&path) {
        let own = path.join("model.safetensors");
        return Err(Error::new(Kind::Usage, format!("{} is a run, not a file", path.display())).help(
            if own.exists() {
                format!("its weights are in {}", own.display())
            } else {
                format!("it has none before it is finished: `vgg-ft resume {}` goes on", files::quoted(&path))
            },
        ));
    }
    let weights = Weights::open(&path)?;
    let table = Table::of(&weights)?;
    let lineage = Pretrained::of(weights);
    let mut text = table.to_string();
    match &lineage {
        Ok(found) => write!(text, "\n\n{}", found.lineage()),
        Err(error) => write!(text, "\n\n  network     none: {}", error.message()),
    }
    .map_err(|_| Error::new(Kind::Io, "the table cannot be written"))?;
    let lineage = lineage.ok().map(|found| found.lineage().clone());
    host.result(&text, &Inspected { table, lineage })
}

/// One tensor of two files.
#[derive(Clone, Debug, Serialize)]
struct Difference {
    name: String,
    /// `None` where the shapes differ or one file has no such tensor; then `note` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    largest: Option<f32>,
    /// Values whose bits differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    differing: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Compares two files tensor by tensor: as networks where both hold a VGG, whatever their formats, else by the
/// names that they have.
///
/// # Errors
/// [`Kind::Weights`] when they differ; [`Kind::Usage`] when a file is refused, so that they cannot be compared.
pub fn diff(host: &Host, a: &Path, b: &Path) -> Result<()> {
    // As of `diff`: 1 says that they differ, 2 that they cannot be compared.
    let refused =
        |error: Error| if error.kind() == Kind::Interrupted { error } else { error.of_kind(Kind::Usage) };
    let open = |path: &Path| -> Result<_> {
        let weights = Weights::open(path).map_err(refused)?;
        Ok((weights, Pretrained::open(path)))
    };
    let ((raw_a, a), (raw_b, b)) = (open(a)?, open(b)?);
    let whole = |found: &Pretrained| !found.lineage().left_out;
    let rows = match (&a, &b) {
        (Ok(a), Ok(b)) if whole(a) && whole(b) => {
            for found in [a, b] {
                host.say(format_args!("{}\n{}", found.weights().path().display(), found.lineage()));
            }
            let [a, b] = [network(a), network(b)].map(|all| all.map_err(refused));
            compare(&a?, &b?)
        }
        _ => {
            for found in [&a, &b] {
                let why = match found {
                    Ok(found) if whole(found) => continue,
                    Ok(found) => format!("{}: no classifier that is known", found.weights().path().display()),
                    Err(error) => error.message().into(),
                };
                host.say(format_args!("note: {why}: compared by the names in the files"));
            }
            compare(&raw(&raw_a).map_err(refused)?, &raw(&raw_b).map_err(refused)?)
        }
    };
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(4);
    let mut text = format!("{:width$}  {:>10}  {:>10}  {:>10}", "name", "relative", "largest", "differing");
    for row in &rows {
        text += &format!("\n{:width$}  ", row.name);
        text += &match row {
            Difference { relative: Some(relative), largest: Some(largest), differing: Some(n), .. } => {
                format!("{relative:>10.3e}  {largest:>10.3e}  {n:>10}")
            }
            row => row.note.clone().unwrap_or_default(),
        };
    }
    let scaled =
        |found: &Result<Pretrained>| found.as_ref().ok().and_then(|found| found.lineage().preprocess);
    let (of_a, of_b) = (scaled(&a), scaled(&b));
    // Where one says nothing of them they may be the same.
    let named = |found: &Result<Pretrained>| found.as_ref().map_or_else(|_| Vec::new(), said_classes);
    let (classes_a, classes_b) = (named(&a), named(&b));
    let other_classes = !classes_a.is_empty() && !classes_b.is_empty() && classes_a != classes_b;
    let equal = rows.iter().all(|row| row.differing == Some(0)) && of_a == of_b && !other_classes;
    if of_a != of_b {
        let name = |recipe: Option<&'static str>| recipe.unwrap_or("not known");
        text += &format!("\npixels are scaled in two ways: {} and {}", name(of_a), name(of_b));
    }
    if other_classes {
        text += &format!("\nthe classes are others: {} and {}", classes_a.join(" "), classes_b.join(" "));
    }
    text += &format!("\n{}", if equal { "the same" } else { "not the same" });
    host.result(&text, &json!({ "same": equal, "preprocess": [of_a, of_b], "tensors": rows }))?;
    if equal {
        Ok(())
    } else {
        Err(Error::new(Kind::Weights, "the two files differ").help("the table on stdout says where"))
    }
}

fn compare(a: &[Compared<'_>], b: &[Compared<'_>]) -> Vec<Difference> {
    let of_b: BTreeMap<&str, &Compared<'_>> = b.iter().map(|named| (&named.0[..], named)).collect();
    let of_a: BTreeMap<&str, ()> = a.iter().map(|named| (&named.0[..], ())).collect();
    let noted = |name: &str, note: String| Difference {
        name: name.to_owned(),
        relative: None,
        largest: None,
        differing: None,
        note: Some(note),
    };
    let mut rows: Vec<Difference> = a
        .iter()
        .map(|(name, shape, values)| match of_b.get(&name[..]) {
            None => noted(name, "only in the first".into()),
            Some((_, other, _)) if other != shape => noted(name, format!("{shape:?} and {other:?}")),
            Some((_, _, others)) => match (values, others) {
                (Values::Floats(values), Values::Floats(others)) => difference(name, values, others),
                (Values::Others(values), Values::Others(others)) if values == others => {
                    Difference { differing: Some(0), ..noted(name, "the same, no floats".into()) }
                }
                (Values::Others(_), Values::Others(_)) => noted(name, "no floats, other bytes".into()),
                _ => noted(name, "floats in one file alone".into()),
            },
        })
        .collect();
    let only = b.iter().filter(|named| !of_a.contains_key(&named.0[..]));
    rows.extend(only.map(|named| noted(&named.0, "only in the second".into())));
    rows
}

/// ‖a − b‖ / ‖a‖ (Frobenius), the largest |a − b|, and how many differ.
fn difference(name: &str, a: &[f32], b: &[f32]) -> Difference {
    let (mut squares, mut norm, mut largest, mut differing) = (0f64, 0f64, 0f32, 0);
    for (&a, &b) in a.iter().zip(b) {
        norm += f64::from(a).powi(2);
        // NaN is no further from itself than a number is.
        if a.to_bits() != b.to_bits() {
            squares += (f64::from(a) - f64::from(b)).powi(2);
            largest = largest.max((a - b).abs());
            differing += 1;
        }
    }
    // Of two zeros the difference is none.
    let relative = if squares == 0.0 { 0.0 } else { (squares / norm).sqrt() };
    Difference {
        name: name.to_owned(),
        relative: Some(relative),
        largest: Some(largest),
        differing: Some(differing),
        note: None,
    }
}
