//! Marks as pixels, on light ground, two to a unit: for places that show no SVG.

use super::font::{Glyphs, glyphs, width};
use super::paint::{EDGE, GRID, GROUND, SERIES, STRONG, WORDS, rgb};
use super::{Anchor, Chart, Ink, Mark, WIDTH};
use crate::data::draw::canvas::{Canvas, Colour, Frame, Point, taper};
use crate::error::{Error, Kind, Result};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// Pixels of a unit.
const SCALE: f64 = 2.0;

impl Chart {
    /// A PNG file of twice the SVG's size.
    ///
    /// # Errors
    /// None in practice: the encoder writes to memory.
    pub fn png(&self) -> Result<Vec<u8>> {
        let [h, w] = [self.height(), WIDTH].map(|side| (side * SCALE) as usize);
        let ground = rgb(GROUND[0]);
        let mut sheet = Sheet { canvas: Canvas::new([h, w], |_| ground), chart: self };
        self.marks().iter().for_each(|mark| sheet.mark(mark));
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(&sheet.canvas.bytes(), w as u32, h as u32, ExtendedColorType::Rgb8)
            .map_err(|e| Error::new(Kind::Io, "the curves cannot be written as PNG").fact("reason", e))?;
        Ok(png)
    }
}

struct Sheet<'a> {
    canvas: Canvas,
    chart: &'a Chart,
}

impl Sheet<'_> {
    fn mark(&mut self, mark: &Mark) {
        match mark {
            Mark::Text { ink, at, anchor, words } => self.text(*ink, *at, *anchor, words),
            Mark::Rule { ink: Ink::Stage, ends } => self.dashes(*ends),
            Mark::Rule { ink, ends: [x1, y1, x2, y2] } => {
                let colour = rgb(if *ink == Ink::Grid { GRID[0] } else { EDGE[0] });
                self.stroke([[*x1, *y1], [*x2, *y2]], 0.5, colour);
            }
            Mark::Dot { series, at, radius, .. } => {
                let colour = self.colour(*series);
                if self.chart.series[*series].hollow {
                    self.disc(*at, *radius, 0.9, rgb(GROUND[0]), |r, radius| r - radius);
                    self.disc(*at, *radius + 0.7, 0.65, colour, |r, radius| (r - radius + 1.4).abs() - 1.3);
                } else {
                    self.disc(*at, *radius, 0.45, colour, |r, radius| r - radius);
                }
            }
            Mark::Path { series, points } => {
                let colour = self.colour(*series);
                points.windows(2).for_each(|pair| self.stroke([pair[0], pair[1]], 1.1, colour));
            }
        }
    }

    fn colour(&self, series: usize) -> Colour {
        rgb(SERIES[self.chart.series[series].colour % SERIES.len()][0])
    }

    /// A line with round ends; `radius` in units.
    fn stroke(&mut self, ends: [[f64; 2]; 2], radius: f64, colour: Colour) {
        let [a, b] = ends.map(pixels);
        let middle = [0, 1].map(|i| (a[i] + b[i]) / 2.0);
        let half = [0, 1].map(|i| (b[i] - a[i]) / 2.0);
        let radius = (radius * SCALE) as f32;
        // One without length has no direction; a grain of it does no harm.
        let end = if half == [0.0; 2] { [1e-3, 0.0] } else { half };
        let reach = (half[0].powi(2) + half[1].powi(2)).sqrt() + radius + 1.0;
        let frame = Frame::new(middle, 1.0, 0.0);
        self.canvas.fill(&frame, reach, colour, |p| taper(p, end.map(|v| -v), end, radius, radius));
    }

    fn disc(
        &mut self,
        at: [f64; 2],
        radius: f64,
        opacity: f32,
        colour: Colour,
        distance: impl Fn(f32, f32) -> f32,
    ) {
        let radius = (radius * SCALE) as f32;
        let away = |[x, y]: Point| distance((x * x + y * y).sqrt(), radius);
        self.canvas.paint(&Frame::new(pixels(at), 1.0, 0.0), radius + 2.0, opacity, |_| colour, away);
    }

    /// Three units on, three off, downwards: rules of stages are vertical.
    fn dashes(&mut self, [x, top, _, bottom]: [f64; 4]) {
        let mut y = top;
        while y < bottom {
            self.stroke([[x, y], [x, (y + 3.0).min(bottom)]], 0.5, rgb(EDGE[0]));
            y += 6.0;
        }
    }

    fn text(&mut self, ink: Ink, [x, y]: [f64; 2], anchor: Anchor, words: &str) {
        let (size, weight, colour) = match ink {
            Ink::Title => (18.0, 0.075, STRONG[0]),
            Ink::Name => (13.0, 0.075, STRONG[0]),
            Ink::Words | Ink::Grid | Ink::Edge | Ink::Stage => (12.0, 0.05, WORDS[0]),
        };
        let length = width(words, size);
        let left = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - length / 2.0,
            Anchor::End => x - length,
        };
        let Glyphs { strokes } = glyphs(words, [left, y], size);
        strokes.into_iter().for_each(|ends| self.stroke(ends, weight * size, rgb(colour)));
    }
}

fn pixels(at: [f64; 2]) -> Point {
    at.map(|v| (v * SCALE) as f32)
}

#[cfg(test)]
mod tests {
    use super::super::{Chart, Line, Panel, Point, Series, Stage};

    #[test]
    fn the_image_has_the_colours_of_its_series() {
        let line = |value: f64| Line {
            points: (1..=9)
                .map(|epoch| Point { epoch, value: value / epoch as f64, label: "x".into() })
                .collect(),
            runs: vec![0..4, 4..9],
        };
        let panel = |name: &str| Panel { name: name.into(), lines: vec![line(1.0), line(0.5)] };
        let series = |name: &str, colour| Series { name: name.into(), colour, hollow: colour == 1 };
        let chart = Chart {
            title: "Training history".into(),
            subtitle: "9 epochs — é".into(),
            epochs: 9,
            stages: vec![
                Stage { name: "head".into(), epochs: 0..4 },
                Stage { name: "finetune".into(), epochs: 4..9 },
            ],
            series: vec![series("training", 0), series("validation", 1)],
            panels: [panel("Loss"), panel("Accuracy")],
        };
        let image = image::load_from_memory(&chart.png().unwrap()).unwrap().into_rgb8();
        assert_eq!(image.dimensions(), (1600, 1200));
        for colour in [[0x00, 0x72, 0xb2], [0xd5, 0x5e, 0x00], [0x1c, 0x21, 0x28]] {
            assert!(image.pixels().filter(|pixel| pixel.0 == colour).count() > 500, "{colour:x?}");
        }
    }
}
