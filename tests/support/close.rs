//! How far a result in f32 may lie from the true one.
//!
//! Every element of an expected output carries its own bound, made where the reason for it is known.

/// The distance from 1 to the next f32. One rounding errs by at most half of it, relatively.
pub const EPS: f64 = f32::EPSILON as f64;

/// The smallest normal f32: below it, a device may flush to zero.
pub const TINY: f64 = f32::MIN_POSITIVE as f64;

/// One expected number.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    pub value: f64,
    /// Largest allowed distance; 0 asks for equality.
    pub within: f64,
}

impl Near {
    pub fn exactly(value: f64) -> Self {
        Self { value, within: 0.0 }
    }

    /// Within `roundings` relative errors of half an EPS each, with a factor of two in hand for
    /// library functions that are good to one unit in the last place.
    pub fn rounded(value: f64, roundings: f64) -> Self {
        Self { value, within: roundings * EPS * value.abs() }
    }

    /// NaN meets NaN, an infinity the same infinity, a number what lies within the bound.
    pub fn meets(self, got: f32) -> bool {
        let got = f64::from(got);
        got == self.value || (got - self.value).abs() <= self.within || (got.is_nan() && self.value.is_nan())
    }
}

/// A sum of products with the sum of their magnitudes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    pub value: f64,
    pub magnitude: f64,
    pub terms: u32,
}

impl Sum {
    pub fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitude += term.abs();
        self.terms += 1;
    }

    /// Each partial sum is at most `magnitude` and is rounded once; the roundings are independent of
    /// each other, so k of them grow as √k, not as k. The bound holds for every order of summation
    /// and is far below the size of one term (magnitude / k), so a missing term shows.
    pub fn near(self) -> Near {
        Near { value: self.value, within: EPS * (2.0 + f64::from(self.terms).sqrt()) * self.magnitude }
    }
}

/// The first element of `got` that does not meet `want`, in words.
pub fn first_miss(got: &[f32], want: &[Near]) -> Option<String> {
    assert_eq!(got.len(), want.len());
    let misses = got.iter().zip(want).filter(|(got, want)| !want.meets(**got)).count();
    let at = got.iter().zip(want).position(|(got, want)| !want.meets(*got))?;
    let (got, Near { value, within }) = (got[at], want[at]);
    let all = want.len();
    Some(format!("element {at}: expected {value} ± {within:.1e}, got {got} ({misses} of {all} miss)"))
}
