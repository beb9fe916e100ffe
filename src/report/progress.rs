//! How far a long piece of work has come, on stderr, and the lines that training prints per epoch.
//!
//! In: counts, from any thread. Out: a bar where a person watches, a few plain lines where a log file
//! does, nothing where silence was asked for.

use crate::error::visible;
use crate::train::Epoch;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lines of a log are at least this far apart …
const QUIET: Duration = Duration::from_secs(5);
/// … and at most this far, unless a tenth of the work takes less.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Work of a known size. Dropping it unfinished removes the bar.
pub struct Progress {
    reached: AtomicU64,
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

impl Progress {
    /// `what` is done ("extracting features") to `total` things called `unit` ("images"): a bar when
    /// stderr is a terminal, otherwise plain lines.
    pub fn new(what: &str, total: u64, unit: &str) -> Self {
        let shown = if stderr().is_terminal() {
            Shown::Bar(bar(what, total, unit))
        } else {
            Shown::Lines(Mutex::new(Lines::new(what, total, unit, Instant::now(), Box::new(stderr()))))
        };
        Self { reached: AtomicU64::new(0), shown }
    }

    /// Work whose end nobody knows: a count beside a spinner, or in a log one line a minute.
    pub fn endless(what: &str, unit: &str) -> Self {
        let shown = if stderr().is_terminal() {
            let template = format!("{{spinner}} {{msg}} {{human_pos}} {unit}");
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::no_length().with_style(style).with_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            Shown::Bar(bar)
        } else {
            Shown::Lines(Mutex::new(Lines::new(what, u64::MAX, unit, Instant::now(), Box::new(stderr()))))
        };
        Self { reached: AtomicU64::new(0), shown }
    }

    /// Shows nothing: `--quiet`.
    pub fn silent() -> Self {
        Self { reached: AtomicU64::new(0), shown: Shown::Nothing }
    }

    /// `done` things are done, since the beginning. Threads may report in any order: the highest
    /// count stands.
    pub fn set(&self, done: u64) {
        let done = self.reached.fetch_max(done, Ordering::Relaxed).max(done);
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines(lines) => {
                // Whoever holds the lock is printing; this report is then old news.
                if let Ok(mut lines) = lines.try_lock() {
                    lines.set(done, Instant::now());
                }
            }
        }
    }

    /// How it goes, beside the count: "loss 0.1234".
    pub fn note(&self, text: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_prefix(text.to_owned()),
            Shown::Lines(lines) => {
                if let Ok(mut lines) = lines.try_lock() {
                    text.clone_into(&mut lines.note);
                }
            }
        }
    }

    /// Runs `speak`, which writes to stderr, with the bar out of its way.
    pub fn aside(&self, speak: impl FnOnce()) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(speak),
            Shown::Nothing | Shown::Lines(_) => speak(),
        }
    }

    /// The work is done; `summary` stays on the screen in place of the bar.
    pub fn finish(self, summary: &str) {
        match self.shown {
            Shown::Nothing => return,
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Lines(_) => {}
        }
        // Names in it may hold what a terminal obeys. A closed stderr is no reason to fail the work.
        let _ = stderr().write_all((visible(summary) + "\n").as_bytes());
    }
}

fn bar(what: &str, total: u64, unit: &str) -> ProgressBar {
    let per_second = format!("{unit}/s");
    let template = format!(
        "{{msg}} {{bar:24.cyan/dim}} {{human_pos}}/{{human_len}} {unit}  {{rate}}  {{left}}  {{prefix}}"
    );
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
        .with_key("rate", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} {per_second}", rate(state.per_sec()));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            if state.pos() > 0 {
                let _ = write!(out, "{} left", duration(state.eta().as_secs_f64()));
            }
        });
    let bar = ProgressBar::new(total).with_style(style).with_message(what.to_owned());
    // The rate falls while a thread is stuck, instead of freezing at its last value.
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Progress for a log file.
struct Lines {
    what: String,
    unit: String,
    total: u64,
    started: Instant,
    /// When the last line was written, and what it said.
    last: (Instant, u64),
    /// Said at the end of each line.
    note: String,
    out: Box<dyn Write + Send>,
}

impl Lines {
    fn new(what: &str, total: u64, unit: &str, now: Instant, out: Box<dyn Write + Send>) -> Self {
        Self {
            what: what.into(),
            unit: unit.into(),
            total,
            started: now,
            last: (now, 0),
            note: String::new(),
            out,
        }
    }

    fn set(&mut self, done: u64, now: Instant) {
        let (since, news) = (now - self.last.0, done.saturating_sub(self.last.1));
        let endless = self.total == u64::MAX;
        let due = since >= SIGN_OF_LIFE || since >= QUIET && !endless && news * 10 >= self.total;
        // The last count is the summary's to tell.
        if !due || news == 0 || done >= self.total {
            return;
        }
        self.last = (now, done);
        let per_second = done as f64 / (now - self.started).as_secs_f64();
        if endless {
            let _ = writeln!(
                self.out,
                "{}: {done} {unit}, {} {unit}/s",
                self.what,
                rate(per_second),
                unit = self.unit
            );
            return;
        }
        let left = (self.total - done) as f64 / per_second;
        let _ = writeln!(
            self.out,
            "{}: {done}/{} {unit}, {} {unit}/s, {} left{}{}",
            self.what,
            self.total,
            rate(per_second),
            duration(left),
            if self.note.is_empty() { "" } else { ", " },
            self.note,
            unit = self.unit
        );
    }
}

