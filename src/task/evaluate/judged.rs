//! Which images a run is judged by: those that it held out, or others.
//!
//! In: a run, a folder, perhaps the name of a split. Out: decoded images, and what to know of their figures.

use super::held_out::{Parted, parted};
use super::names::Names;
use crate::data::endings::Endings;
use crate::data::{Features, Folder, Images, Recipe, Sample, Split, Splits};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::classes::{composed_otherwise, listed, told_from};
use crate::report::counted_are;
use crate::task::Host;
use crate::task::contents::Listing;
use crate::task::finetune::some;
use crate::task::images::{Reading, decode};
use crate::task::resume::Job;
use crate::task::run::Run;
use std::fmt;
use std::path::{Path, PathBuf};

/// Which images are judged.
#[derive(Clone, Debug)]
pub(in crate::task) enum Which {
    /// Those of a split.
    Split(Split),
    /// All of a folder without splits.
    All(PathBuf),
}

impl Which {
    /// The split, if it is one.
    pub fn split(&self) -> Option<Split> {
        match self {
            Self::Split(split) => Some(*split),
            Self::All(_) => None,
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(split) => split.fmt(f),
            Self::All(folder) => write!(f, "all images of {}", folder.display()),
        }
    }
}

/// How many images of the test split that a run was tested on are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::task) enum TestedBy {
    /// Those that it was tested on, where it has a limit of them: its figures stand beside these.
    Run,
    /// All.
    All,
}

/// Images to judge a run by.
pub(in crate::task) struct Labelled {
    /// Which they are.
    pub part: Which,
    /// Where they lie.
    pub folder: Folder,
    /// Decoded.
    pub images: Images,
    /// Whether the run was trained on them, as far as that matters and is known.
    pub note: Option<String>,
    /// Whether they stand in the place of those that the run was validated with, and are others.
    pub others: bool,
}

/// The images of a split of `data`, whose classes must be the run's; of test, validation, train the first
/// that is there if none is named. The folder that the run split for itself is split again as it was.
///
/// # Errors
/// Of the data; [`Kind::Usage`] when there is no such split; [`Kind::Data`] when the classes are not the run's.
pub(in crate::task) fn labelled(
    host: &Host,
    run: &Run,
    data: &Path,
    split: Option<Split>,
    reading: &Reading,
    tested: TestedBy,
) -> Result<Labelled> {
    if let Some((split, part)) = Splits::without_train(data, split) {
        host.note(format_args!("{} has no train; {} is judged", data.display(), part.display()));
        let judged = labelled(host, run, &part, None, reading, tested)?;
        return Ok(Labelled { part: Which::Split(split), ..judged });
    }
    let chosen = Chosen::new(host, run, data, split)?;
    let classes = &run.config.network.classes;
    let absent = classes.iter().filter(|class| !chosen.folder.classes.contains(class)).map(String::as_str);
    let absent: Vec<&str> = absent.collect();
    let all = adopted(&chosen.folder, classes)?;
    if !absent.is_empty() {
        host.note(format_args!("{} has no images of {}", all.root.display(), listed(&absent)));
    }
    let training = &run.config.training;
    let folder = match tested {
        TestedBy::Run if chosen.own && chosen.split == Split::Test => {
            some(&all, training.test_images, training.seed)
        }
        _ => all.clone(),
    };
    if folder.len() < all.len() {
        host.note(format_args!("{} of {} test images are judged, as by the run", folder.len(), all.len()));
    }
    let size = run.architecture.input;
    let called = if chosen.whole { "all" } else { chosen.split.name() };
    let images = decode(host, called, &folder, size, run.resize()?, reading)?;
    let seen = |split| -> Result<bool> {
        let mut listing = Listing::of_images(&folder.root, &images)?;
        if training.job == Job::Fit {
            listing = listing.named_in_features();
        }
        Ok(run.saw(split, &listing).unwrap_or(true))
    };
    let others = chosen.held_out() && !seen(Split::Validation)?;
    let note = chosen.remark(run, data, others, || seen(Split::Train))?;
    if let Some(note) = &note {
        host.note(format_args!("{note}"));
    }
    let part = if chosen.whole { Which::All(data.to_owned()) } else { Which::Split(chosen.split) };
    Ok(Labelled { part, folder, images, note, others })
}

/// A part of a folder, and what the run has to do with it.
struct Chosen {
    /// The split; training where there are none.
    split: Split,
    /// Its images.
    folder: Folder,
    /// The folder has no splits, so this is all of it.
    whole: bool,
    /// The run learned from the folder, or from a copy of it.
    own: bool,
    /// Training and validation are drawn from one folder.
    parted: bool,
    /// They are those of the run's lists.
    by_list: bool,
}

