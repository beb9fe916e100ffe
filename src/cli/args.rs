//! What can be typed: clap definitions, pure data.

use super::arrange::ArrangeArgs;
use super::augment::AugmentCommandArgs;
use super::bench::BenchArgs;
use super::check::CheckArgs;
use super::emulate::EmulateArgs;
use super::evaluate::EvaluateArgs;
use super::export::ExportArgs;
use super::extract::ExtractArgs;
use super::finetune::{DemoArgs, FinetuneArgs};
use super::fit::FitArgs;
use super::look::{CompareArgs, ReportArgs};
use super::notebook::NotebookArgs;
use super::predict::PredictArgs;
use super::resume::ResumeArgs;
use super::summary::SummaryArgs;
use super::values::{kernels, launches, precision, preprocess, resize, size, variant};
use super::weights::WeightsArgs;
use crate::data::Resize;
use crate::device::{DeviceName, Kernels, Launches, Precision};
use crate::model::{Preprocess, Variant};
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Fine-tune VGG16 on your own images.
#[derive(Debug, Parser)]
#[command(
    name = "vgg-ft",
    version,
    about,
    after_help = "Start with `vgg-ft demo`, or `vgg-ft finetune DATA -o RUN` on a folder with one folder per class.\n\n\
        Exit codes: 0 done; 1 the job failed; 2 the command is wrong: unknown or conflicting options, or a path that is \
        missing or not what it should be; after a stop 128 and the signal's number: 130 (Ctrl-C), 143 (SIGTERM)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where to compute: auto (a GPU if there is one, else cpu), cpu, cuda, cuda:N, emulator (our PTX
    /// machine runs the CUDA kernels), emulator:checked (and looks for races and unwritten memory)
    #[arg(help_heading = "Device", long, global = true, value_name = "DEVICE", default_value = "auto", value_parser = DeviceName::parse)]
    pub device: DeviceName,
    /// Number format of products and stored activations on a GPU (or the emulator): f32; tf32x3 (tensor-core
    /// convolutions, three products for one, as exact as f32); tf32 (one product, stored as f32); bf16 (stored in half
    /// the memory, too); f16 (like bf16, for GPUs since Turing, with loss scaling). Weights and sums are always f32.
    /// f32 if not given; `resume` and `finetune --config` take the job's
    #[arg(help_heading = "Device", long, global = true, value_name = "PRECISION", value_parser = precision())]
    pub precision: Option<Precision>,
    /// Convolution kernels of a GPU (or the emulator): auto (winograd for f32; on Hopper sm90a for bf16 and tf32; else
    /// portable), portable (for all GPUs; each sum as the formula says), winograd (f32 only: a quarter of the
    /// multiply-adds), sm90a (bf16 and tf32 on Hopper only: TMA and wgmma). Changes the last bits of results; not part
    /// of a job: give it again to `resume`
    #[arg(help_heading = "Device", long, global = true, value_name = "KERNELS", default_value = "auto", value_parser = kernels())]
    pub kernels: Kernels,
    /// When each kernel of a step starts on a GPU: serial (after the previous one), programmatic (while its last
    /// blocks still run, if both are compiled for Hopper; needs a driver for CUDA 12.3; on an H200 steps are not
    /// faster). Results are the same bit for bit
    #[arg(help_heading = "Device", long, global = true, value_name = "LAUNCHES", default_value = "serial", value_parser = launches())]
    pub launches: Launches,
    /// On a GPU, wait after each kernel, so that errors name the kernel that failed; slow
    #[arg(help_heading = "Device", long, global = true, env = "VGG_FT_SYNC", value_parser = FalseyValueParser::new())]
    pub sync: bool,
    /// Threads of the device and of decoding, 512 at most; all cores if not given
    #[arg(help_heading = "Device", long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,
    /// Print results as JSON on stdout, and errors as lines of JSON on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no remarks on stderr, only errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a folder per class, and splits, of images with a list of labels, or whose names tell their classes
    Arrange(ArrangeArgs),
    /// Check a data set before training: images that are broken, duplicated or not seen as they should be
    Check(CheckArgs),
    /// Print the table of layers: shapes, parameters, what learns
    Summary(SummaryArgs),
    /// Run images through the frozen base and keep the activations on disk (`fit --pooling avg` takes their means)
    Extract(ExtractArgs),
    /// Train a dense classifier on extracted features
    Fit(FitArgs),
    /// The main job: extract, train a classifier, unfreeze, train jointly, evaluate, save
    Finetune(FinetuneArgs),
    /// The book's chapter in one command: features, augmentation, fine-tuning, test
    Notebook(NotebookArgs),
    /// Go on with a run that was stopped
    Resume(ResumeArgs),
    /// Loss, accuracy and confusion matrix of a run on labelled images
    Evaluate(EvaluateArgs),
    /// Classify images with a run
    Predict(PredictArgs),
    /// Look at what training would do to images
    Augment(AugmentCommandArgs),
    /// Write a run's report.html anew: curves, scores, mistakes, configuration
    Report(ReportArgs),
    /// Runs side by side, as a table and as curves
    Compare(CompareArgs),
    /// Write a run's network as a file for Keras, ONNX Runtime or PyTorch
    Export(ExportArgs),
    /// Draw a small image set and run the main job on it
    Demo(DemoArgs),
    /// Convert and inspect weights files
    Weights(WeightsArgs),
    /// List the devices of this machine, and why others cannot be used
    Devices,
    /// What a step asks of a GPU, kernel by kernel, and how long it should take: on paper, without a GPU
    Bench(BenchArgs),
    /// Run one CUDA kernel without a GPU: checked, compared with the cpu, counted line by line
    Emulate(EmulateArgs),
}

