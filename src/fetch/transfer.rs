//! The transfer itself: tries until the file is whole, each from where the one before it ended.
//!
//! In: an address. Out: the file under its name, its checksum taken while it came. A server is believed nothing:
//! lengths and ranges are compared with what was asked for and what is known, and no byte more is written.

use super::cached::{Verdict, look};
use super::digest::{Hasher, read_through};
use super::net::without_secrets;
use super::partial::{Note, Partial};
use super::wire::{self, Head, Rest};
use super::{Fetched, Origin, Stop, Want, Watch, amount, shorten};
use crate::error::{Error, Kind, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// A try that brought so much begins the count of tries again: whoever gets on at all gets there.
const PROGRESS: u64 = 1 << 20;
/// The longest that a server may have us wait.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Fetches `url` to `path`.
///
/// # Errors
/// As [`fetch`](super::fetch).
pub(super) fn transfer(want: &Want<'_>, url: &str, path: &Path, watch: &mut dyn Watch) -> Result<Fetched> {
    let partial = Partial::open(path, watch)?;
    if partial.waited {
        // The other process may have been successful.
        if let Verdict::Right(bytes, digest) = look(path, &want.entry, watch)? {
            partial.keep();
            return Ok(Fetched { path: path.to_owned(), bytes, digest, origin: Origin::There });
        }
    }
    let hasher = want.entry.digest.hasher();
    let (mixed, whole, anew) = (false, false, false);
    let mut transfer = Transfer { want, url, watch, partial, hasher, hashed: 0, mixed, whole, anew };
    match transfer.tries() {
        Ok(digest) => {
            let bytes = transfer.partial.have;
            transfer.partial.finish()?;
            let origin = Origin::Url(without_secrets(url));
            Ok(Fetched { path: path.to_owned(), bytes, digest, origin })
        }
        Err(Failure { error, useless: true }) => {
            transfer.partial.discard();
            Err(error)
        }
        Err(Failure { error, useless: false }) => {
            let partial = transfer.partial;
            let kept =
                (partial.have > 0).then(|| format!("{} in {}", amount(partial.have), partial.path.display()));
            partial.keep();
            Err(match kept {
                Some(kept) if error.kind() == Kind::Interrupted => {
                    error.fact("kept", kept).help("the same command goes on from there")
                }
                Some(kept) => error.fact("kept", format!("{kept}; the same command goes on from there")),
                None => error,
            })
        }
    }
}

/// How it ended without the file.
struct Failure {
    error: Error,
    /// What was fetched is of no use.
    useless: bool,
}

struct Transfer<'a> {
    want: &'a Want<'a>,
    url: &'a str,
    watch: &'a mut dyn Watch,
    partial: Partial,
    /// Of the first `hashed` bytes of the part.
    hasher: Hasher,
    hashed: u64,
    /// The part is of more than one answer, so that a wrong checksum may be nobody's fault.
    mixed: bool,
    /// The next try asks for the whole file.
    whole: bool,
    /// Its checksum was wrong once, and it was begun again.
    anew: bool,
}

