//! Who goes into which split: as the list says, the first so many of each class, or drawn.

use super::group::divided;
use super::{Item, some_of};
use crate::data::{Split, rank};
use crate::error::{Error, Kind, Result};

/// How much of each class a split gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// So many images.
    Count(usize),
    /// A share of them, above 0 and at most 1.
    Share(f64),
}

impl Amount {
    /// Whether `splits` go together: each once, train among them, all numbers or all shares of one whole; shares if
    /// images are in groups.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(super) fn require(splits: &[(Split, Self)], grouped: bool) -> Result<()> {
        let wrong = |message: &str| {
            Err(Error::new(Kind::Usage, message).help("such as --splits train=0.8,validation=0.2"))
        };
        let twice = splits
            .iter()
            .enumerate()
            .any(|(at, (split, _))| splits[..at].iter().any(|(other, _)| other == split));
        if twice {
            return wrong("--splits names a split twice");
        }
        if !splits.is_empty() && !splits.iter().any(|(split, _)| *split == Split::Train) {
            return wrong("--splits has no train to learn from");
        }
        let shares: Vec<f64> = splits
            .iter()
            .filter_map(|(_, amount)| if let Self::Share(share) = amount { Some(*share) } else { None })
            .collect();
        if !shares.is_empty() && shares.len() < splits.len() {
            return wrong("--splits has shares and numbers: 1 is one image, 1.0 or 100% is all");
        }
        if grouped && shares.is_empty() {
            return wrong("groups are not cut to numbers of images: --splits takes shares of them");
        }
        // 0.7 + 0.2 + 0.1 is a little more than 1.
        if shares.iter().sum::<f64>() > 1.0 + 1e-9 {
            return wrong("the shares of --splits are more than the whole");
        }
        Ok(())
    }
}

/// The splits in their order, with their images; one that has no name if there are none.
pub type Parts = Vec<(Option<Split>, Vec<Item>)>;

/// How many images each split has of each class: `[split][class]`.
pub fn by_class(parts: &Parts, classes: usize) -> Vec<Vec<usize>> {
    let of = |items: &Vec<Item>| {
        let mut counts = vec![0; classes];
        items.iter().for_each(|item| counts[item.class] += 1);
        counts
    };
    parts.iter().map(|(_, items)| of(items)).collect()
}

/// Divides `items`, which stand in their order. Amounts are all counts, or all shares ([`Amount::require`]), shares if
/// `grouped`. With the number of groups of each split.
///
/// # Errors
/// [`Kind::Data`] for classes with fewer images than are asked for.
pub fn shared(
    items: Vec<Item>,
    classes: &[String],
    splits: &[(Split, Amount)],
    seed: Option<u64>,
    grouped: bool,
) -> Result<(Parts, Option<Vec<usize>>)> {
    if splits.is_empty() {
        if items.iter().all(|item| item.split.is_none()) {
            return Ok((vec![(None, items)], None));
        }
        let of = |split| items.iter().filter(|item| item.split == Some(split)).cloned().collect::<Vec<_>>();
        let parts = Split::ALL.map(|split| (Some(split), of(split)));
        return Ok((parts.into_iter().filter(|(_, of)| !of.is_empty()).collect(), None));
    }
    // Who goes where does not depend on how they are typed.
    let mut splits = splits.to_vec();
    splits.sort_by_key(|(split, _)| *split);
    if grouped {
        let share =
            |(_, amount): &(Split, Amount)| if let Amount::Share(share) = amount { *share } else { 0.0 };
        let shares: Vec<f64> = splits.iter().map(share).collect();
        let (parts, groups) = divided(items, classes.len(), &shares, seed.unwrap_or(1));
        require_groups(&splits, &parts, classes)?;
        return Ok((splits.iter().map(|(split, _)| Some(*split)).zip(parts).collect(), Some(groups)));
    }
    let is_drawn = seed.is_some() || splits.iter().any(|(_, amount)| matches!(amount, Amount::Share(_)));
    let mut by_class: Vec<Vec<Item>> = vec![Vec::new(); classes.len()];
    for item in items {
        by_class[item.class].push(item);
    }
    let amounts: Vec<Amount> = splits.iter().map(|(_, amount)| *amount).collect();
    let few: Vec<usize> =
        (0..classes.len()).filter(|&class| counts(by_class[class].len(), &amounts).is_none()).collect();
    if let Some(&first) = few.first() {
        let error =
            Error::new(Kind::Data, format!("class \"{}\" has too few images for the splits", classes[first]))
                .expected_got(format!("{} or more", needed(&amounts)), by_class[first].len());
        let error = if few.len() > 1 { error.fact("so have", some_of(classes, &few[1..])) } else { error };
        return Err(error.help("ask for less with --splits, add images, or leave the class out"));
    }
    let mut parts: Parts = splits.iter().map(|(split, _)| (Some(*split), Vec::new())).collect();
    for mut members in by_class {
        if is_drawn {
            members.sort_by_cached_key(|item| rank(&item.from, seed.unwrap_or(1)));
        }
        let mut rest = members.into_iter();
        for ((_, part), n) in parts.iter_mut().zip(counts(rest.len(), &amounts).unwrap_or_default()) {
            part.extend(rest.by_ref().take(n));
        }
    }
    Ok((parts, None))
}

