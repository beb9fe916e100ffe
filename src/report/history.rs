//! What training measured, epoch by epoch, and its file `history.csv`.
//!
//! In: one [`Epoch`] after another. Out: CSV with the column names of Keras' `CSVLogger`, and the
//! same values back. Numbers are written with the fewest digits that read back to the same bits.

use crate::error::{Error, Kind, Result};
use crate::files;
use crate::train::{Epoch, History};
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

const HEADER: &str = "epoch,stage,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,skipped_steps";
const DAMAGED: &str = "the file was edited or cut off: put it back as vgg-ft wrote it";
/// Files from before there was the last column.
const OLD_HEADER: &str = "epoch,stage,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds";

impl History {
    /// The CSV text: a header, then one line per epoch; an absent value is an empty field.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a stage's name holds a comma, a quote or a line break: the file has no
    /// quoting, so that every tool can read it.
    pub fn to_csv(&self) -> Result<String> {
        let mut out = String::from(HEADER);
        out.push('\n');
        for e in &self.epochs {
            if e.stage.is_empty() || e.stage.contains([',', '"', '\n', '\r']) {
                return Err(Error::new(
                    Kind::Usage,
                    format!("the stage {:?} has no place in a CSV file", e.stage),
                )
                .help("name stages without commas, quotes and line breaks"));
            }
            let optional = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
            let (val_loss, val_accuracy) = (optional(e.val_loss), optional(e.val_accuracy));
            // `Display` of f64 is the shortest text that parses back to the same number.
            let _ = writeln!(
                out,
                "{},{},{},{},{val_loss},{val_accuracy},{},{},{}",
                e.epoch, e.stage, e.loss, e.accuracy, e.rate, e.seconds, e.skipped
            );
        }
        Ok(out)
    }

    /// One JSON object per line and epoch.
    ///
    /// # Errors
    /// None in practice: the fields always serialize.
    pub fn to_jsonl(&self) -> Result<String> {
        let mut out = String::new();
        for epoch in &self.epochs {
            out += &serde_json::to_string(epoch)
                .map_err(|e| Error::new(Kind::Io, "an epoch cannot be written as JSON").fact("reason", e))?;
            out.push('\n');
        }
        Ok(out)
    }

    /// The history in `text`, the inverse of [`History::to_csv`].
    ///
    /// # Errors
    /// [`Kind::Data`] with the line and the column that cannot be read.
    pub fn from_csv(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        if ![HEADER, OLD_HEADER].contains(&header) {
            return Err(Error::new(Kind::Data, "the first line is not the header of a training history")
                .expected_got(HEADER, if header.is_empty() { "nothing" } else { header })
                .help("give a history.csv that vgg-ft wrote"));
        }
        let mut epochs = Vec::new();
        for (line, number) in lines.zip(2..).filter(|(line, _)| !line.is_empty()) {
            epochs.push(
                read_epoch(line, header).map_err(|error| error.context(format!("reading line {number}")))?,
            );
        }
        Ok(Self { epochs })
    }

    /// Writes [`History::to_csv`] to `path`; the file is whole or untouched.
    ///
    /// # Errors
    /// As [`History::to_csv`], and [`Kind::Io`] with the path.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_bytes(path, self.to_csv()?.as_bytes())
    }

    /// Reads a file written by [`History::save`].
    ///
    /// # Errors
    /// [`Kind::Io`] with the path, and as [`History::from_csv`].
    pub fn load(path: &Path) -> Result<Self> {
        let text = files::read_text(path)?;
        Self::from_csv(&text).map_err(|error| error.context(format!("reading {}", path.display())))
    }
}

fn read_epoch(line: &str, header: &str) -> Result<Epoch> {
    let mut fields: Vec<&str> = line.split(',').collect();
    let (expected, got) = (header.split(',').count(), fields.len());
    if header == OLD_HEADER {
        fields.push("0");
    }
    let (true, [epoch, stage, loss, accuracy, val_loss, val_accuracy, rate, seconds, skipped]) =
        (expected == got, &fields[..])
    else {
        return Err(Error::new(Kind::Data, "a line of the training history has the wrong number of values")
            .expected_got(expected, got)
            .help(DAMAGED));
    };
    let optional = |column, text: &str| {
        if text.is_empty() { Ok(None) } else { value(column, text).map(Some) }
    };
    Ok(Epoch {
        stage: (*stage).to_owned(),
        epoch: value("epoch", epoch)?,
        seconds: value("seconds", seconds)?,
        skipped: value("skipped_steps", skipped)?,
        loss: value("loss", loss)?,
        accuracy: value("accuracy", accuracy)?,
        val_loss: optional("val_loss", val_loss)?,
        val_accuracy: optional("val_accuracy", val_accuracy)?,
        rate: value("learning_rate", rate)?,
    })
}

