//! AdamW's step.

use super::simd::widest;
use super::tensors::{self, PIECE, Part, least, settled};
use super::workshop::Workshop;
use crate::device::call::{AdamwNow, Adjust};

/// `m = m + (g-m)·new_1; v = v + (g²-v)·new_2; w = w - m·alpha / (sqrt(v) + epsilon)`.
pub fn adamw_step(shop: &Workshop, now: AdamwNow, adjust: (Adjust, f32), tensors: Vec<Part<'_>>) {
    tensors::each(shop, tensors, |part| chunk(now, adjust, part));
}

widest! {
    /// One thread's part.
    fn chunk(now: AdamwNow, adjust: (Adjust, f32), part: Part<'_>) {
        let AdamwNow { alpha, new_1, new_2, epsilon } = now;
        let least = least(epsilon);
        for mut part in part.cut(PIECE) {
            let g = part.adjusted(adjust.0, adjust.1);
            let states = part.momentum.iter_mut().zip(part.velocity);
            for ((w, (m, v)), &g) in part.weight.iter_mut().zip(states).zip(&g) {
                *m = settled(*m + (g - *m) * new_1, least);
                *v = settled(*v + (g * g - *v) * new_2, least);
                *w -= *m * alpha / (v.sqrt() + epsilon);
            }
        }
    }
}
