//! JSON into a tree that borrows from the file, with what serde_json alone does not refuse: a key that
//! appears twice, and more values than any cluster has.
//!
//! Invariant: the tree holds at most [`MAX_VALUES`] values and is at most 128 levels deep (serde_json's own
//! limit), so that reading it recursively is safe.

use std::{borrow::Cow, cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    error::FileError,
    limits::{MAX_FILE_BYTES, MAX_VALUES},
};

/// One JSON value.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a whole file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLarge { bytes: bytes.len() });
        }
        let state = RefCell::new(State { path: Vec::new(), values: 0, failure: None });
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let parsed = Seed { state: &state }
            .deserialize(&mut deserializer)
            .and_then(|value| deserializer.end().map(|()| value));
        // Our own failures carry more than serde_json's message can.
        parsed
            .map_err(|error| state.into_inner().failure.unwrap_or_else(|| FileError::Json(error.to_string())))
    }

    /// What it is, in words for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Unsigned(_) | Self::Negative(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// A place in a file, as a list of steps that live on the stack: written out only for an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(super) fn key(&'p self, key: &'p str) -> Path<'p> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&'p self, index: usize) -> Path<'p> {
        Path { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_root = match self.parent {
            Some(parent) => {
                parent.fmt(f)?;
                matches!(parent.step, Step::Root)
            }
            None => true,
        };
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) if at_root => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

struct State<'a> {
    path: Vec<OwnedStep<'a>>,
    values: usize,
    failure: Option<FileError>,
}

enum OwnedStep<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

impl State<'_> {
    fn path_text(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            match step {
                OwnedStep::Key(key) if out.is_empty() => out.push_str(key),
                OwnedStep::Key(key) => {
                    out.push('.');
                    out.push_str(key);
                }
                OwnedStep::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }
}

#[derive(Clone, Copy)]
struct Seed<'s, 'a> {
    state: &'s RefCell<State<'a>>,
}

impl<'a> Seed<'_, 'a> {
    fn fail<E: serde::de::Error>(self, failure: FileError) -> E {
        let error = E::custom(&failure);
        self.state.borrow_mut().failure = Some(failure);
        error
    }

    fn enter(self, step: OwnedStep<'a>) {
        self.state.borrow_mut().path.push(step);
    }

    fn leave(self) {
        self.state.borrow_mut().path.pop();
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, 'de> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        self.state.borrow_mut().values += 1;
        if self.state.borrow().values > MAX_VALUES {
            return Err(self.fail(FileError::TooManyValues));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, 'de> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        loop {
            self.enter(OwnedStep::Index(list.len()));
            let Some(value) = access.next_element_seed(self)? else { break };
            self.leave();
            list.push(value);
        }
        self.leave();
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(KeySeed)? {
            self.enter(OwnedStep::Key(key.clone()));
            let value = access.next_value_seed(self)?;
            self.leave();
            entries.push((key, value));
        }
        if let Some(key) = duplicate_key(&entries) {
            let path = self.state.borrow().path_text();
            return Err(self.fail(FileError::DuplicateKey { path, key }));
        }
        Ok(Json::Object(entries))
    }
}

fn duplicate_key(entries: &[(Cow<'_, str>, Json<'_>)]) -> Option<String> {
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    let twice = keys.windows(2).find(|pair| matches!(pair, [a, b] if a == b))?;
    twice.first().map(|key| (*key).to_owned())
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_is_refused_with_its_place() {
        let error = Json::parse(br#"{"a":[{"b":1},{"c":1,"d":2,"c":3}]}"#).expect_err("twice");
        assert_eq!(error, FileError::DuplicateKey { path: "a[1]".into(), key: "c".into() });
        assert_eq!(error.to_string(), "a[1]: the key `c` appears twice");
        // Written with an escape it is the same key.
        let error = Json::parse(br#"{"c":1,"\u0063":3}"#).expect_err("twice");
        assert_eq!(error.to_string(), "the outermost object: the key `c` appears twice");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "[".repeat(100_000);
        assert!(matches!(Json::parse(deep.as_bytes()), Err(FileError::Json(_))));
        let wide = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(Json::parse(wide.as_bytes()).expect_err("wide"), FileError::TooManyValues);
        let large = vec![b' '; MAX_FILE_BYTES + 1];
        assert!(matches!(Json::parse(&large), Err(FileError::TooLarge { .. })));
    }

    #[test]
    fn what_follows_the_value_is_refused() {
        assert!(matches!(Json::parse(b"{} {}"), Err(FileError::Json(_))));
        assert!(matches!(Json::parse(b""), Err(FileError::Json(_))));
        assert!(matches!(Json::parse(b"{\"a\":\"\xff\"}"), Err(FileError::Json(_))));
    }
}
