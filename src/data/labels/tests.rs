//! Lists as people and programs write them.

use super::*;
use proptest::proptest;
use std::path::PathBuf;

fn finder() -> Finder {
    Finder::new(["cat.jpg", "a1.jpg", "a2.jpg", "train/b.png"].map(PathBuf::from).to_vec())
}

fn columns(image: &str, label: &str, split: &str) -> Columns {
    let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Columns { image: given(image), label: given(label), split: given(split), group: None }
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
        ("Klasse;Filename\ncat;a1\ndog;a2\n", two.clone()),
        ("sep=;\nid;breed\na1;cat, black\n", vec![(3, "a1", "cat, black", None)]),
        ("image\tlabel\na1\tcat\na2\tdog", two),
        ("id,breed\n\na1,cat\n,\na2,dog\n", vec![(3, "a1", "cat", None), (5, "a2", "dog", None)]),
        ("a1.jpg,cat\na2.jpg,dog\n", bare.clone()),
        ("cat,a1.jpg\ndog,a2.jpg\n", bare.clone()),
        ("a1.jpg cat\na2.jpg dog\n", bare.clone()),
        // Set in columns.
        ("a1.jpg   cat\na2.jpg   dog", bare),
        // Commas in a text are none between fields.
        (
            "a1.jpg\tcat, big, old\na2.jpg\tdog, small\n",
            vec![(1, "a1.jpg", "cat, big, old", None), (2, "a2.jpg", "dog, small", None)],
        ),
        ("\"a1.jpg\";\"x, y, z\"\n", vec![(1, "a1.jpg", "x, y, z", None)]),
        // A first line that names an image is none of columns, be the image there or not.
        ("x.jpg,cat\na1.jpg,dog\n", vec![(1, "x.jpg", "cat", None), (2, "a1.jpg", "dog", None)]),
        ("a1,y\na2,n\n", vec![(1, "a1", "y", None), (2, "a2", "n", None)]),
        ("sep=\t\nid\tlabel\na1\tcat\n", vec![(3, "a1", "cat", None)]),
        // That an image is called as a column is changes nothing.
        ("name,cat\na1,dog\n", vec![(2, "a1", "dog", None)]),
        // The image is where most images are, be the column called as it is; whole names before others.
        (
            "id,photo,label\na1,a2.jpg,dog\na2,a1.jpg,cat\n",
            vec![(2, "a2.jpg", "dog", None), (3, "a1.jpg", "cat", None)],
        ),
        ("photo,name\na1.jpg,rose\n", vec![(2, "a1.jpg", "rose", None)]),
        // A column that nobody filled in.
        ("id,label,split\na1,cat,\n", vec![(2, "a1", "cat", None)]),
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
        ("image,MEL,NV\na1,0.0,1.0\na2,1,0\n", vec![(2, "a1", "NV", None), (3, "a2", "MEL", None)]),
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
    // The image is where most images are, whatever the columns are called; of equals that with endings.
    let list = "n,id,mask,label\n1,a1,a1.jpg,cat\n2,a2,,dog\n";
    assert_eq!(List::parse(list, &Columns::default(), &finder()).unwrap().image, "id");
    // Two columns that lead to the same images are one.
    let list = "name,id,label\na1.jpg,a1,cat\na2.jpg,a2,dog\n";
    assert_eq!(List::parse(list, &Columns::default(), &finder()).unwrap().image, "id");
    let many: String =
        (0..12_000).map(|i| format!("{i},{}{i},c{}\n", if i % 2 == 0 { "x" } else { "y" }, i % 3)).collect();
    let there = (0..12_000).filter(|i| i % 2 == 1).map(|i| PathBuf::from(format!("y{i}.jpg")));
    let there = Finder::new(there.chain([PathBuf::from("4.jpg")]).collect());
    let list = List::parse(&format!("n,id,label\n{many}"), &Columns::default(), &there).unwrap();
    assert_eq!((&*list.image, list.rows.len()), ("id", 12_000));
    // Splits by what is in the column, with a header and without.
    let list = "id,label,set\na1,cat,Train\na2,dog,\ncat,dog,test\n";
    assert_eq!(List::parse(list, &Columns::default(), &finder()).unwrap().split.as_deref(), Some("set"));
    let list = List::parse("a1.jpg,cat,train\na2.jpg,dog,val\n", &Columns::default(), &finder()).unwrap();
    assert_eq!((&*list.label, list.split.as_deref()), ("2", Some("3")));
    // A name with a comma is one name.
    let list = "id,\"big, old\",big,old\na1,x,0,1\n";
    assert_eq!(List::parse(list, &columns("", "big, old", ""), &finder()).unwrap().label, "big, old");
    let list = List::parse("what,which\na1,dog\n", &Columns::default(), &finder()).unwrap();
    assert_eq!(list.notes, ["the first line of the list is taken for a header: what, which"]);
    // Columns that are asked for may leave an image without a class.
    let list = List::parse("id,a,b,fold\na1,0,1,1\na2,0,0,1\n", &columns("", "a,b", ""), &finder()).unwrap();
    assert_eq!(rows(&list), [(2, "a1", "b", None), (3, "a2", "", None)]);
    let list =
        List::parse("id,note,label\na1,\"big\na2,old\",cat\n", &Columns::default(), &finder()).unwrap();
    assert_eq!(list.notes, ["1 row takes several lines, from line 2 on: is a quote not closed there?"]);
    // Upper and lower case are one until two columns differ in it.
    let list = List::parse("id,label,Label\na1,1,cat\n", &columns("ID", "Label", ""), &finder()).unwrap();
    assert_eq!(rows(&list), [(2, "a1", "cat", None)]);
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
        ("image,MEL,NV\na1,0,1\na2,0,0\n", Columns::default(), "line 3 has no class"),
        (
            "image,is_cat,is_test\na1,1,0\na2,1,0\n",
            Columns::default(),
            "which column holds the class is not clear",
        ),
        (
            "id,spiral,round\na1,9,1\na2,1,7\n",
            columns("", "spiral,round", ""),
            "another thing than 0 and 1 in spiral",
        ),
        // Separators in a field, and names of rows without a name of their own.
        ("image label\na1.jpg cat\na2.jpg red fox\n", Columns::default(), "line 3 has more fields"),
        ("a1.jpg cat\na2.jpg red fox\n", Columns::default(), "line 2 has more fields"),
        ("id\tlabel\n1\ta1\tcat\n", Columns::default(), "line 2 has more fields"),
        // Two columns of images, and nothing to choose by.
        (
            "id,fname,label\na1,a2,cat\na2,a1,dog\n",
            Columns::default(),
            "which column holds the image is not clear",
        ),
        ("a1,a2,cat\na2,a1,dog\n", columns("", "3", ""), "which column holds the image is not clear"),
        (",id,label\na1,cat,x\na2,b9,y\n", Columns::default(), "which column holds the image is not clear"),
        ("id,label,label\na1,cat,1\n", Columns::default(), "which column holds the class is not clear"),
        ("id,Label,LABEL\na1,1,cat\n", columns("", "label", ""), "several columns are called \"label\""),
        ("id,label\na1,1\n", columns("id", "id", ""), "column 1 (\"id\") is asked for twice"),
        ("id,label\na1,1\n", columns("", "label,2", ""), "column 2 (\"label\") is asked for twice"),
        ("a1.jpg,1,cat\n", Columns::default(), "the list has no header"),
        ("id,label\na1,cat\n", columns("", "breed", ""), "no column \"breed\""),
        ("id,label\na1,cat\n", columns("0", "", ""), "no column \"0\""),
        ("a1.jpg,cat\n", columns("", "label", ""), "the list has no header, for its first line"),
    ] {
        let error = List::parse(text, &columns, &finder()).expect_err(text);
        assert!(
            error.to_string().contains(words) && error.to_string().contains("help:"),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn lists_are_read_in_the_encodings_of_spreadsheets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.csv");
    let text = "id,label\r\na1,k\u{e4}fer\r\n\r\na2,dog\r\n";
    let wide = |of: fn(u16) -> [u8; 2], mark: [u8; 2]| -> Vec<u8> {
        mark.into_iter().chain(text.encode_utf16().flat_map(of)).collect()
    };
    for bytes in [
        text.as_bytes().to_vec(),
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        wide(u16::to_le_bytes, [0xff, 0xfe]),
        wide(u16::to_be_bytes, [0xfe, 0xff]),
        text.replace("\r\n", "\r").into_bytes(),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let list = List::read(&path, &Columns::default(), &finder()).unwrap();
        assert_eq!(rows(&list), [(2, "a1", "k\u{e4}fer", None), (4, "a2", "dog", None)], "{bytes:?}");
    }
    std::fs::write(&path, b"id,label\na1,k\xe4fer\n").unwrap();
    let error = List::read(&path, &Columns::default(), &finder()).unwrap_err().to_string();
    assert!(error.contains("is not UTF-8") && error.contains("CSV UTF-8"), "{error}");
}

proptest! {
    /// Whatever stands in a list, it is read or refused, and rows are lines that are there, in their order.
    #[test]
    fn no_list_is_too_odd(text in "(sep=.\n)?[a12.jpgid,label; \t\"#\né0]{0,120}") {
        if let Ok(list) = List::parse(&text, &Columns::default(), &finder()) {
            let lines = text.lines().count() as u64;
            assert!(list.rows.iter().all(|row| (1..=lines).contains(&row.line)));
            assert!(list.rows.windows(2).all(|pair| pair[0].line < pair[1].line));
        }
    }
}
