//! Reads from a PTX text what a launch needs to know: entries, parameters, threads, shared memory.
//!
//! Not the parser of the emulator (`src/ptx`): this one runs before the library exists, and skips what
//! it has no use for. What it has a use for and does not understand, it refuses with the line.

use std::collections::{HashMap, HashSet};

/// One kernel.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Size and alignment in bytes of each parameter.
    pub params: Vec<(u32, u32)>,
    /// The product of `.maxntid`.
    pub max_threads: Option<u32>,
    /// Bytes of shared memory that it declares or uses, one behind the other as aligned. `ptxas` may
    /// order them otherwise, and pad a little more.
    pub static_shared: u32,
    /// Whether it waits for the kernel before it.
    pub awaits: bool,
}

/// A name that a function may mention: another function, or a variable of the whole file.
#[derive(Default)]
struct Item {
    /// Size and alignment of the shared variables declared in it (of itself, if it is one).
    shared: Vec<(u32, u32)>,
    mentions: HashSet<String>,
}

/// The entries of a text, in its order.
///
/// # Errors
/// "line: what was expected".
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    let mut reader = Reader { tokens: tokens(text), at: 0 };
    let mut items: HashMap<String, Item> = HashMap::new();
    let mut entries = Vec::new();
    let mut external = false;
    while let Some(token) = reader.next() {
        match token {
            ".extern" => external = true,
            ".shared" => {
                let (name, size, align) = reader.variable()?;
                // Without a size: dynamic shared memory, which the launch says.
                if let (Some(size), false) = (size, external) {
                    items.insert(name, Item { shared: vec![(size, align)], ..Item::default() });
                }
                external = false;
            }
            ".entry" => {
                let name = reader.word("the entry's name")?;
                let params = if reader.peek() == Some("(") { reader.params()? } else { Vec::new() };
                let max_threads = reader.until_body()?;
                items.insert(name.clone(), reader.body()?);
                let awaits = items[&name].mentions.contains("griddepcontrol.wait");
                entries.push(Entry { name, params, max_threads, static_shared: 0, awaits });
            }
            ".func" => {
                // Its name is the last word before the parentheses of its parameters.
                let mut name = String::new();
                while let Some(token) = reader.peek().filter(|token| !matches!(*token, "{" | ";")) {
                    let token = token.to_owned();
                    reader.at += 1;
                    if token == "(" {
                        reader.skip_to(")")?;
                    } else if !token.starts_with('.') {
                        name = token;
                    }
                }
                if reader.peek() == Some("{") {
                    items.insert(name, reader.body()?);
                }
            }
            "{" => reader.skip_to("}")?,
            ";" => external = false,
            _ => {}
        }
    }
    for entry in &mut entries {
        entry.static_shared = shared(&entry.name, &items);
    }
    if entries.is_empty() && !text.contains(".address_size") {
        return Err("1: this is not PTX: it has no entry and no .address_size".into());
    }
    Ok(entries)
}

/// All shared memory that `name` reaches.
fn shared(name: &str, items: &HashMap<String, Item>) -> u32 {
    let mut seen = HashSet::from([name]);
    let mut open = vec![name];
    let mut variables: Vec<(u32, u32)> = Vec::new();
    while let Some(item) = open.pop().and_then(|name| items.get(name)) {
        variables.extend(&item.shared);
        for mentioned in &item.mentions {
            if items.contains_key(mentioned) && seen.insert(mentioned) {
                open.push(mentioned);
            }
        }
    }
    // The strictest first, so that the sum does not depend on the order of a set.
    variables.sort_by_key(|&(size, align)| std::cmp::Reverse((align, size)));
    let end = variables
        .iter()
        .fold(0, |end: u64, &(size, align)| end.next_multiple_of(u64::from(align)) + u64::from(size));
    u32::try_from(end).unwrap_or(u32::MAX)
}

/// A word, a number, a text or a sign, and its line. Comments are gone.
type Token<'a> = (&'a str, usize);

