//! `check`: what a data set is like, before anybody trains on it.
//!
//! In: a data folder. Out: a table of classes, and every image that is broken, there twice, or that training would not
//! see as a person does. Everything is decoded once, nothing is computed on a device, nothing is kept.

use super::Host;
use super::extract::opened;
use super::images::passed_over;
use super::output::{Output, apart};
use super::remarks::uneven;
use crate::data::{Duplicate, Folder, Glance, Likeness, Lost, Resize, Size, Split, Splits, copies, survey};
use crate::error::{Error, Kind, Result};
use crate::model::classes::nearly_one;
use crate::report::findings::{ClassLook, Finding, Findings, What};
use crate::report::{counted, replaced};
use crate::{files, interrupt};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// What to look at, and what for.
#[derive(Clone, Debug)]
pub struct Check {
    /// The data folder.
    pub data: PathBuf,
    /// Share of each class for validation.
    pub validation_split: Option<f32>,
    /// Seed of that split.
    pub seed: u64,
    /// The network's input, `[h, w]`.
    pub size: [usize; 2],
    /// Way to that size.
    pub resize: Resize,
    /// Whether problems are an error.
    pub strict: bool,
    /// Where a row for each finding goes.
    pub output: Option<Output>,
}

/// Looks at every image.
///
/// # Errors
/// Those of [`Splits::open`]; [`Kind::Data`] for problems, with `strict`; of the file.
pub fn check(host: &Host, job: &Check) -> Result<()> {
    if let Some(output) = &job.output {
        output.format(&[("csv", ())])?;
        apart(&job.data, &output.path)?;
        output.check()?;
    }
    let splits = opened(host, &job.data, job.validation_split, job.seed)?;
    let mut seen = Vec::new();
    for (split, folder) in splits.iter() {
        let progress = host.progress(&format!("looking at {split}"), folder.len(), "images");
        let want = (Size { h: job.size[0], w: job.size[1] }, job.resize);
        let glances = survey(folder, want, &|done| progress.set(done as u64), interrupt::flag())
            .map_err(|error| error.context(format!("looking at {split}")))?;
        progress.finish(&format!("{split:10} {}", counted(folder.len(), "image")));
        let of_split = glances.into_iter().enumerate();
        seen.extend(of_split.map(|(at, glance)| Seen { split, folder, at, glance }));
    }
    let progress = host.progress("comparing", seen.len(), "images");
    let found = findings(job, &splits, &seen, &|done| progress.set(done as u64));
    interrupt::check()?;
    progress.finish(&format!("compared   {}", counted(seen.len(), "image")));
    if let Some(output) = &job.output {
        files::write_bytes(&output.path, &found.csv())?;
        if let Some(note) = replaced(found.replaced(), "--json") {
            host.note(format_args!("{note}"));
        }
    }
    let path = job.output.as_ref().map(|output| output.path.as_path());
    host.result(&found.text(path.is_some()), &found.json(path))?;
    match found.problems() {
        0 => Ok(()),
        _ if !job.strict => Ok(()),
        n => Err(Error::new(Kind::Data, format!("{} in {}", counted(n, "problem"), job.data.display()))
            .help("fix what stdout lists, or leave --strict out")),
    }
}

/// An image, and what it is like.
struct Seen<'a> {
    split: Split,
    folder: &'a Folder,
    /// Its place in the folder.
    at: usize,
    glance: Result<Glance>,
}

impl Seen<'_> {
    fn label(&self) -> u32 {
        self.folder.files[self.at].label
    }

    fn finding(&self, what: What, other: Option<&Self>, detail: String) -> Finding {
        Finding {
            what,
            split: self.split,
            class: self.folder.classes[self.label() as usize].clone(),
            path: self.folder.path(self.at),
            other: other.map(|other| other.folder.path(other.at)),
            detail,
        }
    }
}

