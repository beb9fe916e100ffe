//! `weights`: files of weights inspected, converted, compared.

use super::default_cache;
use super::export::{ENDINGS, FormatName, LayoutName};
use super::values::{float_type, key_value, preprocess, size};
use crate::error::Result;
use crate::model::Preprocess;
use crate::task::{self, Host};
use crate::weights::FloatType;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `weights`
#[derive(Args, Debug)]
pub struct WeightsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: WeightsCommand,
}

/// The subcommands of `weights`.
#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// Rewrite a weights file in another format or float type
    Convert(ConvertArgs),
    /// List tensors (names, shapes, types, statistics) and say what network they are
    Inspect {
        /// Weights of any format (.safetensors, .h5, .keras, .pth, .onnx); the repository's own if not given
        file: Option<PathBuf>,
    },
    /// Get an official file and verify its checksum; one already on this machine is used
    Fetch(FetchArgs),
    /// Compare two weights files tensor by tensor, whatever their formats
    Diff {
        /// One file
        a: PathBuf,
        /// Another
        b: PathBuf,
    },
}

/// `weights fetch`
#[derive(Args, Debug)]
pub struct FetchArgs {
    /// Which: vgg16, vgg16-notop, torchvision-vgg16 … (--list names all)
    #[arg(required_unless_present = "list")]
    pub name: Option<String>,
    /// List what there is
    #[arg(long, conflicts_with_all = ["name", "output", "force"])]
    pub list: bool,
    /// Where to; into the cache if not given
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Open no connection: look on this machine only
    #[arg(long, env = "VGG_FT_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,
    /// Address of a folder that has the files under their names, in place of the publishers'
    #[arg(long, value_name = "URL", env = "VGG_FT_MIRROR", hide_env_values = true)]
    pub mirror: Option<String>,
    /// Cache folder; $VGG_FT_CACHE or ~/.cache/vgg-ft if not given
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

impl FetchArgs {
    fn run(self, host: &Host) -> Result<()> {
        let Some(name) = self.name else { return task::fetchable(host) };
        let set = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let job = task::Fetch {
            name,
            output: self.output.map(|path| task::Output { path, force: self.force }),
            cache: self.cache.or_else(default_cache),
            mirror: set(self.mirror),
            offline: self.offline,
        };
        task::fetch(host, &job)
    }
}

/// `weights convert`
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// File to read: .safetensors, .h5, .weights.h5, .keras, .pth, .onnx
    pub from: PathBuf,
    /// File to write
    pub to: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Format of the new file; as its name ends (.h5, .weights.h5, .keras, .onnx, .pth) if not given, and Keras'
    /// names for .safetensors
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FormatName>,
    /// For safetensors: float type of the new file; f32 if not given
    #[arg(long, value_name = "TYPE", value_parser = float_type())]
    pub dtype: Option<FloatType>,
    /// For formats that hold layers or record a size: image size, one number or HEIGHTxWIDTH, where the file does not
    /// record it; 224 for a base alone
    #[arg(long, alias = "image-size", value_name = "SIZE", value_parser = size)]
    pub size: Option<[usize; 2]>,
    /// Pixel scaling that the weights were trained with, where the file does not tell it
    #[arg(long, value_name = "RECIPE", value_parser = preprocess())]
    pub preprocess: Option<Preprocess>,
    /// For keras-h5 and keras-h5-weights: 2, which Keras 3 reads too, or 3, as Keras 3 alone writes it
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(2..=3))]
    pub keras_version: Option<u8>,
    /// For onnx: the axes of the input; nhwc if not given
    #[arg(long, value_enum, value_name = "AXES")]
    pub layout: Option<LayoutName>,
    /// For safetensors: a remark to keep in the new file, such as its licence; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
}

impl ConvertArgs {
    fn job(self) -> Result<task::Convert> {
        let to = task::Output { path: self.to, force: self.force };
        let name = self.format.map_or_else(|| FormatName::of(&to, &ENDINGS), Ok)?;
        let format = name.format(self.keras_version, self.layout)?;
        let Self { from, dtype: float, size, preprocess, metadata, .. } = self;
        Ok(task::Convert { from, to, format, float, size, preprocess, metadata })
    }
}

impl WeightsArgs {
    /// Does it.
    ///
    /// # Errors
    /// Those of the tasks.
    pub fn run(self, host: &Host) -> Result<()> {
        match self.command {
            WeightsCommand::Convert(args) => task::convert(host, &args.job()?),
            WeightsCommand::Inspect { file } => task::inspect(host, file.as_deref()),
            WeightsCommand::Fetch(args) => args.run(host),
            WeightsCommand::Diff { a, b } => task::diff(host, &a, &b),
        }
    }
}
