//! What training does to images so that it never sees one twice: Keras' ImageDataGenerator.
//!
//! In: ranges, typed or read from `run.toml`. Out: for a step and a sample what happens to it ([`Drawn`]), and
//! that as numbers for the device. The draw is a function of seed, step and sample: no order and no thread
//! changes it.

mod draw;
mod values;

pub use draw::Drawn;
pub use values::{AngleUnit, FillMode};

use crate::device::augment::Border;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Ranges, each drawn from evenly; Keras' names and meanings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Degrees to either side.
    pub rotation: f64,
    /// To either side: below 1 a share of the width, otherwise pixels.
    pub width_shift: f64,
    /// Up or down: below 1 a share of the height, otherwise pixels.
    pub height_shift: f64,
    /// Angle to either side.
    pub shear: f64,
    /// What that angle is counted in.
    pub shear_unit: AngleUnit,
    /// Two factors, one for each axis, from the first to the second; a single number z is 1-z to 1+z.
    #[serde(deserialize_with = "values::zoom")]
    pub zoom: [f64; 2],
    /// Levels that are added to all channels, up or down.
    pub channel_shift: f64,
    /// A factor from the first to the second; none leaves levels uncut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness: Option<[f64; 2]>,
    /// Left and right change places, every second time.
    pub horizontal_flip: bool,
    /// Top and bottom change places, every second time.
    pub vertical_flip: bool,
    /// What stands outside the image.
    pub fill: FillMode,
    /// The level of [`FillMode::Constant`].
    pub fill_value: f64,
}

impl Default for Augment {
    /// Nothing is changed.
    fn default() -> Self {
        Self {
            rotation: 0.0,
            width_shift: 0.0,
            height_shift: 0.0,
            shear: 0.0,
            shear_unit: AngleUnit::Degrees,
            zoom: [1.0; 2],
            channel_shift: 0.0,
            brightness: None,
            horizontal_flip: false,
            vertical_flip: false,
            fill: FillMode::Nearest,
            fill_value: 0.0,
        }
    }
}

impl Augment {
    /// The set of the book's notebook.
    pub fn book() -> Self {
        Self {
            rotation: 40.0,
            width_shift: 0.2,
            height_shift: 0.2,
            shear: 0.2,
            zoom: [0.8, 1.2],
            horizontal_flip: true,
            ..Self::default()
        }
    }

