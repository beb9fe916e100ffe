//! Published files: looked for on this machine first, then fetched, and in either case compared with what is known of
//! their bytes.
//!
//! In: an entry of the catalogue and where it is to go. Out: the path of a file whose checksum is right. Nothing is
//! ever under its name that is not whole; what was fetched of it so far waits beside it.

pub mod cached;
pub mod catalogue;
pub mod digest;
pub mod net;
mod partial;
mod transfer;
mod wire;

pub use cached::{Place, places};
pub use catalogue::{CATALOGUE, Entry, Publisher, Size, find};
pub use digest::Digest;
pub use net::{Net, Proxies};

use crate::error::{Context, Error, Kind, Result};
use crate::{files, interrupt};
use cached::{Verdict, look};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who hears how it goes; of itself it hears nothing.
pub trait Watch {
    /// A remark for a person.
    fn say(&mut self, _remark: &str) {}

    /// `what` begins, and is `total` bytes long if that is known.
    fn begin(&mut self, _what: &str, _total: Option<u64>) {}

    /// So many bytes of what was begun are done.
    fn at(&mut self, _done: u64) {}

    /// An error once a stop was asked for.
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    fn check(&mut self) -> Result<()> {
        interrupt::check()
    }
}

/// Where a file goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// Into our cache, under its own name. What other programs keep is used where it lies; a wrong file is replaced.
    Cache(PathBuf),
    /// To this path. What others keep is copied.
    File {
        /// Where.
        path: PathBuf,
        /// Over another file that is there.
        force: bool,
    },
}

/// What is to be fetched, and how.
#[derive(Clone, Debug)]
pub struct Want<'a> {
    /// The file.
    pub entry: Entry<'a>,
    /// Where it goes.
    pub target: Target,
    /// Where it may be already, apart from there.
    pub places: Vec<Place>,
    /// An address that stands for all of an entry's before the file's name.
    pub mirror: Option<String>,
    /// Open no connection.
    pub offline: bool,
    /// How patiently, by which way.
    pub net: Net,
}

/// A file that is there and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its checksum of the entry's kind, in hexadecimal.
    pub digest: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a file came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was at its place.
    There,
    /// Another program's file, used where it lies.
    Used(Place),
    /// Another program's file, copied.
    Copied(Place),
    /// This address, without secrets.
    Url(String),
}

/// Why a try ended.
enum Stop {
    /// Another may do; not before so much time.
    Again(String, Option<Duration>),
    /// Another may do that asks for the whole file.
    Whole(String),
    /// None will. What was fetched is kept.
    Never(Error),
    /// None will, and what was fetched is of no use.
    Useless(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Never(error)
    }
}

/// Finds or fetches a file.
///
/// # Errors
/// [`Kind::Usage`] for another file at a path that was named without `force`, and for a mirror or proxy that is none;
/// [`Kind::Weights`] when what comes is not the file, or nothing may be fetched; [`Kind::Io`] for network and disk;
/// [`Kind::Interrupted`].
pub fn fetch(want: &Want<'_>, watch: &mut dyn Watch) -> Result<Fetched> {
    let (entry, path) = (&want.entry, want.target.path(&want.entry));
    if path.exists() && !path.is_file() {
        return Err(Error::new(Kind::Usage, format!("{} is no file", path.display()))
            .fact("wanted there", entry.name)
            .help("move it away, or choose another place with -o"));
    }
    match look(&path, entry, watch)? {
        Verdict::Nothing => {}
        Verdict::Right(bytes, digest) => return Ok(Fetched { path, bytes, digest, origin: Origin::There }),
        Verdict::Wrong(why) => want.target.may_replace(&path, entry, &why, watch)?,
    }
    for place in &want.places {
        match look(&place.path, entry, watch)? {
            Verdict::Nothing => {}
            Verdict::Right(bytes, digest) => {
                return want.target.take(entry, place, path, (bytes, digest), watch);
            }
            Verdict::Wrong(why) => watch.say(&format!(
                "passed over {} in {}: {why}, so it is not {}",
                place.path.display(),
                place.owner,
                entry.name
            )),
        }
    }
    let url = address(want)?;
    if want.offline {
        return Err(refusal(want, &path, &url));
    }
    match &want.target {
        Target::Cache(folder) => files::create_dir(folder)?,
        Target::File { path, .. } => files::require_folder(path)?,
    }
    transfer::transfer(want, &url, &path, watch)
        .context(|| format!("fetching {}", net::without_secrets(&url)))
}

impl Target {
    /// Where `entry` will be.
    pub fn path(&self, entry: &Entry<'_>) -> PathBuf {
        match self {
            Self::Cache(folder) => folder.join(entry.file),
            Self::File { path, .. } => path.clone(),
        }
    }

