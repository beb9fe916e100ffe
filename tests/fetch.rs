//! Is a published file fetched whole and right, or not at all, whatever server, proxy, disk and caches do?
//!
//! Every server is on 127.0.0.1 and made here (`fetch/server.rs`); no test needs a network or waits for a clock,
//! except where a server is silent, and there a slow machine only tries more often.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[path = "fetch/here.rs"]
mod here;
#[path = "fetch/resume.rs"]
mod resume;
#[path = "fetch/server.rs"]
mod server;
#[path = "fetch/tls.rs"]
mod tls;
#[path = "fetch/ways.rs"]
mod ways;

use server::{Reply, Request, Server, chunked, good};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vgg_ft::error::{Error, Kind, Result};
use vgg_ft::fetch::{Digest, Entry, Fetched, Net, Origin, Publisher, Size, Target, Want, Watch, fetch};
use vgg_ft::files::sha256_hex;

const NAME: &str = "x.h5";

/// Bytes without a pattern that a shift or a repetition would leave as it is.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// A file, a folder for it, and what is known of it.
struct Scene {
    dir: tempfile::TempDir,
    file: Vec<u8>,
    sha256: String,
    size: Size,
}

impl Scene {
    fn new(length: usize) -> Self {
        let file = noise(length, 1);
        let (dir, sha256) = (tempfile::tempdir().unwrap(), sha256_hex(&file));
        Self { dir, size: Size::Exactly(length as u64), file, sha256 }
    }

    /// To the folder, from `url`, without patience.
    fn want<'a>(&'a self, url: &'a str) -> Want<'a> {
        Want {
            entry: Entry {
                name: "x",
                url,
                file: NAME,
                digest: Digest::Sha256(&self.sha256),
                size: self.size,
                publisher: Publisher::Keras,
                lineage: "",
                licence: "",
            },
            target: Target::Cache(self.dir.path().into()),
            places: Vec::new(),
            mirror: None,
            offline: false,
            net: Net { backoff: Duration::from_millis(1), ..Net::default() },
        }
    }

    fn fetch(&self, url: &str, ear: &mut Ear) -> Result<Fetched> {
        fetch(&self.want(url), ear)
    }

