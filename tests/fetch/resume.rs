//! Tries that go on where another ended, in the same process or an earlier one.

use super::server::{Reply, Request, Server, good};
use super::{Ear, NAME, Scene, names, noise, text};
use std::fs;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vgg_ft::error::Kind;
use vgg_ft::fetch::{Net, Origin, Size, Watch, fetch};

/// A scene whose first 200 000 bytes were fetched from `server` by a process that was stopped.
fn stopped(server: &Server, scene: &Scene) {
    let mut ear = Ear { stop_at: Some(100_000), ..Ear::default() };
    let error = scene.fetch(&server.url("/x"), &mut ear).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    let text = text(&error);
    assert!(text.contains("kB in") && text.contains("x.h5.vgg-ft.part"), "{text}");
    assert!(text.contains("help: the same command goes on from there"), "{text}");
    assert_eq!(names(scene.dir.path()), [format!("{NAME}.vgg-ft.part"), format!("{NAME}.vgg-ft.part.json")]);
    let part = fs::read(scene.part()).unwrap();
    assert!(part.len() >= 100_000 && part[..] == scene.file[..part.len()]);
    // How much came by then is chance; from here on it is not.
    fs::OpenOptions::new().write(true).open(scene.part()).unwrap().set_len(100_000).unwrap();
}

/// A server that first sends two thirds and is silent, so that a stop comes in the middle; then `rule`.
fn then(scene: &Scene, rule: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static) -> Server {
    let file = scene.file.clone();
    Server::new(move |request| match request.number {
        0 => good(request, &file, "\"1\"").cut(100_000).silent(),
        _ => rule(request, &file),
    })
}

#[test]
fn a_stopped_transfer_goes_on() {
    let scene = Scene::new(300_000);
    let server = then(&scene, |request, file| good(request, file, "\"1\""));
    stopped(&server, &scene);
    let mut ear = Ear::default();
    scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
    let last = server.requests().pop().unwrap();
    assert_eq!((last.from(), last.header("if-range")), (Some(100_000), Some("\"1\"")));
    let begun =
        [("checking what is there".into(), Some(100_000)), ("fetching the rest of x".into(), Some(200_000))];
    assert_eq!(ear.begun, begun);
    assert!(ear.said.is_empty(), "{}", ear.text());
}

#[test]
fn a_stop_is_heard_while_the_server_is_silent() {
    let scene = Scene::new(300_000);
    let server = Server::new(|_| Reply::raw(b"").silent());
    // Stops after some looks; by its patience the transfer would wait a minute.
    struct Impatient(usize);
    impl Watch for Impatient {
        fn check(&mut self) -> vgg_ft::error::Result<()> {
            self.0 += 1;
            let stop = || Err(vgg_ft::error::Error::new(Kind::Interrupted, "stopped by the user"));
            if self.0 > 10 { stop() } else { Ok(()) }
        }
    }
    let url = server.url("/x");
    let start = std::time::Instant::now();
    let error = fetch(&scene.want(&url), &mut Impatient(0)).unwrap_err();
    assert!(error.kind() == Kind::Interrupted && start.elapsed() < Duration::from_secs(50), "{error}");
    assert!(names(scene.dir.path()).is_empty(), "nothing came, nothing is kept");
}

#[test]
fn a_connection_that_ends_goes_on_in_the_same_process() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    // Every answer ends after a third of what is left.
    let server = Server::new(move |request| {
        let reply = good(request, &file, "\"1\"");
        let left = file.len() - request.from().unwrap_or(0);
        if request.number < 3 { reply.cut(left - left / 3) } else { reply }
    });
    let mut ear = Ear::default();
    scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
    let asked: Vec<_> = server.requests().iter().map(Request::from).collect();
    assert_eq!(asked, [None, Some(100_000), Some(166_666), Some(211_110)]);
    assert!(!ear.begun.iter().any(|(what, _)| what.starts_with("checking")), "the checksum goes on, too");
}

/// However often it breaks off: who gets on by a megabyte each time gets there.
#[test]
fn tries_that_get_on_are_not_counted() {
    let scene = Scene::new(5 << 20);
    let file = scene.file.clone();
    let server = Server::new(move |request| {
        let left = file.len() - request.from().unwrap_or(0);
        good(request, &file, "\"1\"").cut(left.saturating_sub((1 << 20) + 1))
    });
    let url = server.url("/x");
    let mut want = scene.want(&url);
    want.net.retries = 1;
    scene.assert_whole(fetch(&want, &mut Ear::default()));
    assert_eq!(server.requests().len(), 5);
}

