//! What network the weights in a file are of: its layers, its size, its classes.

use crate::error::{Error, Kind, Result};
use crate::model::classes::of_lines;
use crate::model::{Architecture, Head, Pooling, Pretrained, imagenet};

/// Whether the classifier, if there is one, takes what is left of images of this size.
pub(super) fn fits(found: &Pretrained, [h, w]: [usize; 2]) -> Result<()> {
    if found.lineage().has_top() {
        if [h, w] == [224, 224] {
            return Ok(());
        }
        return Err(Error::new(Kind::Weights, "the classifier of ImageNet takes images of 224x224")
            .expected_got("224x224", format!("{h}x{w}")));
    }
    if found.lineage().variant().is_none() {
        // How often it pools is not known.
        return Ok(());
    }
    let parameters = found.parameters();
    let last =
        |axes: usize| parameters.iter().rfind(|(_, shape)| shape.len() == axes).map(|(_, shape)| shape);
    let dense = parameters.iter().find(|(_, shape)| shape.len() == 2).map(|(_, shape)| shape[0]);
    let (Some(rows), Some(convolution)) = (dense, last(4)) else { return Ok(()) };
    // Five poolings halve each side.
    let means = found.lineage().pooled(Some([h, w])) == Pooling::Average;
    let left = if means { convolution[3] } else { (h / 32) * (w / 32) * convolution[3] };
    if rows == left {
        return Ok(());
    }
    Err(Error::new(
        Kind::Weights,
        format!("the classifier in {} is not for images of {h}x{w}", found.weights().path().display()),
    )
    .expected_got(format!("{rows} numbers, as it takes"), format!("{left}, as five poolings leave")))
}

/// The network as its lineage says it is, for images of `size` if that is given. `help` is what to do about a network that
/// is none of ours.
///
/// # Errors
/// [`Kind::Weights`] for another network, or images that its classifier does not take; [`Kind::Usage`] when nobody says
/// how large they are.
pub(in crate::task) fn architecture(
    found: &Pretrained,
    size: Option<[usize; 2]>,
    help: &str,
) -> Result<Architecture> {
    let lineage = found.lineage();
    let file = found.weights().path().display();
    let other = |what: String| {
        Error::new(Kind::Weights, format!("{file} holds no network that vgg-ft can build"))
            .expected_got(
                "a VGG of 64 to 512 filters, alone, with the classifier of ImageNet, or with one or two dense layers",
                what,
            )
            .help(help)
    };
    let variant = lineage.variant().ok_or_else(|| other(format!("{} convolutions", lineage.convolutions)))?;
    let rows = found.parameters().iter().find(|(name, _)| name == "dense.kernel").map(|(_, shape)| shape[0]);
    let known = size.or_else(|| found.size());
    match (&lineage.dense[..], rows) {
        ([], _) => Architecture::vgg(variant, known.unwrap_or([224; 2])),
        _ if lineage.has_top() => {
            if let Some(size) = size {
                fits(found, size)?;
            }
            Architecture::vgg(variant, [224; 2])?.with_top()
        }
        ([hidden @ .., outputs], Some(rows)) if hidden.len() < 2 => {
            let (units, outputs) = (hidden.first().copied().unwrap_or(0), *outputs);
            // 7 x 7 x 512 is 224 for everybody; of others, and of means over the image, rows do not tell.
            let known = known.or((rows == 25088).then_some([224; 2])).ok_or_else(|| {
                Error::new(Kind::Usage, format!("{file} does not say how large its images are"))
                    .fact("inputs of the classifier", rows)
                    .help("say it with --size, as the network was trained")
            })?;
            fits(found, known).map_err(|error| match (size, found.size()) {
                (Some(_), Some([h, w])) => error.help(format!("leave --size out: the file says {h}x{w}")),
                _ => error.help("say the size that it was trained with: --size"),
            })?;
            let pooling = lineage.pooled(Some(known));
            let head = Head { pooling, units, dropout: 0.0, classes: if outputs == 1 { 2 } else { outputs } };
            Architecture::vgg(variant, known)?.with_head(head)
        }
        (dense, _) => Err(other(format!("dense layers of {dense:?}"))),
    }
}

/// Its classes in label order: ImageNet's, or those of [`said_classes`].
pub(in crate::task) fn classes(found: &Pretrained) -> Vec<String> {
    match found.lineage().has_top() {
        true => imagenet::names().map(str::to_owned).collect(),
        false => said_classes(found),
    }
}

/// The classes that a file of ours names; none if it names none.
pub(super) fn said_classes(found: &Pretrained) -> Vec<String> {
    found.said("classes").map_or_else(Vec::new, of_lines)
}
