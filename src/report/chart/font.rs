//! A stroke font for labels in pixels: letters as a plotter draws them, sharp at any size.
//!
//! In: text. Out: straight strokes. Glyphs are drawn for this file on a grid of 5 x 9: capitals from row 0 to row
//! 6, small letters from row 2, tails to row 8. A stroke is written as pairs of digits, column and row, and a
//! single pair is a dot.

/// Units of the grid in one unit of the font's size: capitals are as tall as a sans-serif's.
const GRID: f64 = 0.118;
/// Columns between letters.
const GAP: f64 = 1.7;
/// Columns of a space.
const SPACE: f64 = 2.2;
/// The row of the baseline.
const BASELINE: f64 = 6.0;

/// From `!` to `~`.
const ASCII: [&str; 94] = [
    "0004 06",
    "0001 2021",
    "1016 3036 0242 0444",
    "413010010213334445361605 2026",
    "4006 0010110100 3545463635",
    "4612112031320405162644",
    "0001",
    "10020416",
    "00121406",
    "2125 0244 4204",
    "2125 0343",
    "1607",
    "0333",
    "06",
    "3006",
    "103041453616050110",
    "011016 0626",
    "01103041420646",
    "0110304142334445361605 2333",
    "36300444",
    "400002324345361605",
    "4130100105163645443303",
    "004016",
    "103041423344453616050413020110 1333",
    "0516364541301001021343",
    "03 06",
    "13 1607",
    "310335",
    "0242 0444",
    "013305",
    "01102031321314 16",
    "4616050110304144242242",
    "062046 1434",
    "00063645443303 3342413000",
    "4130100105163645",
    "00062644422000",
    "40000646 0333",
    "400006 0333",
    "41301001051636454323",
    "0006 4046 0343",
    "1016 0020 0626",
    "3035261605",
    "0006 4004 1346",
    "000646",
    "0600234046",
    "06004640",
    "103041453616050110",
    "06003041423303",
    "103041453616050110 2446",
    "06003041423303 2346",
    "413010010213334445361605",
    "0040 2026",
    "000516364540",
    "002640",
    "0016223640",
    "0046 4006",
    "002340 2326",
    "00400646",
    "10000616",
    "0036",
    "00101606",
    "022042",
    "0747",
    "0011",
    "3236 3322120305162635",
    "0006 0312223335261605",
    "3322120305162635",
    "3036 3322120305162635",
    "043433221203051636",
    "201116 0222",
    "3237281807 3322120305162635",
    "0006 0312223336",
    "0206 00",
    "121708 10",
    "0006 3205 1436",
    "000516",
    "0206 03122326 23324346",
    "0206 0312223336",
    "122233352616050312",
    "0208 0312223335261605",
    "3238 3322120305162635",
    "0206 031222",
    "3212031424352606",
    "101526 0222",
    "0205162635 3236",
    "022642",
    "0216233642",
    "0236 3206",
    "0226 4218",
    "02320636",
    "20111203141526",
    "0007",
    "00111223141506",
    "04133443",
];

/// The strokes of a text, each from one end to the other.
pub struct Glyphs {
    /// In the units of the place.
    pub strokes: Vec<[[f64; 2]; 2]>,
}

/// `text` whose baseline begins at `at`, in letters of `size`.
pub fn glyphs(text: &str, [left, baseline]: [f64; 2], size: f64) -> Glyphs {
    let unit = size * GRID;
    let mut strokes = Vec::new();
    let mut column = 0.0;
    for c in text.chars() {
        for stroke in shape(c).split(' ').filter(|stroke| !stroke.is_empty()) {
            let (pairs, _) = stroke.as_bytes().as_chunks::<2>();
            let place = |[x, y]: [u8; 2]| {
                let [x, y] = [x, y].map(|digit| f64::from(digit - b'0'));
                [left + (column + x) * unit, baseline + (y - BASELINE) * unit]
            };
            match pairs {
                &[dot] => strokes.push([place(dot); 2]),
                _ => strokes.extend(pairs.windows(2).map(|two| [place(two[0]), place(two[1])])),
            }
        }
        column += advance(c);
    }
    Glyphs { strokes }
}

/// How long `text` is.
pub fn width(text: &str, size: f64) -> f64 {
    let columns: f64 = text.chars().map(advance).sum();
    (columns - GAP).max(0.0) * size * GRID
}

fn advance(c: char) -> f64 {
    let widest = shape(c).bytes().filter(|b| *b != b' ').step_by(2).max();
    widest.map_or(SPACE, |digit| f64::from(digit - b'0')) + GAP
}

fn shape(c: char) -> &'static str {
    match c {
        ' ' | '\u{a0}' => "",
        '–' | '—' | '−' => "0343",
        '…' => "06 26 46",
        '×' => "0343 2125",
        _ => {
            (c as usize).checked_sub('!' as usize).and_then(|i| ASCII.get(i).copied()).unwrap_or("0006363000")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_glyph_is_on_the_grid() {
        for (c, glyph) in ('!'..='~').zip(ASCII) {
            for stroke in glyph.split(' ') {
                assert!(stroke.len() >= 2 && stroke.len() % 2 == 0, "{c}: {stroke}");
                let (pairs, _) = stroke.as_bytes().as_chunks::<2>();
                assert!(
                    pairs.iter().all(|[x, y]| (b'0'..=b'4').contains(x) && (b'0'..=b'8').contains(y)),
                    "{c}"
                );
            }
        }
        let mut sorted = ASCII.to_vec();
        sorted.sort_unstable();
        // O and 0 alone look the same.
        assert_eq!(sorted.windows(2).filter(|two| two[0] == two[1]).count(), 1);
    }

    #[test]
    fn text_is_as_wide_as_its_letters() {
        let strokes = glyphs("Hi.", [10.0, 20.0], 12.0).strokes;
        let right = strokes.iter().flatten().fold(0.0f64, |m, p| m.max(p[0]));
        assert!((right - 10.0 - width("Hi.", 12.0)).abs() < 1e-9);
        assert!(strokes.iter().flatten().all(|p| p[0] >= 10.0 && p[1] <= 20.0));
        assert_eq!(width("", 12.0), 0.0);
    }
}
