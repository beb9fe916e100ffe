//! Tensors in all the ways in which ONNX may keep their numbers.

use super::*;
use crate::proto::Message;

/// A tensor of `data_type` that is called `t`.
fn tensor(data_type: i64, shape: &[i64]) -> Message<'static> {
    shape.iter().fold(Message::default().int(2, data_type).text(8, "t"), |m, &axis| m.int(1, axis))
}

/// A network with `tensor` beside its weights.
fn with(tensor: Message<'static>) -> Vec<u8> {
    let mut net = Net::new(&[1, 3, 8, 12]).conv("k", 3, 4);
    net.tensors.push(tensor);
    net.bytes()
}

fn found(bytes: &[u8]) -> Option<Found> {
    let contents = read(Path::new("x.onnx"), bytes).unwrap();
    assert_sound(bytes, &contents);
    contents.tensors.into_iter().find(|found| found.name == "t")
}

/// A field of bytes: text with any bytes is what our writer calls it.
fn packed(message: Message<'static>, field: u32, bytes: &[u8]) -> Message<'static> {
    message.text(field, std::str::from_utf8(bytes).unwrap())
}

#[test]
fn floats_stay_where_they_are() {
    for (field, name) in [(9, "raw_data"), (4, "float_data")] {
        let bytes = with(tensor(1, &[2, 3]).numbers(field, vec![1.5, 2.0, -3.0, 4.0, 5.0, 6.0].into()));
        let found = found(&bytes).unwrap();
        let Place::Here(place) = found.place else { panic!("{name}: {:?}", found.place) };
        assert_eq!(bytes[place.clone()][..4], 1.5f32.to_le_bytes(), "{name}");
        assert_eq!((found.dtype, found.shape, place.len()), (Dtype::F32, vec![2, 3], 24));
    }
    let decoded = |message: Message<'static>| match found(&with(message)).unwrap() {
        Found { place: Place::Decoded(bytes), dtype, .. } => (dtype, bytes),
        other => panic!("{other:?}"),
    };
    // One by one, and in two lists.
    let single = tensor(1, &[2]).float(4, 1.5).float(4, -2.0);
    let expected: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(decoded(single), (Dtype::F32, expected.clone()));
    let lists = tensor(1, &[2]).numbers(4, vec![1.5].into()).numbers(4, vec![-2.0].into());
    assert_eq!(decoded(lists), (Dtype::F32, expected));
    let double = tensor(11, &[1]).double(10, 0.25);
    assert_eq!(decoded(double), (Dtype::F64, 0.25f64.to_le_bytes().to_vec()));
    // Halves are varints of their bits.
    let bits = |x: f32| i64::from(f16::from_f32(x).to_bits());
    let half = tensor(10, &[2]).int(5, bits(1.5)).int(5, bits(-2.0));
    assert_eq!(decoded(half), (Dtype::F16, vec![0x00, 0x3e, 0x00, 0xc0]));
    let brain = tensor(16, &[1]).int(5, i64::from(bf16::from_f32(-2.0).to_bits()));
    assert_eq!(decoded(brain), (Dtype::BF16, vec![0x00, 0xc0]));
}

