//! The options of augmentation, and `augment preview`.

use super::values::{
    angle_unit, augment_preset, fill_mode, pair, positive, resize, share, size, whole, zoom,
};
use crate::data::{AngleUnit, Augment, FillMode, Resize};
use crate::error::{Error, Kind, Result};
use crate::task;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// How images are changed, as Keras' `ImageDataGenerator` does it. Without any of these they are not.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Augmentation")]
pub struct AugmentArgs {
    /// A set of ranges to begin with: `book` is the notebook's (rotation 40, shifts, shear and zoom 0.2,
    /// horizontal flip)
    #[arg(long, value_name = "SET", value_parser = augment_preset)]
    pub augment: Option<Augment>,
    /// Turn by up to so many degrees to either side
    #[arg(long, value_name = "DEGREES", value_parser = share)]
    pub rotation: Option<f64>,
    /// Shift to either side by up to this share of the width, or so many pixels from 1 on
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub width_shift: Option<f64>,
    /// Shift up or down by up to this share of the height, or so many pixels from 1 on
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub height_shift: Option<f64>,
    /// Shear by up to this angle to either side
    #[arg(long, value_name = "ANGLE", value_parser = share)]
    pub shear: Option<f64>,
    /// What that angle is in: degrees as Keras now, radians as Keras when the book was written
    #[arg(long, value_name = "UNIT", value_parser = angle_unit())]
    pub shear_unit: Option<AngleUnit>,
    /// Scale each axis by a factor from 1-Z to 1+Z, or from LOW to HIGH
    #[arg(long, value_name = "Z|LOW,HIGH", allow_hyphen_values = true, value_parser = zoom)]
    pub zoom: Option<[f64; 2]>,
    /// Add up to so many levels to all channels, or take them away
    #[arg(long, value_name = "LEVELS", value_parser = share)]
    pub channel_shift: Option<f64>,
    /// Multiply levels by a factor from LOW to HIGH
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = pair)]
    pub brightness: Option<[f64; 2]>,
    /// Mirror left and right with probability 0.5
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub horizontal_flip: Option<bool>,
    /// Mirror top and bottom with probability 0.5
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub vertical_flip: Option<bool>,
    /// What fills the area outside an image
    #[arg(long, value_name = "MODE", value_parser = fill_mode())]
    pub fill: Option<FillMode>,
    /// The level of `--fill constant`
    #[arg(long, value_name = "LEVEL", value_parser = share)]
    pub fill_value: Option<f64>,
}

impl AugmentArgs {
    /// Whether any of it was typed.
    pub fn given(&self) -> bool {
        *self != Self::default()
    }

    /// The ranges; `None` when no image would change.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a range that cannot be drawn from.
    pub fn parameters(&self) -> Result<Option<Augment>> {
        let base = self.augment.clone().unwrap_or_default();
        let all = Augment {
            rotation: self.rotation.unwrap_or(base.rotation),
            width_shift: self.width_shift.unwrap_or(base.width_shift),
            height_shift: self.height_shift.unwrap_or(base.height_shift),
            shear: self.shear.unwrap_or(base.shear),
            shear_unit: self.shear_unit.unwrap_or(base.shear_unit),
            zoom: self.zoom.unwrap_or(base.zoom),
            channel_shift: self.channel_shift.unwrap_or(base.channel_shift),
            brightness: self.brightness.or(base.brightness),
            horizontal_flip: self.horizontal_flip.unwrap_or(base.horizontal_flip),
            vertical_flip: self.vertical_flip.unwrap_or(base.vertical_flip),
            fill: self.fill.unwrap_or(base.fill),
            fill_value: self.fill_value.unwrap_or(base.fill_value),
        };
        all.validate()?;
        if self.fill_value.is_some() && all.fill != FillMode::Constant {
            return Err(Error::new(Kind::Usage, "--fill-value needs `--fill constant`")
                .expected_got("--fill constant", format!("--fill {}", all.fill.name()))
                .help("add it, or leave --fill-value out"));
        }
        Ok(all.changes().then_some(all))
    }
}

/// `augment`
#[derive(Args, Debug)]
pub struct AugmentCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AugmentCommand,
}

/// The subcommands of `augment`.
#[derive(Debug, Subcommand)]
pub enum AugmentCommand {
    /// Write a sheet of images: each in a row, as it is and as training would see it
    Preview(PreviewArgs),
}