/// Each answer to a request for the rest, and what becomes of it.
#[test]
fn an_answer_that_is_not_the_rest_is_told_from_one_that_is() {
    type Rule = fn(&Request, &[u8]) -> Reply;
    // Whether the whole was asked for again, and what was said.
    let rules: [(Rule, bool, &str); 10] = [
        // The file changed: If-Range makes it a whole answer.
        (|r, file| good(r, file, "\"2\""), false, "sends all of it, not the rest: 100.0 kB"),
        (|_, file| Reply::of("200 OK", &[], file), false, "sends all of it, not the rest"),
        // It changed, and the server did not compare.
        (
            |r, file| match r.from() {
                Some(from) => Reply::of(
                    "206 Part",
                    &["ETag: \"2\"", &format!("Content-Range: bytes {from}-299999/300000")],
                    &file[from..],
                ),
                None => good(r, file, "\"2\""),
            },
            true,
            "the file has changed on the server",
        ),
        (
            |r, file| lie(r, file, "bytes 99999-299999/300000", 99_999),
            true,
            "another part (bytes 99999-299999/300000)",
        ),
        (|r, file| lie(r, file, "bytes 100000-299999/300001", 100_000), true, "another part"),
        (|r, file| lie(r, file, "bytes 100000-200000/300000", 100_000), true, "another part"),
        (|r, file| lie(r, file, "bytes 100000-299999/300000", 0), true, "another part"),
        (|r, file| lie(r, file, "bytes 100000-18446744073709551615/*", 100_000), true, "another part"),
        (|r, file| lie(r, file, "", 100_000), true, "another part (no range)"),
        (
            |r, file| match r.from() {
                Some(_) => Reply::of("416 No", &[], b""),
                None => good(r, file, "\"1\""),
            },
            true,
            "nothing from byte 100000 on",
        ),
    ];
    for (rule, again, words) in rules {
        let scene = Scene::new(300_000);
        let server = then(&scene, rule);
        stopped(&server, &scene);
        let mut ear = Ear::default();
        scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
        assert!(ear.text().contains(words), "{words}: {}", ear.text());
        let asked: Vec<_> = server.requests().iter().map(Request::from).collect();
        let expected = [None, Some(100_000), None];
        assert_eq!(asked, expected[..if again { 3 } else { 2 }], "{words}");
    }
}

/// A 206 with this Content-Range and the file from `begin` on; a good answer where no range was asked for.
fn lie(request: &Request, file: &[u8], range: &str, begin: usize) -> Reply {
    let range = format!("Content-Range: {range}");
    let headers: &[&str] = if range.ends_with(' ') { &[] } else { &[&range] };
    match request.from() {
        Some(_) => Reply::of("206 Part", headers, &file[begin..]),
        None => good(request, file, "\"1\""),
    }
}

/// A server that lies whatever it is asked is given up, and what was kept is kept.
#[test]
fn a_server_that_only_lies_is_given_up() {
    let scene = Scene::new(300_000);
    let server = then(&scene, |_, file| Reply::of("206 Part", &["Content-Range: bytes 5-9/10"], &file[..5]));
    stopped(&server, &scene);
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
    assert!(text(&error).contains("206 Partial Content"), "{error}");
    assert!(error.to_string().contains("100.0 kB in"), "{error}");
    assert_eq!((fs::metadata(scene.part()).unwrap().len(), server.requests().len()), (100_000, 3));
}

/// A whole answer that came instead of the rest is gone on from like any other.
#[test]
fn a_new_beginning_is_gone_on_from() {
    let scene = Scene::new(300_000);
    let server = then(&scene, |request, file| match request.number {
        1 => Reply::of("416 No", &[], b""),
        2 => good(request, file, "\"2\"").cut(50_000),
        _ => good(request, file, "\"2\""),
    });
    stopped(&server, &scene);
    scene.assert_whole(scene.fetch(&server.url("/x"), &mut Ear::default()));
    let asked: Vec<_> = server.requests().iter().map(Request::from).collect();
    assert_eq!(asked, [None, Some(100_000), None, Some(250_000)]);
    assert_eq!(server.requests()[3].header("if-range"), Some("\"2\""));
}

