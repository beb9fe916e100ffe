//! What every task needs: a device, a voice, and the weights of the convolutional base.

use crate::device::gpu::tried;
use crate::device::{Device, cpu};
use crate::error::{Error, Kind, Result, in_one_line, visible};
use crate::model::{Architecture, Network, Preprocess, Pretrained, Source};
use crate::report::Progress;
use crate::weights::{DEFAULT_NAME, DEFAULT_SHA256, find_default};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Where tasks compute and how they speak.
pub struct Host {
    /// The device that was chosen.
    pub device: Box<dyn Device>,
    /// Why it is this one, if nobody named it and it is not the best there could be.
    pub reason: Option<String>,
    /// How it would be faster.
    pub advice: Option<String>,
    /// Results as JSON.
    pub json: bool,
    /// No remarks on stderr.
    pub quiet: bool,
}

/// An error on stderr, in one piece: other processes may write there, too. The exit code still tells when nobody reads it.
pub fn tell(error: &Error, json: bool) {
    let _ = std::io::stderr().write_all((error.told(json) + "\n").as_bytes());
}

impl Host {
    /// A remark on stderr, in one line whatever names are in it; before it an empty one, where it begins with a line end.
    pub fn say(&self, remark: impl std::fmt::Display) {
        let remark = remark.to_string();
        match remark.strip_prefix('\n') {
            Some(line) => self.say_lines(format_args!("\n{}", in_one_line(line))),
            None => self.say_lines(in_one_line(&remark)),
        }
    }

    /// A remark that begins with "note: ".
    pub fn note(&self, remark: impl std::fmt::Display) {
        self.say(format_args!("note: {remark}"));
    }

    /// A remark of several lines.
    pub fn say_lines(&self, remark: impl std::fmt::Display) {
        if !self.quiet {
            // A closed stderr is no reason to fail the work.
            // In one piece: other processes may write there, too.
            let _ = std::io::stderr().write_all((visible(&remark.to_string()) + "\n").as_bytes());
        }
    }

    /// An error that does not end the work. Said even with `quiet`.
    pub fn complain(&self, error: &Error) {
        tell(error, self.json);
    }

    /// The name of what computes, as `vgg-ft devices` has it.
    pub fn name(&self) -> String {
        self.device.describe().name
    }

    /// Progress of long work on stderr.
    pub fn progress(&self, what: &str, total: usize, unit: &str) -> Progress {
        if self.quiet { Progress::silent() } else { Progress::new(what, total as u64, unit) }
    }

    /// A result on stdout: `text` for people, `value` with `--json`.
    ///
    /// # Errors
    /// [`Kind::Io`] when stdout is full; a reader that went away is no error.
    pub fn result(&self, text: &str, value: &impl Serialize) -> Result<()> {
        let mut line = if self.json {
            serde_json::to_string(value)
                .map_err(|e| Error::new(Kind::Io, "a result cannot be written as JSON").fact("reason", e))?
        } else {
            visible(text.trim_end())
        };
        line.push('\n');
        self.write(line.as_bytes()).map(|_| ())
    }

    /// Bytes on stdout; false once the reader has gone away.
    ///
    /// # Errors
    /// [`Kind::Io`] when stdout is full.
    pub fn write(&self, bytes: &[u8]) -> Result<bool> {
        match std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(Error::io("write", Path::new("stdout"), &e)),
        }
    }

    /// What the device counted, for `--json`; the counts that are not 0 as a remark, too.
    pub fn counted(&self) -> serde_json::Map<String, serde_json::Value> {
        let counters = self.device.counters();
        let some: Vec<_> =
            counters.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
        if !some.is_empty() {
            self.say(format_args!("counted    {}", some.join(", ")));
        }
        counters.into_iter().map(|(name, count)| (name.replace(' ', "_"), count.into())).collect()
    }

    /// "cuda:0 (9.0, winograd) f32", "cpu (AVX2+FMA) f32": device and precision, and what else decides the last bits of
    /// numbers.
    pub fn computes(&self) -> String {
        let bits = self.device.kernels().map_or_else(
            || cpu::instructions().to_owned(),
            |(capability, kernels)| {
                let tried = tried::described().unwrap_or_default();
                format!("{}.{}, {kernels}{tried}", capability / 10, capability % 10)
            },
        );
        format!("{} ({bits}) {}", self.name(), self.device.precision())
    }

    /// Says what computes, how precisely.
    pub fn introduce(&self) {
        let (device, precision) = (self.device.describe(), self.device.precision());
        self.say(format_args!("device     {} ({}), precision {precision}", device.name, device.hardware));
        if let Some(reason) = &self.reason {
            self.say(format_args!("           chosen because: {reason} (`vgg-ft devices` says more)"));
        }
        if let Some(advice) = &self.advice {
            self.say(format_args!("           {advice}"));
        }
    }
}

