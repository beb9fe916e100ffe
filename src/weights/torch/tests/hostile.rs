//! Files made by hand: old ones that today's PyTorch does not write, and such as nobody honest writes.

use super::*;
use std::time::{Duration, Instant};

const TWO: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]; // 1.0, 2.0

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

fn tuple(parts: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), parts.concat(), b"t".to_vec()].concat()
}

fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>())
}

fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

fn call(module: &str, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
    [global(module, name), tuple(args), b"R".to_vec()].concat()
}

fn storage(key: &str, elements: i64, view: Vec<u8>) -> Vec<u8> {
    typed_storage("FloatStorage", key, elements, view)
}

fn typed_storage(class: &str, key: &str, elements: i64, view: Vec<u8>) -> Vec<u8> {
    let parts = [text("storage"), global("torch", class), text(key), text("cuda:0"), int(elements), view];
    [tuple(&parts), b"Q".to_vec()].concat()
}

/// A tensor in storage `0`, of two elements.
fn tensor(first: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let args = [storage("0", 2, b"N".to_vec()), int(first), ints(shape), ints(strides)];
    call("torch._utils", "_rebuild_tensor", &args)
}

fn dict(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> =
        entries.iter().flat_map(|(key, value)| [key.clone(), value.clone()].concat()).collect();
    [b"}(".to_vec(), entries, b"u".to_vec()].concat()
}

/// A file of the stream format: a value, and storages as key, count, bytes.
fn stream(value: &[u8], storages: &[(&str, i64, &[u8])]) -> Vec<u8> {
    let pickle = |value: &[u8]| [b"\x80\x02", value, b"."].concat();
    let keys: Vec<Vec<u8>> = storages.iter().map(|(key, ..)| text(key)).collect();
    let keys = [b"](".to_vec(), keys.concat(), b"e".to_vec()].concat();
    let magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    let system = dict(&[(text("little_endian"), b"\x88".to_vec())]);
    let mut bytes =
        [pickle(magic), pickle(&int(1001)), pickle(&system), pickle(value), pickle(&keys)].concat();
    for (_, count, data) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend(*data);
    }
    bytes
}

fn one(tensor: Vec<u8>) -> Vec<u8> {
    stream(&dict(&[(text("w"), tensor)]), &[("0", 2, &TWO)])
}

/// Reads a file whose one tensor `w` is [1, 2].
fn assert_is_two(bytes: &[u8]) {
    let contents = read(Path::new("x.pth"), bytes).unwrap();
    let [tensor] = &contents.tensors[..] else { panic!("{contents:?}") };
    assert_eq!((tensor.name.as_str(), tensor.dtype, &tensor.shape[..]), ("w", Dtype::F32, &[2][..]));
    assert_eq!(dense(bytes, tensor), TWO);
}

#[test]
fn files_of_the_first_years_are_read() {
    let whole = tensor(0, &[2], &[1]);
    assert_is_two(&one(whole.clone()));
    // Python 2: names are bytes, and an OrderedDict comes as a list of pairs.
    assert_is_two(&stream(&dict(&[(b"U\x01w".to_vec(), whole.clone())]), &[("0", 2, &TWO)]));
    let pair = [b"](U\x01w".to_vec(), whole.clone(), b"e".to_vec()].concat();
    let pairs = [b"](".to_vec(), pair, b"e".to_vec()].concat();
    assert_is_two(&stream(&call("collections", "OrderedDict", &[pairs]), &[("0", 2, &TWO)]));
    // PyTorch 0.2: a parameter is its class, and a state that does not matter.
    let state = tuple(&[b"\x88".to_vec(), b"\x89".to_vec(), b"N".to_vec()]);
    let parameter = call("torch.nn.parameter", "Parameter", std::slice::from_ref(&whole));
    assert_is_two(&one([parameter, state, b"b".to_vec()].concat()));
    // PyTorch 0.1: an empty tensor, and its state.
    let state = tuple(&[storage("0", 2, b"N".to_vec()), int(0), ints(&[2]), ints(&[1])]);
    let empty = [global("torch", "FloatTensor"), b")\x81".to_vec()].concat();
    assert_is_two(&one([empty, state, b"b".to_vec()].concat()));
    // A shape that is a torch.Size.
    let args = [storage("0", 2, b"N".to_vec()), int(0), call("torch", "Size", &[ints(&[2])]), ints(&[1])];
    assert_is_two(&one(call("torch._utils", "_rebuild_tensor", &args)));
}