    /// Must be there, whole, with nothing beside it.
    fn assert_whole(&self, outcome: Result<Fetched>) -> Fetched {
        let fetched = outcome.unwrap();
        assert_eq!(fetched.path, self.dir.path().join(NAME));
        assert_eq!((fetched.bytes, &fetched.digest), (self.file.len() as u64, &self.sha256));
        assert!(fs::read(&fetched.path).unwrap() == self.file);
        assert_eq!(names(self.dir.path()), [NAME]);
        fetched
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join(format!("{NAME}.vgg-ft.part"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Hears everything, and asks for a stop once so many bytes of a transfer are there.
#[derive(Default)]
struct Ear {
    said: Vec<String>,
    begun: Vec<(String, Option<u64>)>,
    done: u64,
    stop_at: Option<u64>,
}

impl Ear {
    fn text(&self) -> String {
        self.said.join("\n")
    }
}

impl Watch for Ear {
    fn say(&mut self, remark: &str) {
        self.said.push(remark.to_owned());
    }
    fn begin(&mut self, what: &str, total: Option<u64>) {
        self.begun.push((what.to_owned(), total));
        self.done = 0;
    }
    fn at(&mut self, done: u64) {
        assert!(done > self.done && self.begun.last().unwrap().1.is_none_or(|total| done <= total));
        self.done = done;
    }
    fn check(&mut self) -> Result<()> {
        match self.stop_at {
            Some(bytes)
                if self.done >= bytes && self.begun.iter().any(|(what, _)| what.starts_with("fetching")) =>
            {
                Err(Error::new(Kind::Interrupted, "stopped by the user"))
            }
            _ => Ok(()),
        }
    }
}

/// What the user reads: complete, and without a trace of where things are in this program.
fn text(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.contains("help:") && !text.contains("ureq"), "{text}");
    text
}

#[test]
fn a_file_comes_once() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let (url, mut ear) = (server.url("/x"), Ear::default());
    let fetched = scene.assert_whole(scene.fetch(&url, &mut ear));
    assert_eq!(fetched.origin, Origin::Url(url.clone()));
    assert_eq!(
        (ear.begun, ear.done, ear.said.len()),
        (vec![("fetching x".into(), Some(300_000))], 300_000, 0)
    );
    let again = scene.assert_whole(scene.fetch(&url, &mut Ear::default()));
    assert_eq!(again.origin, Origin::There);
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "what is there is not asked for");
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert!(requests[0].header("user-agent").unwrap().starts_with("vgg-ft/"));
    assert_eq!(requests[0].header("range"), None);
}

#[test]
fn md5_and_the_first_digits_of_a_sha256_are_compared_too() {
    use md5::Digest as _;
    let scene = Scene::new(3000);
    let md5: String = md5::Md5::digest(&scene.file).iter().map(|byte| format!("{byte:02x}")).collect();
    let wrong = sha256_hex(b"another");
    for (digest, got) in [
        (Digest::Md5(&md5), Some(&md5)),
        (Digest::Md5(&wrong[..32]), None),
        (Digest::Sha256Prefix(&scene.sha256[..8]), Some(&scene.sha256)),
        (Digest::Sha256Prefix(&wrong[..8]), None),
        (Digest::Sha256(&wrong), None),
    ] {
        let file = scene.file.clone();
        let server = Server::new(move |request| good(request, &file, "\"1\""));
        let url = server.url("/x");
        let mut want = scene.want(&url);
        want.entry.digest = digest;
        match (fetch(&want, &mut Ear::default()), got) {
            (Ok(fetched), Some(hex)) => {
                assert_eq!(&fetched.digest, hex);
                fs::remove_file(fetched.path).unwrap();
            }
            (Err(error), None) => {
                assert_eq!(error.kind(), Kind::Weights);
                let text = text(&error);
                assert!(text.contains(&digest.to_string()) && text.contains("got"), "{text}");
                assert!(text.contains(&url), "{text}");
                assert_eq!(server.requests().len(), 1, "the same bytes would come again");
            }
            (outcome, _) => panic!("{digest}: {outcome:?}"),
        }
        assert!(names(scene.dir.path()).is_empty(), "wrong bytes are not kept");
    }
}

/// Everything that another try may mend.
#[test]
fn what_may_pass_is_tried_again() {
    let scene = Scene::new(300_000);
    type Rule = fn(&[u8]) -> Reply;
    let faults: [(&str, Rule, &str); 9] = [
        ("500", |_| Reply::of("500 Oh", &[], b"no"), "the server answered 500 Internal Server Error"),
        ("503", |_| Reply::of("503 x", &["Retry-After: 0"], b"busy"), "the server answered 503"),
        ("429", |_| Reply::of("429 x", &["Retry-After: soon"], b""), "the server answered 429"),
        ("408", |_| Reply::new("408 x", &[], b""), "the server answered 408"),
        ("closed at once", |_| Reply::raw(b""), "again in 0 s"),
        ("closed in the headers", |file| Reply::of("200 OK", &[], file).cut(file.len() + 9), "again in 0 s"),
        ("no HTTP", |_| Reply::raw(b"SSH-2.0-x\r\n\r\n"), "again in 0 s"),
        ("no body", |file| Reply::of("200 OK", &[], file).cut(file.len()), "again in 0 s (0 bytes here"),
        (
            "cut chunks",
            |file| Reply::new("200 OK", &["Transfer-Encoding: chunked"], &chunked(file, 50_000)).cut(90_000),
            "again in 0 s (",
        ),
    ];
    for (what, fault, words) in faults {
        let file = scene.file.clone();
        let server =
            Server::new(
                move |request| if request.number < 2 { fault(&file) } else { good(request, &file, "\"1\"") },
            );
        let mut ear = Ear::default();
        let fetched = scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
        assert_eq!(server.requests().len(), 3, "{what}");
        assert_eq!(ear.text().matches(words).count(), 2, "{what}: {}", ear.text());
        assert!(ear.text().contains("try 3 of 6"), "{what}: {}", ear.text());
        fs::remove_file(fetched.path).unwrap();
    }
}

/// Everything that the next try would meet as well.
#[test]
fn what_will_not_pass_is_said_at_once() {
    let scene = Scene::new(3000);
    type Rule = fn(&Request, &[u8]) -> Reply;
    let faults: [(Rule, Kind, &str); 8] = [
        (|_, _| Reply::of("404 Not Found", &[], b"gone"), Kind::Io, "x is not at this address"),
        (|_, _| Reply::of("410 Gone", &[], b"gone"), Kind::Io, "410 Gone"),
        (|_, _| Reply::of("403 No", &[], b"no"), Kind::Io, "403 Forbidden"),
        (|_, _| Reply::of("401 No", &[], b"no"), Kind::Io, "the server refuses x"),
        (|_, _| Reply::of("204 Nothing", &[], b""), Kind::Io, "204 No Content"),
        (
            |_, file| Reply::of("206 Part", &["Content-Range: bytes 0-2999/3000"], file),
            Kind::Io,
            "206 Partial Content",
        ),
        (|_, file| Reply::of("200 OK", &["Content-Encoding: gzip"], file), Kind::Io, "compresses x (gzip)"),
        (|_, _| Reply::of("200 OK", &[], b"<html>log in"), Kind::Weights, "3000 bytes\n  got       12 bytes"),
    ];
    for (fault, kind, words) in faults {
        let file = scene.file.clone();
        let server = Server::new(move |request| fault(request, &file));
        let mut ear = Ear::default();
        let error = scene.fetch(&server.url("/x"), &mut ear).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(text(&error).contains(words), "{words}: {error}");
        assert!(error.to_string().contains(&server.url("/x")), "{error}");
        assert_eq!(server.requests().len(), 1, "{error}");
        assert!(ear.said.is_empty() && names(scene.dir.path()).is_empty(), "{error}");
    }
}

#[test]
fn tries_come_to_an_end() {
    let scene = Scene::new(3000);
    let server = Server::new(|_| Reply::of("503 x", &[], b"busy"));
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (Kind::Io, 6));
    assert!(
        text(&error).contains("503 Service Unavailable") && error.to_string().contains("tries"),
        "{error}"
    );
    assert!(names(scene.dir.path()).is_empty());
    // Nobody listens: the port of a server that is gone.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let error = scene.fetch(&format!("http://127.0.0.1:{port}/x"), &mut Ear::default()).unwrap_err();
    assert!(text(&error).contains("refused") && error.to_string().contains("VGG_FT_MIRROR"), "{error}");
}

