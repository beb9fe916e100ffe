//! Calls on the rows or columns of a matrix: `kernels/bias_backward.cu`, `loss.cu`, `softmax.cu`.

use super::{Cut, Form, Site};
use crate::device::call::LossRule;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;

/// Channels of a block of `bias_backward`, and of its second half on 16 bits.
const CHANNELS: usize = 32;
/// Channels and rows of a block of `bias_backward_bf16` and `_f16`.
const WIDE: (usize, usize) = (64, 32);
/// Rows of a block of `softmax`: a warp each.
const ROWS: usize = 4;

fn matrix(site: &Site, rows: usize, columns: usize) -> Result<Arg> {
    Ok(Arg::value("p", &params::Matrix { rows: site.size(rows)?, columns: site.size(columns)? }))
}

fn loss(site: &Site, rule: LossRule, rows: usize, columns: usize) -> Result<Arg> {
    let denominator = rule.denominator as f32;
    let (rows, columns) = (site.size(rows)?, site.size(columns)?);
    Ok(Arg::value("p", &params::Loss { rows, columns, denominator, smoothing: rule.smoothing }))
}

pub fn bias_backward(
    site: &mut Site,
    rows: usize,
    channels: usize,
    dy: &Buffer,
    dbias: &Buffer,
) -> Result<()> {
    let form = Form::of(dy);
    let dy = site.buffer("dy", dy, form.dtype, rows * channels)?;
    let dbias = site.f32("dbias", dbias, channels)?;
    if channels == 0 {
        return Ok(());
    }
    // Of 16 bits half as many blocks: each has twice as many loads in flight, and parts cost.
    let (wide, busy, least, step) =
        if form.is_half() { (WIDE.0, 2, 4 * WIDE.1, WIDE.1) } else { (CHANNELS, 1, 512, 8) };
    let tiles = channels.div_ceil(wide);
    let cut = Cut::new(rows, busy * tiles, least, step);
    let entry = form.entry("bias_backward");
    let p = matrix(site, rows, channels)?;
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    // One part is the sum itself.
    let parts = if cut.parts == 1 { dbias.clone() } else { site.parts(cut.parts, channels)? };
    site.launch(&entry, [tiles, cut.parts, 1], 256, [p, split, dy, parts.clone()])?;
    if cut.parts > 1 {
        let args = [site.partials(cut.parts, channels)?, parts, dbias];
        let entry = format!("{entry}_reduce");
        if form.is_half() {
            site.launch(&entry, [channels.div_ceil(CHANNELS), 1, 1], 256, args)?;
        } else {
            site.line(&entry, channels, args)?;
        }
    }
    Ok(())
}

pub fn sigmoid_cross_entropy(
    site: &mut Site,
    rule: LossRule,
    (logits, targets, weights): (&Buffer, &Buffer, Option<&Buffer>),
    outcome: &Buffer,
    dlogits: Option<&Buffer>,
) -> Result<()> {
    let rows = logits.len();
    let args = [
        loss(site, rule, rows, 1)?,
        site.f32("logits", logits, rows)?,
        site.f32("targets", targets, rows)?,
        site.optional("weights", weights, Dtype::F32, rows)?,
        site.f32("outcome", outcome, rows * 2)?,
        site.optional("dlogits", dlogits, Dtype::F32, rows)?,
    ];
    site.line("sigmoid_cross_entropy", rows, args)
}

pub fn softmax_cross_entropy(
    site: &mut Site,
    (rule, classes): (LossRule, usize),
    (logits, labels, weights): (&Buffer, &Buffer, Option<&Buffer>),
    outcome: &Buffer,
    dlogits: Option<&Buffer>,
) -> Result<()> {
    let rows = labels.len();
    let args = [
        loss(site, rule, rows, classes)?,
        site.f32("logits", logits, rows * classes)?,
        site.buffer("labels", labels, Dtype::U32, rows)?,
        site.optional("weights", weights, Dtype::F32, rows)?,
        site.f32("outcome", outcome, rows * 2)?,
        site.optional("dlogits", dlogits, Dtype::F32, rows * classes)?,
        site.fault(),
    ];
    site.launch("softmax_cross_entropy", [rows.div_ceil(ROWS), 1, 1], ROWS * 32, args)
}

pub fn softmax(site: &mut Site, classes: usize, x: &Buffer, y: &Buffer) -> Result<()> {
    let rows = x.len() / site.arm.columns("x", classes, x)?;
    let args = [matrix(site, rows, classes)?, site.f32("x", x, x.len())?, site.f32("y", y, x.len())?];
    site.launch("softmax", [rows.div_ceil(ROWS), 1, 1], ROWS * 32, args)
}
