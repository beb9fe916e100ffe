//! A network that can be asked about pictures: a run's, or that of a file with a classifier, ImageNet's or an export's.
//!
//! In: a folder or a file. Out: layers, classes, how pictures are fed, and the network on a device.

use super::Host;
use super::base::told;
use super::run::Run;
use super::weights::said_classes;
use crate::data::{Augment, Resize};
use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Head, Network, Preprocess, Pretrained, Source, imagenet};
use std::path::Path;
use std::rc::Rc;

/// What is asked, and how it sees.
pub(super) struct Subject {
    pub architecture: Architecture,
    /// In label order.
    pub classes: Vec<String>,
    pub preprocess: Preprocess,
    pub resize: Resize,
    /// What its training drew from, if it did.
    pub augment: Option<Augment>,
    /// In which numbers it was trained; of a file of weights nobody knows.
    pub precision: Option<Precision>,
    origin: Origin,
}

/// Where the weights are.
enum Origin {
    Run(Rc<Run>),
    File(Box<Pretrained>),
}

/// How pictures are fed, where the file of weights does not decide it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Feeding {
    /// Pixel scaling.
    pub preprocess: Option<Preprocess>,
    /// Way to size.
    pub resize: Option<Resize>,
}

/// The network of a file that has a classifier, ImageNet's or one of two dense layers as of an export, and its classes:
/// those that the file names, else numbers.
fn classifier(weights: &Pretrained) -> Result<Option<(Architecture, Vec<String>)>> {
    let lineage = weights.lineage();
    let Some(variant) = lineage.variant() else { return Ok(None) };
    if lineage.has_top() {
        let classes = imagenet::names().map(str::to_owned).collect();
        return Ok(Some((Architecture::vgg(variant, [224, 224])?.with_top()?, classes)));
    }
    let (&[units, outputs], Some(size)) = (&lineage.dense[..], weights.size()) else { return Ok(None) };
    if outputs == 2 {
        // Ours are one sigmoid.
        return Ok(None);
    }
    let classes = if outputs == 1 { 2 } else { outputs };
    let named = said_classes(weights);
    let names = if named.len() == classes { named } else { (0..classes).map(|at| at.to_string()).collect() };
    let head = Head { units, dropout: 0.0, classes };
    Ok(Some((Architecture::vgg(variant, size)?.with_head(head)?, names)))
}

impl Subject {
    /// That of a run.
    ///
    /// # Errors
    /// Of the run's files.
    pub fn of(run: Rc<Run>) -> Result<Self> {
        Ok(Self {
            architecture: run.architecture.clone(),
            classes: run.config.network.classes.clone(),
            preprocess: run.preprocess()?,
            resize: run.resize()?,
            augment: run.config.training.stages.iter().rev().find_map(|stage| stage.augment.clone()),
            precision: Some(run.config.training.precision),
            origin: Origin::Run(run),
        })
    }

    /// The run in the folder `path`, or the network in the file `path`, which must have a classifier.
    ///
    /// # Errors
    /// Of the run's files or the weights; [`Kind::Weights`] for a file without that classifier;
    /// [`Kind::Usage`] when a run is to be fed otherwise than it was trained.
    pub fn open(host: &Host, path: &Path, feeding: Feeding) -> Result<Self> {
        if path.is_file() {
            return Self::pretrained(host, path, feeding);
        }
        let given = [("--preprocess", feeding.preprocess.is_some()), ("--resize", feeding.resize.is_some())];
        if let Some((option, _)) = given.into_iter().find(|&(_, given)| given) {
            return Err(Error::new(Kind::Usage, format!("{option} is not for a run"))
                .fact("run", path.display())
                .help("a run feeds pictures as it was trained; leave the option out"));
        }
        let run = Rc::new(Run::open_unfinished(path)?);
        run.remark(host);
        Self::of(run)
    }

    fn pretrained(host: &Host, path: &Path, feeding: Feeding) -> Result<Self> {
        let mut weights = Pretrained::open(path)?;
        if let Some(preprocess) = feeding.preprocess {
            weights.feed(preprocess);
        }
        let lineage = weights.lineage();
        let (architecture, classes) = classifier(&weights)?.ok_or_else(|| {
            let dense: Vec<String> = lineage.dense.iter().map(usize::to_string).collect();
            let got = if dense.is_empty() { "a convolutional base".into() } else { dense.join(", ") };
            Error::new(Kind::Weights, format!("{} has no classifier that can be asked", path.display()))
                .expected_got("dense layers of 4096, 4096 and 1000, or two and the size of the pictures", got)
                .fact("known", lineage.reasons.join("; "))
                .help("`vgg-ft weights fetch vgg16` gets a file with it; or name the folder of a run")
        })?;
        // What Keras and torchvision feed their own networks; of other networks as a run, if it was not asked otherwise.
        let preprocess = feeding.preprocess.map_or_else(|| told(&weights), Ok)?;
        let bilinear = preprocess == Preprocess::Torch && lineage.has_top();
        let way = if bilinear { Resize::Bilinear } else { Resize::Nearest };
        let resize = feeding.resize.unwrap_or(way);
        host.say(format_args!("weights    {}\n{lineage}", path.display()));
        let [h, w] = architecture.input;
        host.say(format_args!("input      {h}x{w} by {resize}, {}", preprocess.description()));
        Ok(Self {
            architecture,
            classes,
            preprocess,
            resize,
            augment: None,
            precision: None,
            origin: Origin::File(Box::new(weights)),
        })
    }

    /// The network.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is damaged or of other sizes than was said; the device's.
    pub fn network(&self, host: &Host) -> Result<Network> {
        match &self.origin {
            Origin::Run(run) => run.network(host),
            Origin::File(weights) => {
                Network::new(host.device.as_ref(), self.architecture.clone(), |_| Source::File(weights))
            }
        }
    }
}
