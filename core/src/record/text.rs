//! The text form of a record: `enr:` and unpadded base64url (EIP-778, "Text Encoding").

use core::fmt;

use super::{Record, RecordError};
use crate::{
    crypto::Crypto,
    limits::{MAX_RECORD_SIZE, MAX_RECORD_TEXT},
    wire::base64url,
};

impl Record {
    /// Decodes and verifies the text form. White space around it and trailing `=` are tolerated.
    pub fn from_text<C: Crypto>(text: &str, crypto: &C) -> Result<Self, RecordError> {
        let body = text.trim().strip_prefix("enr:").ok_or(RecordError::Text)?;
        let body = body.trim_end_matches('=').as_bytes();
        if body.len() > MAX_RECORD_TEXT - 4 {
            return Err(RecordError::TooLarge);
        }
        let mut bytes = [0; MAX_RECORD_SIZE];
        let bytes = base64url::decode(body, &mut bytes).ok_or(RecordError::Text)?;
        Self::decode(bytes, crypto)
    }
}

impl fmt::Display for Record {
    /// The text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buf = [0; MAX_RECORD_TEXT];
        f.write_str("enr:")?;
        f.write_str(base64url::encode(self.as_bytes(), &mut buf))
    }
}
