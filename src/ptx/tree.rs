//! A module as the parser leaves it: names are resolved, opcodes are still text.

/// What can be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Any of them: the address says which.
    Generic,
    /// The device's memory.
    Global,
    /// A block's.
    Shared,
    /// A thread's.
    Local,
    /// Constants of the module.
    Const,
    /// The launch's arguments.
    Param,
}

/// A variable in memory.
#[derive(Clone, Debug)]
pub struct Variable {
    /// As it stands in the PTX: `_ZZ13dense_forwardE4tile`.
    pub name: String,
    /// Where it lies.
    pub space: Space,
    /// Bytes.
    pub align: u32,
    /// Bytes; 0 for `extern` arrays, whose size the launch decides.
    pub size: u32,
    /// Bytes of one element.
    pub element: u32,
    /// Its first content.
    pub init: Option<Vec<u8>>,
}

impl Variable {
    /// The name in the source: the last part of a mangled one.
    pub fn plain_name(&self) -> &str {
        plain_name(&self.name)
    }
}

/// `tile` of `_ZZ13dense_forwardE4tile`.
pub fn plain_name(name: &str) -> &str {
    let Some(mut rest) = name.strip_prefix("_Z") else { return name };
    // Of a function's variable all that is behind the function: its parameters' types have numbers, too (`RA8_A8_f`).
    let behind = |(at, _): (usize, &str)| {
        let (length, local) = name[at + 1..].split_at(name[at + 1..].find(|c: char| !c.is_ascii_digit())?);
        let (local, number) = local.split_at_checked(length.parse().ok()?)?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (number.is_empty() || number.strip_prefix('_').is_some_and(is_number)).then_some(local)
    };
    if let Some(local) = name.match_indices('E').filter(|_| rest.starts_with('Z')).find_map(behind) {
        return local;
    }
    let mut last = name;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at);
        let Ok(length) = rest[at..at + digits].parse::<usize>() else { break };
        let (_, after) = rest.split_at(at + digits);
        let Some((part, further)) = after.split_at_checked(length) else { break };
        if length > 0 {
            last = part;
        }
        rest = further;
    }
    last
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A predicate.
    P,
    /// 32 bits; 8- and 16-bit registers lie in the lower part of one.
    W,
    /// 64 bits.
    L,
}

/// A declared register.
#[derive(Clone, Debug)]
pub struct Register {
    /// `%r12`.
    pub name: String,
    /// What it holds.
    pub class: Class,
}

/// A parameter of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// `dense_forward_param_0`.
    pub name: String,
    /// Bytes from the begin of the arguments.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Bytes.
    pub align: u32,
}

/// A line of the CUDA source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Number of the file in [`Module::files`].
    pub file: u32,
    /// Counted from 1.
    pub line: u32,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, by its index in [`Function::registers`].
    Register(u32),
    /// `%tid.x` and its like.
    Special(String),
    /// An integer, sign-extended.
    Int(u64),
    /// `0f3F800000`.
    Single(u32),
    /// `0d3FF0000000000000`.
    Double(u64),
    /// A variable's or parameter's address.
    Symbol(String),
    /// `[base + offset]`.
    Memory(Box<Operand>, i64),
    /// `[map, {a, b}]`: a box of a tensor.
    Tensor(Box<Operand>, Vec<Operand>),
    /// `{a, b}`.
    Vector(Vec<Operand>),
    /// `d|p`.
    Pair(Box<Operand>, Box<Operand>),
    /// `!p`.
    Not(u32),
    /// `_`.
    Sink,
    /// A place in the code, by its index in [`Function::labels`].
    Label(u32),
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Line of the PTX.
    pub line: u32,
    /// Line of the CUDA source.
    pub place: Option<Place>,
    /// A predicate, and whether the instruction runs where it is *not* set.
    pub guard: Option<(u32, bool)>,
    /// With all its modifiers: `ld.global.nc.v4.f32`.
    pub opcode: String,
    /// In order.
    pub operands: Vec<Operand>,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of the PTX.
    pub line: u32,
    /// In order.
    pub params: Vec<Param>,
    /// `.reqnctapercluster`: blocks of a cluster.
    pub cluster: Option<[u32; 3]>,
    /// All registers, those of inner scopes included.
    pub registers: Vec<Register>,
    /// Shared and local variables, those of inner scopes included.
    pub variables: Vec<Variable>,
    /// Instructions.
    pub body: Vec<Instruction>,
    /// The index in `body` of the instruction that each label stands before.
    pub labels: Vec<u32>,
}

/// A module.
#[derive(Clone, Debug)]
pub struct Module {
    /// For messages.
    pub file: String,
    /// `.version`.
    pub version: (u32, u32),
    /// `.target`.
    pub target: String,
    /// `.file`: number and path.
    pub files: Vec<(u32, String)>,
    /// Variables outside functions.
    pub variables: Vec<Variable>,
    /// Entries.
    pub entries: Vec<Function>,
    /// The text, line by line, for messages.
    pub lines: Vec<String>,
}

impl Module {
    /// An entry by its name.
    pub fn entry(&self, name: &str) -> Option<&Function> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// `kernels/dense.cu:31`.
    pub fn place(&self, place: Place) -> String {
        let file = self.files.iter().find(|(number, _)| *number == place.file);
        format!("{}:{}", file.map_or("?", |(_, path)| path), place.line)
    }
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn the_last_name_of_a_mangled_one() {
        assert_eq!(plain_name("_ZZ13dense_forwardE4tile"), "tile");
        assert_eq!(plain_name("_ZN12_GLOBAL__N_14meanE"), "mean");
        assert_eq!(plain_name("_ZZ8convolve6Conv2d6WindowiPKfS2_RA8_A8_fE6stages"), "stages");
        assert_eq!(plain_name("_ZZ4meanPKfE4E4ab_0"), "E4ab");
        assert_eq!(plain_name("smem"), "smem");
        assert_eq!(plain_name("_ZZ99x"), "_ZZ99x");
    }
}