    /// Whether every range is one that can be drawn from.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the first that is not.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, expected: &str, got: String| {
            Err(Error::new(Kind::Usage, format!("augmentation: `{name}` cannot be drawn from"))
                .expected_got(expected, got)
                .help("change it where it was given: the option, or its line in the configuration"))
        };
        for (name, value) in [
            ("rotation", self.rotation),
            ("width_shift", self.width_shift),
            ("height_shift", self.height_shift),
            ("shear", self.shear),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(name, "a number from 0 up: it is drawn to either side", value.to_string());
            }
        }
        for (name, value) in [("channel_shift", self.channel_shift), ("fill_value", self.fill_value)] {
            if !(0.0..=255.0).contains(&value) {
                return wrong(name, "levels from 0 to 255", value.to_string());
            }
        }
        let [low, high] = self.zoom;
        // Written so that NaN is refused.
        if !(low > 0.0 && low <= high && high.is_finite()) {
            let expected = "a share below 1, or two factors above 0, the smaller first";
            return wrong("zoom", expected, format!("factors from {low} to {high}"));
        }
        match self.brightness {
            Some([low, high]) if !(low >= 0.0 && low <= high && high.is_finite()) => {
                let expected = "two factors from 0 up, the smaller first";
                wrong("brightness", expected, format!("factors from {low} to {high}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether any image is changed by it.
    pub fn changes(&self) -> bool {
        Self { fill: FillMode::Nearest, fill_value: 0.0, shear_unit: AngleUnit::Degrees, ..self.clone() }
            != Self::default()
    }

    /// Whether channel shifts are drawn.
    pub fn shifts_channels(&self) -> bool {
        self.channel_shift != 0.0
    }

    /// What stands outside the image, for the device.
    pub fn border(&self) -> Border {
        match self.fill {
            FillMode::Nearest => Border::Nearest,
            FillMode::Reflect => Border::Reflect,
            FillMode::Wrap => Border::Wrap,
            FillMode::Constant => Border::Constant(self.fill_value as f32),
        }
    }
}

impl fmt::Display for Augment {
    /// "rotation ±40°, width shift ±20 %, … outside nearest".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shift = |value: f64| {
            // As typed: 0.07 · 100 is 7.000000000000001.
            if value < 1.0 {
                format!("±{} %", (value * 1e4).round() / 100.0)
            } else {
                format!("±{value} pixels")
            }
        };
        let mut parts = Vec::new();
        if self.rotation != 0.0 {
            parts.push(format!("rotation ±{}°", self.rotation));
        }
        if self.width_shift != 0.0 {
            parts.push(format!("width shift {}", shift(self.width_shift)));
        }
        if self.height_shift != 0.0 {
            parts.push(format!("height shift {}", shift(self.height_shift)));
        }
        if self.shear != 0.0 {
            parts.push(format!("shear ±{} {}", self.shear, self.shear_unit.name()));
        }
        if self.zoom != [1.0; 2] {
            parts.push(format!("zoom {} to {}", self.zoom[0], self.zoom[1]));
        }
        if self.channel_shift != 0.0 {
            parts.push(format!("channels ±{}", self.channel_shift));
        }
        if let Some([low, high]) = self.brightness {
            parts.push(format!("brightness {low} to {high}"));
        }
        if self.horizontal_flip {
            parts.push("horizontal flip".into());
        }
        if self.vertical_flip {
            parts.push("vertical flip".into());
        }
        parts.push(match self.fill {
            FillMode::Constant => format!("outside constant {}", self.fill_value),
            fill => format!("outside {}", fill.name()),
        });
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_keeps_is_read_back() {
        let all = Augment {
            brightness: Some([0.5, 1.5]),
            shear_unit: AngleUnit::Radians,
            fill: FillMode::Constant,
            fill_value: 7.0,
            ..Augment::book()
        };
        for augment in [Augment::default(), Augment::book(), all] {
            assert_eq!(toml::from_str::<Augment>(&toml::to_string(&augment).unwrap()).unwrap(), augment);
        }
        let typed: Augment = toml::from_str("zoom = 0.25\nfill = \"wrap\"").unwrap();
        assert_eq!((typed.zoom, typed.fill), ([0.75, 1.25], FillMode::Wrap));
        for bad in ["rotaton = 4", "zoom = [1, 2, 3]", "fill = \"edge\"", "shear_unit = \"turns\""] {
            assert!(toml::from_str::<Augment>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_that_cannot_be_are_named() {
        assert!(Augment::book().validate().is_ok());
        for (text, name) in [
            ("rotation = -1", "`rotation`"),
            ("width_shift = nan", "`width_shift`"),
            ("shear = inf", "`shear`"),
            ("zoom = 1.0", "`zoom`"),
            ("zoom = [1.2, 0.8]", "`zoom`"),
            ("channel_shift = 300", "`channel_shift`"),
            ("fill_value = -1", "`fill_value`"),
            ("brightness = [-0.1, 1]", "`brightness`"),
            ("brightness = [1, nan]", "`brightness`"),
        ] {
            let error = toml::from_str::<Augment>(text).unwrap().validate().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.message().contains(name) && error.to_string().contains("help:"), "{text}: {error}");
        }
    }

    #[test]
    fn it_says_what_it_does() {
        assert_eq!(
            Augment::book().to_string(),
            "rotation ±40°, width shift ±20 %, height shift ±20 %, shear ±0.2 degrees, zoom 0.8 to 1.2, \
             horizontal flip, outside nearest"
        );
    }
}
