//! From tokens to a [`Module`]: directives, scopes, labels, operands.
//!
//! In: the text. Out: entries whose operands are resolved. Inline assembly opens scopes in which the
//! same labels and registers are declared again and again, so names are looked up from the inside out.

mod body;

use super::lex::{Sort, Token, tokens};
use super::refuse;
use super::tree::{Function, Module, Param, Space, Variable};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::rc::Rc;

/// Most registers of a function; far above what nvcc writes, and small enough that a damaged text
/// cannot ask for much memory.
const REGISTERS: usize = 1 << 16;
/// Most bytes of a variable.
const VARIABLE: u64 = 1 << 24;
/// Most variables of a module or an entry: they are looked for one after the other.
const VARIABLES: usize = 4096;
/// Most braces within braces.
const DEPTH: usize = 64;

/// Reads the text of a module; `file` names it in errors.
///
/// # Errors
/// [`Kind::Device`](crate::error::Kind::Device) with file, line and what was found there.
pub fn parse(file: &str, text: &str) -> Result<Module> {
    let tokens = tokens(file, text)?;
    let mut parser = Parser {
        file,
        tokens: &tokens,
        at: 0,
        inlined: HashMap::new(),
        call: None,
        calls: Vec::new(),
        bytes: 0,
        registers: 0,
    };
    let mut module = Module {
        file: file.to_owned(),
        version: (0, 0),
        target: String::new(),
        files: Vec::new(),
        variables: Vec::new(),
        entries: Vec::new(),
        lines: text.lines().map(str::to_owned).collect(),
    };
    while parser.at < tokens.len() {
        parser.top(&mut module)?;
    }
    parser.outwards(&mut module);
    Ok(module)
}

/// File, line and column of a `.loc`.
type Spot = (u32, u32, u32);

/// From where a function was called, and from where that was.
struct Call {
    from: Spot,
    then: Option<Rc<Call>>,
    /// How many there are.
    depth: usize,
}

struct Parser<'t> {
    file: &'t str,
    tokens: &'t [Token<'t>],
    at: usize,
    /// Spots in inlined functions, and from where those were called last, the nearest first: a spot's own line stands
    /// before those of what is inlined there.
    inlined: HashMap<Spot, Rc<Call>>,
    /// From where the function was called in which the text is now.
    call: Option<Rc<Call>>,
    /// The same for each instruction, of all entries.
    calls: Vec<Option<Rc<Call>>>,
    /// Bytes of all variables so far.
    bytes: u64,
    /// Registers of all entries so far.
    registers: usize,
}

