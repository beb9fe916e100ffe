//! The verdict of `vgg-ft evaluate`: accuracy with its interval, the confusion matrix, and precision,
//! recall and F1 of every class.
//!
//! In: true and predicted classes. Out: [`Outcome`], as text or (serde) as JSON.

use crate::error::{Error, Kind, Result, in_one_line};
use serde::Serialize;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// More classes than this make a confusion matrix that nobody can read.
pub(super) const MOST_CLASSES: usize = 20;

/// How a model did on labelled images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// How many images were judged.
    pub images: u64,
    /// How many were right.
    pub correct: u64,
    /// `correct / images`.
    pub accuracy: f64,
    /// The 95 % Wilson interval of the accuracy, see [`wilson`].
    pub interval: [f64; 2],
    /// The mean loss.
    pub loss: f64,
    /// The area under the ROC curve: of two classes that of the second, of more the mean of all, each against the rest.
    /// Absent, as what follows, where probabilities were not kept.
    pub auc: Option<f64>,
    /// The average precision, of the same classes.
    pub average_precision: Option<f64>,
    /// The share of images whose class is among the five most probable, of more than five classes.
    pub top5_accuracy: Option<f64>,
    /// The expected calibration error ([`super::calibration`]).
    pub calibration_error: Option<f64>,
    /// The names of the classes, in the order of the rows and columns of `confusion`.
    pub classes: Vec<String>,
    /// `confusion[truth][prediction]`: how many images.
    pub confusion: Vec<Vec<u64>>,
    /// One entry per class, in their order.
    pub scores: Vec<Score>,
    /// Their means, in which every class counts the same.
    pub macro_average: Average,
}

/// Means over classes, as scikit-learn's `macro avg`: of those that an image is of, or is called; what is absent counts 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Average {
    /// Of [`Score::precision`].
    pub precision: f64,
    /// Of [`Score::recall`].
    pub recall: f64,
    /// Of [`Score::f1`].
    pub f1: f64,
}

impl Average {
    fn of(scores: &[Score]) -> Self {
        let there: Vec<&Score> = scores.iter().filter(|score| score.f1.is_some()).collect();
        let mean = |of: &dyn Fn(&Score) -> Option<f64>| {
            there.iter().map(|score| of(score).unwrap_or(0.0)).sum::<f64>() / there.len().max(1) as f64
        };
        Self { precision: mean(&|s| s.precision), recall: mean(&|s| s.recall), f1: mean(&|s| s.f1) }
    }
}

/// How a model did on one class. A share of nothing is absent, not zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The class.
    pub class: String,
    /// How many images are of it.
    pub images: u64,
    /// Of the images called so, the share that are.
    pub precision: Option<f64>,
    /// Of the images that are so, the share called so.
    pub recall: Option<f64>,
    /// The harmonic mean of both: 2 TP / (2 TP + FP + FN).
    pub f1: Option<f64>,
    /// The area under its ROC curve, against all other classes.
    pub auc: Option<f64>,
    /// Its average precision.
    pub average_precision: Option<f64>,
}

impl Outcome {
    /// Counts pairs of (true class, predicted class).
    ///
    /// # Errors
    /// [`Kind::Data`] when there are no images, or when a class is not one of `classes`.
    pub fn new(
        classes: Vec<String>,
        pairs: impl IntoIterator<Item = (usize, usize)>,
        loss: f64,
    ) -> Result<Self> {
        let n = classes.len();
        let mut confusion = vec![vec![0u64; n]; n];
        for (truth, prediction) in pairs {
            if truth.max(prediction) >= n {
                return Err(Error::new(Kind::Data, "a class has no name")
                    .expected_got(format!("a class below {n}"), truth.max(prediction)));
            }
            confusion[truth][prediction] += 1;
        }
        let images = confusion.iter().flatten().sum();
        if images == 0 {
            return Err(Error::new(Kind::Data, "there are no images to evaluate")
                .help("give a folder with one subfolder of images per class"));
        }
        let correct = (0..n).map(|i| confusion[i][i]).sum();
        let scores: Vec<Score> =
            classes.iter().enumerate().map(|(i, class)| score(class, i, &confusion)).collect();
        Ok(Self {
            images,
            correct,
            accuracy: correct as f64 / images as f64,
            interval: wilson(correct, images),
            loss,
            auc: None,
            average_precision: None,
            top5_accuracy: None,
            calibration_error: None,
            classes,
            confusion,
            macro_average: Average::of(&scores),
            scores,
        })
    }

