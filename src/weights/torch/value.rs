//! What a pickle says, as data: values in one table, which name each other by number.
//!
//! In: the machine of [`pickle`](super::pickle) fills the table. Out: the values, to be looked at one by
//! one. A value that the pickle uses a thousand times is there once, so nothing grows by repetition, and a
//! list may hold itself: whoever follows numbers counts his steps.

/// Longer texts name nothing. A pickle may use one text in a million places, and each use reads it.
pub(super) const MAX_NAME: usize = 1024;

/// The number of a value in the table.
pub(super) type Id = u32;

/// A value. Text is borrowed from the file.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// None, a number with a fraction, a set: what no reader of weights looks into.
    Other,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits: little-endian, two's complement. Only tests look at it.
    Long(#[cfg_attr(not(test), expect(dead_code))] &'a [u8]),
    Text(&'a str),
    /// Bytes; the text of Python 2, too.
    Bytes(&'a [u8]),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function or a class, by its name: module, name.
    Global(Box<(&'a str, &'a str)>),
    /// Something that lies outside of the pickle: a storage.
    Outside(Id),
    /// A call that Python would make. Nobody makes it here.
    Call(Box<Call>),
}

/// What Python would call, with what, and what it would do with the result.
#[derive(Debug)]
pub(super) struct Call {
    pub callee: Id,
    /// A tuple.
    pub args: Id,
    /// The entries that are set in the result.
    pub items: Vec<(Id, Id)>,
    /// The state that the result is given.
    pub state: Option<Id>,
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    /// The value that the pickle is of.
    pub top: Id,
}

impl<'a> Pickle<'a> {
    pub fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&Value::Other)
    }

    pub fn top(&self) -> &Value<'a> {
        self.get(self.top)
    }

    /// A text of at most [`MAX_NAME`] bytes.
    pub fn name(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) if text.len() <= MAX_NAME => Some(text),
            Value::Bytes(bytes) if bytes.len() <= MAX_NAME => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(int) => usize::try_from(*int).ok(),
            _ => None,
        }
    }

    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(ids) => Some(ids),
            _ => None,
        }
    }

    /// The elements of a list or a tuple.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(ids) | Value::Tuple(ids) => Some(ids),
            _ => None,
        }
    }

    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Value::Global(names) => Some(**names),
            _ => None,
        }
    }

    pub fn call(&self, id: Id) -> Option<&Call> {
        match self.get(id) {
            Value::Call(call) => Some(call),
            _ => None,
        }
    }

    /// The entries of a dict or an `OrderedDict`, keys and values. A copy: not for what is asked often.
    pub fn entries(&self, id: Id) -> Option<Vec<(Id, Id)>> {
        let call = match self.get(id) {
            Value::Dict(entries) => return Some(entries.clone()),
            Value::Call(call) => call,
            _ => return None,
        };
        let ("collections", "OrderedDict" | "defaultdict" | "Counter") = self.global(call.callee)? else {
            return None;
        };
        // Python 2 passes an OrderedDict its entries as a list of pairs.
        let pairs =
            self.tuple(call.args)?.first().and_then(|&first| self.sequence(first)).unwrap_or_default();
        let pair = |&id: &Id| match self.sequence(id)? {
            &[key, value] => Some((key, value)),
            _ => None,
        };
        let mut entries = pairs.iter().map(pair).collect::<Option<Vec<_>>>()?;
        entries.extend(&call.items);
        Some(entries)
    }
}
