//! What the runs learned from and held out whose network a job begins with: who is held out by it is not to be one of
//! those that its weights have seen.
//!
//! In: the lists of such a run and those that it began with, or what a job has written down of them. Out: where each
//! image of a folder stays ([`Stays`]), the lists as they are kept beside the job, and remarks.

use super::contents::Listing;
use super::evaluate::owns;
use super::finetune::Finetune;
use super::run::{EARLIER, JOB, MODEL, RUN, Run, TrainingConfig};
use super::{Host, run};
use crate::data::{Images, Split, Splits, Stays};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::classes::listed;
use crate::report::{counted, counted_are};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What earlier runs learned from, and what they held out. An image is known by its path inside the folder and its size
/// in bytes, wherever the folder lies.
#[derive(Clone, Debug)]
pub struct Earlier([Listing; 2]);

impl Earlier {
    /// That of a job which begins with the network of `run`, on `data`: the lists of that run and those that it began
    /// with itself. Where `data` is its own folder, an image that was changed keeps its part, too: what was saved anew is
    /// still much the same. None where the run does not tell.
    ///
    /// # Errors
    /// As [`Self::recorded`]; [`Kind::Io`] when a path cannot be made whole.
    pub(super) fn of(run: &Run, data: &Path) -> Result<Option<Self>> {
        let files = [0, 1].map(|split| run.listing(split));
        // A run of a version that wrote none, or a model that was copied without them.
        if files.iter().any(|file| !file.exists()) {
            return Ok(None);
        }
        const WITHOUT: &str = "or begin without it: `--weights RUN/model.safetensors` instead of `--from`, or without \
                               validation: `--validation-split 0`";
        let samples = run.config.training.samples;
        let read =
            |split: usize| Listing::load(&files[split]).filter(|list| list.files().count() == samples[split]);
        let [Some(train), Some(validation)] = [0, 1].map(read) else {
            let lists = files.each_ref().map(|file| file.display().to_string());
            return Err(Error::new(Kind::Data, "the lists of what a run learned from and held out were changed")
                .fact("lists", lists.join("\n"))
                .fact("entries", format!("{} and {}, as its run.toml says", samples[0], samples[1]))
                .help(
                    "put them back; or begin without them: `--weights RUN/model.safetensors` instead of `--from`, or \
                     without validation: `--validation-split 0`",
                ));
        };
        run.require_own(Split::Train, &train, WITHOUT)?;
        run.require_own(Split::Validation, &validation, WITHOUT)?;
        // As they will be read again from where they are written: a name that is no UTF-8 is replaced.
        let mut lists = [train, validation].map(Listing::named_in_features);
        let training = &run.config.training;
        if owns(run, data)?
            && let Ok(splits) = Splits::open(data, None, 0)
            && let Ok(now) = Listing::of_folder(&splits.train)
        {
            let now = now.named_in_features();
            lists[0].add_changed(&now);
            // The names of a validation folder are inside another.
            if training.validation_split.is_some() {
                lists[1].add_changed(&now);
            }
        }
        if let Some(Self(before)) = run.earlier()? {
            lists.iter_mut().zip(before).for_each(|(list, before)| list.add_missing(before));
        }
        Ok(Some(Self(lists)))
    }

    /// What the job in the file `file` has written down beside it, or where its folder was when it was written.
    ///
    /// # Errors
    /// [`Kind::Usage`] when the lists are gone, or are others.
    pub(super) fn recorded(file: &Path, training: &TrainingConfig) -> Result<Option<Self>> {
        let wanted = &training.earlier_sha256;
        if wanted.is_empty() {
            return Ok(None);
        }
        let read = |folder: &Path| -> Option<Self> {
            let lists = EARLIER.map(|name| Listing::load(&folder.join(name)));
            let [train, validation] = lists;
            let found = Self([train?, validation?]);
            (found.digests().ok()? == *wanted).then_some(found)
        };
        let beside = file.parent().map(Path::to_owned);
        let places: Vec<PathBuf> = beside.into_iter().chain(training.earlier.clone()).collect();
        if let Some(found) = places.iter().find_map(|folder| read(folder)) {
            return Ok(Some(found));
        }
        let folder = training.earlier.clone().or(places.first().cloned()).unwrap_or_default();
        Err(Error::new(
            Kind::Usage,
            format!("{} names lists of images that are gone, or were changed", file.display()),
        )
        .fact("lists", EARLIER.map(|name| folder.join(name).display().to_string()).join("\n"))
        .fact("why", "who was learned from before, and must not be held out now, stands in them")
        .help(
            "put them back, into the folder of that file (of a run that was moved, give its own file: `--config \
             RUN/run.toml`); if they are lost, begin without them: `--weights RUN/model.safetensors` instead of \
             `--from`, or with a `run.toml` that has no `earlier_sha256`",
        ))
    }

