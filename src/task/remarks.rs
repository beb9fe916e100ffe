//! What a person would want to be told of their data before it is trained on.

use super::{Finetune, Host};
use crate::data::{Pictures, checksum};
use crate::report::counted;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A remark where the classifier makes so few steps that it hardly learns.
pub(super) fn few_steps(host: &Host, job: &Finetune, samples: usize) {
    const FEW: usize = 60;
    let head = job.stages.first().filter(|stage| stage.unfreeze_from.is_none() && stage.rate <= 1e-4);
    let Some(head) = head else { return };
    let together = job.head.batch * head.accumulate;
    let steps = head.steps_per_epoch.unwrap_or(samples.div_ceil(together)) * head.epochs;
    if steps < FEW {
        host.say(format_args!(
            "note: stage {} makes {} of {together} in all, few for a rate of {:e}; with so few pictures give it more \
             epochs, such as --head-epochs {}",
            head.name,
            counted(steps, "step"),
            head.rate,
            (2 * FEW).div_ceil(steps.div_ceil(head.epochs).max(1))
        ));
    }
}

/// A remark where pictures of validation or test are among those of training, pixel for pixel.
pub(super) fn twice(
    host: &Host,
    (root, train): (&Path, &Pictures),
    others: &[(&str, Option<&Arc<Pictures>>)],
) {
    let mut learned = HashMap::new();
    let of = |pictures: &Pictures| -> Vec<u64> {
        (0..pictures.len()).into_par_iter().map(|i| checksum(pictures.picture(i))).collect()
    };
    for (i, sum) in of(train).into_iter().enumerate() {
        learned.entry(sum).or_insert(i);
    }
    for (name, pictures) in others {
        let Some(pictures) = pictures else { continue };
        let same = |(i, sum): (usize, u64)| {
            let &at = learned.get(&sum)?;
            (train.picture(at) == pictures.picture(i)).then_some((at, i))
        };
        let found: Vec<(usize, usize)> = of(pictures).into_iter().enumerate().filter_map(same).collect();
        if let Some(&(at, i)) = found.first() {
            host.say(format_args!(
                "note: {} of {name} are in training, too, pixel for pixel, so its figures are too good; the first: {} is {}",
                counted(found.len(), "picture"),
                pictures.files[i].display(),
                root.join(&train.files[at]).display()
            ));
        }
    }
}
