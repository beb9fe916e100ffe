//! What the static model says of VGG16 on GPUs, beside what was measured, as docs/predictions.md: kept in step here.
//!
//! `VGG_FT_BLESS=1 cargo test --release --test machine predictions` writes the page from the model, the committed machine
//! code's counts and benches/results; without the variable the test fails where the page says something else.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[allow(dead_code)] // the benches' table
#[path = "../benches/common/layers.rs"]
mod layers;
#[path = "predictions/measured.rs"]
mod measured;
#[path = "predictions/ranking.rs"]
mod ranking;
#[path = "predictions/steps.rs"]
mod steps;

use measured::{CALLS, Row, SETS, error, percent, root_mean_square, table};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use vgg_ft::device::Kernels;
use vgg_ft::device::gpu::plan::Card;

const PAGE: &str = "docs/predictions.md";

const INTRODUCTION: &str = include_str!("predictions/introduction.md");

fn card() -> &'static Card {
    Card::named("h200").unwrap()
}

fn errors(rows: &[Row]) -> Vec<f64> {
    rows.iter().filter_map(|row| Some(row.predicted / row.measured? - 1.0)).collect()
}

/// Calls beside what was measured, by set.
fn calls() -> String {
    let mut text = String::new();
    let mut rms = Vec::new();
    for set in SETS {
        let rows = measured::rows(set);
        let errors = errors(&rows);
        let worst = errors.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        rms.push(vec![
            set.name.to_owned(),
            errors.len().to_string(),
            percent(root_mean_square(&errors)),
            percent(errors.iter().sum::<f64>() / errors.len() as f64),
            format!("{:+.0} %", 100.0 * worst),
        ]);
        let layers: Vec<&str> = rows.iter().fold(Vec::new(), |mut layers, row| {
            if !layers.contains(&row.layer) {
                layers.push(row.layer);
            }
            layers
        });
        let cell = |layer: &str, call: &str| {
            let row = rows.iter().find(|row| (row.layer, row.call) == (layer, call));
            row.map_or_else(
                || "–".to_owned(),
                |row| {
                    let Some(measured) = row.measured else {
                        return format!("–, {:.1}, {:.1}", row.predicted, row.floor);
                    };
                    let off = error(row.predicted, measured);
                    format!("{measured:.1}, {:.1} ({off}), {:.1}", row.predicted, row.floor)
                },
            )
        };
        let mut layers = layers;
        layers.sort_unstable();
        let lines: Vec<Vec<String>> = layers
            .iter()
            .map(|layer| {
                std::iter::once((*layer).to_owned()).chain(CALLS.map(|call| cell(layer, call))).collect()
            })
            .collect();
        let head: Vec<&str> = std::iter::once("layer").chain(CALLS).collect();
        let _ = write!(text, "{}\n\n{}\n", set.name, table(&head, &lines));
    }
    let head = ["kernels", "calls", "error, rms", "mean", "worst"];
    format!("{}\n{text}", table(&head, &rms))
}

fn page() -> String {
    let (steps, _) = steps::beside_measured(card());
    let (ranking, tally) = ranking::section(card());
    let cards = [
        (card(), Kernels::Sm90a),
        (card(), Kernels::Portable),
        (Card::named("a100").unwrap(), Kernels::Portable),
        (Card::named("rtx4090").unwrap(), Kernels::Portable),
    ];
    let ranked = format!(
        "Of {} layers the model's first choice is the fastest that was measured {} times, within 5 % of it {} times, \
         and neither {} times.",
        tally.layers,
        tally.first,
        tally.near,
        tally.layers - tally.first - tally.near
    );
    let mut page = INTRODUCTION.to_owned();
    for (place, text) in [
        ("CALLS", calls()),
        ("STEPS", steps),
        ("RANKED", ranked),
        ("RANKING", ranking),
        ("WINOGRAD", steps::winograd(&["h200", "a100", "rtx4090", "t4"])),
        ("TOTALS", steps::totals(card())),
        ("LAUNCHES", steps::launches(&cards)),
        ("LAYERS", steps::by_layer(card())),
    ] {
        let mark = format!("<!-- {place} -->");
        assert_eq!(page.matches(&mark).count(), 1, "{mark}");
        page = page.replace(&mark, text.trim_end());
    }
    page
}

#[test]
fn the_page_is_what_the_model_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page();
    if std::env::var_os("VGG_FT_BLESS").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    if there != page {
        let at = there.lines().zip(page.lines()).position(|(there, now)| there != now);
        let at = at.unwrap_or_else(|| there.lines().count().min(page.lines().count()));
        let line = |text: &str| text.lines().nth(at).unwrap_or("nothing").to_owned();
        panic!(
            "{PAGE} is not what the model says\n  line: {}\n  expected: {}\n  got: {}\n  help: look at it, and run \
             VGG_FT_BLESS=1 cargo test --release --test machine predictions",
            at + 1,
            line(&page),
            line(&there)
        );
    }
}

/// Measured times themselves vary by 1 to 2 %; a wave, a tile or a pipe that is counted wrongly is tens of percent.
#[test]
fn the_model_fits_what_was_measured() {
    let mut limits = Vec::new();
    for set in SETS {
        let rows = measured::rows(set);
        for row in &rows {
            println!(
                "{:6} {:26} {:13} {:8.1} predicted {:8.1} {:>6}  {}",
                set.name,
                row.call,
                row.layer,
                row.measured.unwrap_or(f64::NAN),
                row.predicted,
                row.measured.map_or_else(|| "–".to_owned(), |measured| error(row.predicted, measured)),
                row.kernels
            );
        }
        let errors = errors(&rows);
        let rms = root_mean_square(&errors);
        println!("{}: {}", set.name, percent(rms));
        limits.push((set.name, rms));
    }
    let (text, errors) = steps::beside_measured(card());
    println!("{text}");
    for (name, rms) in limits {
        let limit = match name {
            // What slows the deep layers down is not in the model, and one share does not fit all three kernels.
            "f32" => 0.3,
            // Turing's kernels, which take longer than predicted in every call; why is not measured.
            "f16" => 0.35,
            // Its constants are those of bf16.
            "tf32, sm90a" => 0.2,
            _ => 0.15,
        };
        assert!(rms < limit, "{name}: {}", percent(rms));
    }
    assert!(root_mean_square(&errors) < 0.15, "{text}");
}

/// A model that cannot tell tiles apart would choose among two to four at random.
#[test]
fn the_model_ranks_tiles() {
    let (text, tally) = ranking::section(card());
    println!("{text}");
    assert!(tally.layers > 80, "{}", tally.layers);
    assert!(
        10 * (tally.first + tally.near) > 7 * tally.layers,
        "{} {} of {}",
        tally.first,
        tally.near,
        tally.layers
    );
}
