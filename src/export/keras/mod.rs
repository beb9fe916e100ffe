//! Keras' containers: the configuration that rebuilds the layers, and the groups that hold their weights.
//!
//! The network is one flat `Sequential`, so `get_layer("block5_conv3")` finds every layer of the base
//! (for Grad-CAM, for unfreezing) where a nested base would hide them. Training's state is not in the
//! file: compile before training on.

mod config;
mod groups;

use super::model::Model;
use super::{Dialect, Layout};
use crate::error::{Error, Kind, Result};
use crate::weights::hdf5::Group;
use crate::weights::zip;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// The whole model, legacy HDF5.
///
/// # Errors
/// Those of [`Model::tensors`].
pub fn model_h5<'a>(model: &Model<'a>, dialect: Dialect) -> Result<Group<'a>> {
    let mut root = Group::default();
    root.text("backend", "tensorflow");
    root.text("keras_version", dialect.version());
    root.text("model_config", config::sequential(model, dialect).to_string());
    remark(&mut root, model);
    groups::legacy(model, dialect, root.group("model_weights"))?;
    Ok(root)
}

/// The weights alone, legacy HDF5.
///
/// # Errors
/// Those of [`Model::tensors`].
pub fn weights_h5<'a>(model: &Model<'a>, dialect: Dialect) -> Result<Group<'a>> {
    let mut root = Group::default();
    groups::legacy(model, dialect, &mut root)?;
    remark(&mut root, model);
    Ok(root)
}

/// The weights alone as Keras 3 writes them: what is in a `.keras` archive as `model.weights.h5`.
///
/// # Errors
/// Those of [`Model::tensors`].
pub fn weights<'a>(model: &Model<'a>) -> Result<Group<'a>> {
    let mut root = Group::default();
    groups::numbered(model, &mut root)?;
    remark(&mut root, model);
    Ok(root)
}

/// The `.keras` archive. No date in it, so that the same run makes the same bytes.
///
/// # Errors
/// Those of [`Model::tensors`] and of the zip archive.
pub fn archive(model: &Model<'_>, out: &mut dyn Write) -> Result<()> {
    let mut metadata = json!({ "keras_version": Dialect::Keras3.version() });
    for (key, text) in model.remarks(Layout::Nhwc) {
        metadata[key] = text.into();
    }
    let config = config::archive(model).to_string();
    // The archive's metadata.json has the remarks.
    let (mut root, mut bytes) = (Group::default(), Vec::new());
    groups::numbered(model, &mut root)?;
    root.write(&mut bytes)?;
    let metadata = metadata.to_string();
    let entries: [zip::Entry<'_>; 3] = [
        ("metadata.json".into(), metadata.as_bytes()),
        ("config.json".into(), config.as_bytes()),
        ("model.weights.h5".into(), &bytes),
    ];
    if !zip::fits(&entries, 1) {
        return Err(Error::new(Kind::Weights, "the network is too large for a zip archive")
            .expected_got("less than 4 GiB", format!("{} bytes", zip::size(&entries, 1)))
            .help("export it as keras-h5, which has no such limit"));
    }
    zip::write(out, &entries, 1).map_err(|e| Error::io("write", Path::new("the archive"), &e))
}

/// Keras reads attributes by name and leaves others alone.
fn remark(root: &mut Group<'_>, model: &Model<'_>) {
    for (key, text) in model.remarks(Layout::Nhwc) {
        root.text(key, text);
    }
}

impl Dialect {
    /// The oldest Keras whose files look like this.
    fn version(self) -> &'static str {
        match self {
            Self::Keras2 => "2.15.0",
            Self::Keras3 => "3.0.0",
        }
    }
}
