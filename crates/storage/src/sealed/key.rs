//! The key of sealed files.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::NONCE_BYTES;

pub(super) const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// More than any way to write a key takes.
const MAX_FILE_BYTES: u64 = 4_096;

/// A key for AES-256-GCM; its `Debug` form does not show it.
pub struct Key(LessSafeKey);

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no key in the file.
    #[error("the key file {} is of no use", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KeyError>,
    },
    /// Not a key.
    #[error(
        "a key is 32 bytes, written as 64 hexadecimal digits or in base64 (make one with: openssl rand -hex 32)"
    )]
    Form,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(<secret>)")
    }
}

impl Key {
    /// The key in a file, white space around it left out. Blocks on the disk.
    ///
    /// # Errors
    /// [`KeyError`] naming the file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|source| KeyError::File { path: path.to_owned(), source: Box::new(source) })
    }

    /// The key that 64 hexadecimal digits or 32 bytes in base64 are.
    ///
    /// # Errors
    /// [`KeyError::Form`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes =
            from_hex(text).or_else(|| STANDARD.decode(text).ok()).or_else(|| URL_SAFE.decode(text).ok());
        let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES).ok_or(KeyError::Form)?;
        UnboundKey::new(&AES_256_GCM, &bytes)
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| KeyError::Form)
    }

    /// Puts the encrypted value and its tag in place of `value`.
    pub(super) fn encrypt(&self, nonce: [u8; NONCE_BYTES], header: &[u8], value: &mut Vec<u8>) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::from(header), value).ok()
    }

    pub(super) fn decrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        header: &[u8],
        mut value: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.0.open_in_place(nonce, Aad::from(header), &mut value).ok()?.len();
        value.truncate(length);
        Some(value)
    }
}

/// Random: a file is written a few times a minute at most, so that 96 bits do not meet again under one key.
pub(super) fn fresh_nonce() -> Option<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).ok()?;
    Some(nonce)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_people_write_them() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for text in [hex, base64, &format!(" {hex}\n"), &format!("{base64}\r\n")] {
            std::fs::write(&path, text).unwrap();
            let key = Key::read(&path).unwrap();
            let mut value = b"value".to_vec();
            key.encrypt([1; NONCE_BYTES], b"", &mut value).unwrap();
            let same = Key::parse(hex).unwrap().decrypt([1; NONCE_BYTES], b"", value);
            assert_eq!(same.as_deref(), Some(&b"value"[..]), "{text:?}");
            assert!(!format!("{key:?}").contains("01"));
        }
        for text in ["", "00", &hex[2..], "not a key", &base64[4..], &hex.replace('0', "g")] {
            std::fs::write(&path, text).unwrap();
            let error = Key::read(&path).unwrap_err();
            assert!(matches!(error, KeyError::File { .. }), "{text:?}");
            assert!(text.is_empty() || !outrigger_model::fault::chain(&error).contains(text));
        }
        assert!(matches!(Key::read(&directory.path().join("none")), Err(KeyError::Read { .. })));
    }
}
