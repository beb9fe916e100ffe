//! What samples of each class count: given, or from how many there are.

use crate::data::per_class;
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What samples of each class count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// `"auto"`: samples / (classes · samples of the class), so that every class counts the same.
    Auto(Auto),
    /// One for each class, in the order of the classes.
    Given(Vec<f32>),
}

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// `auto`
    Auto,
}

impl FromStr for ClassWeights {
    type Err = Error;

    /// `auto`, or numbers with commas between.
    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto(Auto::Auto));
        }
        let numbers: Option<Vec<f32>> = text
            .split(',')
            .map(|number| number.trim().parse().ok().filter(|&w: &f32| w >= 0.0 && w.is_finite()))
            .collect();
        numbers.map(Self::Given).ok_or_else(|| {
            Error::new(Kind::Usage, "class weights are numbers from 0 up")
                .expected_got("auto, or one number per class: 1,2.5", text)
        })
    }
}

impl ClassWeights {
    /// As numbers, for `classes` and the `labels` that are learned.
    pub(super) fn numbers(&self, classes: &[String], labels: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Given(weights) if weights.len() == classes.len() => Ok(weights.clone()),
            Self::Given(weights) => Err(Error::new(Kind::Usage, "there is not one weight for each class")
                .expected_got(format!("{} ({})", classes.len(), listed(classes)), weights.len())
                .help("give one number per class, in this order, or `--class-weights auto`")),
            Self::Auto(_) => {
                let counts = per_class(labels, classes.len());
                let weight = |&count: &usize| labels.len() as f32 / (classes.len() * count.max(1)) as f32;
                Ok(counts.iter().map(weight).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_class_weights_make_classes_equal() {
        let classes = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let labels = [0, 0, 0, 0, 1, 1];
        let auto: ClassWeights = "auto".parse().unwrap();
        assert_eq!(auto.numbers(&classes, &labels).unwrap(), [0.5, 1.0, 2.0]);
        let given: ClassWeights = "1,2.5".parse().unwrap();
        let error = given.numbers(&classes, &labels).unwrap_err().to_string();
        assert!(error.contains("3 (a, b, c)") && error.contains('2'), "{error}");
        assert!("1,-2".parse::<ClassWeights>().is_err() && "some".parse::<ClassWeights>().is_err());
    }
}
