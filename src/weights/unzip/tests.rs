//! Archives made by hand, whole and damaged.

use super::*;

/// What a record says, for both headers.
#[derive(Clone)]
struct Made {
    name: &'static str,
    data: &'static [u8],
    flags: u16,
    method: u16,
    /// The name in the local header.
    local_name: &'static str,
    /// Added to the offset in the directory.
    shift: i32,
    zip64: bool,
}

fn made(name: &'static str, data: &'static [u8]) -> Made {
    Made { name, data, flags: 0, method: 0, local_name: name, shift: 0, zip64: false }
}

/// An archive with the record of zip64 at its end when one of its entries has a zip64 field.
fn archive(all: &[Made], comment: &[u8]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for one in all {
        let (offset, size) = (out.len() as i32 + one.shift, one.data.len() as u32);
        let wide = [u64::from(size), u64::from(size), offset as u64].map(u64::to_le_bytes).concat();
        let crc = crc32fast::hash(one.data).to_le_bytes();
        let head = |name: &str, extra: usize| {
            let mut head = vec![20, 0];
            head.extend(one.flags.to_le_bytes());
            head.extend(one.method.to_le_bytes());
            head.extend([0; 4]);
            head.extend(crc);
            let stated = if one.zip64 { u32::MAX } else { size };
            head.extend([stated.to_le_bytes(); 2].concat());
            head.extend((name.len() as u16).to_le_bytes());
            head.extend((extra as u16).to_le_bytes());
            head
        };
        out.extend(b"PK\x03\x04");
        out.extend(head(one.local_name, 7));
        out.extend(one.local_name.as_bytes());
        out.extend(b"FB\x03\0abc");
        out.extend(one.data);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(head(one.name, if one.zip64 { 4 + 24 } else { 0 }));
        directory.extend([0; 10]);
        directory.extend(if one.zip64 { u32::MAX } else { offset as u32 }.to_le_bytes());
        directory.extend(one.name.as_bytes());
        if one.zip64 {
            directory.extend(b"\x01\0\x18\0");
            directory.extend(wide);
        }
    }
    let (start, count) = (out.len(), all.len());
    out.extend(&directory);
    let mut end = [[count as u8, 0]; 2].concat();
    end.extend([directory.len() as u32, start as u32].map(u32::to_le_bytes).concat());
    if all.iter().any(|one| one.zip64) {
        let at = out.len() as u64;
        out.extend(b"PK\x06\x06");
        out.extend([44u64.to_le_bytes(), [45, 0, 45, 0, 0, 0, 0, 0]].concat());
        out.extend([0; 4]);
        out.extend([count, count, directory.len(), start].map(|n| (n as u64).to_le_bytes()).concat());
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend(at.to_le_bytes());
        out.extend([1, 0, 0, 0]);
        end = vec![255; 12];
    }
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(end);
    out.extend((comment.len() as u16).to_le_bytes());
    out.extend(comment);
    out
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
    entries(Path::new("x.zip"), bytes)
}

fn refusal(all: &[Made]) -> String {
    read(&archive(all, b"")).unwrap_err().to_string()
}

#[test]
fn entries_are_found_where_they_lie() {
    let mut all = vec![made("a/data.pkl", b"pickle"), made("a/data/0", b""), made("ä", b"123")];
    for (zip64, comment) in
        [(false, &b""[..]), (true, b""), (false, b"PK\x05\x06 is a comment"), (true, b"c")]
    {
        all[1].zip64 = zip64;
        all[2].zip64 = zip64;
        let bytes = archive(&all, comment);
        let found = read(&bytes).unwrap();
        for (entry, made) in found.iter().zip(&all) {
            assert_eq!(entry.name, made.name);
            assert_eq!(&bytes[entry.bytes.clone()], made.data);
            verify(Path::new("x.zip"), &bytes, entry).unwrap();
        }
        assert_eq!(found.len(), 3);
        assert_eq!(names(Path::new("x.zip"), &bytes).unwrap(), ["a/data.pkl", "a/data/0", "ä"]);
    }
    assert!(read(&archive(&[], b"")).unwrap().is_empty());
}

#[test]
fn a_changed_byte_has_another_checksum() {
    let mut bytes = archive(&[made("a", b"pickle")], b"");
    let entry = read(&bytes).unwrap().remove(0);
    bytes[entry.bytes.start + 2] ^= 1;
    let error = verify(Path::new("x.zip"), &bytes, &entry).unwrap_err().to_string();
    assert!(error.starts_with("the entry `a` of x.zip is damaged"), "{error}");
}

#[test]
fn what_two_readers_could_see_differently_is_refused() {
    let (a, b) = (made("a", b"11111"), made("b", b"22222"));
    let deflated = Made { method: 8, ..b.clone() };
    let text = refusal(&[a.clone(), deflated]);
    assert!(text.starts_with("the entry `b` of x.zip is compressed"), "{text}");
    assert!(text.contains("deflate") && text.contains("zip -0"), "{text}");
    let encrypted = Made { flags: 1, ..b.clone() };
    assert!(refusal(&[a.clone(), encrypted]).contains("is encrypted"));
    assert!(refusal(&[a.clone(), a.clone()]).contains("`a` of x.zip is there twice"));
    let misnamed = Made { local_name: "c", ..b.clone() };
    assert!(refusal(&[a.clone(), misnamed]).contains("`b` of x.zip is not where the directory says"));
    let far = Made { shift: 1 << 20, ..b.clone() };
    assert!(refusal(&[a.clone(), far]).contains("is not where the directory says"));
    // Named as its neighbour within the neighbour's bytes, so that the local header is the right one.
    let inner = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0b";
    let around = made("around", inner);
    let back = (LOCAL + 1 + 7) as i32 - 7;
    let within = Made { data: b"", shift: -back, ..b };
    assert!(refusal(&[around, within]).starts_with("entries of x.zip overlap\n  entries  `around` and `b`"));
}

#[test]
fn two_records_of_one_thing_agree() {
    // The end's count of entries against zip64's.
    let mut bytes = archive(&[Made { zip64: true, ..made("a", b"1") }], b"");
    let count = bytes.len() - 22 + 10;
    bytes[count..count + 2].copy_from_slice(&[1, 0]);
    assert_eq!(read(&bytes).unwrap().len(), 1);
    bytes[count] = 2;
    assert!(read(&bytes).unwrap_err().to_string().starts_with("the directory of x.zip is damaged"));
    // The size of a stored entry before and after storing.
    let mut bytes = archive(&[made("a", b"12345")], b"");
    let record = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[record + 20] = 4;
    assert!(read(&bytes).unwrap_err().to_string().starts_with("the directory of x.zip is damaged"));
}

#[test]
fn no_damage_makes_it_panic() {
    let wide = Made { zip64: true, ..made("a/b", b"12345") };
    for bytes in
        [archive(&[made("a", b"1"), made("b", b"2")], b"end"), archive(&[made("a", b"1"), wide], b"")]
    {
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                for entry in read(&damaged).unwrap_or_default() {
                    assert!(entry.bytes.end <= bytes.len());
                }
            }
        }
    }
}
