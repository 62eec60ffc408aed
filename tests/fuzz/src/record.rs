//! Ethereum Node Records: their RLP and their text (rule E4).

use coracle_core::{
    crypto::{Crypto, Identity, RustCrypto, SecretKey},
    limits::{MAX_RECORD_SIZE, MAX_RECORD_TEXT},
    record::{Builder, Record},
};

use crate::NullCrypto;

/// The bytes are taken as RLP and as text, with signatures checked and not.
pub fn record(data: &[u8]) {
    of_rlp(data, &RustCrypto);
    of_rlp(data, &NullCrypto);
    if let Ok(text) = std::str::from_utf8(data) {
        of_text(text, &RustCrypto);
        of_text(text, &NullCrypto);
    }
}

fn of_rlp(bytes: &[u8], crypto: &impl Crypto) {
    let Ok(record) = Record::decode(bytes, crypto) else { return };
    assert_eq!(record.as_bytes(), bytes, "what was decoded is kept as it was: canonical");
    assert!(bytes.len() <= MAX_RECORD_SIZE);
    check(&record, crypto);
}

fn of_text(text: &str, crypto: &impl Crypto) {
    let Ok(record) = Record::from_text(text, crypto) else { return };
    check(&record, crypto);
    let canonical = record.to_string();
    assert!(text.trim().trim_end_matches('=') == canonical, "one text form a record: {text:?}");
}

fn check(record: &Record, crypto: &impl Crypto) {
    let text = record.to_string();
    assert!(text.len() <= MAX_RECORD_TEXT);
    let again = Record::from_text(&text, crypto).expect("the text form of a record");
    assert_eq!(&again, record);
    assert!(again.same_content(record));
    let mut before: Option<&[u8]> = None;
    for (key, value) in record.pairs() {
        assert!(before.is_none_or(|before| before < key), "keys in order, each once");
        assert_eq!(record.value(key).map(|found| found.raw), Some(value.raw));
        before = Some(key);
    }
    assert!(record.udp_endpoints().count() <= 2 && record.tcp_endpoints().count() <= 2);
    rebuild(record);
}

/// Signed anew with another key the pairs stay, or the error says that they do not fit.
fn rebuild(record: &Record) {
    let secret = SecretKey::from_bytes(&[1; 32]).expect("a key");
    let identity = Identity::new(NullCrypto, secret);
    if let Ok(signed) = Builder::from_record(record).sign(record.seq(), &identity) {
        let decoded = Record::decode(signed.as_bytes(), &NullCrypto).expect("what we sign decodes");
        assert_eq!(decoded.addresses(), record.addresses());
        assert_eq!(decoded.pairs().count(), record.pairs().count());
    }
}
