//! The body of an entry: scopes, registers, labels, instructions and their operands.
//!
//! In: tokens from the opening brace on. Out: the function's registers, variables, labels and
//! instructions. Names are looked up from the inside out; a label may stand after the branch to it.

use super::{Call, DEPTH, Parser, REGISTERS};
use crate::error::Result;
use crate::ptx::lex::Sort;
use crate::ptx::refuse;
use crate::ptx::tree::{Class, Function, Instruction, Module, Operand, Place, Register, Space};
use std::collections::HashMap;
use std::rc::Rc;

/// Names of a function while it is read.
#[derive(Default)]
struct Names {
    scopes: Vec<Scope>,
    /// Innermost last.
    open: Vec<usize>,
}

#[derive(Default)]
struct Scope {
    parent: Option<usize>,
    registers: HashMap<String, u32>,
    labels: HashMap<String, u32>,
}

impl Names {
    fn enter(&mut self) {
        let parent = self.open.last().copied();
        self.open.push(self.scopes.len());
        self.scopes.push(Scope { parent, ..Scope::default() });
    }

    fn find(&self, from: usize, pick: impl Fn(&Scope) -> Option<u32>) -> Option<u32> {
        let mut scope = Some(from);
        while let Some(at) = scope {
            if let Some(found) = pick(&self.scopes[at]) {
                return Some(found);
            }
            scope = self.scopes[at].parent;
        }
        None
    }

    fn register(&self, name: &str) -> Option<u32> {
        self.find(*self.open.last()?, |scope| scope.registers.get(name).copied())
    }
}

/// A `bra` whose label may come later.
struct Fixup {
    instruction: usize,
    operand: usize,
    scope: usize,
    name: String,
    line: u32,
}

impl<'t> Parser<'t> {
    pub(super) fn body(&mut self, module: &Module, function: &mut Function) -> Result<()> {
        let mut names = Names::default();
        names.enter();
        let mut place = None;
        self.call = None;
        let mut fixups = Vec::new();
        loop {
            let token = self.next()?;
            match (token.sort, token.text) {
                (Sort::Mark(b'{'), _) if names.open.len() < DEPTH => names.enter(),
                (Sort::Mark(b'}'), _) => {
                    names.open.pop();
                    if names.open.is_empty() {
                        break;
                    }
                }
                (Sort::Word, ".reg") => self.registers(&mut names, function)?,
                (Sort::Word, ".shared") => self.variables(Space::Shared, &mut function.variables)?,
                (Sort::Word, ".local") => self.variables(Space::Local, &mut function.variables)?,
                (Sort::Word, ".loc") => place = self.location()?,
                (Sort::Word, ".pragma") => {
                    self.next()?;
                    self.expect(b';')?;
                }
                (Sort::Word, name) if self.is(b':') => {
                    self.at += 1;
                    let scope = names.open.last().copied().unwrap_or_default();
                    let label = function.labels.len() as u32;
                    function.labels.push(function.body.len() as u32);
                    if names.scopes[scope].labels.insert(name.to_owned(), label).is_some() {
                        return Err(refuse(self.file, token.line, format!("label `{name}` stands twice")));
                    }
                }
                (Sort::Mark(b'@'), _) | (Sort::Word, _) if !token.text.starts_with('.') => {
                    self.at -= 1;
                    let mut instruction = self.instruction(module, function, &names, &mut fixups)?;
                    instruction.place = place;
                    self.calls.push(self.call.clone());
                    function.body.push(instruction);
                }
                (_, text) => {
                    self.at -= 1;
                    return Err(self.error(format!("expected an instruction, found `{text}`")));
                }
            }
        }
        for fixup in fixups {
            let label = names.find(fixup.scope, |scope| scope.labels.get(&fixup.name).copied());
            let label = label.ok_or_else(|| {
                refuse(self.file, fixup.line, format!("there is no label `{}`", fixup.name))
            })?;
            function.body[fixup.instruction].operands[fixup.operand] = Operand::Label(label);
        }
        Ok(())
    }

