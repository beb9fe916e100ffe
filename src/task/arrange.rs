//! `arrange`: images that are laid out otherwise become a folder with one sub-folder per class, and splits if they are
//! asked for.
//!
//! In: a folder of images, and what tells their classes: a list, their names, or the folders that they are in. Out: a new
//! folder of links or copies, whole or not at all; the images themselves are only read.

mod group;
mod list;
mod order;
mod place;
mod share;
mod source;

use super::Host;
use super::output::{apart, folder_of_no_run};
use crate::data::Split;
use crate::data::labels::Columns;
use crate::error::{Error, Kind, Result};
use crate::files::{self, quoted};
use crate::model::classes::{listed, nearly_one};
use crate::report::outcome::columns;
use crate::report::{counted, counted_are};
use serde_json::json;
use std::path::{Path, PathBuf};

pub use group::Pattern;
pub use place::How;
pub use share::Amount;
use source::{Sorted, sorted};

/// What tells the class of an image.
#[derive(Clone, Debug)]
pub enum Source {
    /// The folder that it is in, one for each class.
    Folders,
    /// Its own name, up to the number at the end: `cat` of `cat.17.jpg`.
    Names,
    /// A list.
    List {
        /// The file.
        path: PathBuf,
        /// Which of its columns.
        columns: Columns,
    },
}

/// What to lay out, and how.
#[derive(Clone, Debug)]
pub struct Arrange {
    /// The folder of the images.
    pub images: PathBuf,
    /// The folder that is made.
    pub output: PathBuf,
    /// What tells their classes.
    pub source: Source,
    /// How many images of each class go where; none for no splits, or those of the list.
    pub splits: Vec<(Split, Amount)>,
    /// Draws who goes where; counts take the first if there is none.
    pub seed: Option<u64>,
    /// Which images belong together, by their paths, and are not parted.
    pub groups: Option<Pattern>,
    /// Links or copies.
    pub how: How,
    /// Whether an image of the list that is not there is an error.
    pub strict: bool,
}

impl Arrange {
    /// Whether images stay together with others of their group.
    fn is_grouped(&self) -> bool {
        self.groups.is_some()
            || matches!(&self.source, Source::List { columns, .. } if columns.group.is_some())
    }
}

/// An image of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    /// Relative to the folder of the images.
    from: PathBuf,
    /// Relative to the folder of its class.
    to: PathBuf,
    /// Position of its class.
    class: usize,
    /// Where the list puts it.
    split: Option<Split>,
    /// What it belongs to, with the images of which it stays.
    group: Option<String>,
}

/// Lays the images out.
///
/// # Errors
/// [`Kind::Usage`]: a folder that is there; columns that have to be named; no splits where nothing else is to be done.
/// [`Kind::Data`]: images or labels that are missing or contradict each other; classes that are too small. [`Kind::Io`].
pub fn arrange(host: &Host, job: &Arrange) -> Result<()> {
    Amount::require(&job.splits, job.is_grouped())?;
    folder_of_no_run(&job.output)?;
    require_new(&job.output)?;
    apart(&job.images, &job.output)?;
    let Sorted { classes, items, found, columns: [image, class, split, group] } = sorted(host, job)?;
    nearly_one(&classes).iter().for_each(|note| host.note(note));
    let there = items.len();
    let ungrouped = items.iter().filter(|item| item.group.is_none()).count();
    if job.is_grouped() && ungrouped > 0 {
        host.note(format_args!(
            "{} without a group, each taken for one of its own",
            counted(ungrouped, "image")
        ));
    }
    let (parts, groups) = share::shared(items, &classes, &job.splits, job.seed, job.is_grouped())?;
    let counts = share::by_class(&parts, classes.len());
    share::require_all(&parts, &counts, &classes)?;
    place::place(host, job, &classes, &parts)?;

    let all: usize = counts.iter().flatten().sum();
    if all < there {
        host.note(format_args!("{} left out: the splits ask for no more", counted_are(there - all, "image")));
    }
    let names: Vec<&str> = parts.iter().map(|(split, _)| split.map_or("train", Split::name)).collect();
    let of_class = |class: usize| counts.iter().map(|of_split| of_split[class]).collect::<Vec<_>>();
    let text = text(job, &classes, &names, groups.as_ref(), &of_class);
    let row = |class: usize| json!({ "class": classes[class], "images": of_class(class) });
    let value = json!({
        "data": files::shown(&job.output),
        "how": job.how.name(),
        "columns": image.map(|image| json!({ "image": image, "class": class, "split": split, "group": group })),
        "splits": names,
        "groups": groups,
        "classes": (0..classes.len()).map(row).collect::<Vec<_>>(),
        "images": all,
        "left_out": there - all,
        "missing": found.missing,
        "unlabelled": found.unlabelled,
        "unsplit": found.unsplit,
        "unlisted": found.unlisted,
    });
    host.result(&text, &value)?;
    let split = if names.contains(&"validation") { "" } else { " --validation-split 0.2" };
    host.say_lines(format_args!(
        "next: vgg-ft check {data}\n      vgg-ft finetune {data} -o runs/NAME{split}",
        data = quoted(&job.output)
    ));
    Ok(())
}

/// Rows of the table; JSON has all classes.
const ROWS: usize = 40;

fn text(
    job: &Arrange,
    classes: &[String],
    splits: &[&str],
    groups: Option<&Vec<usize>>,
    of_class: &dyn Fn(usize) -> Vec<usize>,
) -> String {
    let mut all = vec![0; splits.len()];
    for class in 0..classes.len() {
        all.iter_mut().zip(of_class(class)).for_each(|(sum, n)| *sum += n);
    }
    let mut text = format!(
        "{}: {} of {} classes, {}\n\n",
        files::line(&job.output),
        counted(all.iter().sum(), "image"),
        classes.len(),
        job.how.participle()
    );
    let row = |name: &str, counts: Vec<usize>| {
        let total = (counts.len() > 1).then(|| counts.iter().sum::<usize>());
        let numbers = counts.iter().chain(&total).map(usize::to_string);
        [name.to_owned()].into_iter().chain(numbers).collect::<Vec<_>>()
    };
    let mut head = vec![String::new()];
    head.extend(splits.iter().map(|split| (*split).to_owned()));
    head.extend((splits.len() > 1).then(|| "all".to_owned()));
    let mut rows = vec![head];
    rows.extend(classes.iter().enumerate().take(ROWS).map(|(at, class)| row(class, of_class(at))));
    rows.push(row("all", all));
    rows.extend(groups.map(|groups| row("groups", groups.clone())));
    columns(&mut text, &rows);
    if classes.len() > ROWS {
        text += &format!("and {} more\n", classes.len() - ROWS);
    }
    text
}

/// Whether nothing is at `output`, or an empty folder.
fn require_new(output: &Path) -> Result<()> {
    let here = || std::env::current_dir().and_then(std::fs::canonicalize);
    if here().is_ok_and(|here| std::fs::canonicalize(output).is_ok_and(|output| output == here)) {
        // Another folder would take its name, and the shell would stay in the old one.
        return Err(Error::new(Kind::Usage, "the folder to make is the one that this was typed in")
            .help("name a new one with -o"));
    }
    let is_empty = |mut entries: std::fs::ReadDir| entries.next().is_none();
    if !files::is_there(output)? || std::fs::read_dir(output).is_ok_and(is_empty) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{} is there already", output.display()))
        .help("choose another folder with -o, or remove that one"))
}

/// Classes by name, for an error.
fn some_of(classes: &[String], which: &[usize]) -> String {
    listed(&which.iter().map(|&class| &classes[class]).collect::<Vec<_>>())
}