/// One that has no ranges and breaks off now here, now there, gets no further.
#[test]
fn what_was_there_before_is_no_progress() {
    let scene = Scene::new(5_000_000);
    let file = scene.file.clone();
    let server = Server::new(move |request| {
        let lacking = if request.number % 2 == 0 { 4_000_000 } else { 1_500_000 };
        Reply::of("200 OK", &[], &file).cut(lacking)
    });
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
    assert!(error.to_string().contains("tries"), "{error}");
    // The second brought more than the first; then five more brought nothing.
    assert_eq!(server.requests().len(), 7);
}

#[test]
fn a_server_without_tls_is_no_server_without_trust() {
    let scene = Scene::new(3000);
    // It does not wait for a request that it would understand.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let error = scene.fetch(&url, &mut Ear::default()).unwrap_err();
    answering.join().unwrap();
    assert!(
        text(&error).contains("no https connection could be agreed") && !text(&error).contains("CERT"),
        "{error}"
    );
}

#[test]
fn a_folder_in_the_way_is_seen_before_anything_is_fetched() {
    let scene = Scene::new(3000);
    fs::create_dir(scene.dir.path().join(NAME)).unwrap();
    let server = Server::new(|_| Reply::of("200 OK", &[], b"x"));
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (Kind::Usage, 0), "{error}");
}

