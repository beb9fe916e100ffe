//! What a network said of labelled images, with its worst mistakes and what spoke for them.
//!
//! In: predictions and where the images lie. Out: a part of the page.

use super::Judged;
use crate::data::{Batch, Resize, Rgb8, Size, load_both};
use crate::error::{Error, Kind, Result};
use crate::model::{Network, Trainable};
use crate::report::html::{Mistake, Verdict, highest, thumbnails, worst};
use crate::task::Host;
use crate::task::evaluate::{Tested, Which};
use crate::task::run::Config;
use crate::train::{Cam, gradcam, input, last_convolution};
use std::path::{Path, PathBuf};

/// How many mistakes are shown.
const SHOWN: usize = 12;
/// The shorter side of a thumbnail, pixels, at least and at most.
const THUMBNAIL: [usize; 2] = [160, 224];

/// Scores, and the images that the network was most sure of and wrong about.
///
/// # Errors
/// The device's.
pub(super) fn verdict<'a>(
    host: &Host,
    network: &mut Network,
    config: &Config,
    judged: &'a Judged,
) -> Result<Verdict<'a>> {
    let Tested { outcome, labels, probabilities } = &judged.tested;
    let all = worst(labels, probabilities);
    let shown = &all[..all.len().min(SHOWN)];
    let named = |class: usize| outcome.classes.get(class).cloned().unwrap_or_default();
    let called: Vec<usize> = shown.iter().map(|&row| highest(&probabilities[row])).collect();
    let paths: Vec<PathBuf> = shown.iter().map(|&row| judged.root.join(&judged.files[row])).collect();
    // A mistake whose image has gone since, or cannot be read, is shown without it.
    let [h, w] = config.network.size;
    let size = Size { h, w };
    let resize: Resize =
        config.network.resize.parse().map_err(|reason: String| Error::new(Kind::Data, reason))?;
    let both = [(size, resize), (thumbnail(size), resize.smooth())];
    let (mut images, mut small) = (Vec::new(), Vec::new());
    for path in &paths {
        let [seen, thumbnail] = load_both(path, both).map_or([None, None], |both| both.map(Some));
        images.push(seen);
        small.push(thumbnail);
    }
    let (cams, maps) = match cams(host, network, config, size, &images, &called) {
        Ok(cams) => {
            let layer = last_convolution(network.architecture())?;
            let layer = &network.architecture().layers()[layer].name;
            let what = "Right of each: what spoke for the class that was called, bright where it did most";
            (cams, format!("{what} (Grad-CAM at {layer})."))
        }
        Err(error) => {
            (vec![None; shown.len()], format!("There are no maps beside them: {}.", error.message()))
        }
    };
    let mut mistakes = Vec::with_capacity(shown.len());
    let split = judged.part.split();
    // As people know them: from the folder on that holds the classes.
    let folder = Path::new(judged.root.file_name().unwrap_or_default());
    for (((&row, &called), image), cam) in shown.iter().zip(&called).zip(small).zip(&cams) {
        mistakes.push(Mistake {
            file: folder.join(&judged.files[row]).display().to_string(),
            truth: named(labels[row] as usize),
            called: named(called),
            confidence: f64::from(probabilities[row][called]),
            image: image.map(|image| thumbnails(&image, cam.as_ref())).transpose()?,
        });
    }
    let on = match &judged.part {
        Which::Split(split) => format!("the {split} images"),
        all => all.to_string(),
    };
    let wrong = all.len();
    Ok(Verdict { split, judged: on, outcome, labels, probabilities, mistakes, wrong, maps })
}

/// The maps of those images that are there, for the classes that were called.
fn cams(
    host: &Host,
    network: &mut Network,
    config: &Config,
    size: Size,
    images: &[Option<Rgb8>],
    called: &[usize],
) -> Result<Vec<Option<Cam>>> {
    let rule = config.network.preprocess.parse::<crate::model::Preprocess>()?.rule();
    // No weight's gradient is asked for.
    network.set_trainable(Trainable { from: usize::MAX });
    let device = host.device.as_ref();
    let mut out = vec![None; images.len()];
    let there: Vec<usize> = (0..images.len()).filter(|&i| images[i].is_some()).collect();
    for part in there.chunks(config.training.batch.max(1)) {
        let seen = part.iter().filter_map(|&i| images[i].as_ref());
        let pixels: Vec<u8> = seen.flat_map(|image| image.pixels.iter().copied()).collect();
        let batch = Batch { indices: part.iter().map(|&i| i as u32).collect(), pixels, labels: Vec::new() };
        let classes: Vec<usize> = part.iter().map(|&i| called[i]).collect();
        let found = gradcam(device, network, input(device, &batch, size, rule)?, &classes)?;
        part.iter().zip(found).for_each(|(&i, cam)| out[i] = Some(cam));
    }
    Ok(out)
}

/// The network's own size, made larger or smaller until its shorter side is a thumbnail's.
fn thumbnail(Size { h, w }: Size) -> Size {
    let short = h.min(w).max(1);
    let wanted = short.clamp(THUMBNAIL[0], THUMBNAIL[1]);
    Size { h: (h * wanted / short).max(1), w: (w * wanted / short).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_keep_the_shape_of_the_input() {
        let of = |h, w| thumbnail(Size { h, w });
        assert_eq!(of(64, 64), Size { h: 160, w: 160 });
        assert_eq!(of(150, 300), Size { h: 160, w: 320 });
        assert_eq!(of(512, 256), Size { h: 448, w: 224 });
    }
}
