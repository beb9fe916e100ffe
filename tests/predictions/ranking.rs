//! Tiles as the model ranks them, beside tiles as they were measured (benches/results/…-tiles.json).
//!
//! The file has the four fastest of many tiles for each layer; here are those of them that ship, and the model ranks all
//! that ship: one that is not among the four was slower than all of these.

use super::measured::{percent, root_mean_square, table};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use vgg_ft::device::gpu::driver::Address;
use vgg_ft::device::gpu::launch::{Arg, Launch};
use vgg_ft::device::gpu::module::find;
use vgg_ft::device::gpu::plan::{Card, predict};
use vgg_ft::device::{Cost, Dtype};
use vgg_ft::shape::Conv2d;

/// How a layer could be computed.
#[derive(Clone, Debug, PartialEq)]
struct Choice {
    /// `128x64x64`; of Hopper's `128x256`, `64x8x32`.
    tile: &'static str,
    /// Parts that its sums are cut into, each for a block.
    parts: usize,
}

/// A layer with what was measured of it.
struct Measured {
    layer: String,
    geometry: Conv2d,
    /// Microseconds, the fastest first.
    times: Vec<(Choice, f64)>,
    /// The fourth's of each search: whatever is not listed took longer.
    at_least: f64,
}

/// A search: which entries of the file, by what the choices are called here.
struct Search {
    title: &'static str,
    path: &'static str,
    /// As the file calls them; the second cuts sums in parts.
    calls: &'static [&'static str],
    format: &'static str,
    entry: &'static str,
    tiles: &'static [&'static str],
}

const PORTABLE_BF16: &[&str] = &["128x128x64", "128x128x32", "128x64x64"];
const TF32: &[&str] = &["128x128x32", "128x64x32"];
const HOPPER: &[&str] = &["128x256", "128x128", "128x64"];

macro_rules! searches {
    ($($title:literal, $path:literal, $calls:expr, $format:literal, $entry:literal, $tiles:expr;)*) => {
        &[$(Search { title: $title, path: $path, calls: &$calls, format: $format, entry: $entry, tiles: $tiles },)*]
    };
}

const SEARCHES: &[Search] = searches! {
    "bf16 forward", "mma.sync", ["fwd", "fpart"], "bf16", "conv2d_forward", PORTABLE_BF16;
    "bf16 with a pool", "mma.sync", ["pool"], "bf16", "conv2d_maxpool2d_forward", PORTABLE_BF16;
    "bf16 backward_input", "mma.sync", ["bin", "bpart"], "bf16", "conv2d_backward_input", &["128x128x32", "128x64x64"];
    "bf16 backward_weight", "mma.sync", ["bwt"], "bf16", "conv2d_backward_weight",
        &["128x128x32", "128x64x64", "64x64x64"];
    "tf32 forward", "mma.sync", ["fwd", "fpart"], "tf32", "conv2d_forward", TF32;
    "tf32 with a pool", "mma.sync", ["pool"], "tf32", "conv2d_maxpool2d_forward", TF32;
    "tf32 backward_input", "mma.sync", ["bin", "bpart"], "tf32", "conv2d_backward_input", TF32;
    "tf32 backward_weight", "mma.sync", ["bwt"], "tf32", "conv2d_backward_weight",
        &["128x128x32", "128x64x32", "64x64x16"];
    "sm90a forward", "wgmma", ["fwd"], "sm90", "conv2d_forward", HOPPER;
    "sm90a with a pool", "wgmma", ["halo"], "sm90", "conv2d_maxpool2d_forward", &["64x8x32", "128x8x16"];
    "sm90a backward_input", "wgmma", ["dgrad"], "sm90", "conv2d_backward_input", HOPPER;
    "sm90a backward_weight", "wgmma", ["wgrad"], "sm90", "conv2d_backward_weight", &["128x192", "128x256"];
};

