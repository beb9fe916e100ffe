//! By which way a file comes: redirections, proxies, mirrors.

use super::server::{Reply, Server, good};
use super::{Ear, NAME, Scene, names, text};
use vgg_ft::error::Kind;
use vgg_ft::fetch::{Origin, Proxies, fetch};

#[test]
fn redirections_are_followed_with_all_that_was_asked_for() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    let other = Server::new(move |request| match request.number {
        0 => good(request, &file, "\"1\"").cut(100_000),
        _ => good(request, &file, "\"1\""),
    });
    let to = [
        // As hubs do it: another host, with a ticket; a path alone; a path beside; a host alone.
        "/second".to_owned(),
        "third?ticket=secret".to_owned(),
        format!("//127.0.0.1:{}/fourth", other.port()),
    ];
    let server = Server::new(move |request| {
        let at =
            ["/first", "/second", "/third?ticket=secret"].iter().position(|path| *path == request.target);
        let status = ["301 a", "302 b", "307 c"][at.unwrap()];
        Reply::of(status, &[&format!("Location: {}", to[at.unwrap()])], b"elsewhere")
    });
    let fetched = scene.assert_whole(scene.fetch(&server.url("/first"), &mut Ear::default()));
    assert_eq!(
        fetched.origin,
        Origin::Url(server.url("/first")),
        "what was asked for is told, not the ticket"
    );
    assert_eq!(server.requests().len(), 6, "the rest is asked for from the start of the way");
    let last = other.requests().pop().unwrap();
    assert_eq!((last.from(), last.header("if-range")), (Some(200_000), Some("\"1\"")));
}

#[test]
fn redirections_end() {
    let scene = Scene::new(3000);
    let loops = Server::new(|request| {
        let to = if request.target == "/a" { "/b" } else { "/a" };
        Reply::of("302 x", &[&format!("Location: {to}")], b"")
    });
    let further =
        Server::new(|request| Reply::of("308 x", &[&format!("Location: {}x", request.target)], b""));
    for (server, path) in [(&loops, "/a"), (&further, "/x")] {
        let mut ear = Ear::default();
        let error = scene.fetch(&server.url(path), &mut ear).unwrap_err();
        assert!(text(&error).contains("from one address to the next"), "{error}");
        assert_eq!((error.kind(), server.requests().len()), (Kind::Io, 11));
        assert!(ear.said.is_empty() && names(scene.dir.path()).is_empty());
    }
    for nonsense in ["gopher://x/y", "http://", "\\\\"] {
        let server = Server::new(move |_| Reply::of("302 x", &[&format!("Location: {nonsense}")], b""));
        let mut want_less = scene.want("");
        want_less.net.retries = 0;
        let url = server.url("/x");
        want_less.entry.url = &url;
        let error = fetch(&want_less, &mut Ear::default()).unwrap_err();
        assert!(text(&error).contains("reason") && names(scene.dir.path()).is_empty(), "{nonsense}: {error}");
    }
}

#[test]
fn a_proxy_is_used_for_its_scheme_and_finds_the_host_itself() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let proxy = Server::proxy(server.port());
    // A name that nobody but the proxy can find.
    let url = "http://host.invalid/x";
    let mut want = scene.want(url);
    let through = format!("http://me:p%40ss@127.0.0.1:{}", proxy.port());
    want.net.proxies = Proxies { http: Some(through.clone()), ..Proxies::default() };
    let fetched = scene.assert_whole(fetch(&want, &mut Ear::default()));
    let requests = proxy.requests();
    assert_eq!((&*requests[0].method, &*requests[0].target), ("CONNECT", "host.invalid:80"));
    // me:p@ss
    assert_eq!(requests[0].header("proxy-authorization"), Some("Basic bWU6cEBzcw=="));
    assert_eq!(server.requests()[0].header("proxy-authorization"), None, "the server gets no password");
    std::fs::remove_file(fetched.path).unwrap();
    // Not for what is excepted, nor for another scheme.
    let url = server.url("/x");
    for proxies in [
        Proxies { http: Some(through.clone()), except: "x.org, 127.0.0.1".into(), https: None },
        Proxies { https: Some(through), ..Proxies::default() },
    ] {
        let mut want = scene.want(&url);
        want.net.proxies = proxies;
        std::fs::remove_file(scene.assert_whole(fetch(&want, &mut Ear::default())).path).unwrap();
    }
    assert_eq!((proxy.requests().len(), server.requests().len()), (1, 3));
}

#[test]
fn a_proxy_that_refuses_says_so_and_keeps_its_password() {
    let scene = Scene::new(3000);
    let proxy = Server::new(|_| Reply::of("407 Proxy Authentication Required", &[], b""));
    let mut want = scene.want("https://host.invalid/x");
    want.net.proxies =
        Proxies { https: Some(format!("http://me:secret@127.0.0.1:{}", proxy.port())), ..Proxies::default() };
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert!(text(&error).contains("407") && error.to_string().contains("HTTPS_PROXY"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(proxy.requests().len(), 1);
    for wrong in ["gopher://me:secret@x", "http://", "me:secret@:", "socks9://x"] {
        let mut want = scene.want("https://host.invalid/x");
        want.net.proxies = Proxies { https: Some(wrong.into()), ..Proxies::default() };
        let error = fetch(&want, &mut Ear::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{wrong}: {error}");
        assert!(text(&error).contains("proxy") && !error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_mirror_is_asked_for_the_files_name() {
    let scene = Scene::new(3000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let mut want = scene.want("https://host.invalid/somewhere/else.h5");
    want.mirror = Some(server.url("/vgg/"));
    let fetched = scene.assert_whole(fetch(&want, &mut Ear::default()));
    assert_eq!(server.requests()[0].target, format!("/vgg/{NAME}"));
    assert_eq!(fetched.origin, Origin::Url(server.url(&format!("/vgg/{NAME}"))));
}
