//! The pickle machine: opcodes in, a table of values out.
//!
//! It knows the opcodes that Python writes in protocols 2 to 5, and 1's integers. It calls nothing: what
//! Python would call becomes a [`Call`], a value like others. Steps and values are counted, so a pickle
//! costs no more than its length says and never more than a fixed amount.

use super::danger;
use super::value::{Call, Id, Pickle, Value};
use std::collections::BTreeMap;

/// Opcodes that are followed. A checkpoint of VGG16 with its optimizer has 10,000.
const MAX_STEPS: usize = 1 << 23;
/// Values in the table: 32 bytes each.
const MAX_VALUES: usize = 1 << 21;
/// Why a pickle was not read.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// At which byte of the pickle, and what is wrong there.
    Damaged(usize, String),
    /// It names a function that runs code, `os.system`.
    Dangerous(String),
}

type Outcome<T> = Result<T, Fault>;

/// Reads the pickle at the beginning of `bytes`; also returns its length.
pub(super) fn read(bytes: &[u8]) -> Outcome<(Pickle<'_>, usize)> {
    let mut machine = Machine::new(bytes);
    for _ in 0..MAX_STEPS {
        let op = machine.take::<1>()?[0];
        if op == b'.' {
            let top = machine.pop()?;
            return Ok((Pickle { values: machine.values, top }, machine.at));
        }
        machine.step(op)?;
    }
    Err(machine.fault(format!("it has more than {MAX_STEPS} steps")))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// The lengths of the stack at its marks.
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
}

