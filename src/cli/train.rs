//! The options of training that `finetune`, `fit` and `demo` share.

use super::values::{fraction, number, pooling, positive, rates, share, whole, width};
use crate::error::Result;
use crate::model::Pooling;
use crate::task::{ClassWeights, HeadOptions, OptimizerConfig, Origin, RuleName, StageConfig};
use crate::train::{Monitor, Schedule};
use clap::{Args, ValueEnum};

/// Learning rate of a classifier on the frozen base, if none is given; help texts repeat what begins here.
pub const HEAD_RATE: f32 = 2e-5;
/// The same where it takes means or has no hidden layer: fewer weights, and less to overfit with (docs/accuracy.md).
pub const SMALL_HEAD_RATE: f32 = 1e-4;
/// The same where it is one layer on means, whose 512 weights a class take the longest to grow.
pub const SMALLEST_HEAD_RATE: f32 = 1e-3;

/// How the classifier is built and trained.
#[derive(Args, Clone, Debug)]
pub struct HeadArgs {
    /// What the classifier takes of the base's last map: all its numbers, as the book does, or with avg the mean of each
    /// channel (Keras' GlobalAveragePooling2D), which needs 512 weights per unit instead of 8192 for images of 150x150
    #[arg(long, value_name = "HOW", default_value = "flatten", value_parser = pooling())]
    pub pooling: Pooling,
    /// Units of the hidden dense layer; 0 for none
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = width)]
    pub units: usize,
    /// Share of what enters the last dense layer that is dropped in training; 0.5 if not given
    #[arg(long, value_name = "SHARE", value_parser = fraction::<f32>)]
    pub dropout: Option<f32>,
    /// Samples per step
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 20, value_parser = positive)]
    pub batch: usize,
    /// Decides initial weights, order, dropout and who is held out; the same seed gives the same run, bit for bit. 1 if not
    /// given
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub seed: Option<u64>,
}

impl HeadArgs {
    /// The classifier; what is not given is as `from` has it, a run that the job begins with.
    pub fn options(&self, from: Option<&Origin>) -> HeadOptions {
        HeadOptions {
            pooling: self.pooling,
            units: self.units,
            dropout: self.dropout.unwrap_or_else(|| from.map_or(0.5, Origin::dropout)),
            batch: self.batch,
            seed: self.seed.unwrap_or_else(|| from.map_or(1, Origin::seed)),
        }
    }
}

/// At which a classifier learns on the frozen base, if nobody says.
pub fn head_rate(pooling: Pooling, units: usize) -> f32 {
    match (pooling, units) {
        (Pooling::Average, 0) => SMALLEST_HEAD_RATE,
        (Pooling::Average, _) | (Pooling::Flatten, 0) => SMALL_HEAD_RATE,
        (Pooling::Flatten, _) => HEAD_RATE,
    }
}

