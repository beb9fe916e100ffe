//! Damaged and hostile files: an answer, whatever it is, in time, and never a panic.

use super::*;
use crate::proto::Message;
use std::time::{Duration, Instant};

/// Reads what may be damaged; what is read must be sound.
fn probe(bytes: &[u8]) -> bool {
    match read(Path::new("x.onnx"), bytes) {
        Ok(contents) => {
            assert_sound(bytes, &contents);
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 10_000, "{error}");
            false
        }
    }
}

#[test]
fn every_cut_is_an_error() {
    for path in all_files() {
        let bytes = fs::read(&path).unwrap();
        let whole = probe(&bytes);
        let read: Vec<_> = (0..bytes.len()).filter(|&length| probe(&bytes[..length])).collect();
        // The graph is whole, and a field after it is missing: opset, metadata.
        assert!(read.len() <= 8 && (whole || read.is_empty()), "{}: {read:?}", path.display());
        assert!(read.iter().all(|&length| length > bytes.len() / 2), "{}: {read:?}", path.display());
    }
}

#[test]
fn damaged_bytes_are_read_or_refused() {
    let mut draws = Draws(2024);
    let mut read = [0, 0];
    for path in all_files() {
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        for round in 0..4000 {
            // One byte, or three in one file.
            let places: Vec<_> = (0..1 + 2 * (round % 2)).map(|_| draws.below(bytes.len())).collect();
            for &at in &places {
                bytes[at] =
                    if round % 4 < 2 { draws.below(256) as u8 } else { bytes[at] ^ 1 << draws.below(8) };
            }
            read[usize::from(probe(&bytes))] += 1;
            for at in places {
                bytes[at] = whole[at];
            }
        }
    }
    // Both happen, and often: most bytes are weights, of which any is as good.
    assert!(read.iter().all(|&count| count > 1000), "{read:?}");
}

#[test]
fn other_files_are_refused() {
    for bytes in
        [&b""[..], b"\x00", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"{\"a\": 1}", b"<html>", &[0xff; 100]]
    {
        let text = refusal(bytes);
        assert!(text.contains("x.onnx is no ONNX file, or is damaged"), "{text}");
    }
    // Metadata alone.
    let mut bytes = Vec::new();
    Message::default().int(1, 8).text(2, "nobody").write(&mut bytes).unwrap();
    assert!(refusal(&bytes).contains("a model without a graph"));
    let graph = Net::new(&[1, 3, 8, 12]).conv("k", 3, 4).bytes();
    assert!(refusal(&[&graph[..], &graph].concat()).contains("a second graph"));
}

/// `levels` messages, each the field `field` of the one around it.
fn nested(field: u32, levels: usize) -> Vec<u8> {
    // From the inside out, backwards, so that it takes no square of the levels.
    let mut backwards = Vec::new();
    for _ in 0..levels {
        let mut head = Vec::new();
        Message::default().text(field, "").write(&mut head).unwrap();
        head.pop();
        let mut length = backwards.len();
        while length >= 0x80 {
            head.push(length as u8 | 0x80);
            length >>= 7;
        }
        head.push(length as u8);
        backwards.extend(head.iter().rev());
    }
    backwards.reverse();
    backwards
}

#[test]
fn deep_nesting_is_not_followed() {
    // Graphs in attributes of nodes of graphs: fields 7, 1, 5, 6 in turn would be followed by a generated reader.
    for field in [1, 5, 6, 7] {
        probe(&nested(field, 200_000));
    }
    let inner = nested(6, 200_000);
    let mut graph = Vec::new();
    for (field, inner) in [(5, &inner), (1, &inner)] {
        let mut message = vec![(field << 3 | 2) as u8];
        let mut length = inner.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(inner);
        graph = message;
    }
    probe(&graph);
}

/// In time: the test machine is slow, and a walk that is quadratic takes hours.
fn soon(what: &str, bytes: &[u8], expected: &str) {
    let start = Instant::now();
    let text = match read(Path::new("x.onnx"), bytes) {
        Ok(contents) => {
            assert_sound(bytes, &contents);
            format!("{} layers", contents.graph.unwrap().layers.len())
        }
        Err(error) => error.to_string(),
    };
    let took = start.elapsed();
    assert!(text.contains(expected), "{what}: {text}");
    assert!(took < Duration::from_secs(20), "{what} took {took:?}");
}

const MILLION: usize = 1_000_000;

#[test]
fn a_million_nodes_take_a_while_and_no_more() {
    // On the way of the data.
    let mut chain = Net::new(&[1, 3, 8, 12]);
    for _ in 0..MILLION {
        chain = chain.node("Relu", "*", &[]);
    }
    let mut relus = std::mem::take(&mut chain.nodes);
    relus[0] = Message::default().text(1, "conv0").text(2, "relu1").text(4, "Relu");
    let mut net = Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]);
    let pads = ints("pads", &[1; 4]);
    relus.push(
        Message::default().text(1, "in").text(1, "k").text(2, "conv0").text(4, "Conv").message(5, pads),
    );
    net.nodes = relus;
    net.value = chain.value;
    soon("a chain", &net.bytes(), "1 layers");

    // All of one value; all of nothing; all the same.
    let mut star = Net::new(&[1, 3, 8, 12]);
    star.nodes = (0..MILLION).map(|n| Message::default().text(1, "in").text(2, &n.to_string())).collect();
    soon("a star", &star.bytes(), "the way branches");
    let mut empty = Net::new(&[1, 3, 8, 12]).conv("k", 3, 4);
    empty.nodes.extend((0..MILLION).map(|_| Message::default()));
    soon("empty nodes", &empty.bytes(), "1 layers");
    let mut more = Net::new(&[1, 3, 8, 12]);
    more.nodes = vec![Message::default(); (1 << 20) + 1];
    soon("too many", &more.bytes(), "a graph of more than 1048576 nodes");
    let mut wide = Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]);
    wide.nodes.push((0..MILLION).fold(Message::default().text(4, "Conv"), |m, _| m.text(1, "in")));
    soon("a node of many operands", &wide.bytes(), "the same value twice");
}

#[test]
fn what_stands_behind_operands_is_not_read_over_and_over() {
    // A thousand convolutions that take their kernel through one large node.
    let mut net = Net::new(&[1, 3, 8, 12]).tensor("k", &[3, 3, 3, 3]);
    let value = net.value.clone();
    net = net.node("Transpose", "k", &[ints("perm", &vec![0; MILLION])]);
    net.value = value;
    for _ in 0..1000 {
        net = net.node("Conv", "* transpose1", &[ints("pads", &[1; 4])]).node("Relu", "*", &[]);
    }
    soon("a large node", &net.bytes(), "that is not stored");
    // A chain of nodes before a kernel, and shapes that are reshaped.
    let mut net = Net::new(&[1, 3, 8, 12]).tensor("k", &[3, 3, 3, 3]);
    let value = net.value.clone();
    net = net.node("Reshape", "k k", &[]);
    for _ in 0..100_000 {
        let last = net.value.clone();
        net = net.node("Reshape", &format!("{last} {last}"), &[]);
    }
    let kernel = std::mem::replace(&mut net.value, value);
    soon("reshaped shapes", &net.node("Conv", &format!("* {kernel}"), &[]).bytes(), "that is not stored");
    // Layers without end.
    let mut net = Net::new(&[1, 3, 8, 12]).tensor("k", &[3, 3, 3, 3]);
    for _ in 0..2000 {
        net = net.node("Conv", "* k", &[ints("pads", &[1; 4])]).node("Relu", "*", &[]);
    }
    soon("layers", &net.bytes(), "is one of more than 1024 layers");
}
