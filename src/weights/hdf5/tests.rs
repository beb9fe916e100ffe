//! Attributes in every form; and files that were made to cost time or memory.

use super::*;
use crate::error::Result;
use crate::weights::contents::Place;
use hdf5_pure::FileBuilder;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights/keras").join(name)).unwrap()
}

fn look<T: Send>(bytes: &[u8], look: impl FnOnce(&Folder<'_>) -> Result<T> + Send) -> Result<T> {
    open(Path::new("x.h5"), bytes, 0..bytes.len(), look)
}

/// What reading says, and that it says it soon: the guards count reads, and allow for a second of them.
fn refusal<T: Send>(bytes: &[u8], asked: impl FnOnce(&Folder<'_>) -> Result<T> + Send) -> String {
    let start = Instant::now();
    let text = look(bytes, asked).map(|_| ()).unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(30), "{text}");
    text
}

#[test]
fn text_is_read_in_every_form() {
    look(&golden("strings.h5"), |root| {
        let all = root.attributes()?;
        let both = Some(vec!["kernel".to_owned(), "für".to_owned()]);
        let ascii = Some(vec!["kernel".to_owned(), "fur".to_owned()]);
        for name in ["vlen_utf8", "nullterm_utf8", "nullpad_utf8", "spacepad_utf8"] {
            assert_eq!(all.texts(name)?, both, "{name}");
        }
        for name in ["vlen_ascii", "numpy", "nullterm_ascii", "nullpad_ascii", "spacepad_ascii"] {
            assert_eq!(all.texts(name)?, ascii, "{name}");
        }
        for name in ["vlen_scalar", "fixed_scalar", "one"] {
            assert_eq!(all.texts(name)?, Some(vec!["kernel".to_owned()]), "{name}");
            assert_eq!(all.text(name), Some("kernel"), "{name}");
        }
        for name in ["empty", "empty_vlen", "null"] {
            assert_eq!(all.texts(name)?, Some(Vec::new()), "{name}");
            assert_eq!(all.text(name), None, "{name}");
        }
        assert_eq!(all.texts("absent")?, None);
        assert!(all.has("one") && !all.has("on"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn numbers_where_texts_should_be_are_refused() {
    let mut file = FileBuilder::new();
    file.set_attr("layer_names", hdf5_pure::AttrValue::I64(3));
    let bytes = file.finish().unwrap();
    let text = refusal(&bytes, |root| root.attributes()?.texts("layer_names"));
    assert!(text.starts_with("the attribute `layer_names` of the root in x.h5 cannot be read"), "{text}");
}

/// A file of HDF5's oldest format, which has no checksums: at 96 the root's header, at 112 its `messages`, each
/// eight bytes and its own; then `more`.
fn raw(messages: &[(u16, Vec<u8>)], more: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, data) in messages {
        let size = data.len().next_multiple_of(8);
        body.extend(kind.to_le_bytes());
        body.extend((size as u16).to_le_bytes());
        body.extend([0; 4]);
        body.extend(data);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut out = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0".to_vec();
    out.extend(
        [0, u64::MAX, (112 + body.len() + more.len()) as u64, u64::MAX].map(u64::to_le_bytes).concat(),
    );
    out.extend([0u64, 96, 0, 0, 0].map(u64::to_le_bytes).concat());
    out.extend([1, 0, messages.len() as u8, 0, 1, 0, 0, 0]);
    out.extend((body.len() as u64).to_le_bytes());
    out.extend(body);
    out.extend(more);
    out
}

/// An attribute of one value, or a list of `count`.
fn attribute(name: &str, datatype: &[u8], count: Option<u64>, data: &[u8]) -> (u16, Vec<u8>) {
    let space = match count {
        Some(count) => [[1, 1, 0, 0, 0, 0, 0, 0], count.to_le_bytes()].concat(),
        None => vec![1, 0, 0, 0, 0, 0, 0, 0],
    };
    let mut out = vec![1, 0];
    for size in [name.len() + 1, datatype.len(), space.len()] {
        out.extend((size as u16).to_le_bytes());
    }
    for field in [format!("{name}\0").as_bytes(), datatype, &space, data] {
        out.extend(field);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    (0x0c, out)
}

/// The deepest type that a message can hold. A thread's usual 2 MB of stack are not enough for it, and a
/// stack that overflows ends the process.
#[test]
fn types_of_eight_thousand_levels_do_no_harm() {
    let group = (0x11, [u64::MAX; 2].map(u64::to_le_bytes).concat());
    let list = [0x19, 0, 0, 0, 16, 0, 0, 0].repeat(8100);
    let number = [0x10, 0, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0];
    let lists = attribute("layer_names", &[&list[..], &number].concat(), None, &[0; 16]);
    let text = refusal(&raw(&[group.clone(), lists], b""), |root| root.attributes()?.texts("layer_names"));
    assert!(text.contains("something that cannot be decoded"), "{text}");
    // Each an array of one.
    let array = [0x3a, 0, 0, 0, 4, 0, 0, 0, 1, 1, 0, 0, 0].repeat(4900);
    let arrays = attribute("layer_names", &[&array[..], &number].concat(), None, &[0; 4]);
    let text = refusal(&raw(&[group, arrays], b""), |root| root.attributes()?.texts("layer_names"));
    assert!(text.contains("something that cannot be decoded"), "{text}");
}

/// A tree of 60 levels, at `at` in its file. All `branches` of a node are the one node below it, so that there
/// are `branches` to the 60 ways down; the last has nothing in it. Keys have `key` bytes.
fn tree(at: u64, kind: u8, branches: u16, key: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for level in (0..60u8).rev() {
        let branches = if level == 0 { 0 } else { branches };
        let size = 24 + usize::from(branches) * (key + 8) + key;
        let next = at + (out.len() + size) as u64;
        out.extend([b"TREE", &[kind, level][..]].concat());
        out.extend(branches.to_le_bytes());
        out.extend([0xff; 16]);
        for _ in 0..branches {
            out.extend(vec![0; key]);
            out.extend(next.to_le_bytes());
        }
        out.extend(vec![0; key]);
    }
    out
}

#[test]
fn groups_whose_tree_has_too_many_ways_are_left() {
    for branches in [1, 2, 1000] {
        let at = 112 + 8 + 16;
        let mut more = tree(at, 0, branches, 8);
        let heap = at + more.len() as u64;
        more.extend(b"HEAP\0\0\0\0");
        more.extend([8, u64::MAX, heap + 32, 0].map(u64::to_le_bytes).concat());
        let bytes = raw(&[(0x11, [at, heap].map(u64::to_le_bytes).concat())], &more);
        if branches == 1 {
            assert!(look(&bytes, |root| Ok(root.groups()?.is_empty())).unwrap());
        } else {
            let text = refusal(&bytes, |root| root.groups().map(|_| ()));
            assert!(text.starts_with("x.h5 leads in circles"), "{branches}: {text}");
        }
    }
}

#[test]
fn arrays_whose_chunks_have_too_many_ways_are_left() {
    let mut bytes = golden("storage.h5");
    let nodes: Vec<usize> =
        (0..bytes.len() - 8).filter(|&at| bytes[at..].starts_with(b"TREE\x01\0")).collect();
    assert!(nodes.len() > 4);
    let end = bytes.len() as u64;
    // Keys have the size of a chunk, its filters, and a place on each of four axes and in the type.
    bytes.extend(tree(end, 1, 2, 48));
    for node in nodes {
        bytes[node + 5] = 1;
        for entry in 0..usize::from(bytes[node + 6]) {
            let at = node + 24 + entry * 56 + 48;
            bytes[at..at + 8].copy_from_slice(&end.to_le_bytes());
        }
    }
    for name in ["packed", "chunked", "growing", "summed"] {
        let text = refusal(&bytes, |root| root.array(&format!("{name}/{name}/kernel:0")));
        assert!(text.contains("leads in circles"), "{text}");
    }
}

/// Groups that are in each other.
#[test]
fn walks_that_never_end_are_ended() {
    let text = refusal(&golden("links.h5"), |root| {
        let mut here: VecDeque<Folder<'_>> = root.group("layers/a")?.into_iter().collect();
        while let Some(folder) = here.pop_front() {
            here.extend(folder.groups()?.into_iter().map(|(_, inside)| inside));
        }
        Ok(())
    });
    assert!(text.contains("leads in circles"), "{text}");
}

/// One text of 200 kB, named 2,000 times: 400 MB.
#[test]
fn texts_that_share_their_bytes_are_bounded() {
    let texts = |count: u64| {
        let kind = [0x19, 1, 0, 0, 16, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0];
        let heap = 112 + 8 + 8 + 16 + 24 + 16 + 16 * count;
        let mut text = 200_000u32.to_le_bytes().to_vec();
        text.extend(heap.to_le_bytes());
        text.extend(1u32.to_le_bytes());
        let attribute = attribute("layer_names", &kind, Some(count), &text.repeat(count as usize));
        let mut collection = b"GCOL\x01\0\0\0".to_vec();
        collection.extend((16 + 16 + 200_000 + 16u64).to_le_bytes());
        collection.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        collection.extend(200_000u64.to_le_bytes());
        collection.extend([b'x'; 200_000]);
        collection.extend([0; 16]);
        raw(&[attribute], &collection)
    };
    let list = look(&texts(3), |root| root.attributes()?.texts("layer_names")).unwrap().unwrap();
    assert_eq!(list, vec!["x".repeat(200_000); 3]);
    let text = refusal(&texts(2000), |root| root.attributes()?.texts("layer_names"));
    assert!(text.contains("leads in circles, or to far more than a model has"), "{text}");
}

#[test]
fn arrays_cannot_unfold_to_more_than_the_file_can_hold() {
    let zeros = vec![0f32; 1 << 20];
    let mut file = FileBuilder::new();
    file.create_dataset("zeros")
        .with_f32_data(&zeros)
        .with_shape(&[1 << 20])
        .with_chunks(&[1 << 18])
        .with_deflate(9);
    let bytes = file.finish().unwrap();
    assert!(bytes.len() < 10_000, "{}", bytes.len());
    let array = look(&bytes, |root| root.array("zeros")).unwrap().unwrap();
    assert_eq!(array.place, Place::Decoded(vec![0; 4 << 20]));

    // The same bytes again and again: by links, or by arrays that take another's bytes for their own. Packed or
    // not, big-endian or not.
    let storage = golden("storage.h5");
    for (bytes, name) in [
        (&bytes, "zeros"),
        (&storage, "chunked/chunked/kernel:0"),
        (&storage, "big/big/kernel:0"),
        (&storage, "compact/compact/kernel:0"),
    ] {
        let text = refusal(bytes, |root| (0..1000).try_for_each(|_| root.array(name).map(|_| ())));
        let expected = format!("the array `{name}` in x.h5 unfolds to more than the file can hold");
        assert!(text.starts_with(&expected), "{text}");
    }

    // The last axis of every array in the file, longer than its chunks; up to numbers that overflow.
    let bytes = golden("storage.h5");
    let shape = [3u64, 3, 3, 5].map(u64::to_le_bytes).concat();
    let places: Vec<usize> = (0..bytes.len() - 32).filter(|&at| bytes[at..].starts_with(&shape)).collect();
    assert!(places.len() > 12);
    for claim in [7, 1 << 20, 1 << 40, u64::MAX] {
        let mut larger = bytes.clone();
        for &at in &places {
            larger[at + 24..at + 32].copy_from_slice(&claim.to_le_bytes());
        }
        for name in ["plain", "compact", "big", "chunked", "packed", "lzf", "summed", "growing"] {
            let text = refusal(&larger, |root| root.array(&format!("{name}/{name}/kernel:0")));
            assert!(
                text.starts_with(&format!("the array `{name}/{name}/kernel:0` in x.h5 ")),
                "{claim}: {text}"
            );
        }
    }
}

/// 4 MB of packed zeros are 4 GB: what `Weights::open` refuses is not decoded first.
#[test]
fn no_more_is_decoded_than_a_file_may_claim() {
    let spent = |length: usize, decoded: u64| match array::Decodable::of(length).spend(0, decoded) {
        Ok(()) => String::new(),
        Err(array::Wrong::Said { what, expected, .. }) => format!("{what}: {expected}"),
        Err(array::Wrong::Library(error)) => error.to_string(),
    };
    assert_eq!(spent(4 << 20, 1 << 30), "");
    let limit =
        "unfolds to more than the file can hold: at most 1073741824 bytes in all, 1073741824 of them left";
    assert_eq!(spent(4 << 20, (1 << 30) + 1), limit);
    // VGG16 in f64 is more, and its file larger.
    assert_eq!(spent(500 << 20, 1_100_000_000), "");
    // Less where not even deflate can do it.
    assert!(spent(1000, 1_032_001).contains("at most 1032000 bytes"));
}

/// A chunk of 500 bytes that is said to unfold to 28 MB, then to 113 MB: 1,032 times the file are 76 MB.
#[test]
fn chunks_cannot_unfold_to_more_than_deflate_can() {
    let patch = |bytes: &mut [u8], of: &[u8], at: usize, with: &[u8]| {
        let places: Vec<usize> =
            (0..bytes.len() - of.len()).filter(|&place| bytes[place..].starts_with(of)).collect();
        assert!(!places.is_empty());
        for place in places {
            bytes[place + at..][..with.len()].copy_from_slice(with);
        }
    };
    for (bits, expected) in [(18, "has an impossible chunk"), (20, "unfolds to more than the file can hold")]
    {
        let mut bytes = golden("storage.h5");
        patch(&mut bytes, &[3u64, 3, 3, 5].map(u64::to_le_bytes).concat(), 24, &(1u64 << bits).to_le_bytes());
        patch(
            &mut bytes,
            &[3u32, 3, 3, 5, 4].map(u32::to_le_bytes).concat(),
            12,
            &(1u32 << bits).to_le_bytes(),
        );
        for name in ["packed_big", "summed"] {
            let text = refusal(&bytes, |root| root.array(&format!("{name}/{name}/kernel:0")));
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[test]
fn a_file_within_a_file_is_placed_in_the_outer_one() {
    let inner = golden("flat_weights.h5");
    let place =
        |bytes: &[u8], within| open(Path::new("x"), bytes, within, |root| root.array("fc1/fc1/kernel"));
    let alone = place(&inner, 0..inner.len()).unwrap();
    let outer = [&[7; 1001][..], &inner, &[9; 77]].concat();
    let inside = place(&outer, 1001..1001 + inner.len()).unwrap();
    let (Some(alone), Some(inside)) = (alone, inside) else { panic!("no array") };
    let (Place::Here(alone), Place::Here(inside)) = (alone.place, inside.place) else { panic!("decoded") };
    assert_eq!((alone.start + 1001, alone.end + 1001), (inside.start, inside.end));
    assert!(place(&outer, 1001..outer.len() + 1).is_err());

    // Numbers that run over the end of the inner file are not to be had from the outer.
    let address = (alone.start as u64).to_le_bytes();
    let at: Vec<usize> = (0..inner.len() - 8).filter(|&at| inner[at..].starts_with(&address)).collect();
    assert_eq!(at.len(), 1);
    let last = inner.len() - alone.len();
    for (start, whole) in [(last, true), (last + 1, false), (usize::MAX, false)] {
        let mut outer = outer.clone();
        outer[1001 + at[0]..][..8].copy_from_slice(&(start as u64).to_le_bytes());
        assert_eq!(place(&outer, 1001..1001 + inner.len()).is_ok(), whole, "{start}");
    }
}
