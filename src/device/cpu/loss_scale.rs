//! Dynamic loss scaling: gradients of f16 in the range of f16.

use super::simd::widest;
use super::threads::CHUNK;
use super::workshop::Workshop;
use crate::device::call::Adjust;
use crate::device::loss_scale::LossScale;

/// `gradient[i] *= scale`.
pub fn scale_gradient(shop: &Workshop, state: LossScale, gradient: &mut [f32]) {
    shop.threads.each(gradient.chunks_mut(CHUNK), |gradient| chunk(state.scale, gradient));
}

widest! {
    fn chunk(scale: f32, gradient: &mut [f32]) {
        for g in gradient {
            *g *= scale;
        }
    }
}

/// The first of `gradients` that holds an infinite number or a NaN.
pub fn check_gradients(gradients: &[&[f32]], state: &mut LossScale) {
    let found = gradients.iter().position(|gradient| gradient.iter().any(|g| !g.is_finite()));
    if let Some(first) = found {
        state.found = state.found.min(first as u32);
    }
}

/// `good` and `scale` after a step.
pub fn update_loss_scale(interval: u32, state: &mut LossScale) {
    *state = state.updated(interval);
}

/// What a step's gradients are multiplied by; `None` if they are not to be used.
pub fn unscaled(state: Option<LossScale>, adjust: Adjust) -> Option<Adjust> {
    match state {
        None => Some(adjust),
        Some(state) if state.found != LossScale::NOTHING => None,
        Some(state) => Some(Adjust { scale: adjust.scale * state.inverse, ..adjust }),
    }
}