/// Bytes that changed between two tries, on the disk or on a server without versions, show in the checksum: the file
/// is fetched whole, once.
#[test]
fn what_does_not_fit_together_is_fetched_anew() {
    // On the disk.
    let scene = Scene::new(300_000);
    let server = then(&scene, |request, file| good(request, file, "\"1\""));
    stopped(&server, &scene);
    let mut part = fs::read(scene.part()).unwrap();
    part[50_000] ^= 1;
    fs::write(scene.part(), part).unwrap();
    let mut ear = Ear::default();
    scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
    assert!(ear.text().contains("put together from several tries"), "{}", ear.text());
    assert_eq!(server.requests().iter().map(Request::from).collect::<Vec<_>>(), [None, Some(100_000), None]);
    // On the server, for good: the second whole file is as wrong as the first.
    let scene = Scene::new(300_000);
    let other = noise(300_000, 2);
    let server = then(&scene, move |request, _| good(request, &other, "\"1\""));
    stopped(&server, &scene);
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
    assert!(error.kind() == Kind::Weights && text(&error).contains("got"), "{error}");
    assert_eq!(server.requests().len(), 3);
    assert!(names(scene.dir.path()).is_empty());
}

/// Wrong bytes in pieces: they look mixed every time, and are still not fetched for ever.
#[test]
fn a_server_that_breaks_off_and_is_wrong_comes_to_an_end() {
    let scene = Scene::new(3 << 20);
    let other = noise(3 << 20, 2);
    let server = Server::new(move |request| match request.from() {
        None => good(request, &other, "\"1\"").cut(3 << 19),
        Some(_) => good(request, &other, "\"1\""),
    });
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err();
    assert!(error.kind() == Kind::Weights && text(&error).contains("got"), "{error}");
    let asked: Vec<_> = server.requests().iter().map(|request| request.from().is_some()).collect();
    assert_eq!(asked, [false, true, false, true]);
    assert!(names(scene.dir.path()).is_empty());
}

#[test]
fn a_part_may_be_whole_or_too_long_or_of_another_address() {
    // Whole: the process ended before it could give the file its name.
    for size in [Size::Exactly(300_000), Size::About(300_001)] {
        let scene = Scene { size, ..Scene::new(300_000) };
        let server = then(&scene, |_, _| Reply::of("500 x", &[], b""));
        stopped(&server, &scene);
        fs::write(scene.part(), &scene.file).unwrap();
        scene.assert_whole(scene.fetch(&server.url("/x"), &mut Ear::default()));
        assert_eq!(server.requests().len(), 1, "there was nothing to ask for");
    }
    // Too long.
    let scene = Scene::new(300_000);
    let server = then(&scene, |request, file| good(request, file, "\"1\""));
    stopped(&server, &scene);
    fs::write(scene.part(), [&scene.file[..], b"!"].concat()).unwrap();
    let mut ear = Ear::default();
    scene.assert_whole(scene.fetch(&server.url("/x"), &mut ear));
    assert!(ear.text().contains("longer than the file"), "{}", ear.text());
    assert_eq!(server.requests()[1].from(), None);
    // Of another address, a mirror's: its versions have other names there, and the checksum tells.
    let scene = Scene::new(300_000);
    let server = then(&scene, |request, file| good(request, file, "\"elsewhere\""));
    stopped(&server, &scene);
    let mut ear = Ear::default();
    scene.assert_whole(scene.fetch(&server.url("/mirror/x"), &mut ear));
    let last = server.requests().pop().unwrap();
    assert_eq!((last.from(), last.header("if-range")), (Some(100_000), None));
    // Of nobody knows what.
    let scene = Scene::new(300_000);
    let server = then(&scene, |request, file| good(request, file, "\"1\""));
    stopped(&server, &scene);
    fs::remove_file(scene.dir.path().join(format!("{NAME}.vgg-ft.part.json"))).unwrap();
    let error = scene.fetch(&server.url("/x"), &mut Ear::default()).unwrap_err().to_string();
    assert!(error.contains("may not be vgg-ft's"), "{error}");
    assert_eq!((server.requests().len(), fs::metadata(scene.part()).unwrap().len()), (1, 100_000));
}