/// How images are scaled for the weights in `file`, or those used by default, when nobody says it: as these were
/// trained.
///
/// # Errors
/// Those of [`Pretrained::open`]; [`Kind::Usage`] when nothing tells.
pub fn scaling(file: Option<&Path>) -> Result<Preprocess> {
    told(&Pretrained::open(&file.map_or_else(find_default, |path| Ok(path.to_owned()))?)?)
}

/// How images are scaled for `weights`.
///
/// # Errors
/// [`Kind::Usage`] when nothing tells.
pub(super) fn told(weights: &Pretrained) -> Result<Preprocess> {
    weights.lineage().recipe().ok_or_else(|| {
        let file = weights.weights().path().display();
        Error::new(Kind::Usage, format!("{file} does not tell how images are scaled"))
            .fact("reason", weights.lineage().reasons.join("; "))
            .help(
                "give --preprocess caffe (BGR minus the mean), torch (RGB/255, mean and deviation) or notebook \
                 (RGB/255)",
            )
    })
}

/// The weights of a convolutional base.
pub struct Base {
    /// The mapped file, understood.
    pub weights: Pretrained,
    /// Its SHA-256.
    pub sha256: String,
}

impl Base {
    /// Opens `path`, or the repository's own file, for images that are scaled by `used`, and says which it is; and that
    /// they are scaled otherwise than it was trained with, if they are.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is none or it is damaged.
    pub fn open(host: &Host, path: Option<&Path>, used: Preprocess) -> Result<Self> {
        let path = path.map_or_else(find_default, |path| Ok(path.to_owned()))?;
        let mut weights = Pretrained::open(&path)?;
        let own = weights.lineage().recipe();
        weights.feed(used);
        let sha256 = weights.weights().sha256();
        host.say(format_args!("weights    {} (sha256 {}…)", path.display(), &sha256[..12]));
        let named = sha256 != DEFAULT_SHA256;
        if named && path.file_name().is_some_and(|name| name == DEFAULT_NAME) {
            host.note(format_args!(
                "this file has the name of the one that comes with vgg-ft (sha256 {}…), but is another, or damaged",
                &DEFAULT_SHA256[..12]
            ));
        }
        if named {
            let lineage = weights.lineage();
            host.say(format_args!("           {}, {}", lineage.format, lineage.reasons.join("; ")));
        }
        if let Some(own) = own.filter(|own| named && *own != used) {
            host.note(format_args!("these weights were trained with --preprocess {own}, not {used}"));
        }
        Ok(Self { weights, sha256 })
    }

    /// `architecture` with this base; layers above it begin at random from `seed`, or, without one, as the file has them.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is of another network.
    pub fn network(&self, host: &Host, architecture: Architecture, seed: Option<u64>) -> Result<Network> {
        // The first convolutions of a deeper VGG would fit, and be another network's.
        if let Some(network) = &self.weights.lineage().network
            && *network != architecture.name
        {
            let file = self.weights.weights().path().display();
            return Err(Error::new(Kind::Weights, format!("{file} holds the weights of another network"))
                .expected_got(&architecture.name, network)
                .help(format!("give `--network {network}`, or other weights")));
        }
        Network::new(host.device.as_ref(), architecture, |layer| match seed {
            Some(seed) if !layer.starts_with("block") => Source::Glorot { seed },
            _ => Source::File(&self.weights),
        })
    }
}
