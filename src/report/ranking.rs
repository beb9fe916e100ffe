//! What probabilities say beyond the classes that were called: how well they rank images, and whether they are to be
//! believed.
//!
//! In: the probabilities of each image, and its class. Out: the fields of [`Outcome`] that need them.

use super::calibration::{BINS, Calibration};
use super::html::highest;
use super::outcome::Outcome;
use super::roc::Roc;
use std::fmt::Write as _;

impl Outcome {
    /// With what `probabilities`, a row for each image with a column for each class, say of images of `labels`.
    #[must_use]
    pub fn ranked(mut self, labels: &[u32], probabilities: &[Vec<f32>]) -> Self {
        for (class, score) in self.scores.iter_mut().enumerate() {
            let samples = against_the_rest(class, labels, probabilities);
            score.auc = Roc::new(samples.iter().copied()).map(|roc| roc.area);
            score.average_precision = average_precision(samples);
        }
        // Of two classes one curve is the other's mirror image; scikit-learn takes the second for what is looked for.
        let of =
            if let [_, second] = &self.scores[..] { std::slice::from_ref(second) } else { &self.scores[..] };
        let mean =
            |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        self.auc = mean(of.iter().filter_map(|score| score.auc).collect());
        self.average_precision = mean(of.iter().filter_map(|score| score.average_precision).collect());
        self.calibration_error =
            Calibration::new(&called(labels, probabilities), self.classes.len()).map(|found| found.error);
        let among_five = |(row, label): &(&Vec<f32>, &u32)| {
            row.get(**label as usize).is_some_and(|own| row.iter().filter(|other| *other > own).count() < 5)
        };
        self.top5_accuracy = (self.classes.len() > 5 && !probabilities.is_empty()).then(|| {
            probabilities.iter().zip(labels).filter(among_five).count() as f64 / probabilities.len() as f64
        });
        self
    }

    /// What of it there is, a line each.
    pub(super) fn ranking(&self) -> String {
        let mut out = String::new();
        if let Some(share) = self.top5_accuracy {
            let _ = writeln!(
                out,
                "top 5     {share:.4}   the share of images whose class is among the five most probable"
            );
        }
        if let Some(auc) = self.auc {
            let whose = if self.classes.len() > 2 {
                "the mean of all classes, each against the rest"
            } else {
                "area under the ROC curve"
            };
            let _ = writeln!(out, "AUC       {auc:.4}   {whose}");
        }
        if let Some(error) = self.calibration_error {
            let least = 1.0 / self.classes.len().max(1) as f64;
            let _ = writeln!(
                out,
                "ECE       {error:.4}   confidence against accuracy, in {BINS} bins from {least:.2} to 1"
            );
        }
        out
    }
}

/// Of each image the probability of `class`, and whether it is of it; of a row that is too short no number.
pub(super) fn against_the_rest(class: usize, labels: &[u32], probabilities: &[Vec<f32>]) -> Vec<(f64, bool)> {
    let probability = |row: &Vec<f32>| row.get(class).map_or(f64::NAN, |p| f64::from(*p));
    probabilities
        .iter()
        .zip(labels)
        .map(|(row, &label)| (probability(row), label as usize == class))
        .collect()
}

/// Of each image the probability of the class that is the most probable, and whether it is of that.
pub(super) fn called(labels: &[u32], probabilities: &[Vec<f32>]) -> Vec<(f64, bool)> {
    let of = |(row, &label): (&Vec<f32>, &u32)| {
        let called = highest(row);
        (row.get(called).map_or(f64::NAN, |p| f64::from(*p)), called == label as usize)
    };
    probabilities.iter().zip(labels).map(of).collect()
}

/// Σ (recall_n − recall_(n−1)) · precision_n over falling scores, images of one score together, as scikit-learn's
/// `average_precision_score`; `None` without positives, or with a score that is no number.
fn average_precision(mut samples: Vec<(f64, bool)>) -> Option<f64> {
    let positives = samples.iter().filter(|(_, positive)| *positive).count();
    if positives == 0 || samples.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    samples.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut found, mut area) = (0, 0, 0.0);
    for equals in samples.chunk_by(|a, b| a.0 == b.0) {
        let new = equals.iter().filter(|(_, positive)| *positive).count();
        seen += equals.len();
        found += new;
        area += new as f64 / positives as f64 * found as f64 / seen as f64;
    }
    Some(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(classes: usize, labels: &[u32], rows: &[Vec<f32>]) -> Outcome {
        let names = (0..classes).map(|class| format!("class {class}")).collect();
        let pairs = labels.iter().zip(rows).map(|(&label, row)| (label as usize, highest(row)));
        Outcome::new(names, pairs, 0.5).unwrap().ranked(labels, rows)
    }

    fn near(got: Option<f64>, expected: f64) {
        // What scikit-learn 1.7 printed, six digits.
        assert!(got.is_some_and(|got| (got - expected).abs() < 5e-7), "{got:?} {expected}");
    }

    /// scikit-learn's documented example of `average_precision_score` and `roc_auc_score`: y_true = [0, 0, 1, 1], y_scores =
    /// [0.1, 0.4, 0.35, 0.8].
    #[test]
    fn two_classes_are_told_by_the_second() {
        let rows: Vec<Vec<f32>> = [0.1, 0.4, 0.35, 0.8].map(|p: f32| vec![1.0 - p, p]).to_vec();
        let outcome = outcome(2, &[0, 0, 1, 1], &rows);
        near(outcome.auc, 0.75);
        near(outcome.average_precision, 0.833333);
        // 0.9 and 0.8 right; 0.6 right and 0.65 wrong, which in f32 is just below the border of their bin.
        near(outcome.calibration_error, (0.1 + 0.2) / 4.0 + 0.125 * 2.0 / 4.0);
        assert_eq!(outcome.top5_accuracy, None);
        assert!(
            outcome
                .text()
                .contains("\nAUC       0.7500   area under the ROC curve\nECE       0.1375   confidence")
        );
    }

    /// `roc_auc_score(y, p, multi_class="ovr")` of three classes is the mean; a class without images has no curve.
    #[test]
    fn of_more_classes_it_is_the_mean_of_those_that_are_there() {
        let rows = vec![
            vec![0.7, 0.2, 0.1, 0.0],
            vec![0.3, 0.4, 0.3, 0.0],
            vec![0.4, 0.5, 0.1, 0.0],
            vec![0.1, 0.2, 0.7, 0.0],
        ];
        let outcome = outcome(4, &[0, 0, 1, 2], &rows);
        // Class 0: 0.7, 0.3 against 0.4, 0.1; class 1: 0.5 against the rest; class 2: 0.7.
        near(outcome.scores[0].auc, 0.75);
        near(outcome.scores[1].auc, 1.0);
        assert_eq!((outcome.scores[3].auc, outcome.scores[3].average_precision), (None, None));
        near(outcome.auc, (0.75 + 1.0 + 1.0) / 3.0);
        // Precision 1 at the first, 2/3 at the second positive.
        near(outcome.scores[0].average_precision, 0.5 + 0.5 * 2.0 / 3.0);
    }

    #[test]
    fn a_class_among_the_five_most_probable_is_in_the_top_five() {
        let row: Vec<f32> = (0..8).map(|class| 0.2 - 0.02 * class as f32).collect();
        let outcome = outcome(8, &[0, 4, 5, 7], &vec![row; 4]);
        near(outcome.top5_accuracy, 0.5);
    }
}