/// Three digits that matter.
fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 9.995 => format!("{r:.2}"),
        r if r < 99.95 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// `42s`, `3m 05s`, `2h 10m`.
pub fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{}h {:02}m", s / 3600, s / 60 % 60),
    }
}

/// `Epoch 3/30`, the line before an epoch.
pub fn epoch_heading(epoch: usize, of: usize) -> String {
    format!("Epoch {epoch}/{of}")
}

/// `100/100 - 0.2s - loss: 0.1234 - acc: 0.9600 - val_loss: 0.2500 - val_acc: 0.9020`, the line after
/// an epoch of `steps` batches, worded as Keras does in R.
pub fn epoch_line(steps: usize, e: &Epoch) -> String {
    let mut out = format!("{steps}/{steps} - {:.1}s", e.seconds);
    let figures = [
        ("loss", Some(e.loss)),
        ("acc", Some(e.accuracy)),
        ("val_loss", e.val_loss),
        ("val_acc", e.val_accuracy),
    ];
    for (name, figure) in figures {
        if let Some(value) = figure {
            let _ = write!(out, " - {name}: {}", number(value));
        }
    }
    if e.skipped > 0 {
        let _ = write!(out, " - steps skipped: {}", e.skipped);
    }
    out
}

/// Four decimals, or Python's `%.4e` where these would say nothing: Keras' rule, which is kept to below a billion.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value == 0.0 || value.abs() > 1e-3 && value.abs() < 1e9 {
        return format!("{value:.4}");
    }
    let text = format!("{value:.4e}");
    match (text.split_once("e-"), text.split_once('e')) {
        (Some((digits, power)), _) => format!("{digits}e-{power:0>2}"),
        (None, Some((digits, power))) => format!("{digits}e+{power:0>2}"),
        (None, None) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn numbers_are_pythons() {
        let all = [0.5, 1e-3, 5.64e-12, 308_271_742.0, 1.1974e30, f64::INFINITY, f64::NAN, 0.0];
        let want =
            ["0.5000", "1.0000e-03", "5.6400e-12", "308271742.0000", "1.1974e+30", "inf", "nan", "0.0000"];
        assert_eq!(all.map(number), want);
    }

    #[test]
    fn work_without_an_end_says_that_it_lives() {
        assert_eq!(
            log(u64::MAX, &[(10, 100), (60, 120), (61, 130), (200, 400)]),
            "extracting: 120 images, 2.00 images/s\nextracting: 400 images, 2.00 images/s\n"
        );
    }

    fn log(total: u64, reports: &[(u64, u64)]) -> String {
        let (paper, start) = (Paper::default(), Instant::now());
        let mut lines = Lines::new("extracting", total, "images", start, Box::new(paper.clone()));
        for &(seconds, done) in reports {
            lines.set(done, start + Duration::from_secs(seconds));
        }
        let written = paper.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_log_gets_few_lines() {
        assert_eq!(log(1000, &[(1, 500), (4, 900), (6, 1000)]), "", "quick work needs no lines");
        assert_eq!(
            log(1000, &[(4, 90), (6, 150), (9, 400), (12, 420), (20, 500), (30, 1000)]),
            "extracting: 150/1000 images, 25.0 images/s, 34s left\n\
             extracting: 420/1000 images, 35.0 images/s, 17s left\n"
                .to_owned()
        );
        // Slow work shows that it lives, but only while something moves.
        assert_eq!(
            log(100_000, &[(10, 10), (60, 60), (119, 110), (120, 120), (900, 120)]),
            "extracting: 60/100000 images, 1.00 images/s, 27h 45m left\n\
             extracting: 120/100000 images, 1.00 images/s, 27h 44m left\n"
        );
    }

    #[test]
    fn the_highest_count_stands() {
        let progress = Progress::silent();
        for done in [3, 7, 5] {
            progress.set(done);
        }
        assert_eq!(progress.reached.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn the_template_of_the_bar_is_valid() {
        // A template that indicatif refuses would fall back to its own look.
        let bar = bar("x", 10, "images");
        bar.set_position(3);
        assert_eq!((bar.length(), bar.position(), bar.message().as_str()), (Some(10), 3, "x"));
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Progress::silent());
    }

    #[test]
    fn an_epoch_reads_as_in_keras() {
        let mut e = Epoch {
            stage: "head".into(),
            epoch: 3,
            seconds: 0.21,
            skipped: 0,
            loss: 0.12344,
            accuracy: 0.96,
            val_loss: Some(0.25),
            val_accuracy: Some(0.902),
            rate: 2e-5,
        };
        assert_eq!(epoch_heading(3, 30), "Epoch 3/30");
        assert_eq!(
            epoch_line(100, &e),
            "100/100 - 0.2s - loss: 0.1234 - acc: 0.9600 - val_loss: 0.2500 - val_acc: 0.9020"
        );
        (e.loss, e.val_loss, e.val_accuracy) = (1.23456e-5, None, None);
        assert_eq!(epoch_line(7, &e), "7/7 - 0.2s - loss: 1.2346e-05 - acc: 0.9600");
        assert_eq!(
            [f64::NAN, 0.0, f64::INFINITY, 1e-110].map(number),
            ["nan", "0.0000", "inf", "1.0000e-110"]
        );
    }

    #[test]
    fn times_and_rates_are_short() {
        assert_eq!([0.4, 59.4, 185.0, 7800.0].map(duration), ["0s", "59s", "3m 05s", "2h 10m"]);
        assert_eq!([0.123, 9.999, 99.97, 1234.5].map(rate), ["0.12", "10.0", "100", "1234"]);
    }
}
