//! Reads the fields of one JSON object by name, so that every mistake is reported with its path, and every
//! field that nobody asked for is remembered as unknown.

use std::{borrow::Cow, cell::RefCell};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    error::{FileError, Problem},
    json::{Json, Path},
    limits::MAX_UNKNOWN_LISTED,
    version::ByteText,
};

/// Fields that the file's version does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    /// Their paths, [`MAX_UNKNOWN_LISTED`] at most.
    pub(super) paths: Vec<String>,
    /// How many more there were.
    pub(super) more: usize,
}

/// One object, while it is read.
pub(super) struct Fields<'j> {
    entries: &'j [(Cow<'j, str>, Json<'j>)],
    path: Path<'j>,
    asked: RefCell<Vec<&'static str>>,
    unknown: &'j RefCell<Unknown>,
}

/// One entry of a list, while it is read.
pub(super) struct Entry<'j> {
    value: &'j Json<'j>,
    path: Path<'j>,
    unknown: &'j RefCell<Unknown>,
}

/// Which lengths a byte string may have.
#[derive(Clone, Copy)]
pub(super) enum Length {
    /// Exactly this many bytes.
    Exactly(usize),
    /// This many, or none.
    EmptyOr(usize),
    /// A multiple of the first, up to this many times.
    Repeated(usize, usize),
    /// Any length: a check reports what is wrong with it.
    Any,
}

impl<'j> Fields<'j> {
    pub(super) fn new(
        value: &'j Json<'j>,
        path: Path<'j>,
        unknown: &'j RefCell<Unknown>,
    ) -> Result<Self, FileError> {
        match value {
            Json::Object(entries) => Ok(Self { entries, path, asked: RefCell::default(), unknown }),
            other => Err(wrong_type(&path, "an object", other)),
        }
    }

    /// The value of a field; `null` counts as absent, as in the program that writes these files.
    fn find(&self, key: &'static str) -> Option<&'j Json<'j>> {
        self.asked.borrow_mut().push(key);
        let (_, value) = self.entries.iter().find(|(name, _)| name == key)?;
        if matches!(value, Json::Null) { None } else { Some(value) }
    }

    fn path(&self, key: &'j str) -> Path<'_> {
        self.path.key(key)
    }

    pub(super) fn path_text(&self, key: &'static str) -> String {
        self.path(key).to_string()
    }

    pub(super) fn error(&self, key: &'static str, problem: Problem) -> FileError {
        FileError::field(self.path(key), problem)
    }

    /// Calls `read` with the object at `key`; `None` when there is none.
    pub(super) fn object<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Fields<'_>) -> Result<T, FileError>,
    ) -> Result<Option<T>, FileError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let inner = Fields::new(value, self.path(key), self.unknown)?;
        let out = read(&inner)?;
        inner.finish();
        Ok(Some(out))
    }

    /// Calls `read` with each entry of the list at `key`; none when there is no list.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        limit: usize,
        what: &'static str,
        read: impl Fn(&Entry<'_>) -> Result<T, FileError>,
    ) -> Result<Vec<T>, FileError> {
        let path = self.path(key);
        let entries = match self.find(key) {
            None => return Ok(Vec::new()),
            Some(Json::List(entries)) => entries,
            Some(other) => return Err(wrong_type(&path, "a list", other)),
        };
        if entries.len() > limit {
            return Err(FileError::field(path, Problem::TooMany { what, found: entries.len(), limit }));
        }
        let entry = |(index, value)| read(&Entry { value, path: path.index(index), unknown: self.unknown });
        entries.iter().enumerate().map(entry).collect()
    }

    /// Whether the file has something other than `null` there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// Text that must be there.
    pub(super) fn text(&self, key: &'static str, limit: Option<usize>) -> Result<String, FileError> {
        self.optional_text(key, limit)?.ok_or_else(|| self.error(key, Problem::Missing))
    }

    /// Text, empty when it is not there.
    pub(super) fn text_or_empty(&self, key: &'static str, limit: Option<usize>) -> Result<String, FileError> {
        Ok(self.optional_text(key, limit)?.unwrap_or_default())
    }

    fn optional_text(&self, key: &'static str, limit: Option<usize>) -> Result<Option<String>, FileError> {
        let path = self.path(key);
        let Some(value) = self.find(key) else { return Ok(None) };
        let text = text_of(value, &path)?;
        let limit = limit.unwrap_or(usize::MAX);
        if text.len() > limit {
            return Err(FileError::field(
                path,
                Problem::TooMany { what: "bytes of text", found: text.len(), limit },
            ));
        }
        if text.contains('\0') {
            return Err(FileError::field(path, Problem::Nul));
        }
        Ok(Some(text.to_owned()))
    }

    /// A byte string; empty when it is not there, if `length` allows that.
    pub(super) fn bytes(
        &self,
        key: &'static str,
        form: ByteText,
        length: Length,
    ) -> Result<Vec<u8>, FileError> {
        let path = self.path(key);
        match self.find(key) {
            Some(value) => bytes_of(value, &path, form, length),
            None if matches!(length, Length::Exactly(_)) => Err(FileError::field(path, Problem::Missing)),
            None => Ok(Vec::new()),
        }
    }

    /// A byte string of exactly `N` bytes.
    pub(super) fn array<const N: usize>(
        &self,
        key: &'static str,
        form: ByteText,
    ) -> Result<[u8; N], FileError> {
        let bytes = self.bytes(key, form, Length::Exactly(N))?;
        let found = bytes.len();
        let wrong = || self.error(key, Problem::WrongLength { expected: format!("{N} bytes"), found });
        bytes.try_into().map_err(|_| wrong())
    }

    /// A number from 0 to 2^64 - 1; 0 when it is not there.
    pub(super) fn u64_or_zero(&self, key: &'static str) -> Result<u64, FileError> {
        self.find(key).map_or(Ok(0), |value| u64_of(value, &self.path(key)))
    }

    /// A number from 0 to 2^64 - 1 that must be there.
    pub(super) fn u64(&self, key: &'static str) -> Result<u64, FileError> {
        let value = self.find(key).ok_or_else(|| self.error(key, Problem::Missing))?;
        u64_of(value, &self.path(key))
    }

    /// A number that may be negative; 0 when it is not there.
    pub(super) fn i64_or_zero(&self, key: &'static str) -> Result<i64, FileError> {
        let path = self.path(key);
        let out_of_range = |found: String| {
            FileError::field(path, Problem::OutOfRange { expected: "a 64-bit whole number", found })
        };
        match self.find(key) {
            None => Ok(0),
            Some(Json::Negative(value)) => Ok(*value),
            Some(Json::Unsigned(value)) => i64::try_from(*value).map_err(|_| out_of_range(value.to_string())),
            Some(Json::Float(value)) => Err(out_of_range(value.to_string())),
            Some(other) => Err(wrong_type(&path, "a number", other)),
        }
    }

    /// A number in Gwei, written as a number or as digits in quotes; 0 when it is not there.
    pub(super) fn gwei_or_zero(&self, key: &'static str) -> Result<u64, FileError> {
        self.find(key).map_or(Ok(0), |value| gwei_of(value, &self.path(key)))
    }

    /// True or false; false when it is not there.
    pub(super) fn bool_or_false(&self, key: &'static str) -> Result<bool, FileError> {
        match self.find(key) {
            None => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(other) => Err(wrong_type(&self.path(key), "true or false", other)),
        }
    }

    /// Remembers every field that was not asked for. Call it when the object is read.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        let mut unknown = self.unknown.borrow_mut();
        for (key, _) in self.entries {
            if asked.iter().any(|known| known == key) {
                continue;
            }
            if unknown.paths.len() < MAX_UNKNOWN_LISTED {
                unknown.paths.push(self.path.key(key).to_string());
            } else {
                unknown.more += 1;
            }
        }
    }
}