#[test]
fn no_byte_more_than_the_file_has_is_taken() {
    let scene = Scene::new(3000);
    let more = [&scene.file[..], b"!"].concat();
    let rules: [fn(&[u8]) -> Reply; 3] = [
        |more| Reply::new("200 OK", &["Transfer-Encoding: chunked"], &chunked(more, 700)),
        // Without a length: until the connection ends.
        |more| Reply::new("200 OK", &[], more),
        // An endless stream: the server goes on until nobody listens.
        |more| Reply::new("200 OK", &[], &more.repeat(1000)),
    ];
    for rule in rules {
        let more = more.clone();
        let server = Server::new(move |_| rule(&more));
        let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
        assert_eq!((error.kind(), server.requests().len()), (Kind::Weights, 1), "{error}");
        assert!(text(&error).contains("more than the file has"), "{error}");
        assert!(names(scene.dir.path()).is_empty());
    }
    // What is only known about must end somewhere, too.
    let rough = Scene { size: Size::About(2990), ..Scene::new(3000) };
    for (length, fits) in [(3000, true), (3030, false)] {
        let body = noise(length, 1);
        let server = Server::new(move |_| Reply::new("200 OK", &[], &body));
        let outcome = rough.fetch(&server.url("/x"), &mut Ear::default());
        assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
        if fits {
            fs::remove_file(rough.assert_whole(outcome).path).unwrap();
        }
    }
    // Much less is no other file, but one that was cut off.
    let file = rough.file.clone();
    let server = Server::new(move |request| {
        Reply::new("200 OK", &[], &file).cut(if request.number == 0 { 2000 } else { 0 })
    });
    let mut ear = Ear::default();
    rough.assert_whole(rough.fetch(&server.url("/x"), &mut ear));
    assert!(ear.text().contains("the connection ended after"), "{}", ear.text());
}

#[test]
fn a_length_need_not_be_told() {
    let scene = Scene::new(300_000);
    let rules: [fn(&[u8]) -> Reply; 2] = [
        |file| Reply::new("200 OK", &["Transfer-Encoding: chunked"], &chunked(file, 7001)),
        |file| Reply::new("200 OK", &[], file),
    ];
    for rule in rules {
        let file = scene.file.clone();
        // The first connection ends in the middle, which without a length looks like the end.
        let server = Server::new(move |request| match request.number {
            0 => rule(&file).cut(100_000),
            _ => good(request, &file, "\"1\""),
        });
        let mut ear = Ear::default();
        let fetched = scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
        let requests = server.requests();
        assert!(requests[1].from().unwrap() > 150_000, "{requests:?}");
        assert_eq!(requests[1].header("if-range"), None, "the first answer had no version");
        fs::remove_file(fetched.path).unwrap();
    }
}

#[test]
fn a_silent_server_is_left() {
    let scene = Scene::new(300_000);
    let rules: [fn(&[u8]) -> Reply; 4] = [
        |_| Reply::raw(b"").silent(),
        // Not silent, but without end: a header, and another, and another.
        |_| Reply::raw(b"HTTP/1.1 200 OK\r\n").dripping(),
        |file| Reply::of("200 OK", &["ETag: \"1\""], file).cut(file.len() + 5).silent(),
        |file| Reply::of("200 OK", &["ETag: \"1\""], file).cut(100_000).silent(),
    ];
    for (at, rule) in rules.into_iter().enumerate() {
        let file = scene.file.clone();
        let server =
            Server::new(
                move |request| if request.number == 0 { rule(&file) } else { good(request, &file, "\"1\"") },
            );
        let url = server.url("/x");
        let mut want = scene.want(&url);
        // On a slow machine a good answer may take longer than that: then there are more tries, not another outcome.
        want.net = Net { stall: Duration::from_millis(200), retries: 1000, ..want.net };
        let mut ear = Ear::default();
        let fetched = scene.assert_whole(fetch(&want, &mut ear));
        assert!(ear.text().contains("nothing came for 0.2 s"), "{at}: {}", ear.text());
        assert_eq!(server.requests()[1].from(), (at == 3).then_some(200_000));
        fs::remove_file(fetched.path).unwrap();
    }
}