/// How a stage is trained. What is not given is as in the book, with Keras' defaults.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Training")]
pub struct TrainArgs {
    /// The rule by which weights follow their gradients; Keras' Adam is `adamw` with --weight-decay 0
    #[arg(long, value_name = "RULE", default_value = "rmsprop", value_parser = super::values::Rules)]
    pub optimizer: RuleArg,
    /// Momentum of rmsprop or sgd
    #[arg(long, value_name = "SHARE", value_parser = fraction::<f32>)]
    pub momentum: Option<f32>,
    /// Use Nesterov momentum in sgd
    #[arg(long)]
    pub nesterov: bool,
    /// Decay of rmsprop's mean of squared gradients [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = fraction::<f32>)]
    pub rho: Option<f32>,
    /// Centered rmsprop: subtract the square of the mean gradient
    #[arg(long)]
    pub centered: bool,
    /// Small number that keeps the denominator from being 0: under rmsprop's root, added to adamw's [default: 1e-7]
    #[arg(long, value_name = "NUMBER", value_parser = number::<f32>)]
    pub epsilon: Option<f32>,
    /// Add rmsprop's epsilon to the root, as PyTorch and Keras of 2018 do, instead of under it
    #[arg(long)]
    pub epsilon_outside: bool,
    /// Decay of adamw's mean of gradients [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = fraction::<f64>)]
    pub beta_1: Option<f64>,
    /// Decay of adamw's mean of squared gradients [default: 0.999]
    #[arg(long, value_name = "SHARE", value_parser = fraction::<f64>)]
    pub beta_2: Option<f64>,
    /// Weight decay, apart from the gradient [default: 0.004 for adamw, else 0]
    #[arg(long, value_name = "NUMBER", value_parser = number::<f32>)]
    pub weight_decay: Option<f32>,
    /// Course of the learning rate over a stage: constant, step:EPOCHS,FACTOR, cosine:FLOOR or
    /// plateau:EPOCHS,FACTOR,FLOOR; numbers at the end may be left out
    #[arg(long, value_name = "COURSE", default_value = "constant", value_parser = super::values::course)]
    pub schedule: Schedule,
    /// Steps over which the rate rises from nothing
    #[arg(long, value_name = "STEPS", default_value_t = 0, value_parser = whole::<usize>)]
    pub warmup: usize,
    /// Factors of the rate by block: block5=1,block4=0.5,classifier=2
    #[arg(long, value_name = "BLOCK=FACTOR,…", value_parser = rates)]
    pub rates: Option<Factors>,
    /// Steps of an epoch; a pass over the training set if not given
    #[arg(long, value_name = "N", value_parser = positive)]
    pub steps_per_epoch: Option<usize>,
    /// Batches of validation after each epoch; the whole set if not given
    #[arg(long, value_name = "N", value_parser = positive)]
    pub validation_steps: Option<usize>,
    /// Add the gradients of so many batches up before the weights move: a large batch in little memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub accumulate: usize,
    /// Share of each target that is spread evenly over the classes, in training and in val_loss; the losses of the test,
    /// evaluate and report are without it
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub label_smoothing: f64,
    /// How much samples of each class count in the training loss: auto (so that all classes count the same), or one
    /// number per class, in the order of their names
    #[arg(long, value_name = "auto|W,W,…", allow_hyphen_values = true, value_parser = super::values::class_weights)]
    pub class_weights: Option<ClassWeights>,
    /// The figure by which epochs are compared
    #[arg(long, value_name = "FIGURE", default_value = "val_loss", value_parser = super::values::monitor())]
    pub monitor: Monitor,
    /// End a stage after so many epochs without improvement, with the weights of its best epoch
    #[arg(long, alias = "patience", value_name = "EPOCHS", value_parser = positive)]
    pub early_stopping: Option<usize>,
    /// End each stage with the weights of its best epoch
    #[arg(long)]
    pub restore_best: bool,
}

/// Factors by block.
pub type Factors = std::collections::BTreeMap<String, f32>;

/// A rule as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RuleArg {
    /// RMSprop, as in the book
    Rmsprop,
    /// Gradient descent
    Sgd,
    /// Adam with decoupled weight decay; with --weight-decay 0 it is Adam
    Adamw,
}