/// Images of a class that has the fewest that will do.
fn needed(amounts: &[Amount]) -> usize {
    let least = |amount: &Amount| if let Amount::Count(n) = amount { *n } else { 1 };
    // A number that nobody has images for is one all the same.
    amounts.iter().map(least).fold(0, usize::saturating_add)
}

/// How many of `n` images each split gets; none where they do not suffice, for a split of shares has at least one.
fn counts(n: usize, amounts: &[Amount]) -> Option<Vec<usize>> {
    if n < needed(amounts) {
        return None;
    }
    let (mut sum, mut before) = (0.0, 0);
    let mut counts = Vec::with_capacity(amounts.len());
    for amount in amounts {
        counts.push(match *amount {
            Amount::Count(n) => n,
            // Up to a border that is rounded, so that nothing is lost where shares make up the whole.
            Amount::Share(share) => {
                sum += share;
                let border = ((n as f64 * sum).round() as usize).clamp(before, n);
                let taken = border - before;
                before = border;
                taken
            }
        });
    }
    // Of so few that one gets nothing, those that have most give one.
    while let Some(empty) = counts.iter().position(|&count| count == 0) {
        let free = n - counts.iter().sum::<usize>();
        if free == 0 {
            let most = (0..counts.len()).max_by_key(|&at| counts[at])?;
            counts[most] -= 1;
        }
        counts[empty] = 1;
    }
    Some(counts)
}

/// Whether whole groups gave each split images of each class.
///
/// # Errors
/// [`Kind::Data`].
fn require_groups(splits: &[(Split, Amount)], parts: &[Vec<Item>], classes: &[String]) -> Result<()> {
    for ((split, _), items) in splits.iter().zip(parts) {
        let lacks: Vec<usize> =
            (0..classes.len()).filter(|&class| items.iter().all(|item| item.class != class)).collect();
        if !lacks.is_empty() {
            return Err(Error::new(
                Kind::Data,
                format!("whole groups leave the split {split} without images of every class"),
            )
            .fact("missing", some_of(classes, &lacks))
            .help("ask for fewer splits, leave these classes out, or name smaller groups"));
        }
    }
    Ok(())
}

/// Whether each split has images of each class by its `counts`, and there is one to learn from.
///
/// # Errors
/// [`Kind::Data`].
pub fn require_all(parts: &Parts, counts: &[Vec<usize>], classes: &[String]) -> Result<()> {
    let names =
        || parts.iter().filter_map(|(split, _)| split.map(Split::name)).collect::<Vec<_>>().join(", ");
    if parts.iter().all(|(split, _)| split.is_some_and(|split| split != Split::Train)) {
        return Err(Error::new(Kind::Data, "there is no split to learn from")
            .expected_got("train among the splits", names())
            .help("call it train in the list; or leave the list's splits out with --splits train=0.8,validation=0.2"));
    }
    for ((split, _), counts) in parts.iter().zip(counts) {
        let lacks: Vec<usize> = (0..classes.len()).filter(|&class| counts[class] == 0).collect();
        if let (Some(split), false) = (split, lacks.is_empty()) {
            return Err(Error::new(
                Kind::Data,
                format!("the split {} has no images of every class", split.name()),
            )
            .fact("missing", some_of(classes, &lacks))
            .help("mend the list, or let the splits be drawn with --splits train=0.8,validation=0.2"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Amount::{Count, Share};

    #[test]
    fn shares_make_up_the_whole_and_leave_no_split_empty() {
        let tenths = [Share(0.8), Share(0.1), Share(0.1)];
        for (n, want) in
            [(3, [1, 1, 1]), (4, [2, 1, 1]), (10, [8, 1, 1]), (15, [12, 2, 1]), (1000, [800, 100, 100])]
        {
            assert_eq!(counts(n, &tenths), Some(want.to_vec()), "{n}");
        }
        assert_eq!(counts(2, &tenths), None);
        for n in 3..2000 {
            let counts = counts(n, &[Share(0.7), Share(0.2), Share(0.1)]).unwrap();
            assert_eq!(counts.iter().sum::<usize>(), n);
            assert!(counts.iter().all(|&count| count > 0), "{n}: {counts:?}");
        }
        // The rest is nobody's.
        assert_eq!(counts(10, &[Share(0.5), Share(0.2)]), Some(vec![5, 2]));
        assert_eq!(counts(3, &[Share(0.1), Share(0.1)]), Some(vec![1, 1]));
        assert_eq!(counts(9, &[Count(4), Count(5)]), Some(vec![4, 5]));
        assert_eq!(counts(8, &[Count(4), Count(5)]), None);
    }

    #[test]
    fn amounts_go_together_or_are_refused() {
        let (train, test) = (Split::Train, Split::Test);
        for right in [vec![], vec![(train, Share(1.0))], vec![(train, Share(0.7)), (test, Share(0.3))]] {
            Amount::require(&right, false).unwrap();
        }
        for (wrong, words) in [
            (vec![(test, Count(3))], "no train"),
            (vec![(train, Count(3)), (train, Count(3))], "twice"),
            (vec![(train, Share(0.5)), (test, Count(3))], "shares and numbers"),
            (vec![(train, Share(0.8)), (test, Share(0.3))], "more than the whole"),
        ] {
            let error = Amount::require(&wrong, false).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let error = Amount::require(&[(train, Count(3))], true).unwrap_err();
        assert!(error.to_string().contains("takes shares"), "{error}");
    }
}
