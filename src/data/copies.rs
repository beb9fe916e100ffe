//! Images that are there twice: pixel for pixel, or nearly.
//!
//! In: a [`Glance`] of each image. Out: for each that has an earlier twin, which that is. Two images are the same if
//! their sides and 64 bits of their pixels are; they are alike if their thumbnails, or one and the mirror image of the
//! other, differ by no more than 3 grey levels on average, and by no more than a small part of their own contrast.
//!
//! Of 150 photographs of cats and dogs, saved at JPEG quality 50, at half their size, squeezed into 150x150 or
//! mirrored, 150, 149, 150 and 150 are found; of 3000 photographs one pair, which is one photograph saved twice. What is
//! cropped by 3 % (8 levels off in the median) or made lighter by 5 % (5 levels) counts as another image. Pages of text
//! and drawings on white are alike more easily.

use super::survey::{FINE, Glance, THUMB};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Mean difference of two thumbnails, in grey levels of 255, up to which images are alike.
const LEVELS: u32 = 3;
/// How many times the difference a thumbnail must vary by itself, on average from its channels' means: of what is nearly
/// of one colour everything is alike.
const CONTRAST: u32 = 8;
/// The same of finer thumbnails: pages of text are alike until one looks closer.
const FINE_CONTRAST: u32 = 12;

/// How one image is another's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Pixel for pixel.
    Same,
    /// In another size, of another quality, or touched up a little.
    Alike,
    /// As [`Likeness::Alike`] to its mirror image.
    Mirrored,
}

/// An image that has been there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Its place in the list.
    pub at: usize,
    /// The first that it is a copy of.
    pub of: usize,
    /// How.
    pub likeness: Likeness,
}

