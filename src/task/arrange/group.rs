//! Images that belong together, a patient's or those of one burst, and splits that do not part them: a classifier that is
//! judged by images of patients it learned from looks better than it is.
//!
//! In: a [`Pattern`], or a list's column, which say the group of an image; shares. Out: whole groups in splits.

use super::Item;
use crate::data::rank;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

/// Where in the path of an image its group stands: `{}` is the group, `*` anything, both without `/`, and as little as
/// fits. `{}_*` of `p12_a_3.jpg` is `p12`; `{}/*` is the folder that the image is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// The group of the image at `path`: by as many of its last parts as the pattern has.
    pub fn group<'a>(&self, path: &'a str) -> Option<&'a str> {
        let parts = 1 + self.text.matches('/').count();
        let start = path.rmatch_indices('/').nth(parts - 1).map_or(0, |(at, _)| at + 1);
        let (pattern, text) = (&self.text[..], &path[start..]);
        let group = Fit { pattern, text, failed: HashSet::new() }.from(0, 0)??;
        Some(&text[group])
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.matches("{}").count() == 1 {
            return Ok(Self { text: text.to_owned() });
        }
        let wanted = "such as {}_* (of p12_003.jpg: p12), or {}/* (the folder that the image is in)";
        Err(format!("`{text}` does not say once with {{}} where the group stands, {wanted}"))
    }
}

/// A pattern laid on a text.
struct Fit<'p> {
    pattern: &'p str,
    text: &'p str,
    /// Places, in bytes of both, from which on nothing fits: tried once, so that several `*` take no powers of the length.
    failed: HashSet<(usize, usize)>,
}

impl Fit<'_> {
    /// Whether the pattern from `at` on fits all of the text from `start` on, and where its `{}` is then, which is not
    /// nothing.
    fn from(&mut self, at: usize, start: usize) -> Option<Option<Range<usize>>> {
        if self.failed.contains(&(at, start)) {
            return None;
        }
        let found = self.tried(at, start);
        if found.is_none() {
            self.failed.insert((at, start));
        }
        found
    }

    fn tried(&mut self, at: usize, start: usize) -> Option<Option<Range<usize>>> {
        let (pattern, text) = (&self.pattern[at..], &self.text[start..]);
        let wild = [pattern.find('*').map(|at| (at, 1)), pattern.find("{}").map(|at| (at, 2))];
        let Some((plain, length)) = wild.into_iter().flatten().min() else {
            return (pattern == text).then_some(None);
        };
        let (text, is_group) = (text.strip_prefix(&pattern[..plain])?, length == 2);
        let longest = text.find('/').unwrap_or(text.len());
        let ends = text.char_indices().map(|(end, _)| end).chain([text.len()]);
        for end in ends.filter(|&end| end <= longest && (end > 0 || !is_group)) {
            let begins = start + plain;
            if let Some(rest) = self.from(at + plain + length, begins + end) {
                return Some(if is_group { Some(begins..begins + end) } else { rest });
            }
        }
        None
    }
}

/// The group of each of `items`, by their paths.
///
/// # Errors
/// The first path that the pattern does not fit.
pub fn tell_groups<'a>(items: &'a mut [Item], pattern: &Pattern) -> Result<(), &'a Path> {
    for item in items {
        let path = item.from.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
        match pattern.group(&path) {
            Some(group) => item.group = Some(group.to_owned()),
            None => return Err(&item.from),
        }
    }
    Ok(())
}

/// Images of one group.
struct Group {
    items: Vec<Item>,
    /// Its classes, and how many images are of each: most groups have one.
    classes: BTreeMap<usize, usize>,
}