    /// What the job of a run's folder has written down; none where there is no job.
    ///
    /// # Errors
    /// As [`Self::recorded`], and of the file.
    pub(super) fn of_folder(folder: &Path) -> Result<Option<Self>> {
        match job_file(folder) {
            Some(file) => Self::recorded(&file, &run::Config::read(&file)?.training),
            None => Ok(None),
        }
    }

    /// Writes them into the folder of a run.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        self.0.iter().zip(EARLIER).try_for_each(|(list, name)| list.save(&folder.join(name)))
    }

    /// The SHA-256 of both as they are written.
    ///
    /// # Errors
    /// Those of [`Listing::text`].
    pub(super) fn digests(&self) -> Result<Vec<String>> {
        self.0.iter().map(|list| Ok(files::sha256_hex(list.text()?.as_bytes()))).collect()
    }

    /// Where each of `files` below `root` stays. What is in both lists was learned from.
    ///
    /// # Errors
    /// [`Kind::Io`] when one is gone.
    pub(super) fn stays<'f>(
        &self,
        root: &Path,
        files: impl Iterator<Item = &'f Path>,
    ) -> Result<Vec<Option<Stays>>> {
        let now = Listing::of_files(root, files.map(|file| (file, 0)))?.named_in_features();
        // Of several files whose names were replaced alike nobody knows which was learned from: all stay there.
        let [learned, held] = self.0.each_ref().map(|list| list.files().collect::<HashSet<_>>());
        let stays = |file| match (learned.contains(&file), held.contains(&file)) {
            (true, _) => Some(Stays::Train),
            (false, true) => Some(Stays::Validation),
            (false, false) => None,
        };
        Ok(now.files().map(stays).collect())
    }

    /// `all`, which have no validation folder, with `share` held out by `seed` from the images that are new.
    ///
    /// # Errors
    /// Those of [`Self::stays`] and of [`Splits::held_out`].
    pub(super) fn held_out(&self, all: &Splits, share: f32, seed: u64) -> Result<Splits> {
        let train = &all.train;
        let stays = self.stays(&train.root, train.files.iter().map(|sample| sample.path.as_path()))?;
        all.held_out(share, seed, &stays)
    }

    /// Sums of the pixels of all that was learned from (0) or held out (1), if each is known.
    fn sums(&self, split: usize) -> Option<HashSet<u64>> {
        self.0[split].sums()
    }
}

/// The file in a run's folder that says what is done there, if one does.
pub(super) fn job_file(folder: &Path) -> Option<PathBuf> {
    [RUN, JOB].map(|name| folder.join(name)).into_iter().find(|file| file.exists())
}

/// The splits of `data` for a job that holds out a share of each class by `seed`, where an image stays in the part that it
/// had `earlier`.
///
/// # Errors
/// Those of [`Splits::open`] and of [`Splits::held_out`].
pub(super) fn splits(
    data: &Path,
    share: Option<f32>,
    seed: u64,
    earlier: Option<&Earlier>,
) -> Result<Splits> {
    let Some((share, earlier)) = share.zip(earlier) else { return Splits::open(data, share, seed) };
    earlier.held_out(&Splits::open(data, None, seed)?, share, seed)
}