    /// `1 16 5, function_name $L__info_string0, inlined_at 1 19 3`, which ends with its line.
    fn location(&mut self) -> Result<Option<Place>> {
        let (file, line, column) = (self.number()?, self.number()?, self.number()?);
        self.call = None;
        while self.accept(b',') {
            match self.word()? {
                "function_name" => {
                    self.word()?;
                    if self.accept(b'+') {
                        self.number()?;
                    }
                }
                "inlined_at" => {
                    let from = (self.number()?, self.number()?, self.number()?);
                    // A damaged text may call itself.
                    let then = self.inlined.get(&from).filter(|call| call.depth < DEPTH).cloned();
                    let depth = 1 + then.as_ref().map_or(0, |call| call.depth);
                    let call = Rc::new(Call { from, then, depth });
                    self.inlined.insert((file, line, column), Rc::clone(&call));
                    self.call = Some(call);
                }
                other => return Err(self.error(format!("unknown attribute `{other}` of `.loc`"))),
            }
        }
        Ok((line > 0).then_some(Place { file, line }))
    }

    /// Places in headers of the compiler (`<sm_30_intrinsics.hpp>`) say nothing to a reader: they become
    /// those of the calls. `.file` stands at the end of the text, so this is done last.
    pub(super) fn outwards(&self, module: &mut Module) {
        let foreign: Vec<u32> = module
            .files
            .iter()
            .filter(|(_, path)| path.starts_with('<'))
            .map(|&(number, _)| number)
            .collect();
        let all = module.entries.iter_mut().flat_map(|entry| &mut entry.body);
        for (instruction, call) in all.zip(&self.calls) {
            // Headers call headers.
            let mut call = call.as_ref();
            while let (Some(place), Some(now)) = (instruction.place, call) {
                if !foreign.contains(&place.file) {
                    break;
                }
                let (file, line, _) = now.from;
                instruction.place = Some(Place { file, line });
                call = now.then.as_ref();
            }
        }
    }

    fn registers(&mut self, names: &mut Names, function: &mut Function) -> Result<()> {
        let kind = self.word()?;
        let class = match kind {
            ".pred" => Class::P,
            ".b8" | ".u8" | ".s8" | ".b16" | ".u16" | ".s16" | ".f16" | ".b32" | ".u32" | ".s32" | ".f32"
            | ".f16x2" => Class::W,
            ".b64" | ".u64" | ".s64" | ".f64" => Class::L,
            other => return Err(self.error(format!("unknown register type `{other}`"))),
        };
        let scope = names.open.last().copied().unwrap_or_default();
        loop {
            let name = self.word()?;
            let list: Vec<String> = if self.accept(b'<') {
                let count = self.number()? as usize;
                self.expect(b'>')?;
                if function.registers.len() + count > REGISTERS {
                    return Err(self.error(format!("more than {REGISTERS} registers")));
                }
                (0..count).map(|i| format!("{name}{i}")).collect()
            } else {
                vec![name.to_owned()]
            };
            self.registers += list.len();
            if self.registers > 8 * REGISTERS {
                return Err(self.error(format!("the module has more than {} registers", 8 * REGISTERS)));
            }
            for name in list {
                if function.registers.len() >= REGISTERS {
                    return Err(self.error(format!("more than {REGISTERS} registers")));
                }
                let id = function.registers.len() as u32;
                function.registers.push(Register { name: name.clone(), class });
                names.scopes[scope].registers.insert(name, id);
            }
            if !self.accept(b',') {
                break;
            }
        }
        self.expect(b';')
    }

