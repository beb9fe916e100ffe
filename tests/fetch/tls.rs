//! https: certificates that are believed and not, and the way down to http. The keys in `tls/` are for these tests
//! alone; whoever has them can pretend to be 127.0.0.1 to whoever believes `tls/ca.pem`.

use super::server::{Reply, Server, Wire, good};
use super::{Ear, Scene, names, text};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vgg_ft::error::Kind;
use vgg_ft::fetch::{Proxies, fetch};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch/tls")
}

fn tls() -> impl Fn(TcpStream) -> Option<Box<dyn Wire>> + Send + Sync + 'static {
    let chain = vec![CertificateDer::from_pem_file(folder().join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder().join("server.key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let config = Arc::new(config.unwrap());
    move |socket| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
        // A client that does not believe us goes here.
        stream.conn.complete_io(&mut stream.sock).ok()?;
        Some(Box::new(stream))
    }
}

fn https(server: &Server) -> String {
    server.url("/x").replacen("http:", "https:", 1)
}

#[test]
fn a_certificate_that_is_believed_is_all_it_takes() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    let server = Server::over(tls(), move |request| match request.number {
        0 => good(request, &file, "\"1\"").cut(100_000),
        _ => good(request, &file, "\"1\""),
    });
    let url = https(&server);
    let mut want = scene.want(&url);
    want.net.roots = Some(folder().join("ca.pem"));
    let mut ear = Ear::default();
    scene.assert_whole(fetch(&want, &mut ear));
    assert_eq!(
        server.requests()[1].from(),
        Some(200_000),
        "a connection that was cut goes on: {}",
        ear.text()
    );
    // Through a proxy, too: to that the name is told, and nothing else.
    std::fs::remove_file(scene.dir.path().join(super::NAME)).unwrap();
    let proxy = Server::proxy(server.port());
    want.net.proxies =
        Proxies { https: Some(format!("http://127.0.0.1:{}", proxy.port())), ..Proxies::default() };
    scene.assert_whole(fetch(&want, &mut Ear::default()));
    assert_eq!(proxy.requests().len(), 1);
    assert_eq!(proxy.requests()[0].target, format!("127.0.0.1:{}", server.port()));
}

#[test]
fn a_certificate_that_is_not_believed_ends_it_at_once() {
    let scene = Scene::new(3000);
    let file = scene.file.clone();
    let server = Server::over(tls(), move |request| good(request, &file, "\"1\""));
    // By Mozilla's roots; and under another name than the certificate has.
    for (url, roots) in [
        (https(&server), None),
        (https(&server).replace("127.0.0.1", "localhost"), Some(folder().join("ca.pem"))),
    ] {
        let mut want = scene.want(&url);
        want.net.roots = roots;
        let mut ear = Ear::default();
        let error = fetch(&want, &mut ear).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(
            text(&error).contains("certificate") && error.to_string().contains("SSL_CERT_FILE"),
            "{error}"
        );
        assert!(
            ear.said.is_empty() && server.requests().is_empty(),
            "nothing is asked of a stranger: {}",
            ear.text()
        );
        assert!(names(scene.dir.path()).is_empty());
    }
}

#[test]
fn from_https_no_way_leads_down_to_http() {
    let scene = Scene::new(3000);
    let file = scene.file.clone();
    let plain = Server::new(move |request| good(request, &file, "\"1\""));
    let to = format!("Location: {}?token=secret", plain.url("/x"));
    let server = Server::over(tls(), move |_| Reply::of("302 Found", &[&to], b""));
    let url = https(&server);
    let mut want = scene.want(&url);
    want.net.roots = Some(folder().join("ca.pem"));
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert!(text(&error).contains("from https to http") && !error.to_string().contains("secret"), "{error}");
    assert!(plain.requests().is_empty());
    // The other way is free.
    let file = scene.file.clone();
    let safe = Server::over(tls(), move |request| good(request, &file, "\"1\""));
    let to = format!("Location: {}", https(&safe));
    let server = Server::new(move |_| Reply::of("301 Moved", &[&to], b""));
    let url = server.url("/x");
    let mut want = scene.want(&url);
    want.net.roots = Some(folder().join("ca.pem"));
    scene.assert_whole(fetch(&want, &mut Ear::default()));
}

#[test]
fn a_file_without_certificates_is_refused() {
    let scene = Scene::new(3000);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    let key = std::fs::read(folder().join("server.key.pem")).unwrap();
    for (bytes, words) in [
        (&b"nothing"[..], "holds no certificate"),
        (&key, "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "is not PEM"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let mut want = scene.want("https://127.0.0.1:9/x");
        want.net.roots = Some(file.clone());
        let error = fetch(&want, &mut Ear::default()).unwrap_err();
        assert!(text(&error).contains(words) && error.to_string().contains("roots.pem"), "{error}");
    }
    let mut want = scene.want("https://127.0.0.1:9/x");
    want.net.roots = Some(dir.path().join("none"));
    assert!(text(&fetch(&want, &mut Ear::default()).unwrap_err()).contains("none"));
}
