//! `augment preview`: a sheet of images, each in a row as it is and as training would see it.

use super::Host;
use super::images::Skipped;
use super::output::{Output, apart};
use crate::data::{Augment, Files, Resize, Size, Source, Splits};
use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::Normalize;
use crate::error::{Error, Kind, Result};
use crate::report::counted;
use crate::{files, interrupt, op};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use serde_json::json;
use std::ops::Range;
use std::path::PathBuf;

/// What to show.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The data folder.
    pub data: PathBuf,
    /// The PNG.
    pub output: Output,
    /// The ranges; the book's if there are none.
    pub augment: Option<Augment>,
    /// Rows.
    pub count: usize,
    /// Columns after the first.
    pub draws: usize,
    /// Of the draws.
    pub seed: u64,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// Way to size.
    pub resize: Resize,
}

/// Pixels of white around each image.
const MARGIN: usize = 4;
/// More pixels than this no viewer opens.
const MOST: usize = 100_000_000;
/// Levels as they are.
const LEVELS: Normalize = Normalize { order: [0, 1, 2], scale: [1.0; 3], offset: [0.0; 3] };

/// Draws the sheet on the host's device.
///
/// # Errors
/// Of data, device and files; [`Kind::Usage`] for a sheet that is too large, or would lie in the data.
pub fn preview(host: &Host, job: &Preview) -> Result<()> {
    job.output.format(&[("png", ())])?;
    apart(&job.data, &job.output.path)?;
    job.output.check()?;
    host.introduce();
    let augment = job.augment.clone().unwrap_or_else(|| {
        host.note("no range was given, so the book's are shown (--augment book)");
        Augment::book()
    });
    host.say(format_args!("augmenting {augment}"));
    let [h, w] = job.size;
    let folder = Splits::open(&job.data, None, job.seed)?.train;
    let rows = job.count.min(folder.len());
    let mut sheet = Sheet::new(rows, job.draws.saturating_add(1), Size { h, w })?;
    let paths: Vec<PathBuf> = (0..folder.len()).map(|i| folder.path(i)).collect();
    let source = Files { paths, labels: Vec::new(), size: sheet.size, resize: job.resize };
    let (mut chosen, mut skipped) = (Vec::new(), Vec::new());
    for part in 0..rows {
        // From all over the folder, so that every class is there; of its part the first that can be read, if any can.
        let [begin, end] = [part, part + 1].map(|part| part * folder.len() / rows);
        let Some((sample, image)) = readable(host, &source, begin..end, &mut skipped)? else { continue };
        for (column, levels) in draws(host, job, &augment, sample as u32, &image)?.iter().enumerate() {
            sheet.put(chosen.len(), column, levels);
        }
        chosen.push(sample);
    }
    if chosen.is_empty() {
        let mut error = Error::new(Kind::Data, "none of the images can be read");
        if let Some((_, last)) = skipped.last() {
            error = error.fact("the last", last.message());
        }
        return Err(error.help("replace what is damaged; the notes above name each"));
    }
    if chosen.len() < rows {
        host.note(format_args!("{} of {rows} rows: of the other parts nothing can be read", chosen.len()));
    }
    let rows = chosen.len();
    sheet.cut(rows);
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&sheet.pixels, sheet.w as u32, sheet.h as u32, ExtendedColorType::Rgb8)
        .map_err(|e| Error::new(Kind::Io, "the sheet cannot be written as PNG").fact("reason", e))?;
    files::write_bytes(&job.output.path, &png)?;
    let text = format!(
        "{}  {}, each as it is and {} augmented, {}x{} pixels",
        job.output.path.display(),
        counted(rows, "image"),
        counted(job.draws, "time"),
        sheet.w,
        sheet.h
    );
    let skipped: Vec<_> = skipped.iter().map(|(path, error)| Skipped::new(path, error)).collect();
    let shown: Vec<_> = chosen.iter().map(|&i| files::shown(&folder.path(i))).collect();
    host.result(
        &text,
        &json!({
            "path": files::shown(&job.output.path),
            "images": rows,
            "shown": shown,
            "skipped": skipped,
            "draws": job.draws,
            "augment": augment,
        }),
    )
}

/// The first of `samples` that can be read, as training would skip the others, and its levels; those before it, and why
/// they cannot be read, go to `skipped`.
fn readable(
    host: &Host,
    source: &Files,
    samples: Range<usize>,
    skipped: &mut Vec<(PathBuf, Error)>,
) -> Result<Option<(usize, Vec<u8>)>> {
    for sample in samples {
        interrupt::check()?;
        match source.batch(&[sample as u32]) {
            Ok(batch) => return Ok(Some((sample, batch.pixels))),
            Err(error) if error.kind() != Kind::Data => return Err(error),
            Err(error) => {
                host.note(format_args!("{} is skipped: {}", source.paths[sample].display(), error.message()));
                skipped.push((source.paths[sample].clone(), error));
            }
        }
    }
    Ok(None)
}

/// The image as it is, and as steps 0, 1, 2 … would see it: bytes, row by row.
fn draws(host: &Host, job: &Preview, augment: &Augment, sample: u32, image: &[u8]) -> Result<Vec<Vec<u8>>> {
    let [h, w] = job.size;
    let size = Size { h, w };
    let mut transforms = vec![Transform::IDENTITY];
    transforms
        .extend((0..job.draws).map(|step| augment.draw(job.seed, step as u64, sample, size).transform(size)));
    let border: Border = augment.border();
    let ranged = augment.shifts_channels();
    let geometry = Gather { count: 1, n: transforms.len(), h, w, border, ranged, rule: LEVELS };
    let device = host.device.as_ref();
    let pixels = device.upload(image)?;
    let y = op::augment(device, geometry, &pixels, &vec![0; transforms.len()], &transforms)?;
    let levels = device.download_floats(y.buffer())?;
    // A cast saturates.
    Ok(levels.chunks(size.bytes()).map(|one| one.iter().map(|&v| v.round() as u8).collect()).collect())
}

/// Images in rows and columns on white.
struct Sheet {
    size: Size,
    h: usize,
    w: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    fn new(rows: usize, columns: usize, size: Size) -> Result<Self> {
        let h = Self::height(rows, size);
        let w = columns.saturating_mul(size.w + MARGIN).saturating_add(MARGIN);
        if h.saturating_mul(w) > MOST {
            return Err(Error::new(
                Kind::Usage,
                format!("a sheet of {rows} x {columns} images is too large"),
            )
            .expected_got(format!("at most {MOST} pixels"), format!("{w} x {h}"))
            .help("give a smaller --count, --draws or --size"));
        }
        Ok(Self { size, h, w, pixels: vec![255; h * w * 3] })
    }

    fn height(rows: usize, size: Size) -> usize {
        rows.saturating_mul(size.h + MARGIN).saturating_add(MARGIN)
    }

    /// Leaves `rows` of them.
    fn cut(&mut self, rows: usize) {
        self.h = Self::height(rows, self.size);
        self.pixels.truncate(self.h * self.w * 3);
    }

    fn put(&mut self, row: usize, column: usize, levels: &[u8]) {
        let top = MARGIN + row * (self.size.h + MARGIN);
        let left = MARGIN + column * (self.size.w + MARGIN);
        for (i, line) in levels.chunks_exact(self.size.w * 3).enumerate() {
            let at = ((top + i) * self.w + left) * 3;
            self.pixels[at..at + line.len()].copy_from_slice(line);
        }
    }
}
