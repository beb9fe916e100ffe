//! Values as they are typed: text to numbers and names, or one line that says what to write instead.

use super::train::RuleArg;
use crate::data::{AngleUnit, Augment, FillMode, Resize, Split};
use crate::device::gpu::plan::CARDS;
use crate::device::{Kernels, Launches, Precision};
use crate::model::{Pooling, Preprocess, Variant};
use crate::task::{ClassWeights, How, limits};
use crate::train::{Monitor, Schedule};
use crate::weights::FloatType;
use clap::ValueEnum;
use clap::builder::{EnumValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;

/// One of a few names, which help and errors list.
fn one_of<T, E>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = E> + Clone + Send + Sync + 'static,
    E: Display,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse().map_err(|error: E| error.to_string()))
}

/// `symlink`.
pub fn how() -> impl TypedValueParser<Value = How> {
    one_of(How::ALL.map(How::name))
}

/// `vgg16`.
pub fn variant() -> impl TypedValueParser<Value = Variant> {
    one_of(Variant::ALL.map(Variant::name))
}

/// `avg`.
pub fn pooling() -> impl TypedValueParser<Value = Pooling> {
    one_of(Pooling::ALL.map(Pooling::name))
}

/// `caffe`.
pub fn preprocess() -> impl TypedValueParser<Value = Preprocess> {
    one_of(Preprocess::ALL.map(Preprocess::name))
}

/// `nearest`.
pub fn resize() -> impl TypedValueParser<Value = Resize> {
    one_of(Resize::ALL.map(Resize::name))
}

/// `bf16`, of computing.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    one_of(Precision::ALL.map(Precision::name))
}

/// `portable`.
pub fn kernels() -> impl TypedValueParser<Value = Kernels> {
    one_of(Kernels::ALL.map(Kernels::name))
}

/// `serial`.
pub fn launches() -> impl TypedValueParser<Value = Launches> {
    one_of(Launches::ALL.map(Launches::name))
}

/// `degrees`.
pub fn angle_unit() -> impl TypedValueParser<Value = AngleUnit> {
    one_of(AngleUnit::ALL.map(AngleUnit::name))
}

/// `reflect`.
pub fn fill_mode() -> impl TypedValueParser<Value = FillMode> {
    one_of(FillMode::ALL.map(FillMode::name))
}

/// `test`; help says what its folder may be called.
pub fn split() -> impl TypedValueParser<Value = Split> {
    let named = |split: Split| {
        PossibleValue::new(split.name()).help(match split {
            Split::Train => "`train/`",
            Split::Validation => "`validation/`, `val/` or `valid/`",
            Split::Test => "`test/`",
        })
    };
    PossibleValuesParser::new(Split::ALL.map(named))
        .try_map(|name| Split::named(&name).ok_or("a split that is not known"))
}

/// `val_loss`.
pub fn monitor() -> impl TypedValueParser<Value = Monitor> {
    one_of(Monitor::ALL.map(Monitor::name))
}

/// `rmsprop`. Whoever types `adam` means a rule that is here under another name.
#[derive(Clone)]
pub struct Rules;

impl TypedValueParser for Rules {
    type Value = RuleArg;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<RuleArg, clap::Error> {
        EnumValueParser::<RuleArg>::new().parse_ref(command, arg, value).map_err(|mut error| {
            if value.eq_ignore_ascii_case("adam") {
                let tip = "Keras' Adam is --optimizer adamw --weight-decay 0".to_owned();
                error.remove(ContextKind::SuggestedValue);
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values: Vec<PossibleValue> =
            RuleArg::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        Some(Box::new(values.into_iter()))
    }
}

/// `h100`.
pub fn gpu() -> PossibleValuesParser {
    PossibleValuesParser::new(CARDS.iter().map(|card| card.name))
}

/// `f16`, of a file.
pub fn float_type() -> impl TypedValueParser<Value = FloatType> {
    let types = [("f32", FloatType::F32), ("f16", FloatType::F16), ("bf16", FloatType::Bf16)];
    PossibleValuesParser::new(types.map(|(name, _)| name)).try_map(move |name| {
        let known = types.iter().find(|(known, _)| *known == name);
        known.map(|&(_, float)| float).ok_or("a type that is not known")
    })
}

/// `licence=CC-BY`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn one_line(error: crate::error::Error) -> String {
    let text = error.to_string().replace("\n  expected", "; expected").replace("\n  got     ", ", got");
    text.replace("\n  help:", ";").replace("\n ", " ").replace("  ", " ")
}

/// `150` or `120x160`.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    let (h, w) = text.split_once('x').unwrap_or((text, text));
    match (h.parse(), w.parse()) {
        (Ok(h), Ok(w)) if [h, w].iter().all(|side| limits::SIDES.contains(side)) => Ok([h, w]),
        (Ok(_), Ok(_)) => {
            let (least, most) = (limits::SIDES.start(), limits::SIDES.end());
            Err(format!("VGG needs images from {least}x{least} to {most}x{most}"))
        }
        _ => Err("write one number (150) or HEIGHTxWIDTH (120x160)".into()),
    }
}

/// `cosine:0.1`.
pub fn course(text: &str) -> Result<Schedule, String> {
    text.parse().map_err(one_line)
}

/// `auto` or `1,2.5`.
pub fn class_weights(text: &str) -> Result<ClassWeights, String> {
    text.parse().map_err(one_line)
}

/// `block5=1,block4=0.5`.
pub fn rates(text: &str) -> Result<BTreeMap<String, f32>, String> {
    let one = |pair: &str| {
        let (block, factor) = pair.split_once('=')?;
        let factor = factor.parse().ok().filter(|f: &f32| *f >= 0.0 && f.is_finite())?;
        (!block.is_empty()).then(|| (block.trim().to_owned(), factor))
    };
    let mut rates = BTreeMap::new();
    for pair in text.split(',') {
        let (block, factor) = one(pair).ok_or("write BLOCK=FACTOR,BLOCK=FACTOR")?;
        if rates.insert(block.clone(), factor).is_some() {
            return Err(format!("{block} is named twice"));
        }
    }
    Ok(rates)
}

/// A whole number.
pub fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number from 0 up".into())
}

