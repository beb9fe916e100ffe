//! `demo`: an image set of our own and the main job on it, for a machine where none is at hand.

use super::run::REPORT;
use super::{Finetune, Host, finetune, output};
use crate::data::draw::{Counts, draw};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::files::quoted;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to show.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Folder for images and run.
    pub output: PathBuf,
    /// The job; its data folder and run folder are ours.
    pub job: Finetune,
}

/// Draws the images, fine-tunes, and says what to try next.
///
/// # Errors
/// Those of `finetune`; [`Kind::Usage`] for a folder that holds other things.
pub fn demo(host: &Host, demo: &Demo) -> Result<()> {
    output::folder(&demo.output)?;
    require_own(&demo.output)?;
    let ([h, w], seed) = (demo.job.size, demo.job.head.seed);
    let images = demo.output.join(format!("images-{h}x{w}-seed{seed}"));
    if images.exists() {
        host.say(format_args!("images     {} is there already", images.display()));
    } else {
        let began = Instant::now();
        let counts = Counts::default();
        // Drawn beside its place and renamed: a folder of that name is whole.
        let partial = demo.output.join(PARTIAL);
        if partial.exists() {
            std::fs::remove_dir_all(&partial).map_err(|e| Error::io("remove", &partial, &e))?;
        }
        files::create_dir(&demo.output)?;
        draw(&partial, &counts, demo.job.size, demo.job.head.seed)?;
        std::fs::rename(&partial, &images).map_err(|e| Error::io("write", &images, &e))?;
        host.say(format_args!(
            "images     drew {} cartoon cats and dogs into {} in {:.1} s",
            counts.total(),
            images.display(),
            began.elapsed().as_secs_f64()
        ));
    }
    let run = demo.output.join("run");
    let job = Finetune { data: images.clone(), output: run.clone(), ..demo.job.clone() };
    finetune(host, &job)?;
    let command = std::env::current_exe().map_or_else(|_| "vgg-ft".into(), |path| quoted(&shorter(&path)));
    let image = first_test_image(&images);
    host.say_lines(format_args!(
        "\nall about it is in {report}; try the model on one image:\n  {command} predict {run} {image}\n\
         and the same job on your own, one folder per class:\n  \
         {command} finetune DATA -o runs/mine --validation-split 0.2",
        report = quoted(&run.join(REPORT)),
        run = quoted(&run),
        image = quoted(&image),
    ));
    Ok(())
}

/// Images that are being drawn.
const PARTIAL: &str = "images.partial";

/// In a folder of somebody's images, ours would be two classes more.
fn require_own(folder: &Path) -> Result<()> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let ours = |name: &str| name == PARTIAL || (name.starts_with("images-") && name.contains("-seed"));
    if names.is_empty() || names.iter().any(|name| ours(name)) {
        return Ok(());
    }
    names.sort_unstable();
    Err(Error::new(Kind::Usage, format!("{} holds other things than a demo", folder.display()))
        .expected_got("a new folder, or that of an earlier demo", &names[0])
        .help("choose another folder with -o"))
}

/// A program as it can be called from here, if that is shorter: a bare name would be looked for elsewhere.
fn shorter(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(below) if below.components().count() == 1 => Path::new(".").join(below),
        Ok(below) => below.to_owned(),
        Err(_) => path.to_owned(),
    }
}

fn first_test_image(images: &Path) -> PathBuf {
    let cats = images.join("test/cats");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(&cats).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().next().unwrap_or(cats)
}