#[test]
fn a_tensor_does_not_reach_beyond_its_storage() {
    let max = i64::MAX;
    let more = "`w` in x.pth has more elements than its storage";
    let beyond = "`w` in x.pth reaches beyond its storage";
    let strides = "its strides do not fit its shape";
    let shape = "its shape is no list of sizes";
    for (first, sizes, steps, what) in [
        (0, &[3][..], &[1][..], more),
        (0, &[1 << 40], &[0], more),
        (0, &[max, max, max], &[0, 0, 0], more),
        (0, &[2, 2], &[1, 0], more),
        (1, &[2], &[1], beyond),
        (2, &[], &[], beyond),
        (max, &[], &[], beyond),
        (0, &[2], &[2], beyond),
        (0, &[2], &[max], beyond),
        (max, &[2], &[max], beyond),
        (-1, &[1], &[1], "its offset is no number"),
        (0, &[-2], &[1], shape),
        (0, &[2], &[-1], strides),
        (0, &[2], &[1, 1], strides),
        (0, &[1; 9], &[1; 9], shape),
    ] {
        let text = refusal(&one(tensor(first, sizes, steps)));
        assert!(text.contains(what), "{sizes:?} in {steps:?} from {first}: {text}");
    }
    for (first, sizes, steps) in
        [(max, &[0, 7][..], &[max, 1][..]), (1, &[1, 1], &[max, max]), (0, &[2], &[0])]
    {
        let bytes = one(tensor(first, sizes, steps));
        let contents = read(Path::new("x.pth"), &bytes).unwrap();
        let elements: i64 = sizes.iter().product();
        assert_eq!(dense(&bytes, &contents.tensors[0]).len() as i64, 4 * elements);
    }
}

#[test]
fn storages_are_as_long_as_both_sides_say() {
    let value = dict(&[(text("w"), tensor(0, &[2], &[1]))]);
    for (storages, what) in [
        (&[][..], "`w` in x.pth has no numbers in the file"),
        (&[("0", 1, &TWO[..4])], "`w` in x.pth has a storage of another size"),
        (&[("0", 2, &TWO[..7])], "the storage 0 of x.pth is cut off"),
        (&[("0", -1, &TWO[..])], "the storage 0 of x.pth is cut off"),
        (&[("0", i64::MAX, &TWO[..])], "the storage 0 of x.pth is cut off"),
        (&[("0", 2, &TWO[..]), ("0", 2, &TWO)], "the storage 0 of x.pth is there twice"),
        (&[("0", 2, &TWO[..]), ("1", 2, &TWO)], "the storage 1 of x.pth is not mentioned in the pickle"),
    ] {
        let text = refusal(&stream(&value, storages));
        assert!(text.starts_with(what) || text.contains(what), "{text}");
    }
    // PyTorch counts the elements by the first mention of a storage.
    let bytes = [typed_storage("ByteStorage", "0", 8, b"N".to_vec()), int(0), ints(&[8]), ints(&[1])];
    let bytes = call("torch._utils", "_rebuild_tensor", &bytes);
    let both = dict(&[(text("w"), tensor(0, &[2], &[1])), (text("bytes"), bytes)]);
    let both = stream(&both, &[("0", 2, &TWO)]);
    for tensor in read(Path::new("x.pth"), &both).unwrap().tensors {
        assert_eq!(dense(&both, &tensor), TWO, "{}", tensor.name);
    }
    let view = tuple(&[text("1"), int(0), int(2)]);
    let args = [storage("0", 2, view), int(0), ints(&[2]), ints(&[1])];
    let text = refusal(&one(call("torch._utils", "_rebuild_tensor", &args)));
    assert!(text.contains("`w` in x.pth lies in a part of another storage"), "{text}");
}

