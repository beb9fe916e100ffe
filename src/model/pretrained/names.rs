//! Names of layers: how a file counts them, and what our network calls them.

use super::layers::{Found, Layers, Naming};
use std::collections::BTreeSet;

/// A key by which `features.10` comes after `features.2`.
pub(super) fn natural(name: &str) -> Vec<(u64, String)> {
    /// A key is dozens of times as large as its name, and no layer has a name that is longer.
    const LONGEST: usize = 256;
    let mut key = Vec::new();
    let mut rest = name.char_indices().nth(LONGEST).map_or(name, |(end, _)| &name[..end]);
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        key.push((0, word.to_owned()));
        // A number of more than 19 digits is none that matters.
        key.push((number.parse().unwrap_or(u64::MAX), String::new()));
        rest = after;
    }
    key
}

/// What our network calls the layers of a file: Keras' names, which the convolutions of a file of Keras keep.
///
/// Blocks are told by how many convolutions there are; `None` where that is no VGG's and the names are not
/// Keras', or two layers would have one name.
pub(super) fn canonical(layers: &Layers, blocks: Option<[usize; 5]>) -> Option<[Vec<String>; 2]> {
    let names = |all: &[Found]| all.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    let own = layers.naming == Naming::Keras && layers.convolutions.iter().all(|layer| is_block(&layer.name));
    let convolutions = match (own, blocks) {
        (true, _) => names(&layers.convolutions),
        (false, Some(blocks)) => {
            let names = blocks.iter().enumerate();
            names.flat_map(|(b, &n)| (1..=n).map(move |c| format!("block{}_conv{c}", b + 1))).collect()
        }
        (false, None) => return None,
    };
    // By their number alone: ours are looked for by these names.
    let dense: Vec<String> = match layers.dense.len() {
        3 => ["fc1", "fc2", "predictions"].map(str::to_owned).to_vec(),
        n => (0..n).map(|at| if at == 0 { "dense".into() } else { format!("dense_{at}") }).collect(),
    };
    let unique: BTreeSet<&String> = convolutions.iter().chain(&dense).collect();
    (unique.len() == convolutions.len() + dense.len()).then_some([convolutions, dense])
}

/// `block3_conv2`
fn is_block(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("block")
        .and_then(|rest| rest.split_once("_conv"))
        .is_some_and(|(block, conv)| number(block) && number(conv))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names =
            ["features.10", "features.2", "features", "classifier.0", "conv2d_1", "conv2d", "conv2d_10"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(
            names,
            ["classifier.0", "conv2d", "conv2d_1", "conv2d_10", "features", "features.2", "features.10"]
        );
    }

    #[test]
    fn blocks_are_recognised() {
        assert!(is_block("block5_conv3"));
        assert!(!is_block("block_conv3") && !is_block("conv2d_1") && !is_block("block1_conv1x"));
    }
}
