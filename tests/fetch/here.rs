//! What is on this machine already, and where a file may go.

use super::server::{Server, good};
use super::{Ear, NAME, Scene, names, text};
use std::fs;
use std::path::Path;
use vgg_ft::error::Kind;
use vgg_ft::fetch::{Fetched, Origin, Place, Target, fetch};

/// An address where nothing is to be asked.
const NOWHERE: &str = "http://127.0.0.1:9/x";

fn place(dir: &Path, bytes: &[u8]) -> Place {
    let path = dir.join("theirs.h5");
    fs::write(&path, bytes).unwrap();
    Place { owner: "Keras' cache", path }
}

#[test]
fn what_another_program_has_is_used_where_it_lies() {
    let (scene, theirs) = (Scene::new(3000), tempfile::tempdir().unwrap());
    let place = place(theirs.path(), &scene.file);
    let mut want = scene.want(NOWHERE);
    want.places = vec![Place { owner: "nobody", path: "/none/x".into() }, place.clone()];
    let mut ear = Ear::default();
    let fetched = fetch(&want, &mut ear).unwrap();
    let path = place.path.clone();
    let digest = scene.sha256.clone();
    assert_eq!(fetched, Fetched { path, bytes: 3000, digest, origin: Origin::Used(place) });
    assert_eq!(ear.begun, [("checking x".into(), Some(3000))]);
    assert!(names(scene.dir.path()).is_empty() && ear.said.is_empty());
}

#[test]
fn to_a_path_it_is_copied() {
    let (scene, theirs) = (Scene::new(3000), tempfile::tempdir().unwrap());
    let place = place(theirs.path(), &scene.file);
    let mut want = scene.want(NOWHERE);
    want.places = vec![place.clone()];
    want.target = Target::File { path: scene.dir.path().join(NAME), force: false };
    let fetched = scene.assert_whole(fetch(&want, &mut Ear::default()));
    assert_eq!(fetched.origin, Origin::Copied(place));
}

#[test]
fn what_is_wrong_is_said_and_passed_over() {
    let (scene, theirs) = (Scene::new(3000), tempfile::tempdir().unwrap());
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let url = server.url("/x");
    let mut damaged = scene.file.clone();
    damaged[1000] ^= 1;
    for (bytes, why) in
        [(&scene.file[..2999], "it has 2999 bytes instead of 3000"), (&damaged, "3.0 kB with sha256")]
    {
        let mut want = scene.want(&url);
        want.places = vec![place(theirs.path(), bytes)];
        let mut ear = Ear::default();
        fs::remove_file(scene.assert_whole(fetch(&want, &mut ear)).path).unwrap();
        assert!(
            ear.text().contains("theirs.h5 in Keras' cache") && ear.text().contains(why),
            "{}",
            ear.text()
        );
        assert!(fs::read(&want.places[0].path).unwrap() == bytes, "what is theirs stays as it is");
    }
    // In our own cache it is replaced.
    fs::write(scene.dir.path().join(NAME), &damaged).unwrap();
    let mut ear = Ear::default();
    scene.assert_whole(scene.fetch(&url, &mut ear));
    assert!(ear.text().contains("it is replaced"), "{}", ear.text());
}

#[test]
fn over_another_file_only_with_force() {
    let scene = Scene::new(3000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let url = server.url("/x");
    let path = scene.dir.path().join(NAME);
    fs::write(&path, b"mine").unwrap();
    let mut want = scene.want(&url);
    want.target = Target::File { path: path.clone(), force: false };
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(
        text(&error).contains("is there already, and is not x") && error.to_string().contains("--force"),
        "{error}"
    );
    assert_eq!((fs::read(&path).unwrap(), server.requests().len()), (b"mine".to_vec(), 0));
    want.target = Target::File { path: path.clone(), force: true };
    scene.assert_whole(fetch(&want, &mut Ear::default()));
    // The right one needs none.
    want.target = Target::File { path, force: false };
    let fetched = scene.assert_whole(fetch(&want, &mut Ear::default()));
    assert_eq!((fetched.origin, server.requests().len()), (Origin::There, 1));
}

#[test]
fn a_folder_of_ours_is_made_and_of_others_is_not() {
    let scene = Scene::new(3000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let url = server.url("/x");
    let mut want = scene.want(&url);
    let deep = scene.dir.path().join("a/b");
    want.target = Target::File { path: deep.join(NAME), force: false };
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert!(text(&error).contains("mkdir -p") && server.requests().is_empty(), "{error}");
    want.target = Target::Cache(deep.clone());
    assert_eq!(fetch(&want, &mut Ear::default()).unwrap().path, deep.join(NAME));
    // A file in the way.
    want.target = Target::Cache(deep.join(NAME).join("c"));
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert!(text(&error).contains("which is a file"), "{error}");
}

#[test]
fn offline_nothing_is_asked_and_the_way_out_is_told() {
    let scene = Scene::new(3000);
    let file = scene.file.clone();
    let server = Server::new(move |request| good(request, &file, "\"1\""));
    let url = server.url("/x");
    let (folder, theirs) = (scene.dir.path().join("weights"), tempfile::tempdir().unwrap());
    let mut want = scene.want(&url);
    want.offline = true;
    want.target = Target::Cache(folder.clone());
    want.places = vec![place(theirs.path(), b"another")];
    let error = fetch(&want, &mut Ear::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Weights);
    let text = text(&error);
    for words in [
        &*url,
        &scene.sha256,
        folder.join(NAME).to_str().unwrap(),
        &format!("{} (Keras' cache)", want.places[0].path.display()),
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(server.requests().is_empty() && !folder.exists());
    // With the file where it was told to be put, there is nothing to ask.
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(NAME), &scene.file).unwrap();
    assert_eq!(fetch(&want, &mut Ear::default()).unwrap().origin, Origin::There);
}
