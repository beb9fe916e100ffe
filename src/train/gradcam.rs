//! Where in an image the network saw what it called: Grad-CAM.
//!
//! `α_c = mean over the map of ∂(logit)/∂A_c`, `cam = max(Σ_c α_c · A_c, 0)`, with `A` the activation of the
//! last convolution, `[n, h, w, c]`. The activation is made a parameter of its own, so that its gradient arrives
//! as any other's; the walk back ends there. For one sigmoid unit the first class' logit is the unit's, negated.
//! Source: R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
//! localization", ICCV 2017.

use crate::device::{Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::graph::{InputGradient, Mode, Parameter, Tape, Tensor};
use crate::model::{Architecture, Layer, Network, Output};
use crate::shape::Shape;

/// A map of the parts that spoke for a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Cam {
    /// Rows and columns.
    pub size: [usize; 2],
    /// 0 and more, row by row; the scale has no meaning.
    pub values: Vec<f32>,
}

/// An activation and what a logit asks of it.
#[derive(Clone, Debug)]
pub struct Saliency {
    /// `[n, h, w, c]`.
    pub shape: Shape,
    /// The last convolution's output, after ReLU.
    pub activation: Vec<f32>,
    /// The logit's gradient with respect to it.
    pub gradient: Vec<f32>,
}

/// The position of the last convolution.
///
/// # Errors
/// [`Kind::Usage`] when there is none.
pub fn last_convolution(architecture: &Architecture) -> Result<usize> {
    let is_convolution = |placed: &crate::model::Placed| matches!(placed.layer, Layer::Conv2d { .. });
    architecture.layers().iter().rposition(is_convolution).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{} has no convolution to look at", architecture.name))
    })
}

/// The maps of images `x` (as the network takes them), each for its own of `classes`.
///
/// # Errors
/// As [`saliency`].
pub fn gradcam(device: &dyn Device, network: &Network, x: Tensor, classes: &[usize]) -> Result<Vec<Cam>> {
    let last = last_convolution(network.architecture())?;
    // The range ends with the convolution, so the pool behind it is not fused with it.
    let activation = {
        let tape = Tape::new(device, Mode::Inference);
        network.forward(&tape, x, 0..last + 1, None)?
    };
    let shape = activation.shape();
    let values = device.download_floats(activation.buffer())?;
    drop(activation);
    cams(&saliency(device, network, last + 1, (shape, &values), classes)?)
}

/// The gradient of each row's logit of `classes` with respect to `activation`, which enters at layer `from`.
/// Dropout is off. Gradients of weights that learn are passed over; freeze them to save the work.
///
/// # Errors
/// [`Kind::Shape`] when there is not one class per row, or one that the network does not have; the device's
/// errors.
pub fn saliency(
    device: &dyn Device,
    network: &Network,
    from: usize,
    (shape, activation): (Shape, &[f32]),
    classes: &[usize],
) -> Result<Saliency> {
    let parameter = Parameter::new(device, "activation".into(), shape, activation)?;
    // What learns is recorded in training mode alone; there dropout drops, so the walk goes around it.
    let tape = Tape::new(device, Mode::Training);
    let mut x = tape.parameter(ACTIVATION, &parameter);
    let layers = network.architecture().layers();
    let mut position = from;
    while position < layers.len() {
        let rest = &layers[position..];
        let next = rest.iter().position(|placed| matches!(placed.layer, Layer::Dropout { .. }));
        let end = next.map_or(layers.len(), |n| position + n);
        x = network.forward(&tape, x, position..end, None)?;
        position = end + 1;
    }
    let seed = device.upload(&seed(network.architecture().output(), &x, classes)?)?;
    let nothing = device.alloc(Dtype::F32, 1)?;
    // A scalar to walk back from whose derivative is 1 at the chosen logits; its value is never asked for.
    let chosen =
        tape.record_loss("class logit", Shape::new(&[1]), nothing, [&x], [Some(InputGradient::plain(seed))]);
    drop(x);
    let mut found = None;
    tape.backward(&chosen, |index, gradient| {
        if index == ACTIVATION {
            found = Some(device.download(&gradient.store(device)?)?);
        }
        Ok(())
    })?;
    let gradient =
        found.ok_or_else(|| Error::bug(Kind::Shape, "the logits do not depend on the activation"))?;
    Ok(Saliency { shape, activation: activation.to_vec(), gradient })
}

/// What the tape calls the activation: no parameter of a network has this number.
const ACTIVATION: usize = usize::MAX;

/// The derivative of the sum of the chosen logits, `[rows, logits]`.
fn seed(output: Output, logits: &Tensor, classes: &[usize]) -> Result<Vec<f32>> {
    let [rows, columns] = logits.shape().matrix("gradcam: the logits")?;
    let count = if output == Output::Sigmoid { 2 } else { columns };
    if classes.len() != rows || classes.iter().any(|&class| class >= count) {
        return Err(Error::new(Kind::Shape, "gradcam: one class per image")
            .expected_got(format!("{rows} below {count}"), format!("{classes:?}")));
    }
    let mut seed = vec![0.0; rows * columns];
    for (row, &class) in seed.chunks_exact_mut(columns).zip(classes) {
        match output {
            Output::Sigmoid => row[0] = if class == 1 { 1.0 } else { -1.0 },
            Output::Softmax(_) | Output::Features => row[class] = 1.0,
        }
    }
    Ok(seed)
}

/// Channel weights, the weighted sum, ReLU.
///
/// # Errors
/// [`Kind::Shape`] when the activation is no map.
pub fn cams(saliency: &Saliency) -> Result<Vec<Cam>> {
    let [_, h, w, channels] = saliency.shape.nhwc("gradcam: the activation")?;
    let image = h * w * channels;
    if image == 0 {
        return Err(
            Error::new(Kind::Shape, "gradcam: the activation is empty").expected_got("a map", saliency.shape)
        );
    }
    let both = saliency.activation.chunks_exact(image).zip(saliency.gradient.chunks_exact(image));
    Ok(both
        .map(|(activation, gradient)| {
            let mut alpha = vec![0.0f64; channels];
            for place in gradient.chunks_exact(channels) {
                alpha.iter_mut().zip(place).for_each(|(sum, &g)| *sum += f64::from(g) / (h * w) as f64);
            }
            let weigh =
                |place: &[f32]| -> f64 { place.iter().zip(&alpha).map(|(&a, k)| f64::from(a) * k).sum() };
            let values =
                activation.chunks_exact(channels).map(|place| weigh(place).max(0.0) as f32).collect();
            Cam { size: [h, w], values }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_without_places_is_no_map() {
        for axes in [&[1, 0, 3, 2][..], &[1, 6]] {
            let saliency = Saliency { shape: Shape::new(axes), activation: Vec::new(), gradient: Vec::new() };
            assert_eq!(cams(&saliency).map(|_| ()).unwrap_err().kind(), Kind::Shape, "{axes:?}");
        }
    }

    #[test]
    fn channels_count_by_their_mean_gradient_and_what_speaks_against_is_cut() {
        let saliency = Saliency {
            shape: Shape::new(&[1, 1, 3, 2]),
            activation: vec![1.0, 0.0, 2.0, 1.0, 0.0, 5.0],
            // Means 2 and -1.
            gradient: vec![6.0, -3.0, 0.0, 0.0, 0.0, 0.0],
        };
        let cam = &cams(&saliency).unwrap()[0];
        assert_eq!((cam.size, cam.values.as_slice()), ([1, 3], [2.0, 3.0, 0.0].as_slice()));
    }
}
