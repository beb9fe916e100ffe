//! Receiver operating characteristic: how well probabilities of one class tell it from the rest.
//!
//! In: a score and a truth per image. Out: [`Roc`], the corners of the curve and the area under it.
//! Source: T. Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006), 861–874.

/// A curve from (0, 0) to (1, 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    /// False positives' share of the negatives, true positives' share of the positives, rising. Scores that
    /// are equal make one slanted step.
    pub points: Vec<[f64; 2]>,
    /// The area: the probability that a positive has a higher score than a negative, equals counting half.
    pub area: f64,
}

impl Roc {
    /// Of (score, whether it is positive); `None` without positives, without negatives, or with a score that
    /// is no number.
    pub fn new(samples: impl IntoIterator<Item = (f64, bool)>) -> Option<Self> {
        let mut samples: Vec<(f64, bool)> = samples.into_iter().collect();
        let positives = samples.iter().filter(|(_, positive)| *positive).count();
        let negatives = samples.len() - positives;
        if positives == 0 || negatives == 0 || samples.iter().any(|(score, _)| score.is_nan()) {
            return None;
        }
        samples.sort_by(|a, b| b.0.total_cmp(&a.0));
        let place = |[fp, tp]: [usize; 2]| [fp as f64 / negatives as f64, tp as f64 / positives as f64];
        let mut counts = [0usize; 2];
        let mut points = vec![[0.0, 0.0]];
        // Twice the area in counts: whole numbers, so exact.
        let mut doubled = 0;
        for equals in samples.chunk_by(|a, b| a.0 == b.0) {
            let right = equals.iter().filter(|(_, positive)| *positive).count();
            let wrong = equals.len() - right;
            doubled += wrong * (2 * counts[1] + right);
            counts = [counts[0] + wrong, counts[1] + right];
            points.push(place(counts));
        }
        points.dedup();
        Some(Self { points: corners(&points), area: doubled as f64 / (2 * positives * negatives) as f64 })
    }
}

/// Without the points in the middle of a straight run along an axis: a thousand images have few corners.
fn corners(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut out: Vec<[f64; 2]> = Vec::new();
    for &point in points {
        if let [.., before, last] = out[..]
            && (0..2).any(|axis| before[axis] == last[axis] && last[axis] == point[axis])
        {
            out.pop();
        }
        out.push(point);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sklearn.metrics.roc_curve` and `roc_auc_score`, the example of their documentation.
    #[test]
    fn the_documented_example() {
        let roc = Roc::new([(0.1, false), (0.4, false), (0.35, true), (0.8, true)]).unwrap();
        assert_eq!(roc.area, 0.75);
        assert_eq!(roc.points, [[0.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [1.0, 1.0]]);
    }

    #[test]
    fn equals_count_half_and_straight_runs_have_two_ends() {
        let all_equal = Roc::new((0..10).map(|i| (0.5, i % 2 == 0))).unwrap();
        assert_eq!((all_equal.area, all_equal.points.len()), (0.5, 2));
        let perfect = Roc::new((0..100).map(|i| (f64::from(i), i >= 40))).unwrap();
        assert_eq!((perfect.area, perfect.points), (1.0, vec![[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]));
    }

    /// The area by its other meaning, pair by pair.
    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let samples: Vec<(f64, bool)> =
            (0..60u32).map(|i| (f64::from(i * 37 % 17), i * 11 % 7 < 3)).collect();
        let of = |wanted| samples.iter().filter(move |(_, positive)| *positive == wanted);
        let mut sum = 0.0;
        for (p, _) in of(true) {
            sum += of(false)
                .map(|(n, _)| {
                    if p > n {
                        1.0
                    } else if p == n {
                        0.5
                    } else {
                        0.0
                    }
                })
                .sum::<f64>();
        }
        let expected = sum / (of(true).count() * of(false).count()) as f64;
        let roc = Roc::new(samples.iter().copied()).unwrap();
        // One division of whole numbers on either side.
        assert!((roc.area - expected).abs() < 1e-12, "{} {expected}", roc.area);
    }

    #[test]
    fn one_kind_alone_has_no_curve() {
        assert_eq!(Roc::new([(0.5, true)]), None);
        assert_eq!(Roc::new([(0.5, false)]), None);
        assert_eq!(Roc::new([(f64::NAN, false), (0.1, true)]), None);
    }
}
