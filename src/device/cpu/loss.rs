//! Losses from logits, with their gradient. A batch has tens of rows: one thread, f64.

use super::sigmoid::logistic;
use super::softmax::log_sum_exp;
use crate::device::arm::Arm;
use crate::device::call::LossRule;
use crate::error::Result;

/// What a row counts: `w`, 1 without weights.
fn weight(weights: Option<&[f32]>, row: usize) -> f64 {
    weights.map_or(1.0, |weights| f64::from(weights[row]))
}

/// `loss = w·(max(z,0) - z·s + ln(1 + e^-|z|))`, `dlogits = w·(sigmoid(z) - s) / denominator`.
pub fn sigmoid_cross_entropy(
    rule: LossRule,
    (logits, targets): (&[f32], &[f32]),
    weights: Option<&[f32]>,
    outcome: &mut [f32],
    mut dlogits: Option<&mut [f32]>,
) {
    let smoothing = f64::from(rule.smoothing);
    let denominator = rule.denominator as f64;
    for (row, (outcome, (&z, &t))) in outcome.chunks_exact_mut(2).zip(logits.iter().zip(targets)).enumerate()
    {
        let correct = (z > 0.0) == (t > 0.5);
        let (z, t) = (f64::from(z), f64::from(t) * (1.0 - smoothing) + smoothing / 2.0);
        let w = weight(weights, row);
        // Not `max`: it would turn a NaN logit into a finite loss.
        let positive = if z < 0.0 { 0.0 } else { z };
        outcome[0] = (w * (positive - z * t + (-z.abs()).exp().ln_1p())) as f32;
        outcome[1] = f32::from(u8::from(correct));
        if let Some(dlogits) = dlogits.as_deref_mut() {
            dlogits[row] = (w * (logistic(z) - t) / denominator) as f32;
        }
    }
}

/// `loss = w·(ln Σ_k e^(z_k) - Σ_k s_k·z_k)`, `dlogits = w·(softmax(z) - s) / denominator`.
///
/// # Errors
/// When a label is not below `classes`.
pub fn softmax_cross_entropy(
    arm: Arm,
    (rule, classes): (LossRule, usize),
    (logits, labels): (&[f32], &[u32]),
    weights: Option<&[f32]>,
    outcome: &mut [f32],
    mut dlogits: Option<&mut [f32]>,
) -> Result<()> {
    if let Some((row, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        return Err(arm
            .refuse(format!("the label of row {row} is not a class"))
            .expected_got(format!("0 to {}", classes.saturating_sub(1)), label)
            .help("the labels come from another set of classes than the head"));
    }
    let every = f64::from(rule.smoothing) / classes as f64;
    let whole_target = 1.0 - f64::from(rule.smoothing);
    for (row, (outcome, &label)) in outcome.chunks_exact_mut(2).zip(labels).enumerate() {
        let z = &logits[row * classes..][..classes];
        let label = label as usize;
        let whole = log_sum_exp(z);
        let first_largest = (1..classes).fold(0, |best, k| if z[k] > z[best] { k } else { best });
        let w = weight(weights, row);
        let others = if every > 0.0 { z.iter().map(|&z| every * f64::from(z)).sum() } else { 0.0 };
        outcome[0] = (w * (whole - (whole_target * f64::from(z[label]) + others))) as f32;
        outcome[1] = f32::from(u8::from(first_largest == label));
        if let Some(dlogits) = dlogits.as_deref_mut() {
            for (k, dlogit) in dlogits[row * classes..][..classes].iter_mut().enumerate() {
                let target = every + if k == label { whole_target } else { 0.0 };
                let slope = (f64::from(z[k]) - whole).exp() - target;
                *dlogit = (w * slope / rule.denominator as f64) as f32;
            }
        }
    }
    Ok(())
}
