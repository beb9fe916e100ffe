//! The values of one parameter: the file's layout in, Keras' or the engine's out.

use super::layers::{Form, Norm};
use super::{Origin, Role};
use crate::error::{Error, Kind, Result};
use crate::weights::{Weights, layout, shorten};
use std::borrow::Cow;

/// In Keras' layout.
pub(super) fn keras<'w>(weights: &'w Weights, origin: &Origin, role: Role) -> Result<Cow<'w, [f32]>> {
    let found = &origin.found;
    let as_it_is = found.norm.is_none() && !origin.turned && !origin.joined && origin.flattened.is_none();
    if role == Role::Kernel && as_it_is && matches!(found.form, Form::Hwio | Form::InOut) {
        return weights.tensor(&found.kernel, weights.shape(&found.kernel)?);
    }
    let mut values = vec![0.0; len(origin, role)];
    engine(weights, origin, role, &mut values)?;
    Ok(Cow::Owned(match (role, &found.shape[..]) {
        (Role::Kernel, &[h, w, i, o]) => layout::ohwi_to_hwio(&values, [h, w, i, o]),
        _ => values,
    }))
}

/// In the engine's layout, into `to`.
pub(super) fn engine(weights: &Weights, origin: &Origin, role: Role, to: &mut [f32]) -> Result<()> {
    let found = &origin.found;
    if to.len() != len(origin, role) {
        return Err(Error::new(Kind::Weights, format!("`{}` has another size", shorten(&found.kernel)))
            .expected_got(to.len(), len(origin, role)));
    }
    match (role, &found.shape[..]) {
        _ if origin.joined => joined(weights, origin, role, to)?,
        (Role::Bias, _) => bias(weights, origin, to)?,
        (Role::Kernel, &[h, w, i, o]) => convolution(weights, origin, [h, w, i, o], to)?,
        (Role::Kernel, &[rows, units]) => dense(weights, origin, [rows, units], to)?,
        (Role::Kernel, _) => {}
    }
    if found.norm.is_none() || to.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Weights,
        format!("`{}` is not finite with its normalisation in it", shorten(&found.kernel)),
    )
    .help("the file is damaged, or its training diverged; use another"))
}

/// How many values there are: the file has at least as many as a kernel, none of whose axes is 0, and a bias is
/// shorter than its kernel.
fn len(origin: &Origin, role: Role) -> usize {
    let shape = origin.shape();
    match role {
        Role::Kernel => shape.iter().product(),
        Role::Bias => shape.last().copied().unwrap_or(0),
    }
}

/// The second column minus the first: of two outputs a, b, the softmax of b is the sigmoid of b − a.
fn joined(weights: &Weights, origin: &Origin, role: Role, to: &mut [f32]) -> Result<()> {
    let both =
        Origin { found: origin.found.clone(), flattened: origin.flattened, turned: false, joined: false };
    let mut values = vec![0.0; len(&both, role)];
    engine(weights, &both, role, &mut values)?;
    to.iter_mut().zip(values.chunks_exact(2)).for_each(|(to, pair)| *to = pair[1] - pair[0]);
    Ok(())
}

/// Bytes of a convolution at a time: what the second-level caches of two threads hold, and malloc keeps.
const CONVOLUTION: usize = 1 << 20;
/// Bytes of a dense kernel at a time: some dozens of PyTorch's columns, which become runs of a cache line or more.
const DENSE: usize = 8 << 20;

