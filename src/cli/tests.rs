//! What a command is when little is typed: the documents and the help promise these numbers.

use super::*;
use crate::data::{Augment, Resize};
use crate::model::{Preprocess, Variant};
use crate::task::{Begin, StageConfig};
use clap::Parser;

fn job(words: &str) -> task::Finetune {
    let words = "vgg-ft finetune data -o run ".to_owned() + words;
    match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
        Command::Finetune(typed) => typed.job().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_typed_is_as_documented() {
    let plain = job("");
    assert_eq!((&plain.data, &plain.output), (&"data".into(), &"run".into()));
    assert_eq!((plain.begin, plain.validation_split), (Begin::New, None));
    assert_eq!((plain.variant, plain.size), (Variant::Vgg16, [150, 150]));
    let head = (plain.head.units, plain.head.dropout, plain.head.batch, plain.head.seed);
    assert_eq!(head, (256, 0.5, 20, 1));
    assert_eq!((plain.images.preprocess, plain.images.resize), (Preprocess::Caffe, Resize::NEAREST));
    assert_eq!((plain.images.weights, plain.keep_features), (None, false));
    assert_eq!((plain.cache_limit, plain.test_images), (20_000_000_000, None));
    let [first, second] = ["head", "finetune"];
    let want =
        [StageConfig::new(first, None, 10, 2e-5), StageConfig::new(second, Some("block5_conv1"), 4, 1e-5)];
    assert_eq!(plain.stages, want);
    // What is said of both stages is in both, and what is said of one in that alone.
    let other = job(
        "--head-epochs 3 --head-rate 0.5 --epochs 2 --rate 0.25 --unfreeze-from block3_conv1 --augment book \
         --dropout 0 --units 4 --batch 8 --seed 7 --size 64x32 --cache-limit 1.5 --resize bilinear \
         --preprocess torch --validation-split 0.25 --keep-features --force",
    );
    let augmented = |stage| StageConfig { augment: Some(Augment::book()), ..stage };
    let want = [
        augmented(StageConfig::new(first, None, 3, 0.5)),
        augmented(StageConfig::new(second, Some("block3_conv1"), 2, 0.25)),
    ];
    assert_eq!(other.stages, want);
    let head = (other.head.units, other.head.dropout, other.head.batch, other.head.seed);
    assert_eq!(head, (4, 0.0, 8, 7));
    assert_eq!((other.begin, other.validation_split), (Begin::Over, Some(0.25)));
    assert_eq!((other.size, other.cache_limit, other.keep_features), ([64, 32], 1_500_000_000, true));
    assert_eq!((other.images.preprocess, other.images.resize), (Preprocess::Torch, Resize::BILINEAR));
    // A stage of no epochs is left out; a split of nothing is none.
    assert_eq!(job("--epochs 0").stages, [StageConfig::new(first, None, 10, 2e-5)]);
    assert_eq!(job("--validation-split 0").validation_split, None);
}
