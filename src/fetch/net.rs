//! How the network is used: patience, proxies, certificates; and what its failures mean.
//!
//! In: the environment. Out: a configured agent, errors as sentences with a cure.

use super::{Stop, shorten};
use crate::error::{Error, Kind, Result};
use crate::files;
use std::path::PathBuf;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy, Timeout};

/// Patience, proxies and certificates.
#[derive(Clone, Debug)]
pub struct Net {
    /// For finding the host, and for the connection.
    pub connect: Duration,
    /// For one byte.
    pub stall: Duration,
    /// Tries after the first; a try that brought a megabyte begins the count again.
    pub retries: u32,
    /// Before the second try; twice as long before each one after it, up to half a minute.
    pub backoff: Duration,
    /// By the address' scheme.
    pub proxies: Proxies,
    /// Certificates (PEM) to believe instead of Mozilla's.
    pub roots: Option<PathBuf>,
}

/// Proxies: `http://name:password@host:port`, `https://…`, `socks5://…`.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// Hosts without: names (and what is below them), `*` for all, divided by commas.
    pub except: String,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            retries: 5,
            backoff: Duration::from_secs(1),
            proxies: Proxies::default(),
            roots: None,
        }
    }
}

impl Net {
    /// With the proxies of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, and the certificates of
    /// `SSL_CERT_FILE`.
    pub fn from_env() -> Self {
        // Both spellings are in use; set to nothing, a variable is not set.
        let variable = |name: &str| {
            let of = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
            of(name).or_else(|| of(&name.to_ascii_lowercase()))
        };
        let all = variable("ALL_PROXY");
        Self {
            proxies: Proxies {
                http: variable("HTTP_PROXY").or_else(|| all.clone()),
                https: variable("HTTPS_PROXY").or(all),
                except: variable("NO_PROXY").unwrap_or_default(),
            },
            roots: std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty()).map(PathBuf::from),
            ..Self::default()
        }
    }

    /// The wait before try number `tries` + 1.
    pub(super) fn pause(&self, tries: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << tries.saturating_sub(1).min(10));
        doubled.min(Duration::from_secs(30))
    }

    /// An agent for `url` that keeps no connection and decodes nothing.
    pub(super) fn agent(&self, url: &str, redirects: u32) -> Result<Agent> {
        let safe = is_safe(url);
        let proxy = if safe { &self.proxies.https } else { &self.proxies.http };
        let proxy = proxy.as_deref().map(|address| self.proxies.proxy(address)).transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Where a redirection leads must be as safe as where it began.
            .https_only(safe)
            .max_redirects(redirects)
            .proxy(proxy)
            .tls_config(TlsConfig::builder().root_certs(self.root_certs()?).build())
            .user_agent(concat!("vgg-ft/", env!("CARGO_PKG_VERSION")))
            // The checksum is that of the file, not of a packed one.
            .accept_encoding("identity")
            .timeout_resolve(Some(self.connect))
            .timeout_connect(Some(self.connect))
            .timeout_send_request(Some(self.stall))
            .timeout_recv_response(Some(self.stall))
            .timeout_per_read(Some(self.stall))
            .max_idle_connections(0)
            .build();
        Ok(config.new_agent())
    }

    fn root_certs(&self) -> Result<RootCerts> {
        let Some(path) = &self.roots else { return Ok(RootCerts::WebPki) };
        let name = path.display();
        let pem = files::read_regular(path).map_err(|e| {
            Error::io("read", path, &e)
                .help("SSL_CERT_FILE names the certificates to believe; unset it for Mozilla's")
        })?;
        let mut certificates: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(&pem) {
            match item {
                Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                Ok(_) => {}
                Err(e) => {
                    return Err(Error::new(Kind::Io, format!("{name} (SSL_CERT_FILE) is not PEM"))
                        .fact("reason", shorten(&e.to_string()))
                        .help("name a file of certificates, or unset the variable"));
                }
            }
        }
        if certificates.is_empty() {
            return Err(Error::new(Kind::Io, format!("{name} (SSL_CERT_FILE) holds no certificate"))
                .help("name a file of certificates in PEM, or unset the variable"));
        }
        Ok(RootCerts::new_with_certs(&certificates))
    }

    /// What a failure means, and whether another try may do.
    pub(super) fn explain(&self, error: ureq::Error) -> Stop {
        let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
        let never = |message: &str, reason: String, help: &str| {
            Stop::Never(Error::new(Kind::Io, message).fact("reason", shorten(&reason)).help(help))
        };
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Stop::Again(format!("no connection in {}", seconds(self.connect)), None)
            }
            ureq::Error::Timeout(_) => Stop::Again(format!("nothing came for {}", seconds(self.stall)), None),
            ureq::Error::HostNotFound => Stop::Again("the host was not found".into(), None),
            ureq::Error::TooManyRedirects => never(
                "the server sends us from one address to the next",
                "too many redirections".into(),
                "the address has moved or the mirror is set up wrong; try a browser",
            ),
            ureq::Error::RequireHttpsOnly(to) => never(
                "the server sends us from https to http",
                format!("redirected to {}", without_secrets(&to)),
                "that could be read and changed on its way, so it was not followed; try another network",
            ),
            ureq::Error::ConnectProxyFailed(reason) if reason.contains("responded 4") => never(
                "the proxy refuses the connection",
                reason,
                "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY name the proxy (http://name:password@host:port), NO_PROXY \
                 hosts that need none",
            ),
            error if is_of_tls(&error) && !error.to_string().contains("certificate") => never(
                "no https connection could be agreed with the server",
                error.to_string(),
                "check the address: a mirror without a certificate is http://; or a proxy on the way answers in its place",
            ),
            error if is_of_tls(&error) => never(
                "the server's certificate is not to be trusted",
                error.to_string(),
                "if a company proxy inspects https, set SSL_CERT_FILE to the company's certificates (PEM)",
            ),
            error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl) => never(
                "the address cannot be asked for",
                error.to_string(),
                "check VGG_FT_MIRROR and the proxy",
            ),
            error @ ureq::Error::LargeResponseHeader(..) => never(
                "the header of the server's answer is too large",
                error.to_string(),
                "is it the right one?",
            ),
            // Without ureq's "io: " before it.
            ureq::Error::Io(error) => Stop::Again(shorten(&error.to_string()), None),
            error => Stop::Again(shorten(&error.to_string()), None),
        }
    }
}

