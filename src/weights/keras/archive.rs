//! Keras 3's zip archive: what it is, how it is built, and its weights as HDF5, each an entry.

use super::config::Node;
use super::{Said, read_hdf5, remark, understand};
use crate::error::{Error, Kind, Result};
use crate::weights::contents::FileFormat;
use crate::weights::unzip::{self, Entry};
use serde_json::Value;
use std::path::Path;

const WEIGHTS: &str = "model.weights.h5";

/// Reads the archive `bytes`. Its weights stay where they are.
///
/// # Errors
/// [`Kind::Weights`] when the archive is damaged or has no weights, and those of the HDF5 file in it.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Said> {
    let entries = unzip::entries(path, bytes)?;
    let find = |name: &str| entries.iter().find(|entry| entry.name == name);
    let Some(weights) = find(WEIGHTS) else {
        let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        names.truncate(8);
        return Err(Error::new(
            Kind::Weights,
            format!("there are no weights in the archive {}", path.display()),
        )
        .expected_got(format!("`{WEIGHTS}`"), unzip::shorten(&names.join(", ")))
        .help("save the model again with Keras: model.save(\"x.keras\")"));
    };
    // One wrong byte can give a layer another name.
    let json = |entry: Option<&Entry>| -> Result<Option<&str>> {
        let Some(entry) = entry else { return Ok(None) };
        unzip::verify(path, bytes, entry)?;
        Ok(bytes.get(entry.bytes.clone()).and_then(|bytes| str::from_utf8(bytes).ok()))
    };
    let config = json(find("config.json"))?.and_then(Node::parse);
    let mut said = read_hdf5(path, bytes, weights.bytes.clone(), config.as_ref())?;
    said.format = FileFormat::Keras;
    said.pools = understand(config.as_ref(), &mut said.metadata);
    let metadata = json(find("metadata.json"))?.and_then(|text| serde_json::from_str::<Value>(text).ok());
    for (name, value) in metadata.as_ref().and_then(Value::as_object).into_iter().flatten() {
        if let Some(text) = value.as_str() {
            remark(name, text, &mut said.metadata);
        }
    }
    Ok(said)
}
