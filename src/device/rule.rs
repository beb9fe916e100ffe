//! Rules by which weights follow their gradients, and the tensors that they are applied to.
//!
//! In: numbers as Keras 3 and PyTorch name them. Out: which state each weight keeps, and the numbers of
//! one step. The formulas are those of the calls ([`Call::RmspropStep`](super::Call::RmspropStep) and its
//! neighbours).

use super::Buffer;

/// A weight, its gradient, and the state that the rule keeps for it ([`Keeps`]), 0 before the first step.
#[derive(Debug)]
pub struct ParameterUpdate<'a> {
    /// Any shape.
    pub gradient: &'a Buffer,
    /// As `gradient`.
    pub weight: &'a mut Buffer,
    /// As `gradient`; the mean square.
    pub velocity: Option<&'a mut Buffer>,
    /// As `gradient`; the way so far, or the mean.
    pub momentum: Option<&'a mut Buffer>,
    /// As `gradient`; the mean, of a centered RMSprop.
    pub mean: Option<&'a mut Buffer>,
    /// As `gradient`, bf16 or f16 as all of a call: the new weight to the nearest, ties to even, for the ops that read
    /// it so. Written, never read. Whoever still needs the old one must have run before.
    pub shadow: Option<&'a mut Buffer>,
}

/// Which state a rule keeps for every weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// [`ParameterUpdate::velocity`].
    pub velocity: bool,
    /// [`ParameterUpdate::momentum`].
    pub momentum: bool,
    /// [`ParameterUpdate::mean`].
    pub mean: bool,
}

impl Keeps {
    /// Numbers for each weight.
    pub fn count(self) -> usize {
        [self.velocity, self.momentum, self.mean].into_iter().filter(|kept| *kept).count()
    }
}

/// What happens before any rule: `g = scale·g + l2·w; w = w - w·decay·rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjust {
    /// 1 over a loss's scale. (Batches whose gradients are added up are divided by the step's samples in the loss.)
    pub scale: f32,
    /// Decay that goes through the rule, as `weight_decay` of PyTorch's SGD and RMSprop.
    pub l2: f32,
    /// Decay beside the rule, as `weight_decay` of Keras' optimizers and of PyTorch's AdamW.
    pub decay: f32,
}

impl Adjust {
    /// Nothing.
    pub const NONE: Self = Self { scale: 1.0, l2: 0.0, decay: 0.0 };
}

/// RMSprop's numbers; the default is that of Keras.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rmsprop {
    /// Learning rate.
    pub rate: f32,
    /// Share of the old mean square that is kept.
    pub rho: f32,
    /// Added to the mean square before the root, or to the root.
    pub epsilon: f32,
    /// Share of the way so far that is gone again; 0 for none.
    pub momentum: f32,
    /// Whether the mean's square is taken from the mean square.
    pub centered: bool,
    /// Whether epsilon is added to the root, as in PyTorch.
    pub outside: bool,
}

impl Default for Rmsprop {
    fn default() -> Self {
        Self { rate: 1e-3, rho: 0.9, epsilon: 1e-7, momentum: 0.0, centered: false, outside: false }
    }
}

impl Rmsprop {
    /// What is kept for each weight.
    pub fn keeps(&self) -> Keeps {
        Keeps { velocity: true, momentum: self.momentum > 0.0, mean: self.centered }
    }

    /// Whether it is the rule of [`Call::DenseRmspropStep`](super::Call::DenseRmspropStep) and of
    /// [`Call::Conv2dRmspropStep`](super::Call::Conv2dRmspropStep).
    pub fn is_plain(&self) -> bool {
        !(self.momentum > 0.0 || self.centered || self.outside)
    }
}

/// Gradient descent's numbers; the default is that of Keras.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f32,
    /// Share of the last step that is gone again; 0 for none.
    pub momentum: f32,
    /// Whether the momentum is looked ahead.
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { rate: 1e-2, momentum: 0.0, nesterov: false }
    }
}

impl Sgd {
    /// What is kept for each weight.
    pub fn keeps(&self) -> Keeps {
        Keeps { momentum: self.momentum > 0.0, ..Keeps::default() }
    }
}

