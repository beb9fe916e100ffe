//! The arguments of `bench`.

use super::args::NetworkArgs;
use super::values::{classes, gpu, pooling, positive, width};
use crate::device::{DeviceName, Kernels, Launches, Precision};
use crate::model::{Head, Pooling};
use crate::task;
use clap::Args;

/// `bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// List the launches of one step with bytes, operations and predicted times; measure nothing
    #[arg(long, required = true)]
    pub plan: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub network: NetworkArgs,
    /// Samples per step
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 20, value_parser = positive)]
    pub batch: usize,
    /// What the classifier takes of the last map: all its numbers, or the mean of each channel
    #[arg(long, value_name = "HOW", default_value = "flatten", value_parser = pooling())]
    pub pooling: Pooling,
    /// Units of the classifier's hidden layer; 0 for none
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = width)]
    pub units: usize,
    /// Classes of the classifier; two make one sigmoid unit
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = classes)]
    pub classes: usize,
    /// The first layer that learns, by default as in `finetune`; `dense` for the classifier alone
    #[arg(long, value_name = "LAYER", default_value = "block5_conv1", conflicts_with = "inference")]
    pub unfreeze_from: String,
    /// Begin at that layer, with activations that were kept, as `finetune` does
    #[arg(long, conflicts_with = "inference")]
    pub from_features: bool,
    /// A forward pass instead of a step of training
    #[arg(long)]
    pub inference: bool,
    /// Which GPU; by default this machine's if it is one of these, else h100
    #[arg(long, value_name = "GPU", value_parser = gpu())]
    pub gpu: Option<String>,
}

impl BenchArgs {
    /// What is to be planned.
    pub fn job(
        self,
        device: DeviceName,
        precision: Precision,
        kernels: Kernels,
        launches: Launches,
    ) -> task::Bench {
        let number = if let DeviceName::Cuda { number } = device { number } else { None };
        task::Bench {
            variant: self.network.network,
            size: self.network.size,
            head: Head { pooling: self.pooling, units: self.units, dropout: 0.5, classes: self.classes },
            batch: self.batch,
            unfreeze_from: self.unfreeze_from,
            from_features: self.from_features,
            inference: self.inference,
            gpu: self.gpu,
            number,
            precision,
            kernels,
            launches,
        }
    }
}
