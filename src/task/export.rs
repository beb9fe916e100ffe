//! `export`: a run's network as a file for other tools.

use super::Host;
use super::output::{self, Output};
use super::run::Run;
use crate::data::Resize;
use crate::error::{Error, Kind, Result};
use crate::export::{Format, Model, torch_recipe, write};
use crate::files;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What to write from which run.
#[derive(Clone, Debug)]
pub struct Export {
    /// The run folder.
    pub run: PathBuf,
    /// The kind of file.
    pub format: Format,
    /// The file.
    pub output: Output,
    /// The scaling of pixels becomes a part of the network.
    pub with_preprocessing: bool,
}

/// Writes the file, says what its reader must know, and prints path, bytes and SHA-256.
///
/// # Errors
/// [`Kind::Usage`] when there is a file and `force` is not given; of the run; of the format.
pub fn export(host: &Host, job: &Export) -> Result<()> {
    let (output, name) = (&job.output.path, job.output.path.display());
    check_ending(output, job.format)?;
    job.output.check()?;
    let run = Run::open(&job.run)?;
    let weights = run.weights()?;
    let classes = &run.config.network.classes;
    let mut model =
        Model::new(&run.architecture, &weights, run.preprocess()?, classes).resized_by(Some(run.resize()?));
    if job.with_preprocessing {
        model = model.with_preprocessing();
    }
    write(output, &model, job.format)?;
    describe(host, &model, job.format);
    let (bytes, sha256) = files::sha256_file(output)?;
    host.result(
        &format!("{name}\t{bytes} bytes\tsha256 {sha256}"),
        &json!({
            "path": files::shown(output),
            "bytes": bytes,
            "sha256": sha256,
            "format": job.format.name(),
            "size": run.architecture.input,
            "preprocess": model.preprocess().name(),
            "with_preprocessing": job.with_preprocessing,
            "resize": run.resize()?.name(),
            "classes": classes,
        }),
    )
}

/// Says what whoever uses the file must know.
pub(super) fn describe(host: &Host, model: &Model<'_>, format: Format) {
    let [h, w] = model.architecture().input;
    let by = model.resize().map_or(String::new(), |resize| format!(" by {resize}"));
    host.say(format_args!("input      {h}x{w}{by}, {}", model.input()));
    host.say(format_args!("output     {}", model.output()));
    if model.resize().is_some_and(Resize::is_upright) {
        host.note(
            "the network was trained on images turned by their EXIF orientation: turn yours, too, before you \
             feed it (PIL: ImageOps.exif_transpose)",
        );
    }
    if model.resize().is_some_and(Resize::crops) {
        host.note(
            "the network was trained on the middle of images, cut to the shape of its input: cut yours, too \
             (Keras: load_img(..., keep_aspect_ratio=True))",
        );
    }
    if format == Format::Torch {
        let resize = model.resize().map_or(String::new(), |resize| format!(" --resize {resize}"));
        host.note(format_args!(
            "a .pth does not record image size and scaling; when vgg-ft reads it again, give --size {h}x{w} \
             --preprocess {}{resize}",
            model.preprocess()
        ));
    }
    if matches!(format, Format::Torchvision | Format::Torch) {
        host.say_lines(format_args!("torch      {}", torch_recipe(model)));
    }
}

/// Endings that say what is in a file.
const ENDINGS: [(&str, &str); 7] = [
    ("keras", "a Keras model"),
    ("pth", "PyTorch"),
    ("pt", "PyTorch"),
    ("h5", "HDF5"),
    ("hdf5", "HDF5"),
    ("onnx", "ONNX"),
    ("safetensors", "safetensors"),
];

/// Keras looks at a file's name before it looks inside, and people do, too.
pub(super) fn check_ending(path: &Path, format: Format) -> Result<()> {
    // That it is a folder is said by `Output::check`.
    if path.is_dir() {
        return Ok(());
    }
    let name = path.to_string_lossy();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    // A name that says nothing is no lie.
    let says = |what: &str| output::named(path, &ENDINGS).is_none_or(|said| said == what);
    let (fits, expected) = match format {
        Format::Keras => (ends(&[".keras"]), ".keras"),
        // That ending is kept for another layout, with numbers in place of names.
        Format::KerasH5(_) | Format::KerasH5Weights(_) => {
            (ends(&[".h5", ".hdf5"]) && !ends(&[".weights.h5"]), ".h5 or .hdf5, but not .weights.h5")
        }
        Format::Onnx(_) => (says("ONNX"), ".onnx"),
        Format::KerasWeights => (ends(&[".weights.h5"]), ".weights.h5"),
        Format::Torch => (says("PyTorch"), ".pth"),
        Format::Torchvision | Format::Timm | Format::Safetensors => (says("safetensors"), ".safetensors"),
    };
    if fits {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("the name {name} does not fit this format"))
        .expected_got(format!("a name that ends in {expected}"), &name)
        .help("choose another name with -o, or another --format"))
}