impl Chosen {
    /// As [`labelled`] says, of `data`.
    fn new(host: &Host, run: &Run, data: &Path, split: Option<Split>) -> Result<Self> {
        let mut splits = Splits::judged(data)?;
        let training = &run.config.training;
        let extracted = match splits.validation {
            None => extracted(run, &splits.train)?,
            Some(_) => None,
        };
        let has_held_out = extracted.is_some() || training.validation_split.is_some();
        let there = owns(run, data)?;
        let own = there || is_copy(run, data);
        if own && !there {
            host.note(format_args!(
                "{} has the run's own images: names, classes and sizes are those that it saw",
                data.display()
            ));
        }
        // Of another folder a part is taken only if it is asked for: it may be the same, in another place.
        let asked = matches!(split, Some(Split::Train | Split::Validation));
        let mut by_list = false;
        if split != Some(Split::Test) {
            if let Some([train, validation]) = extracted {
                splits = Splits { train, validation: Some(validation), ..splits };
            } else if let Some(share) = training.validation_split
                && splits.validation.is_none()
                && (own || asked)
            {
                // A class may have too few images by now to be parted again.
                let drawn = drawn(run, &splits, share);
                let parts =
                    drawn.as_ref().ok().and_then(|drawn| Some([&drawn.train, drawn.validation.as_ref()?]));
                if let Some(Parted { parts: [train, validation], new }) =
                    parted(run, &splits.train, own, parts)?
                {
                    by_list = true;
                    if new > 0 {
                        host.note(format_args!(
                            "{}: {} new to the run, and not judged",
                            data.display(),
                            counted_are(new, "image")
                        ));
                    }
                    splits = Splits { train, validation: Some(validation), ..splits };
                } else {
                    splits = drawn?;
                }
            }
        }
        let whole = splits.train.root == data && splits.validation.is_none();
        let parted = splits.validation.as_ref().is_some_and(|part| part.root == splits.train.root);
        let there_are: Vec<(Split, &Folder)> = splits.iter().collect();
        // All of a folder without splits is what was trained on, if that is the run's own; of others nobody knows.
        let known = |split: Split| !whole || (own && split == Split::Train);
        let found = match split {
            Some(split) => there_are.iter().find(|(there, _)| *there == split && known(split)),
            // Train, validation, test is the order of preference backwards.
            None => there_are.last(),
        };
        let Some(&(taken, folder)) = found else {
            let Some(split) = split else { return Err(Error::new(Kind::Data, "there are no images")) };
            let error = Error::new(Kind::Usage, format!("{} has no split `{split}`", data.display()));
            return Err(if whole {
                error.fact("there", format!("class folders: {}", listed(&splits.train.classes))).help(
                    if own && has_held_out {
                        "leave --split out: the images that the run held out are then taken"
                    } else {
                        "leave --split out: all its images are then taken"
                    },
                )
            } else {
                let names: Vec<_> = there_are.iter().map(|(split, _)| split.name()).collect();
                error.fact("splits", names.join(" ")).help("choose one of these with --split")
            });
        };
        if by_list && folder.is_empty() {
            return Err(Error::new(
                Kind::Data,
                format!("{} has none of the run's {taken} images", data.display()),
            )
            .help("give the folder that the run learned from, or a folder of other images without --split"));
        }
        Ok(Self { split: taken, folder: folder.clone(), whole, own, parted, by_list })
    }

    /// Whether it stands in the place of what the run held out: of its own folder, or of one that is said to be a copy.
    fn held_out(&self) -> bool {
        self.parted && self.split == Split::Validation
    }

    /// Whether the run was trained on it, as far as that matters and is known. `others` says that it is not what the
    /// run held out, `learned` that it is what the run learned from.
    fn remark(
        &self,
        run: &Run,
        data: &Path,
        others: bool,
        learned: impl FnOnce() -> Result<bool>,
    ) -> Result<Option<String>> {
        let training = &run.config.training;
        let train = self.split == Split::Train;
        let note = if self.own && train && learned()? {
            "the run was trained on these images".to_owned()
        } else if self.own && train {
            "these are not quite the images that the run was trained on: some were added, removed or changed"
                .to_owned()
        } else if others && self.by_list {
            "these are not quite the images that the run was validated with: some were removed or changed"
                .to_owned()
        } else if others {
            let drawn = match training.job {
                Job::Fit => "the features were made anew",
                Job::Finetune => "other images were held out this time",
            };
            format!(
                "these are not the images that the run was validated with: some were added, removed or changed, or \
                 {drawn}, and the run may have been trained on some of them"
            )
        } else if self.whole && training.validation_split.is_some() {
            let trained = match training.job {
                Job::Finetune => training.data.display().to_string(),
                // Its data are the features.
                Job::Fit => "a folder".into(),
            };
            format!(
                "the run was trained on a part of {trained}; if {} is a copy of that folder, --split validation takes \
                 only what was held out",
                data.display()
            )
        } else if !self.own && train && !is_test(run, data)? {
            "images that the run was trained on may be among these".to_owned()
        } else {
            return Ok(None);
        };
        Ok(Some(note))
    }
}

