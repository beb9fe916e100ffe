//! What was found in a data set, before anybody trains on it.
//!
//! In: findings, each of one image, and what the classes are like. Out: a table and a list for people, CSV, JSON.

use super::counted;
use super::outcome::columns;
use super::rows::csv_line;
use crate::data::{Resize, Size, Split};
use crate::error::in_one_line;
use crate::files;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What can be found, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It cannot be decoded, nor can any other of its class and split.
    NoneReadable,
    /// It cannot be decoded.
    Unreadable,
    /// Pixel for pixel an image of another split.
    SameInSplits,
    /// Pixel for pixel an image of another class.
    SameInClasses,
    /// Nearly an image of another split.
    AlikeInSplits,
    /// Nearly an image of another class.
    AlikeInClasses,
    /// Pixel for pixel another of its class.
    Same,
    /// Nearly another of its class.
    Alike,
    /// Of one colour nearly all over.
    Blank,
    /// 16-bit grey of which levels are clipped.
    Clipped,
    /// It has an EXIF orientation, which is not followed.
    Sideways,
    /// Smaller than the network's input.
    Small,
    /// Squeezed to less than half in one direction, or, where images are cut, cut to less than half.
    Squeezed,
}

impl What {
    /// All.
    pub const ALL: [Self; 13] = [
        Self::NoneReadable,
        Self::Unreadable,
        Self::SameInSplits,
        Self::SameInClasses,
        Self::AlikeInSplits,
        Self::AlikeInClasses,
        Self::Same,
        Self::Alike,
        Self::Blank,
        Self::Clipped,
        Self::Sideways,
        Self::Small,
        Self::Squeezed,
    ];

    /// The word for it in CSV and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoneReadable => "none-readable",
            Self::Unreadable => "unreadable",
            Self::SameInSplits => "same-in-splits",
            Self::SameInClasses => "same-in-classes",
            Self::AlikeInSplits => "alike-in-splits",
            Self::AlikeInClasses => "alike-in-classes",
            Self::Same => "same",
            Self::Alike => "alike",
            Self::Blank => "blank",
            Self::Clipped => "clipped",
            Self::Sideways => "sideways",
            Self::Small => "small",
            Self::Squeezed => "squeezed",
        }
    }

    /// Whether it is certainly wrong: images that are not learned from, figures that are too good, a class that is not
    /// so. The others are worth a look.
    pub fn is_problem(self) -> bool {
        matches!(self, Self::NoneReadable | Self::Unreadable | Self::SameInSplits | Self::SameInClasses)
    }

    /// What follows "3 images", and what of it.
    fn words(self, n: usize, size: Size, resize: Resize) -> String {
        let one = n == 1;
        let are = if one { "is" } else { "are" };
        let look = if one { "looks" } else { "look" };
        match self {
            Self::NoneReadable => {
                "cannot be read, nor can any other of the class in that split: training would be refused"
                    .into()
            }
            Self::Unreadable => "cannot be read and would be skipped".into(),
            Self::SameInSplits => {
                format!("{are} in two splits, pixel for pixel: what is measured on them is too good")
            }
            Self::SameInClasses => {
                format!("{are} in two classes, pixel for pixel: one of the labels is wrong")
            }
            Self::AlikeInSplits => format!("{look} like one of another split"),
            Self::AlikeInClasses => format!("{look} like one of another class"),
            Self::Same => format!("{are} there twice in one class, pixel for pixel"),
            Self::Alike => format!("{look} like another of the same class"),
            Self::Blank => format!("{are} of one colour nearly all over"),
            Self::Clipped => format!(
                "{are} 16-bit grey with levels above 255, which all become white; scale {} to 8 bits before",
                if one { "it" } else { "them" }
            ),
            Self::Sideways => format!(
                "{} an EXIF orientation and {are} taken as stored; --resize upright-nearest would turn {}",
                if one { "has" } else { "have" },
                if one { "it" } else { "them" }
            ),
            Self::Small => format!("{are} smaller than {size} and would be enlarged"),
            Self::Squeezed if resize.crops() => format!("{are} cut to less than half at {size}"),
            Self::Squeezed => format!(
                "{are} squeezed to less than half in one direction at {size}; --resize {} would cut {} instead",
                resize.cropped(),
                if one { "it" } else { "them" }
            ),
        }
    }
}

