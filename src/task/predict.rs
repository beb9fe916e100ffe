//! `predict`: pictures of unknown class.

use super::Host;
use super::run::Run;
use crate::data::{Batch, Size, load};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::train::{input, predict as probabilities};
use rayon::prelude::*;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// What to classify.
#[derive(Clone, Debug)]
pub struct Predict {
    /// The run folder.
    pub run: PathBuf,
    /// The pictures.
    pub images: Vec<PathBuf>,
    /// How many classes to show.
    pub top: usize,
}

/// Pictures that go through the network together.
const BATCH: usize = 16;

/// Prints one line per picture. A picture that cannot be read is reported and the others go on.
///
/// # Errors
/// Of the run and the device; [`Kind::Data`] at the end when some pictures could not be read.
pub fn predict(host: &Host, job: &Predict) -> Result<()> {
    host.introduce();
    let run = Run::open(&job.run)?;
    let network = run.network(host)?;
    let size = Size { h: run.architecture.input[0], w: run.architecture.input[1] };
    let resize = run.resize()?;
    let rule = run.preprocess()?.rule();
    let classes = &run.config.network.classes;
    let mut unreadable = 0;
    for paths in job.images.chunks(BATCH) {
        interrupt::check()?;
        let loaded: Vec<_> = paths.par_iter().map(|path| load(path, size, resize)).collect();
        let mut readable = Vec::new();
        let mut pixels = Vec::new();
        for (path, picture) in paths.iter().zip(loaded) {
            match picture {
                Ok(picture) => {
                    readable.push(path);
                    pixels.extend(picture);
                }
                Err(error) => {
                    unreadable += 1;
                    // Said even with --quiet: it is an error.
                    let _ = writeln!(std::io::stderr(), "error: {error}");
                }
            }
        }
        if readable.is_empty() {
            continue;
        }
        let indices = (0..readable.len() as u32).collect();
        let batch = Batch { indices, pixels, labels: Vec::new() };
        let device = host.device.as_ref();
        let rows = probabilities(device, &network, 0, input(device, &batch, size, rule)?)?;
        for (path, row) in readable.into_iter().zip(rows) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            // Stable, so equals stay in class order.
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            order.truncate(job.top);
            let shown: Vec<String> =
                order.iter().map(|&k| format!("{}\t{:.4}", classes[k], row[k])).collect();
            let top: Vec<_> =
                order.iter().map(|&k| json!({ "class": classes[k], "probability": row[k] })).collect();
            host.result(
                &format!("{}\t{}", path.display(), shown.join("\t")),
                &json!({ "image": path, "top": top }),
            )?;
        }
    }
    if unreadable > 0 {
        return Err(Error::new(
            Kind::Data,
            format!("{unreadable} of {} pictures could not be read", job.images.len()),
        )
        .help("the errors above say which and why; the other pictures were classified"));
    }
    Ok(())
}
