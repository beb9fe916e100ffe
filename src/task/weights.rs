//! `weights convert` and `weights inspect`.

use super::Host;
use super::output::Output;
use crate::error::Result;
use crate::weights::{self, FloatType, find_default};
use std::path::Path;

/// Rewrites a file in another float type, with `metadata` added to what the file says of itself.
///
/// # Errors
/// [`Kind::Weights`](crate::error::Kind::Weights) when the file is refused; those of [`Output`]; the new file's I/O.
pub fn convert(
    host: &Host,
    from: &Path,
    to: &Output,
    float: FloatType,
    metadata: Vec<(String, String)>,
) -> Result<()> {
    to.format(&[("safetensors", ())])?;
    to.check()?;
    let report = weights::convert(from, &to.path, float, &metadata.into_iter().collect())?;
    host.result(&report.to_string(), &report)
}

/// Lists a file's tensors.
///
/// # Errors
/// [`Kind::Weights`](crate::error::Kind::Weights) when the file is refused.
pub fn inspect(host: &Host, file: Option<&Path>) -> Result<()> {
    let found;
    let path = match file {
        Some(path) => path,
        None => {
            found = find_default()?;
            &found
        }
    };
    let table = weights::inspect(path)?;
    host.result(&table.to_string(), &table)
}