fn tokens(text: &str) -> Vec<Token<'_>> {
    let of_word = |c: char| c.is_ascii_alphanumeric() || "_$%.".contains(c);
    let mut out = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if of_word(first) {
            rest.find(|c| !of_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(len);
        if !first.is_whitespace() && !token.starts_with("//") && !token.starts_with("/*") {
            out.push((token, line));
        }
        line += token.matches('\n').count();
        rest = after;
    }
    out
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|(token, _)| *token)
    }

    fn next(&mut self) -> Option<&'a str> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// "line: expected …, got …" for the token that was read last.
    fn expected<T>(&self, what: &str) -> Result<T, String> {
        let last = self.tokens.get(self.at.saturating_sub(1)).or(self.tokens.last());
        let (got, line) = last.copied().unwrap_or(("nothing", 1));
        Err(format!("{line}: expected {what}, got `{got}`"))
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        match self.next() {
            Some(word) if word.starts_with(|c: char| c.is_alphabetic() || "_$%".contains(c)) => {
                Ok(word.to_owned())
            }
            _ => self.expected(what),
        }
    }

    fn number(&mut self, what: &str) -> Result<u32, String> {
        match self.next().and_then(|token| token.parse().ok()) {
            Some(number) => Ok(number),
            None => self.expected(what),
        }
    }

    fn skip_to(&mut self, end: &str) -> Result<(), String> {
        loop {
            match self.next() {
                Some(token) if token == end => return Ok(()),
                Some("{") => self.skip_to("}")?,
                Some(_) => {}
                None => return self.expected(&format!("`{end}`")),
            }
        }
    }

    /// `[.align n] .type [.ptr …] name [size]…`: name, size (none for `name[]`), alignment.
    fn variable(&mut self) -> Result<(String, Option<u32>, u32), String> {
        let mut align = None;
        let width = loop {
            match self.next() {
                Some(".align") => align = Some(self.number("an alignment")?),
                Some(kind) => match width(kind) {
                    Some(width) => break width,
                    None => return self.expected("a type such as .u64"),
                },
                None => return self.expected("a type such as .u64"),
            }
        };
        // `.ptr .global .align 16`: that alignment is of what the pointer points to.
        while self.peek().is_some_and(|token| token.starts_with('.')) {
            if self.next() == Some(".align") {
                self.number("an alignment")?;
            }
        }
        let name = self.word("a name")?;
        let mut size = Some(width);
        while self.peek() == Some("[") {
            self.at += 1;
            if self.peek() == Some("]") {
                size = None;
            } else {
                let count = self.number("a size")?;
                size = size.and_then(|size| size.checked_mul(count));
            }
            if self.next() != Some("]") {
                return self.expected("`]`");
            }
        }
        match align.unwrap_or(width) {
            align if align.is_power_of_two() => Ok((name, size, align)),
            _ => self.expected("an alignment that is a power of two"),
        }
    }

    /// `(.param …, .param …)`.
    fn params(&mut self) -> Result<Vec<(u32, u32)>, String> {
        let mut params = Vec::new();
        self.at += 1;
        loop {
            match self.next() {
                Some(")") => return Ok(params),
                Some(",") => {}
                Some(".param") => match self.variable()? {
                    (_, Some(size), align) => params.push((size, align)),
                    _ => return self.expected("a parameter with a size"),
                },
                _ => return self.expected("`.param` or `)`"),
            }
        }
    }

    /// What stands between an entry's parameters and its body.
    fn until_body(&mut self) -> Result<Option<u32>, String> {
        let mut threads = None;
        loop {
            match self.peek() {
                Some("{") => return Ok(threads),
                None => return self.expected("`{`"),
                Some(".maxntid" | ".reqntid") => {
                    self.at += 1;
                    let mut product = self.number("a number of threads")?;
                    while self.peek() == Some(",") {
                        self.at += 1;
                        product = self.number("a number of threads")?.saturating_mul(product);
                    }
                    threads = Some(product);
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// `{ … }`, with blocks inside it.
    fn body(&mut self) -> Result<Item, String> {
        let mut item = Item::default();
        let mut depth = 0;
        loop {
            match self.next() {
                Some("{") => depth += 1,
                Some("}") if depth == 1 => return Ok(item),
                Some("}") => depth -= 1,
                // `ld.shared.f32` is one word; alone it declares.
                Some(".shared") => {
                    let (_, size, align) = self.variable()?;
                    item.shared.extend(size.map(|size| (size, align)));
                }
                Some(word) => {
                    item.mentions.insert(word.to_owned());
                }
                None => return self.expected("`}`"),
            }
        }
    }
}

/// Bytes of a fundamental type.
fn width(kind: &str) -> Option<u32> {
    let bits: u32 = match kind {
        ".b8" | ".u8" | ".s8" => 8,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 16,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 32,
        ".b64" | ".u64" | ".s64" | ".f64" => 64,
        ".b128" => 128,
        _ => return None,
    };
    Some(bits / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The forms in which nvcc 13.0 and NVRTC write, shortened.
    const TEXT: &str = r#"
.version 7.0
.target sm_75
.address_size 64
.func  (.param .b32 func_retval0) slow
(
	.param .b32 slow_param_0
)
;
.shared .align 4 .b8 both[128];
.shared .align 4 .b8 other[64];
// tile has been demoted
.extern .shared .align 16 .b8 dynamic[];
.global .align 4 .b8 table[8] = {65, 144, 67, 60, 153, 149, 98, 219};
.visible .entry first(
	.param .align 8 .b8 first_param_0[24],
	.param .u8 first_param_1,
	.param .u64 .ptr .global .align 16 first_param_2,
	.param .align 64 .b8 first_param_3[128]
)
.maxntid 16, 8, 2
.minnctapersm 2
{
	.reg .b32 	%r<38>;
	.loc	1 9 0
	.shared .align 1 .b8 odd[3];
	.shared .align 128 .b8 tile[4][132];
	mov.u32 	%r10, both;
	{ // an asm scope
	.reg .pred P1;
	ld.shared.f32 	%f13, [dynamic+12];
	}
	call.uni (retval0), slow, (param0);
	ret;
}
.visible .entry second()
{
	ret;
}
.visible .entry third
{
	ret;
}
.func  (.param .b32 func_retval0) slow(
	.param .b32 slow_param_0
)
{
	.shared .align 4 .b8 inner[132];
	ret;
}
	.file	1 "kernels/x.cu"
	.section	.debug_str
	{
$L__info_string0:
.b8 95,90,0
	}
"#;

    #[test]
    fn the_table_of_a_text() {
        let entries = read(TEXT).unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["first", "second", "third"]);
        // A pointer's own alignment is 8, whatever it points to.
        assert_eq!(entries[0].params, [(24, 8), (1, 1), (8, 8), (128, 64)]);
        assert_eq!(entries[0].max_threads, Some(256));
        // tile, then both and inner, which it reaches, then odd; not `other`, and nothing for `dynamic`.
        assert_eq!(entries[0].static_shared, 528 + 132 + 128 + 3);
        assert_eq!((entries[1].params.len(), entries[1].max_threads, entries[1].static_shared), (0, None, 0));
    }

    #[test]
    fn what_it_does_not_understand_it_refuses_with_the_line() {
        let refused = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            read(&TEXT.replacen(from, to, 1)).unwrap_err()
        };
        assert_eq!(refused(".param .u8 ", ".param .v9 "), "17: expected a type such as .u64, got `.v9`");
        assert_eq!(refused("tile[4]", "tile[x]"), "27: expected a size, got `x`");
        assert_eq!(refused("16, 8, 2", "many"), "21: expected a number of threads, got `many`");
        assert_eq!(
            refused(".align 128 ", ".align 3 "),
            "27: expected an alignment that is a power of two, got `]`"
        );
        assert!(read("int main() {}").unwrap_err().contains("not PTX"));
        // Cut off anywhere, it is refused or read, and never looked at beyond its end.
        for end in 0..TEXT.len() {
            let _ = read(&TEXT[..end]);
        }
    }
}
