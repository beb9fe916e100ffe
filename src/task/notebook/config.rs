//! The numbers of the chapter: what `--print-config` writes and `--config` reads.

use crate::data::{Augment, Resize};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::Preprocess;
use crate::task::{StageConfig, limits};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All numbers of the notebook. The defaults are those of *Deep Learning with R*, 5.3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// `[h, w]` of the images.
    pub size: [usize; 2],
    /// Pixel scaling.
    pub preprocess: String,
    /// Way to size.
    pub resize: String,
    /// Samples of a step.
    pub batch: usize,
    /// Decides initial weights, order, dropout and augmentation.
    pub seed: u64,
    /// Hidden units of the classifier; 0 for no hidden layer.
    pub units: usize,
    /// Dropout of the classifier on features.
    pub features_dropout: f32,
    /// Dropout of the classifier on the augmented base; the book has none.
    pub finetune_dropout: f32,
    /// Batches of the test; all images if none. In a file 0 says none, here and for the steps of the stages: what it
    /// leaves out stays as in the chapter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_steps: Option<usize>,
    /// Share of each class for validation, if the data has no split of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_split: Option<f32>,
    /// Weights of the base; those that come with vgg-ft if not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weights: Option<PathBuf>,
    /// Gigabytes that activations may take on the disk.
    pub cache_limit: f64,
    /// A classifier on the features of the frozen base.
    pub features: StageConfig,
    /// The same on augmented images, the base frozen.
    pub frozen: StageConfig,
    /// The top of the base unfrozen.
    pub finetune: StageConfig,
}

impl Default for Numbers {
    fn default() -> Self {
        let steps = |stage: StageConfig| StageConfig {
            steps_per_epoch: Some(100),
            validation_steps: Some(50),
            augment: Some(Augment::book()),
            ..stage
        };
        Self {
            size: [150, 150],
            preprocess: Preprocess::Notebook.name().into(),
            resize: Resize::NEAREST.name().into(),
            batch: 20,
            seed: 1,
            units: 256,
            features_dropout: 0.5,
            finetune_dropout: 0.0,
            test_steps: Some(50),
            validation_split: None,
            weights: None,
            cache_limit: 20.0,
            features: StageConfig::new("features", None, 30, 2e-5),
            frozen: steps(StageConfig::new("frozen", None, 30, 2e-5)),
            finetune: steps(StageConfig::new("finetune", Some("block3_conv1"), 100, 1e-5)),
        }
    }
}

impl Numbers {
    /// Reads a file; what it does not name stays as in the chapter.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Usage`] when it cannot be understood.
    pub fn read(file: &Path) -> Result<Self> {
        let text = files::read_text(file)?;
        let wrong = |reason: &dyn std::fmt::Display| {
            Error::new(Kind::Usage, format!("{} cannot be understood", file.display()))
                .fact("reason", reason)
                .help("`vgg-ft notebook --print-config` writes a file to begin with")
        };
        let given: toml::Table = text.parse().map_err(|e: toml::de::Error| wrong(&e.message()))?;
        let mut all = toml::Table::try_from(Self::default()).map_err(|e| wrong(&e))?;
        overlay(&mut all, given);
        let mut numbers: Self = all.try_into().map_err(|e: toml::de::Error| wrong(&e.message()))?;
        for stage in [&mut numbers.features, &mut numbers.frozen, &mut numbers.finetune] {
            // Ranges that are all nothing are no augmentation.
            stage.augment.take_if(|augment| !augment.changes());
            stage.steps_per_epoch.take_if(|steps| *steps == 0);
            stage.validation_steps.take_if(|steps| *steps == 0);
        }
        numbers.test_steps.take_if(|steps| *steps == 0);
        Ok(numbers)
    }

    /// As they are written down: 0 steps where all are meant, since what a file leaves out is the chapter's.
    pub fn written(&self) -> Self {
        let mut all = self.clone();
        all.test_steps.get_or_insert(0);
        for stage in [&mut all.features, &mut all.frozen, &mut all.finetune] {
            stage.steps_per_epoch.get_or_insert(0);
            stage.validation_steps.get_or_insert(0);
        }
        all
    }

    /// As a file for [`Numbers::read`].
    ///
    /// # Errors
    /// None in practice: the numbers always serialize.
    pub fn text(&self) -> Result<String> {
        toml::to_string(&self.written())
            .map_err(|e| Error::new(Kind::Usage, "these numbers cannot be written").fact("reason", e))
    }

    /// Whether the numbers can be.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the first that cannot.
    pub fn validate(&self) -> Result<()> {
        if self.frozen.name == self.finetune.name {
            return Err(Error::new(Kind::Usage, "two stages of one run have one name")
                .fact("name", &self.frozen.name)
                .help("give `frozen` and `finetune` names of their own"));
        }
        limits::seed(self.seed)?;
        if self.batch == 0 {
            return Err(Error::new(Kind::Usage, "`batch` is 1 or more").help("the book's is 20"));
        }
        if !(self.cache_limit >= 0.0 && self.cache_limit.is_finite()) {
            return Err(Error::new(Kind::Usage, "`cache_limit` is in gigabytes, from 0 up")
                .fact("got", self.cache_limit)
                .help("the notebook's is 20"));
        }
        [&self.features, &self.frozen, &self.finetune].into_iter().try_for_each(StageConfig::validate)
    }
}

/// Puts what `given` names over what is in `all`, table by table.
fn overlay(all: &mut toml::Table, given: toml::Table) {
    for (key, value) in given {
        match (all.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => overlay(there, more),
            (_, value) => {
                all.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Numbers> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("notebook.toml");
        std::fs::write(&file, text).unwrap();
        Numbers::read(&file)
    }

    #[test]
    fn what_is_printed_is_read_back_and_a_part_of_it_changes_that_part() {
        let chapter = Numbers::default();
        chapter.validate().unwrap();
        assert_eq!(read(&chapter.text().unwrap()).unwrap(), chapter);
        assert_eq!(read("").unwrap(), chapter);
        let some = read("batch = 8\n[finetune]\nepochs = 3\n[frozen.augment]\nrotation = 10.0").unwrap();
        assert_eq!((some.batch, some.finetune.epochs, some.finetune.rate), (8, 3, 1e-5));
        let rotation = |stage: &StageConfig| stage.augment.as_ref().map(|augment| augment.rotation);
        assert_eq!((rotation(&some.frozen), rotation(&some.finetune)), (Some(10.0), Some(40.0)));
        for wrong in ["bacth = 8", "[finetune]\nepochs = \"x\"", "[frozen", "[frozen]\nepoch = 1"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("notebook.toml cannot be understood"), "{error}");
        }
        assert!(Numbers { batch: 0, ..chapter.clone() }.validate().is_err());
        let mut same = chapter;
        same.frozen.name = "finetune".into();
        assert!(same.validate().unwrap_err().to_string().contains("one name"));
    }
}
