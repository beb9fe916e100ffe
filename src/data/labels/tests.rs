//! Lists as people and programs write them.

use super::*;
use std::path::PathBuf;

fn finder() -> Finder {
    Finder::new(["cat.jpg", "a1.jpg", "a2.jpg", "train/b.png"].map(PathBuf::from).to_vec())
}

fn columns(image: &str, label: &str, split: &str) -> Columns {
    let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Columns { image: given(image), label: given(label), split: given(split) }
}

/// Image, class and split of each row, with its line.
fn rows(list: &List) -> Vec<(u64, &str, &str, Option<&str>)> {
    list.rows.iter().map(|row| (row.line, &*row.image, &*row.label, row.split.as_deref())).collect()
}

#[test]
fn lists_are_read_as_people_and_programs_write_them() {
    let two = vec![(2, "a1", "cat", None), (3, "a2", "dog", None)];
    let bare = vec![(1, "a1.jpg", "cat", None), (2, "a2.jpg", "dog", None)];
    for (text, want) in [
        ("id,breed\na1,cat\na2,dog\n", two.clone()),
        // As spreadsheets of other countries save it, and with the class first.
        ("\u{feff}Klasse;Filename\r\ncat;a1\r\ndog;a2\r\n", two.clone()),
        ("image\tlabel\na1\tcat\na2\tdog", two),
        ("id,breed\n\na1,cat\n,\na2,dog\n", vec![(3, "a1", "cat", None), (5, "a2", "dog", None)]),
        ("a1.jpg,cat\na2.jpg,dog\n", bare.clone()),
        ("cat,a1.jpg\ndog,a2.jpg\n", bare.clone()),
        ("a1.jpg cat\na2.jpg dog\n", bare),
        ("# what and which\na1 1\n", vec![(2, "a1", "1", None)]),
        (
            "id,label\na1,\"big, black\nand \"\"old\"\"\"\na2,x\n",
            vec![(2, "a1", "big, black\nand \"old\"", None), (4, "a2", "x", None)],
        ),
        // The image, and the class, are what the other column is not.
        ("what,which\na1,cat\na2,dog\n", vec![(2, "a1", "cat", None), (3, "a2", "dog", None)]),
        ("label,photo\ncat,a1\n", vec![(2, "a1", "cat", None)]),
        ("split,which,photo\ntest,dog,a1\n", vec![(2, "a1", "dog", Some("test"))]),
        // A column of each class.
        (
            "image,MEL,NV\na1,0.0,1.0\na2,1,0\ncat,0,0\n",
            vec![(2, "a1", "NV", None), (3, "a2", "MEL", None), (4, "cat", "", None)],
        ),
        // Of more columns those that are known; classes that are left empty stay so.
        (
            "n,image_id,age,label,split\n1,a1,7,cat,train\n2,a2,8,,test\n",
            vec![(2, "a1", "cat", Some("train")), (3, "a2", "", Some("test"))],
        ),
    ] {
        let list =
            List::parse(text, &Columns::default(), &finder()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        assert_eq!(rows(&list), want, "{text:?}");
    }
    let text = "id,label,class,part\na1,1,cat,x\n";
    let list = List::parse(text, &columns("ID", "class", "4"), &finder()).unwrap();
    assert_eq!(rows(&list), [(2, "a1", "cat", Some("x"))]);
    assert_eq!([&list.image, &list.label], ["id", "class"]);
    let list = List::parse("x,a1.jpg,cat\n", &columns("", "3", ""), &finder()).unwrap();
    assert_eq!((rows(&list), list.label.as_str()), (vec![(1, "a1.jpg", "cat", None)], "3"));
}

#[test]
fn lists_that_are_not_clear_are_refused() {
    for (text, columns, words) in [
        ("", Columns::default(), "there are no rows"),
        ("\n,\n", Columns::default(), "there are no rows"),
        ("id,label\n", Columns::default(), "a header and no row"),
        ("id,label\na1,cat\na2\n", Columns::default(), "line 3 is too short"),
        ("id,label,class\na1,1,cat\n", Columns::default(), "which column holds the class is not clear"),
        ("x,y,z\nb1,1,cot\n", Columns::default(), "which column holds the image is not clear"),
        ("which,photo\ncat,a1\n", Columns::default(), "which column holds the image is not clear"),
        ("image,age,sex\na1,1,2\n", Columns::default(), "which column holds the class is not clear"),
        ("image,MEL,NV\na1,0,1\na2,1,1\n", Columns::default(), "line 3 has several classes"),
        ("a1.jpg,1,cat\n", Columns::default(), "the list has no header"),
        ("id,label\na1,cat\n", columns("", "breed", ""), "no column \"breed\""),
        ("id,label\na1,cat\n", columns("0", "", ""), "no column \"0\""),
        ("a1.jpg,cat\n", columns("", "label", ""), "the list has no header, for its first row"),
    ] {
        let error = List::parse(text, &columns, &finder()).expect_err(text);
        assert!(
            error.to_string().contains(words) && error.to_string().contains("help:"),
            "{text:?}: {error}"
        );
    }
}
