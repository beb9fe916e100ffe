//! One request and its answer, over ureq: HTTP/1.1, TLS by rustls with Mozilla's roots, proxies.
//!
//! In: an address and from which byte on. Out: the head of the answer, then its bytes. All of it happens on a thread of
//! its own, so that a stop is heard while a server is silent.

use super::net::Net;
use super::{Stop, Watch, shorten};
use crate::error::{Error, Result};
use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use ureq::http::{HeaderMap, header};

/// Redirections that are followed.
const REDIRECTS: u32 = 10;
/// Bytes handed over at a time, and how many such pieces may wait.
const PIECE: usize = 1 << 17;
const WAITING: usize = 4;
/// How often a stop is looked for while nothing comes.
const TICK: Duration = Duration::from_millis(50);

/// From which byte on, and of which version of the file.
pub(super) struct Rest {
    pub from: u64,
    /// A strong ETag or a date.
    pub version: Option<String>,
}

/// What stands before the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub status: u16,
    /// Content-Length.
    pub length: Option<u64>,
    /// Content-Range, word for word.
    pub range: Option<String>,
    /// A strong ETag.
    pub etag: Option<String>,
    pub modified: Option<String>,
    /// Content-Encoding, if the bytes are not the file's own.
    pub encoding: Option<String>,
    pub retry_after: Option<Duration>,
}

/// An answer whose bytes are on their way.
pub(super) struct Answer {
    pub head: Head,
    from: Receiver<Message>,
}

enum Message {
    Head(Box<Head>),
    Bytes(Vec<u8>),
    End,
    Failed(Stop),
}

/// Asks for `url`, or the rest of it.
pub(super) fn ask(net: &Net, url: &str, rest: Option<Rest>, watch: &mut dyn Watch) -> Result<Answer, Stop> {
    let agent = net.agent(url, REDIRECTS)?;
    let mut request = agent.get(url);
    if let Some(rest) = rest {
        request = request.header(header::RANGE, format!("bytes={}-", rest.from));
        if let Some(version) = rest.version {
            request = request.header(header::IF_RANGE, version);
        }
    }
    let (to, from) = sync_channel(WAITING);
    let net = net.clone();
    // Whoever no longer listens ends the thread at its next message, or when the server was silent for too long.
    std::thread::Builder::new()
        .name("fetch".into())
        .spawn(move || {
            if let Err(error) = speak(request, &to) {
                let _ = to.send(Message::Failed(net.explain(error)));
            }
        })
        .map_err(|e| Error::thread("that talks to the server", &e))?;
    match hear(&from, watch)? {
        Message::Head(head) => Ok(Answer { head: *head, from }),
        Message::Failed(stop) => Err(stop),
        Message::Bytes(_) | Message::End => Err(gone()),
    }
}

impl Answer {
    /// The next bytes; none at the end.
    pub fn next(&mut self, watch: &mut dyn Watch) -> Result<Option<Vec<u8>>, Stop> {
        match hear(&self.from, watch)? {
            Message::Bytes(bytes) => Ok(Some(bytes)),
            Message::End => Ok(None),
            Message::Failed(stop) => Err(stop),
            Message::Head(_) => Err(gone()),
        }
    }
}

fn hear(from: &Receiver<Message>, watch: &mut dyn Watch) -> Result<Message, Stop> {
    loop {
        watch.check()?;
        match from.recv_timeout(TICK) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
    }
}

/// The thread ended without a word: it panicked.
fn gone() -> Stop {
    Stop::Again("the transfer broke off inside this program".into(), None)
}

type Request = ureq::RequestBuilder<ureq::typestate::WithoutBody>;

fn speak(request: Request, to: &SyncSender<Message>) -> Result<(), ureq::Error> {
    let response = request.call()?;
    let head = Head::of(response.status().as_u16(), response.headers());
    if to.send(Message::Head(Box::new(head))).is_err() {
        return Ok(());
    }
    let mut body = response.into_body().into_reader();
    loop {
        let mut piece = vec![0; PIECE];
        let n = body.read(&mut piece)?;
        piece.truncate(n);
        let message = if n == 0 { Message::End } else { Message::Bytes(piece) };
        if to.send(message).is_err() || n == 0 {
            return Ok(());
        }
    }
}

impl Head {
    fn of(status: u16, headers: &HeaderMap) -> Self {
        // Each of these words is short; a server that has much to say is not listened to.
        let text = |name: header::HeaderName| {
            let value = headers.get(name)?.to_str().ok()?.trim();
            (value.len() <= 256 && !value.is_empty()).then(|| value.to_owned())
        };
        Self {
            status,
            length: text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok()),
            range: text(header::CONTENT_RANGE),
            etag: text(header::ETAG).filter(|tag| tag.starts_with('"')),
            modified: text(header::LAST_MODIFIED),
            encoding: text(header::CONTENT_ENCODING)
                .filter(|coding| !coding.eq_ignore_ascii_case("identity")),
            retry_after: text(header::RETRY_AFTER).and_then(|s| s.parse().ok()).map(Duration::from_secs),
        }
    }

    /// First and last byte and the whole length (if it is told) of "bytes 10-99/100".
    pub fn parse_range(&self) -> Option<(u64, u64, Option<u64>)> {
        let (place, whole) = self.range.as_deref()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = place.split_once('-')?;
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if is_plain { text.parse().ok() } else { None }
        };
        let whole = if whole == "*" { None } else { Some(number(whole)?) };
        Some((number(first)?, number(last)?, whole))
    }

    /// "503 Service Unavailable".
    pub fn status_line(&self) -> String {
        let known = ureq::http::StatusCode::from_u16(self.status).ok();
        let reason = known.and_then(|status| status.canonical_reason()).unwrap_or_default();
        shorten(format!("{} {reason}", self.status).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_to_the_letter() {
        let range = |text: &str| Head { range: Some(text.into()), ..Head::default() }.parse_range();
        assert_eq!(range("bytes 10-99/100"), Some((10, 99, Some(100))));
        assert_eq!(range("bytes 0-0/*"), Some((0, 0, None)));
        for wrong in [
            "",
            "bytes */100",
            "bytes 10-/100",
            "bytes +1-2/3",
            "items 1-2/3",
            "bytes 1-2",
            "bytes 1-99999999999999999999/*",
        ] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_headers_that_can_be_used_are_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::ETAG, "W/\"weak\""),
            (header::CONTENT_ENCODING, "Identity"),
            (header::CONTENT_LENGTH, "12x"),
            (header::RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers.insert(header::LAST_MODIFIED, "x".repeat(257).parse().unwrap());
        let head = Head::of(200, &headers);
        assert_eq!((head.etag, head.encoding, head.length, head.modified), (None, None, None, None));
        assert_eq!(head.retry_after, None);
    }
}