#[test]
fn whole_numbers_are_decoded() {
    let decoded = |message: Message<'static>| match found(&with(message)).unwrap() {
        Found { place: Place::Decoded(bytes), .. } => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(decoded(tensor(7, &[2]).int(7, -1).int(7, 300)), [[0xff; 8], 300i64.to_le_bytes()].concat());
    // 300 and 1, packed.
    assert_eq!(decoded(packed(tensor(6, &[2]), 5, &[0x01, 0x01]))[..], [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(decoded(tensor(3, &[2]).int(5, -128).int(5, 127)), [0x80, 0x7f]);
    assert_eq!(decoded(tensor(2, &[1]).int(5, 255)), [255]);
    assert_eq!(decoded(tensor(9, &[2]).int(5, 1).int(5, 0)), [1, 0]);
    assert_eq!(decoded(tensor(13, &[1]).int(11, -1)), [0xff; 8]);
    assert_eq!(decoded(tensor(12, &[1]).int(11, 0xffff_ffff)), [0xff; 4]);
    let text = refusal(&with(tensor(3, &[1]).int(5, 300)));
    assert!(text.contains("too large for its type") && text.contains("300"), "{text}");
}

#[test]
fn sizes_must_be_those_of_the_shape() {
    let zeros = |n: usize| vec![0.0; n].into();
    for (tensor, why) in [
        (tensor(1, &[2]).numbers(9, zeros(3)), "expected  8 bytes for [2] of F32"),
        (tensor(1, &[2]).numbers(4, zeros(1)), "expected  8 bytes for [2] of F32"),
        (tensor(1, &[2]).float(4, 1.0), "got       4 bytes"),
        (tensor(1, &[1]).float(4, 1.0).float(4, 1.0), "got       8 bytes"),
        (tensor(1, &[2]), "got       0 bytes"),
        (tensor(1, &[1]).int(5, 1), "got       0 bytes"),
        (tensor(1, &[1]).numbers(9, zeros(1)).float(4, 1.0), "has its numbers twice"),
        (tensor(1, &[-1]).numbers(9, zeros(1)), "has a negative size"),
        (tensor(1, &[i64::MAX, 4]), "has an impossible shape"),
        (tensor(1, &[1; 9]).numbers(9, zeros(1)), "a tensor of more than 8 axes"),
        (tensor(1, &[1]).int(9, 1), "field 9 of a TensorProto does not hold bytes"),
        (
            packed(packed(tensor(1, &[1]), 4, b"123"), 4, b"4"),
            "field 4 of a TensorProto does not hold floats of 4 bytes",
        ),
        (Message::default().int(1, 1).int(2, 1).numbers(9, zeros(1)), "a tensor without a name"),
        (
            Message::default().int(2, 1).text(8, &"n".repeat(5000)).float(4, 1.0),
            "a tensor's name of 5000 bytes",
        ),
    ] {
        let text = refusal(&with(tensor));
        assert!(text.contains(why), "{why}: {text}");
    }
    // Nothing at all is as much as [0] takes; and without axes there is one number.
    assert_eq!(found(&with(tensor(1, &[0, 5]))).unwrap().place, Place::Decoded(vec![]));
    assert!(found(&with(tensor(1, &[]).numbers(9, zeros(1)))).unwrap().shape.is_empty());
}

#[test]
fn types_that_no_weights_have_are_passed_over() {
    // Text, complex, four bits; and one of the future.
    for data_type in [8, 14, 15, 21, 22, 23, 99, 0] {
        assert!(found(&with(tensor(data_type, &[2]))).is_none(), "{data_type}");
    }
}

#[test]
fn external_data_may_not_leave_the_folder() {
    let pair = |key: &str, value: &str| Message::default().text(1, key).text(2, value);
    let beside = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(key, value)| pair(key, value));
        with(tensor(1, &[2, 3]).messages(13, pairs).int(14, 1))
    };
    let place = |pairs: &[(&str, &str)]| found(&beside(pairs)).unwrap().place;
    let here = |bytes| Place::Beside { file: "w.bin".into(), bytes };
    assert_eq!(place(&[("location", "w.bin")]), here(0..24));
    assert_eq!(place(&[("offset", "4096"), ("location", "w.bin"), ("checksum", "?")]), here(4096..4120));
    assert_eq!(place(&[("location", "w.bin"), ("offset", "8"), ("length", "24")]), here(8..32));
    assert!(matches!(place(&[("location", "b..c.bin")]), Place::Beside { .. }));
    for location in [
        "/etc/passwd",
        "../w",
        "a/../../w",
        "a/..",
        ".",
        "",
        "a//b",
        "C:w",
        "C:\\w",
        "a\\b",
        "a\0b",
        "w/",
        "a/b",
    ] {
        let text = refusal(&beside(&[("location", location)]));
        assert!(
            text.contains("the tensor `t` in x.onnx lies in a file that is not beside"),
            "{location}: {text}"
        );
    }
    for (pairs, why) in [
        (&[("offset", "8")][..], "not beside the ONNX file"),
        (&[("location", "w"), ("offset", "-1")], "no number"),
        (&[("location", "w"), ("offset", "99999999999999999999")], "no number"),
        (&[("location", "w"), ("length", "23")], "another size than its shape"),
        (&[("location", "w"), ("offset", "18446744073709551600")], "an impossible place"),
    ] {
        let text = refusal(&beside(pairs));
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[test]
fn constants_are_tensors_too() {
    let with = |attribute: Message<'static>| {
        let mut net = Net::new(&[1, 3, 8, 12]).conv("k", 3, 4);
        net.nodes.push(Message::default().text(2, "t").text(4, "Constant").message(5, attribute));
        net.bytes()
    };
    let attribute = |name: &str| Message::default().text(1, name);
    let read = |bytes: &[u8]| {
        let found = found(bytes).unwrap();
        let data = match found.place {
            Place::Here(place) => bytes[place].to_vec(),
            Place::Decoded(data) => data,
            other => panic!("{other:?}"),
        };
        (found.dtype, found.shape, data)
    };
    let floats = [1.5f32, -2.0].map(f32::to_le_bytes).concat();
    // A tensor has no name of its own here.
    let value = Message::default().int(1, 2).int(2, 1).numbers(9, vec![1.5, -2.0].into());
    assert_eq!(read(&with(attribute("value").message(5, value))), (Dtype::F32, vec![2], floats.clone()));
    let one = floats[..4].to_vec();
    assert_eq!(read(&with(attribute("value_float").float(2, 1.5))), (Dtype::F32, vec![], one));
    let two = attribute("value_floats").float(7, 1.5).float(7, -2.0);
    assert_eq!(read(&with(two)), (Dtype::F32, vec![2], floats));
    let five = 5i64.to_le_bytes().to_vec();
    assert_eq!(read(&with(attribute("value_int").int(3, 5))), (Dtype::I64, vec![], five.clone()));
    assert_eq!(read(&with(attribute("value_ints").int(8, 5))), (Dtype::I64, vec![1], five));
    assert!(found(&with(attribute("value_string").text(4, "x"))).is_none());
    // A kernel may be one.
    let shape = [4, 3, 3, 3].iter().fold(Message::default().int(2, 1), |m, &n| m.int(1, n));
    let value = attribute("value").message(5, shape.numbers(9, vec![0.0; 108].into()));
    let mut net = Net::new(&[1, 3, 8, 12]);
    net.nodes.push(Message::default().text(2, "t").text(4, "Constant").message(5, value));
    let bytes = net.node("Conv", "* t", &[ints("pads", &[1; 4])]).bytes();
    assert_eq!(graph(&bytes).layers[0].kernel, "t");
}
