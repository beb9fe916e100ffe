//! From numbers to places on the page, with ticks at round numbers.
//!
//! In: values and the ends of a panel. Out: an [`Axis`].

/// Numbers larger than this are not for drawing; their differences would soon be infinite.
pub const FARTHEST: f64 = 1e30;

/// A linear axis.
pub struct Axis {
    /// The values at the two ends.
    low: f64,
    high: f64,
    /// Where the ends are on the page.
    from: f64,
    to: f64,
    first: f64,
    step: f64,
}

impl Axis {
    /// Epochs 1 to `count`, with half an epoch of air, or a little more where epochs are narrow.
    pub fn epochs(count: usize, from: f64, to: f64) -> Self {
        let last = count.max(1) as f64;
        let air = (0.012 * last).max(0.5);
        let step = round_step(last / 10.0).max(1.0);
        Self { low: 1.0 - air, high: last + air, from, to, first: step, step }
    }

    /// All of `values` (none beyond [`FARTHEST`]), from one round number to another. Without values:
    /// 0 to 1.
    pub fn values(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        // A constant stands in the middle, except that shares and losses do not go below 0 and
        // a perfect accuracy does not rise above 1.
        let size = high.abs().max(low.abs());
        let air = if size < 1.0 / FARTHEST {
            0.5
        } else if high - low <= 1e-9 * size {
            0.05 * size
        } else {
            0.0
        };
        let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        let ceiling = if high == 1.0 { 1.0 } else { f64::INFINITY };
        let (low, high) = ((low - air).max(floor), (high + air).min(ceiling));
        let step = round_step((high - low) / 5.0);
        let first = (low / step + 1e-9).floor() * step;
        Self { low: first, high: (high / step - 1e-9).ceil() * step, from, to, first, step }
    }

    /// Where `value` is on the page.
    pub fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Places and labels, low to high.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let count = ((self.high - self.first) / self.step + 1e-9).floor().min(20.0) as u32;
        (0..=count)
            .map(|i| {
                let value = self.first + f64::from(i) * self.step;
                (self.place(value), self.label(value))
            })
            .collect()
    }

    fn label(&self, value: f64) -> String {
        let largest = self.high.abs().max(self.low.abs());
        if value.abs() < 1e-9 * self.step {
            "0".into()
        } else if self.step < 1e-4 && largest < 1e-2 || largest >= 1e6 {
            // As many digits as tell neighbours apart.
            let digits = (largest / self.step).log10().ceil().clamp(0.0, 6.0) as usize;
            format!("{value:.digits$e}")
        } else {
            let decimals = (-self.step.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
            format!("{value:.decimals$}")
        }
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `wanted`.
fn round_step(wanted: f64) -> f64 {
    let power = 10f64.powf(wanted.log10().floor());
    let ratio = wanted / power;
    let digit = [1.0, 2.0, 5.0].into_iter().find(|d| ratio <= d * (1.0 + 1e-9)).unwrap_or(10.0);
    digit * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<String> {
        Axis::values(values.iter().copied(), 100.0, 0.0).ticks().into_iter().map(|(_, l)| l).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        assert_eq!(labels(&[0.93, 0.998]), ["0.92", "0.94", "0.96", "0.98", "1.00"]);
        assert_eq!(
            labels(&[0.03, 0.71]),
            ["0.0", "0.2", "0.4", "0.6", "0.8"].map(|l| if l == "0.0" { "0" } else { l })
        );
        assert_eq!(labels(&[1.0, 1.0]), ["0.95", "0.96", "0.97", "0.98", "0.99", "1.00"]);
        assert_eq!(labels(&[0.0, 0.0]), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&[]), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[-1.0, 1.0]), ["-1.0", "-0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(&[2e-8, 9e-8]), ["2.0e-8", "4.0e-8", "6.0e-8", "8.0e-8", "1.0e-7"]);
    }

    #[test]
    fn any_numbers_have_an_axis() {
        for values in [
            [-FARTHEST, FARTHEST],
            [0.0, f64::MIN_POSITIVE],
            [1.0, 1.0 + f64::EPSILON],
            [5e-324; 2],
            [FARTHEST; 2],
            [-3.0; 2],
        ] {
            let axis = Axis::values(values.into_iter(), 100.0, 0.0);
            for v in values {
                let place = axis.place(v);
                assert!((-0.01..=100.01).contains(&place), "{values:?}: {v:e} is at {place}");
            }
            assert!((2..=12).contains(&axis.ticks().len()), "{values:?}: {:?}", axis.ticks());
        }
    }

    #[test]
    fn epochs_are_whole() {
        let last = |count| Axis::epochs(count, 0.0, 1.0).ticks().pop().unwrap().1;
        assert_eq!([1, 7, 30, 300].map(last), ["1", "7", "30", "300"]);
        assert_eq!(Axis::epochs(30, 0.0, 1.0).ticks().len(), 6, "5, 10 … 30");
        assert_eq!(Axis::epochs(0, 0.0, 1.0).ticks().len(), 1);
    }
}
