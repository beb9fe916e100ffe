//! The thousand classes of ImageNet (ILSVRC 2012), in the order of every VGG's last layer.

/// "n01440764 tench" a line: WordNet's number, and the name that torchvision gives the class (all differ).
const CLASSES: &str = include_str!("../../weights/imagenet_classes.txt");

/// The names in label order.
pub fn names() -> impl Iterator<Item = &'static str> {
    CLASSES.lines().filter_map(|line| line.split_once(' ')).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_thousand_names_stand_where_keras_and_torchvision_have_them() {
        let all: Vec<&str> = names().collect();
        assert_eq!(all.len(), 1000);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1000, "no name is there twice");
        for (label, name) in [(0, "tench"), (281, "tabby"), (285, "Egyptian cat"), (999, "toilet tissue")] {
            assert_eq!(all[label], name);
        }
        let numbers: Vec<&str> = CLASSES.lines().filter_map(|line| line.split(' ').next()).collect();
        // The classes are sorted by WordNet's number.
        assert!(numbers.is_sorted() && numbers.iter().all(|n| n.len() == 9 && n.starts_with('n')));
    }
}