/// Which network, on what input.
#[derive(Args, Clone, Debug)]
pub struct NetworkArgs {
    /// Network
    #[arg(long, value_name = "NAME", default_value = "vgg16", value_parser = variant())]
    pub network: Variant,
    /// Image size in pixels: one number, or HEIGHTxWIDTH
    #[arg(long, alias = "image-size", value_name = "SIZE", default_value = "150", value_parser = size)]
    pub size: [usize; 2],
}

/// How images become input.
#[derive(Args, Clone, Debug)]
pub struct ImageArgs {
    /// Pixel scaling: `caffe` (what Keras' ImageNet weights were trained with), `torch` (torchvision's), or
    /// `notebook` (RGB/255); what the weights were trained with if not given
    #[arg(long, value_name = "RECIPE", value_parser = preprocess())]
    pub preprocess: Option<Preprocess>,
    /// How images are brought to size: squeezed into it, or with `crop-…` cut to its shape first; with `upright-…`
    /// turned first as their EXIF orientation says
    #[arg(long, value_name = "METHOD", default_value = "nearest", value_parser = resize())]
    pub resize: Resize,
    /// Weights of the convolutional base, of Keras (.h5, .keras), PyTorch (.pth), timm (.safetensors) or ONNX; the
    /// ImageNet weights of this repository if not given
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}

/// How folders are read.
#[derive(Args, Clone, Debug)]
pub struct ReadingArgs {
    /// End at the first image that cannot be read, instead of listing and skipping it
    #[arg(long)]
    pub strict: bool,
    /// Folder for decoded images, kept between runs; $VGG_FT_CACHE or ~/.cache/vgg-ft if not given
    // The variable is not clap's business: it would count as given, against --no-cache.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Decode into memory and keep nothing
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::finetune::{RATE, UNFREEZE_FROM};
    use crate::cli::train::{HEAD_RATE, SMALL_HEAD_RATE, SMALLEST_HEAD_RATE};
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_says_the_defaults_that_are_taken() {
        let command = Cli::command();
        let rates = format!(
            "{HEAD_RATE:e}; with --pooling avg or --units 0 {SMALL_HEAD_RATE:e}, with both {SMALLEST_HEAD_RATE:e}"
        );
        let fit = command.find_subcommand("fit").unwrap().get_arguments().find(|arg| arg.get_id() == "rate");
        assert!(fit.unwrap().get_help().unwrap().to_string().contains(&rates));
        let finetune = command.find_subcommand("finetune").unwrap();
        for (option, taken) in
            [("head_rate", rates), ("rate", format!("{RATE:e}")), ("unfreeze_from", UNFREEZE_FROM.to_owned())]
        {
            let all = finetune.get_arguments().find(|arg| arg.get_id() == option).unwrap();
            let help = all.get_help().unwrap().to_string();
            assert!(help.contains(&format!("[default: {taken}]")), "{option}: {help}");
        }
    }
}
