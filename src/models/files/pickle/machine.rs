//! Python's pickle machine (`Lib/pickletools.py`), without Python: it builds lists, dictionaries and numbers, and writes down what it was
//! asked to call instead of calling it. Nothing a file says is ever run.
//!
//! Values live in one list and refer to each other by number, so that no nesting, however deep or circular, costs more than the bytes that
//! describe it. Knows nothing of tensors: `tests/fuzz` compiles this folder by itself.

use std::collections::HashMap;

/// The place of a value.
pub(super) type Id = usize;

/// More values than the description of any model needs.
const MOST_VALUES: usize = 1_000_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `None`, bytes, sets, objects: nothing that describes a tensor.
    Opaque,
    Number(i64),
    Float(f64),
    Text(String),
    /// Module and name of something that a program has.
    Global(String, String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A call that would have been made: of what, with which arguments.
    Call(Id, Id),
    /// An object with the state of another value.
    Like(Id),
    /// A reference to something outside the pickle.
    Outside(Id),
}

/// What a pickle describes.
#[derive(Debug)]
pub(super) struct Described {
    values: Vec<Value>,
    pub(super) top: Id,
}

impl Described {
    pub(super) fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Opaque)
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Number(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn numbers(&self, id: Id) -> Option<Vec<usize>> {
        self.tuple(id)?.iter().map(|item| self.number(*item)).collect()
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        let id = if let Value::Like(state) = self.get(id) { *state } else { id };
        match self.get(id) {
            Value::Dict(items) => Some(items),
            _ => None,
        }
    }
}

/// What `bytes` describe.
///
/// # Errors
/// If they are no pickle of the kind that PyTorch writes.
pub(super) fn run(bytes: &[u8]) -> Result<Described, String> {
    let mut machine =
        Machine { rest: bytes, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let [code] = machine.take::<1>()?;
        if code == b'.' {
            let top = machine.pop()?;
            return Ok(Described { values: machine.values, top });
        }
        machine.step(code)?;
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl Machine<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or("it ends in the middle")?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn slice(&mut self, length: u64) -> Result<&[u8], String> {
        let length =
            usize::try_from(length).ok().filter(|length| *length <= self.rest.len()).ok_or("it ends in the middle")?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or("it ends in the middle")?;
        let line = String::from_utf8_lossy(self.slice(end as u64)?).into_owned();
        self.take::<1>()?;
        Ok(line)
    }

    fn text(&mut self, length: u64) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.push(Value::Text(text))
    }

    fn opaque(&mut self, length: u64) -> Result<(), String> {
        self.slice(length)?;
        self.push(Value::Opaque)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.values.len() >= MOST_VALUES {
            return Err(format!("it describes more than {MOST_VALUES} values"));
        }
        self.values.push(value);
        self.push_known(self.values.len() - 1)
    }

    fn push_known(&mut self, id: Id) -> Result<(), String> {
        if self.stack.len() >= MOST_VALUES {
            return Err(format!("it piles up more than {MOST_VALUES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= bottom {
            return Err("it takes what is not there".to_owned());
        }
        self.stack.pop().ok_or_else(|| "it takes what is not there".to_owned())
    }

    fn peek(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "it looks at what is not there".to_owned())
    }

    /// All values since the last mark.
    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("it has no mark where one is needed")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn remember(&mut self, key: usize) -> Result<(), String> {
        let value = self.peek()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), String> {
        let value = self.memo.get(&key).copied().ok_or("it recalls what it never remembered")?;
        self.push_known(value)
    }

    /// Puts pairs into the dictionary on top; into anything else they vanish.
    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let target = self.peek()?;
        if let Some(Value::Dict(pairs)) = self.values.get_mut(target) {
            pairs.extend(items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let target = self.peek()?;
        if let Some(Value::List(list)) = self.values.get_mut(target) {
            list.extend(items);
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let arguments = self.pop()?;
        let what = self.pop()?;
        let is_dict = matches!(self.values.get(what), Some(Value::Global(module, name)) if module == "collections" && name == "OrderedDict");
        self.push(if is_dict { Value::Dict(Vec::new()) } else { Value::Call(what, arguments) })
    }

    /// Gives the object on top a state; a tensor keeps its own.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let target = self.peek()?;
        let what = match self.values.get(target) {
            Some(Value::Call(what, _)) => self.values.get(*what),
            _ => None,
        };
        let is_object = what.is_some_and(|what| !matches!(what, Value::Global(module, _) if module == "torch._utils"));
        if let Some(value) = self.values.get_mut(target).filter(|_| is_object) {
            *value = Value::Like(state);
        }
        Ok(())
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            // PROTO, FRAME
            0x80 => self.take::<1>().map(drop),
            0x95 => self.take::<8>().map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.since_mark().map(drop),
            b'2' => {
                let top = self.peek()?;
                self.push_known(top)
            }
            b'N' => self.push(Value::Opaque),
            0x88 => self.push(Value::Number(1)),
            0x89 => self.push(Value::Number(0)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' => self.number(code),
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'C' | b'B' | 0x8e => self.string(code),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(module, name))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match self.values.get(id) {
                    Some(Value::Text(text)) => text.clone(),
                    _ => String::new(),
                };
                let global = Value::Global(text(module), text(name));
                self.push(global)
            }
            b')' => self.tuple(0),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))
            }
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.since_mark()?;
                self.push(Value::List(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set(&items)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)
            }
            // EMPTY_SET, ADDITEMS, FROZENSET
            0x8f => self.push(Value::Opaque),
            0x90 => self.since_mark().map(drop),
            0x91 => {
                self.since_mark()?;
                self.push(Value::Opaque)
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => self.call(),
            b'b' => self.build(),
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Outside(id))
            }
            b'q' => {
                let [key] = self.take::<1>()?;
                self.remember(usize::from(key))
            }
            b'r' => {
                let key = u32::from_le_bytes(self.take()?);
                self.remember(key as usize)
            }
            0x94 => self.remember(self.memo.len()),
            b'h' => {
                let [key] = self.take::<1>()?;
                self.recall(usize::from(key))
            }
            b'j' => {
                let key = u32::from_le_bytes(self.take()?);
                self.recall(key as usize)
            }
            other => Err(format!("it holds the instruction {other:#04x}, which no model's file needs")),
        }
    }

    fn number(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            b'J' => i64::from(i32::from_le_bytes(self.take()?)),
            b'K' => i64::from(self.take::<1>()?[0]),
            b'M' => i64::from(u16::from_le_bytes(self.take()?)),
            b'G' => {
                let float = f64::from_be_bytes(self.take()?);
                return self.push(Value::Float(float));
            }
            _ => {
                let length = match code {
                    0x8a => u64::from(self.take::<1>()?[0]),
                    _ => u64::from(u32::from_le_bytes(self.take()?)),
                };
                let bytes = self.slice(length)?;
                if bytes.len() > 8 {
                    return self.push(Value::Opaque);
                }
                // The sign is that of the highest byte.
                let mut wide = [if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 }; 8];
                wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                i64::from_le_bytes(wide)
            }
        };
        self.push(Value::Number(value))
    }

    fn string(&mut self, code: u8) -> Result<(), String> {
        let length = match code {
            0x8c | b'U' | b'C' => u64::from(self.take::<1>()?[0]),
            0x8d | 0x8e => u64::from_le_bytes(self.take()?),
            _ => u64::from(u32::from_le_bytes(self.take()?)),
        };
        match code {
            b'B' | b'C' | 0x8e => self.opaque(length),
            _ => self.text(length),
        }
    }
}