/// AdamW's numbers; the default is that of Keras, which has the decay in [`Adjust::decay`]. The betas are
/// f64: what counts is their distance from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamw {
    /// Learning rate.
    pub rate: f32,
    /// Share of the old mean that is kept.
    pub beta_1: f64,
    /// Share of the old mean square that is kept.
    pub beta_2: f64,
    /// Added to the root.
    pub epsilon: f32,
    /// Whether epsilon is added to the corrected root, as in PyTorch, and not to the one that is kept.
    pub corrected: bool,
}

impl Default for Adamw {
    fn default() -> Self {
        Self { rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, corrected: false }
    }
}

/// The numbers of one step of [`Adamw`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwNow {
    /// `rate·√(1-beta_2^t) / (1-beta_1^t)`.
    pub alpha: f32,
    /// `1 - beta_1`.
    pub new_1: f32,
    /// `1 - beta_2`.
    pub new_2: f32,
    /// Added to the root of the mean square that is kept.
    pub epsilon: f32,
}

impl Adamw {
    /// What is kept for each weight.
    pub fn keeps(&self) -> Keeps {
        Keeps { velocity: true, momentum: true, mean: false }
    }

    /// The numbers of step `t`, the first of which is 1.
    pub fn at(&self, t: u64) -> AdamwNow {
        let power = |beta: f64| 1.0 - beta.powf(t as f64);
        let root = power(self.beta_2).sqrt();
        AdamwNow {
            alpha: (f64::from(self.rate) * root / power(self.beta_1)) as f32,
            new_1: (1.0 - self.beta_1) as f32,
            new_2: (1.0 - self.beta_2) as f32,
            epsilon: (f64::from(self.epsilon) * if self.corrected { root } else { 1.0 }) as f32,
        }
    }
}

/// Any of the rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// By [`Call::RmspropStep`](super::Call::RmspropStep).
    Rmsprop(Rmsprop),
    /// By [`Call::SgdStep`](super::Call::SgdStep).
    Sgd(Sgd),
    /// By [`Call::AdamwStep`](super::Call::AdamwStep).
    Adamw(Adamw),
}

impl Rule {
    /// What is kept for each weight.
    pub fn keeps(&self) -> Keeps {
        match self {
            Self::Rmsprop(rule) => rule.keeps(),
            Self::Sgd(rule) => rule.keeps(),
            Self::Adamw(rule) => rule.keeps(),
        }
    }

    /// The same rule at another rate.
    #[must_use]
    pub fn at_rate(self, rate: f32) -> Self {
        match self {
            Self::Rmsprop(rule) => Self::Rmsprop(Rmsprop { rate, ..rule }),
            Self::Sgd(rule) => Self::Sgd(Sgd { rate, ..rule }),
            Self::Adamw(rule) => Self::Adamw(Adamw { rate, ..rule }),
        }
    }

    /// Learning rate.
    pub fn rate(&self) -> f32 {
        match self {
            Self::Rmsprop(rule) => rule.rate,
            Self::Sgd(rule) => rule.rate,
            Self::Adamw(rule) => rule.rate,
        }
    }
}

impl From<Rmsprop> for Rule {
    fn from(rule: Rmsprop) -> Self {
        Self::Rmsprop(rule)
    }
}

impl From<Sgd> for Rule {
    fn from(rule: Sgd) -> Self {
        Self::Sgd(rule)
    }
}

impl From<Adamw> for Rule {
    fn from(rule: Adamw) -> Self {
        Self::Adamw(rule)
    }
}

/// How the rows of a batch make a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossRule {
    /// What the gradient of the rows' sum is divided by: the rows of the whole step, of which a call may
    /// see a part.
    pub denominator: usize,
    /// Share of the target that is spread evenly over the classes, in [0, 1].
    pub smoothing: f32,
}

impl LossRule {
    /// The mean over `rows`, targets as they are.
    pub fn mean(rows: usize) -> Self {
        Self { denominator: rows, smoothing: 0.0 }
    }
}