impl<'t> Parser<'t> {
    fn line(&self) -> u32 {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).map_or(1, |token| token.line)
    }

    fn error(&self, what: impl Into<String>) -> Error {
        refuse(self.file, self.line(), what)
    }

    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<Token<'t>> {
        let token = self.peek().ok_or_else(|| self.error("the text ends in the middle of something"))?;
        self.at += 1;
        Ok(token)
    }

    fn is(&self, mark: u8) -> bool {
        self.peek().is_some_and(|token| token.sort == Sort::Mark(mark))
    }

    fn accept(&mut self, mark: u8) -> bool {
        let here = self.is(mark);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, mark: u8) -> Result<()> {
        if self.accept(mark) {
            return Ok(());
        }
        let found = self.peek().map_or("the end of the text", |token| token.text);
        Err(self.error(format!("expected `{}`, found `{found}`", mark as char)))
    }

    fn word(&mut self) -> Result<&'t str> {
        let token = self.next()?;
        if token.sort != Sort::Word {
            self.at -= 1;
            return Err(self.error(format!("expected a name, found `{}`", token.text)));
        }
        Ok(token.text)
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let here = self.peek().is_some_and(|token| token.sort == Sort::Word && token.text == word);
        self.at += usize::from(here);
        here
    }

    fn integer(&mut self) -> Result<u64> {
        let negative = self.accept(b'-');
        let token = self.next()?;
        let value = (token.sort == Sort::Number).then(|| integer(token.text)).flatten();
        match value {
            Some(value) => Ok(if negative { value.wrapping_neg() } else { value }),
            None => {
                self.at -= 1;
                Err(self.error(format!("expected an integer, found `{}`", token.text)))
            }
        }
    }

    fn number(&mut self) -> Result<u32> {
        let value = self.integer()?;
        u32::try_from(value).map_err(|_| {
            self.at -= 1;
            self.error(format!("the number {value} is too large"))
        })
    }

    fn top(&mut self, module: &mut Module) -> Result<()> {
        let token = self.next()?;
        match token.text {
            ".version" => {
                let text = self.next()?.text;
                let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                module.version = parts.ok_or_else(|| self.error(format!("`{text}` is no version")))?;
            }
            ".target" => {
                module.target = self.word()?.to_owned();
                while self.accept(b',') {
                    self.word()?;
                }
            }
            ".address_size" => {
                if self.integer()? != 64 {
                    return Err(self.error("only 64-bit addresses are known"));
                }
            }
            ".file" => {
                let number = self.number()?;
                let path = self.next()?;
                module.files.push((number, path.text.to_owned()));
                while self.accept(b',') {
                    self.integer()?;
                }
            }
            ".section" => {
                self.word()?;
                self.expect(b'{')?;
                while !self.accept(b'}') {
                    self.next()?;
                }
            }
            ".visible" | ".weak" | ".extern" | ".common" => {}
            ".const" | ".global" | ".shared" => {
                let space = match token.text {
                    ".const" => Space::Const,
                    ".global" => Space::Global,
                    _ => Space::Shared,
                };
                self.variables(space, &mut module.variables)?;
            }
            ".entry" => {
                let entry = self.entry(module)?;
                if module.entry(&entry.name).is_some() {
                    return Err(self.error(format!("`{}` is declared twice", entry.name)));
                }
                module.entries.push(entry);
            }
            ".func" => {
                return Err(self
                    .error("functions that are called are not known here")
                    .help("let nvcc inline them: no __noinline__, printf or assert in kernels"));
            }
            ".pragma" => {
                self.next()?;
                self.expect(b';')?;
            }
            other => {
                self.at -= 1;
                return Err(self.error(format!("unknown directive `{other}`")));
            }
        }
        Ok(())
    }

    /// `.align 4 .b8 name[12] = {1, 2};`, after the space.
    fn variables(&mut self, space: Space, into: &mut Vec<Variable>) -> Result<()> {
        let mut align = None;
        let kind = loop {
            match self.word()? {
                ".align" => align = Some(self.number()?),
                ".attribute" => return Err(self.error("attributes of variables are not known")),
                kind => break kind,
            }
        };
        let element = size_of_type(kind).ok_or_else(|| {
            self.at -= 1;
            self.error(format!("unknown type `{kind}`"))
        })?;
        loop {
            let name = self.word()?.to_owned();
            let mut size = u64::from(element);
            while self.accept(b'[') {
                let count = if self.is(b']') { 0 } else { self.integer()? };
                size = size
                    .checked_mul(count)
                    .filter(|&size| size <= VARIABLE)
                    .ok_or_else(|| self.error(format!("`{name}` is larger than {VARIABLE} bytes")))?;
                self.expect(b']')?;
            }
            let init = if self.accept(b'=') { Some(self.initial(kind, size)?) } else { None };
            self.bytes += size;
            if self.bytes > 4 * VARIABLE {
                return Err(
                    self.error(format!("the module's variables take more than {} bytes", 4 * VARIABLE))
                );
            }
            if into.len() == VARIABLES {
                return Err(self.error(format!("more than {VARIABLES} variables")));
            }
            if into.iter().any(|known| known.name == name) {
                return Err(self.error(format!("`{name}` is declared twice")));
            }
            let align = align.unwrap_or(element);
            if !align.is_power_of_two() || align > 4096 {
                return Err(self.error(format!("`{name}` cannot be aligned to {align}")));
            }
            into.push(Variable { name, space, align, size: size as u32, element, init });
            if !self.accept(b',') {
                break;
            }
        }
        self.expect(b';')
    }

    fn initial(&mut self, kind: &str, size: u64) -> Result<Vec<u8>> {
        let element = size_of_type(kind).unwrap_or(1) as usize;
        if element > 8 {
            return Err(self.error(format!("values of a variable of {kind} are not known here")));
        }
        let mut bytes = Vec::new();
        let listed = self.accept(b'{');
        loop {
            let token = self.peek();
            let single = token.and_then(|t| t.text.strip_prefix("0f")).filter(|t| t.len() == 8);
            let value = match single.and_then(|t| u32::from_str_radix(t, 16).ok()) {
                Some(bits) => {
                    self.at += 1;
                    u64::from(bits)
                }
                None => self.integer()?,
            };
            bytes.extend_from_slice(&value.to_le_bytes()[..element]);
            if bytes.len() as u64 > size {
                return Err(self.error("more values than the variable holds"));
            }
            if !(listed && self.accept(b',')) {
                break;
            }
        }
        if listed {
            self.expect(b'}')?;
        }
        bytes.resize(size as usize, 0);
        Ok(bytes)
    }

    fn entry(&mut self, module: &Module) -> Result<Function> {
        let line = self.line();
        let mut function = Function {
            name: self.word()?.to_owned(),
            line,
            params: Vec::new(),
            cluster: None,
            registers: Vec::new(),
            variables: Vec::new(),
            body: Vec::new(),
            labels: Vec::new(),
        };
        if self.accept(b'(') {
            while !self.accept(b')') {
                self.param(&mut function.params)?;
                self.accept(b',');
            }
        }
        while !self.accept(b'{') {
            match self.word()? {
                // The launch is held to it before (`Launch::check`).
                ".maxntid" => {
                    self.axes()?;
                }
                ".reqnctapercluster" => function.cluster = Some(self.axes()?),
                // The launch may not say another number of blocks.
                ".explicitcluster" => {}
                ".minnctapersm" | ".maxnreg" => {
                    self.number()?;
                }
                ".reqntid" => return Err(self.error("`.reqntid` is not known")),
                ".pragma" => {
                    self.next()?;
                    self.expect(b';')?;
                }
                other => return Err(self.error(format!("unknown directive `{other}` of an entry"))),
            }
        }
        self.body(module, &mut function)?;
        Ok(function)
    }

    /// One to three numbers; those that are left out are 1.
    fn axes(&mut self) -> Result<[u32; 3]> {
        let mut axes = [1; 3];
        for axis in &mut axes {
            *axis = self.number()?;
            if !self.accept(b',') {
                break;
            }
        }
        Ok(axes)
    }

    fn param(&mut self, params: &mut Vec<Param>) -> Result<()> {
        if self.word()? != ".param" {
            return Err(self.error("expected `.param`"));
        }
        let mut align = None;
        let kind = loop {
            match self.word()? {
                ".align" => align = Some(self.number()?),
                kind => break kind,
            }
        };
        let element = size_of_type(kind).ok_or_else(|| self.error(format!("unknown type `{kind}`")))?;
        if self.accept_word(".ptr") {
            for space in [".global", ".shared", ".const", ".local"] {
                self.accept_word(space);
            }
            if self.accept_word(".align") {
                self.number()?;
            }
        }
        let name = self.word()?.to_owned();
        let mut size = element;
        if self.accept(b'[') {
            let count = self.number()?;
            size = element
                .checked_mul(count)
                .filter(|&size| size <= 4096)
                .ok_or_else(|| self.error(format!("parameter `{name}` is larger than 4096 bytes")))?;
            self.expect(b']')?;
        }
        let align = align.unwrap_or(element);
        if !align.is_power_of_two() || align > 256 {
            return Err(self.error(format!("parameter `{name}` cannot be aligned to {align}")));
        }
        let end = params.last().map_or(0, |last| last.offset + last.size);
        let offset = end.next_multiple_of(align);
        if offset + size > 4096 {
            return Err(self.error("the parameters take more than 4096 bytes"));
        }
        params.push(Param { name, offset, size, align });
        Ok(())
    }
}

fn integer(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['U', 'u']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(bits) = text.strip_prefix("0b").or_else(|| text.strip_prefix("0B")) {
        return u64::from_str_radix(bits, 2).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

/// Bytes of a fundamental type, with its dot.
pub fn size_of_type(name: &str) -> Option<u32> {
    Some(match name {
        ".b8" | ".u8" | ".s8" => 1,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 4,
        ".b64" | ".u64" | ".s64" | ".f64" => 8,
        ".b128" => 16,
        _ => return None,
    })
}