/// The file's names: block and layer, of 20 images of 150x150; with `-64` of 64 images of 224x224.
fn geometry(layer: &str) -> Conv2d {
    let (name, n, side) = match layer.strip_suffix("-64") {
        Some(name) => (name, 64, 224),
        None => (layer, 20, 150),
    };
    let (halvings, c_in, c_out) = match name {
        "b1c2" => (0, 64, 64),
        "b2c1" => (1, 64, 128),
        "b2c2" => (1, 128, 128),
        "b3c1" => (2, 128, 256),
        "b3c2" => (2, 256, 256),
        "b4c1" => (3, 256, 512),
        "b4c2" => (3, 512, 512),
        "b5" => (4, 512, 512),
        other => panic!("there is no layer {other}"),
    };
    Conv2d { n, h: side >> halvings, w: side >> halvings, c_in, c_out }
}

/// The choice that a name of the file means, if it ships: `128x64x64_64x32_3_2` with its warps, stages and blocks,
/// `f_128x64c2`, `p_64x8x32s`, `w_128x192/G132`. Of two that differ in blocks alone the faster stands first there.
fn choice(search: &Search, name: &str, split: usize) -> Option<Choice> {
    let tile = |name: &str| search.tiles.iter().find(|tile| **tile == name).copied();
    if search.path == "mma.sync" {
        let [size, _, stages, ..] = name.split('_').collect::<Vec<_>>()[..] else { return None };
        let ships = if size == "64x64x16" { "4" } else { "3" };
        let tile = tile(size)?;
        // Of the whole the entry is there; not every tile adds up parts.
        let parts = format!("{}_parts_{}_{tile}", search.entry, search.format);
        let shares = split == 1 || search.entry.ends_with("weight") || find(&parts, 90).is_some();
        return (stages == ships && shares).then_some(Choice { tile, parts: split });
    }
    let (kind, size) = name.split_once('_')?;
    let size = match (kind, search.calls[0]) {
        ("f" | "d", _) => match size.strip_suffix("c2") {
            Some("128x64") => "128x64",
            Some(_) => return None,
            None if size == "128x64" => return None,
            None => size,
        },
        ("p", _) => size.strip_suffix(if size.starts_with("64x") { "s" } else { "r" })?,
        ("w", _) => size.strip_suffix("/G132")?,
        _ => return None,
    };
    Some(Choice { tile: tile(size)?, parts: 1 })
}

fn measured(search: &Search, all: &Value) -> Vec<Measured> {
    let mut found: Vec<Measured> = Vec::new();
    for entry in all.as_array().unwrap() {
        let is = |key: &str, value: &str| entry[key].as_str() == Some(value);
        let layer = entry["layer"].as_str().unwrap();
        let format = if search.format == "sm90" { "bf16" } else { search.format };
        let here = search.calls.iter().any(|call| is("call", call)) && is("path", search.path);
        // Of images there is one kernel.
        if !here || !is("format", format) || layer == "b1c1" {
            continue;
        }
        let best = entry["best"].as_array().unwrap();
        let at = found.iter().position(|row| row.layer == layer).unwrap_or_else(|| {
            let (layer, geometry) = (layer.to_owned(), geometry(layer));
            found.push(Measured { layer, geometry, times: Vec::new(), at_least: f64::INFINITY });
            found.len() - 1
        });
        let row = &mut found[at];
        row.at_least = row.at_least.min(best.last().unwrap()["us"].as_f64().unwrap());
        for one in best {
            let split = one["split"].as_u64().unwrap_or(1) as usize;
            if let Some(choice) = choice(search, one["tile"].as_str().unwrap(), split)
                && row.times.iter().all(|(other, _)| *other != choice)
            {
                row.times.push((choice, one["us"].as_f64().unwrap()));
            }
        }
    }
    found.iter_mut().for_each(|row| row.times.sort_by(|a, b| a.1.total_cmp(&b.1)));
    found.retain(|row| !row.times.is_empty());
    found
}

/// Seconds of a choice for a layer on `card`, by its launches.
fn seconds(search: &Search, card: &Card, g: Conv2d, choice: &Choice) -> f64 {
    launches(search, g, choice).iter().map(|launch| predict(launch, "", card).seconds).sum()
}

