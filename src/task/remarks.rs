//! What a person would want to be told of their data before it is trained on.

use super::course::{StageConfig, without_effect};
use super::stage::ended_with;
use super::{Finetune, Host};
use crate::data::{Images, Split, per_class};
use crate::error::{Result, in_one_line};
use crate::model::Architecture;
use crate::report::{counted, counted_are};
use crate::train::{Best, Epoch, History};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A remark where training has nothing to be measured on; `help` says how it could have.
pub(super) fn unvalidated(host: &Host, stages: &[StageConfig], help: &str) {
    host.note(format_args!("there is nothing to validate with; {help}"));
    if stages.iter().any(|stage| stage.validation_steps.is_some()) {
        host.note("--validation-steps changes nothing without validation");
    }
    if stages.iter().any(StageConfig::watches) {
        host.note(
            "without validation, epochs are compared by training loss or accuracy, even where a message says \
             val_loss or val_accuracy",
        );
    }
}

/// Remarks on what is asked for and changes nothing.
///
/// # Errors
/// Those of [`without_effect`].
pub(super) fn idle(host: &Host, stages: &[StageConfig], architecture: &Architecture) -> Result<()> {
    for idle in without_effect(stages, architecture)? {
        host.note(format_args!("{idle}"));
    }
    Ok(())
}

/// Remarks where the classifier makes so few steps that it hardly learns, and where a stage ends before its rate has risen.
pub(super) fn few_steps(host: &Host, stages: &[StageConfig], batch: usize, samples: usize) {
    const FEW: usize = 60;
    for stage in stages {
        let steps = stage.epochs * stage.steps(batch, samples);
        if (1..stage.warmup).contains(&steps) {
            host.note(format_args!(
                "stage {} makes {}, all within its warm-up of {}: the rate never reaches {:e}; give a smaller \
                 --warmup",
                stage.name,
                counted(steps, "step"),
                stage.warmup,
                stage.rate
            ));
        }
    }
    let head = stages.first().filter(|stage| stage.unfreeze_from.is_none() && stage.rate <= 1e-4);
    let Some(head) = head else { return };
    let (together, each) = ((batch * head.accumulate).min(samples), head.steps(batch, samples));
    let steps = each * head.epochs;
    if steps < FEW {
        // A pass may be longer than what was asked for.
        let passes = StageConfig { steps_per_epoch: None, ..head.clone() }.steps(batch, samples);
        let cure = if passes > each { "leave --steps-per-epoch out, or" } else { "with so few images" };
        host.note(format_args!(
            "stage {} takes only {} of {}, which is few for a rate of {:e}; {cure} give it more \
             epochs, for example {}",
            head.name,
            counted(steps, "step"),
            counted(together, "image"),
            head.rate,
            (2 * FEW).div_ceil(each.max(1))
        ));
    }
}

/// A remark where one class has many times the images of another, and no stage gives it a weight.
pub(super) fn unweighted(host: &Host, stages: &[StageConfig], classes: &[String], labels: &[u32]) {
    let weighted = stages.iter().any(|stage| stage.class_weights.is_some());
    if let Some(note) = uneven(classes, labels).filter(|_| !weighted) {
        host.note(format_args!("{note}"));
    }
}

/// What to say where one of `classes` has many times the `labels` of another.
pub(super) fn uneven(classes: &[String], labels: &[u32]) -> Option<String> {
    const MANY: usize = 8;
    let counts = per_class(labels, classes.len());
    let most = (0..counts.len()).max_by_key(|&class| counts[class]);
    let least = (0..counts.len()).min_by_key(|&class| counts[class]);
    let (most, least) = most.zip(least)?;
    (counts[most] >= MANY * counts[least].max(1)).then(|| {
        format!(
            "there are {} of {} to train on and {} of {}; --class-weights auto lets every class count the same",
            counts[most], classes[most], counts[least], classes[least]
        )
    })
}

