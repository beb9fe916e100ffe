//! Runs side by side, a line for each.
//!
//! In: what is known of every run. Out: a table for people, or (serde) rows for machines.

use super::html::duration;
use super::outcome::columns;
use serde::Serialize;

/// A run as a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its folder.
    pub run: String,
    /// Whether it came to its end.
    pub finished: bool,
    /// Whether a process is training it now.
    pub running: bool,
    /// Its stages, each with its first learning layer, if there is one.
    pub stages: Vec<Stage>,
    /// Epochs that were run.
    pub epochs: usize,
    /// The best validation accuracy.
    pub best_val_accuracy: Option<f64>,
    /// In which epoch, from 1 through all stages.
    pub best_epoch: Option<usize>,
    /// Validation accuracy of the weights that were kept: the last epoch's, or the best one's where the run went back
    /// to it.
    pub val_accuracy: Option<f64>,
    /// Their validation loss.
    pub val_loss: Option<f64>,
    /// Test accuracy.
    pub test_accuracy: Option<f64>,
    /// Wall-clock time of the job; of its epochs if it was stopped.
    pub seconds: f64,
}

/// A stage in a [`Line`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// The first layer that learns; the classifier alone if there is none.
    pub unfreeze_from: Option<String>,
    /// Learning rate, after what `resume --rate-factor` did to it.
    pub rate: f64,
    /// Epochs at most.
    pub epochs: usize,
    /// The optimizer, with what is not its default.
    pub optimizer: String,
    /// Whether its images were augmented.
    pub augmented: bool,
}

impl Stage {
    /// "block5_conv1 4@1e-5 sgd momentum 0.9 augmented"; the book's optimizer goes without saying.
    fn text(&self) -> String {
        let layer = self.unfreeze_from.as_deref().unwrap_or("classifier");
        let mut text = format!("{layer} {}@{:e}", self.epochs, self.rate);
        if self.optimizer != "rmsprop" {
            text += &format!(" {}", self.optimizer);
        }
        if self.augmented {
            text += " augmented";
        }
        text
    }
}

/// The table.
pub fn text(lines: &[Line]) -> String {
    let heads = ["run", "stages", "epochs", "best val_acc", "val_acc", "val_loss", "test_acc", "time"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let share = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
    for line in lines {
        let stages: Vec<String> = line.stages.iter().map(Stage::text).collect();
        let best = match line.best_epoch {
            Some(epoch) => format!("{} ({epoch})", share(line.best_val_accuracy)),
            None => "–".into(),
        };
        rows.push(vec![
            match line {
                Line { finished: true, run, .. } => run.clone(),
                Line { running: true, run, .. } => format!("{run} (running)"),
                Line { run, .. } => format!("{run} (stopped)"),
            },
            stages.join(", "),
            line.epochs.to_string(),
            best,
            share(line.val_accuracy),
            share(line.val_loss),
            share(line.test_accuracy),
            duration(line.seconds),
        ]);
    }
    let mut out = String::new();
    columns(&mut out, &rows);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_run() {
        let line = Line {
            run: "runs/a".into(),
            finished: true,
            running: false,
            stages: vec![
                Stage {
                    name: "head".into(),
                    unfreeze_from: None,
                    rate: 2e-5,
                    epochs: 10,
                    optimizer: "rmsprop".into(),
                    augmented: false,
                },
                Stage {
                    name: "finetune".into(),
                    unfreeze_from: Some("block5_conv1".into()),
                    rate: 1e-5,
                    epochs: 4,
                    optimizer: "adamw".into(),
                    augmented: true,
                },
            ],
            epochs: 14,
            best_val_accuracy: Some(0.9712),
            best_epoch: Some(13),
            val_accuracy: Some(0.97),
            val_loss: Some(0.1),
            test_accuracy: None,
            seconds: 130.0,
        };
        let stopped = Line { run: "b".into(), finished: false, best_epoch: None, ..line.clone() };
        let text = text(&[line, stopped]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("runs/a       classifier 10@2e-5, block5_conv1 4@1e-5 adamw augmented"),
            "{text}"
        );
        assert!(lines[1].ends_with("14   0.9712 (13)   0.9700    0.1000         –  2 min 10 s"), "{text}");
        assert!(lines[2].starts_with("b (stopped) "), "{text}");
    }
}