/// What the host would start: the arguments that the model reads.
fn launches(search: &Search, g: Conv2d, choice: &Choice) -> Vec<Launch> {
    let (format, bytes) = (search.format, if search.format == "tf32" { 4 } else { 2 });
    let sizes: Vec<usize> = choice.tile.split('x').map(|size| size.parse().unwrap()).collect();
    let (rows, columns) = (sizes[0], sizes[1]);
    let (pooled, weight) = (search.entry.contains("maxpool2d"), search.entry.ends_with("weight"));
    let pixels = g.n * g.h * g.w;
    let p = Arg::value("p", &[g.n, g.h, g.w, g.c_in, g.c_out].map(|axis| axis as u32));
    let (deep, across) = if search.entry.ends_with("input") { (g.c_out, g.c_in) } else { (g.c_in, g.c_out) };
    // Whole activations but for a pool's, and a mask as long as what is written.
    let written =
        if weight { 4 * g.weight().len() } else { bytes * pixels * across } / if pooled { 4 } else { 1 };
    let read = bytes * (pixels * deep + if weight { pixels * g.c_out } else { g.weight().len() })
        + if search.entry.ends_with("input") { written } else { 0 };
    let cost = Cost { flops: 2 * g.macs(), bytes: (read + written) as u64 };
    let launch = |name: String, grid: [usize; 3], threads: u32, shared: usize, args: Vec<Arg>, cost: Cost| {
        let entry = find(&name, 90).unwrap_or_else(|| panic!("{name} does not ship")).1;
        let grid = grid.map(|axis| axis as u32);
        Launch {
            entry,
            grid,
            block: [threads, 1, 1],
            shared: shared as u32,
            args,
            cost,
            compulsory: cost.bytes,
        }
    };
    let parts_of =
        |numbers: usize| Arg::Pointer { name: "parts", at: Address(0), dtype: Dtype::F32, len: numbers };
    let summed = |name: String, numbers: usize, results: usize| {
        let cost = Cost { flops: 0, bytes: (4 * numbers + written) as u64 };
        launch(name, [results.div_ceil(256), 1, 1], 256, 0, vec![], cost)
    };
    if format == "sm90" {
        let narrow = choice.tile == "128x64";
        let (across_tiles, steps) = ((9 * g.c_in).div_ceil(columns), pixels.div_ceil(64));
        let tiles = match sizes[..] {
            [filters, wide, lines] => g.c_out / filters * g.w.div_ceil(wide) * g.h.div_ceil(lines) * g.n,
            _ if weight => g.c_out.div_ceil(rows) * across_tiles,
            _ => pixels.div_ceil(rows) * across.div_ceil(columns),
        };
        let blocks =
            if weight { (tiles * steps).min(132) } else { tiles.min(if narrow { 264 } else { 132 }) };
        let name = format!("{}_sm90_{}", search.entry, choice.tile);
        let (threads, shared) = if narrow { (288, 114_752) } else { (384, 229_440) };
        if !weight {
            return vec![launch(name, [blocks, 1, 1], threads, shared, vec![p], cost)];
        }
        let numbers = (blocks + tiles - 1) * rows * columns;
        let ends = summed(format!("{}_sm90_reduce", search.entry), numbers, g.weight().len() / 4);
        return vec![launch(name, [blocks, 1, 1], threads, shared, vec![p, parts_of(numbers)], cost), ends];
    }
    let depth = sizes[2];
    let stages = if choice.tile == "64x64x16" { 4 } else { 3 };
    let shared = (rows + columns) * depth * bytes * stages;
    let split = |length: usize| Arg::value("split", &(length as u32));
    if weight {
        let length = pixels.div_ceil(choice.parts).next_multiple_of(depth);
        let parts = pixels.div_ceil(length);
        let grid = [9 * g.c_in.div_ceil(columns), g.c_out.div_ceil(rows), parts];
        let name = format!("{}_{format}_{}", search.entry, choice.tile);
        let numbers = if parts > 1 { parts * g.weight().len() } else { 0 };
        let mut all = vec![launch(name, grid, 128, shared, vec![p, split(length), parts_of(numbers)], cost)];
        if parts > 1 {
            all.push(summed("conv2d_backward_weight_reduce".into(), numbers, g.weight().len()));
        }
        return all;
    }
    let height = if pooled { 4 * g.n * (g.h / 2) * (g.w / 2) } else { pixels };
    let blocks = height.div_ceil(rows) * across.div_ceil(columns);
    if choice.parts == 1 {
        let name = format!("{}_{format}_{}", search.entry, choice.tile);
        return vec![launch(name, [blocks, 1, 1], 128, shared, vec![p], cost)];
    }
    let length = (9 * deep.div_ceil(depth)).div_ceil(choice.parts);
    let parts = (9 * deep.div_ceil(depth)).div_ceil(length);
    let numbers = parts * height * across;
    let name = format!("{}_parts_{format}_{}", search.entry, choice.tile);
    let ends = summed(format!("{}_{format}_reduce", search.entry), numbers, height * across * bytes / 16);
    vec![launch(name, [blocks, 1, parts], 128, shared, vec![p, split(length), parts_of(numbers)], cost), ends]
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.tile)?;
        if self.parts > 1 { write!(f, " in {}", self.parts) } else { Ok(()) }
    }
}