fn value<T: FromStr>(column: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        Error::new(Kind::Data, format!("the column {column} of the training history does not hold a number"))
            .fact("got", format!("{text:?}"))
            .help(DAMAGED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epoch(stage: &str, epoch: usize) -> Epoch {
        Epoch {
            stage: stage.into(),
            epoch,
            seconds: 0.25,
            skipped: 0,
            loss: 0.1,
            accuracy: 0.96,
            val_loss: Some(1.0 / 3.0),
            val_accuracy: None,
            rate: 2e-5,
        }
    }

    #[test]
    fn the_file_is_what_a_spreadsheet_expects() {
        let tuned = Epoch { skipped: 3, ..epoch("fine-tune", 1) };
        let history = History { epochs: vec![epoch("head", 1), tuned] };
        assert_eq!(
            history.to_csv().unwrap(),
            "epoch,stage,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,skipped_steps\n\
             1,head,0.1,0.96,0.3333333333333333,,0.00002,0.25,0\n\
             1,fine-tune,0.1,0.96,0.3333333333333333,,0.00002,0.25,3\n"
        );
    }

    #[test]
    fn a_file_comes_back_and_an_unreadable_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.csv");
        let history = History { epochs: vec![Epoch { skipped: 2, ..epoch("head", 1) }, epoch("head", 2)] };
        history.save(&path).unwrap();
        assert_eq!(History::load(&path).unwrap(), history);
        // From before there was the last column.
        std::fs::write(&path, format!("{OLD_HEADER}\n1,head,0.1,0.96,0.3333333333333333,,0.00002,0.25\n"))
            .unwrap();
        assert_eq!(History::load(&path).unwrap().epochs, [epoch("head", 1)]);
        let missing = History::load(&dir.path().join("none.csv")).unwrap_err();
        assert_eq!(missing.kind(), Kind::Io);
        assert!(missing.to_string().contains("none.csv"));
    }

    #[test]
    fn a_damaged_file_says_where() {
        let good = History { epochs: vec![epoch("head", 1), epoch("head", 2)] }.to_csv().unwrap();
        let error = History::from_csv(&good.replace("2,head,0.1", "2,head,bad")).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert_eq!(
            error.to_string(),
            "the column loss of the training history does not hold a number\n\
             \x20 got  \"bad\"\n\
             \x20 while reading line 3\n\
             \x20 help: the file was edited or cut off: put it back as vgg-ft wrote it"
        );
        let error = History::from_csv(&good[..good.len() - 3]).unwrap_err().to_string();
        assert!(error.contains("expected  9\n  got       8"), "{error}");
        assert!(History::from_csv("").unwrap_err().to_string().contains("got       nothing"));
        assert!(History::from_csv("a,b\n1,2\n").is_err());
    }

    #[test]
    fn a_stage_that_would_break_the_file_is_refused() {
        for stage in ["", "a,b", "a\"b", "a\nb"] {
            let history = History { epochs: vec![epoch(stage, 1)] };
            assert_eq!(history.to_csv().unwrap_err().kind(), Kind::Usage, "{stage:?}");
        }
    }

    #[test]
    fn json_has_the_same_names_and_null_for_what_is_not_a_number() {
        let mut e = epoch("head", 1);
        e.loss = f64::NAN;
        assert_eq!(
            serde_json::to_string(&e).unwrap(),
            "{\"stage\":\"head\",\"epoch\":1,\"loss\":null,\"accuracy\":0.96,\
             \"val_loss\":0.3333333333333333,\"val_accuracy\":null,\"learning_rate\":0.00002,\"seconds\":0.25,\
             \"skipped_steps\":0}"
        );
    }

    #[test]
    fn an_epoch_of_an_old_checkpoint_is_read() {
        let e = Epoch { skipped: 3, ..epoch("head", 1) };
        let text = serde_json::to_string(&e).unwrap();
        for old in [text.clone(), text.replace("skipped_steps", "skipped")] {
            assert_eq!(serde_json::from_str::<Epoch>(&old).unwrap(), e);
        }
        let none = text.replace(",\"skipped_steps\":3", "");
        assert_eq!(serde_json::from_str::<Epoch>(&none).unwrap().skipped, 0);
    }

    proptest! {
        /// Bits, not values: NaN and -0 have to survive as well.
        #[test]
        fn numbers_come_back_bit_for_bit(loss in any::<f64>(), val in proptest::option::of(any::<f64>())) {
            let mut e = epoch("head", 1);
            (e.loss, e.val_loss) = (loss, val);
            let back = History::from_csv(&History { epochs: vec![e] }.to_csv().unwrap()).unwrap();
            // A NaN is only told apart from numbers: its payload is not text.
            let bits = |v: f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
            prop_assert_eq!(bits(back.epochs[0].loss), bits(loss));
            prop_assert_eq!(back.epochs[0].val_loss.map(bits), val.map(bits));
        }
    }
}
