//! All images of a folder, decoded and resized once, kept in memory or in a mapped file.
//!
//! In: a [`Folder`] and the wanted size. Out: [`Images`], with the files that could not be read
//! listed beside them. The cache file remembers length and time of every image file: what changed
//! is decoded again, the rest is not touched.

mod decoding;

use super::Caveats;
use super::batch::{Batch, Source, require_images};
use super::folder::{self, Folder};
use super::resize::{Resize, Size};
use super::store::{self, Key, Stamp, Store, Writer, checksum};
use crate::error::{Error, Kind, Result};
use crate::files;
use decoding::{Decoding, next_readable};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How images are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Every image is brought to this size.
    pub size: Size,
    /// The way it is brought there.
    pub resize: Resize,
    /// The folder for the cache file, made if it is missing; None keeps the pixels in memory.
    pub cache: Option<&'a Path>,
    /// Whether the first unreadable image ends it all, instead of being listed and left out.
    pub strict: bool,
}

/// Decoded images with labels.
pub struct Images {
    /// Size of each.
    pub size: Size,
    /// Label of each.
    pub labels: Vec<u32>,
    /// File of each, relative to the folder's root.
    pub files: Vec<PathBuf>,
    /// 64 bits of the pixels of each: what tells images apart, as good as surely.
    pub sums: Vec<u64>,
    /// How many of them have an EXIF orientation that was not followed.
    pub sideways: usize,
    /// Which of them are 16-bit grey with levels above 255, which are clipped.
    pub clipped: Vec<usize>,
    /// Files left out, in the folder's order, and why.
    pub skipped: Vec<(PathBuf, Error)>,
    /// How many were decoded now; the others came from the cache.
    pub decoded: usize,
    /// What the user should hear about the cache: why it was made again.
    pub notes: Vec<String>,
    pixels: Pixels,
}

enum Pixels {
    Memory(Vec<u8>),
    Mapped { store: Store, slots: Vec<usize> },
}

impl Images {
    /// Decodes what the cache does not hold.
    ///
    /// `progress(done, total)` is called on this thread after every image that had to be decoded,
    /// not at all if none had. When `stop` turns true the work ends within one image per thread; the
    /// cache file keeps what was decoded by then.
    ///
    /// # Errors
    /// [`Kind::Interrupted`]; [`Kind::Io`] for the cache, or where too many files are open; [`Kind::Data`] if a class
    /// has no readable image, and with `strict` for the first unreadable one in the folder's order; [`Kind::Device`]
    /// where there is no memory to decode one; [`Kind::Usage`] for a size of 0.
    pub fn load(
        folder: &Folder,
        want: &Want<'_>,
        progress: &dyn Fn(usize, usize),
        stop: &AtomicBool,
    ) -> Result<Self> {
        if want.size.bytes() == 0 {
            return Err(Error::new(Kind::Usage, format!("an image size of {}", want.size))
                .help("give a height and a width of 1 or more"));
        }
        let job = Job { folder, want, progress, stop };
        let images = match want.cache {
            None => job.in_memory()?,
            Some(dir) => job.cached(dir)?,
        };
        images.require_every_class(folder)?;
        Ok(images)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of image `i`: (h, w, 3) u8, row-major RGB.
    pub fn image(&self, i: usize) -> &[u8] {
        match &self.pixels {
            Pixels::Memory(all) => &all[i * self.size.bytes()..][..self.size.bytes()],
            Pixels::Mapped { store, slots } => store.image(slots[i]),
        }
    }

    fn require_every_class(&self, folder: &Folder) -> Result<()> {
        let mut counts = vec![0; folder.classes.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        let wanted = folder.counts();
        let Some(lost) = (0..counts.len()).find(|&c| counts[c] == 0 && wanted[c] > 0) else {
            return Ok(());
        };
        let class = &folder.classes[lost];
        let mut error = Error::new(Kind::Data, format!("no image of class \"{class}\" can be read"))
            .fact("folder", folder.root.display())
            .fact("of this class", format!("{} here, none of them readable", wanted[lost]))
            .fact("readable", folder::census(&folder.classes, &counts));
        let of_class: HashSet<&Path> =
            folder.files.iter().filter(|f| f.label as usize == lost).map(|f| f.path.as_path()).collect();
        if let Some((_, first)) = self.skipped.iter().find(|(path, _)| of_class.contains(path.as_path())) {
            error = error.fact("first", first);
        }
        let help = "replace or remove the damaged images, or check the permissions";
        Err(if folder.parted {
            error.help(format!(
                "{help}; or try another --seed: it may put readable images of the class into this part"
            ))
        } else {
            error.help(help)
        })
    }
}

impl Source for Images {
    // On the calling thread: a copy is quicker than waiting for a pool that is busy computing.
    fn batch(&self, indices: &[u32]) -> Result<Batch> {
        require_images(indices, self.len())?;
        let mut pixels = Vec::with_capacity(indices.len() * self.size.bytes());
        for &i in indices {
            pixels.extend_from_slice(self.image(i as usize));
        }
        let labels = indices.iter().map(|&i| self.labels[i as usize]).collect();
        Ok(Batch { indices: indices.to_vec(), pixels, labels })
    }
}

#[derive(Clone, Copy)]
struct Job<'a> {
    folder: &'a Folder,
    want: &'a Want<'a>,
    progress: &'a dyn Fn(usize, usize),
    stop: &'a AtomicBool,
}

/// What is known of the images that were read, in the folder's order.
#[derive(Default)]
struct Known {
    /// Positions in the folder.
    kept: Vec<usize>,
    sums: Vec<u64>,
    sideways: usize,
    clipped: Vec<usize>,
}

impl Known {
    fn add(&mut self, i: usize, sum: u64, caveats: Caveats) {
        self.clipped.extend(caveats.clipped.then_some(self.kept.len()));
        self.kept.push(i);
        self.sums.push(sum);
        self.sideways += usize::from(caveats.sideways);
    }
}

impl<'a> Job<'a> {
    fn in_memory(self) -> Result<Images> {
        let mut pixels = Vec::new();
        let mut known = Known::default();
        let mut skipped = Vec::new();
        for outcome in self.decode((0..self.folder.len()).collect()) {
            match outcome? {
                (i, Ok(read)) => {
                    known.add(i, checksum(&read.pixels), read.caveats);
                    pixels.extend_from_slice(&read.pixels);
                }
                (i, Err(error)) => skipped.push((i, error)),
            }
        }
        let decoded = known.kept.len();
        Ok(self.images(known, skipped, decoded, Vec::new(), Pixels::Memory(pixels)))
    }