/// How often the model's first is the fastest, nearly, or neither.
#[derive(Default)]
pub struct Tally {
    pub layers: usize,
    pub first: usize,
    pub near: usize,
}

/// The section of the page, and the count of all searches.
pub fn section(card: &'static Card) -> (String, Tally) {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/h200-2026-11-26-tiles.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut rows, mut lists, mut whole) = (Vec::new(), String::new(), Tally::default());
    for search in SEARCHES {
        let (mut tally, mut errors, mut list) = (Tally::default(), Vec::new(), Vec::new());
        for row in measured(search, &all) {
            // Every tile whole, and in parts as often as was listed.
            let mut choices: Vec<Choice> = row.times.iter().map(|(choice, _)| choice.clone()).collect();
            if !search.entry.ends_with("weight") {
                let fits = |tile: &&&str| {
                    let halo = search.entry.contains("maxpool2d") && search.format == "sm90";
                    let across =
                        if search.entry.ends_with("input") { row.geometry.c_in } else { row.geometry.c_out };
                    let sides: Vec<usize> = tile.split('x').map(|size| size.parse().unwrap()).collect();
                    across.is_multiple_of(if halo { sides[0] } else { sides[1] })
                };
                choices.extend(search.tiles.iter().filter(fits).map(|tile| Choice { tile, parts: 1 }));
            }
            let mut ranked: Vec<(Choice, f64)> = Vec::new();
            for choice in choices {
                if ranked.iter().all(|(other, _)| *other != choice) {
                    let microseconds = 1e6 * seconds(search, card, row.geometry, &choice);
                    ranked.push((choice, microseconds));
                }
            }
            ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
            let (first, predicted) = &ranked[0];
            let (best, fastest) = &row.times[0];
            let took = row.times.iter().find(|(choice, _)| choice == first).map(|(_, us)| *us);
            tally.layers += 1;
            tally.first += usize::from(first == best);
            tally.near += usize::from(first != best && took.is_some_and(|us| us <= 1.05 * fastest));
            for (choice, us) in &row.times {
                let predicted = ranked.iter().find(|(other, _)| other == choice).unwrap().1;
                errors.push(predicted / us - 1.0);
            }
            list.push(vec![
                row.layer.clone(),
                best.to_string(),
                format!("{fastest:.1}"),
                first.to_string(),
                format!("{predicted:.1}"),
                took.map_or_else(|| format!("over {:.1}", row.at_least), |us| format!("{us:.1}")),
            ]);
        }
        rows.push(vec![
            search.title.to_owned(),
            tally.layers.to_string(),
            tally.first.to_string(),
            tally.near.to_string(),
            (tally.layers - tally.first - tally.near).to_string(),
            percent(root_mean_square(&errors)),
        ]);
        let head = ["layer", "fastest", "µs", "the model's first", "predicted", "measured"];
        let _ = write!(lists, "{}\n\n{}\n", search.title, table(&head, &list));
        whole.layers += tally.layers;
        whole.first += tally.first;
        whole.near += tally.near;
    }
    let head = [
        "search",
        "layers",
        "first is the fastest",
        "within 5 % of it",
        "neither",
        "error of the times, rms",
    ];
    (format!("{}\n{lists}", table(&head, &rows)), whole)
}
