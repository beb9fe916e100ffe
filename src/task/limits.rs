//! What the numbers of a job may be: asked as they are typed, and of every job before it begins, whether it was
//! typed or stands in a file.

use super::course::StageConfig;
use super::fit::HeadOptions;
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::ops::RangeInclusive;

pub use crate::model::SIDES;

/// Units of the hidden layer; none leaves it out.
pub const UNITS: RangeInclusive<usize> = 0..=65_536;

/// Samples that run together, and batches of a step.
const TOGETHER: RangeInclusive<usize> = 1..=1 << 20;
/// Steps; a product of two fits 64 bits.
const TIMES: RangeInclusive<usize> = 1..=1 << 31;
/// Epochs: a checkpoint has a line for each in its header, which may be 100 MB long.
const EPOCHS: RangeInclusive<usize> = 1..=100_000;

/// Whether `n` lies in `range`; what it should be if not.
///
/// # Errors
/// "a whole number from 1 to 65536".
pub fn within(range: &RangeInclusive<usize>, n: usize) -> Result<(), String> {
    if range.contains(&n) {
        return Ok(());
    }
    Err(match (range.start(), range.end()) {
        (least, &usize::MAX) => format!("a whole number from {least} up"),
        (least, most) => format!("a whole number from {least} to {most}"),
    })
}

/// At least one.
///
/// # Errors
/// "a whole number from 1 up".
pub fn positive(n: usize) -> Result<(), String> {
    within(&(1..=usize::MAX), n)
}

/// Whether TOML can hold the seed.
///
/// # Errors
/// [`Kind::Usage`].
pub(super) fn seed(seed: u64) -> Result<()> {
    if i64::try_from(seed).is_ok() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "`seed` cannot have this value")
        .expected_got(format!("a whole number from 0 to {}", i64::MAX), seed)
        .help("give a smaller one"))
}

/// Whether a job can have these numbers. What depends on the data (classes, layers, weights) is asked later.
///
/// # Errors
/// [`Kind::Usage`] naming the first that cannot be.
pub(super) fn check(size: [usize; 2], head: &HeadOptions, stages: &[StageConfig]) -> Result<()> {
    let ask = |name: &str, answer: Result<(), String>, got: &dyn fmt::Display| {
        answer.map_err(|expected| {
            Error::new(Kind::Usage, format!("`{name}` cannot have this value"))
                .expected_got(expected, got)
                .help("change it where it was given: the option, or its line in the configuration")
        })
    };
    for side in size {
        ask("size", within(&SIDES, side), &side)?;
    }
    ask("units", within(&UNITS, head.units), &head.units)?;
    ask("batch", within(&TOGETHER, head.batch), &head.batch)?;
    seed(head.seed)?;
    let share = (0.0..1.0).contains(&head.dropout);
    let share = if share { Ok(()) } else { Err("a share from 0 up and below 1".to_owned()) };
    ask("dropout", share, &head.dropout)?;
    if stages.is_empty() {
        return Err(
            Error::new(Kind::Usage, "there is nothing to train").help("give --head-epochs or --epochs")
        );
    }
    for (at, stage) in stages.iter().enumerate() {
        stage.validate()?;
        let of = |name: &str| format!("{name}` of stage `{}", stage.name);
        ask(&of("epochs"), within(&EPOCHS, stage.epochs), &stage.epochs)?;
        ask(&of("accumulate"), within(&TOGETHER, stage.accumulate), &stage.accumulate)?;
        for (name, steps) in
            [("steps_per_epoch", stage.steps_per_epoch), ("validation_steps", stage.validation_steps)]
        {
            if let Some(steps) = steps {
                ask(&of(name), within(&TIMES, steps), &steps)?;
            }
        }
        if stages[..at].iter().any(|other| other.name == stage.name) {
            return Err(Error::new(Kind::Usage, "two stages have one name")
                .fact("name", &stage.name)
                .help("give each a name of its own: the history tells them apart by it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pooling;

    const HEAD: HeadOptions =
        HeadOptions { pooling: Pooling::Flatten, units: 8, dropout: 0.5, batch: 4, seed: 1 };

    #[test]
    fn numbers_that_cannot_be_are_named() {
        let stage = StageConfig::new("head", None, 2, 1e-3);
        let two = [stage.clone(), StageConfig::new("finetune", Some("block5_conv1"), 1, 1e-5)];
        check([32, 4096], &HEAD, &two).unwrap();
        let refused = |size, head, stages: &[StageConfig]| {
            let error = check(size, &head, stages).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains("\n  help: "), "{error}");
            error.to_string()
        };
        for side in [0, 31, 4097] {
            assert!(refused([64, side], HEAD, &two).contains("`size`"), "{side}");
        }
        assert!(refused([32, 32], HeadOptions { units: 65_537, ..HEAD }, &two).contains("`units`"));
        for batch in [0, 1 << 32] {
            assert!(refused([32, 32], HeadOptions { batch, ..HEAD }, &two).contains("`batch`"), "{batch}");
        }
        for dropout in [-0.5, 1.0, f32::NAN] {
            assert!(refused([32, 32], HeadOptions { dropout, ..HEAD }, &two).contains("`dropout`"));
        }
        assert!(refused([32, 32], HEAD, &[]).contains("nothing to train"));
        let same = [stage.clone(), stage.clone()];
        assert!(refused([32, 32], HEAD, &same).contains("one name"));
        for wrong in [
            StageConfig { epochs: 0, ..stage.clone() },
            StageConfig { rate: 0.0, ..stage.clone() },
            StageConfig { early_stopping: Some(0), ..stage.clone() },
            StageConfig { accumulate: 0, ..stage.clone() },
            // Products of these would not fit.
            StageConfig { accumulate: 1 << 32, ..stage.clone() },
            StageConfig { epochs: 1 << 32, ..stage.clone() },
            StageConfig { steps_per_epoch: Some(1 << 40), ..stage },
        ] {
            refused([32, 32], HEAD, &[wrong]);
        }
    }
}
