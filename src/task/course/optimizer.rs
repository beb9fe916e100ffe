//! The optimizer's rule and numbers as they are written down.

use crate::device::call::{Adamw, Adjust, Rmsprop, Rule, Sgd};
use crate::error::{Error, Kind, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A rule by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleName {
    /// RMSprop, as in the book.
    #[default]
    Rmsprop,
    /// Gradient descent, with momentum if asked for.
    Sgd,
    /// Adam with decay beside it.
    Adamw,
}

impl RuleName {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rmsprop => "rmsprop",
            Self::Sgd => "sgd",
            Self::Adamw => "adamw",
        }
    }
}

/// The optimizer's numbers; what is not given is Keras' default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which rule.
    pub rule: RuleName,
    /// RMSprop's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f32>,
    /// RMSprop's and AdamW's smallest root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f32>,
    /// Whether RMSprop's epsilon is added to the root, as in PyTorch and old Keras, and not under it.
    #[serde(skip_serializing_if = "is_false")]
    pub epsilon_outside: bool,
    /// RMSprop's and gradient descent's momentum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f32>,
    /// Gradient descent's, looked ahead.
    #[serde(skip_serializing_if = "is_false")]
    pub nesterov: bool,
    /// RMSprop with the mean taken off.
    #[serde(skip_serializing_if = "is_false")]
    pub centered: bool,
    /// AdamW's share of the old mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_1: Option<f64>,
    /// AdamW's share of the old mean square.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_2: Option<f64>,
    /// Decay of the weights; AdamW's default is Keras' 0.004.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands a reference
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

impl OptimizerConfig {
    /// The rule at `rate`.
    pub fn rule(&self, rate: f32) -> Rule {
        match self.rule {
            RuleName::Rmsprop => {
                let keras = Rmsprop::default();
                Rule::Rmsprop(Rmsprop {
                    rate,
                    rho: self.rho.unwrap_or(keras.rho),
                    epsilon: self.epsilon.unwrap_or(keras.epsilon),
                    momentum: self.momentum.unwrap_or(keras.momentum),
                    centered: self.centered,
                    outside: self.epsilon_outside,
                })
            }
            RuleName::Sgd => {
                Rule::Sgd(Sgd { rate, momentum: self.momentum.unwrap_or(0.0), nesterov: self.nesterov })
            }
            RuleName::Adamw => {
                let keras = Adamw::default();
                Rule::Adamw(Adamw {
                    rate,
                    beta_1: self.beta_1.unwrap_or(keras.beta_1),
                    beta_2: self.beta_2.unwrap_or(keras.beta_2),
                    epsilon: self.epsilon.unwrap_or(keras.epsilon),
                    ..keras
                })
            }
        }
    }

    /// Decay, beside the rule.
    pub fn adjust(&self) -> Adjust {
        let keras = if self.rule == RuleName::Adamw { 0.004 } else { 0.0 };
        Adjust { decay: self.weight_decay.unwrap_or(keras), ..Adjust::NONE }
    }

    /// Whether all numbers are ones that the rule has and can take.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the first that is not.
    pub fn validate(&self) -> Result<()> {
        let (rmsprop, sgd, adamw) =
            (self.rule == RuleName::Rmsprop, self.rule == RuleName::Sgd, self.rule == RuleName::Adamw);
        let foreign = [
            ("rho", self.rho.is_some() && !rmsprop, "rmsprop"),
            ("epsilon", self.epsilon.is_some() && sgd, "rmsprop, adamw"),
            ("epsilon_outside", self.epsilon_outside && !rmsprop, "rmsprop"),
            ("momentum", self.momentum.is_some() && adamw, "rmsprop, sgd"),
            ("nesterov", self.nesterov && !sgd, "sgd"),
            ("centered", self.centered && !rmsprop, "rmsprop"),
            ("beta_1", self.beta_1.is_some() && !adamw, "adamw"),
            ("beta_2", self.beta_2.is_some() && !adamw, "adamw"),
        ];
        if let Some((name, _, has)) = foreign.into_iter().find(|(_, wrong, _)| *wrong) {
            return Err(Error::new(Kind::Usage, format!("{} has no `{name}`", self.rule.name()))
                .fact("rules that have it", has)
                .help("leave it out, or choose another rule with --optimizer"));
        }
        let shares = [
            ("rho", self.rho.map(f64::from)),
            ("momentum", self.momentum.map(f64::from)),
            ("beta_1", self.beta_1),
            ("beta_2", self.beta_2),
        ];
        for (name, share) in shares {
            if let Some(share) = share.filter(|share| !(0.0..1.0).contains(share)) {
                return Err(Error::new(Kind::Usage, format!("the optimizer's `{name}` must be a share"))
                    .expected_got("0 <= share < 1", share)
                    .help("give a number from 0 up and below 1"));
            }
        }
        if self.nesterov && self.momentum.is_none_or(|momentum| momentum == 0.0) {
            return Err(Error::new(Kind::Usage, "nesterov needs a momentum")
                .expected_got("a momentum with nesterov", "none")
                .help("give one, such as --momentum 0.9"));
        }
        if let Some(decay) = self.weight_decay.filter(|decay| !(*decay >= 0.0 && decay.is_finite())) {
            return Err(Error::new(Kind::Usage, "the optimizer's `weight_decay` cannot have this value")
                .expected_got("a finite number from 0 up", decay)
                .help("give a smaller one, such as 0.004, or leave it out"));
        }
        if let Some(epsilon) = self.epsilon.filter(|epsilon| !(*epsilon > 0.0 && epsilon.is_finite())) {
            return Err(Error::new(Kind::Usage, "the optimizer's `epsilon` must be positive")
                .expected_got("more than 0", epsilon)
                .help(
                    "give a small number, such as 1e-7: with 0, a weight that has had no gradient would move by 0/0",
                ));
        }
        Ok(())
    }
}

