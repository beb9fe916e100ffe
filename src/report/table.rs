//! The table of layers that `vgg-ft summary` prints, laid out as Keras 3 prints `model.summary()`.
//!
//! In: layers with their weights, as plain data. Out: text of 80 columns, `line_length=80`. The golden files in
//! `tests/golden` were printed by Keras itself.

use serde::Serialize;
use std::fmt::Write as _;

/// The widths of the three columns without their padding: Keras' shares of 45 %, 35 % and 20 %.
const WIDTHS: [usize; 3] = [33, 24, 13];

/// One weight tensor of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// How many numbers it holds, four bytes each.
    pub elements: u64,
    /// Whether training changes it.
    pub learns: bool,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `block1_conv1`.
    pub name: String,
    /// `Conv2D`: Keras' name of the class.
    pub kind: String,
    /// `[None, 150, 150, 64]`: of the batch nobody knows how large it is.
    pub output_shape: Vec<Option<usize>>,
    /// The tensors that the layer owns; for a nested network all of its tensors.
    pub weights: Vec<Weight>,
}

/// A network as a list of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The network's name.
    pub title: String,
    /// Its layers, input first.
    pub rows: Vec<Row>,
}

impl Table {
    /// How many numbers the weights hold: those that learn, and those that are frozen.
    pub fn parameters(&self) -> (u64, u64) {
        self.weights().fold((0, 0), |(learning, frozen), w| {
            if w.learns { (learning + w.elements, frozen) } else { (learning, frozen + w.elements) }
        })
    }

    /// How many weight tensors learn: what Keras gives as `len(model.trainable_weights)`.
    pub fn learning_tensors(&self) -> usize {
        self.weights().filter(|w| w.learns).count()
    }

    fn weights(&self) -> impl Iterator<Item = &Weight> {
        self.rows.iter().flat_map(|row| &row.weights)
    }

    /// The table and its totals, ending with a line break. Control characters in names are dropped.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let title: String = self.title.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(out, "Model: \"{title}\"");
        rule(&mut out, ["┏", "━", "┳", "┓"]);
        cells(&mut out, "┃", ["Layer (type)", "Output Shape", "Param #"]);
        rule(&mut out, ["┡", "━", "╇", "┩"]);
        for (i, row) in self.rows.iter().enumerate() {
            if i > 0 {
                rule(&mut out, ["├", "─", "┼", "┤"]);
            }
            let name = format!("{} ({})", row.name, row.kind);
            let parameters = thousands(row.weights.iter().map(|w| w.elements).sum());
            cells(&mut out, "│", [&name, &shape(&row.output_shape), &parameters]);
        }
        rule(&mut out, ["└", "─", "┴", "┘"]);
        let (learning, frozen) = self.parameters();
        for (what, count) in
            [("Total", learning + frozen), ("Trainable", learning), ("Non-trainable", frozen)]
        {
            let _ = writeln!(out, " {what} params: {} ({})", thousands(count), bytes(count * 4));
        }
        let _ = writeln!(out, " Trainable weight tensors: {}", self.learning_tensors());
        out
    }
}

/// `(None, 150, 150, 64)`, as Keras writes it.
fn shape(axes: &[Option<usize>]) -> String {
    let axes: Vec<String> =
        axes.iter().map(|axis| axis.map_or_else(|| "None".to_owned(), |axis| axis.to_string())).collect();
    format!("({})", axes.join(", "))
}

fn rule(out: &mut String, [left, line, cross, right]: [&str; 4]) {
    let spans = WIDTHS.map(|width| line.repeat(width + 2));
    let _ = writeln!(out, "{left}{}{right}", spans.join(cross));
}

fn cells(out: &mut String, bar: &str, texts: [&str; 3]) {
    let [name, shape, parameters] = [0, 1, 2].map(|i| wrap(texts[i], WIDTHS[i]));
    for i in 0..name.len().max(shape.len()).max(parameters.len()) {
        let at = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
        let [w0, w1, w2] = WIDTHS;
        let _ = writeln!(
            out,
            "{bar} {:w0$} {bar} {:w1$} {bar} {:>w2$} {bar}",
            at(&name),
            at(&shape),
            at(&parameters)
        );
    }
}

