//! Calibration: of the images called with a confidence of 80 %, are 80 % right?
//!
//! In: confidence (the probability of the class that was called) and whether it was right. Out: bins and the
//! expected calibration error, `Σ n_b/n · |accuracy_b − confidence_b|`.
//! Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017.

/// Bins of a diagram.
pub const BINS: usize = 10;

/// Images of similar confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// From this confidence …
    pub low: f64,
    /// … to this one.
    pub high: f64,
    /// How many images.
    pub count: usize,
    /// Their mean confidence; 0 if there are none.
    pub confidence: f64,
    /// The share of them that are right; 0 if there are none.
    pub accuracy: f64,
}

/// A reliability diagram in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// [`BINS`] of equal width from `1 / classes`, the least that the highest of the probabilities can be, to 1.
    pub bins: Vec<Bin>,
    /// The expected calibration error.
    pub error: f64,
}

impl Calibration {
    /// Of (confidence, whether it was right); `None` without any, or with a confidence that is no number.
    pub fn new(samples: &[(f64, bool)], classes: usize) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|(confidence, _)| confidence.is_nan()) {
            return None;
        }
        let least = 1.0 / classes.max(1) as f64;
        let width = (1.0 - least) / BINS as f64;
        let edge = |i: usize| if i == BINS { 1.0 } else { least + width * i as f64 };
        let mut bins: Vec<Bin> =
            (0..BINS).map(|i| Bin { low: edge(i), high: edge(i + 1), ..Bin::default() }).collect();
        for &(confidence, right) in samples {
            // A cast saturates: rounding below the least counts to the first bin.
            let bin = &mut bins[(((confidence - least) / width) as usize).min(BINS - 1)];
            bin.count += 1;
            bin.confidence += confidence;
            bin.accuracy += f64::from(u8::from(right));
        }
        let mut error = 0.0;
        for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
            bin.confidence /= bin.count as f64;
            bin.accuracy /= bin.count as f64;
            error += (bin.accuracy - bin.confidence).abs() * bin.count as f64 / samples.len() as f64;
        }
        Some(Self { bins, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_weighted_gap() {
        // 4 images of 0.9, 3 right; 2 of 0.55, both right.
        let mut samples = vec![(0.9, true), (0.9, true), (0.9, true), (0.9, false)];
        samples.extend([(0.55, true); 2]);
        let calibration = Calibration::new(&samples, 2).unwrap();
        // 4/6 · |0.75 − 0.9| + 2/6 · |1 − 0.55| = 0.1 + 0.15
        assert!((calibration.error - 0.25).abs() < 1e-12, "{}", calibration.error);
        let filled: Vec<_> = calibration.bins.iter().filter(|bin| bin.count > 0).collect();
        assert_eq!(filled.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 4]);
        assert_eq!((calibration.bins[0].low, calibration.bins[9].high), (0.5, 1.0));
    }

    #[test]
    fn the_ends_belong_to_the_bins() {
        let calibration = Calibration::new(&[(1.0, true), (0.25, false), (0.249, false)], 4).unwrap();
        assert_eq!(calibration.bins[9].count, 1);
        assert_eq!(calibration.bins[0].count, 2);
        assert_eq!(Calibration::new(&[], 2), None);
        assert_eq!(Calibration::new(&[(f64::NAN, true)], 2), None);
    }
}
