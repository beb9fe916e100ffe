//! Whole passes and steps, by layer and in all.

use super::measured::{SETS, Set, error, microseconds, percent, replaced, results, table};
use std::fmt::Write as _;
use vgg_ft::device::gpu::plan::{Card, Line, lines};
use vgg_ft::device::{Kernels, Precision};
use vgg_ft::model::{Architecture, Head, Pooling, Trainable, Variant};
use vgg_ft::train::plan;

/// What is predicted on GPUs: tensor cores, portable and Hopper's own.
const TENSOR_CORES: [(&str, Set); 4] = [
    ("tf32, portable", SETS[3]),
    ("tf32, Hopper's", SETS[4]),
    ("bf16, portable", SETS[6]),
    ("bf16, Hopper's", SETS[7]),
];

const SIDES: [usize; 2] = [150, 224];
const BATCHES: [usize; 3] = [20, 64, 256];

/// The launches of a step from the layer `from` on, of images; of a forward pass if there is none.
fn planned(card: &'static Card, set: Set, side: usize, batch: usize, from: Option<&str>) -> Vec<Line> {
    let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 };
    let all = Architecture::vgg(Variant::Vgg16, [side, side]).unwrap().with_head(head).unwrap();
    let on = (card, set.precision, set.kernels);
    let record = match from {
        Some(from) => plan::training(on, &all, 0, Trainable::from(&all, from).unwrap(), batch),
        None => plan::inference(on, &all, 0..all.layers().len(), batch),
    };
    lines(&record.unwrap(), card)
}

/// Seconds predicted, and the floor.
fn sums(lines: &[Line]) -> (f64, f64) {
    (lines.iter().map(|line| line.seconds).sum(), lines.iter().map(|line| line.floor).sum())
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3}", 1e3 * seconds)
}

/// Of a batch of 20 at 150x150, beside what was measured.
pub fn beside_measured(card: &'static Card) -> (String, Vec<f64>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for set in SETS {
        let results = results(set, "steps");
        for from in ["dense", "block5_conv1", "block3_conv1"] {
            let measured = microseconds(&results, &format!("vgg16/step/{from} ")).unwrap() * 1e-6;
            let measured =
                Some(measured).filter(|_| from == "dense" || !replaced(set, "conv2d_backward_weight"));
            let (seconds, floor) = sums(&planned(card, set, 150, 20, Some(from)));
            errors.extend(measured.map(|measured| seconds / measured - 1.0));
            let beside = |text: &dyn Fn(f64) -> String| measured.map_or_else(|| "–".to_owned(), text);
            rows.push(vec![
                format!("{}, from {from}", set.name),
                beside(&milliseconds),
                milliseconds(seconds),
                beside(&|measured| error(seconds, measured)),
                milliseconds(floor),
                beside(&|measured| percent(floor / measured)),
            ]);
        }
    }
    let head = ["step", "measured, ms", "predicted", "error", "floor", "floor of measured"];
    (table(&head, &rows), errors)
}

/// f32 by direct sums and by Winograd, on GPUs; then by layer on the first of them.
pub fn winograd(cards: &[&str]) -> String {
    let by = [SETS[0], SETS[1]];
    let works = [("forward", None), ("step from block3_conv1", Some("block3_conv1"))];
    let mut rows = Vec::new();
    for name in cards {
        let card = Card::named(name).unwrap();
        for (what, from) in works {
            let [direct, winograd] = by.map(|set| sums(&planned(card, set, 150, 20, from)).0);
            rows.push(vec![
                format!("{}: {what}", card.title),
                milliseconds(direct),
                milliseconds(winograd),
                format!("{:.2}", direct / winograd),
            ]);
        }
    }
    let text = table(&["work", "direct", "winograd", "ratio"], &rows);
    let card = Card::named(cards[0]).unwrap();
    let [direct, winograd] = by.map(|set| planned(card, set, 150, 20, Some("block3_conv1")));
    let rows: Vec<Vec<String>> = layers(&direct)
        .into_iter()
        .filter(|layer| layer.contains("conv"))
        .map(|layer| {
            let of = |lines: &[Line], backward| -> String {
                let of = lines.iter().filter(|line| line.label == layer && line.backward == backward);
                match of.map(|line| line.seconds).sum::<f64>() {
                    0.0 => "–".into(),
                    seconds => format!("{:.0}", 1e6 * seconds),
                }
            };
            let cells = [false, true].into_iter().flat_map(|back| [of(&direct, back), of(&winograd, back)]);
            std::iter::once(layer.clone()).chain(cells).collect()
        })
        .collect();
    let head = ["layer", "there, direct", "winograd", "back, direct", "winograd"];
    format!("{text}\n{}, microseconds of the step by layer:\n\n{}", card.title, table(&head, &rows))
}

