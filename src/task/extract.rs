//! `extract`: images through the frozen base, activations to disk.

use super::base::Base;
use super::estimate::Estimate;
use super::images::{decode, skipped};
use super::output::{apart, folder_of_no_run};
use super::remarks::twice;
use super::run::unlocked;
use super::{Host, ImageOptions};
use crate::data::split::in_each;
use crate::data::{
    self, Begin, Features, Folder, HeldOut, Images, Recipe, RecipeFile, Split, Splits, Writer, batches,
};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::graph::Tensor;
use crate::interrupt;
use crate::model::classes::listed;
use crate::model::{Architecture, Network, Variant};
use crate::train::{FeatureSamples, Samples, forward, input};
use serde_json::json;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What to extract.
#[derive(Clone, Debug)]
pub struct Extract {
    /// The data folder.
    pub data: PathBuf,
    /// The features folder.
    pub output: PathBuf,
    /// Write over features of other data or settings.
    pub force: bool,
    /// Network.
    pub variant: Variant,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// Scaling, resize, weights, reading.
    pub images: ImageOptions,
    /// The last layer run.
    pub layer: String,
    /// Share of each class for validation.
    pub validation_split: Option<f32>,
    /// Seed of that split.
    pub seed: u64,
    /// Images per pass.
    pub batch: usize,
}

/// Extracts every split of the data folder.
///
/// # Errors
/// Of data, weights, device and files; what was extracted so far is kept and used next time.
pub fn extract(host: &Host, job: &Extract) -> Result<()> {
    host.introduce();
    let architecture = Architecture::vgg(job.variant, job.size)?;
    let last = architecture.position(&job.layer)?;
    folder_of_no_run(&job.output)?;
    apart(&job.data, &job.output)?;
    let splits = opened(host, &job.data, job.validation_split, job.seed)?;
    let images = splits.iter().map(|(_, folder)| folder.len()).max().unwrap_or(0);
    Estimate { architecture: &architecture, batch: job.batch, images, training: None }.check(host)?;
    let base = Base::open(host, job.images.weights.as_deref(), job.images.preprocess)?;
    let network = base.network(host, architecture, None)?;
    let parted = job.validation_split.map(|share| HeldOut { share, seed: job.seed });
    let from =
        Extraction { variant: job.variant, base: &base, images: &job.images, batch: job.batch, parted };
    let file = |split| Features::path(&job.output, split);
    splits.iter().try_for_each(|(split, _)| Writer::require_place(&file(split)))?;
    for (split, folder) in splits.iter().filter(|_| !job.force) {
        Extraction::nothing_lost(&file(split), &from.settings(host, &network, folder, job.size, last + 1))?;
    }
    former_splits_may_go(&splits, job)?;
    files::require_room(&job.output)?;

    // All of them before the long work: what is wrong with them is known then, and who is in two splits.
    let mut decoded = Vec::new();
    for (split, folder) in splits.iter() {
        let images = decode(host, split.name(), folder, job.size, job.images.resize, &job.images.reading)?;
        decoded.push((split, folder, Arc::new(images)));
    }
    if let [(_, _, train), others @ ..] = &decoded[..] {
        let others: Vec<_> = others.iter().map(|(split, _, images)| (*split, Some(images))).collect();
        twice(host, train, &others);
    }
    remove_former_splits(host, &splits, &job.output)?;
    let mut reports = Vec::new();
    let mut text = String::new();
    for (split, folder, images) in decoded {
        let unread = skipped(&folder.root, &images);
        let path = file(split);
        let features = from.images(host, &network, split, folder, &images, 0..last + 1, &path)?;
        let row = features.row();
        text += &format!("{}  {} x {:?}\n", files::line(&path), features.labels().len(), &row.axes()[1..]);
        reports.push(json!({
            "split": split,
            "path": files::shown(&path),
            "images": features.labels().len(),
            "shape": &row.axes()[1..],
            "key": features.key,
            "skipped": unread,
        }));
    }
    let (device, precision) = (host.name(), host.device.precision());
    let value = json!({ "features": reports, "layer": job.layer, "device": device, "precision": precision });
    host.result(&text, &value)
}

/// Whether the features of splits that the data has no more may be removed: a folder that was renamed is soon called by its
/// former name again, features take hours.
///
/// # Errors
/// [`Kind::Usage`] naming the first, without `force`.
fn former_splits_may_go(splits: &Splits, job: &Extract) -> Result<()> {
    let is_former = |split: &Split| splits.get(*split).is_none();
    let features = |path: &PathBuf| path.exists() && Features::open(path).is_ok();
    let former = Split::ALL
        .into_iter()
        .filter(is_former)
        .map(|split| Features::path(&job.output, split))
        .find(features);
    match former.filter(|_| !job.force) {
        None => Ok(()),
        Some(path) => Err(Error::new(
            Kind::Usage,
            format!("{} is of a split that the data no longer has", path.display()),
        )
        .fact("splits", splits.iter().map(|(split, _)| split.name()).collect::<Vec<_>>().join(", "))
        .help("give the split its name again, choose another folder with -o, or remove the features with --force")),
    }
}