impl Serialize for What {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// Something about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: What,
    /// The image's split.
    pub split: Split,
    /// Its class.
    pub class: String,
    /// Its file.
    pub path: PathBuf,
    /// The earlier image that it is a copy of.
    pub other: Option<PathBuf>,
    /// The reason, the size, the kind of copy.
    pub detail: String,
}

/// What the images of a class are like.
#[derive(Clone, Debug, Serialize)]
pub struct ClassLook {
    /// The class.
    pub class: String,
    /// How many files each split has of it, in the order of the splits.
    pub images: Vec<usize>,
    /// How many can be read.
    pub readable: usize,
    /// How many of these are without colour.
    pub grey: usize,
    /// The median height and the median width of these.
    pub median: Option<[usize; 2]>,
    /// Height and width of the one with the fewest pixels.
    pub smallest: Option<[usize; 2]>,
    /// Of that with the most.
    pub largest: Option<[usize; 2]>,
    /// How many of these are of each format.
    pub formats: BTreeMap<&'static str, usize>,
}

/// All that was seen.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The data folder.
    pub data: PathBuf,
    /// The network's input.
    pub size: Size,
    /// The way to that size.
    pub resize: Resize,
    /// The splits that are there.
    pub splits: Vec<Split>,
    /// In the order of the classes.
    pub classes: Vec<ClassLook>,
    /// Of all classes together.
    pub all: ClassLook,
    /// By [`What`], then as the images stand in the folder.
    pub findings: Vec<Finding>,
    /// What there is to say of the folder rather than of an image.
    pub notes: Vec<String>,
}

/// Classes with a row of their own at most; CSV and JSON have all.
const ROWS: usize = 40;
/// Images named for each kind of finding.
const NAMED: usize = 3;