    /// Whether what is at `path` may go.
    fn may_replace(&self, path: &Path, entry: &Entry<'_>, why: &str, watch: &mut dyn Watch) -> Result<()> {
        let name = path.display();
        if matches!(self, Self::File { force: false, .. }) {
            return Err(Error::new(
                Kind::Usage,
                format!("{name} is there already, and is not {}", entry.name),
            )
            .fact("reason", why)
            .help("choose another file, or write over it with --force"));
        }
        watch.say(&format!("{name} is not {} ({why}): it is replaced", entry.name));
        Ok(())
    }

    /// Takes the right file from another program's place.
    fn take(
        &self,
        entry: &Entry<'_>,
        place: &Place,
        path: PathBuf,
        (bytes, digest): (u64, String),
        watch: &mut dyn Watch,
    ) -> Result<Fetched> {
        let place = place.clone();
        if let Self::Cache(_) = self {
            return Ok(Fetched { path: place.path.clone(), bytes, digest, origin: Origin::Used(place) });
        }
        watch.begin("copying", Some(bytes));
        files::write_atomic(&path, |out| {
            // Hashed again: the other program may have written it since.
            let mut hasher = entry.digest.hasher();
            let put = |piece: &[u8]| {
                hasher.update(piece);
                out.write_all(piece).map_err(|e| Error::io("write", &path, &e))
            };
            digest::read_through(&place.path, watch, put)?;
            if hasher.hex() == digest {
                return Ok(());
            }
            Err(Error::new(Kind::Weights, format!("{} changed while it was copied", place.path.display()))
                .help("another program is writing it; wait for that, and try again"))
        })?;
        Ok(Fetched { path, bytes, digest, origin: Origin::Copied(place) })
    }
}

/// Where the file is asked for.
fn address(want: &Want<'_>) -> Result<String> {
    let Some(mirror) = &want.mirror else { return Ok(want.entry.url.to_owned()) };
    let shown = net::without_secrets(mirror);
    let (scheme, rest) = mirror.split_once("://").unwrap_or_default();
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) || rest.is_empty() {
        return Err(Error::new(Kind::Usage, "the mirror's address cannot be read")
            .expected_got("https://host/folder", shown)
            .help("correct VGG_FT_MIRROR, or unset it"));
    }
    if rest.contains(['@', '?', '#']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Error::new(Kind::Usage, "the mirror's address is more than a host and a folder")
            .fact("got", shown)
            .help("names, passwords and queries are not sent; use a mirror that needs none"));
    }
    Ok(format!("{}/{}", mirror.trim_end_matches('/'), want.entry.file))
}

/// What to do without a network.
fn refusal(want: &Want<'_>, path: &Path, url: &str) -> Error {
    let entry = &want.entry;
    let mut looked = vec![path.display().to_string()];
    looked.extend(want.places.iter().map(|place| format!("{} ({})", place.path.display(), place.owner)));
    Error::new(
        Kind::Weights,
        format!("{} is not on this machine, and no connection may be opened", entry.name),
    )
    .fact("looked for", looked.join("\n"))
    .fact("address", net::without_secrets(url))
    .fact("checksum", entry.digest)
    .help(format!(
        "fetch it elsewhere and put it at {}, or leave --offline (VGG_FT_OFFLINE) out",
        path.display()
    ))
}

/// A size for a person: "553.5 MB", "35.4 kB", "12 bytes".
pub(crate) fn amount(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Text from the network, fit for one line.
fn shorten(text: &str) -> String {
    files::shorten(text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(mirror: Option<&str>) -> Result<String> {
        address(&Want {
            entry: find("vgg16-notop").unwrap(),
            target: Target::Cache("/c".into()),
            places: Vec::new(),
            mirror: mirror.map(str::to_owned),
            offline: false,
            net: Net::default(),
        })
    }

    #[test]
    fn a_mirror_stands_for_all_before_the_name() {
        let file = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5";
        assert_eq!(asked(None).unwrap(), find("vgg16-notop").unwrap().url);
        for mirror in ["http://m/vgg", "http://m/vgg/", "http://m/vgg//"] {
            assert_eq!(asked(Some(mirror)).unwrap(), format!("http://m/vgg/{file}"));
        }
        for wrong in [
            "",
            "m/vgg",
            "ftp://m",
            "file:///m",
            "https://",
            "https://me:secret@m",
            "https://m/?x=1",
            "http://a b",
        ] {
            let error = asked(Some(wrong)).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{wrong}");
            assert!(!error.to_string().contains("secret") && error.to_string().contains("help:"), "{error}");
        }
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [0, 999, 35_363, 553_467_096].map(amount),
            ["0 bytes", "999 bytes", "35.4 kB", "553.5 MB"]
        );
    }
}