/// Features of a split that is no more would be taken for this data's.
fn remove_former_splits(host: &Host, splits: &Splits, output: &Path) -> Result<()> {
    for split in Split::ALL.into_iter().filter(|split| splits.get(*split).is_none()) {
        let path = Features::path(output, split);
        for beginning in Writer::beginnings(&path).iter().filter(|file| file.exists()) {
            std::fs::remove_file(beginning).map_err(|e| Error::io("remove", beginning, &e))?;
        }
        if path.exists() && Features::open(&path).is_err() {
            host.note(format_args!("{} is not a features file, so it is left alone", path.display()));
        } else if path.exists() {
            host.note(format_args!("{} is removed: the data no longer has this split", path.display()));
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
    }
    Ok(())
}

/// The splits of `data`, with a remark on folders that may have been meant otherwise.
///
/// # Errors
/// Those of [`Splits::open`].
pub(super) fn opened(host: &Host, data: &Path, validation_split: Option<f32>, seed: u64) -> Result<Splits> {
    let splits = Splits::open(data, validation_split, seed)?;
    misleading(host, &splits);
    Ok(splits)
}

/// Remarks on folders of `splits` that may have been meant otherwise.
pub(super) fn misleading(host: &Host, splits: &Splits) {
    if !splits.passed_over.is_empty() {
        host.note(format_args!(
            "ignored beside train/: {}; the other splits must be called validation (or val, valid) and test",
            splits.passed_over.join(", ")
        ));
    }
    if let Some(names) = in_each(&splits.train) {
        host.note(format_args!(
            "each of the classes {} holds the folders {} and no images beside them: if these are the classes, and those \
             splits, call them train, validation and test",
            listed(&splits.train.classes),
            listed(&names)
        ));
    }
    for class in splits.train.classes.iter().filter(|class| class.starts_with('.')) {
        host.note(format_args!(
            "the hidden folder {class} counts as a class, as in Keras' flow_from_directory \
             (image_dataset_from_directory skips it); remove it if it is none"
        ));
    }
}

/// What activations are made from.
pub(super) struct Extraction<'a> {
    pub variant: Variant,
    pub base: &'a Base,
    pub images: &'a ImageOptions,
    pub batch: usize,
    /// As [`Recipe::parted`].
    pub parted: Option<HeldOut>,
}