fn convolution(weights: &Weights, origin: &Origin, hwio: [usize; 4], to: &mut [f32]) -> Result<()> {
    let [h, w, i, o] = hwio;
    let found = &origin.found;
    let shape = weights.shape(&found.kernel)?;
    if found.form == Form::Hwio {
        // HWIO is the transpose of OHWI.
        weights.blocks(&found.kernel, shape, (o, CONVOLUTION), &mut |first, values| {
            layout::transpose_rows(values, first / o, to, h * w * i);
            Ok(())
        })?;
    } else {
        layout::oihw_to_ohwi_into(&weights.tensor(&found.kernel, shape)?, hwio, to);
    }
    if origin.turned {
        to.chunks_exact_mut(i.max(1)).for_each(<[f32]>::reverse);
    }
    if let Some(norm) = &found.norm {
        let factors = factors(weights, norm, origin)?;
        for (filter, factor) in to.chunks_exact_mut((h * w * i).max(1)).zip(factors) {
            // One rounding: the product of an f32 and an f64 is rounded to f32.
            filter.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
    }
    Ok(())
}

/// γ / √(σ² + ε) of each channel (Ioffe & Szegedy 2015): what a folded kernel is multiplied by.
fn factors(weights: &Weights, norm: &Norm, origin: &Origin) -> Result<Vec<f64>> {
    let (scale, variance) =
        (channels(weights, &norm.scale, origin)?, channels(weights, &norm.variance, origin)?);
    let factors = scale.iter().zip(variance.iter());
    let factors: Vec<f64> =
        factors.map(|(&g, &v)| f64::from(g) / (f64::from(v) + norm.epsilon).sqrt()).collect();
    match factors.iter().position(|factor| !factor.is_finite()) {
        None => Ok(factors),
        Some(at) => Err(Error::new(
            Kind::Weights,
            format!("the variance `{}` is impossible", shorten(&norm.variance)),
        )
        .expected_got(format!("more than -{}", norm.epsilon), format!("{} at index {at}", variance[at]))
        .help("the file is damaged; fetch or make it again")),
    }
}

fn bias(weights: &Weights, origin: &Origin, to: &mut [f32]) -> Result<()> {
    match &origin.found.bias {
        Some(name) => to.copy_from_slice(&channels(weights, name, origin)?),
        None => to.fill(0.0),
    }
    if let Some(norm) = &origin.found.norm {
        let factors = factors(weights, norm, origin)?;
        let (mean, offset) =
            (channels(weights, &norm.mean, origin)?, channels(weights, &norm.offset, origin)?);
        for (at, value) in to.iter_mut().enumerate() {
            *value = ((f64::from(*value) - f64::from(mean[at])) * factors[at] + f64::from(offset[at])) as f32;
        }
    }
    Ok(())
}

/// A tensor of one value per output channel; axes of one beside that are the exporter's.
fn channels<'w>(weights: &'w Weights, name: &str, origin: &Origin) -> Result<Cow<'w, [f32]>> {
    let units = len(origin, Role::Bias);
    let shape = weights.shape(name)?;
    if shape.iter().product::<usize>() != units {
        return Err(Error::new(
            Kind::Weights,
            format!("the tensor `{}` does not fit its layer", shorten(name)),
        )
        .expected_got(format!("{units} values"), format!("{shape:?}"))
        .help("`vgg-ft weights inspect` lists what a file holds"));
    }
    weights.tensor(name, shape)
}

fn dense(weights: &Weights, origin: &Origin, [rows, units]: [usize; 2], to: &mut [f32]) -> Result<()> {
    let found = &origin.found;
    let shape = weights.shape(&found.kernel)?;
    // Row of ours that a row of the file becomes.
    let row = |from: usize| match origin.flattened {
        Some([h, w, c]) => from % (h * w) * c + from / (h * w),
        None => from,
    };
    match found.form {
        Form::InOut => weights.blocks(&found.kernel, shape, (units, DENSE), &mut |first, values| {
            for (at, from) in values.chunks_exact(units.max(1)).enumerate() {
                to[row(first / units + at) * units..][..units].copy_from_slice(from);
            }
            Ok(())
        }),
        _ => weights.blocks(&found.kernel, shape, (rows, DENSE), &mut |first, values| {
            layout::scatter_columns(values, rows, first / rows, to, units, origin.flattened);
            Ok(())
        }),
    }
}