    /// The verdict for a person, several lines.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let [low, high] = self.interval;
        let _ = writeln!(
            out,
            "accuracy  {:.4}   {} of {} images, 95 % interval {low:.4} to {high:.4}",
            self.accuracy, self.correct, self.images
        );
        let _ = writeln!(out, "loss      {:.4}", self.loss);
        out += &self.ranking();
        out.push('\n');
        let names = short(&self.classes);

        if names.len() > MOST_CLASSES {
            self.most_confused(&mut out, &names);
        } else {
            let mut header = vec!["true \\ predicted".to_owned()];
            header.extend(names.iter().cloned());
            let mut rows = vec![header];
            for (name, counts) in names.iter().zip(&self.confusion) {
                let mut row = vec![name.clone()];
                row.extend(counts.iter().map(u64::to_string));
                rows.push(row);
            }
            columns(&mut out, &rows);
        }

        out.push('\n');
        let mut rows = vec![["class", "precision", "recall", "F1", "images"].map(str::to_owned).to_vec()];
        for (name, s) in names.iter().zip(&self.scores) {
            let share = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
            rows.push(vec![
                name.clone(),
                share(s.precision),
                share(s.recall),
                share(s.f1),
                s.images.to_string(),
            ]);
        }
        let Average { precision, recall, f1 } = self.macro_average;
        let mut last = vec!["(macro avg)".to_owned()];
        last.extend([precision, recall, f1].map(|value| format!("{value:.4}")));
        last.push(self.images.to_string());
        rows.push(last);
        columns(&mut out, &rows);
        out
    }
}

impl Outcome {
    /// The cells beside the diagonal that count most, where the matrix is too wide to be read.
    fn most_confused(&self, out: &mut String, names: &[String]) {
        let mut cells: Vec<(u64, usize, usize)> = Vec::new();
        for (truth, counts) in self.confusion.iter().enumerate() {
            let beside = counts.iter().enumerate().filter(|&(called, &count)| called != truth && count > 0);
            cells.extend(beside.map(|(called, &count)| (count, truth, called)));
        }
        let all = cells.len();
        // Stable, so equals stay in class order.
        cells.sort_by_key(|&(count, _, _)| std::cmp::Reverse(count));
        cells.truncate(MOST_CLASSES);
        let _ = writeln!(
            out,
            "{} classes: the {} most frequent of {all} confusions; --json gives all counts",
            names.len(),
            cells.len()
        );
        if cells.is_empty() {
            return;
        }
        let mut rows = vec![["true", "predicted", "images"].map(str::to_owned).to_vec()];
        for (count, truth, called) in cells {
            rows.push(vec![names[truth].clone(), names[called].clone(), count.to_string()]);
        }
        columns(out, &rows);
    }
}

fn score(class: &str, i: usize, confusion: &[Vec<u64>]) -> Score {
    let right = confusion[i][i];
    let images: u64 = confusion[i].iter().sum();
    let called: u64 = confusion.iter().map(|row| row[i]).sum();
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    Score {
        class: class.to_owned(),
        images,
        precision: share(right, called),
        recall: share(right, images),
        f1: share(2 * right, called + images),
        auc: None,
        average_precision: None,
    }
}