/// The copies among `all`, in their order; an image of one level is nobody's, and a blank one is only the same as another.
/// `progress(done)` is called by any thread. Of several that one is like, not the same as, it is called a copy
/// of the first with which it is `at_odds` (another class, another split), else of the first. When `stop` turns true the
/// answer is of no use.
///
/// No pair is missed: two thumbnails that differ by d on average have means, and means of each quarter, that differ by no
/// more than d and 4 d, so only those are compared that are near by these.
pub fn copies(
    all: &[&Glance],
    at_odds: &(dyn Fn(usize, usize) -> bool + Sync),
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Vec<Duplicate> {
    let mut first = HashMap::new();
    let mut copies = Vec::new();
    let mut rest = Vec::new();
    for (at, glance) in all.iter().enumerate().filter(|(_, glance)| !glance.flat) {
        let of = *first.entry((glance.size, glance.sum)).or_insert(at);
        if of != at {
            copies.push(Duplicate { at, of, likeness: Likeness::Same });
        } else if !glance.blank {
            rest.push(Key::new(at, glance));
        }
    }
    rest.sort_unstable_by_key(|key| (key.sum, key.at));
    // Each with those of a larger sum, the later of the two first. Of all pairs an image keeps one.
    let keep = |mut foremost: HashMap<usize, Duplicate>, pair: Duplicate| {
        let order = |pair: &Duplicate| (!at_odds(pair.at, pair.of), pair.of);
        let there = foremost.entry(pair.at).or_insert(pair);
        if order(&pair) < order(there) {
            *there = pair;
        }
        foremost
    };
    let done = AtomicUsize::new(0);
    let pairs_of = |i: usize| {
        let one = &rest[i];
        let others = if stop.load(Ordering::Relaxed) { &[] } else { &rest[i + 1..] };
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        let window = others.iter().take_while(|other| other.sum - one.sum <= MOST);
        window.filter_map(|other| {
            let likeness = one.likeness(other, all[one.at], all[other.at])?;
            Some(Duplicate { at: one.at.max(other.at), of: one.at.min(other.at), likeness })
        })
    };
    let foremost = (0..rest.len())
        .into_par_iter()
        .fold(HashMap::new, |foremost, i| pairs_of(i).fold(foremost, keep))
        .reduce(HashMap::new, |foremost, others| others.into_values().fold(foremost, keep));
    copies.extend(foremost.into_values());
    copies.sort_unstable_by_key(|copy| copy.at);
    copies
}

/// Bytes of a row of a thumbnail.
const ROW: usize = THUMB.w * 3;
/// Bytes of a thumbnail.
const LENGTH: u32 = (THUMB.h * ROW) as u32;
/// The sum of differences up to which thumbnails are alike.
const MOST: u32 = LEVELS * LENGTH;
/// The same of finer ones, which are `[32, 32]`.
const MOST_FINE: u32 = LEVELS * (FINE.h * FINE.w) as u32;

/// What tells quickly that two thumbnails are not alike.
struct Key {
    at: usize,
    sum: u32,
    /// Sums of the upper left, upper right, lower left and lower right quarter.
    quarters: [u32; 4],
    /// How far thumbnails and finer ones may be from these, in sum: no more than their own contrast allows. Of two images
    /// the lower limit counts.
    most: [u32; 2],
}

impl Key {
    fn new(at: usize, Glance { thumb, fine, .. }: &Glance) -> Self {
        let mut quarters = [0; 4];
        for (i, &level) in thumb.iter().enumerate() {
            let [down, right] = [i / ROW >= THUMB.h / 2, i % ROW >= ROW / 2].map(usize::from);
            quarters[2 * down + right] += u32::from(level);
        }
        let most =
            [MOST.min(contrast::<3>(thumb) / CONTRAST), MOST_FINE.min(contrast::<1>(fine) / FINE_CONTRAST)];
        Self { at, sum: quarters.iter().sum(), quarters, most }
    }

    /// How `other`, which looks like `theirs`, is like this, which looks like `own`.
    fn likeness(&self, other: &Self, own: &Glance, theirs: &Glance) -> Option<Likeness> {
        let [most, fine] = [0, 1].map(|i| self.most[i].min(other.most[i]));
        let near = |theirs: [u32; 4]| self.quarters.iter().zip(theirs).all(|(a, b)| a.abs_diff(b) <= most);
        let alike = |mirrored: bool| {
            within::<3>(most, [&own.thumb, &theirs.thumb], THUMB.w, mirrored)
                && within::<1>(fine, [&own.fine, &theirs.fine], FINE.w, mirrored)
        };
        let [a, b, c, d] = other.quarters;
        if near([a, b, c, d]) && alike(false) {
            return Some(Likeness::Alike);
        }
        (near([b, a, d, c]) && alike(true)).then_some(Likeness::Mirrored)
    }
}

/// The sum of the distances of pixels of `C` channels from the channels' means.
fn contrast<const C: usize>(levels: &[u8]) -> u32 {
    let (pixels, _) = levels.as_chunks::<C>();
    let mut sums = [0; C];
    for pixel in pixels {
        sums.iter_mut().zip(pixel).for_each(|(sum, &level)| *sum += u32::from(level));
    }
    let means = sums.map(|sum| sum / pixels.len().max(1) as u32);
    let distances = pixels.iter().flat_map(|pixel| means.iter().zip(pixel));
    distances.map(|(mean, &level)| mean.abs_diff(level.into())).sum()
}

/// Whether two images of `C` channels and `width` columns differ by `most` in sum, the second as it is or `mirrored`.
fn within<const C: usize>(most: u32, [a, b]: [&[u8]; 2], width: usize, mirrored: bool) -> bool {
    let mut apart = 0;
    // In rows: with most it is soon over.
    for (x, y) in a.as_chunks::<C>().0.chunks(width).zip(b.as_chunks::<C>().0.chunks(width)) {
        for (i, pixel) in x.iter().enumerate() {
            let other = &y[if mirrored { width - 1 - i } else { i }];
            apart += pixel.iter().zip(other).map(|(x, y)| u32::from(x.abs_diff(*y))).sum::<u32>();
        }
        if apart > most {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::resize::Size;
    use proptest::prelude::*;

    /// Its finer thumbnail has each of the other's pixels four times.
    fn glance(sum: u64, thumb: Vec<u8>) -> Glance {
        let pixel = |i: usize| {
            let at = (i / FINE.w / 2) * ROW + (i % FINE.w / 2) * 3;
            (thumb[at..at + 3].iter().map(|&level| u16::from(level)).sum::<u16>() / 3) as u8
        };
        Glance {
            fine: (0..FINE.h * FINE.w).map(pixel).collect(),
            lost: None,
            flat: false,
            size: Size::square(99),
            format: "JPEG",
            grey: false,
            blank: false,
            sideways: false,
            sum,
            thumb,
        }
    }

    /// Levels with little to do with each other.
    fn noise(seed: u32) -> Vec<u8> {
        let level = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 13) as u8;
        // Grey: of colours the finer thumbnail has the mean alone.
        (0..LENGTH).map(|i| level((i / 3) ^ seed << 10)).collect()
    }

    fn mirrored(thumb: &[u8]) -> Vec<u8> {
        let rows = thumb.chunks(ROW);
        rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied()).collect()
    }

    fn found(all: &[Glance]) -> Vec<(usize, usize, Likeness)> {
        let found = copies(&all.iter().collect::<Vec<_>>(), &|_, _| false, &|_| (), &AtomicBool::new(false));
        found.into_iter().map(|copy| (copy.at, copy.of, copy.likeness)).collect()
    }

    #[test]
    fn the_first_of_all_that_are_there_before_is_named() {
        let near: Vec<u8> = noise(1).iter().map(|level| level.saturating_add(2)).collect();
        let all = [
            glance(1, noise(1)),
            glance(2, noise(2)),
            glance(1, noise(1)),
            glance(3, near.clone()),
            glance(4, mirrored(&near)),
            glance(3, near),
            glance(5, noise(3)),
        ];
        use Likeness::{Alike, Mirrored, Same};
        assert_eq!(found(&all), [(2, 0, Same), (3, 0, Alike), (4, 0, Mirrored), (5, 3, Same)]);
    }

    /// An image between two others is like both, which are not like each other.
    #[test]
    fn a_pair_at_odds_comes_before_an_earlier_one() {
        let lift = |levels: u8| noise(1).iter().map(|level| level / 8 * 7 + levels).collect::<Vec<u8>>();
        let all = [glance(1, lift(0)), glance(2, lift(4)), glance(3, lift(2))];
        assert_eq!(found(&all), [(2, 0, Likeness::Alike)]);
        let refs: Vec<&Glance> = all.iter().collect();
        let odd = copies(&refs, &|at, of| (at, of) == (2, 1), &|_| (), &AtomicBool::new(false));
        assert_eq!(odd, [Duplicate { at: 2, of: 1, likeness: Likeness::Alike }]);
    }

    #[test]
    fn of_what_has_little_contrast_only_the_same_is_a_copy() {
        let pale = |seed| noise(seed).iter().map(|level| 250 + level % 3).collect::<Vec<_>>();
        assert_eq!(found(&[glance(1, pale(1)), glance(2, pale(2))]), []);
        // A signature on white is somebody's, a white page is nobody's.
        let blank = Glance { blank: true, ..glance(1, pale(1)) };
        assert_eq!(found(&[blank.clone(), blank.clone()]), [(1, 0, Likeness::Same)]);
        let flat = Glance { flat: true, ..blank };
        assert_eq!(found(&[flat.clone(), flat]), []);
    }

    /// Which of two is darker, and so compared with the other, decides nothing.
    #[test]
    fn images_are_alike_both_ways() {
        // They differ by more than a twelfth of the contrast of the first, and less than a twelfth of the second's.
        let faint: Vec<u8> = noise(1).iter().map(|level| 128 + level % 16).collect();
        let mut strong = faint.clone();
        let bright = strong.as_chunks_mut::<3>().0.iter_mut().filter(|pixel| pixel[0] > 136);
        bright.take(29).flatten().for_each(|level| *level += 3);
        let inverted = |levels: &[u8]| levels.iter().map(|level| 255 - level).collect::<Vec<u8>>();
        let [a, b] = [&faint, &strong].map(|levels| glance(0, levels.clone()));
        let apart: u32 = a.fine.iter().zip(&b.fine).map(|(x, y)| u32::from(x.abs_diff(*y))).sum();
        let [least, most] = [&a, &b].map(|one| contrast::<1>(&one.fine) / FINE_CONTRAST);
        assert!(least < apart && apart <= most, "{least} {apart} {most}");
        let of = |a: &[u8], b: &[u8]| found(&[glance(1, a.to_vec()), glance(2, b.to_vec())]);
        assert_eq!([of(&faint, &strong), of(&inverted(&faint), &inverted(&strong))], [[], []]);
    }

    proptest! {
        /// Every pair is compared by brute force.
        #[test]
        fn what_is_sorted_out_beforehand_is_not_alike(shifts in prop::collection::vec((0u32..4, 0u8..9, 0usize..3), 2..12)) {
            let all: Vec<Glance> = (10..).zip(&shifts).map(|(sum, &(seed, shift, how))| {
                let mut thumb = noise(seed);
                // All over, in one half, mirrored.
                let half = thumb.len() / if how == 1 { 2 } else { 1 };
                thumb[..half].iter_mut().for_each(|level| *level = level.saturating_add(shift));
                glance(sum, if how == 2 { mirrored(&thumb) } else { thumb })
            }).collect();
            let apart = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(x, y)| u32::from(x.abs_diff(*y))).sum::<u32>();
            let alike = |a: &Glance, b: &Glance| {
                apart(&a.thumb, &b.thumb).min(apart(&a.thumb, &mirrored(&b.thumb))) <= MOST
            };
            let expected: Vec<(usize, usize)> = (0..all.len())
                .filter_map(|at| (0..at).find(|&of| alike(&all[at], &all[of])).map(|of| (at, of)))
                .collect();
            let found: Vec<_> = found(&all).iter().map(|&(at, of, _)| (at, of)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