/// Remarks on stages that end with a higher validation loss and a clearly lower accuracy than the last one before them.
pub(super) fn worse(stages: &[StageConfig], history: &History) -> Vec<String> {
    // Less is chance: two images of a hundred.
    const CLEAR: f64 = 0.02;
    let mut notes = Vec::new();
    let mut before: Option<(&StageConfig, (f64, f64))> = None;
    for stage in stages {
        let Some(end) = ended_with(stage, history).and_then(validated) else { continue };
        if let Some((earlier, (loss, accuracy))) = before
            && end.0 > loss
            && end.1 < accuracy - CLEAR
        {
            let mut epochs = history.epochs.iter().filter(|epoch| epoch.stage == stage.name);
            let was_better = epochs.any(|epoch| validated(epoch).is_some_and(|(_, here)| here > accuracy));
            let cure = if was_better {
                "it had better epochs; with --restore-best it ends with the best of them"
            } else {
                "try a lower rate, or leave this stage out (--epochs 0)"
            };
            notes.push(format!(
                "stage {} ends with val_loss {:.4} and val_acc {:.4}, worse than {loss:.4} and {accuracy:.4} of stage {}: {cure}",
                stage.name, end.0, end.1, earlier.name
            ));
        }
        before = Some((stage, end));
    }
    notes
}

/// What to say where the network that `stages` end with is right no more often than one answer to all of the validation's
/// `labels` would be.
pub(super) fn no_better_than_one(
    stages: &[StageConfig],
    history: &History,
    classes: &[String],
    labels: &[u32],
    batch: usize,
) -> Option<String> {
    // Of fewer it may be chance.
    const ENOUGH: usize = 30;
    let last = stages.last()?;
    let accuracy = ended_with(last, history)?.val_accuracy?;
    let is_whole = last.validated(batch, labels.len()) == labels.len();
    let counts = per_class(labels, classes.len());
    let most = (0..counts.len()).max_by_key(|&class| counts[class])?;
    let share = counts[most] as f64 / labels.len().max(1) as f64;
    (is_whole && labels.len() >= ENOUGH && accuracy <= share && share < 1.0).then(|| {
        format!(
            "val_acc {accuracy:.4} is no more than {share:.4}, which calling every image {} would give: try a higher rate, \
             more epochs, a simpler classifier (--pooling avg) or, where one class has most images, --class-weights auto",
            in_one_line(&classes[most])
        )
    })
}

/// Loss and accuracy of validation.
fn validated(epoch: &Epoch) -> Option<(f64, f64)> {
    epoch.val_loss.zip(epoch.val_accuracy)
}

/// Which weights a stage of `asked` epochs ends with, and whether it ended early, after `last`.
pub(super) fn put_back(best: &Best<'_>, last: Option<&Epoch>, asked: usize) -> String {
    let (epoch, by) = (best.epoch.epoch, best.monitor.name());
    match last {
        Some(last) if last.epoch < asked => {
            format!(
                "stopped after epoch {} of {asked}; the weights of epoch {epoch}, the best by {by}, are put back",
                last.epoch
            )
        }
        _ => format!("the weights of epoch {epoch}, the best by {by}, are put back"),
    }
}

/// A remark where training has an image under two classes, and where images of validation or test are among those of
/// training: pixel for pixel.
pub(super) fn twice(host: &Host, train: &Images, others: &[(Split, Option<&Arc<Images>>)]) {
    let mut learned: HashMap<u64, usize> = HashMap::new();
    let mut torn = Vec::new();
    for (i, &sum) in train.sums.iter().enumerate() {
        let first = *learned.entry(sum).or_insert(i);
        if train.labels[first] != train.labels[i] && train.image(first) == train.image(i) {
            torn.push((first, i));
        }
    }
    if let Some(&(first, i)) = torn.first() {
        host.note(format_args!(
            "in train {} under two classes, pixel for pixel, so one label is wrong; the first: {} and {}",
            counted_are(torn.len(), "image"),
            train.files[first].display(),
            train.files[i].display()
        ));
    }
    for (split, images) in others {
        let Some(images) = images else { continue };
        let same = |(i, sum): (usize, &u64)| {
            let &at = learned.get(sum)?;
            (train.image(at) == images.image(i)).then_some((at, i))
        };
        let found: Vec<(usize, usize)> = images.sums.iter().enumerate().filter_map(same).collect();
        if let Some(&(at, i)) = found.first() {
            host.note(format_args!(
                "in {split} {} also in train, pixel for pixel, so its figures are too good; the first: {} is {} \
                 of train",
                counted_are(found.len(), "image"),
                images.files[i].display(),
                train.files[at].display()
            ));
        }
    }
}