/// Remarks on how the images of a job, which are of `classes` and lie below `root`, were parted by what earlier runs had.
///
/// # Errors
/// [`Kind::Io`] when an image is gone.
pub(super) fn parted(
    host: &Host,
    job: &Finetune,
    (root, classes): (&Path, &[String]),
    [train, validation]: [&Images; 2],
) -> Result<()> {
    let (Some(earlier), Some(_)) = (&job.earlier, job.validation_split) else { return Ok(()) };
    let known = |images: &Images| -> Result<usize> {
        let stays = earlier.stays(root, images.files.iter().map(PathBuf::as_path))?;
        Ok(stays.into_iter().flatten().count())
    };
    let run = origin(job).display();
    let kept = [known(train)?, known(validation)?];
    let new = [train.len() - kept[0], validation.len() - kept[1]];
    if kept == [0, 0] {
        host.note(format_args!(
            "{run}, whose network this run begins with, has seen none of these images, so all are parted anew"
        ));
    } else if new != [0, 0] || kept != [0, 1].map(|split| earlier.0[split].files().count()) {
        let news = |n: usize| if n == 1 { "1 new one".into() } else { format!("{n} new ones") };
        host.note(format_args!(
            "parted by the lists of {run}: train is {} that it learned from and {}, validation {} that it held \
             out and {}",
            counted(kept[0], "image"),
            news(new[0]),
            counted(kept[1], "image"),
            news(new[1])
        ));
    }
    let is_held = |class: usize| validation.labels.iter().any(|&label| label as usize == class);
    let absent: Vec<&String> =
        classes.iter().enumerate().filter(|(class, _)| !is_held(*class)).map(|(_, name)| name).collect();
    if !absent.is_empty() {
        host.note(format_args!(
            "validation has no image of {}: {run} has learned from all that could be held out",
            listed(&absent)
        ));
    }
    Ok(())
}

/// Remarks where images of validation or test, the `judges`, were learned from by the run whose weights `job` begins with,
/// and where those of training were held out there: pixel for pixel, whatever they are called now. Where that run's lists
/// do not tell of pixels, a remark if it learned from other images than these, whose digest is `digest`.
pub(super) fn learned_elsewhere(
    host: &Host,
    job: &Finetune,
    (train, digest): (&Images, &str),
    judges: &[(Split, Option<&Arc<Images>>)],
) {
    let is_model = |file: &&Path| file.file_name().is_some_and(|name| name == MODEL);
    if job.images.weights.as_deref().filter(is_model).is_none() && job.earlier.is_none() {
        return;
    }
    let run = origin(job);
    // A file of that name may lie anywhere; where no run is, nobody knows what it learned from.
    let opened = Run::open(run).ok();
    let is_fed_alike = |opened: &&Run| {
        let network = &opened.config.network;
        network.size == job.size && network.resize == job.images.resize.name()
    };
    let of_run = match (&job.earlier, opened.as_ref().filter(is_fed_alike)) {
        (None, Some(opened)) => Earlier::of(opened, &job.data).unwrap_or_default(),
        _ => None,
    };
    let earlier = job.earlier.as_ref().or(of_run.as_ref());
    let sums = earlier.and_then(|earlier| earlier.sums(0).zip(earlier.sums(1)));
    let Some((learned, held)) = sums else {
        let others = opened
            .is_some_and(|run| run.config.training.digests.first().is_some_and(|there| there != digest));
        if others && judges.iter().any(|(_, images)| images.is_some()) {
            host.note(format_args!(
                "{}, whose weights this run begins with, learned from other images than this run will; if any of \
                 those are in validation or test here, these figures are too good",
                run.display()
            ));
        }
        return;
    };
    // Of those another remark is made.
    let here: HashSet<u64> = train.sums.iter().copied().collect();
    for (split, images) in judges {
        let Some(images) = images else { continue };
        let seen = |sum: &u64| learned.contains(sum) && !here.contains(sum);
        let found: Vec<usize> = (0..images.len()).filter(|&i| seen(&images.sums[i])).collect();
        if let Some(&first) = found.first() {
            host.note(format_args!(
                "in {split} {} among those that {} learned from, pixel for pixel, so its figures are too good; \
                 the first: {}",
                counted_are(found.len(), "image"),
                run.display(),
                files::line(&images.files[first])
            ));
        }
    }
    let seen = |sum: &u64| held.contains(sum) && !learned.contains(sum);
    let found: Vec<usize> = (0..train.len()).filter(|&i| seen(&train.sums[i])).collect();
    if let Some(&first) = found.first() {
        host.note(format_args!(
            "in train {} among those that {} held out, pixel for pixel, so validation is not the same as there; \
             the first: {}",
            counted_are(found.len(), "image"),
            run.display(),
            files::line(&train.files[first])
        ));
    }
}