/// The Wilson score interval of a share at 95 %, `[low, high]`; `[0, 1]` of nothing.
///
/// With p = correct / n and z = 1.96: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n).
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// JASA 22 (1927), 209–212; recommended for shares near 0 or 1 by Brown, Cai and DasGupta,
/// Statistical Science 16 (2001), 101–133.
pub fn wilson(correct: u64, n: u64) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    /// The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let (p, n) = (correct as f64 / n as f64, n as f64);
    let scale = 1.0 / (1.0 + Z * Z / n);
    let middle = (p + Z * Z / (2.0 * n)) * scale;
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() * scale;
    // Exact at the ends, where rounding would leave 1e-17.
    let low = if correct == 0 { 0.0 } else { middle - half };
    let high = if p == 1.0 { 1.0 } else { middle + half };
    [low, high]
}

/// Class names that fit a column; whole where they would be the same.
fn short(names: &[String]) -> Vec<String> {
    const LONGEST: usize = 15;
    let clean: Vec<String> = names.iter().map(|name| in_one_line(name)).collect();
    let cut = |name: &String| match name.char_indices().nth(LONGEST) {
        Some((at, _)) if name[at..].chars().count() > 1 => format!("{}…", &name[..at]),
        _ => name.clone(),
    };
    let cuts: Vec<String> = clean.iter().map(cut).collect();
    let same = |at: usize| cuts.iter().filter(|other| **other == cuts[at]).count() > 1;
    (0..clean.len()).map(|at| if same(at) { clean[at].clone() } else { cuts[at].clone() }).collect()
}

