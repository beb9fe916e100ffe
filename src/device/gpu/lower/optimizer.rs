//! Optimizers: `kernels/rmsprop.cu`, `sgd.cu`, `adamw.cu`, and the loss's scale around them, `loss_scale.cu`. All tensors in one launch, or one for every 64.
//! One thread per four neighbours.

use super::Site;
use super::site::LINEAR;
use crate::device::call::{Adamw, Adjust, Keeps, ParameterUpdate, Rmsprop, Sgd};
use crate::device::gpu::launch::{Arg, Held};
use crate::device::gpu::params::{self, TENSORS, Tensors};
use crate::device::{Buffer, Dtype, LossScale};
use crate::error::Result;
use bytemuck::Zeroable;
use std::mem::offset_of;

/// What comes before a rule: on the host, and on the device if the loss was scaled.
pub type Before<'a> = (Adjust, Option<&'a Buffer>);

pub fn rmsprop_step(
    site: &mut Site,
    step: Rmsprop,
    before: Before,
    tensors: &[ParameterUpdate<'_>],
) -> Result<()> {
    launch(site, "rmsprop_step", (tensors, step.keeps()), rule(step), (before, step.rate))
}

pub fn sgd_step(site: &mut Site, step: Sgd, before: Before, tensors: &[ParameterUpdate<'_>]) -> Result<()> {
    let Sgd { rate, momentum, nesterov } = step;
    let rule = Arg::value("rule", &params::Sgd { rate, momentum, nesterov: nesterov.into() });
    launch(site, "sgd_step", (tensors, step.keeps()), rule, (before, rate))
}

pub fn adamw_step(
    site: &mut Site,
    step: Adamw,
    t: u64,
    before: Before,
    tensors: &[ParameterUpdate<'_>],
) -> Result<()> {
    let now = step.at(t);
    let rule = params::Adamw { alpha: now.alpha, new_1: now.new_1, new_2: now.new_2, epsilon: now.epsilon };
    let rule = Arg::value("rule", &rule);
    launch(site, "adamw_step", (tensors, step.keeps()), rule, (before, step.rate))
}

pub fn scale_gradient(site: &mut Site, scaling: &Buffer, gradient: &Buffer) -> Result<()> {
    let len = gradient.len();
    let args = [
        Arg::value("p", &params::Elements { len: site.size(len)? }),
        site.buffer("scaling", scaling, Dtype::U32, LossScale::WORDS)?,
        site.f32("gradient", gradient, len)?,
    ];
    site.line("scale_gradient", len.div_ceil(4), args)
}

pub fn check_gradients(site: &mut Site, gradients: &[&Buffer], scaling: &Buffer) -> Result<()> {
    let scaling = site.buffer("scaling", scaling, Dtype::U32, LossScale::WORDS)?;
    let mut tables = Tables::new();
    for (k, gradient) in gradients.iter().enumerate() {
        tables.next(k).add(site, k, gradient, None)?;
    }
    for Table { before, blocks, p, operands, .. } in tables.0 {
        let before = Arg::value("before", &site.size(before)?);
        site.launch(
            "check_gradients",
            [blocks, 1, 1],
            LINEAR,
            [table(&p, operands), before, scaling.clone()],
        )?;
    }
    Ok(())
}

pub fn update_loss_scale(site: &mut Site, interval: u32, scaling: &Buffer) -> Result<()> {
    let scaling = site.buffer("scaling", scaling, Dtype::U32, LossScale::WORDS)?;
    site.launch("update_loss_scale", [1, 1, 1], 32, [Arg::value("interval", &interval), scaling])
}

/// RMSprop's numbers, as kernels take them.
pub fn rule(Rmsprop { rate, rho, epsilon, momentum, centered, outside }: Rmsprop) -> Arg {
    let (centered, outside) = (centered.into(), outside.into());
    Arg::value("rule", &params::Rmsprop { rate, rho, epsilon, momentum, centered, outside })
}

fn adjusted(Adjust { scale, l2, decay }: Adjust, rate: f32) -> Arg {
    Arg::value("adjust", &params::Adjust { scale, l2, decay, rate })
}

/// Tensors without elements take no place.
fn launch(
    site: &mut Site,
    entry: &str,
    (tensors, keeps): (&[ParameterUpdate<'_>], Keeps),
    rule: Arg,
    ((adjust, scaling), rate): (Before, f32),
) -> Result<()> {
    tensors.iter().enumerate().try_for_each(|(k, slot)| site.arm.keeps(k, slot, keeps))?;
    // All are looked at before any is launched.
    let mut tables = Tables::new();
    for (k, slot) in tensors.iter().enumerate() {
        tables.next(k).add(site, k, slot.gradient, Some(slot))?;
    }
    let f16 = tables.0.iter().any(|table| table.shadows == Some(Dtype::F16));
    let rest = [
        rule,
        adjusted(adjust, rate),
        Arg::value("f16", &u32::from(f16)),
        site.optional("scaling", scaling, Dtype::U32, LossScale::WORDS)?,
    ];
    for Table { blocks, p, operands, .. } in tables.0 {
        let mut args = vec![table(&p, operands)];
        args.extend(rest.clone());
        site.launch(entry, [blocks, 1, 1], LINEAR, args)?;
    }
    Ok(())
}

/// The launches of many tensors.
struct Tables(Vec<Table>);

impl Tables {
    fn new() -> Self {
        Self(vec![Table::new(0, None)])
    }

    /// Where tensor `k` goes.
    fn next(&mut self, k: usize) -> &mut Table {
        let last = self.0.len() - 1;
        if self.0[last].count == TENSORS {
            self.0.push(Table::new(k, self.0[last].shadows));
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

/// The tensors of one launch.
struct Table {
    p: Tensors,
    operands: Vec<Held>,
    /// The number of its first tensor.
    before: usize,
    count: usize,
    blocks: usize,
    /// In which format all shadows are, once there was one.
    shadows: Option<Dtype>,
}

impl Table {
    fn new(before: usize, shadows: Option<Dtype>) -> Self {
        let p = Tensors { first: [u32::MAX; TENSORS], ..Tensors::zeroed() };
        Self { p, operands: Vec::new(), before, count: 0, blocks: 0, shadows }
    }

    /// Tensor `k`: its gradient, and the rest if it is stepped.
    fn add(
        &mut self,
        site: &Site,
        k: usize,
        gradient: &Buffer,
        slot: Option<&ParameterUpdate<'_>>,
    ) -> Result<()> {
        let len = gradient.len();
        let mut as_type = |name: &str, dtype: Dtype, buffer: Option<&Buffer>, column: usize| -> Result<u64> {
            let Some(buffer) = buffer else { return Ok(0) };
            let name = format!("{name}[{k}]");
            let at = site.place(&name, buffer, dtype, len)?;
            let place = column + size_of::<u64>() * self.count;
            if len > 0 {
                self.operands.push(Held { name, at, dtype, len, place });
            }
            Ok(at.0)
        };
        let (mut shadow, mut states) = (0, [0; 4]);
        if let Some(slot) = slot {
            if let Some(buffer) = slot.shadow.as_deref() {
                // Of what the first one is: a kernel writes one format.
                let of = if buffer.dtype() == Dtype::F16 { Dtype::F16 } else { Dtype::Bf16 };
                let dtype = *self.shadows.get_or_insert(of);
                shadow = as_type("shadow", dtype, Some(buffer), offset_of!(Tensors, shadow))?;
            }
            let mut held =
                |name: &str, buffer: Option<&Buffer>, column| as_type(name, Dtype::F32, buffer, column);
            states = [
                held("weight", Some(&*slot.weight), offset_of!(Tensors, weight))?,
                held("velocity", slot.velocity.as_deref(), offset_of!(Tensors, velocity))?,
                held("momentum", slot.momentum.as_deref(), offset_of!(Tensors, momentum))?,
                held("mean", slot.mean.as_deref(), offset_of!(Tensors, mean))?,
            ];
        }
        let gradient = as_type("gradient", Dtype::F32, Some(gradient), offset_of!(Tensors, gradient))?;
        if len == 0 {
            return Ok(());
        }
        let (p, at) = (&mut self.p, self.count);
        [p.weight[at], p.velocity[at], p.momentum[at], p.mean[at]] = states;
        (p.gradient[at], p.shadow[at]) = (gradient, shadow);
        (p.len[at], p.first[at]) = (site.size(len)?, site.size(self.blocks)?);
        self.blocks += len.div_ceil(4 * LINEAR);
        self.count += 1;
        Ok(())
    }
}

fn table(p: &Tensors, operands: Vec<Held>) -> Arg {
    Arg::Table { name: "p", bytes: bytemuck::bytes_of(p).to_vec(), operands }
}