#[test]
fn a_date_is_a_version_and_a_weak_tag_is_none() {
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    for (headers, version) in [
        (vec!["ETag: W/\"1\"", "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"], Some(date)),
        (vec!["ETag: W/\"1\""], None),
    ] {
        let scene = Scene::new(300_000);
        let file = scene.file.clone();
        let server = Server::new(move |request| match request.number {
            0 => Reply::of("200 OK", &headers, &file).cut(100_000),
            _ => good(request, &file, request.header("if-range").unwrap_or("\"1\"")),
        });
        scene.assert_whole(scene.fetch(&server.url("/x"), &mut Ear::default()));
        assert_eq!(server.requests()[1].header("if-range"), version);
    }
}

#[test]
fn of_two_at_once_one_fetches_and_the_other_waits() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    // The answer comes once the second has said that it waits.
    let (said, heard) = channel();
    let heard = Mutex::new(heard);
    let server = Arc::new(Server::new(move |request| {
        heard.lock().unwrap().recv().unwrap();
        good(request, &file, "\"1\"")
    }));
    let url = server.url("/x");
    struct Telling(std::sync::mpsc::Sender<()>);
    impl Watch for Telling {
        fn say(&mut self, remark: &str) {
            assert!(remark.starts_with("another process is fetching"), "{remark}");
            self.0.send(()).unwrap();
        }
    }
    let origins = std::thread::scope(|scope| {
        let both = [said.clone(), said].map(|said| {
            let (scene, url) = (&scene, &url);
            scope.spawn(move || {
                let mut want = scene.want(url);
                // A second request would find the server waiting for ever.
                want.net.retries = 0;
                fetch(&want, &mut Telling(said)).unwrap().origin
            })
        });
        both.map(|thread| thread.join().unwrap())
    });
    assert!(origins.contains(&Origin::There) && origins.contains(&Origin::Url(url.clone())), "{origins:?}");
    assert_eq!(server.requests().len(), 1);
    scene.assert_whole(scene.fetch(&url, &mut Ear::default()));
}

#[test]
fn a_long_wait_is_the_servers_to_ask_for_and_ours_to_stop() {
    let scene = Scene::new(3000);
    let server = Server::new(|_| Reply::of("503 x", &["Retry-After: 86400"], b""));
    struct Stopping(String, bool);
    impl Watch for Stopping {
        fn say(&mut self, remark: &str) {
            self.0 = remark.to_owned();
            self.1 = true;
        }
        fn check(&mut self) -> vgg_ft::error::Result<()> {
            let stop = || Err(vgg_ft::error::Error::new(Kind::Interrupted, "stopped by the user"));
            if self.1 { stop() } else { Ok(()) }
        }
    }
    let (url, mut watch) = (server.url("/x"), Stopping(String::new(), false));
    let error = fetch(&scene.want(&url), &mut watch).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(watch.0.contains("again in 120 s"), "{}", watch.0);
}

/// A small file system of its own; `None` where we may not mount one.
#[cfg(target_os = "linux")]
struct Disk(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Disk {
    fn new(at: &std::path::Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=200k", "tmpfs"])
            .arg(at)
            .output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).output();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_clear_message_and_keeps_what_fits() {
    let scene = Scene::new(300_000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let url = server.url("/x");
    let Some(disk) = Disk::new(&scene.dir.path().join("small")) else {
        skipped!("no file system may be mounted here, so none can be full");
        return;
    };
    let mut want = scene.want(&url);
    want.target = vgg_ft::fetch::Target::Cache(disk.0.clone());
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (Kind::Io, 1), "{error}");
    let text = text(&error);
    assert!(text.contains("x.h5.vgg-ft.part") && text.contains("help: free some space"), "{text}");
    let kept = fs::metadata(disk.0.join("x.h5.vgg-ft.part")).unwrap().len();
    assert!(kept > 0 && text.contains(&format!("{:.1} kB in", kept as f64 / 1e3)), "{text}");
    let status = std::process::Command::new("mount").args(["-o", "remount,size=1m"]).arg(&disk.0).status();
    assert!(status.unwrap().success());
    fetch(&want, &mut Ear::default()).unwrap();
    assert_eq!(server.requests()[1].from(), Some(kept as usize));
    assert!(fs::read(disk.0.join(NAME)).unwrap() == scene.file);
}

#[test]
fn patience_is_as_documented() {
    let net = Net::default();
    assert_eq!((net.connect.as_secs(), net.stall.as_secs(), net.retries), (30, 60, 5));
}