/// By batch and size: predicted over floor.
pub fn totals(card: &'static Card) -> String {
    let mut rows = Vec::new();
    for (name, set) in TENSOR_CORES {
        for (what, from) in [
            ("forward", None),
            ("step from block5_conv1", Some("block5_conv1")),
            ("step from block3_conv1", Some("block3_conv1")),
        ] {
            let mut row = vec![format!("{name}: {what}")];
            for side in SIDES {
                for batch in BATCHES {
                    let (seconds, floor) = sums(&planned(card, set, side, batch, from));
                    row.push(format!(
                        "{}, {} ({:.0} %)",
                        milliseconds(seconds),
                        milliseconds(floor),
                        100.0 * floor / seconds
                    ));
                }
            }
            rows.push(row);
        }
    }
    let head: Vec<String> =
        SIDES.iter().flat_map(|side| BATCHES.map(|batch| format!("{side}x{side}, batch {batch}"))).collect();
    let head: Vec<&str> = std::iter::once("work").chain(head.iter().map(String::as_str)).collect();
    table(&head, &rows)
}

/// Predicted, floor and its share, summed over those of the lines that are asked for; a dash for none.
fn cell<'a>(lines: impl Iterator<Item = &'a Line>) -> String {
    let lines: Vec<Line> = lines.cloned().collect();
    if lines.is_empty() {
        return "–".into();
    }
    let (seconds, floor) = sums(&lines);
    format!("{:.1}, {:.1} ({:.0} %)", 1e6 * seconds, 1e6 * floor, 100.0 * floor / seconds)
}

/// The layers of a step in the order of the way there.
fn layers(lines: &[Line]) -> Vec<String> {
    let mut layers: Vec<String> = Vec::new();
    for line in lines {
        if !layers.contains(&line.label) {
            layers.push(line.label.clone());
        }
    }
    layers
}

/// A step from block3_conv1 by layer: microseconds there and back.
pub fn by_layer(card: &'static Card) -> String {
    let mut text = String::new();
    for (name, set) in TENSOR_CORES {
        for side in SIDES {
            let steps = BATCHES.map(|batch| planned(card, set, side, batch, Some("block3_conv1")));
            let rows: Vec<Vec<String>> = layers(&steps[0])
                .into_iter()
                .map(|layer| {
                    let of = |lines: &[Line], backward| {
                        cell(lines.iter().filter(|line| line.label == layer && line.backward == backward))
                    };
                    let mut row = vec![layer.clone()];
                    row.extend(steps.iter().flat_map(|lines| [of(lines, false), of(lines, true)]));
                    row
                })
                .collect();
            let head = BATCHES.map(|batch| [format!("batch {batch}: there"), format!("batch {batch}: back")]);
            let head: Vec<&str> =
                std::iter::once("layer").chain(head.iter().flatten().map(String::as_str)).collect();
            let _ = write!(text, "{name}, {side}x{side}\n\n{}\n", table(&head, &rows));
        }
    }
    text
}

/// Every launch of a step from block3_conv1, batch 20, 150x150, that multiplies; the others as sums.
pub fn launches(cards: &[(&'static Card, Kernels)]) -> String {
    let mut text = String::new();
    for &(card, kernels) in cards {
        let set = Set { name: "", precision: Precision::Bf16, kernels };
        let lines = planned(card, set, 150, 20, Some("block3_conv1"));
        let (seconds, floor) = sums(&lines);
        let multiplies = |line: &Line| line.kernel.starts_with("conv2d") && !line.kernel.ends_with("_reduce");
        let (products, others): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(multiplies);
        let mut rows: Vec<Vec<String>> = products
            .iter()
            .map(|line| {
                vec![
                    format!("{}{}", line.label, if line.backward { ", back" } else { "" }),
                    format!("`{}`", line.kernel),
                    line.tiles.to_string(),
                    format!("{:.2}", line.waves),
                    format!("{:.1}", 1e6 * line.seconds),
                    format!("{:.1}", 1e6 * line.floor),
                    format!("{:.0} %", 100.0 * line.floor / line.seconds),
                    line.bound.name().to_owned(),
                ]
            })
            .collect();
        let (rest, rest_floor) = sums(&others);
        rows.push(vec![
            format!("{} other launches", others.len()),
            String::new(),
            String::new(),
            String::new(),
            format!("{:.1}", 1e6 * rest),
            format!("{:.1}", 1e6 * rest_floor),
            format!("{:.0} %", 100.0 * rest_floor / rest),
            String::new(),
        ]);
        let head = ["layer", "kernel", "tiles", "waves", "µs", "floor", "share", "bound by"];
        let _ = write!(
            text,
            "{}, bf16, `--kernels {kernels}`: {} ms, floor {} ms ({:.0} %)\n\n{}\n",
            card.title,
            milliseconds(seconds),
            milliseconds(floor),
            100.0 * floor / seconds,
            table(&head, &rows)
        );
    }
    text
}
