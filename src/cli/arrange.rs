//! The options of `arrange`.

use super::values::{how, whole};
use crate::data::Split;
use crate::data::labels::Columns;
use crate::task::{self, Amount, How, Pattern, Source};
use clap::Args;
use std::path::PathBuf;

/// `arrange`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vgg-ft arrange train -o dogs --labels labels.csv
  vgg-ft arrange train -o cats_and_dogs_small --by-name --splits train=1000,validation=500,test=500
  vgg-ft arrange pets -o pets-split --splits train=0.8,validation=0.1,test=0.1
  vgg-ft arrange scans -o split --labels scans.csv --group-column patient --splits train=0.8,test=0.2")]
pub struct ArrangeArgs {
    /// Folder of the images, searched with all folders below it
    pub images: PathBuf,
    /// Folder to make: one folder per class in it, or in its train/, validation/ and test/
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// List of images and classes: CSV, or with tabs, semicolons or blanks. Images by path or name, with or without
    /// their ending
    #[arg(long, value_name = "FILE", conflicts_with = "by_name")]
    pub labels: Option<PathBuf>,
    /// The class is what an image's name begins with, up to the number at its end: cat.17.jpg, Abyssinian_100.jpg
    #[arg(long)]
    pub by_name: bool,
    /// Column of the images in the list, by name or by number from 1; that which leads to most images if not given
    #[arg(long, value_name = "COLUMN", requires = "labels")]
    pub image_column: Option<String>,
    /// Column of the classes, or several of 0 and 1, one for each class (A,B,C); known by its name, or by being the only
    /// other one, if not given
    #[arg(long, value_name = "COLUMN", requires = "labels")]
    pub label_column: Option<String>,
    /// Column of the splits (train, validation, test); known by its name or what it holds if not given
    #[arg(long, value_name = "COLUMN", requires = "labels", conflicts_with = "splits")]
    pub split_column: Option<String>,
    /// Images of each class for each split: shares (train=0.8,validation=0.2), which are drawn, or numbers
    /// (train=1000,test=500), for which the first are taken, in the order of the list or of the numbers in their names.
    /// The rest is left out
    #[arg(long, value_name = "SPLIT=N,…", value_delimiter = ',', value_parser = amount)]
    pub splits: Vec<(Split, Amount)>,
    /// Column of what images belong to, such as a patient: those of one stay in one split
    #[arg(long, value_name = "COLUMN", requires = "labels", requires = "splits")]
    pub group_column: Option<String>,
    /// The same by where it stands in an image's path: {}_* (p12 of p12_003.jpg), {}/* (the folder that it is in)
    #[arg(long, value_name = "PATTERN", requires = "splits", conflicts_with = "group_column")]
    pub groups: Option<Pattern>,
    /// Draws shares (1 if not given), and numbers too instead of taking the first
    #[arg(long, value_name = "N", requires = "splits", value_parser = whole::<u64>)]
    pub seed: Option<u64>,
    /// symlink, hardlink (on the same disk only) or copy; symlink if not given, on Windows copy
    #[arg(long, value_name = "HOW", value_parser = how())]
    pub how: Option<How>,
    /// End if an image of the list is missing, instead of leaving it out
    #[arg(long, requires = "labels")]
    pub strict: bool,
}

impl ArrangeArgs {
    /// The job.
    pub fn job(self) -> task::Arrange {
        let columns = Columns {
            image: self.image_column,
            label: self.label_column,
            split: self.split_column,
            group: self.group_column,
        };
        task::Arrange {
            images: self.images,
            output: self.output,
            source: match self.labels {
                Some(path) => Source::List { path, columns },
                None if self.by_name => Source::Names,
                None => Source::Folders,
            },
            splits: self.splits,
            seed: self.seed,
            groups: self.groups,
            how: self.how.unwrap_or(if cfg!(windows) { How::Copy } else { How::Symlink }),
            strict: self.strict,
        }
    }
}

/// `train=0.8`, `train=80%` or `train=1000`.
fn amount(text: &str) -> Result<(Split, Amount), String> {
    let form = || format!("`{text}` is not SPLIT=SHARE or SPLIT=NUMBER, such as train=0.8 or train=1000");
    let (split, amount) = text.split_once('=').ok_or_else(form)?;
    let split = Split::of_word(split.trim()).ok_or_else(|| {
        format!("there is no split \"{split}\": train, validation and test are those there are")
    })?;
    let amount = amount.trim();
    let share = |text: &str, of: f64| {
        let share = text.parse::<f64>().map_err(|_| form())? / of;
        if share > 0.0 && share <= 1.0 {
            Ok(Amount::Share(share))
        } else {
            Err(format!("{amount} is no share of a whole"))
        }
    };
    let amount = match (amount.strip_suffix('%'), amount.parse::<usize>()) {
        (Some(percent), _) => share(percent, 100.0)?,
        (None, Ok(0)) => return Err(format!("{text} asks for nothing: leave the split out")),
        (None, Ok(n)) => Amount::Count(n),
        (None, Err(_)) => share(amount, 1.0)?,
    };
    Ok((split, amount))
}