/// The folder of the run that `job` begins with.
fn origin(job: &Finetune) -> &Path {
    job.images.weights.as_deref().and_then(Path::parent).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Two lists, of which each line is a path and a size.
    fn earlier(dir: &Path, lists: [&[(&str, u64)]; 2]) -> Earlier {
        for (name, list) in EARLIER.iter().zip(lists) {
            let lines: String =
                list.iter().map(|(file, bytes)| format!("[\"{file}\",0,{bytes},7]\n")).collect();
            fs::write(dir.join(name), lines).unwrap();
        }
        Earlier(EARLIER.map(|name| Listing::load(&dir.join(name)).unwrap()))
    }

    /// So many bytes at each of `files` below `dir`.
    fn there(dir: &Path, files: &[(&Path, usize)]) {
        for (file, bytes) in files {
            fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            fs::write(dir.join(file), vec![0; *bytes]).unwrap();
        }
    }

    #[test]
    fn an_image_is_known_by_name_and_size_and_what_was_learned_from_counts_first() {
        let dir = tempfile::tempdir().unwrap();
        let lists = earlier(dir.path(), [&[("a/1", 1), ("a/2", 2), ("gone", 1)], &[("a/1", 1), ("a/3", 3)]]);
        let files = ["a/1", "a/2", "a/3", "a/4"].map(Path::new);
        there(dir.path(), &[(files[0], 1), (files[1], 5), (files[2], 3), (files[3], 4)]);
        let stays = lists.stays(dir.path(), files.into_iter()).unwrap();
        assert_eq!(stays, [Some(Stays::Train), None, Some(Stays::Validation), None]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_names_that_were_replaced_alike_all_are_learned_from() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let lists = earlier(dir.path(), [&[("\u{fffd}", 1)], &[("\u{fffd}", 1), ("\u{fffd}", 2)]]);
        let files = [b"\xe4", b"\xf6", b"\xff"].map(|name| Path::new(OsStr::from_bytes(name)));
        there(dir.path(), &[(files[0], 1), (files[1], 2), (files[2], 1)]);
        let stays = lists.stays(dir.path(), files.into_iter()).unwrap();
        assert_eq!(stays, [Some(Stays::Train), Some(Stays::Validation), Some(Stays::Train)]);
    }

    #[test]
    fn lists_are_read_beside_the_file_or_where_they_were_and_no_others() {
        let [dir, moved] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let lists = earlier(dir.path(), [&[("a/1", 1)], &[("a/2", 2)]]);
        let training = TrainingConfig {
            earlier: Some(dir.path().to_owned()),
            earlier_sha256: lists.digests().unwrap(),
            ..TrainingConfig::default()
        };
        let digests = |file: &Path| Earlier::recorded(file, &training)?.unwrap().digests();
        let file = moved.path().join("run.toml");
        assert_eq!(digests(&file).unwrap(), training.earlier_sha256);
        lists.save(moved.path()).unwrap();
        fs::write(dir.path().join(EARLIER[0]), "").unwrap();
        assert_eq!(digests(&file).unwrap(), training.earlier_sha256, "those beside it");
        fs::write(moved.path().join(EARLIER[0]), "").unwrap();
        let error = digests(&file).unwrap_err();
        assert!(error.kind() == Kind::Usage && error.to_string().contains("earlier-train.jsonl"), "{error}");
        assert!(Earlier::recorded(&file, &TrainingConfig::default()).unwrap().is_none());
    }
}