    fn cached(self, dir: &Path) -> Result<Images> {
        files::create_dir(dir).map_err(|error| error.help(ELSEWHERE))?;
        let key = Key::new(dir, self.folder, self.want.size, self.want.resize)?;
        let (mut notes, mut decoded) = (Vec::new(), 0);
        // Files that are changed while they are read are looked at again.
        for _ in 0..3 {
            if let Some(images) = self.look_and_add(&key, &mut notes, &mut decoded)? {
                return Ok(images);
            }
        }
        Err(Error::new(Kind::Data, format!("{} changes while it is read", self.folder.root.display()))
            .help("run the command again when nobody writes into the data"))
    }

    // None if an image's file changed between two looks; `decoded` counts through all.
    fn look_and_add(self, key: &Key, notes: &mut Vec<String>, decoded: &mut usize) -> Result<Option<Images>> {
        let name = key.path.display();
        let old = Store::open(key).unwrap_or_else(|reason| {
            notes.push(format!("the image cache {name} is made again: {reason}"));
            None
        });
        if let Some(n) = old.as_ref().map(|store| store.damaged).filter(|&n| n > 0) {
            notes.push(format!("{n} images of the cache {name} were damaged and are decoded again"));
        }
        let files = &self.folder.files;
        let stamps: Vec<Option<Stamp>> = (0..files.len()).map(|i| Stamp::of(&self.folder.path(i))).collect();
        let find = |store: &Option<Store>, i: usize| store.as_ref()?.find(&files[i].path, stamps[i]);
        let missing = (0..files.len()).filter(|&i| find(&old, i).is_none()).collect();

        let mut skipped = Vec::new();
        let mut outcomes = self.decode(missing);
        let mut ended = Ok(());
        // Files that were unreadable before are the usual case of "nothing to add": no new cache then.
        let store = match next_readable(&mut outcomes, &mut skipped)? {
            None => old,
            Some(first) => {
                remove_left(&key.path);
                let mut file = None;
                let written = files::write_atomic(&key.path, |out| {
                    // This one has all that is wanted here; the one of that name may soon be another run's.
                    file = out.get_ref().try_clone().ok();
                    let mut writer = Writer::begin(out, key)?;
                    if let Some(old) = &old {
                        writer.copy(old, &self.folder.root, self.stop)?;
                    }
                    let mut next = Some(first);
                    while let Some((i, read)) = next {
                        if let Some(stamp) = stamps[i] {
                            writer.add(&files[i].path, stamp, &read)?;
                        }
                        *decoded += 1;
                        // A stop, or an image that may not be unreadable: those before it are kept.
                        next = next_readable(&mut outcomes, &mut skipped).unwrap_or_else(|error| {
                            ended = Err(error);
                            None
                        });
                    }
                    // Another run may have added others meanwhile. Also at a stop: else what was decoded would be lost.
                    // Elsewhere than on Unix nobody can tell whether it has.
                    if !(cfg!(unix) && old.as_ref().is_some_and(|old| old.is_at(&key.path)))
                        && let Ok(Some(now)) = Store::open(key)
                    {
                        writer.copy(&now, &self.folder.root, &AtomicBool::new(false))?;
                    }
                    writer.finish()
                });
                // What ended it comes first: that there is no room for the cache either is not news.
                ended?;
                written.map_err(|error| error.help(ELSEWHERE))?;
                let written = file.ok_or_else(|| "it has no handle".to_owned());
                let store = written.and_then(|file| Store::of(file, key)).map_err(|reason| {
                    Error::new(Kind::Io, format!("cannot read {name}, which was just written"))
                        .fact("reason", reason)
                        .help("check the disk, or choose another cache folder")
                })?;
                Some(store)
            }
        };

        let mut slots = Vec::new();
        let mut known = Known::default();
        let mut bad = skipped.iter().map(|(i, _)| *i).peekable();
        for i in 0..files.len() {
            if bad.next_if_eq(&i).is_some() {
                continue;
            }
            let Some((slot, sum, caveats)) = find(&store, i) else { return Ok(None) };
            slots.push(slot);
            known.add(i, sum, caveats);
        }
        let pixels = match store {
            Some(store) => Pixels::Mapped { store, slots },
            None => Pixels::Memory(Vec::new()),
        };
        Ok(Some(self.images(known, skipped, *decoded, std::mem::take(notes), pixels)))
    }

