//! `summary`: the table of layers.

use super::Host;
use super::run::Run;
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Head, Trainable, Variant};
use crate::report::{Row, Table, Weight};
use serde_json::json;
use std::path::PathBuf;

/// What stands on the base.
#[derive(Clone, Copy, Debug)]
pub enum Top {
    /// Nothing.
    None,
    /// fc1, fc2, predictions.
    ImageNet,
    /// The book's classifier.
    Head(Head),
}

/// What to show.
#[derive(Clone, Debug)]
pub struct Summary {
    /// A run to read the network from.
    pub run: Option<PathBuf>,
    /// Network.
    pub variant: Variant,
    /// `[h, w]`; what is usual for `top` if not given.
    pub size: Option<[usize; 2]>,
    /// What stands on the base.
    pub top: Top,
    /// Freeze the base.
    pub freeze: bool,
    /// Freeze everything before this layer.
    pub unfreeze_from: Option<String>,
}

/// Prints the table.
///
/// # Errors
/// [`Kind::Usage`] for sizes and names that cannot be.
pub fn summary(host: &Host, job: &Summary) -> Result<()> {
    // A run shows what its last stage trained, unless something else is asked for.
    let mut stage = None;
    let architecture = match &job.run {
        Some(run) => {
            let run = Run::open_unfinished(run)?;
            stage = run.config.training.stages.last().filter(|_| !asked(job)).cloned();
            run.architecture
        }
        None => {
            let base = |usual: usize| Architecture::vgg(job.variant, job.size.unwrap_or([usual; 2]));
            match job.top {
                Top::None => base(150)?,
                Top::ImageNet => {
                    if let Some([h, w]) = job.size.filter(|&size| size != [224; 2]) {
                        return Err(Error::new(
                            Kind::Usage,
                            "the classifier of ImageNet takes images of 224x224",
                        )
                        .expected_got("224x224", format!("{h}x{w}"))
                        .help("leave --size out, or take a classifier of your own with --units"));
                    }
                    base(224)?.with_top()?
                }
                Top::Head(head) => base(150)?.with_head(head)?,
            }
        }
    };
    let trainable = match (&job.unfreeze_from, &stage) {
        (Some(layer), _) => Trainable::from(&architecture, layer)?,
        (None, Some(stage)) => Trainable { from: stage.boundary(&architecture)? },
        (None, None) if job.freeze => Trainable::head(&architecture),
        (None, None) => Trainable::all(),
    };
    let table = table(&architecture, trainable);
    let (learning, frozen) = table.parameters();
    let mut text = table.text();
    if let Some(stage) = &stage {
        let from =
            stage.unfreeze_from.as_ref().map_or("the classifier alone".into(), |l| format!("{l} and after"));
        text += &format!(" Trainable is what the run's last stage ({}) trained: {from}\n", stage.name);
    }
    host.result(
        &text,
        &json!({
            "stage": stage.map(|stage| stage.name),
            "layers": table.rows,
            "parameters": learning + frozen,
            "trainable": learning,
            "frozen": frozen,
            "trainable_tensors": table.learning_tensors(),
        }),
    )
}

/// Whether some freezing is asked for.
fn asked(job: &Summary) -> bool {
    job.freeze || job.unfreeze_from.is_some()
}

fn table(architecture: &Architecture, trainable: Trainable) -> Table {
    let [h, w] = architecture.input;
    let input = Row {
        name: "input_layer".into(),
        kind: "InputLayer".into(),
        output_shape: vec![None, Some(h), Some(w), Some(3)],
        weights: Vec::new(),
    };
    let layers = architecture.layers().iter().enumerate().map(|(position, placed)| {
        let axes = placed.output.axes()[1..].iter().copied().map(Some);
        let specs = placed.kernel.map_or(&[][..], |k| &architecture.parameters()[k..k + 2]);
        Row {
            name: placed.name.clone(),
            kind: placed.layer.kind().into(),
            output_shape: std::iter::once(None).chain(axes).collect(),
            weights: specs
                .iter()
                .map(|spec| Weight { elements: spec.shape.len() as u64, learns: trainable.learns(position) })
                .collect(),
        }
    });
    Table { title: architecture.name.clone(), rows: std::iter::once(input).chain(layers).collect() }
}