/// Divides `items` by groups into as many parts as there are `shares`, of each of the `classes` as near to its share as
/// groups allow, and returns them with the number of groups of each: the largest group first (groups of one size in the
/// order that `seed` draws), each to where most is lacking. What is not shared out is left. An image of no group is one of
/// its own.
pub fn divided(items: Vec<Item>, classes: usize, shares: &[f64], seed: u64) -> (Vec<Vec<Item>>, Vec<usize>) {
    let groups = groups(items, seed);
    let mut totals = vec![0; classes];
    for (&class, n) in groups.iter().flat_map(|group| &group.classes) {
        totals[class] += n;
    }
    // The last takes what is left out.
    let left = 1.0 - shares.iter().sum::<f64>();
    let shares: Vec<f64> = shares.iter().copied().chain((left > 1e-9).then_some(left)).collect();
    let mut parts: Vec<Part> = shares.iter().map(|_| Part::new(classes)).collect();
    for group in groups {
        // How much further from its shares a part is with the group, in squares, so that nearer is less than nothing. Of
        // each class as a part of the whole, so that a rare one weighs as much as others.
        let worse = |part: &Part, share: f64| -> f64 {
            let of_class = |(&class, &n): (&usize, &usize)| {
                let total = totals[class] as f64;
                let (n, have) = (n as f64 / total, part.classes[class] as f64 / total);
                n * (2.0 * (have - share) + n)
            };
            group.classes.iter().map(of_class).sum()
        };
        let costs: Vec<f64> = parts.iter().zip(&shares).map(|(part, &share)| worse(part, share)).collect();
        let best = (0..parts.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or_default();
        parts[best].take(group);
    }
    let splits = shares.len() - usize::from(left > 1e-9);
    fill(&mut parts, splits, classes);
    parts.truncate(splits);
    let counts = parts.iter().map(|part| part.groups.len()).collect();
    let items = |part: Part| part.groups.into_iter().flat_map(|group| group.items).collect();
    (parts.into_iter().map(items).collect(), counts)
}

/// A split that is being filled.
struct Part {
    groups: Vec<Group>,
    classes: Vec<usize>,
}

impl Part {
    fn new(classes: usize) -> Self {
        Self { groups: Vec::new(), classes: vec![0; classes] }
    }

    fn take(&mut self, group: Group) {
        group.classes.iter().for_each(|(&class, n)| self.classes[class] += n);
        self.groups.push(group);
    }

    fn give(&mut self, at: usize) -> Group {
        let group = self.groups.remove(at);
        group.classes.iter().for_each(|(&class, n)| self.classes[class] -= n);
        group
    }

    /// Whether it keeps images of every class that it has without this group.
    fn can_spare(&self, group: &Group) -> bool {
        group.classes.iter().all(|(&class, &n)| self.classes[class] > n)
    }
}

/// Gives each of the first `splits` parts that has no images of a class the smallest group with some that another can
/// spare.
fn fill(parts: &mut [Part], splits: usize, classes: usize) {
    for (to, class) in (0..splits).flat_map(|to| (0..classes).map(move |class| (to, class))) {
        if parts[to].classes[class] > 0 {
            continue;
        }
        let groups =
            |from: usize| parts[from].groups.iter().enumerate().map(move |(at, group)| (from, at, group));
        // What is left out can spare everything.
        let spare = |(from, _, group): &(usize, usize, &Group)| {
            group.classes.contains_key(&class) && (*from >= splits || parts[*from].can_spare(group))
        };
        let others = (0..parts.len()).rev().filter(|&from| from != to).flat_map(groups);
        let smallest = others.filter(spare).min_by_key(|(_, _, group)| group.items.len());
        if let Some((from, at, _)) = smallest {
            let group = parts[from].give(at);
            parts[to].take(group);
        }
    }
}

/// The largest first, those of one size as `seed` draws them.
fn groups(items: Vec<Item>, seed: u64) -> Vec<Group> {
    let mut named: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    let mut alone = Vec::new();
    for mut item in items {
        match item.group.take() {
            Some(group) => named.entry(group).or_default().push(item),
            None => alone.push((item.from.clone(), vec![item])),
        }
    }
    let named = named.into_iter().map(|(name, items)| (name.into(), items));
    let mut all: Vec<_> = named.chain(alone).collect();
    all.sort_by_cached_key(|(name, items)| (usize::MAX - items.len(), rank(name, seed)));
    let counted = |items: Vec<Item>| {
        let mut classes = BTreeMap::new();
        items.iter().for_each(|item| *classes.entry(item.class).or_default() += 1);
        Group { items, classes }
    };
    all.into_iter().map(|(_, items)| counted(items)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_tells_the_group() {
        for (pattern, path, group) in [
            ("{}_*", "p12_003.jpg", Some("p12")),
            ("{}_*", "cats/p12_a_003.jpg", Some("p12")),
            ("ISIC_{}_*", "ISIC_7_1.jpg", Some("7")),
            ("*_{}.jpg", "a_b_c.jpg", Some("b_c")),
            ("*-{}-*", "a-b-c-d.jpg", Some("b")),
            ("{}/*", "cats/p1/x.jpg", Some("p1")),
            ("{}/*/*", "cats/p1/x.jpg", Some("cats")),
            ("{}/*/*", "p1/x.jpg", None),
            ("{}/*", "x.jpg", None),
            ("{}_*", "_003.jpg", None),
            ("{}_*", "p12.jpg", None),
            ("\u{e4}{}\u{fc}*", "\u{e4}\u{f6}\u{fc}1.jpg", Some("\u{f6}")),
            ("{}", "x.jpg", Some("x.jpg")),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().group(path), group, "{pattern} of {path}");
        }
        // Tried place by place, not in all ways: those would be more than there are seconds.
        let long = "a".repeat(250);
        let pattern: Pattern = format!("{{}}{}x", "*a".repeat(100)).parse().unwrap();
        assert_eq!(pattern.group(&long), None);
        assert_eq!(pattern.group(&format!("{long}x")), Some("a"));
        for wrong in ["", "*", "{", "{}{}", "{}/{}"] {
            wrong.parse::<Pattern>().unwrap_err();
        }
    }

    /// `images` of each of so many groups: (group, class, images).
    fn items(groups: &[(usize, usize, usize)]) -> Vec<Item> {
        let of = |&(group, class, n): &(usize, usize, usize)| {
            (0..n).map(move |i| Item {
                from: format!("{class}/{group}/{i}").into(),
                to: format!("{group}/{i}").into(),
                class,
                split: None,
                group: Some(group.to_string()),
            })
        };
        groups.iter().flat_map(of).collect()
    }

    /// `[part][class]`
    fn counts(parts: &[Vec<Item>]) -> Vec<[usize; 2]> {
        let of =
            |part: &Vec<Item>| [0, 1].map(|class| part.iter().filter(|item| item.class == class).count());
        parts.iter().map(of).collect()
    }

    #[test]
    fn groups_stay_whole_and_shares_come_near() {
        // 40 patients with 1 to 9 images of one class, 20 with 4 of each.
        let mut all: Vec<_> = (0..40).map(|i| (i, usize::from(i % 4 == 0), 1 + i * 7 % 9)).collect();
        all.extend((40..60).flat_map(|i| [(i, 0, 4), (i, 1, 4)]));
        for seed in 0..20 {
            let all = items(&all);
            let (n, whole) = (all.len(), counts(std::slice::from_ref(&all))[0]);
            let (parts, groups) = divided(all, 2, &[0.7, 0.2, 0.1], seed);
            assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), n);
            assert_eq!(groups.iter().sum::<usize>(), 60);
            let group = |item: &Item| item.to.parent().unwrap().to_owned();
            let of_parts: Vec<std::collections::BTreeSet<_>> =
                parts.iter().map(|part| part.iter().map(group).collect()).collect();
            assert_eq!(of_parts.iter().map(std::collections::BTreeSet::len).collect::<Vec<_>>(), groups);
            assert_eq!(
                of_parts.iter().flatten().collect::<std::collections::BTreeSet<_>>().len(),
                60,
                "parted"
            );
            for (counts, share) in counts(&parts).iter().zip([0.7, 0.2, 0.1]) {
                for class in 0..2 {
                    let got = counts[class] as f64 / whole[class] as f64;
                    // A group is up to a twelfth of a class.
                    assert!((got - share).abs() < 0.05, "seed {seed}, class {class}: {got} for {share}");
                }
            }
        }
    }

    #[test]
    fn few_groups_go_round() {
        // As many as there are splits, of both classes; the largest trains.
        let (parts, groups) = divided(
            items(&[(0, 0, 5), (1, 0, 1), (2, 0, 2), (3, 1, 3), (4, 1, 3), (5, 1, 9)]),
            2,
            &[0.8, 0.1, 0.1],
            1,
        );
        assert_eq!(groups, [2, 2, 2]);
        assert_eq!(counts(&parts)[0], [5, 9]);
        // What is left out is left, and gives where one lacks.
        let (parts, _) = divided(items(&[(0, 0, 5), (1, 1, 5), (2, 0, 5), (3, 1, 5)]), 2, &[0.1, 0.1], 1);
        assert_eq!(counts(&parts), [[5, 5], [5, 5]]);
        let (parts, _) = divided(
            items(&[(0, 0, 6), (1, 1, 6), (2, 0, 2), (3, 1, 2), (4, 0, 2), (5, 1, 2)]),
            2,
            &[0.2, 0.2],
            1,
        );
        assert_eq!(counts(&parts), [[2, 2], [2, 2]]);
    }
}