/// A number.
pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a number, such as 0.001".into())
}

/// A part of 1; which parts an option takes is for the job to say.
pub fn fraction<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a share of 1, such as 0.2".into())
}

/// `n`, or what was expected in its place.
fn expected(answer: Result<(), String>, n: usize) -> Result<usize, String> {
    answer.map(|()| n).map_err(|range| format!("expected {range}"))
}

/// Units of the hidden layer.
pub fn width(text: &str) -> Result<usize, String> {
    let n = text.parse().unwrap_or(usize::MAX);
    expected(limits::within(&limits::UNITS, n), n)
}

/// Classes of a classifier.
pub fn classes(text: &str) -> Result<usize, String> {
    let n = text.parse().unwrap_or(0);
    expected(limits::within(&(2..=*limits::UNITS.end()), n), n)
}

/// A number of things, at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    let n = text.parse().unwrap_or(0);
    expected(limits::positive(n), n)
}

/// A learning rate.
pub fn rate(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("expected a number above 0, such as 2e-5".into()),
    }
}

/// What a learning rate is multiplied by.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor.is_finite() => Ok(factor),
        _ => Err("expected a number above 0, such as 0.1".into()),
    }
}

/// A probability that parts two classes.
pub fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number between 0 and 1, such as 0.8".into()),
    }
}

/// `book`.
pub fn augment_preset(text: &str) -> Result<Augment, String> {
    match text {
        "book" => Ok(Augment::book()),
        _ => Err("the only named set is `book`; give other ranges one by one, such as --rotation 20".into()),
    }
}

/// A finite number from 0 up.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number from 0 up".into()),
    }
}

/// `0.5,1.5`.
pub fn pair(text: &str) -> Result<[f64; 2], String> {
    match text.split_once(',').map(|(low, high)| (share(low.trim()), share(high.trim()))) {
        Some((Ok(low), Ok(high))) if low <= high => Ok([low, high]),
        _ => Err("write two numbers, the smaller first, such as 0.5,1.5".into()),
    }
}

/// `0.2`, or `0.8,1.2`.
pub fn zoom(text: &str) -> Result<[f64; 2], String> {
    if text.contains(',') { pair(text) } else { share(text).map(|z| [1.0 - z, 1.0 + z]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_refused() {
        assert_eq!(pair("0.5,1.5"), Ok([0.5, 1.5]));
        assert_eq!(pair("1, 1"), Ok([1.0, 1.0]));
        assert_eq!(zoom("0.25"), Ok([0.75, 1.25]));
        assert_eq!(zoom("0.5,2"), Ok([0.5, 2.0]));
        assert_eq!(augment_preset("book"), Ok(Augment::book()));
        for bad in ["", ",", "1", "2,1", "-1,1", "nan,1", "1,inf", "a,b", "1,2,3"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
        for bad in ["", "-0.1", "nan", "inf", "1e400", "x"] {
            assert!(share(bad).is_err() && zoom(bad).is_err(), "{bad}");
        }
        assert!(augment_preset("Book").is_err());
    }

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!(size("150"), Ok([150, 150]));
        assert_eq!(size("120x160"), Ok([120, 160]));
        for bad in ["31", "0", "150x", "x", "15.5", "99999", "-3"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_read_or_refused() {
        assert_eq!(rates("block5=1,block4=0.5").unwrap().len(), 2);
        assert_eq!(rates("block5=1,block5=2"), Err("block5 is named twice".into()));
        for bad in ["", "block5", "=1", "block5=-1", "block5=1,"] {
            assert!(rates(bad).is_err(), "{bad}");
        }
    }
}
