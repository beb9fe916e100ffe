//! Losses from logits, with the gradient of their mean. A batch has tens of rows: one thread, f64.

use super::sigmoid::logistic;
use super::softmax::log_sum_exp;
use crate::device::arm::Arm;
use crate::error::Result;

/// `loss = max(z,0) - z·t + ln(1 + e^-|z|)`, `dlogits = (sigmoid(z) - t) / rows`.
pub fn sigmoid_cross_entropy(
    logits: &[f32],
    targets: &[f32],
    outcome: &mut [f32],
    dlogits: Option<&mut [f32]>,
) {
    for ((outcome, &z), &t) in outcome.chunks_exact_mut(2).zip(logits).zip(targets) {
        let correct = (z > 0.0) == (t > 0.5);
        let (z, t) = (f64::from(z), f64::from(t));
        // Not `max`: it would turn a NaN logit into a finite loss.
        let positive = if z < 0.0 { 0.0 } else { z };
        outcome[0] = (positive - z * t + (-z.abs()).exp().ln_1p()) as f32;
        outcome[1] = f32::from(u8::from(correct));
    }
    if let Some(dlogits) = dlogits {
        let rows = logits.len() as f64;
        for ((dlogit, &z), &t) in dlogits.iter_mut().zip(logits).zip(targets) {
            *dlogit = ((logistic(f64::from(z)) - f64::from(t)) / rows) as f32;
        }
    }
}

/// `loss = ln Σ_k e^(z_k) - z_label`, `dlogits = (softmax(z) - onehot) / rows`.
///
/// # Errors
/// When a label is not below `classes`.
pub fn softmax_cross_entropy(
    arm: Arm,
    classes: usize,
    logits: &[f32],
    labels: &[u32],
    outcome: &mut [f32],
    mut dlogits: Option<&mut [f32]>,
) -> Result<()> {
    if let Some((row, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        return Err(arm
            .refuse(format!("the label of row {row} is not a class"))
            .expected_got(format!("0 to {}", classes.saturating_sub(1)), label)
            .help("the labels come from another set of classes than the head"));
    }
    let rows = labels.len() as f64;
    for (row, (outcome, &label)) in outcome.chunks_exact_mut(2).zip(labels).enumerate() {
        let z = &logits[row * classes..][..classes];
        let label = label as usize;
        let whole = log_sum_exp(z);
        let first_largest = (1..classes).fold(0, |best, k| if z[k] > z[best] { k } else { best });
        outcome[0] = (whole - f64::from(z[label])) as f32;
        outcome[1] = f32::from(u8::from(first_largest == label));
        if let Some(dlogits) = dlogits.as_deref_mut() {
            for (k, dlogit) in dlogits[row * classes..][..classes].iter_mut().enumerate() {
                let onehot = if k == label { 1.0 } else { 0.0 };
                *dlogit = (((f64::from(z[k]) - whole).exp() - onehot) / rows) as f32;
            }
        }
    }
    Ok(())
}
