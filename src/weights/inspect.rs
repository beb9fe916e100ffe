//! A look into a weights file: one row per tensor, for people.

use super::file::Weights;
use crate::error::Result;
use rayon::prelude::*;
use safetensors::Dtype;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A weights file at a glance; `Display` prints it as a table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// What it says about itself.
    pub metadata: BTreeMap<String, String>,
    /// Its tensors, in the order of the file.
    pub rows: Vec<Row>,
}

/// One tensor of a [`Table`].
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name in the file.
    pub name: String,
    /// The type in the file.
    pub dtype: Dtype,
    /// The axes, slowest first.
    pub shape: Vec<usize>,
    /// `None` when the tensor is empty, of no readable float type, or without a finite value.
    pub stats: Option<Stats>,
    /// How many values are NaN or infinite: such a tensor will be refused when it is loaded.
    pub not_finite: usize,
}

/// Of the finite values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Smallest.
    pub min: f32,
    /// Largest.
    pub max: f32,
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the population (divided by n).
    pub std: f64,
}

impl Table {
    /// Reads the whole file and sums it up; values that are not finite are counted, not refused.
    ///
    /// # Errors
    /// [`Kind::Weights`](crate::error::Kind::Weights) never for a file that is open; the signature allows later
    /// checks.
    pub fn of(weights: &Weights) -> Result<Self> {
        let mut rows = Vec::new();
        for name in weights.in_order() {
            let (dtype, shape) = (weights.dtype(name)?, weights.shape(name)?.to_vec());
            // A type that cannot be read as floats has no statistics; that is no failure here.
            let values = weights.values(name).unwrap_or_default();
            let (stats, not_finite) = sum_up(&values);
            rows.push(Row { name: name.into(), dtype, shape, stats, not_finite });
        }
        Ok(Self {
            path: weights.path().to_path_buf(),
            bytes: weights.len_bytes(),
            sha256: weights.sha256(),
            metadata: weights.metadata().clone(),
            rows,
        })
    }
}

/// Reads the whole file and sums it up.
///
/// # Errors
/// Those of [`Weights::open`].
pub fn inspect(path: &Path) -> Result<Table> {
    Table::of(&Weights::open(path)?)
}

/// Characters of metadata that a table shows.
const LONG: usize = 160;

fn sum_up(values: &[f32]) -> (Option<Stats>, usize) {
    let finite = || values.par_iter().copied().filter(|x| x.is_finite());
    let n = finite().count();
    if n == 0 {
        return (None, values.len());
    }
    // Sums in f64 and in order, chunk by chunk, so that every run prints the same digits.
    let sum = |f: &(dyn Fn(f64) -> f64 + Sync)| -> f64 {
        let parts: Vec<f64> = values
            .par_chunks(1 << 16)
            .map(|chunk| chunk.iter().filter(|x| x.is_finite()).map(|&x| f(f64::from(x))).sum())
            .collect();
        parts.iter().sum()
    };
    let mean = sum(&|x| x) / n as f64;
    let std = (sum(&|x| (x - mean).powi(2)) / n as f64).sqrt();
    let min = finite().reduce(|| f32::INFINITY, f32::min);
    let max = finite().reduce(|| f32::NEG_INFINITY, f32::max);
    (Some(Stats { min, max, mean, std }), values.len() - n)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        writeln!(f, "  {} bytes, sha256 {}", self.bytes, self.sha256)?;
        for (key, value) in &self.metadata {
            // A model's configuration has 20 kB.
            let short: String = value.chars().take(LONG).flat_map(char::escape_debug).collect();
            writeln!(f, "  {key}: {short}{}", if value.chars().count() > LONG { "…" } else { "" })?;
        }
        let shapes: Vec<String> = self.rows.iter().map(|row| format!("{:?}", row.shape)).collect();
        let name = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(4);
        let shape = shapes.iter().map(String::len).max().unwrap_or(0).max(5);
        let title = ["min", "max", "mean", "std"].map(|t| format!("{t:>11}")).join(" ");
        write!(f, "\n{:name$}  {:5}  {:shape$}  {title}", "name", "type", "shape")?;
        for (row, axes) in self.rows.iter().zip(&shapes) {
            write!(f, "\n{:name$}  {:5}  {axes:shape$}  ", row.name, row.dtype.to_string())?;
            match row.stats {
                Some(Stats { min, max, mean, std }) => {
                    write!(f, "{min:>11.4e} {max:>11.4e} {mean:>11.4e} {std:>11.4e}")?;
                }
                None => write!(f, "{:>11} {:>11} {:>11} {:>11}", "-", "-", "-", "-")?,
            }
            if row.not_finite > 0 {
                write!(f, "  {} not finite", row.not_finite)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_of_the_finite_values() {
        let (stats, not_finite) = sum_up(&[1.0, f32::NAN, 3.0, f32::INFINITY, -1.0]);
        assert_eq!(not_finite, 2);
        // Mean 1, deviations 0, 2, −2: variance 8/3.
        assert_eq!(stats, Some(Stats { min: -1.0, max: 3.0, mean: 1.0, std: (8f64 / 3.0).sqrt() }));
        assert_eq!(sum_up(&[]), (None, 0));
        assert_eq!(sum_up(&[f32::NAN]), (None, 1));
    }
}
