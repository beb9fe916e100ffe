//! Pickles made by hand: what the machine keeps, and what it does not fall for.

use super::*;

fn damage(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(Fault::Damaged(_, what)) => what,
        other => panic!("{other:?}"),
    }
}

/// The value as Python would print it, a few levels deep.
fn shown(pickle: &Pickle<'_>, id: Id, depth: usize) -> String {
    if depth == 0 {
        return "…".to_owned();
    }
    let all = |ids: &[Id]| ids.iter().map(|&id| shown(pickle, id, depth - 1)).collect::<Vec<_>>().join(", ");
    match pickle.get(id) {
        Value::Other => "?".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Long(bytes) => format!("{bytes:?}"),
        Value::Text(text) => format!("'{text}'"),
        Value::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
        Value::List(ids) => format!("[{}]", all(ids)),
        Value::Tuple(ids) => format!("({})", all(ids)),
        Value::Dict(entries) => {
            let one = |&(key, value): &(Id, Id)| all(&[key]) + ": " + &all(&[value]);
            format!("{{{}}}", entries.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Value::Global(names) => format!("{}.{}", names.0, names.1),
        Value::Outside(id) => format!("<{}>", all(&[*id])),
        Value::Call(call) => {
            let state = call.state.map_or_else(String::new, |state| format!(" + {}", all(&[state])));
            all(&[call.callee]) + &all(&[call.args]) + &state
        }
    }
}

fn top(bytes: &[u8]) -> String {
    let (pickle, length) = read(bytes).unwrap();
    assert_eq!(length, bytes.len());
    shown(&pickle, pickle.top, 6)
}

#[test]
fn values_of_all_protocols_are_kept() {
    for (bytes, value) in [
        (
            &b"\x80\x02}q\x00(X\x01\0\0\0aK\x01U\x01bM\x01\x02X\x01\0\0\0cJ\xff\xff\xff\xffu."[..],
            "{'a': 1, b'b': 513, 'c': -1}",
        ),
        (b"\x80\x02\x8a\x02\xff\xff\x8a\0\x86.", "(-1, 0)"),
        (b"\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01.", "[0, 0, 0, 0, 0, 0, 0, 0, 1]"),
        (b"\x80\x02\x8b\x01\0\0\0\x80.", "-128"),
        (b"]q\0(I01\nI00\nI-7\nL12L\nNe.", "[true, false, -7, 12, ?]"),
        (b"\x80\x02](G?\xf0\0\0\0\0\0\0\x88\x89)K\x01K\x02K\x03\x87e.", "[?, true, false, (), (1, 2, 3)]"),
        (
            b"\x80\x04\x95\x12\0\0\0\0\0\0\0\x8c\x01m\x94\x8c\x01n\x94\x93\x94K\x05\x85\x81\x94}b.",
            "m.n(5) + {}",
        ),
        (b"\x80\x02cm\nn\n(K\x01tR.", "m.n(1)"),
        (b"(im\nn\n.", "m.n()"),
        (b"(cm\nn\nK\x01o.", "m.n(1)"),
        (b"\x80\x04cm\nn\nK\x01\x85}\x92.", "m.n(1)"),
        (b"\x80\x02(X\x01\0\0\0sK\x01tQ.", "<('s', 1)>"),
        (b"\x80\x04\x8f(K\x01\x90(K\x01\x91\x86.", "(?, ?)"),
        (b"\x80\x02K\x01(K\x02K\x0312\x86.", "(1, 1)"),
        (b"\x80\x02(K\x01K\x02d(K\x05l\x86.", "({1: 2}, [5])"),
        (b"\x80\x02K\x01(0.", "1"),
    ] {
        assert_eq!(top(bytes), value, "{}", bytes.escape_ascii());
    }
}

#[test]
fn laughing_a_billion_times_costs_nothing() {
    // l0 = [l1] * 10, l1 = [l2] * 10, …: 10^100 elements when written out.
    let mut bytes = b"\x80\x02]q\0".to_vec();
    for level in 1..=100u8 {
        bytes.extend([b']', b'q', level, b'(']);
        bytes.extend([b'h', level - 1].repeat(10));
        bytes.push(b'e');
    }
    bytes.push(b'.');
    let (pickle, _) = read(&bytes).unwrap();
    assert!(pickle.values.len() < 110, "{}", pickle.values.len());
    let dict = b"\x80\x02}q\0(X\x01\0\0\0ah\0u.";
    assert_eq!(top(dict), "{'a': {'a': {'a': {'a': {'a': {…: …}}}}}}");
}

#[test]
fn nesting_has_no_depth_to_fall_from() {
    let depth = 1_000_000;
    let bytes = [b"\x80\x02".to_vec(), b")".to_vec(), b"\x85".repeat(depth), b".".to_vec()].concat();
    assert_eq!(read(&bytes).unwrap().0.values.len(), 4 + depth);
    assert_eq!(damage(&[b"(".repeat(depth), b".".to_vec()].concat()), "its stack is empty");
}

#[test]
fn what_is_claimed_and_not_there_is_refused() {
    let ends = "it ends too early";
    for (bytes, what) in [
        (&b""[..], ends),
        (b"\x80", ends),
        (b"\x80\x04\x95", ends),
        (b"X\xff\xff\xff\xffabc", ends),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", ends),
        (b"\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc", ends),
        (b"B\xff\xff\xff\xff", ends),
        (b"\x8b\xff\xff\xff\xff", ends),
        (b"cmodule\nname", ends),
        (b"cmodule", ends),
        (b"K\x01", ends),
        (b".", "its stack is empty"),
        (b"0", "its stack is empty"),
        (b"(0.", "its stack is empty"),
        (b"K\x01(.", "its stack is empty"),
        (b"K\x01\x86.", "its stack is empty"),
        (b"t.", "its stack has no mark"),
        (b"K\x01s", "its stack is empty"),
        (b"K\x01K\x02K\x03s", "it sets entries of what is no dict"),
        (b"}(K\x01u.", "it sets a key without a value"),
        (b"(o.", "it makes an object of no class"),
        (b"j\xff\xff\xff\xff.", "it uses value 4294967295, which it has not kept"),
        (b"h\x07.", "it uses value 7, which it has not kept"),
        (b"q\x07.", "its stack is empty"),
        (b"K\x01K\x02\x93.", "a name is not text"),
        (b"c\xff\nname\n.", "a name is not UTF-8"),
        (b"\x82\x01.", "the opcode 0x82 is not one that torch.save writes"),
        (b"Psomewhere\n.", "the opcode 0x50 is not one that torch.save writes"),
        (b"\x97.", "the opcode 0x97 is not one that torch.save writes"),
    ] {
        assert_eq!(damage(bytes), what, "{}", bytes.escape_ascii());
    }
}

#[test]
fn steps_and_values_are_counted() {
    let steps = format!("it has more than {MAX_STEPS} steps");
    assert_eq!(damage(&[b"N".to_vec(), b"N0".repeat(MAX_STEPS / 2), b".".to_vec()].concat()), steps);
    let values = format!("it has more than {MAX_VALUES} values");
    assert_eq!(damage(&[b"]0".repeat(MAX_VALUES), b"N.".to_vec()].concat()), values);
}

#[test]
fn names_that_run_code_are_refused() {
    for (bytes, name) in [
        (&b"cos\nsystem\n(S'ls'\ntR."[..], "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R.", "posix.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "builtins.eval"),
        (b"(X\x02\0\0\0lsisubprocess\nPopen\n.", "subprocess.Popen"),
        (b"\x80\x02c__builtin__\nexec\n.", "__builtin__.exec"),
        (b"\x80\x02cos.path\njoin\n.", "os.path.join"),
    ] {
        let Err(fault) = read(bytes) else { panic!("{name} passed") };
        assert_eq!(fault, Fault::Dangerous(name.to_owned()));
    }
    // Not dangerous, and not called either.
    assert_eq!(top(b"\x80\x02cbuiltins\ngetattr\n)R."), "builtins.getattr()");
}
