//! A network that can be asked about images: a run's, or that of a file with a classifier, ImageNet's or an export's.
//!
//! In: a folder or a file. Out: layers, classes, how images are fed, and the network on a device.

use super::Host;
use super::base::told;
use super::feeding::{Feeding, remark};
use super::run::{Run, Stopped};
use super::weights;
use crate::data::{Augment, Resize};
use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Network, Output, Preprocess, Pretrained, Source};
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
    /// Where the run was stopped, if it is not finished.
    pub stopped: Option<Stopped>,
    origin: Origin,
}

/// Where the weights are.
enum Origin {
    Run(Rc<Run>),
    File(Box<Pretrained>),
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
            stopped: run.stopped(),
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
        let given = [
            ("--size", feeding.size.is_some()),
            ("--preprocess", feeding.preprocess.is_some()),
            ("--resize", feeding.resize.is_some()),
        ];
        if let Some((option, _)) = given.into_iter().find(|&(_, given)| given) {
            return Err(Error::new(Kind::Usage, format!("{option} is not for a run"))
                .fact("run", path.display())
                .help("a run feeds images as it was trained; leave the option out"));
        }
        let run = Rc::new(Run::open_unfinished(path)?);
        run.remark(host);
        Self::of(run)
    }

    fn pretrained(host: &Host, path: &Path, feeding: Feeding) -> Result<Self> {
        let mut found = Pretrained::open(path)?;
        if let Some(preprocess) = feeding.preprocess {
            found.feed(preprocess);
        }
        let lineage = found.lineage();
        let help = "`vgg-ft weights fetch vgg16` gets a file with a classifier; or name the folder of a run";
        let architecture = weights::architecture(&found, feeding.size, help)?;
        let outputs = match architecture.output() {
            Output::Features => {
                let error = Error::new(Kind::Weights, format!("{} has no classifier to ask", path.display()));
                return Err(error.fact("known", lineage.reasons.join("; ")).help(help));
            }
            Output::Sigmoid => 2,
            Output::Softmax(classes) => classes,
        };
        let mut classes = weights::classes(&found);
        if classes.len() != outputs {
            classes = (0..outputs).map(|at| at.to_string()).collect();
        }
        // What Keras and torchvision feed their own networks; of other networks as a run, if it was not asked otherwise.
        let preprocess = feeding.preprocess.map_or_else(|| told(&found), Ok)?;
        let bilinear = preprocess == Preprocess::Torch && lineage.has_top();
        let way = if bilinear { Resize::BILINEAR } else { Resize::NEAREST };
        let said = || found.said("resize").and_then(|word| word.parse().ok());
        let resize = feeding.resize.or_else(said).unwrap_or(way);
        host.say_lines(format_args!("weights    {}\n{lineage}", path.display()));
        remark(host, &found, feeding, "used");
        let [h, w] = architecture.input;
        host.say(format_args!("input      {h}x{w} by {resize}, {}", preprocess.description()));
        Ok(Self {
            architecture,
            classes,
            preprocess,
            resize,
            augment: None,
            precision: None,
            stopped: None,
            origin: Origin::File(Box::new(found)),
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