/// `augment preview`
#[derive(Args, Debug)]
pub struct PreviewArgs {
    /// Folder with train/, or with one folder per class
    pub data: PathBuf,
    /// PNG file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Images: rows of the sheet
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive)]
    pub count: usize,
    /// Draws of each: columns after the first
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = positive)]
    pub draws: usize,
    /// Decides what is drawn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
    /// Image size in pixels: one number, or HEIGHTxWIDTH
    #[arg(long, alias = "image-size", value_name = "SIZE", default_value = "150", value_parser = size)]
    pub size: [usize; 2],
    /// How images are brought to size: squeezed into it, or with `crop-…` cut to its shape first; with `upright-…`
    /// turned first as their EXIF orientation says
    #[arg(long, value_name = "METHOD", default_value = "nearest", value_parser = resize())]
    pub resize: Resize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub augment: AugmentArgs,
}

impl AugmentCommandArgs {
    /// The job.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a range that cannot be drawn from, and for ranges that are all nothing.
    pub fn job(self) -> Result<task::Preview> {
        let AugmentCommand::Preview(a) = self.command;
        let augment = a.augment.parameters()?;
        if a.augment.given() && augment.is_none() {
            return Err(Error::new(Kind::Usage, "these augmentation options change no image")
                .help("give a range such as --rotation 10, or none at all to see the book's"));
        }
        Ok(task::Preview {
            augment,
            data: a.data,
            output: task::Output { path: a.output, force: a.force },
            count: a.count,
            draws: a.draws,
            seed: a.seed,
            size: a.size,
            resize: a.resize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        augment: AugmentArgs,
    }

    fn typed(words: &str) -> Result<Option<Augment>> {
        let words = ["vgg-ft"].into_iter().chain(words.split_whitespace());
        Typed::try_parse_from(words).unwrap().augment.parameters()
    }

    #[test]
    fn every_option_reaches_its_range_alone_and_on_top_of_the_books() {
        type Set = fn(&mut Augment);
        let table: [(&str, Set); 13] = [
            ("--rotation 11", |a| a.rotation = 11.0),
            ("--width-shift 0.3", |a| a.width_shift = 0.3),
            ("--height-shift 12", |a| a.height_shift = 12.0),
            ("--shear 0.7", |a| a.shear = 0.7),
            ("--shear 0.7 --shear-unit radians", |a| {
                (a.shear, a.shear_unit) = (0.7, AngleUnit::Radians);
            }),
            ("--zoom 0.25", |a| a.zoom = [0.75, 1.25]),
            ("--zoom 0.5,3", |a| a.zoom = [0.5, 3.0]),
            ("--channel-shift 13", |a| a.channel_shift = 13.0),
            ("--brightness 0.5,1.5", |a| a.brightness = Some([0.5, 1.5])),
            ("--horizontal-flip --vertical-flip", |a| (a.horizontal_flip, a.vertical_flip) = (true, true)),
            ("--vertical-flip=true --horizontal-flip=false", |a| {
                (a.vertical_flip, a.horizontal_flip) = (true, false);
            }),
            ("--rotation 1 --fill reflect", |a| (a.rotation, a.fill) = (1.0, FillMode::Reflect)),
            ("--rotation 1 --fill constant --fill-value 9", |a| {
                (a.rotation, a.fill, a.fill_value) = (1.0, FillMode::Constant, 9.0);
            }),
        ];
        for (words, set) in table {
            for (set_before, base) in [("", Augment::default()), ("--augment book ", Augment::book())] {
                let mut want = base;
                set(&mut want);
                assert_eq!(
                    typed(&format!("{set_before}{words}")).unwrap(),
                    Some(want),
                    "{set_before}{words}"
                );
            }
        }
        for option in Typed::command().get_arguments().filter_map(|arg| arg.get_long()) {
            let named = |word: &str| word.split('=').next() == Some(&format!("--{option}"));
            let typed = table.iter().any(|(words, _)| words.split_whitespace().any(named));
            assert!(typed || option == "augment", "--{option} has no line in the table");
        }
        // Of the book's one taken out.
        let want = Augment { rotation: 0.0, ..Augment::book() };
        assert_eq!(typed("--augment book --rotation 0").unwrap(), Some(want));
        assert_eq!(typed("--rotation 0").unwrap(), None);
        let error = typed("--rotation 1 --fill-value 9").unwrap_err();
        assert!(error.to_string().contains("--fill-value needs `--fill constant`"), "{error}");
    }
}