#[test]
fn what_stands_for_a_tensor_and_is_none_is_named() {
    let whole = tensor(0, &[2], &[1]);
    let entry = |name: &str| (text(name), whole.clone());
    let twice = stream(&dict(&[entry("w"), entry("v"), entry("w")]), &[("0", 2, &TWO)]);
    assert!(refusal(&twice).starts_with("x.pth names the tensor `w` twice"));
    for (function, args, what) in [
        ("_rebuild_something", vec![], "`w` in x.pth is of an unknown kind"),
        ("_rebuild_tensor_v2", vec![], "it is made of too little"),
        (
            "_rebuild_tensor",
            vec![int(1), int(0), ints(&[2]), ints(&[1])],
            "its storage is not described as torch.save does",
        ),
    ] {
        let text = refusal(&stream(&dict(&[(text("w"), call("torch._utils", function, &args))]), &[]));
        assert!(text.contains(what), "{text}");
    }
    let object = stream(&call("mine", "Net\u{1b}[31m", &[]), &[]);
    let text = refusal(&object);
    assert!(text.contains("a whole Python object (mine.Net\\u{1b}[31m)"), "{text}");
    for (value, what) in [(b"N".to_vec(), "a plain value"), (dict(&[]), "has no tensors")] {
        let text = refusal(&stream(&value, &[]));
        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn weights_in_a_customary_entry_come_before_tensors_beside_it() {
    let whole = tensor(0, &[2], &[1]);
    let inner = dict(&[(text("w"), whole.clone())]);
    let value = dict(&[(text("mean"), whole.clone()), (text("state_dict"), inner.clone())]);
    assert_is_two(&stream(&value, &[("0", 2, &TWO)]));
    // The likelier name comes first, wherever it stands.
    let other = dict(&[(text("v"), whole)]);
    let value = dict(&[(text("ema"), other), (text("model"), inner)]);
    assert_is_two(&stream(&value, &[("0", 2, &TWO)]));
}

#[test]
fn a_text_that_is_too_long_names_nothing() {
    let whole = tensor(0, &[2], &[1]);
    let value = dict(&[(text(&"n".repeat(1025)), whole.clone()), (text("w"), whole)]);
    let bytes = stream(&value, &[("0", 2, &TWO)]);
    assert_is_two(&bytes);
    let metadata = read(Path::new("x.pth"), &bytes).unwrap().metadata;
    assert_eq!(metadata["skipped"], "a tensor without a name");
}

#[test]
fn what_holds_itself_does_not_hold_up_the_reader() {
    // A dict whose entry `model` is the dict itself.
    let own = [b"}q\0(".to_vec(), text("model"), b"h\0u".to_vec()].concat();
    assert!(refusal(&stream(&own, &[])).contains("nests its weights too deeply"));
    // A parameter of itself, through a list that is not read.
    let own = [
        b"}q\0(".to_vec(),
        text("w"),
        call("torch.nn.parameter", "Parameter", &[b"h\0".to_vec()]),
        b"u".to_vec(),
    ];
    assert!(refusal(&stream(&own.concat(), &[])).contains("has no tensors"));
    // 50,000 names for one dict of 50,000 entries.
    let mut wide = b"}q\0(".to_vec();
    for name in 0..50_000 {
        wide.extend(text(&name.to_string()));
        wide.push(b'N');
    }
    let mut value = [wide, b"u0}(".to_vec()].concat();
    for name in 0..50_000 {
        value.extend(text(&name.to_string()));
        value.extend(b"h\0");
    }
    value.push(b'u');
    let start = Instant::now();
    assert!(refusal(&stream(&value, &[])).contains("and 49992 more"));
    // A tenth of a second; to look at all of them takes a minute.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn another_version_and_byte_order_are_refused() {
    let bytes = one(tensor(0, &[2], &[1]));
    let at = bytes.windows(2).position(|pair| pair == [0xe9, 0x03]).unwrap();
    let mut other = bytes.clone();
    other[at] ^= 1;
    assert!(
        refusal(&other).contains("x.pth has an unknown version\n  expected  1001\n  got       Int(1000)")
    );
    let at = bytes.windows(6).position(|six| six == b"endian").unwrap() + 6;
    let mut other = bytes;
    assert_eq!(other[at], 0x88);
    other[at] = 0x89;
    assert!(refusal(&other).contains("x.pth has big-endian numbers"));
}