impl Proxies {
    fn proxy(&self, address: &str) -> Result<Proxy> {
        let wrong = || {
            Error::new(Kind::Usage, "the proxy's address cannot be read")
                .expected_got("http://name:password@host:port", without_secrets(address))
                .help("correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or unset it")
        };
        let proxy = Proxy::new(address.trim()).map_err(|_| wrong())?;
        if proxy.host().is_empty() {
            return Err(wrong());
        }
        let mut builder = Proxy::builder(proxy.protocol())
            .host(proxy.host())
            .port(proxy.port())
            .resolve_target(proxy.resolve_target());
        if let Some(name) = proxy.username() {
            builder = builder.username(name);
        }
        if let Some(password) = proxy.password() {
            builder = builder.password(password);
        }
        for host in self.except.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            builder = builder.no_proxy(host);
            // A name means what is below it, too, as curl has it.
            if !host.starts_with(['.', '*']) {
                builder = builder.no_proxy(&format!(".{host}"));
            }
        }
        builder.build().map_err(|_| wrong())
    }
}

/// Whether an address is read by nobody on the way.
pub(super) fn is_safe(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Whether the two sides could not agree to speak TLS: rustls says so itself, or inside an I/O error.
fn is_of_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::Io(e) => e.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// An address as it may be shown: without name and password, and without what follows a `?`.
pub(super) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    // A password may hold what would end a host.
    let rest = match rest.rsplit_once('@') {
        Some((before, after)) if before.contains(':') => after,
        _ => rest,
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    shorten(&format!("{scheme}{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let net = Net::default();
        let pauses = [1, 2, 5, 6, 7, 4_000_000].map(|tries| net.pause(tries).as_secs());
        assert_eq!(pauses, [1, 2, 16, 30, 30, 30]);
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("https://me:secret@host:1/a/b?token=x#y", "https://host:1/a/b"),
            ("me:p@ss@host:1", "host:1"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://me:pa#ss@proxy:1", "http://proxy:1"),
            ("http://me:se/cret@proxy", "http://proxy"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }

    #[test]
    fn hosts_are_excepted_with_what_is_below_them() {
        let proxies = Proxies { except: " example.org, .inner.net,, 10.* ".into(), ..Proxies::default() };
        let proxy = proxies.proxy("http://me:p%40ss@proxy:3128").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("p@ss")));
        for (host, excepted) in [
            ("example.org", true),
            ("a.example.org", true),
            ("anexample.org", false),
            ("a.inner.net", true),
            ("inner.net", false),
            ("10.0.0.1", true),
            ("example.com", false),
        ] {
            let uri = format!("https://{host}/x").parse().unwrap();
            assert_eq!(proxy.is_no_proxy(&uri), excepted, "{host}");
        }
        let error = proxies.proxy("gopher://me:secret@x").unwrap_err();
        assert!(error.kind() == Kind::Usage && !error.to_string().contains("secret"), "{error}");
    }
}