/// Rows of equal length: the first column to the left, numbers to the right; names may be of any script.
pub fn columns(out: &mut String, rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| in_one_line(cell)).collect()).collect();
    let width = |i: usize| rows.iter().map(|row| row[i].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for row in &rows {
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Formatting counts characters, of which some are two cells wide.
            let blanks = " ".repeat(width - cell.width());
            *out += &if i == 0 { format!("{cell}{blanks}") } else { format!("  {blanks}{cell}") };
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(confusion: [[usize; 2]; 2]) -> impl Iterator<Item = (usize, usize)> {
        (0..2).flat_map(move |t| (0..2).flat_map(move |p| std::iter::repeat_n((t, p), confusion[t][p])))
    }

    fn cats_and_dogs(confusion: [[usize; 2]; 2]) -> Outcome {
        Outcome::new(vec!["cats".into(), "dogs".into()], pairs(confusion), 0.25).unwrap()
    }

    #[test]
    fn the_text_says_it_all() {
        assert_eq!(
            cats_and_dogs([[47, 3], [1, 49]]).text(),
            "accuracy  0.9600   96 of 100 images, 95 % interval 0.9016 to 0.9843\n\
             loss      0.2500\n\
             \n\
             true \\ predicted  cats  dogs\n\
             cats                47     3\n\
             dogs                 1    49\n\
             \n\
             class        precision  recall      F1  images\n\
             cats            0.9792  0.9400  0.9592      50\n\
             dogs            0.9423  0.9800  0.9608      50\n\
             (macro avg)     0.9607  0.9600  0.9600     100\n"
        );
    }

    #[test]
    fn a_share_of_nothing_is_absent() {
        let outcome = cats_and_dogs([[5, 0], [0, 0]]);
        let dogs = &outcome.scores[1];
        assert_eq!((dogs.images, dogs.precision, dogs.recall, dogs.f1), (0, None, None, None));
        // Dogs exist and are never recognised: recall is a true zero.
        let dogs = &cats_and_dogs([[5, 0], [2, 0]]).scores[1];
        assert_eq!((dogs.precision, dogs.recall, dogs.f1), (None, Some(0.0), Some(0.0)));
        assert!(
            outcome.text().contains("dogs                 –       –       –       0"),
            "{}",
            outcome.text()
        );
    }

    /// `statsmodels.stats.proportion.proportion_confint(k, n, method="wilson")`, 12 digits.
    #[test]
    fn wilson_gives_the_textbook_intervals() {
        for (correct, n, low, high) in [
            (96, 100, 0.901629285641, 0.984336696008),
            (0, 10, 0.0, 0.277532799863),
            (10, 10, 0.722467200137, 1.0),
            (1, 3, 0.061491944720, 0.792340399198),
            (902, 1000, 0.882005297701, 0.918917988477),
        ] {
            let [l, h] = wilson(correct, n);
            // Half a unit of the twelfth digit: what was printed.
            assert!((l - low).abs() < 5e-13 && (h - high).abs() < 5e-13, "{correct} of {n}: {l} {h}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }

    /// `sklearn.metrics.classification_report([0, 0, 1, 2], [0, 1, 1, 1], digits=6)`, whose `macro avg` this is; a class that
    /// is nowhere is no label there.
    #[test]
    fn every_class_that_is_there_counts_the_same() {
        let classes = ["a", "b", "c", "nowhere"].map(str::to_owned).to_vec();
        let outcome = Outcome::new(classes, [(0, 0), (0, 1), (1, 1), (2, 1)], 0.5).unwrap();
        let Average { precision, recall, f1 } = outcome.macro_average;
        for (got, expected) in [(precision, 0.444444), (recall, 0.5), (f1, 0.388889)] {
            // Half a unit of the last digit printed.
            assert!((got - expected).abs() < 5e-7, "{got} {expected}");
        }
        let last = outcome.text();
        let last: Vec<&str> = last.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["(macro", "avg)", "0.4444", "0.5000", "0.3889", "4"]);
    }

    /// What is printed in two cells counts as two.
    #[test]
    fn columns_stand_below_each_other_in_every_script() {
        let mut out = String::new();
        let row = |name: &str, n: &str| vec![name.to_owned(), n.to_owned()];
        columns(&mut out, &[row("\u{732b}\u{3068}\u{72ac}", "1"), row("cats", "10"), row("B\u{e4}r", "7")]);
        assert_eq!(out, "\u{732b}\u{3068}\u{72ac}   1\ncats    10\nB\u{e4}r      7\n");
    }

    #[test]
    fn nothing_and_nonsense_are_errors() {
        let none = Outcome::new(vec!["a".into()], [], 0.0).unwrap_err();
        assert_eq!(none.kind(), Kind::Data);
        let wild = Outcome::new(vec!["a".into()], [(0, 1)], 0.0).unwrap_err();
        assert!(wild.to_string().contains("got       1"), "{wild}");
    }

    #[test]
    fn of_many_classes_the_most_frequent_confusions_are_told() {
        let classes: Vec<String> = (0..60).map(|k| format!("class {k}")).collect();
        let pairs = (0..60).flat_map(|k| std::iter::repeat_n((k, if k < 30 { k + 1 } else { k }), k + 1));
        let text = Outcome::new(classes, pairs, 0.5).unwrap().text();
        assert!(text.contains("60 classes: the 20 most frequent of 30 confusions; --json"), "{text}");
        assert!(
            text.contains("\nclass 29   class 30      30\n") && !text.contains("\nclass 9   class 10 "),
            "{text}"
        );
        assert!(text.len() < 6000 && text.lines().all(|line| line.chars().count() < 80), "{text}");
        let twenty: Vec<String> = (0..20).map(|k| format!("class {k}")).collect();
        assert!(Outcome::new(twenty, [(0, 1)], 0.5).unwrap().text().contains("true \\ predicted"));
        let right: Vec<String> = (0..21).map(|k| format!("class {k}")).collect();
        assert!(Outcome::new(right, [(0, 0)], 0.5).unwrap().text().contains("the 0 most frequent of 0"));
    }

    #[test]
    fn many_long_names_stay_in_line() {
        let names = ["a very long class name 0", "a very long class name 1", "another long class name"];
        let classes = names.map(str::to_owned).to_vec();
        let text = Outcome::new(classes, [(0, 0), (1, 2), (2, 2)], 0.5).unwrap().text();
        let widths: Vec<usize> = text.lines().skip(3).take(4).map(|l| l.chars().count()).collect();
        assert_eq!(widths, [widths[0]; 4], "{text}");
        assert!(text.contains("another long cl…") && !text.contains(names[2]), "{text}");
        // Cut, these two would be one.
        assert!(text.contains(names[0]) && text.contains(names[1]), "{text}");
    }
}