impl TrainArgs {
    /// A stage of that name, boundary, length and rate with these options.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for numbers that cannot be.
    pub fn stage(
        &self,
        name: &str,
        unfreeze_from: Option<&str>,
        epochs: usize,
        rate: f32,
    ) -> Result<StageConfig> {
        let stage = StageConfig {
            steps_per_epoch: self.steps_per_epoch,
            validation_steps: self.validation_steps,
            accumulate: self.accumulate,
            warmup: self.warmup,
            schedule: self.schedule,
            rates: self.rates.clone().unwrap_or_default(),
            label_smoothing: self.label_smoothing as f32,
            class_weights: self.class_weights.clone(),
            monitor: self.monitor,
            early_stopping: self.early_stopping,
            restore_best: self.restore_best || self.early_stopping.is_some(),
            optimizer: OptimizerConfig {
                rule: match self.optimizer {
                    RuleArg::Rmsprop => RuleName::Rmsprop,
                    RuleArg::Sgd => RuleName::Sgd,
                    RuleArg::Adamw => RuleName::Adamw,
                },
                rho: self.rho,
                epsilon: self.epsilon,
                epsilon_outside: self.epsilon_outside,
                momentum: self.momentum,
                nesterov: self.nesterov,
                centered: self.centered,
                beta_1: self.beta_1,
                beta_2: self.beta_2,
                weight_decay: self.weight_decay,
            },
            ..StageConfig::new(name, unfreeze_from, epochs, rate)
        };
        stage.validate()?;
        Ok(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        train: TrainArgs,
    }

    fn stage(words: &str) -> StageConfig {
        let typed = Typed::try_parse_from(["vgg-ft"].into_iter().chain(words.split_whitespace())).unwrap();
        typed.train.stage("head", Some("block5_conv1"), 3, 0.25).unwrap()
    }

    /// An option that went nowhere, or to another's place, would train without a word.
    #[test]
    fn every_option_reaches_its_place_in_the_stage() {
        let plain = StageConfig::new("head", Some("block5_conv1"), 3, 0.25);
        assert_eq!(stage(""), plain);
        type Set = fn(&mut StageConfig);
        let table: [(&str, Set); 21] = [
            ("--optimizer rmsprop", |_| {}),
            ("--optimizer sgd", |s| s.optimizer.rule = RuleName::Sgd),
            ("--optimizer adamw", |s| s.optimizer.rule = RuleName::Adamw),
            ("--momentum 0.75", |s| s.optimizer.momentum = Some(0.75)),
            ("--optimizer sgd --momentum 0.5 --nesterov", |s| {
                s.optimizer.rule = RuleName::Sgd;
                s.optimizer.momentum = Some(0.5);
                s.optimizer.nesterov = true;
            }),
            ("--rho 0.8", |s| s.optimizer.rho = Some(0.8)),
            ("--centered", |s| s.optimizer.centered = true),
            ("--epsilon 1e-3", |s| s.optimizer.epsilon = Some(1e-3)),
            ("--epsilon-outside", |s| s.optimizer.epsilon_outside = true),
            ("--optimizer adamw --beta-1 0.7 --beta-2 0.6", |s| {
                s.optimizer.rule = RuleName::Adamw;
                s.optimizer.beta_1 = Some(0.7);
                s.optimizer.beta_2 = Some(0.6);
            }),
            ("--weight-decay 0.01", |s| s.optimizer.weight_decay = Some(0.01)),
            ("--schedule cosine:0.1", |s| s.schedule = Schedule::Cosine { floor: 0.1 }),
            ("--warmup 7", |s| s.warmup = 7),
            ("--rates block5=0.5,classifier=2", |s| {
                s.rates = [("block5".into(), 0.5), ("classifier".into(), 2.0)].into();
            }),
            ("--steps-per-epoch 9", |s| s.steps_per_epoch = Some(9)),
            ("--validation-steps 8", |s| s.validation_steps = Some(8)),
            ("--accumulate 4", |s| s.accumulate = 4),
            ("--label-smoothing 0.125", |s| s.label_smoothing = 0.125),
            ("--class-weights 1,2", |s| s.class_weights = Some(ClassWeights::Given(vec![1.0, 2.0]))),
            ("--monitor val_accuracy --early-stopping 5", |s| {
                s.monitor = Monitor::ValAccuracy;
                s.early_stopping = Some(5);
                s.restore_best = true;
            }),
            ("--restore-best", |s| s.restore_best = true),
        ];
        for (words, set) in table {
            let mut want = plain.clone();
            set(&mut want);
            assert_eq!(stage(words), want, "{words}");
        }
        for option in Typed::command().get_arguments().filter_map(|arg| arg.get_long()) {
            let typed = |words: &str| words.split_whitespace().any(|word| word == format!("--{option}"));
            assert!(table.iter().any(|(words, _)| typed(words)), "--{option} has no line in the table");
        }
    }
}