/// Lines of at most `width` characters: broken at spaces, a word that fits no line is cut short.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Characters left on the last line; none before the first word.
    let mut room = 0;
    for word in text.split(' ') {
        let mut word: String = word.chars().filter(|c| !c.is_control()).collect();
        if word.chars().count() > width {
            word = word.chars().take(width - 1).chain(['…']).collect();
        }
        let needs = word.chars().count() + 1;
        match lines.last_mut() {
            Some(line) if needs <= room => {
                line.push(' ');
                line.push_str(&word);
                room -= needs;
            }
            _ => {
                room = width + 1 - needs;
                lines.push(word);
            }
        }
    }
    lines
}

/// `14714688` as `14,714,688`.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Memory as Keras words it: binary steps under decimal names.
fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 1024.0 {
            return format!("{size:.2} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, kind: &str, shape: &[usize], weights: &[u64], learns: bool) -> Row {
        Row {
            name: name.into(),
            kind: kind.into(),
            output_shape: std::iter::once(None).chain(shape.iter().copied().map(Some)).collect(),
            weights: weights.iter().map(|&elements| Weight { elements, learns }).collect(),
        }
    }

    /// What Keras 3.15 printed for the book's network with a frozen base; the last line is ours.
    #[test]
    fn the_books_network_looks_as_keras_prints_it() {
        let mut base = row("vgg16", "Functional", &[4, 4, 512], &[0; 25], false);
        base.weights.push(Weight { elements: 14_714_688, learns: false });
        let table = Table {
            title: "sequential".into(),
            rows: vec![
                base,
                row("flatten", "Flatten", &[8192], &[], true),
                row("dense", "Dense", &[256], &[2_097_152, 256], true),
                row("dense_1", "Dense", &[1], &[256, 1], true),
            ],
        };
        let expected = r#"Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                      ┃ Output Shape             ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ vgg16 (Functional)                │ (None, 4, 4, 512)        │    14,714,688 │
├───────────────────────────────────┼──────────────────────────┼───────────────┤
│ flatten (Flatten)                 │ (None, 8192)             │             0 │
├───────────────────────────────────┼──────────────────────────┼───────────────┤
│ dense (Dense)                     │ (None, 256)              │     2,097,408 │
├───────────────────────────────────┼──────────────────────────┼───────────────┤
│ dense_1 (Dense)                   │ (None, 1)                │           257 │
└───────────────────────────────────┴──────────────────────────┴───────────────┘
 Total params: 16,812,353 (64.13 MB)
 Trainable params: 2,097,665 (8.00 MB)
 Non-trainable params: 14,714,688 (56.13 MB)
 Trainable weight tensors: 4
"#;
        assert_eq!(table.text(), expected);
    }

    /// The cells are what Keras 3.15 printed for these names, by rich's rules.
    #[test]
    fn long_names_break_as_keras_breaks_them() {
        for (name, lines) in [
            (
                "a_very_long_name_for_a_dense_layer_that_wraps_around",
                "a_very_long_name_for_a_dense_lay…|(Dense)",
            ),
            ("thirty_one_characters_are", "thirty_one_characters_are (Dense)"),
            ("words with spaces and more of them", "words with spaces and more of|them (Dense)"),
            ("a some_words_longer_than_the_line_is_wide", "a|some_words_longer_than_the_line_…|(Dense)"),
            // 33 characters in all fill the line.
            ("exactly_thirty_three_chars", "exactly_thirty_three_chars|(Dense)"),
            ("exactly_thirty_three_char", "exactly_thirty_three_char (Dense)"),
        ] {
            assert_eq!(wrap(&format!("{name} (Dense)"), 33).join("|"), lines);
        }
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(bytes(0), "0.00 B");
        assert_eq!(bytes(1023), "1023.00 B");
        assert_eq!(bytes(1024), "1.00 KB");
        assert_eq!(bytes(138_357_544 * 4), "527.79 MB");
        assert_eq!(bytes(5 << 40), "5.00 TB");
        assert_eq!([0, 999, 1000, 14_714_688].map(thousands), ["0", "999", "1,000", "14,714,688"]);
    }
}
