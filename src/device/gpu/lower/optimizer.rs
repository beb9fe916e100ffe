//! Optimizers: `kernels/rmsprop.cu`, `sgd.cu`, `adamw.cu`. All tensors in one launch, or one for every 64.
//! One thread per four neighbours.

use super::Site;
use super::site::LINEAR;
use crate::device::call::{Adamw, Adjust, Keeps, Rmsprop, Sgd, Slot};
use crate::device::gpu::launch::{Arg, Held};
use crate::device::gpu::params::{self, TENSORS, Tensors};
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use bytemuck::Zeroable;
use std::mem::offset_of;

pub fn rmsprop_step(site: &mut Site, step: Rmsprop, adjust: Adjust, tensors: &[Slot<'_>]) -> Result<()> {
    launch(site, "rmsprop_step", tensors, step.keeps(), [rule(step), adjusted(adjust, step.rate)])
}

pub fn sgd_step(site: &mut Site, step: Sgd, adjust: Adjust, tensors: &[Slot<'_>]) -> Result<()> {
    let Sgd { rate, momentum, nesterov } = step;
    let rule = Arg::value("rule", &params::Sgd { rate, momentum, nesterov: nesterov.into() });
    launch(site, "sgd_step", tensors, step.keeps(), [rule, adjusted(adjust, rate)])
}

pub fn adamw_step(site: &mut Site, step: Adamw, t: u64, adjust: Adjust, tensors: &[Slot<'_>]) -> Result<()> {
    let now = step.at(t);
    let rule = params::Adamw { alpha: now.alpha, new_1: now.new_1, new_2: now.new_2, epsilon: now.epsilon };
    let args = [Arg::value("rule", &rule), adjusted(adjust, step.rate)];
    launch(site, "adamw_step", tensors, step.keeps(), args)
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
fn launch(site: &mut Site, entry: &str, tensors: &[Slot<'_>], keeps: Keeps, rest: [Arg; 2]) -> Result<()> {
    tensors.iter().enumerate().try_for_each(|(k, slot)| site.arm.keeps(k, slot, keeps))?;
    // All are looked at before any is launched.
    let mut tables = vec![Table::new()];
    for (k, slot) in tensors.iter().enumerate() {
        if tables.last().is_none_or(|table| table.count == TENSORS) {
            tables.push(Table::new());
        }
        if let Some(table) = tables.last_mut() {
            table.add(site, k, slot)?;
        }
    }
    for table in tables {
        let blocks = table.blocks;
        let mut args = vec![table.arg()];
        args.extend(rest.clone());
        site.launch(entry, [blocks, 1, 1], LINEAR, args)?;
    }
    Ok(())
}

/// The tensors of one launch.
struct Table {
    p: Tensors,
    operands: Vec<Held>,
    count: usize,
    blocks: usize,
}

impl Table {
    fn new() -> Self {
        let p = Tensors { first: [u32::MAX; TENSORS], ..Tensors::zeroed() };
        Self { p, operands: Vec::new(), count: 0, blocks: 0 }
    }

    fn add(&mut self, site: &Site, k: usize, slot: &Slot<'_>) -> Result<()> {
        let len = slot.gradient.len();
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
        let shadow = as_type("shadow", Dtype::Bf16, slot.shadow.as_deref(), offset_of!(Tensors, shadow))?;
        let mut held =
            |name: &str, buffer: Option<&Buffer>, column| as_type(name, Dtype::F32, buffer, column);
        let gradient = held("gradient", Some(slot.gradient), offset_of!(Tensors, gradient))?;
        let weight = held("weight", Some(&*slot.weight), offset_of!(Tensors, weight))?;
        let velocity = held("velocity", slot.velocity.as_deref(), offset_of!(Tensors, velocity))?;
        let momentum = held("momentum", slot.momentum.as_deref(), offset_of!(Tensors, momentum))?;
        let mean = held("mean", slot.mean.as_deref(), offset_of!(Tensors, mean))?;
        if len == 0 {
            return Ok(());
        }
        let (p, at) = (&mut self.p, self.count);
        (p.gradient[at], p.weight[at]) = (gradient, weight);
        (p.velocity[at], p.momentum[at], p.mean[at]) = (velocity, momentum, mean);
        p.shadow[at] = shadow;
        (p.len[at], p.first[at]) = (site.size(len)?, site.size(self.blocks)?);
        self.blocks += len.div_ceil(4 * LINEAR);
        self.count += 1;
        Ok(())
    }

    fn arg(self) -> Arg {
        Arg::Table { name: "p", bytes: bytemuck::bytes_of(&self.p).to_vec(), operands: self.operands }
    }
}