fn findings(job: &Check, splits: &Splits, seen: &[Seen<'_>], progress: &(dyn Fn(usize) + Sync)) -> Findings {
    let size = Size { h: job.size[0], w: job.size[1] };
    let mut findings = Vec::new();
    // Of each split the classes that training would have something of.
    let readable: HashSet<(Split, u32)> =
        seen.iter().filter(|one| one.glance.is_ok()).map(|one| (one.split, one.label())).collect();
    for one in seen {
        match &one.glance {
            Err(error) => {
                let others = readable.contains(&(one.split, one.label()));
                let what = if others { What::Unreadable } else { What::NoneReadable };
                findings.push(one.finding(what, None, error.line()));
            }
            Ok(glance) => findings.extend(
                by_itself(glance, size).into_iter().map(|(what, detail)| one.finding(what, None, detail)),
            ),
        }
    }
    let readable: Vec<(&Seen<'_>, &Glance)> =
        seen.iter().filter_map(|one| Some((one, one.glance.as_ref().ok()?))).collect();
    let glances: Vec<&Glance> = readable.iter().map(|(_, glance)| *glance).collect();
    let at_odds = |at: usize, of: usize| {
        let (one, other) = (readable[at].0, readable[of].0);
        one.split != other.split || one.label() != other.label()
    };
    for Duplicate { at, of, likeness } in copies(&glances, &at_odds, progress, interrupt::flag()) {
        let (one, other) = (readable[at].0, readable[of].0);
        let how = match likeness {
            Likeness::Same => "",
            Likeness::Alike => "nearly",
            Likeness::Mirrored => "mirrored",
        };
        // It is found as one of another split; that its class is another is no less wrong.
        let torn =
            if one.split != other.split && one.label() != other.label() { "of another class" } else { "" };
        let detail = [how, torn].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
        findings.push(one.finding(copied(one, other, likeness), Some(other), detail));
    }
    // Stable: the images stay in their order.
    findings.sort_by_key(|finding| finding.what);

    let there: Vec<Split> = splits.iter().map(|(split, _)| split).collect();
    let look = |class: Option<u32>| {
        let name = class.map_or("all", |class| &splits.train.classes[class as usize]);
        let of_class: Vec<&Seen<'_>> =
            seen.iter().filter(|one| class.is_none_or(|class| one.label() == class)).collect();
        class_look(name, &there, &of_class)
    };
    let labels: Vec<u32> = splits.train.files.iter().map(|file| file.label).collect();
    let mut notes: Vec<String> =
        splits.iter().flat_map(|(split, folder)| passed_over(split.name(), folder)).collect();
    notes.extend(uneven(&splits.train.classes, &labels));
    notes.extend(nearly_one(&splits.train.classes));
    if splits.validation.is_none() && findings.iter().any(|f| f.what == What::Same || f.what == What::Alike) {
        notes.push(
            "there is no validation folder: --validation-split may hold out one copy and learn from the other".into(),
        );
    }
    Findings {
        data: job.data.clone(),
        size,
        resize: job.resize,
        classes: (0..splits.train.classes.len() as u32).map(|class| look(Some(class))).collect(),
        all: look(None),
        splits: there,
        findings,
        notes,
    }
}

/// What there is to say of an image without looking at others, and a detail.
fn by_itself(glance: &Glance, to: Size) -> Vec<(What, String)> {
    let Size { h, w } = glance.size;
    // How much narrower it becomes than it is high, or the other way round.
    let squeezed = (h * to.w) as f64 / (w * to.h) as f64;
    let sides = || format!("{h}x{w}");
    [
        (What::Blank, glance.blank, glance.lost.map(Lost::words).unwrap_or_default().to_owned()),
        (What::Clipped, glance.lost == Some(Lost::Clipped), String::new()),
        (What::Sideways, glance.sideways, String::new()),
        (What::Small, h < to.h || w < to.w, sides()),
        (What::Squeezed, !(0.5..=2.0).contains(&squeezed), sides()),
    ]
    .into_iter()
    .filter(|(_, is_so, _)| *is_so)
    .map(|(what, _, detail)| (what, detail))
    .collect()
}

/// What it means that `one` is a copy of `other`.
fn copied(one: &Seen<'_>, other: &Seen<'_>, likeness: Likeness) -> What {
    match (one.split != other.split, one.label() != other.label(), likeness) {
        (true, _, Likeness::Same) => What::SameInSplits,
        (true, _, _) => What::AlikeInSplits,
        (false, true, Likeness::Same) => What::SameInClasses,
        (false, true, _) => What::AlikeInClasses,
        (false, false, Likeness::Same) => What::Same,
        (false, false, _) => What::Alike,
    }
}

fn class_look(name: &str, splits: &[Split], seen: &[&Seen<'_>]) -> ClassLook {
    let glances: Vec<&Glance> = seen.iter().filter_map(|one| one.glance.as_ref().ok()).collect();
    let median = |of: fn(&Glance) -> usize| {
        let mut sides: Vec<usize> = glances.iter().map(|glance| of(glance)).collect();
        sides.sort_unstable();
        sides.get(sides.len() / 2).copied()
    };
    let sides = |glance: &&Glance| [glance.size.h, glance.size.w];
    let mut formats = BTreeMap::new();
    for glance in &glances {
        *formats.entry(glance.format).or_default() += 1;
    }
    ClassLook {
        class: name.to_owned(),
        images: splits.iter().map(|split| seen.iter().filter(|one| one.split == *split).count()).collect(),
        readable: glances.len(),
        grey: glances.iter().filter(|glance| glance.grey).count(),
        median: median(|glance| glance.size.h).zip(median(|glance| glance.size.w)).map(|(h, w)| [h, w]),
        smallest: glances.iter().min_by_key(|glance| glance.size.bytes()).map(sides),
        largest: glances.iter().max_by_key(|glance| glance.size.bytes()).map(sides),
        formats,
    }
}
