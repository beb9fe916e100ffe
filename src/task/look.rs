//! How closely images are looked at, and where two classes are parted: what `predict` and `evaluate` share.

use super::Host;
use super::subject::Subject;
use crate::data::{Augment, Size};
use crate::error::{Error, Kind, Result, in_one_line};
use crate::model::classes::listed;
use crate::report::counted;
use crate::train::Views;

/// Options of looking.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Other views of each image.
    pub tta: Option<Tta>,
    /// Of the draws.
    pub seed: u64,
    /// The probability above which an image is of the second of two classes.
    pub threshold: Option<f32>,
}

/// Test-time augmentation.
#[derive(Clone, Debug)]
pub enum Tta {
    /// The image and its mirror image.
    Flip,
    /// The image and draws.
    Times {
        /// How many views in all.
        views: usize,
        /// What is drawn from; the run's own training augmentation if not given.
        augment: Option<Augment>,
    },
}

impl Look {
    /// Views of each image.
    pub(super) fn count(&self) -> usize {
        match self.tta {
            None => 1,
            Some(Tta::Flip) => 2,
            Some(Tta::Times { views, .. }) => views,
        }
    }

    /// What of it decides figures, for people: a line each; none where images are looked at once and the most probable
    /// class is taken.
    pub(super) fn lines(&self, classes: &[String]) -> String {
        let second = classes.get(1).map_or_else(String::new, |name| in_one_line(name));
        let threshold = self.threshold.map(|threshold| format!("threshold  {second} above {threshold}\n"));
        let views = match &self.tta {
            Some(Tta::Flip) => Some("views      each image and its mirror image\n".to_owned()),
            Some(Tta::Times { views, .. }) if *views > 1 => {
                Some(format!("views      each image and {}\n", counted(views - 1, "draw")))
            }
            _ => None,
        };
        threshold.unwrap_or_default() + &views.unwrap_or_default()
    }

    /// The views that `subject` is to be asked with, and a word about them.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a threshold where there are not two classes, and for draws from nothing.
    pub(super) fn views(&self, host: &Host, subject: &Subject) -> Result<Views> {
        let classes = &subject.classes;
        if let Some(threshold) = self.threshold {
            let [_, second] = &classes[..] else {
                return Err(Error::new(Kind::Usage, "--threshold is only for models of two classes")
                    .fact("classes", listed(classes))
                    .help("leave --threshold out: of several classes the most probable is taken"));
            };
            host.say(format_args!("threshold  {second} above {threshold}"));
        }
        let [h, w] = subject.architecture.input;
        let plain = Views::plain(Size { h, w }, subject.preprocess.rule());
        match &self.tta {
            None => Ok(plain),
            Some(Tta::Flip) => {
                host.say("views      each image and its mirror image");
                Ok(plain.mirrored())
            }
            Some(Tta::Times { views, .. }) if *views <= 1 => Ok(plain),
            Some(Tta::Times { views, augment }) => {
                let augment = augment.as_ref().or(subject.augment.as_ref()).ok_or_else(|| {
                    Error::new(Kind::Usage, "--tta N has no augmentation to draw views from")
                        .fact("reason", "no augmentation is recorded for this model")
                        .help("give --augment book, or ranges such as --rotation 10, or take --tta flip")
                })?;
                host.say(format_args!("views      each image and {}: {augment}", counted(views - 1, "draw")));
                Ok(plain.drawn(augment, self.seed, views - 1))
            }
        }
    }

    /// The class by the threshold, if there is one: of a row of two probabilities.
    pub(super) fn class(&self, row: &[f32]) -> Option<usize> {
        let threshold = self.threshold?;
        Some(usize::from(*row.get(1)? > threshold))
    }
}
