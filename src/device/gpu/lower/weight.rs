//! What is done with a convolution's weight gradient, whichever kernel left its parts:
//! `kernels/conv2d_weight_reduce.cu`.
//!
//! In: where the gradient goes, or the step that it is used for, and where the bias' gradient goes if that is asked
//! for. Out: the launch that adds the parts up. The bias' parts, where a kernel leaves them, are added by the same
//! launch; where it does not, `bias_backward` follows.

use super::site::LINEAR;
use super::{Site, optimizer, rows};
use crate::device::call::Rmsprop;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params::{Partials, StreamK};
use crate::device::{Buffer, Cost, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;

/// Filters of a block that adds up the bias' parts.
const FILTERS: usize = 32;

/// As the call says it.
#[derive(Clone, Copy)]
pub enum Goal<'a> {
    /// `dweight`.
    Store(&'a Buffer),
    /// The plain RMSprop's.
    Step { rule: Rmsprop, velocity: &'a Buffer, weight: &'a Buffer, shadow: Option<&'a Buffer> },
}

/// The end of one call, opened.
pub struct Weight<'a> {
    g: Conv2d,
    /// Of a step.
    rule: Option<Arg>,
    /// `dweight`, or what the step changes.
    to: Vec<Arg>,
    dbias: Option<(&'a Buffer, Arg)>,
}

impl<'a> Weight<'a> {
    /// Opens the buffers.
    pub fn open(site: &mut Site, g: Conv2d, goal: Goal<'_>, dbias: Option<&'a Buffer>) -> Result<Self> {
        let len = g.weight().len();
        let (rule, to) = match goal {
            Goal::Store(dweight) => (None, vec![site.f32("dweight", dweight, len)?]),
            Goal::Step { rule, velocity, weight, shadow } => {
                site.arm.plain(rule)?;
                site.leave_to_the_last(Cost::step(velocity, weight, shadow));
                let to = vec![
                    site.f32("velocity", velocity, len)?,
                    site.f32("weight", weight, len)?,
                    site.optional("shadow", shadow, Dtype::Bf16, len)?,
                ];
                (Some(optimizer::rule(rule)), to)
            }
        };
        let open = |dbias| -> Result<(&Buffer, Arg)> { Ok((dbias, site.f32("dbias", dbias, g.c_out)?)) };
        let dbias = dbias.map(open).transpose()?;
        Ok(Self { g, rule, to, dbias })
    }

    /// Where `count` parts of the whole gradient go: one part is the sum itself, unless it is used at once.
    pub fn parts(&self, site: &mut Site, count: usize) -> Result<Arg> {
        match &self.to[..] {
            [dweight] if count == 1 => Ok(dweight.clone()),
            _ => site.parts(count, self.g.weight().len()),
        }
    }

    /// Where `count` parts of `filters` sums of the bias go, if they are asked for: none or some.
    pub fn biases(&self, site: &mut Site, count: usize, filters: usize) -> Result<Arg> {
        match &self.dbias {
            Some(_) if count > 0 => site.scratch("biases", count.saturating_mul(filters)),
            _ => Ok(Arg::nothing("biases", Dtype::F32)),
        }
    }

    /// Adds up `count` parts, and `rows` parts of the bias if those were left in `biases`.
    pub fn reduce(
        self,
        site: &mut Site,
        count: usize,
        parts: Arg,
        (rows, biases): (usize, Arg),
    ) -> Result<()> {
        let bias = Partials { count: site.size(rows)?, len: site.size(self.g.c_out)? };
        let bias = Arg::value("bias", &bias);
        if count == 1 && self.rule.is_none() {
            // It is where it belongs already.
            let nothing = |name| Arg::nothing(name, Dtype::F32);
            let (p, weight) = (site.partials(0, 0)?, Self { to: vec![nothing("dweight")], ..self });
            return weight.launch(site, "reduce", 0, vec![p, bias], [nothing("parts"), biases]);
        }
        let len = self.g.weight().len();
        let p = site.partials(count, len)?;
        self.launch(site, "reduce", len, vec![p, bias], [parts, biases])
    }

    /// The same of a tile's slots. The bias' parts are in slots, too, or so many rows.
    pub fn reduce_slots(
        self,
        site: &mut Site,
        p: Arg,
        split: &StreamK,
        rows: Option<usize>,
        parts: [Arg; 2],
    ) -> Result<()> {
        let (len, split) = (self.g.weight().len(), Arg::value("split", split));
        match rows {
            None => self.launch(site, "sm90_reduce", len, vec![p, split], parts),
            Some(rows) => {
                let rows = Arg::value("bias_rows", &site.size(rows)?);
                self.launch(site, "sm90_tf32_reduce", len, vec![p, rows, split], parts)
            }
        }
    }

    fn launch(self, site: &mut Site, ending: &str, len: usize, p: Vec<Arg>, parts: [Arg; 2]) -> Result<()> {
        let blocks = if parts[1].buffer_bytes() > 0 { self.g.c_out.div_ceil(FILTERS) } else { 0 };
        let dbias = match &self.dbias {
            Some((_, dbias)) if blocks > 0 => dbias.clone(),
            _ => Arg::nothing("dbias", Dtype::F32),
        };
        let call = if self.rule.is_some() { "conv2d_rmsprop_step" } else { "conv2d_backward_weight" };
        let args = p.into_iter().chain(self.rule).chain(parts).chain(self.to).chain([dbias]);
        let grid = [blocks + len.div_ceil(4 * LINEAR), 1, 1];
        site.launch(&format!("{call}_{ending}"), grid, LINEAR, args.collect::<Vec<_>>())
    }

    /// For kernels that leave no parts of the bias: all of it, after what was launched.
    pub fn reduce_alone(self, site: &mut Site, count: usize, parts: Arg, dy: &Buffer) -> Result<()> {
        let (g, dbias) = (self.g, self.dbias.as_ref().map(|(dbias, _)| *dbias));
        self.reduce(site, count, parts, (0, Arg::nothing("biases", Dtype::F32)))?;
        dbias.map_or(Ok(()), |dbias| rows::bias_backward(site, g.n * g.h * g.w, g.c_out, dy, dbias))
    }
}
