//! `weights fetch`.

use super::Host;
use super::output::{Output, ending};
use crate::error::{Error, Kind, Result};
use crate::fetch::{self, CATALOGUE, Entry, Fetched, Net, Origin, Place, Target, Want, Watch};
use crate::files::quoted;
use crate::report::Progress;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Options of `weights fetch`.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Which file, by its name in the catalogue.
    pub name: String,
    /// Where to; into the cache if not given.
    pub output: Option<Output>,
    /// The folder of our cache, if there is one.
    pub cache: Option<PathBuf>,
    /// An address that stands for those of the catalogue.
    pub mirror: Option<String>,
    /// Open no connection.
    pub offline: bool,
}

/// The folder in our cache.
const FOLDER: &str = "weights";

/// Finds or fetches a file and says where it is.
///
/// # Errors
/// [`Kind::Usage`] for a name that is not known, and where no place is; those of [`fetch::fetch`].
pub fn fetch(host: &Host, job: &Fetch) -> Result<()> {
    let entry = fetch::find(&job.name)?;
    let target = match (&job.output, &job.cache) {
        (Some(output), _) => {
            output.format(&[(&*ending(Path::new(entry.file)), ())]).map_err(|error| match &output.path {
                folder if folder.is_dir() => {
                    error.help(format!("name a file in it: -o {}", quoted(&folder.join(entry.file))))
                }
                _ => error,
            })?;
            // That it is there already may be all that is wanted: then it is not written.
            Output { force: true, ..output.clone() }.check()?;
            Target::File { path: output.path.clone(), force: output.force }
        }
        (None, Some(cache)) => Target::Cache(cache.join(FOLDER)),
        (None, None) => {
            return Err(Error::new(Kind::Usage, "there is no home folder, and so no cache")
                .help(format!("say where to with -o {}, or set VGG_FT_CACHE", entry.file)));
        }
    };
    let mut places = fetch::places(&entry);
    if let (Some(_), Some(cache)) = (&job.output, &job.cache) {
        places.insert(0, Place { owner: "our cache", path: cache.join(FOLDER).join(entry.file) });
    }
    let want = Want {
        entry,
        target,
        places,
        mirror: job.mirror.clone(),
        offline: job.offline,
        net: Net::from_env(),
    };
    let mut voice = Voice { host, progress: Progress::silent(), unit: 1 };
    let fetched = fetch::fetch(&want, &mut voice)?;
    // A bar that stands goes before the result comes.
    drop(voice);
    let outcome = Outcome::of(&entry, &fetched);
    host.result(&outcome.text(), &outcome)
}

/// Lists what can be fetched.
///
/// # Errors
/// [`Kind::Io`] when stdout is full.
pub fn fetchable(host: &Host) -> Result<()> {
    let offers: Vec<Offer> = CATALOGUE.iter().map(Offer::of).collect();
    host.result(&list(&offers), &offers)
}

/// What the transfer says, through the host.
struct Voice<'a> {
    host: &'a Host,
    progress: Progress,
    /// Bytes of one count of the progress.
    unit: u64,
}

impl Watch for Voice<'_> {
    fn say(&mut self, remark: &str) {
        self.progress = Progress::silent();
        self.host.say(remark);
    }

    fn begin(&mut self, what: &str, total: Option<u64>) {
        let (unit, name) =
            if total.is_some_and(|total| total < 10_000_000) { (1000, "kB") } else { (1_000_000, "MB") };
        self.unit = unit;
        self.progress = match total {
            Some(total) => self.host.progress(what, total.div_ceil(unit) as usize, name),
            None if self.host.quiet => Progress::silent(),
            None => Progress::endless(what, name),
        };
    }

    fn at(&mut self, done: u64) {
        self.progress.set(done / self.unit);
    }
}

/// What was done, for `--json`.
#[derive(Serialize)]
struct Outcome<'a> {
    name: &'a str,
    path: String,
    bytes: u64,
    /// `sha256` or `md5`.
    algorithm: &'static str,
    digest: &'a str,
    /// How much of the digest is published and was compared.
    compared: String,
    /// `there`, `used`, `copied` or `fetched`.
    how: &'static str,
    /// An address, or a file.
    from: String,
    /// Whose file it was, if it was in another place.
    owner: Option<&'static str>,
    source: &'a str,
    licence: &'a str,
}

impl<'a> Outcome<'a> {
    fn of(entry: &Entry<'a>, fetched: &'a Fetched) -> Self {
        let path = fetched.path.display().to_string();
        let (how, from, owner) = match &fetched.origin {
            Origin::There => ("there", path.clone(), None),
            Origin::Used(place) => ("used", place.path.display().to_string(), Some(place.owner)),
            Origin::Copied(place) => ("copied", place.path.display().to_string(), Some(place.owner)),
            Origin::Url(url) => ("fetched", url.clone(), None),
        };
        Self {
            name: entry.name,
            path,
            bytes: fetched.bytes,
            algorithm: entry.digest.algorithm(),
            digest: &fetched.digest,
            compared: entry.digest.known(),
            how,
            from,
            owner,
            source: entry.lineage,
            licence: entry.licence,
        }
    }

    /// The path first: it is what the next command takes.
    fn text(&self) -> String {
        let owner = self.owner.unwrap_or_default();
        let from = match self.how {
            "there" => "there already".into(),
            "used" => format!("{owner}, used where it lies"),
            "copied" => format!("{owner}, copied from {}", self.from),
            _ => self.from.clone(),
        };
        let compared = match &*self.compared {
            "whole" => "as published".into(),
            part => format!("{part} as published (no more digits are; torch.hub compares the same ones)"),
        };
        let rows = [
            (self.name, self.path.clone()),
            ("bytes", self.bytes.to_string()),
            (self.algorithm, format!("{}, {compared}", self.digest)),
            ("from", from),
            ("lineage", self.source.to_owned()),
            ("licence", self.licence.to_owned()),
        ];
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10);
        rows.iter().map(|(name, value)| format!("{name:width$} {value}\n")).collect()
    }
}

/// A row of the list.
#[derive(Serialize)]
struct Offer {
    name: &'static str,
    file: &'static str,
    bytes: u64,
    /// Whether `bytes` is exact.
    exact: bool,
    /// `sha256` or `md5`.
    algorithm: &'static str,
    digest: &'static str,
    /// How much of the digest is published.
    compared: String,
    url: &'static str,
    source: &'static str,
    licence: &'static str,
}

impl Offer {
    fn of(entry: &Entry<'static>) -> Self {
        Self {
            name: entry.name,
            file: entry.file,
            bytes: entry.size.bytes(),
            exact: entry.size.exact().is_some(),
            algorithm: entry.digest.algorithm(),
            digest: entry.digest.digits(),
            compared: entry.digest.known(),
            url: entry.url,
            source: entry.lineage,
            licence: entry.licence,
        }
    }
}

/// The offers by their lineage, which is said once.
fn list(offers: &[Offer]) -> String {
    let width = offers.iter().map(|offer| offer.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    let mut before = "";
    for offer in offers {
        if offer.source != before {
            let gap = if before.is_empty() { "" } else { "\n" };
            out.push_str(&format!("{gap}{}\nlicence: {}\n", offer.source, offer.licence));
            before = offer.source;
        }
        let size = fetch::amount(offer.bytes);
        out.push_str(&format!("  {:width$}  {size:>8}  {}\n", offer.name, offer.file));
    }
    out.push_str("\nA mirror (--mirror, VGG_FT_MIRROR) must offer the files under these names.\n");
    out
}