    fn instruction(
        &mut self,
        module: &Module,
        function: &Function,
        names: &Names,
        fixups: &mut Vec<Fixup>,
    ) -> Result<Instruction> {
        let mut guard = None;
        if self.accept(b'@') {
            let inverted = self.accept(b'!');
            let name = self.word()?;
            let id = names.register(name).ok_or_else(|| self.error(format!("no register `{name}`")))?;
            guard = Some((id, inverted));
        }
        let line = self.line();
        let opcode = self.word()?.to_owned();
        let mut operands = Vec::new();
        while !self.accept(b';') {
            if opcode.starts_with("bra") && (opcode == "bra" || opcode.starts_with("bra.")) {
                let name = self.word()?.to_owned();
                let scope = names.open.last().copied().unwrap_or_default();
                let (instruction, operand) = (function.body.len(), operands.len());
                fixups.push(Fixup { instruction, operand, scope, name, line });
                operands.push(Operand::Label(0));
            } else {
                operands.push(self.operand(module, function, names)?);
            }
            if operands.len() > 16 {
                return Err(self.error(format!("`{opcode}` has too many operands")));
            }
            if !self.is(b';') {
                self.expect(b',')?;
            }
        }
        Ok(Instruction { line, place: None, guard, opcode, operands })
    }

    fn operand(&mut self, module: &Module, function: &Function, names: &Names) -> Result<Operand> {
        if self.accept(b'{') {
            return self.vector(module, function, names).map(Operand::Vector);
        }
        if self.accept(b'[') {
            let base = self.simple(module, function, names)?;
            let mut offset = 0i64;
            if self.accept(b'+') || self.is(b'-') {
                offset = self.integer()? as i64;
            }
            if offset == 0 && self.accept(b',') {
                self.expect(b'{')?;
                let parts = self.vector(module, function, names)?;
                self.expect(b']')?;
                return Ok(Operand::Tensor(Box::new(base), parts));
            }
            self.expect(b']')?;
            return Ok(Operand::Memory(Box::new(base), offset));
        }
        if self.accept(b'!') {
            let name = self.word()?;
            let id = names.register(name).ok_or_else(|| self.error(format!("no register `{name}`")))?;
            return Ok(Operand::Not(id));
        }
        let first = self.simple(module, function, names)?;
        if self.accept(b'|') {
            let second = self.simple(module, function, names)?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    /// The rest of `{a, b}`.
    fn vector(&mut self, module: &Module, function: &Function, names: &Names) -> Result<Vec<Operand>> {
        let mut parts = Vec::new();
        while !self.accept(b'}') {
            parts.push(self.simple(module, function, names)?);
            if parts.len() > 256 {
                return Err(self.error("a vector of more than 256 parts"));
            }
            if !self.is(b'}') {
                self.expect(b',')?;
            }
        }
        Ok(parts)
    }

    fn simple(&mut self, module: &Module, function: &Function, names: &Names) -> Result<Operand> {
        let token = self.peek().ok_or_else(|| self.error("the text ends in an operand"))?;
        if self.is(b'-') || token.sort == Sort::Number {
            if let Some(hex) = token.text.strip_prefix("0f").or_else(|| token.text.strip_prefix("0F"))
                && hex.len() == 8
                && let Ok(bits) = u32::from_str_radix(hex, 16)
            {
                self.at += 1;
                return Ok(Operand::Single(bits));
            }
            if let Some(hex) = token.text.strip_prefix("0d").or_else(|| token.text.strip_prefix("0D"))
                && hex.len() == 16
                && let Ok(bits) = u64::from_str_radix(hex, 16)
            {
                self.at += 1;
                return Ok(Operand::Double(bits));
            }
            return self.integer().map(Operand::Int);
        }
        let name = self.word()?;
        if name == "_" {
            return Ok(Operand::Sink);
        }
        if let Some(id) = names.register(name) {
            return Ok(Operand::Register(id));
        }
        let known = function.variables.iter().chain(&module.variables).any(|known| known.name == name)
            || function.params.iter().any(|param| param.name == name);
        if known {
            return Ok(Operand::Symbol(name.to_owned()));
        }
        if name.starts_with('%') {
            return Ok(Operand::Special(name.to_owned()));
        }
        self.at -= 1;
        Err(self.error(format!("nothing is called `{name}` here")))
    }
}