    fn images(
        self,
        known: Known,
        skipped: Vec<(usize, Error)>,
        decoded: usize,
        notes: Vec<String>,
        pixels: Pixels,
    ) -> Images {
        let files = &self.folder.files;
        let Known { kept, sums, sideways, clipped } = known;
        Images {
            size: self.want.size,
            labels: kept.iter().map(|&i| files[i].label).collect(),
            files: kept.iter().map(|&i| files[i].path.clone()).collect(),
            sums,
            sideways,
            clipped,
            skipped: skipped.into_iter().map(|(i, error)| (files[i].path.clone(), error)).collect(),
            decoded,
            notes,
            pixels,
        }
    }

    fn decode(self, wanted: Vec<usize>) -> Decoding<'a> {
        Decoding::new(self, wanted)
    }
}

/// What can be done where the cache cannot be written.
const ELSEWHERE: &str = "choose another folder for decoded images with --cache, or use --no-cache";

/// How long nobody has written to what a killed process has left.
const LEFT: Duration = Duration::from_secs(3600);
/// How long nobody has used a cache file of other images, or of another size.
const UNUSED: Duration = Duration::from_secs(60 * 24 * 3600);

/// Removes what killed processes have left on their way to the cache file at `path`, and cache files that nobody has used
/// for long: they are gigabytes. That something stays is no reason to fail.
fn remove_left(path: &Path) {
    let Some((folder, own)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // A link is somebody's, and so is what it leads to.
        let Some(meta) = entry.metadata().ok().filter(std::fs::Metadata::is_file) else { continue };
        let old = || meta.modified().ok()?.elapsed().ok();
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let left = files::of_temporary(name) == Some(own) && old() > Some(LEFT);
        // Of a file of another user nobody here has ever noted a use.
        let marked = || {
            let file = std::fs::File::open(entry.path());
            meta.modified().and_then(|then| file?.set_modified(then)).is_ok()
        };
        if left || (name != own && store::is_name(name) && old() > Some(UNUSED) && marked()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
