//! `weights diff`: two files in, what differs out.

use super::{said_classes, understood};
use crate::error::{Error, Kind, Result};
use crate::model::Pretrained;
use crate::model::classes::listed;
use crate::report::counted;
use crate::task::Host;
use crate::weights::{LONG_NAME, Weights};
use crate::{files, interrupt};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a tensor of a file is, for a comparison.
enum Values<'a> {
    Floats(Cow<'a, [f32]>),
    /// Counters of training, say.
    Others(Cow<'a, [u8]>),
}

type Compared<'a> = (String, Vec<usize>, Values<'a>);

/// All tensors as they are in the file, numbers that are none included.
fn raw(weights: &Weights) -> Result<Vec<Compared<'_>>> {
    let tensor = |name: &str| {
        let values = if weights.is_float(name)? {
            Values::Floats(weights.values(name)?)
        } else {
            Values::Others(weights.bytes(name)?)
        };
        Ok((name.to_owned(), weights.shape(name)?.to_vec(), values))
    };
    weights.names().map(tensor).collect()
}

fn network(found: &Pretrained) -> Result<Vec<Compared<'_>>> {
    let floats = |(name, shape, values)| (name, shape, Values::Floats(values));
    Ok(understood(found)?.into_iter().map(floats).collect())
}

/// One tensor of two files.
#[derive(Clone, Debug, Default, Serialize)]
struct Difference {
    name: String,
    /// `None` where there is no such number: the shapes differ, one file has no such tensor, values are not finite, the first
    /// has nothing but zeros; then `note` says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<f64>,
    /// With the digits of an f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    largest: Option<f64>,
    /// Values whose bits differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    differing: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Compares two files tensor by tensor: as networks where both hold a VGG, whatever their formats, else by the
/// names that they have.
///
/// # Errors
/// [`Kind::Weights`] when they differ; [`Kind::Usage`] when a file is refused, so that they cannot be compared, or when
/// the answer cannot be written.
pub fn diff(host: &Host, a: &Path, b: &Path) -> Result<()> {
    // As of `diff`: 1 says that they differ, 2 that they cannot be compared.
    let refused =
        |error: Error| if error.kind() == Kind::Interrupted { error } else { error.of_kind(Kind::Usage) };
    let open = |path: &Path| -> Result<_> {
        let weights = Weights::open(path).map_err(refused)?;
        if weights.doubles() > 0 {
            let tensors = counted(weights.doubles(), "tensor");
            host.note(format_args!("{}: {tensors} of 64-bit floats compared as f32", path.display()));
        }
        Ok((weights, Pretrained::open(path)))
    };
    let ((raw_a, a), (raw_b, b)) = (open(a)?, open(b)?);
    let whole = |found: &Pretrained| !found.lineage().left_out;
    // Tensors beside the networks, which are not compared.
    let mut others = [0; 2];
    let rows = match (&a, &b) {
        (Ok(a), Ok(b)) if whole(a) && whole(b) => {
            for found in [a, b] {
                host.say_lines(format_args!("{}\n{}", found.weights().path().display(), found.lineage()));
            }
            others = [a, b].map(|found| found.lineage().others);
            let [a, b] = [network(a), network(b)].map(|all| all.map_err(refused));
            compare(&a?, &b?)?
        }
        _ => {
            for found in [&a, &b] {
                let why = match found {
                    Ok(found) if whole(found) => continue,
                    Ok(found) => format!("{}: unknown classifier", found.weights().path().display()),
                    Err(error) => error.line(),
                };
                host.note(format_args!("{why}: compared by the names in the files"));
            }
            compare(&raw(&raw_a).map_err(refused)?, &raw(&raw_b).map_err(refused)?)?
        }
    };
    let scaled =
        |found: &Result<Pretrained>| found.as_ref().ok().and_then(|found| found.lineage().preprocess);
    let (of_a, of_b) = (scaled(&a), scaled(&b));
    // Where one says nothing of them they may be the same.
    let named = |found: &Result<Pretrained>| found.as_ref().map_or_else(|_| Vec::new(), said_classes);
    let classes = [named(&a), named(&b)];
    let other_classes = classes.iter().all(|all| !all.is_empty()) && classes[0] != classes[1];
    let equal = rows.iter().all(|row| row.differing == Some(0)) && of_a == of_b && !other_classes;
    let mut text = if host.json { String::new() } else { table(&rows) };
    if of_a != of_b {
        let name = |recipe: Option<&'static str>| recipe.unwrap_or("not known");
        text += &format!(
            "\nthe pixel scaling differs: {} in the first, {} in the second",
            name(of_a),
            name(of_b)
        );
    }
    if other_classes {
        let [a, b] = classes.each_ref().map(|all| listed(all));
        text += &format!("\nthe classes differ: {a} in the first; {b} in the second");
    }
    if others != [0; 2] {
        let [a, b] = others;
        let a = counted(a, "tensor");
        text += &format!(
            "\nnot compared, since they are no part of the network: {a} of the first, {b} of the second"
        );
    }
    text += &format!("\n{}", if equal { "the same" } else { "not the same" });
    host.result(
        &text,
        &json!({
            "same": equal,
            "preprocess": [of_a, of_b],
            "classes": classes,
            "not_compared": others,
            "rows": rows,
        }),
    )
    .map_err(refused)?;
    if equal {
        Ok(())
    } else {
        Err(Error::new(Kind::Weights, "the two files differ").help("stdout says where"))
    }
}

/// A line for each tensor.
fn table(rows: &[Difference]) -> String {
    let names: Vec<String> = rows.iter().map(|row| files::shorten(&row.name, LONG_NAME)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!("{:width$}  {:>10}  {:>10}  {:>10}", "name", "relative", "largest", "differing");
    for (row, name) in rows.iter().zip(&names) {
        text += &format!("\n{name:width$}  ");
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3e}"));
        let note = row.note.as_deref().unwrap_or_default();
        text += &match row.differing {
            Some(n) => {
                let [relative, largest] = [row.relative, row.largest].map(number);
                let line = format!("{relative:>10}  {largest:>10}  {n:>10}  {note}");
                line.trim_end().to_owned()
            }
            None => note.to_owned(),
        };
    }
    text
}

fn compare(a: &[Compared<'_>], b: &[Compared<'_>]) -> Result<Vec<Difference>> {
    let of_b: BTreeMap<&str, &Compared<'_>> = b.iter().map(|named| (&named.0[..], named)).collect();
    let of_a: BTreeSet<&str> = a.iter().map(|named| &named.0[..]).collect();
    let noted = |name: &str, note: String| Difference {
        name: name.to_owned(),
        note: Some(note),
        ..Difference::default()
    };
    let mut rows = Vec::with_capacity(a.len());
    for (name, shape, values) in a {
        interrupt::check()?;
        rows.push(match of_b.get(&name[..]) {
            None => noted(name, "only in the first".into()),
            Some((_, other, _)) if other != shape => noted(name, format!("{shape:?} and {other:?}")),
            Some((_, _, others)) => match (values, others) {
                (Values::Floats(values), Values::Floats(others)) => difference(name, values, others),
                (Values::Others(values), Values::Others(others)) if values == others => {
                    Difference { differing: Some(0), ..noted(name, "the same, no floats".into()) }
                }
                (Values::Others(_), Values::Others(_)) => noted(name, "no floats, other bytes".into()),
                _ => noted(name, "floats in one file alone".into()),
            },
        });
    }
    let only = b.iter().filter(|named| !of_a.contains(&named.0[..]));
    rows.extend(only.map(|named| noted(&named.0, "only in the second".into())));
    Ok(rows)
}

/// ‖a − b‖ / ‖a‖ (Frobenius), the largest |a − b|, and how many differ.
fn difference(name: &str, a: &[f32], b: &[f32]) -> Difference {
    let (mut squares, mut norm, mut largest, mut differing, mut odd) = (0f64, 0f64, 0f32, 0, 0);
    for (&a, &b) in a.iter().zip(b) {
        norm += f64::from(a).powi(2);
        // NaN is no further from itself than a number is.
        if a.to_bits() != b.to_bits() {
            differing += 1;
            odd += usize::from(!a.is_finite() || !b.is_finite());
            squares += (f64::from(a) - f64::from(b)).powi(2);
            largest = largest.max((a - b).abs());
        }
    }
    // Between numbers and what is none there is no distance; from zero it has no relation.
    let (relative, largest, note) = match () {
        () if odd > 0 => (None, None, Some(format!("{odd} of them are not finite in one of the files"))),
        () if squares == 0.0 => (Some(0.0), Some(0.0), None),
        () if norm == 0.0 => (None, Some(files::short(largest)), Some("all zeros in the first".into())),
        () => (Some((squares / norm).sqrt()), Some(files::short(largest)), None),
    };
    Difference {
        name: name.to_owned(),
        // What is equal beside may be infinite.
        relative: relative.filter(|relative| relative.is_finite()),
        largest,
        differing: Some(differing),
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_number_or_says_why_it_is_none() {
        let of = |a: &[f32], b: &[f32]| difference("x", a, b);
        let row = of(&[3.0, 4.0], &[3.0, 4.1]);
        assert_eq!((row.largest, row.differing, row.note), (Some(0.099_999_905), Some(1), None));
        let row = of(&[f32::NAN, 1.0], &[3.0, 1.0]);
        assert_eq!((row.relative, row.largest, row.differing), (None, None, Some(1)));
        assert_eq!(row.note.unwrap(), "1 of them are not finite in one of the files");
        let row = of(&[0.0, 0.0], &[0.0, 2.0]);
        assert_eq!((row.relative, row.largest, row.differing), (None, Some(2.0), Some(1)));
        assert_eq!(row.note.unwrap(), "all zeros in the first");
        for same in [&[f32::NAN, f32::INFINITY][..], &[0.0, 1.0]] {
            let row = of(same, same);
            assert_eq!(
                (row.relative, row.largest, row.differing, row.note),
                (Some(0.0), Some(0.0), Some(0), None)
            );
        }
        // Two zeros are told apart, and are no distance from each other.
        assert_eq!(of(&[0.0], &[-0.0]).relative, Some(0.0));
        assert_eq!(of(&[f32::INFINITY, 1.0], &[f32::INFINITY, 2.0]).relative, Some(0.0));
    }
}
