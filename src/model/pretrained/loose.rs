//! Batch normalisations of a PyTorch file that belong to a convolution, or to none.
//!
//! In: the module's name, its tensors, and the convolution before it. Out: the convolution has it; or it is the
//! classifier's, which is then left out; or an error, since a base that is not folded computes something else.

use super::layers::{Found, Layers, Norm};
use crate::error::{Error, Kind, Result};
use crate::weights::{Weights, shorten};

/// A normalisation of no convolution.
pub(super) struct Loose {
    stem: String,
    channels: usize,
}

impl Loose {
    pub fn error(&self) -> Error {
        let what = format!("the batch normalisation `{}` cannot be folded", shorten(&self.stem));
        Error::new(Kind::Weights, what)
            .expected_got(
                "a convolution of as many channels before it",
                format!("{} channels", self.channels),
            )
            .help("export the model as ONNX, whose graph says what stands where, and give that file")
    }
}

/// Whether `norm` may be what comes next to `layer`: in the same module, and where a list numbers them, by the next number.
fn beside(layer: &str, norm: &str) -> bool {
    let parts = |name: &str| {
        let (parent, own) = name.rsplit_once('.').unwrap_or(("", name));
        (parent.to_owned(), own.parse::<u64>().ok())
    };
    match (parts(layer), parts(norm)) {
        ((one, _), (other, _)) if one != other => false,
        ((_, Some(at)), (_, Some(next))) => next == at.saturating_add(1),
        _ => true,
    }
}

impl Layers {
    /// Puts `norm`, the module `stem`, behind the convolution `before`, which the module before it must be; or gives it
    /// back.
    pub fn fold(
        &mut self,
        weights: &Weights,
        stem: &str,
        norm: Norm,
        before: Option<usize>,
    ) -> Result<Option<Loose>> {
        let channels = weights.shape(&norm.mean)?.iter().product();
        if let Some(conv) = before.and_then(|at| self.convolutions.get_mut(at))
            && conv.shape.last() == Some(&channels)
        {
            conv.norm = Some(norm);
            return Ok(None);
        }
        if self.dense.iter().any(|dense| dense.shape.contains(&channels)) {
            self.trouble = Some(format!("`{}` normalises between dense layers", shorten(stem)));
            self.left.push(stem.to_owned());
            return Ok(None);
        }
        Ok(Some(Loose { stem: stem.to_owned(), channels }))
    }

    /// What becomes of the normalisations that no convolution has: one, of as many numbers as the first dense layer takes, is
    /// the classifier's.
    ///
    /// # Errors
    /// For any other.
    pub fn settle(&mut self, mut loose: Vec<Loose>) -> Result<()> {
        let rows = self.dense.first().and_then(|dense| dense.shape.first().copied());
        // Behind a mean of each channel there are as many numbers as channels. Networks are normalised throughout or not at
        // all, so this one is not the last convolution's.
        if let [.., Found { norm: None, .. }, last] = &mut self.convolutions[..]
            && let (Some(norm), Some(&channels)) = (&last.norm, last.shape.last())
        {
            let stem = norm.mean.strip_suffix(".running_mean").unwrap_or(&norm.mean).to_owned();
            if rows != Some(channels) || beside(&last.name, &stem) {
                let what = format!("`{}` normalises one convolution alone, the last", shorten(&stem));
                return Err(Error::new(Kind::Weights, what)
                    .expected_got("a normalisation behind each convolution, or behind none", "behind one")
                    .help(
                        "export the model as ONNX, whose graph says what stands where, and give that file",
                    ));
            }
            last.norm = None;
            loose.push(Loose { stem, channels });
        }
        match &loose[..] {
            [] => Ok(()),
            [one] if rows == Some(one.channels) && !self.convolutions.is_empty() => {
                self.trouble = Some(format!("`{}` normalises what the classifier takes", shorten(&one.stem)));
                self.left.push(one.stem.clone());
                Ok(())
            }
            [first, ..] => Err(first.error()),
        }
    }
}
