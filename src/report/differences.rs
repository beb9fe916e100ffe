//! In which settings runs differ.
//!
//! In: the settings of runs as nested tables. Out: the keys that they do not share, with every run's value; a table for
//! people.

use super::outcome::columns;
use crate::files;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A setting, and its value in every run; null where a run has none.
pub type Difference = (String, Vec<Value>);

/// What `settings`, one table for each run, do not share, in the order of keys; but for keys that begin or end with one of
/// `known`, which stand elsewhere, and for stages that not all have. Stages are tables in a list that have a `name`, and go
/// by it: `head.rate`.
pub fn differences(settings: &[Value], known: &[&str]) -> Vec<Difference> {
    let (flat, stages): (Vec<_>, Vec<_>) = settings
        .iter()
        .map(|value| {
            let (mut all, mut stages) = (BTreeMap::new(), BTreeSet::new());
            flatten("", value, &mut all, &mut stages);
            (all, stages)
        })
        .unzip();
    let mut keys: Vec<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    keys.sort_unstable();
    keys.dedup();
    let values = |key: &String| -> Vec<Value> {
        flat.iter().map(|run| run.get(key).cloned().unwrap_or(Value::Null)).collect()
    };
    keys.into_iter()
        .filter(|key| !known.iter().any(|known| key.starts_with(known) || key.ends_with(known)))
        .filter(|key| {
            let stage = key.split('.').next().unwrap_or_default();
            let having = stages.iter().filter(|stages| stages.contains(stage)).count();
            having == 0 || having == stages.len()
        })
        .map(|key| (key.clone(), values(key)))
        .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
        .collect()
}

fn flatten(key: &str, value: &Value, to: &mut BTreeMap<String, Value>, stages: &mut BTreeSet<String>) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(table) => {
            table.iter().for_each(|(name, value)| flatten(&below(name), value, to, stages))
        }
        Value::Array(list) if !list.is_empty() && list.iter().all(|one| one.get("name").is_some()) => {
            for one in list {
                let name = one["name"].as_str().unwrap_or_default();
                stages.insert(name.to_owned());
                flatten(name, one, to, stages);
            }
        }
        _ => {
            to.insert(key.to_owned(), as_typed(value));
        }
    }
}

/// A number that has been an f32 as somebody types it: 0.1.
fn as_typed(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(as_typed).collect(),
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            let exact = number.as_f64().filter(|&x| f64::from(x as f32) == x);
            exact.map_or_else(|| value.clone(), |x| files::short(x as f32).into())
        }
        _ => value.clone(),
    }
}

/// A row for each difference, a column for each run.
pub fn text(runs: &[String], differences: &[Difference]) -> String {
    let head = std::iter::once("differ in".to_owned()).chain(runs.iter().cloned()).collect();
    let row = |(key, values): &Difference| -> Vec<String> {
        let mut cells: Vec<String> = values.iter().map(|value| shown(value, LONG)).collect();
        if cells.windows(2).all(|pair| pair[0] == pair[1]) {
            // What is cut is what differs.
            cells = values.iter().map(|value| shown(value, usize::MAX)).collect();
        }
        std::iter::once(key.clone()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(differences.iter().map(row)).collect();
    let mut out = String::new();
    columns(&mut out, &rows);
    out
}

/// Characters of a value at most, if the runs' are then still different.
const LONG: usize = 32;

/// "64,64", "auto", "–", in so many characters.
fn shown(value: &Value, most: usize) -> String {
    let text = match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "–".into(),
        Value::Array(list) => list.iter().map(|one| shown(one, usize::MAX)).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let count = text.chars().count();
    if count <= most {
        return text;
    }
    // Of a path the end tells more.
    if text.contains('/') {
        return format!("…{}", text.chars().skip(count - most).collect::<String>());
    }
    format!("{}…", text.chars().take(most).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_runs_do_not_share_is_named_with_every_value() {
        let run = |seed: u64, rate: f64, weights: Value| {
            json!({
                "network": { "size": [64, 64], "units": 256 },
                "seed": seed,
                "stages": [{ "name": "head", "rate": rate, "class_weights": weights }]
            })
        };
        let runs = [run(1, 0.5, Value::Null), run(2, 0.25, json!("auto")), run(1, 0.5, json!([1.0, 2.5]))];
        let found = differences(&runs, &[".rate"]);
        assert_eq!(
            found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["head.class_weights", "seed"]
        );
        let names = ["a", "b", "c"].map(str::to_owned);
        let shown = text(&names, &found);
        assert_eq!(shown.lines().nth(1), Some("head.class_weights  –  auto  1.0,2.5"), "{shown}");
        assert!(differences(&runs[..1], &[]).is_empty());
        let long = |end: &str| json!("x".repeat(40) + end);
        let text = text(&names[..2], &[("key".into(), vec![long("a"), long("b")])]);
        assert!(text.contains("xa") && text.contains("xb"), "{text}");
        // A stage that only one has is no difference of its settings.
        let head = json!({ "name": "head", "rate": f64::from(0.1f32) });
        let runs =
            [json!({ "stages": [head, { "name": "finetune", "rate": 1 }] }), json!({ "stages": [head] })];
        assert!(differences(&runs, &[]).is_empty());
        // A table that only one has is one.
        let stage = |rates: Value| json!({ "stages": [{ "name": "finetune", "rates": rates, "epochs": 4 }] });
        let runs =
            [stage(json!({ "block5": 0.5 })), json!({ "stages": [{ "name": "finetune", "epochs": 4 }] })];
        let found = differences(&runs, &[]);
        assert_eq!(found, [("finetune.rates.block5".to_owned(), vec![json!(0.5), Value::Null])]);
        assert_eq!(super::text(&names[..2], &found).lines().nth(1), Some("finetune.rates.block5  0.5  –"));
        let runs = [head, json!({ "name": "head", "rate": 0.5 })];
        assert_eq!(differences(&runs, &[]), [("rate".to_owned(), vec![json!(0.1), json!(0.5)])]);
    }
}
