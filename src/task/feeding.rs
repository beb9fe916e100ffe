//! How images are fed to a network that a file holds, as options say it.
//!
//! In: what a file records, what was typed. Out: notes where the two differ, and where what nobody recorded is a guess.

use super::Host;
use crate::data::Resize;
use crate::model::{Pooling, Preprocess, Pretrained};

/// How images are fed to the network in a file of weights, where the user says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Feeding {
    /// Height and width.
    pub size: Option<[usize; 2]>,
    /// Pixel scaling.
    pub preprocess: Option<Preprocess>,
    /// Way to size.
    pub resize: Option<Resize>,
}

/// Says where `feeding` is another thing than the file records, and what the file does not tell. `done` is what happens
/// to the options: "used", "written".
pub(super) fn remark(host: &Host, found: &Pretrained, feeding: Feeding, done: &str) {
    let lineage = found.lineage();
    let by = |size: Option<[usize; 2]>| size.map(|[h, w]| format!("{h}x{w}"));
    let name = |recipe: Option<Preprocess>| recipe.map(|recipe| recipe.name().to_owned());
    let recorded = lineage.recipe().filter(|_| !lineage.inferred);
    let resize = found.said("resize").map(str::to_owned);
    for (option, said, given) in [
        ("--size", by(found.size()), by(feeding.size)),
        ("--preprocess", name(recorded), name(feeding.preprocess)),
        ("--resize", resize, feeding.resize.map(|resize| resize.name().to_owned())),
    ] {
        if let (Some(said), Some(given)) = (said, given)
            && said != given
        {
            host.note(format_args!("the file says {said}; {option} {given} is {done}"));
        }
    }
    if let (Some(recipe), true) = (lineage.recipe(), lineage.inferred) {
        match feeding.preprocess {
            None if lineage.has_own_classifier() => host.note(format_args!(
                "{recipe} is how the base was trained, as far as the file tells; nothing tells what its own classifier was fed. \
                 If that was RGB divided by 255, as in the book, give --preprocess notebook"
            )),
            Some(given) if given != recipe && !lineage.has_own_classifier() => {
                host.note(format_args!(
                    "these weights were trained with --preprocess {recipe}, as far as the file tells, not {given}"
                ));
            }
            _ => {}
        }
    }
    if lineage.guessed_means && lineage.pooled(feeding.size) == Pooling::Average {
        host.note(
            "its classifier takes one number for each channel, which is taken for the mean of its map (global average \
             pooling); if the classifier takes the largest instead, the answers mean nothing; if it was made for images of 32 \
             to 63 pixels a side, give that --size",
        );
    }
    if lineage.linear {
        host.note(
            "its one output is linear: it is taken for a logit (from_logits=True), whose sigmoid is the probability \
             of the second class; if it is the number of a regression, the answers mean nothing",
        );
    }
}
