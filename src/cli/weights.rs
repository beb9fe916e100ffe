//! `weights convert` and `weights inspect`.

use super::values::{float_type, key_value};
use crate::error::Result;
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
    /// Rewrite a weights file in another float type
    Convert {
        /// safetensors file to read
        from: PathBuf,
        /// safetensors file to write
        to: PathBuf,
        /// Write over a file that is there
        #[arg(long)]
        force: bool,
        /// Float type of the new file
        #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = float_type)]
        dtype: FloatType,
        /// A remark to keep in the new file, such as its licence; may be given more than once
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
        metadata: Vec<(String, String)>,
    },
    /// List tensors: names, shapes, types, statistics
    Inspect {
        /// safetensors file; the repository's own if not given
        file: Option<PathBuf>,
    },
}

impl WeightsArgs {
    /// Does it.
    ///
    /// # Errors
    /// Those of the tasks.
    pub fn run(self, host: &Host) -> Result<()> {
        match self.command {
            WeightsCommand::Convert { from, to, force, dtype, metadata } => {
                task::convert(host, &from, &task::Output { path: to, force }, dtype, metadata)
            }
            WeightsCommand::Inspect { file } => task::inspect(host, file.as_deref()),
        }
    }
}
