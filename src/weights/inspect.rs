//! A look into a weights file: one row per tensor, for people.

use super::file::{BLOCK_BYTES, Weights};
use super::unzip::shorten;
use crate::error::Result;
use crate::files;
use rayon::prelude::*;
use safetensors::Dtype;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A weights file at a glance; `Display` prints it as a table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The file.
    #[serde(serialize_with = "as_text")]
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

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&files::shown(path))
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
            let (stats, not_finite) = sum_up(weights, name)?;
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
/// Characters of a tensor's name that a table shows. The longest of the usual networks have some 70.
pub const LONG_NAME: usize = 100;

/// Statistics and the number of values that are not finite. A type that cannot be read as floats has none; that
/// is no failure here.
fn sum_up(weights: &Weights, name: &str) -> Result<(Option<Stats>, usize)> {
    if weights.first(name, 1).is_err() {
        return Ok((None, 0));
    }
    let mut seen = Moments::default();
    weights.raw_blocks(name, (1, BLOCK_BYTES), &mut |_, values| {
        seen.add(values);
        Ok(())
    })?;
    Ok(seen.sum_up())
}

/// What is known of the values so far.
#[derive(Clone, Copy, Default)]
struct Moments {
    all: usize,
    finite: usize,
    min: f32,
    max: f32,
    mean: f64,
    /// The sum of squared deviations from the mean.
    squares: f64,
}

impl Moments {
    /// In order, chunk by chunk, so that every run prints the same digits.
    fn add(&mut self, values: &[f32]) {
        let parts: Vec<Self> = values.par_chunks(1 << 16).map(Self::of).collect();
        parts.into_iter().for_each(|part| self.join(part));
    }

    fn of(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|x| x.is_finite());
        let n = finite().count();
        let mean = if n == 0 { 0.0 } else { finite().map(f64::from).sum::<f64>() / n as f64 };
        Self {
            all: values.len(),
            finite: n,
            min: finite().fold(f32::INFINITY, f32::min),
            max: finite().fold(f32::NEG_INFINITY, f32::max),
            mean,
            squares: finite().map(|x| (f64::from(x) - mean).powi(2)).sum(),
        }
    }

    /// Chan, Golub & LeVeque 1979: moments of two parts make those of the whole without cancellation.
    fn join(&mut self, other: Self) {
        let (a, b) = (self.finite as f64, other.finite as f64);
        self.all += other.all;
        if other.finite == 0 {
            return;
        }
        if self.finite == 0 {
            *self = Self { all: self.all, ..other };
            return;
        }
        let apart = other.mean - self.mean;
        self.mean += apart * b / (a + b);
        self.squares += other.squares + apart * apart * a * b / (a + b);
        self.finite += other.finite;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    fn sum_up(self) -> (Option<Stats>, usize) {
        let Self { all, finite, min, max, mean, squares } = self;
        let stats = Stats { min, max, mean, std: (squares / finite.max(1) as f64).sqrt() };
        ((finite > 0).then_some(stats), all - finite)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        writeln!(f, "  {} bytes, sha256 {}", self.bytes, self.sha256)?;
        for (key, value) in &self.metadata {
            // A model's configuration has 20 kB.
            writeln!(f, "  {}: {}", shorten(key), files::shorten(value, LONG))?;
        }
        // Every row is as wide as the longest name.
        let names: Vec<String> = self.rows.iter().map(|row| files::shorten(&row.name, LONG_NAME)).collect();
        let shapes: Vec<String> = self.rows.iter().map(|row| format!("{:?}", row.shape)).collect();
        let name = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(4);
        let shape = shapes.iter().map(String::len).max().unwrap_or(0).max(5);
        let title = ["min", "max", "mean", "std"].map(|t| format!("{t:>11}")).join(" ");
        write!(f, "\n{:name$}  {:5}  {:shape$}  {title}", "name", "type", "shape")?;
        for ((row, axes), called) in self.rows.iter().zip(&shapes).zip(&names) {
            write!(f, "\n{called:name$}  {:5}  {axes:shape$}  ", row.dtype.to_string())?;
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
        let sum_up = |values: &[f32]| {
            let mut seen = Moments::default();
            // One at a time: as many joins as there can be.
            values.iter().for_each(|&value| seen.add(&[value]));
            seen.sum_up()
        };
        let (stats, not_finite) = sum_up(&[1.0, f32::NAN, 3.0, f32::INFINITY, -1.0]);
        assert_eq!(not_finite, 2);
        // Mean 1, deviations 0, 2, −2: variance 8/3.
        let stats = stats.unwrap();
        assert_eq!((stats.min, stats.max, stats.mean), (-1.0, 3.0, 1.0));
        assert!((stats.std - (8f64 / 3.0).sqrt()).abs() < 1e-15, "{}", stats.std);
        assert_eq!(sum_up(&[]), (None, 0));
        assert_eq!(sum_up(&[f32::NAN]), (None, 1));
    }
}
