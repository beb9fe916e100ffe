//! From one float type to another, with an account of what the rounding cost.

use super::file::Named;
use super::save::{FloatType, NamedTensor, save_stoppable};
use crate::error::Result;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What a conversion did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many tensors there are.
    pub tensors: usize,
    /// How many values they hold together.
    pub values: usize,
    /// What rounding did to the values.
    pub rounding: Rounding,
}

/// The difference between values and what a [`FloatType`] makes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rounding {
    /// Largest |rounded − value| / |value| where the value is normal in the new type. At most 2⁻¹¹ for
    /// F16 and 2⁻⁸ · ½ for BF16.
    pub relative: f32,
    /// Largest |rounded − value| of all.
    pub absolute: f32,
    /// Values, not zero, below the smallest normal number: kept with fewer digits.
    pub subnormal: usize,
    /// Those of them that became zero.
    pub lost: usize,
}

/// Writes `values` (names, shapes, numbers) `to` a safetensors file as `float`, with `metadata`.
///
/// # Errors
/// Those of [`save_stoppable`].
pub fn rewrite(
    values: &[Named<'_>],
    to: &Path,
    float: FloatType,
    metadata: &BTreeMap<String, String>,
) -> Result<Report> {
    let tensors: Vec<NamedTensor<'_>> = values
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    save_stoppable(to, &tensors, float, metadata)?;
    Ok(Report {
        tensors: tensors.len(),
        values: tensors.iter().map(|t| t.data.len()).sum(),
        rounding: tensors.iter().fold(Rounding::default(), |all, t| all.with(rounding(t.data, float))),
    })
}

impl Rounding {
    fn with(self, other: Self) -> Self {
        Self {
            relative: self.relative.max(other.relative),
            absolute: self.absolute.max(other.absolute),
            subnormal: self.subnormal + other.subnormal,
            lost: self.lost + other.lost,
        }
    }
}

/// What `float` would make of `values`.
fn rounding(values: &[f32], float: FloatType) -> Rounding {
    values
        .par_chunks(1 << 16)
        .map(|chunk| rounding_of_chunk(chunk, float))
        .reduce(Rounding::default, Rounding::with)
}

fn rounding_of_chunk(values: &[f32], float: FloatType) -> Rounding {
    let rounded = match float {
        FloatType::F32 => return Rounding::default(),
        FloatType::F16 => <Vec<f16> as half::vec::HalfFloatVecExt>::from_f32_slice(values).to_f32_vec(),
        FloatType::Bf16 => <Vec<bf16> as half::vec::HalfFloatVecExt>::from_f32_slice(values).to_f32_vec(),
    };
    let mut all = Rounding::default();
    for (&value, rounded) in values.iter().zip(rounded) {
        let error = (rounded - value).abs();
        all.absolute = all.absolute.max(error);
        if value.abs() >= float.min_normal() {
            all.relative = all.relative.max(error / value.abs());
        } else if value != 0.0 {
            all.subnormal += 1;
            all.lost += usize::from(rounded == 0.0);
        }
    }
    all
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensors, values, rounding } = self;
        writeln!(f, "{tensors} tensors, {values} values")?;
        writeln!(
            f,
            "largest rounding error  {:.3e} relative, {:.3e} absolute",
            rounding.relative, rounding.absolute
        )?;
        write!(
            f,
            "below full precision    {} values, {} of them became zero",
            rounding.subnormal, rounding.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_measured_where_it_happens() {
        // 1 + 2⁻¹¹ lies midway between two f16 and goes to the even one, 1: the worst case.
        let worst = 1.0 + 2f32.powi(-11);
        // 2⁻²⁶ is below half the smallest subnormal of f16 (2⁻²⁴); 2⁻²⁰ is a subnormal, exactly.
        let got = rounding(&[0.0, 1.0, worst, 2f32.powi(-26), 2f32.powi(-20)], FloatType::F16);
        assert_eq!(
            got,
            Rounding { relative: 2f32.powi(-11) / worst, absolute: 2f32.powi(-11), subnormal: 2, lost: 1 }
        );
        assert_eq!(rounding(&[worst, 1e-40], FloatType::F32), Rounding::default());
    }
}