impl fmt::Display for OptimizerConfig {
    /// "sgd momentum 0.9 nesterov": the rule, and what is not its default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.name())?;
        let numbers = [
            ("rho", self.rho.map(files::short)),
            ("momentum", self.momentum.map(files::short)),
            ("beta_1", self.beta_1),
            ("beta_2", self.beta_2),
            ("epsilon", self.epsilon.map(files::short)),
            ("decay", self.weight_decay.map(files::short)),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(f, " {name} {number:?}")?;
            }
        }
        let ways = [
            ("nesterov", self.nesterov),
            ("centered", self.centered),
            ("epsilon outside", self.epsilon_outside),
        ];
        ways.iter().filter(|(_, taken)| *taken).try_for_each(|(name, _)| write!(f, " {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_rule_does_not_have_are_refused() {
        let config = |rule| OptimizerConfig { rule, ..OptimizerConfig::default() };
        OptimizerConfig { rho: Some(0.9), ..config(RuleName::Rmsprop) }.validate().unwrap();
        let error = OptimizerConfig { rho: Some(0.9), ..config(RuleName::Sgd) }.validate().unwrap_err();
        assert!(error.to_string().contains("sgd has no `rho`"), "{error}");
        assert!(OptimizerConfig { nesterov: true, ..config(RuleName::Adamw) }.validate().is_err());
        assert!(OptimizerConfig { momentum: Some(1.0), ..config(RuleName::Sgd) }.validate().is_err());
        let mut sgd = OptimizerConfig { nesterov: true, ..config(RuleName::Sgd) };
        assert!(sgd.validate().unwrap_err().to_string().contains("--momentum 0.9"));
        sgd.momentum = Some(0.9);
        sgd.validate().unwrap();
        assert_eq!(sgd.to_string(), "sgd momentum 0.9 nesterov");
        assert_eq!(config(RuleName::Adamw).adjust().decay, 0.004);
        let decay = OptimizerConfig { weight_decay: Some(f32::INFINITY), ..config(RuleName::Adamw) };
        let error = decay.validate().unwrap_err().to_string();
        assert!(
            error.contains("a finite number from 0 up\n  got       inf") && error.contains("help"),
            "{error}"
        );
        let error =
            OptimizerConfig { epsilon: Some(0.0), ..config(RuleName::Rmsprop) }.validate().unwrap_err();
        assert!(error.to_string().contains("`epsilon` must be positive"), "{error}");
    }

    #[test]
    fn every_number_reaches_the_rule_and_what_is_not_given_is_keras() {
        let rule = |config: OptimizerConfig| config.rule(0.5);
        let of = |rule| OptimizerConfig { rule, ..OptimizerConfig::default() };
        let plain =
            Rmsprop { rate: 0.5, rho: 0.9, epsilon: 1e-7, momentum: 0.0, centered: false, outside: false };
        let rmsprop = of(RuleName::Rmsprop);
        for (config, want) in [
            (rmsprop.clone(), plain),
            (OptimizerConfig { rho: Some(0.8), ..rmsprop }, Rmsprop { rho: 0.8, ..plain }),
            (OptimizerConfig { epsilon: Some(1e-3), ..rmsprop }, Rmsprop { epsilon: 1e-3, ..plain }),
            (OptimizerConfig { momentum: Some(0.7), ..rmsprop }, Rmsprop { momentum: 0.7, ..plain }),
            (OptimizerConfig { centered: true, ..rmsprop }, Rmsprop { centered: true, ..plain }),
            (OptimizerConfig { epsilon_outside: true, ..rmsprop }, Rmsprop { outside: true, ..plain }),
        ] {
            assert_eq!(rule(config), Rule::Rmsprop(want));
        }
        let sgd = of(RuleName::Sgd);
        let plain = Sgd { rate: 0.5, momentum: 0.0, nesterov: false };
        for (config, want) in [
            (sgd.clone(), plain),
            (OptimizerConfig { momentum: Some(0.7), ..sgd }, Sgd { momentum: 0.7, ..plain }),
            (OptimizerConfig { nesterov: true, ..sgd }, Sgd { nesterov: true, ..plain }),
        ] {
            assert_eq!(rule(config), Rule::Sgd(want));
        }
        let adamw = of(RuleName::Adamw);
        let plain = Adamw { rate: 0.5, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, ..Adamw::default() };
        for (config, want) in [
            (adamw.clone(), plain),
            (OptimizerConfig { beta_1: Some(0.8), ..adamw }, Adamw { beta_1: 0.8, ..plain }),
            (OptimizerConfig { beta_2: Some(0.7), ..adamw }, Adamw { beta_2: 0.7, ..plain }),
            (OptimizerConfig { epsilon: Some(1e-3), ..adamw }, Adamw { epsilon: 1e-3, ..plain }),
        ] {
            assert_eq!(rule(config), Rule::Adamw(want));
        }
        // Decay stands beside the rule; Keras' AdamW has some of its own.
        for (config, want) in [(rmsprop, 0.0), (sgd, 0.0), (adamw, 0.004)] {
            assert_eq!(config.adjust(), Adjust { decay: want, ..Adjust::NONE });
            let given = OptimizerConfig { weight_decay: Some(0.25), ..config };
            assert_eq!(given.adjust(), Adjust { decay: 0.25, ..Adjust::NONE });
        }
    }
}
