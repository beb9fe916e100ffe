//! In which order samples are seen: pass after pass over the set, each in an order of its own.
//!
//! In: a step's number. Out: the samples of that step, the same whoever asks and whenever, so that a run can
//! be taken up at any step.

use crate::random::{Draws, Stream};
use std::ops::Range;

/// Endless batches. The last batch of a pass takes what is left of it, as in Keras.
pub struct Sampler {
    len: usize,
    batch: usize,
    seed: u64,
    first_step: u64,
    /// A pass and its order.
    pass: Option<(u64, Vec<u32>)>,
}

impl Sampler {
    /// Batches of `batch` from `len` samples, where the first step has the number `first_step`: no two
    /// stages of a run see the same order.
    pub fn new(len: usize, batch: usize, seed: u64, first_step: u64) -> Self {
        Self { len, batch: batch.max(1), seed, first_step, pass: None }
    }

    /// Steps of one pass.
    pub fn steps(&self) -> usize {
        self.len.div_ceil(self.batch)
    }

    /// The samples of step number `step`.
    pub fn batch(&mut self, step: u64) -> &[u32] {
        let steps = self.steps().max(1) as u64;
        let since = step - self.first_step;
        let (pass, within) = (since / steps, (since % steps) as usize);
        if self.pass.as_ref().is_none_or(|(at, _)| *at != pass) {
            let counter = (self.first_step + pass * steps) << 20;
            self.pass = Some((pass, Draws::new(self.seed, Stream::Shuffle, counter).permutation(self.len)));
        }
        let range: Range<usize> = within * self.batch..((within + 1) * self.batch).min(self.len);
        self.pass.as_ref().map_or(&[], |(_, order)| &order[range])
    }
}

/// How many samples the steps `steps` of a stage see, counted from its first, `at_once` of `len` samples a step: the last
/// step of a pass sees what is left of it, wherever in an epoch that is.
pub fn samples_seen(len: usize, at_once: usize, steps: Range<u64>) -> u64 {
    let (len, at_once) = (len as u64, at_once.max(1) as u64);
    let pass = len.div_ceil(at_once).max(1);
    let before = |step: u64| {
        let within = (step % pass).saturating_mul(at_once).min(len);
        (step / pass).saturating_mul(len).saturating_add(within)
    };
    before(steps.end).saturating_sub(before(steps.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_steps(sampler: &mut Sampler, steps: Range<u64>) -> Vec<Vec<u32>> {
        steps.map(|step| sampler.batch(step).to_vec()).collect()
    }

    #[test]
    fn every_pass_sees_every_sample_once_in_another_order() {
        let mut sampler = Sampler::new(10, 4, 7, 3);
        let [one, two] = [3..6, 6..9].map(|steps| of_steps(&mut sampler, steps));
        assert_eq!(one.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        for pass in [&one, &two] {
            let mut all = pass.concat();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(one, two);
    }

    #[test]
    fn no_two_stages_see_one_order() {
        let orders = [0, 3, 6].map(|first| of_steps(&mut Sampler::new(10, 4, 7, first), first..first + 3));
        for (at, order) in orders.iter().enumerate() {
            assert!(!orders[..at].contains(order), "stage {at}: {orders:?}");
        }
        let mut other = Sampler::new(10, 4, 8, 0);
        assert_ne!(of_steps(&mut other, 0..3), orders[0], "the seed decides, too");
    }

    #[test]
    fn samples_are_counted_as_they_are_seen() {
        let (mut sampler, mut seen) = (Sampler::new(10, 4, 7, 3), 0);
        for step in 0..20 {
            seen += sampler.batch(3 + step).len() as u64;
            assert_eq!(samples_seen(10, 4, 0..step + 1), seen);
            assert_eq!(samples_seen(10, 4, step..step + 1), sampler.batch(3 + step).len() as u64);
        }
        assert_eq!(samples_seen(0, 4, 0..9), 0);
        assert_eq!(samples_seen(usize::MAX, usize::MAX, 0..u64::MAX), u64::MAX);
    }

    #[test]
    fn a_step_has_the_same_samples_whenever_it_is_asked() {
        let whole = of_steps(&mut Sampler::new(10, 3, 1, 0), 0..20);
        for step in [19, 0, 7, 8, 3] {
            assert_eq!(Sampler::new(10, 3, 1, 0).batch(step), &whole[step as usize][..]);
        }
        assert!(Sampler::new(0, 3, 1, 0).batch(0).is_empty());
    }
}