/// A remark where the images, whose digests are `here`, are not those that the job's configuration is of.
pub(super) fn other_images(host: &Host, job: &Finetune, here: &[String]) {
    if !job.named_digests.is_empty() && job.named_digests != here {
        host.note(
            "these are not quite the images of the run that the configuration came from: some were added, \
             removed or changed",
        );
    }
}

/// A remark where `--keep-features` keeps no training features in `folder`, which goes if it is empty.
pub(super) fn keeps_some(host: &Host, folder: &Path) {
    let there = || std::fs::read_dir(folder).into_iter().flatten().flatten();
    if !there().any(|entry| entry.file_name().to_string_lossy().starts_with("train.")) {
        host.note(
            "--keep-features kept none of the training images' features: the images were augmented, or the \
             features would exceed --cache-limit",
        );
    }
    // Only an empty one can be removed so.
    let _ = std::fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_to_all_is_no_worse_than_a_network_that_learned_nothing() {
        let stages = [StageConfig::new("head", None, 1, 1e-3)];
        let classes = ["cats", "dogs"].map(str::to_owned);
        let note = |accuracy, dogs: usize, all: usize| {
            let epoch = Epoch { val_accuracy: Some(accuracy), ..Epoch::blank("head", 1) };
            let labels: Vec<u32> = (0..all).map(|i| u32::from(i < dogs)).collect();
            no_better_than_one(&stages, &History { epochs: vec![epoch] }, &classes, &labels, 20)
        };
        assert!(note(0.75, 30, 40).unwrap().contains("no more than 0.7500, which calling every image dogs"));
        assert_eq!([note(0.8, 30, 40), note(0.5, 15, 20), note(1.0, 40, 40)], [const { None }; 3]);
        let mut stages = stages.clone();
        stages[0].validation_steps = Some(1);
        let epoch = Epoch { val_accuracy: Some(0.75), ..Epoch::blank("head", 1) };
        let labels: Vec<u32> = (0..40).map(|i| u32::from(i < 30)).collect();
        assert_eq!(
            no_better_than_one(&stages, &History { epochs: vec![epoch] }, &classes, &labels, 20),
            None
        );
    }

    #[test]
    fn a_stage_that_unlearns_is_remarked_on() {
        let stages = ["head", "finetune"].map(|name| StageConfig::new(name, None, 1, 1e-3));
        let notes = |figures: [(f64, f64); 2]| {
            let epoch = |(stage, (loss, accuracy)): (&StageConfig, (f64, f64))| Epoch {
                val_loss: Some(loss),
                val_accuracy: Some(accuracy),
                ..Epoch::blank(&stage.name, 1)
            };
            worse(&stages, &History { epochs: stages.iter().zip(figures).map(epoch).collect() })
        };
        let said = notes([(0.25, 0.875), (2.0, 0.5)]);
        assert!(
            said[0].contains("finetune ends with val_loss 2.0000 and val_acc 0.5000, worse than 0.2500"),
            "{said:?}"
        );
        // A loss that rises while more are right is no loss.
        assert!(
            notes([(0.25, 0.875), (2.0, 0.9)]).is_empty() && notes([(0.25, 0.875), (0.2, 0.5)]).is_empty()
        );
    }
}