impl Extraction<'_> {
    /// `images` through the layers `range`, which begins at the first, into `path`; takes up what is
    /// there already.
    #[allow(clippy::too_many_arguments)]
    pub fn images(
        &self,
        host: &Host,
        network: &Network,
        split: Split,
        folder: &Folder,
        images: &Arc<Images>,
        range: Range<usize>,
        path: &Path,
    ) -> Result<Features> {
        let recipe = self.recipe(host, network, folder, images, range.end)?;
        if let Ok(old) = Features::open(path)
            && recipe.key().is_ok_and(|key| key != old.key)
        {
            let path = path.display();
            host.note(format_args!("{path} was made of other images or settings and is made anew"));
        }
        let mut writer = match Writer::begin(path, &recipe, &host.computes())? {
            Begin::Complete(features) => {
                host.say(format_args!("{split}: features are there already, nothing to do"));
                return Ok(*features);
            }
            Begin::From(writer) => writer,
        };
        if !writer.is_locked() {
            unlocked(host, path);
        }
        if writer.done() > 0 {
            host.say(format_args!("{split}: going on after {} of {}", writer.done(), images.len()));
        }
        let order = (writer.done() as u32..images.len() as u32).collect();
        let rule = self.images.preprocess.rule();
        let device = host.device.as_ref();
        let source: Arc<dyn data::Source> = images.clone();
        let inputs =
            batches(source, order, self.batch)?.map(|batch| input(device, &batch?, images.size, rule));
        through(host, network, split, images.len(), range, inputs, &mut writer)?;
        writer.finish()
    }

    /// Features through further layers.
    pub fn features(
        &self,
        host: &Host,
        network: &Network,
        split: Split,
        features: &Features,
        range: Range<usize>,
        path: &Path,
    ) -> Result<Features> {
        let mut recipe = features.recipe.clone();
        recipe.layer = last_layer(network, range.end);
        recipe.row = network.architecture().shape_before(range.end).axes().to_vec();
        let mut writer = match Writer::begin(path, &recipe, &host.computes())? {
            Begin::Complete(features) => return Ok(*features),
            Begin::From(writer) => writer,
        };
        if !writer.is_locked() {
            unlocked(host, path);
        }
        let samples =
            FeatureSamples { shape: features.row(), values: features.values()?, labels: features.labels() };
        let order: Vec<u32> = (writer.done() as u32..features.labels().len() as u32).collect();
        let device = host.device.as_ref();
        let inputs = order.chunks(self.batch).map(|indices| samples.batch(device, indices));
        through(host, network, split, samples.len(), range, inputs, &mut writer)?;
        writer.finish()
    }

    fn recipe(
        &self,
        host: &Host,
        network: &Network,
        folder: &Folder,
        images: &Images,
        end: usize,
    ) -> Result<Recipe> {
        let input = [images.size.h, images.size.w];
        Ok(Recipe {
            files: seen(&folder.root, images)?,
            labels: images.labels.clone(),
            ..self.settings(host, network, folder, input, end)
        })
    }

    /// All that decides what an extraction gives, but its images.
    fn settings(
        &self,
        host: &Host,
        network: &Network,
        folder: &Folder,
        input: [usize; 2],
        end: usize,
    ) -> Recipe {
        Recipe {
            engine: format!("{}, pixels {}", env!("CARGO_PKG_VERSION"), data::PIXELS),
            root: folder.root.canonicalize().unwrap_or_else(|_| folder.root.clone()).display().to_string(),
            weights: self.base.sha256.clone(),
            variant: self.variant.name().into(),
            input,
            preprocess: self.images.preprocess.name().into(),
            resize: self.images.resize.name().into(),
            precision: host.device.precision(),
            layer: last_layer(network, end),
            parted: self.parted,
            classes: folder.classes.clone(),
            files: Vec::new(),
            row: network.architecture().shape_before(end).axes().to_vec(),
            labels: Vec::new(),
        }
    }

    /// Whether what is at `path` may be written over: features of the same data by the same settings, or none.
    fn nothing_lost(path: &Path, settings: &Recipe) -> Result<()> {
        let there = Features::open(path).ok();
        let Some((what, there, here)) = there.and_then(|old| old.recipe.set_otherwise(settings)) else {
            return Ok(());
        };
        Err(Error::new(Kind::Usage, format!("{} holds other features than these", path.display()))
            .fact("differs", format!("{what}: {there} there, {here} here"))
            .help("choose another folder with -o, or write over them with --force"))
    }
}

fn last_layer(network: &Network, end: usize) -> String {
    end.checked_sub(1).map_or("input".into(), |last| network.architecture().layers()[last].name.clone())
}

/// The images as they were read: files that changed places may have one length and date.
fn seen(root: &Path, images: &Images) -> Result<Vec<RecipeFile>> {
    let file = |(file, &sum): (&PathBuf, &u64)| {
        let path = root.join(file);
        let found = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, &e))?;
        Ok(RecipeFile { name: file.to_string_lossy().into_owned(), bytes: found.len(), sum })
    };
    images.files.iter().zip(&images.sums).map(file).collect()
}

fn through(
    host: &Host,
    network: &Network,
    split: Split,
    total: usize,
    range: Range<usize>,
    inputs: impl Iterator<Item = Result<Tensor>>,
    writer: &mut Writer,
) -> Result<()> {
    let layer = last_layer(network, range.end);
    let began = Instant::now();
    let first = writer.done();
    // What an earlier run did is not this run's speed.
    let progress = host.progress(&format!("{split} to {layer}"), total - first, "images");
    let outcome = (|| {
        for x in inputs {
            interrupt::check()?;
            let y = forward(host.device.as_ref(), network, range.clone(), x?)?;
            let rows = host.device.download_floats(y.buffer())?;
            if let Some(at) = rows.iter().position(|value| !value.is_finite()) {
                let row = at / (rows.len() / y.shape().axes()[0].max(1)).max(1);
                return Err(Error::new(
                    Kind::Numeric,
                    format!("layer {layer} gives a number that is not finite"),
                )
                .fact("sample", writer.done() + row)
                .help("check the weights file with `vgg-ft weights inspect`"));
            }
            writer.append(&rows)?;
            progress.set((writer.done() - first) as u64);
        }
        Ok(())
    })();
    if outcome.is_err() {
        // What was computed is worth keeping whatever stopped us; the first error is the one to tell.
        let _ = writer.make_safe();
        return outcome.map_err(|error| {
            let kept = format!("extracting {split}, {} of {total} done", writer.done());
            let error = error.context(kept);
            match error.kind() {
                Kind::Interrupted => error.help("the same command goes on from there"),
                _ => error,
            }
        });
    }
    let seconds = began.elapsed().as_secs_f64();
    let images = writer.done() - first;
    progress.finish(&format!(
        "{split:10} {images} x {layer} in {seconds:.1} s, {:.1} images/s",
        images as f64 / seconds.max(1e-9)
    ));
    Ok(())
}