impl Entry<'_> {
    /// Reads the entry as an object.
    pub(super) fn object<T>(
        &self,
        read: impl FnOnce(&Fields<'_>) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let fields = Fields::new(self.value, self.path, self.unknown)?;
        let out = read(&fields)?;
        fields.finish();
        Ok(out)
    }

    /// Reads the entry as a byte string.
    pub(super) fn bytes(&self, form: ByteText, length: Length) -> Result<Vec<u8>, FileError> {
        bytes_of(self.value, &self.path, form, length)
    }

    /// Reads the entry as a number in Gwei.
    pub(super) fn gwei(&self) -> Result<u64, FileError> {
        gwei_of(self.value, &self.path)
    }
}

/// The bytes of an Ethereum address as text: 20, or none when it is empty; `None` for anything else.
pub(super) fn address_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()?;
    matches!(bytes.len(), 0 | super::limits::ADDRESS).then_some(bytes)
}

fn wrong_type(path: &Path<'_>, expected: &'static str, found: &Json<'_>) -> FileError {
    FileError::field(path, Problem::WrongType { expected, found: found.kind() })
}

fn text_of<'v>(value: &'v Json<'_>, path: &Path<'_>) -> Result<&'v str, FileError> {
    match value {
        Json::Text(text) => Ok(text),
        other => Err(wrong_type(path, "text", other)),
    }
}

fn u64_of(value: &Json<'_>, path: &Path<'_>) -> Result<u64, FileError> {
    let found = match value {
        Json::Unsigned(value) => return Ok(*value),
        Json::Negative(value) => value.to_string(),
        Json::Float(value) => value.to_string(),
        other => return Err(wrong_type(path, "a number", other)),
    };
    Err(FileError::field(path, Problem::OutOfRange { expected: "a whole number from 0 to 2^64 - 1", found }))
}

fn gwei_of(value: &Json<'_>, path: &Path<'_>) -> Result<u64, FileError> {
    let Json::Text(text) = value else { return u64_of(value, path) };
    let not_digits =
        |why: String| FileError::field(path, Problem::NotEncoded { expected: "a number of Gwei", why });
    // The parser of the standard library takes a plus sign, which no writer of these files puts there.
    if text.starts_with('+') {
        return Err(not_digits("it begins with a sign".to_owned()));
    }
    text.parse().map_err(|error: std::num::ParseIntError| not_digits(error.to_string()))
}

fn bytes_of(value: &Json<'_>, path: &Path<'_>, form: ByteText, length: Length) -> Result<Vec<u8>, FileError> {
    let text = text_of(value, path)?;
    let not = |expected, why| FileError::field(path, Problem::NotEncoded { expected, why });
    let bytes = match form {
        ByteText::Base64 => STANDARD.decode(text).map_err(|error| not("base64", error.to_string()))?,
        ByteText::Hex => hex::decode(text.strip_prefix("0x").unwrap_or(text))
            .map_err(|error| not("hexadecimal", error.to_string()))?,
    };
    let found = bytes.len();
    let expected = match length {
        Length::Exactly(n) if found != n => format!("{n} bytes"),
        Length::EmptyOr(n) if found != n && found != 0 => format!("{n} bytes or none"),
        Length::Repeated(n, most) if found % n != 0 || found / n > most => {
            format!("{n} bytes for each signature, {most} signatures at most")
        }
        _ => return Ok(bytes),
    };
    Err(FileError::field(path, Problem::WrongLength { expected, found }))
}
