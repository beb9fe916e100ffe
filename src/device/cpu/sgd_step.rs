//! The step of gradient descent.

use super::simd::widest;
use super::tensors::{self, PIECE, Part, settled};
use super::workshop::Workshop;
use crate::device::call::{Adjust, Sgd};

/// `w = w - rate·g`, or `m = momentum·m - rate·g; w = w + m`.
pub fn sgd_step(shop: &Workshop, rule: Sgd, adjust: Adjust, tensors: Vec<Part<'_>>) {
    tensors::each(shop, tensors, |part| chunk(rule, adjust, part));
}

widest! {
    /// One thread's part.
    fn chunk(rule: Sgd, adjust: Adjust, part: Part<'_>) {
        let Sgd { rate, momentum, nesterov } = rule;
        for mut part in part.cut(PIECE) {
            let mut way = part.adjusted(adjust, rate);
            way.iter_mut().for_each(|way| *way *= rate);
            if momentum > 0.0 {
                for (way, m) in way.iter_mut().zip(part.momentum) {
                    *m = settled(momentum * *m - *way, f32::MIN_POSITIVE);
                    *way = if nesterov { momentum * *m - *way } else { *m };
                }
                part.weight.iter_mut().zip(&way).for_each(|(w, way)| *w += way);
            } else {
                part.weight.iter_mut().zip(&way).for_each(|(w, way)| *w -= way);
            }
        }
    }
}
