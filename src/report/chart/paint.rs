//! The colours: those of Okabe and Ito ("Color universal design", 2008) and brighter relatives on dark ground,
//! told apart with every common colour vision.

/// Of series, on light and on dark ground; more series than these begin again.
pub const SERIES: [[&str; 2]; 7] = [
    ["#0072b2", "#56b4e9"],
    ["#d55e00", "#e69f00"],
    ["#009e73", "#2fc89b"],
    ["#cc79a7", "#e59cc4"],
    ["#9a7b00", "#f0e442"],
    ["#1c2128", "#e8ebef"],
    ["#5b6470", "#9aa4b0"],
];

/// Ground, strong text, text, grid, edges; light and dark.
pub const GROUND: [&str; 2] = ["#ffffff", "#15181d"];
/// Titles and names.
pub const STRONG: [&str; 2] = ["#1c2128", "#e8ebef"];
/// Everything else that is read.
pub const WORDS: [&str; 2] = ["#5b6470", "#9aa4b0"];
/// Lines behind the points.
pub const GRID: [&str; 2] = ["#e8eaed", "#262b32"];
/// Axes and stages.
pub const EDGE: [&str; 2] = ["#9aa2ad", "#5b6470"];

/// `#rrggbb` as three shares.
pub fn rgb(hex: &str) -> [f32; 3] {
    let value = u32::from_str_radix(hex.trim_start_matches('#'), 16).unwrap_or_default();
    [16, 8, 0].map(|shift| (value >> shift & 0xff) as f32 / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_colours_are_colours() {
        assert_eq!(rgb("#ff8000"), [1.0, 128.0 / 255.0, 0.0]);
        let all = SERIES.iter().chain([&GROUND, &STRONG, &WORDS, &GRID, &EDGE]).flatten();
        for hex in all {
            assert!(hex.len() == 7 && u32::from_str_radix(&hex[1..], 16).is_ok(), "{hex}");
        }
    }
}