/// Values that are in every table, so that repeating them costs nothing.
const OTHER: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const NO_ARGS: Id = 3;

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let values = vec![Value::Other, Value::Bool(false), Value::Bool(true), Value::Tuple(Vec::new())];
        Self { bytes, at: 0, values, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() }
    }

    fn step(&mut self, op: u8) -> Outcome<()> {
        match op {
            // PROTO, FRAME: the opcodes say it all.
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.pop_or_mark()?,
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(self.peek()?),

            b'N' => self.stack.push(OTHER),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b')' => self.stack.push(NO_ARGS),
            b'J' => {
                let int = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(int.into()))?;
            }
            b'K' => {
                let int = self.number::<1>()?;
                self.push(Value::Int(int as i64))?;
            }
            b'M' => {
                let int = self.number::<2>()?;
                self.push(Value::Int(int as i64))?;
            }
            0x8a => self.long::<1>()?,
            0x8b => self.long::<4>()?,
            b'I' | b'L' => self.decimal()?,
            b'G' => {
                self.take::<8>()?;
                self.stack.push(OTHER);
            }
            // The numbers and texts of protocol 0: none of them is part of a tensor that can be saved.
            b'F' | b'S' | b'V' => {
                self.line()?;
                self.stack.push(OTHER);
            }
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b'U' | b'C' => self.raw::<1>()?,
            b'T' | b'B' => self.raw::<4>()?,
            0x8e | 0x96 => self.raw::<8>()?,

            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push(Value::Other)?,
            b't' => {
                let ids = self.pop_to_mark()?;
                self.push(Value::Tuple(ids))?;
            }
            0x85..=0x87 => {
                let ids = self.pop_many(usize::from(op - 0x84))?;
                self.push(Value::Tuple(ids))?;
            }
            b'l' => {
                let ids = self.pop_to_mark()?;
                self.push(Value::List(ids))?;
            }
            b'd' => {
                let entries = self.pop_entries()?;
                self.push(Value::Dict(entries))?;
            }
            0x91 => {
                self.pop_to_mark()?;
                self.stack.push(OTHER);
            }
            b'a' => {
                let id = self.pop()?;
                self.append(vec![id])?;
            }
            b'e' | 0x90 => {
                let ids = self.pop_to_mark()?;
                self.append(ids)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let entries = self.pop_entries()?;
                self.set(entries)?;
            }

            b'q' => self.put_at::<1>()?,
            b'r' => self.put_at::<4>()?,
            0x94 => self.put(self.memo.len() as u64)?,
            b'h' => self.get_from::<1>()?,
            b'j' => self.get_from::<4>()?,

            b'c' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.global(module, name)?;
            }
            b'R' | 0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                self.call(callee, args)?;
            }
            0x92 => {
                let (_named, args, callee) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callee, args)?;
            }
            b'i' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                let args = self.pop_to_mark()?;
                self.push(Value::Tuple(args))?;
                self.global(module, name)?;
                let (callee, args) = (self.pop()?, self.pop()?);
                self.call(callee, args)?;
            }
            b'o' => {
                let mut args = self.pop_to_mark()?;
                if args.is_empty() {
                    return Err(self.fault("it makes an object of no class"));
                }
                let callee = args.remove(0);
                self.push(Value::Tuple(args))?;
                let args = self.pop()?;
                self.call(callee, args)?;
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.peek()?;
                if let Some(Value::Call(call)) = self.values.get_mut(top as usize) {
                    call.state = Some(state);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Outside(id))?;
            }
            _ => return Err(self.fault(format!("the opcode 0x{op:02x} is not one that torch.save writes"))),
        }
        Ok(())
    }

    /// A fault at the opcode or argument that was read last.
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::Damaged(self.at, what.into())
    }

    fn slice(&mut self, length: u64) -> Outcome<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(slice) => {
                self.at += slice.len();
                Ok(slice)
            }
            None => Err(self.fault("it ends too early")),
        }
    }

    fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.slice(N as u64)?);
        Ok(bytes)
    }

    /// A little-endian number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Outcome<u64> {
        Ok(self.slice(N as u64)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Outcome<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let line = self.slice(length as u64)?;
        self.take::<1>()?;
        Ok(line)
    }

    fn text_line(&mut self) -> Outcome<&'a str> {
        let line = self.line()?;
        str::from_utf8(line).map_err(|_| self.fault("a name is not UTF-8"))
    }

    fn push(&mut self, value: Value<'a>) -> Outcome<()> {
        if self.values.len() == MAX_VALUES {
            return Err(self.fault(format!("it has more than {MAX_VALUES} values")));
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    /// The top of the stack. What lies below the last mark is out of reach.
    fn peek(&self) -> Outcome<Id> {
        let reach = self.marks.last().copied().unwrap_or_default();
        let top = self.stack.get(reach..).and_then(|above| above.last());
        top.copied().ok_or_else(|| self.fault("its stack is empty"))
    }

    fn pop(&mut self) -> Outcome<Id> {
        let top = self.peek()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Outcome<Vec<Id>> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.pop()?);
        }
        ids.reverse();
        Ok(ids)
    }

    fn pop_to_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.fault("its stack has no mark"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn pop_or_mark(&mut self) -> Outcome<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_entries(&mut self) -> Outcome<Vec<(Id, Id)>> {
        let ids = self.pop_to_mark()?;
        let (pairs, []) = ids.as_chunks::<2>() else {
            return Err(self.fault("it sets a key without a value"));
        };
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn pop_text(&mut self) -> Outcome<&'a str> {
        let id = self.pop()?;
        match self.values.get(id as usize) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.fault("a name is not text")),
        }
    }

    /// To a list; into anything else it vanishes, as no tensors are looked for there.
    fn append(&mut self, ids: Vec<Id>) -> Outcome<()> {
        let top = self.peek()?;
        if let Some(Value::List(list)) = self.values.get_mut(top as usize) {
            list.extend(ids);
        }
        Ok(())
    }

    fn set(&mut self, entries: Vec<(Id, Id)>) -> Outcome<()> {
        let top = self.peek()?;
        match self.values.get_mut(top as usize) {
            Some(Value::Dict(items)) => items.extend(entries),
            Some(Value::Call(call)) => call.items.extend(entries),
            _ => return Err(self.fault("it sets entries of what is no dict")),
        }
        Ok(())
    }

    fn put(&mut self, place: u64) -> Outcome<()> {
        let top = self.peek()?;
        self.memo.insert(place, top);
        if self.memo.len() > MAX_VALUES {
            return Err(self.fault(format!("it keeps more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    fn put_at<const N: usize>(&mut self) -> Outcome<()> {
        let place = self.number::<N>()?;
        self.put(place)
    }

    fn get_from<const N: usize>(&mut self) -> Outcome<()> {
        let place = self.number::<N>()?;
        let id = self.memo.get(&place).copied();
        let id = id.ok_or_else(|| self.fault(format!("it uses value {place}, which it has not kept")))?;
        self.stack.push(id);
        Ok(())
    }

    fn long<const N: usize>(&mut self) -> Outcome<()> {
        let length = self.number::<N>()?;
        let bytes = self.slice(length)?;
        let value = match bytes.len() {
            0..=8 => {
                let sign = if bytes.last().is_some_and(|&last| last & 0x80 != 0) { 0xff } else { 0 };
                let mut eight = [sign; 8];
                eight.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
                Value::Int(i64::from_le_bytes(eight))
            }
            _ => Value::Long(bytes),
        };
        self.push(value)
    }

    /// Protocol 1 writes integers and truth as lines of text.
    fn decimal(&mut self) -> Outcome<()> {
        match self.line()? {
            b"00" => self.stack.push(FALSE),
            b"01" => self.stack.push(TRUE),
            line => {
                let digits = str::from_utf8(line).unwrap_or_default().trim_end_matches('L');
                let value = digits.parse().map_or(Value::Other, Value::Int);
                self.push(value)?;
            }
        }
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Outcome<()> {
        let length = self.number::<N>()?;
        let bytes = self.slice(length)?;
        // Half a surrogate pair, which Python allows, names no tensor.
        self.push(str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))
    }

    fn raw<const N: usize>(&mut self) -> Outcome<()> {
        let length = self.number::<N>()?;
        let bytes = self.slice(length)?;
        self.push(Value::Bytes(bytes))
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Outcome<()> {
        if danger::runs_code(module, name) {
            return Err(Fault::Dangerous(format!("{module}.{name}")));
        }
        self.push(Value::Global(Box::new((module, name))))
    }

    fn call(&mut self, callee: Id, args: Id) -> Outcome<()> {
        self.push(Value::Call(Box::new(Call { callee, args, items: Vec::new(), state: None })))
    }
}

#[cfg(test)]
mod tests;
