//! A server of HTTP/1.1 that does what it is told, right or wrong: one answer, one connection.
//!
//! In: a rule that makes an answer of a request. Out: an address, and the requests as they came.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its place among all requests, from 0.
    pub number: usize,
    /// "GET", "CONNECT".
    pub method: String,
    /// "/file", or "host:port".
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first byte asked for.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is sent, and what comes after.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

/// What comes after the bytes.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The end of the connection.
    End,
    /// Nothing, until the other side goes.
    Silence,
    /// A header after the other, slowly, until the other side goes.
    Drip,
}

impl Reply {
    /// These bytes, whatever they are.
    pub fn raw(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), then: Then::End }
    }

    /// A head of these lines, then these bytes.
    pub fn new(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        headers.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
        Self::raw(&[head.as_bytes(), b"\r\n", body].concat())
    }

    /// With the length of the body, as most servers send it.
    pub fn of(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let length = format!("Content-Length: {}", body.len());
        Self::new(status, &[headers, &[&length]].concat(), body)
    }

    /// Without the last `n` bytes.
    pub fn cut(mut self, n: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - n);
        self
    }

    /// Silence instead of an end.
    pub fn silent(mut self) -> Self {
        self.then = Then::Silence;
        self
    }

    /// Headers without end.
    pub fn dripping(mut self) -> Self {
        self.then = Then::Drip;
        self
    }
}

/// A well-behaved server of one file: lengths, ranges, an ETag that `If-Range` is compared with.
pub fn good(request: &Request, file: &[u8], etag: &str) -> Reply {
    let tag = format!("ETag: {etag}");
    let same = request.header("if-range").is_none_or(|version| version == etag);
    match request.from().filter(|_| same) {
        Some(from) if from < file.len() => {
            let range = format!("Content-Range: bytes {from}-{}/{}", file.len() - 1, file.len());
            Reply::of("206 Partial Content", &[&tag, &range], &file[from..])
        }
        Some(_) => {
            Reply::of("416 Range Not Satisfiable", &[&format!("Content-Range: bytes */{}", file.len())], b"")
        }
        None => Reply::of("200 OK", &[&tag, "Accept-Ranges: bytes"], file),
    }
}

/// A body in chunks of at most `size` bytes, with its end.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// A server that listens until the test's process ends.
pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A connection in both directions: a socket, or TLS on one.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Server {
    /// Answers every request by `rule`.
    pub fn new(rule: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::over(|socket| Some(Box::new(socket)), rule)
    }

    /// The same on what `wrap` makes of a socket.
    pub fn over(
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Wire>> + Send + Sync + 'static,
        rule: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (wrap, rule) = (Arc::new(wrap), Arc::new(rule));
        Self::each(move |socket, note| {
            let Some(mut wire) = wrap(socket) else { return };
            let Some(request) = read_head(&mut *wire).and_then(|head| note(&head)) else { return };
            let reply = rule(&request);
            // A client that goes away has its reasons.
            let _ = wire.write_all(&reply.bytes).and_then(|()| wire.flush());
            match reply.then {
                Then::End => {}
                Then::Silence => {
                    let _ = wire.read(&mut [0]);
                }
                Then::Drip => {
                    while wire.write_all(b"X-More: x\r\n").and_then(|()| wire.flush()).is_ok() {
                        std::thread::sleep(std::time::Duration::from_millis(10));
                    }
                }
            }
        })
    }

    /// A proxy for `CONNECT`: whatever host was asked for, it is the server at `port`.
    pub fn proxy(to: u16) -> Self {
        Self::each(move |mut socket, note| {
            let Some(request) = read_head(&mut socket).and_then(|head| note(&head)) else { return };
            if request.method != "CONNECT" {
                let _ = socket.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n");
                return;
            }
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let mut there = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut up_from, mut up_to) = (socket.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            let _ = std::io::copy(&mut there, &mut socket);
            let _ = socket.shutdown(std::net::Shutdown::Both);
        })
    }

    fn each(serve: impl Fn(TcpStream, &dyn Fn(&str) -> Option<Request>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, serve) = (requests.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, seen, serve) = (socket.unwrap(), seen.clone(), serve.clone());
                std::thread::spawn(move || {
                    let note = |head: &str| {
                        let mut seen = seen.lock().unwrap();
                        let request = parse(seen.len(), head)?;
                        seen.push(request.clone());
                        Some(request)
                    };
                    serve(socket, &note);
                });
            }
        });
        Self { port, requests }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Up to the empty line.
fn read_head(wire: &mut dyn Wire) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if wire.read(&mut byte).ok()? == 0 || head.len() > 10_000 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn parse(number: usize, head: &str) -> Option<Request> {
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Request { number, method, target, headers })
}