/// The folder with the run's classes, of which it may lack some.
///
/// # Errors
/// [`Kind::Data`] when it has others.
pub(in crate::task) fn adopted(folder: &Folder, classes: &[String]) -> Result<Folder> {
    let place = |class: &String| classes.iter().position(|known| known == class);
    let Some(places) = folder.classes.iter().map(place).collect::<Option<Vec<usize>>>() else {
        let error =
            Error::new(Kind::Data, format!("{} has other classes than the run", folder.root.display()))
                .expected_got(told_from(classes, &folder.classes), told_from(&folder.classes, classes));
        let error = match composed_otherwise(&folder.classes, classes) {
            Some(alike) => error.fact("reason", alike),
            None => error,
        };
        return Err(error.help("name the class folders as they were named for training"));
    };
    let mut folder = folder.clone();
    for sample in &mut folder.files {
        sample.label = places[sample.label as usize] as u32;
    }
    folder.classes = classes.to_vec();
    Ok(folder)
}

/// Whether `data` has what the run saw, in another place: by names, classes and sizes. An image that was skipped makes it
/// another folder; so does what cannot be read, and sizes that are alike tell nothing.
fn is_copy(run: &Run, data: &Path) -> bool {
    let training = &run.config.training;
    let splits = || {
        let splits = Splits::open(data, None, 0)?;
        match training.validation_split.filter(|_| splits.validation.is_none()) {
            Some(share) => drawn(run, &splits, share),
            None => Ok(splits),
        }
    };
    let copied = |splits: Splits| -> Result<bool> {
        let mut all = vec![&splits.train];
        all.extend(&splits.validation);
        let told = all.into_iter().map(|part| Ok(Listing::of_folder(part)?.tells()));
        Ok(told.collect::<Result<Vec<bool>>>()?.iter().all(|tells| *tells) && run.saw_all(&splits)?)
    };
    splits().and_then(copied).unwrap_or(false)
}

/// `all`, which have no validation folder, with `share` held out as the run draws it now, from the images that those whose
/// network it began with had not seen.
fn drawn(run: &Run, all: &Splits, share: f32) -> Result<Splits> {
    let seed = run.config.training.split_seed();
    // What an earlier run had cannot be told where its lists are gone; then the run's own tell, or nobody.
    match run.earlier().ok().flatten() {
        Some(earlier) => earlier.held_out(all, share, seed),
        None => all.held_out(share, seed, &[]),
    }
}

/// Whether `data` is the test split of the folder that the run learned from.
fn is_test(run: &Run, data: &Path) -> Result<bool> {
    Ok(files::real(data)? == files::real(&run.config.training.data.join(Split::Test.name()))?)
}

/// Whether `data` is the folder that the run learned from, or that its features were extracted from.
///
/// # Errors
/// [`Kind::Io`] when a path cannot be made whole.
pub(in crate::task) fn owns(run: &Run, data: &Path) -> Result<bool> {
    let training = &run.config.training;
    let data = files::real(data)?;
    if data == files::real(&training.data)? {
        return Ok(true);
    }
    let train = Features::path(&training.data, Split::Train);
    Ok(match (training.job, Features::open(&train)) {
        (Job::Fit, Ok(features)) => [&data, &data.join(Split::Train.name())]
            .iter()
            .any(|root| files::shown(root) == features.recipe.root),
        _ => false,
    })
}

/// The training and validation images of the folder `all`, where the run learned from features that were extracted from
/// there and `extract` parted them. What cannot be read of the features parts nothing.
fn extracted(run: &Run, all: &Folder) -> Result<Option<[Folder; 2]>> {
    let training = &run.config.training;
    let open = |split| Features::open(&Features::path(&training.data, split));
    if training.job != Job::Fit {
        return Ok(None);
    }
    let (Ok(train), Ok(validation)) = (open(Split::Train), open(Split::Validation)) else { return Ok(None) };
    let root = files::shown(&files::real(&all.root)?);
    if [&train, &validation].iter().any(|features| features.recipe.root != root) {
        return Ok(None);
    }
    let mut there = Names::of(all);
    let mut folder = |features: Features| {
        let Recipe { classes, files, labels, .. } = features.recipe;
        let files = files.into_iter().zip(labels);
        let files = files.map(|(file, label)| Sample { path: there.take(&file.name, file.bytes), label });
        let (root, unread) = (all.root.clone(), Endings::default());
        let (ignored, links) = (Vec::new(), Vec::new());
        Folder { root, classes, files: files.collect(), unread, ignored, links, parted: false }
    };
    Ok(Some([folder(train), folder(validation)]))
}