impl Transfer<'_> {
    fn tries(&mut self) -> Result<String, Failure> {
        // A part may be begun again: what counts is what comes beyond all that ever was there.
        let (net, mut failed, mut most) = (&self.want.net, 0, self.partial.have);
        let kept = |error| Failure { error, useless: false };
        loop {
            let (reason, wait) = match self.attempt() {
                Ok(digest) => return Ok(digest),
                Err(Stop::Never(error)) => return Err(kept(error)),
                Err(Stop::Useless(error)) => return Err(Failure { error, useless: true }),
                Err(Stop::Again(reason, wait)) => (reason, wait),
                Err(Stop::Whole(reason)) => {
                    self.whole = true;
                    (reason, None)
                }
            };
            if self.partial.have.saturating_sub(most) >= PROGRESS {
                failed = 0;
            }
            most = most.max(self.partial.have);
            failed += 1;
            if failed > net.retries {
                let error = Error::new(Kind::Io, format!("cannot fetch {}", self.want.entry.name));
                return Err(kept(error.fact("reason", reason).fact("tries", failed).help(
                    "check the network; HTTPS_PROXY (or ALL_PROXY) names a proxy, VGG_FT_MIRROR another address",
                )));
            }
            let pause = net.pause(failed).max(wait.unwrap_or_default().min(MAX_WAIT));
            self.watch.say(&format!(
                "{reason}: again in {:.0} s ({} here, try {} of {})",
                pause.as_secs_f64(),
                amount(self.partial.have),
                failed + 1,
                net.retries + 1
            ));
            self.sleep(pause).map_err(kept)?;
        }
    }

    fn sleep(&mut self, pause: Duration) -> Result<()> {
        let end = Instant::now() + pause;
        loop {
            self.watch.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    /// One try: the digest of a file that is whole and right.
    fn attempt(&mut self) -> Result<String, Stop> {
        let size = self.want.entry.size;
        let length = size.exact().or(self.partial.note.total).filter(|_| !self.whole);
        if self.partial.have > length.unwrap_or(size.at_most()) {
            self.watch.say("the part that was kept is longer than the file: it is fetched anew");
            self.restart()?;
        }
        self.catch_up()?;
        if length == Some(self.partial.have) {
            return self.verdict();
        }
        let from = Some(self.partial.have).filter(|&have| have > 0 && !self.whole);
        let rest = from.map(|from| Rest { from, version: self.version() });
        let mut answer = wire::ask(&self.want.net, self.url, rest, self.watch)?;
        let end = self.accept(&answer.head, from)?;

        let start = self.partial.have;
        let what = if start > 0 { "fetching the rest of" } else { "fetching" };
        self.watch.begin(&format!("{what} {}", self.want.entry.name), end.map(|end| end - start));
        while let Some(bytes) = answer.next(self.watch)? {
            if self.partial.have + bytes.len() as u64 > end.unwrap_or(size.at_most()) {
                return Err(Stop::Useless(self.wrong("the server sends more than the file has")));
            }
            self.partial.add(&bytes)?;
            self.hasher.update(&bytes);
            self.hashed = self.partial.have;
            self.watch.at(self.partial.have - start);
        }
        match end {
            Some(end) if self.partial.have < end => {
                let have = amount(self.partial.have);
                Err(Stop::Again(format!("the connection ended after {have} of {}", amount(end)), None))
            }
            None if !size.fits(self.partial.have) => {
                let (have, about) = (amount(self.partial.have), amount(size.bytes()));
                Err(Stop::Again(format!("the connection ended after {have} of about {about}"), None))
            }
            _ => self.verdict(),
        }
    }

    fn restart(&mut self) -> Result<()> {
        (self.hasher, self.hashed, self.mixed) = (self.want.entry.digest.hasher(), 0, false);
        self.partial.restart()
    }

    /// Takes the checksum of bytes that an earlier process left.
    fn catch_up(&mut self) -> Result<()> {
        if self.hashed == self.partial.have {
            return Ok(());
        }
        (self.hasher, self.mixed) = (self.want.entry.digest.hasher(), true);
        self.watch.begin("checking what is there", Some(self.partial.have));
        let take = |piece: &[u8]| {
            self.hasher.update(piece);
            Ok(())
        };
        self.hashed = read_through(&self.partial.path, self.watch, take)?;
        if self.hashed == self.partial.have { Ok(()) } else { self.restart() }
    }

    /// What tells the server of which version of the file we have the beginning. Another address may call the same
    /// bytes by other names; there the checksum alone must tell.
    fn version(&self) -> Option<String> {
        let note = &self.partial.note;
        let version = note.etag.as_ref().or(note.modified.as_ref()).filter(|_| note.url == self.url)?;
        version.bytes().all(|b| (b' '..=b'~').contains(&b)).then(|| version.clone())
    }

    /// Makes the part ready for what follows `head`; where the file ends, if that is known.
    fn accept(&mut self, head: &Head, asked: Option<u64>) -> Result<Option<u64>, Stop> {
        let name = self.want.entry.name;
        let never = |message: String, help: &str| {
            let error = Error::new(Kind::Io, message).fact("answer", head.status_line());
            Err(Stop::Never(error.help(help)))
        };
        let other = match self.want.mirror {
            Some(_) => "check the mirror: its folder must have the file under this name",
            None => "it may have moved; VGG_FT_MIRROR can name the address of a folder that has it",
        };
        match (head.status, asked) {
            (200 | 206, _) if head.encoding.is_some() => {
                let coding = shorten(head.encoding.as_deref().unwrap_or_default());
                never(format!("the server compresses {name} ({coding}), though it was asked not to"), other)
            }
            (200, _) => self.accept_whole(head),
            (206, Some(from)) => self.accept_rest(head, from),
            (416, Some(from)) => Err(Stop::Whole(format!("the server has nothing from byte {from} on"))),
            (408 | 425 | 429 | 500..=599, _) => {
                Err(Stop::Again(format!("the server answered {}", head.status_line()), head.retry_after))
            }
            (404 | 410, _) => never(format!("{name} is not at this address"), other),
            (401 | 403 | 407 | 451, _) => never(
                format!("the server refuses {name}"),
                "a proxy or the network may forbid it; VGG_FT_MIRROR can name another address",
            ),
            _ => never(format!("the server's answer is of no use for {name}"), other),
        }
    }

    fn accept_whole(&mut self, head: &Head) -> Result<Option<u64>, Stop> {
        let size = self.want.entry.size;
        if let Some(length) = head.length.filter(|&length| !size.fits(length)) {
            let about = if size.exact().is_none() { "about " } else { "" };
            return Err(Stop::Never(
                self.wrong("the server has another file")
                    .expected_got(format!("{about}{} bytes", size.bytes()), format!("{length} bytes")),
            ));
        }
        if self.partial.have > 0 {
            self.watch.say(&format!(
                "the server sends all of it, not the rest: {} are fetched anew",
                amount(self.partial.have)
            ));
        }
        self.restart()?;
        self.whole = false;
        self.partial.annotate(Note {
            url: self.url.to_owned(),
            etag: head.etag.clone(),
            modified: head.modified.clone(),
            total: head.length,
        })?;
        Ok(size.exact().or(head.length))
    }

    fn accept_rest(&mut self, head: &Head, from: u64) -> Result<Option<u64>, Stop> {
        let (size, note) = (self.want.entry.size, &self.partial.note);
        let same_place = note.url == self.url;
        if same_place && note.etag.is_some() && head.etag.is_some() && note.etag != head.etag {
            return Err(Stop::Whole("the file has changed on the server".into()));
        }
        // The last byte must be the file's: of its known length, of the length told now, of the one told before.
        let is_end = |end: u64, told: Option<u64>| {
            let lengths = [size.exact(), told, note.total.filter(|_| same_place)];
            size.fits(end) && lengths.into_iter().flatten().all(|length| length == end)
        };
        let end = head.parse_range().and_then(|(first, last, told)| {
            let end = last.checked_add(1)?;
            let length = end.checked_sub(first)?;
            let is_asked = first == from && head.length.is_none_or(|announced| announced == length);
            (is_asked && is_end(end, told)).then_some(end)
        });
        let Some(end) = end else {
            let told = head.range.as_deref().map_or_else(|| "no range".into(), shorten);
            return Err(Stop::Whole(format!(
                "asked for all from byte {from}, the server sends another part ({told})"
            )));
        };
        self.mixed = true;
        Ok(Some(end))
    }

    /// Whether the whole file is the one.
    fn verdict(&mut self) -> Result<String, Stop> {
        let (digest, hex) = (self.want.entry.digest, self.hasher.hex());
        if digest.fits(&hex) {
            return Ok(hex);
        }
        // Once: a server that breaks off and sends wrong bytes would have us fetch for ever.
        if self.mixed && !self.anew {
            self.anew = true;
            self.restart()?;
            return Err(Stop::Whole("put together from several tries, the file has a wrong checksum".into()));
        }
        Err(Stop::Useless(
            self.wrong("what came is another file")
                .expected_got(digest, format!("{} {hex}", digest.algorithm())),
        ))
    }

    /// An error about bytes that are not the file's.
    fn wrong(&self, what: &str) -> Error {
        Error::new(Kind::Weights, format!("{what}: not {}", self.want.entry.name))
            .help("a login page, a proxy or a mirror may stand between; try a browser, or another network")
    }
}
