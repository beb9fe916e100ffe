//! A smooth line through measurements: locally weighted quadratic regression, as R's `plot(history)`
//! draws it.
//!
//! In: points with rising x. Out: the corners of a fine polyline.
//! Source: W. S. Cleveland, "Robust locally weighted regression and smoothing scatterplots", JASA 74
//! (1979), 829–836, without the robustness passes.

/// Fewer points than this are joined by straight lines: a fit would invent what lies between.
const FEWEST: usize = 5;
/// How many corners the line has, about.
const CORNERS: usize = 160;

/// The fitted line from the first point's x to the last one's, never outside the range of the points.
pub fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    if points.len() < FEWEST {
        return points.to_vec();
    }
    let (low, high) =
        points.iter().fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p.1), high.max(p.1)));
    // The values in 0..1, so that "too close to singular" means the same for all.
    let span = high - low;
    if span <= 0.0 {
        return points.to_vec();
    }
    let scaled: Vec<(f64, f64)> = points.iter().map(|p| (p.0, (p.1 - low) / span)).collect();
    // R takes 0.75 of the points, which is too stiff for the bend of the first epochs.
    let neighbours = (points.len() * 2 / 5).max(9).min(points.len());
    (0..=CORNERS)
        .map(|i| {
            let x = first.0 + (last.0 - first.0) * i as f64 / CORNERS as f64;
            (x, low + span * fit(&scaled, x, neighbours).clamp(0.0, 1.0))
        })
        .collect()
}

/// The value at `x` of the parabola that fits the `neighbours` nearest points best, near ones
/// counting more (tricube weights).
fn fit(points: &[(f64, f64)], x: f64, neighbours: usize) -> f64 {
    let mut distances: Vec<f64> = points.iter().map(|p| (p.0 - x).abs()).collect();
    let (_, &mut reach, _) = distances.select_nth_unstable_by(neighbours - 1, f64::total_cmp);
    // A little further, so that the farthest neighbour still counts.
    let reach = reach * 1.05 + 1e-9;
    // Moments of the weights around x, in units of the reach: the normal equations.
    let mut s = [0.0; 5];
    let mut t = [0.0; 3];
    for &(px, py) in points {
        let u = (px - x) / reach;
        if u.abs() >= 1.0 {
            continue;
        }
        let mut term = (1.0 - u.abs().powi(3)).powi(3);
        for power in 0..5 {
            s[power] += term;
            if power < 3 {
                t[power] += term * py;
            }
            term *= u;
        }
    }
    // Cramer's rule for the constant of c0 + c1 u + c2 u².
    let determinant = |a: [f64; 3], b: [f64; 3], c: [f64; 3]| {
        a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
            + c[0] * (a[1] * b[2] - a[2] * b[1])
    };
    let (second, third) = ([s[1], s[2], s[3]], [s[2], s[3], s[4]]);
    let whole = determinant([s[0], s[1], s[2]], second, third);
    if whole > 1e-12 * s[0].powi(3) { determinant(t, second, third) / whole } else { t[0] / s[0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_is_its_own_fit() {
        let f = |x: f64| 0.01 * (x - 20.0).powi(2) + 0.3;
        let points: Vec<(f64, f64)> = (1..=30).map(|i| (f64::from(i), f(f64::from(i)))).collect();
        for (x, y) in smooth(&points) {
            // Rounding only, but the line may not leave the range of the points between two of them.
            assert!((y - f(x)).abs() < 1e-9, "{x}: {y} is not {}", f(x));
        }
    }

    #[test]
    fn noise_is_evened_out() {
        let points: Vec<(f64, f64)> = (1..=60).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let inner = smooth(&points).into_iter().filter(|p| p.0 > 10.0 && p.0 < 50.0);
        // A zigzag of height 1: what is left of it is a few hundredths.
        assert!(inner.into_iter().all(|p| (p.1 - 0.5).abs() < 0.05));
    }

    #[test]
    fn few_or_constant_points_are_no_trouble() {
        assert_eq!(smooth(&[]), []);
        assert_eq!(smooth(&[(1.0, 2.0)]), [(1.0, 2.0)]);
        let flat: Vec<(f64, f64)> = (1..9).map(|i| (f64::from(i), 0.25)).collect();
        assert_eq!(smooth(&flat), flat);
    }
}