impl Findings {
    /// How many are problems.
    pub fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.what.is_problem()).count()
    }

    /// For people; `listed` says that all is in a file.
    pub fn text(&self, listed: bool) -> String {
        let images: usize = self.all.images.iter().sum();
        let (data, classes) = (files::line(&self.data), self.classes.len());
        let mut text = format!("{data}: {} of {classes} classes\n\n", counted(images, "image"));
        let mut head = vec![String::new()];
        head.extend(self.splits.iter().map(Split::to_string));
        if self.splits.len() > 1 {
            head.push("all".into());
        }
        head.extend(["median size", "smallest", "largest", "grey", "formats"].map(str::to_owned));
        let mut rows = vec![head];
        rows.extend(self.classes.iter().take(ROWS).map(|class| self.row(class)));
        rows.push(self.row(&self.all));
        columns(&mut text, &rows);
        if self.classes.len() > ROWS {
            text += &format!("and {} more\n", self.classes.len() - ROWS);
        }
        for (problem, heading) in [(true, "problems"), (false, "worth a look")] {
            let mut list = String::new();
            for what in What::ALL.into_iter().filter(|what| what.is_problem() == problem) {
                let found: Vec<&Finding> = self.findings.iter().filter(|f| f.what == what).collect();
                if found.is_empty() {
                    continue;
                }
                let count = counted(found.len(), "image");
                list += &format!("  {count} {}\n", what.words(found.len(), self.size, self.resize));
                found
                    .iter()
                    .take(NAMED)
                    .for_each(|finding| list += &format!("    {}\n", finding.line(&self.data)));
                if found.len() > NAMED {
                    list += &format!("    and {} more\n", found.len() - NAMED);
                }
            }
            if !problem {
                self.notes.iter().for_each(|note| list += &format!("  {}\n", in_one_line(note)));
            }
            if !list.is_empty() {
                text += &format!("\n{heading}\n{list}");
            }
        }
        let named = self.findings.chunk_by(|a, b| a.what == b.what).all(|found| found.len() <= NAMED);
        text += &match (self.problems(), self.findings.is_empty()) {
            (0, true) => "\nno problems\n".to_owned(),
            (problems, _) => {
                let verdict = match problems {
                    0 => "no problems".to_owned(),
                    n => counted(n, "problem"),
                };
                let all = if named || listed { "" } else { "; -o FILE.csv lists every image" };
                format!("\n{verdict}{all}\n")
            }
        };
        text
    }

    fn row(&self, class: &ClassLook) -> Vec<String> {
        let mut row = vec![files::shorten(&class.class, 40)];
        row.extend(class.images.iter().map(usize::to_string));
        if class.images.len() > 1 {
            row.push(class.images.iter().sum::<usize>().to_string());
        }
        let size = |size: Option<[usize; 2]>| size.map_or("–".into(), |[h, w]| format!("{h}x{w}"));
        row.extend([class.median, class.smallest, class.largest].map(size));
        row.push(match (class.grey, class.readable) {
            (0, _) => "–".into(),
            (grey, of) if grey * 100 < of => "< 1 %".into(),
            (grey, of) => format!("{:.0} %", 100.0 * grey as f64 / of as f64),
        });
        let formats: Vec<String> = match class.formats.len() {
            1 => class.formats.keys().map(|&name| name.to_owned()).collect(),
            _ => class.formats.iter().map(|(name, n)| format!("{n} {name}")).collect(),
        };
        row.push(if formats.is_empty() { "–".into() } else { formats.join(", ") });
        row
    }

    /// How many paths the CSV cannot give as they are.
    pub fn replaced(&self) -> usize {
        let paths = self.findings.iter().flat_map(|finding| [Some(&finding.path), finding.other.as_ref()]);
        paths.flatten().filter(|path| path.to_str().is_none()).count()
    }

    /// One row for each finding.
    pub fn csv(&self) -> Vec<u8> {
        let head = ["finding", "problem", "split", "class", "path", "other", "detail"];
        let mut csv = csv_line(&head);
        for finding in &self.findings {
            csv.extend(csv_line(&[
                finding.what.name().to_owned(),
                finding.what.is_problem().to_string(),
                finding.split.to_string(),
                finding.class.clone(),
                files::shown(&finding.path),
                finding.other.as_deref().map(files::shown).unwrap_or_default(),
                finding.detail.clone(),
            ]));
        }
        csv
    }

    /// For machines; `path` is where the CSV lies, if anywhere.
    pub fn json(&self, path: Option<&Path>) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                let mut row = json!({
                    "finding": finding.what,
                    "problem": finding.what.is_problem(),
                    "split": finding.split,
                    "class": finding.class,
                    "path": files::shown(&finding.path),
                    "other": finding.other.as_deref().map(files::shown),
                    "detail": finding.detail,
                });
                let paths = [("path_bytes", Some(&finding.path)), ("other_bytes", finding.other.as_ref())];
                for (key, path) in paths {
                    if let Some(bytes) = path.and_then(|path| files::replaced(path)) {
                        row[key] = bytes.into();
                    }
                }
                row
            })
            .collect();
        json!({
            "data": files::shown(&self.data),
            "splits": self.splits,
            "images": self.all.images.iter().sum::<usize>(),
            "problems": self.problems(),
            "classes": self.classes,
            "findings": findings,
            "notes": self.notes,
            "path": path.map(files::shown),
        })
    }
}

impl Finding {
    /// For people, with paths below `data`.
    fn line(&self, data: &Path) -> String {
        let below = |path: &Path| files::line(path.strip_prefix(data).unwrap_or(path));
        let path = below(&self.path);
        match self.other.as_deref().map(below) {
            // It names the file.
            None if matches!(self.what, What::NoneReadable | What::Unreadable) => in_one_line(&self.detail),
            None if self.detail.is_empty() => path,
            None => format!("{path}: {}", self.detail),
            Some(other) if self.detail.is_empty() => format!("{path} and {other}"),
            Some(other) => format!("{path} and {other}: {}", self.detail),
        }
    }
}
