//! RMSprop's step.

use super::simd::widest;
use super::tensors::{self, PIECE, Part, least, settled};
use super::workshop::Workshop;
use crate::device::call::{Adjust, Rmsprop};

/// `v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v + epsilon)`, or what the rule makes of it.
pub fn rmsprop_step(shop: &Workshop, rule: Rmsprop, adjust: Adjust, tensors: Vec<Part<'_>>) {
    if rule.is_plain() && adjust == Adjust::NONE {
        tensors::each(shop, tensors, |part| chunk(rule, part.gradient, part.velocity, part.weight));
    } else {
        tensors::each(shop, tensors, |part| any(rule, adjust, part));
    }
}

widest! {
    /// One thread's part, of the plain rule.
    pub fn chunk(rule: Rmsprop, gradient: &[f32], velocity: &mut [f32], weight: &mut [f32]) {
        let (Rmsprop { rate, rho, epsilon, .. }, least) = (rule, least(rule.epsilon));
        for ((v, w), &g) in velocity.iter_mut().zip(weight).zip(gradient) {
            *v = settled(rho * *v + (1.0 - rho) * (g * g), least);
            *w -= rate * g / (*v + epsilon).sqrt();
        }
    }
}

widest! {
    /// What is left of [`chunk`] where the gradient is zero.
    pub fn rest(rule: Rmsprop, velocity: &mut [f32]) {
        let least = least(rule.epsilon);
        for v in velocity {
            *v = settled(*v * rule.rho, least);
        }
    }
}

widest! {
    /// One thread's part, of any rule, a piece at a time so that each loop is simple. The same operations
    /// in the same order as [`chunk`].
    fn any(rule: Rmsprop, adjust: Adjust, part: Part<'_>) {
        let (Rmsprop { rate, rho, epsilon, momentum, centered, outside }, least) = (rule, least(rule.epsilon));
        for mut part in part.cut(PIECE) {
            let mut way = part.adjusted(adjust, rate);
            let mut root = [0.0; PIECE];
            for ((root, v), &g) in root.iter_mut().zip(part.velocity).zip(&way) {
                *v = settled(rho * *v + (1.0 - rho) * (g * g), least);
                *root = *v;
            }
            if centered {
                for ((root, mean), &g) in root.iter_mut().zip(part.mean).zip(&way) {
                    *mean = settled(rho * *mean + (1.0 - rho) * g, least);
                    *root -= *mean * *mean;
                    // No variance is negative; its rounding may be, and then has no root. (`max` would hide a NaN.)
                    if *root < 0.0 {
                        *root = 0.0;
                    }
                }
            }
            if outside {
                root.iter_mut().for_each(|root| *root = root.sqrt() + epsilon);
            } else {
                root.iter_mut().for_each(|root| *root = (*root + epsilon).sqrt());
            }
            way.iter_mut().zip(&root).for_each(|(way, root)| *way = rate * *way / root);
            if momentum > 0.0 {
                for (way, m) in way.iter_mut().zip(part.momentum) {
                    *m = settled(momentum * *m + *way, least);
                    *way = *m;
                }
            }
            part.weight.iter_mut().zip(&way).for_each(|(w, way)| *w -= way);
        }
    }
}
