//! One value in one file: replaced as a whole, checked when it is read, encrypted where there is a key.
//!
//! | the process or the machine goes down | the file has the value of the last [`write`](SealedFile::write) that returned, or of the one under way |
//! |---|---|
//! | bytes are damaged, the end is missing | [`read`](SealedFile::read) says so; nothing of it is believed |
//! | the key is missing or another one | the same |
//! | the disk is full or read-only | `write` says so; what was in the file before is still there |
//!
//! The file is for its owner only (mode 0600). Its form, numbers in little endian: `ORSEALED`, format (u16), kind (u16: 0
//! plain, 1 AES-256-GCM), nonce (12 bytes), length of the rest (u64), the rest, CRC-32 of all before. The header is
//! authenticated with the value. All calls block on the disk.

mod error;
mod key;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{SealedFileError, SealedTrouble};
pub use key::{Key, KeyError};

const MAGIC: &[u8; 8] = b"ORSEALED";
const FORMAT: u16 = 1;
const PLAIN: u16 = 0;
const ENCRYPTED: u16 = 1;
const NONCE_BYTES: usize = 12;
const HEADER_BYTES: usize = 8 + 2 + 2 + NONCE_BYTES + 8;
const CHECK_BYTES: usize = 4;

/// The largest value.
pub const MAX_SEALED_BYTES: u64 = 1 << 30;

/// A value on the disk.
#[derive(Debug)]
pub struct SealedFile {
    path: PathBuf,
    key: Option<Arc<Key>>,
}

impl SealedFile {
    /// The file at `path`, which need not exist. With a key, what is written is encrypted; what is read may be not.
    pub fn new(path: impl Into<PathBuf>, key: Option<Arc<Key>>) -> Self {
        Self { path: path.into(), key }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value; `None` when there is no file.
    ///
    /// # Errors
    /// [`SealedFileError`] when it cannot be read or believed.
    pub fn read(&self) -> Result<Option<Vec<u8>>, SealedFileError> {
        let failed = |source| SealedFileError::Read { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let limit = MAX_SEALED_BYTES + 1_024;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(SealedFileError::TooLarge { path: self.path.clone() });
        }
        self.open(bytes).map(Some)
    }

    /// Replaces the value. When it returns, the value outlives a crash of the machine.
    ///
    /// # Errors
    /// [`SealedFileError`]; the value before is still there then.
    pub fn write(&self, value: &[u8]) -> Result<(), SealedFileError> {
        if value.len() as u64 > MAX_SEALED_BYTES {
            return Err(SealedFileError::TooLarge { path: self.path.clone() });
        }
        let bytes = self.seal(value)?;
        let beside = self.beside("new");
        let written = write_synced(&beside, &bytes).and_then(|()| fs::rename(&beside, &self.path));
        if let Err(source) = written {
            // What was begun must not take the room that the next attempt needs; it may not even exist.
            let _ = fs::remove_file(&beside);
            return Err(SealedFileError::Write { path: self.path.clone(), source });
        }
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(|source| SealedFileError::Write { path: self.path.clone(), source })
    }

    /// Renames a file that cannot be used, so that the next [`write`](Self::write) does not destroy it; returns its new
    /// name. An earlier one of that name is replaced.
    ///
    /// # Errors
    /// [`SealedFileError::Write`].
    pub fn set_aside(&self) -> Result<PathBuf, SealedFileError> {
        let aside = self.beside("unusable");
        fs::rename(&self.path, &aside)
            .map_err(|source| SealedFileError::Write { path: self.path.clone(), source })?;
        Ok(aside)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(suffix);
        self.path.with_file_name(name)
    }

    fn seal(&self, value: &[u8]) -> Result<Vec<u8>, SealedFileError> {
        let failed = || SealedFileError::Encrypt { path: self.path.clone() };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + value.len() + key::TAG_BYTES + CHECK_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        match &self.key {
            None => {
                bytes.extend(PLAIN.to_le_bytes());
                bytes.extend([0; NONCE_BYTES]);
                bytes.extend((value.len() as u64).to_le_bytes());
                bytes.extend(value);
            }
            Some(key) => {
                let nonce = key::fresh_nonce().ok_or_else(failed)?;
                bytes.extend(ENCRYPTED.to_le_bytes());
                bytes.extend(nonce);
                bytes.extend(((value.len() + key::TAG_BYTES) as u64).to_le_bytes());
                let mut rest = value.to_vec();
                key.encrypt(nonce, &bytes, &mut rest).ok_or_else(failed)?;
                bytes.extend(rest);
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Ok(bytes)
    }

    fn open(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>, SealedFileError> {
        let path = || self.path.clone();
        let damaged = |what| SealedFileError::Damaged { path: path(), what };
        if bytes.len() < MAGIC.len() || bytes[..MAGIC.len()] != *MAGIC {
            return Err(damaged("it does not begin as such a file does"));
        }
        let format = number(&bytes, 8).ok_or_else(|| damaged("its end is missing"))?;
        if format != FORMAT {
            return Err(SealedFileError::Format { path: path(), format });
        }
        if bytes.len() < HEADER_BYTES + CHECK_BYTES {
            return Err(damaged("its end is missing"));
        }
        let length = bytes[HEADER_BYTES - 8..HEADER_BYTES].try_into().map(u64::from_le_bytes).unwrap_or(0);
        match (bytes.len() - HEADER_BYTES - CHECK_BYTES) as u64 {
            have if have < length => return Err(damaged("its end is missing")),
            have if have > length => return Err(damaged("there is something behind its end")),
            _ => {}
        }
        let check = bytes.split_off(bytes.len() - CHECK_BYTES);
        if crc32fast::hash(&bytes).to_le_bytes() != *check {
            return Err(damaged("its checksum is wrong"));
        }
        let rest = bytes.split_off(HEADER_BYTES);
        match (number(&bytes, 10), &self.key) {
            (Some(PLAIN), _) => Ok(rest),
            (Some(ENCRYPTED), None) => Err(SealedFileError::NoKey { path: path() }),
            (Some(ENCRYPTED), Some(key)) => {
                let nonce =
                    bytes[12..12 + NONCE_BYTES].try_into().map_err(|_| damaged("its nonce is missing"))?;
                key.decrypt(nonce, &bytes, rest).ok_or_else(|| SealedFileError::WrongKey { path: path() })
            }
            _ => Err(damaged("it is of an unknown kind")),
        }
    }
}

/// Two bytes of a header.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that was left behind may have other permissions.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn key() -> Option<Arc<Key>> {
        Some(Arc::new(Key::parse(HEX).unwrap()))
    }

    #[test]
    fn a_value_is_there_again_with_and_without_a_key() {
        let directory = tempfile::tempdir().unwrap();
        for (name, key) in [("plain", None), ("sealed", key())] {
            let file = SealedFile::new(directory.path().join(name), key);
            assert_eq!(file.read().unwrap(), None);
            for value in [&b"first"[..], b"", &[7; 100_000]] {
                file.write(value).unwrap();
                assert_eq!(file.read().unwrap().as_deref(), Some(value));
                let bytes = fs::read(file.path()).unwrap();
                assert_eq!(
                    bytes.windows(5).any(|bytes| bytes == b"first"),
                    name == "plain" && value == b"first"
                );
            }
            let mode = fs::metadata(file.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // A key that comes later reads what was written without one.
        let file = SealedFile::new(directory.path().join("plain"), key());
        assert_eq!(file.read().unwrap().map(|value| value.len()), Some(100_000));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn no_two_writes_have_the_same_nonce() {
        let file = SealedFile::new("unused", key());
        let sealed: std::collections::HashSet<Vec<u8>> =
            (0..200).map(|_| file.seal(b"value").unwrap()[12..24].to_vec()).collect();
        assert_eq!(sealed.len(), 200);
    }

    /// Every single damaged byte and every cut is found.
    #[test]
    fn damage_is_found_and_named() {
        let directory = tempfile::tempdir().unwrap();
        for (name, key) in [("plain", None), ("sealed", key())] {
            let file = SealedFile::new(directory.path().join(name), key);
            file.write(b"some value").unwrap();
            let good = fs::read(file.path()).unwrap();
            for at in 0..good.len() {
                let mut bytes = good.clone();
                bytes[at] ^= 0x10;
                assert!(file.open(bytes).is_err(), "{name}, byte {at}");
                assert!(file.open(good[..at].to_vec()).is_err(), "{name}, cut at {at}");
            }
            let longer = [&good[..], b"x"].concat();
            assert!(file.open(longer).is_err());
            // Someone who can repair the checksum still cannot change an encrypted value.
            if name == "sealed" {
                for at in [13, HEADER_BYTES + 1] {
                    let mut bytes = good[..good.len() - CHECK_BYTES].to_vec();
                    bytes[at] ^= 1;
                    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
                    assert_eq!(file.open(bytes).unwrap_err().trouble(), SealedTrouble::WrongKey, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn wrong_keys_newer_formats_and_foreign_files_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        SealedFile::new(&path, key()).write(b"value").unwrap();
        let other = Arc::new(Key::parse(&HEX.replace("00", "ff")).unwrap());
        let trouble = |key| SealedFile::new(&path, key).read().unwrap_err();
        assert_eq!(trouble(Some(other)).trouble(), SealedTrouble::WrongKey);
        let error = trouble(None);
        assert_eq!(error.trouble(), SealedTrouble::WrongKey);
        assert!(error.to_string().contains("state") && error.to_string().contains("key"), "{error}");

        let mut newer = fs::read(&path).unwrap();
        newer[8] = 2;
        fs::write(&path, newer).unwrap();
        assert_eq!(trouble(key()).trouble(), SealedTrouble::Newer);
        fs::write(&path, "{}").unwrap();
        let file = SealedFile::new(&path, key());
        assert_eq!(file.read().unwrap_err().trouble(), SealedTrouble::Damaged);
        let aside = file.set_aside().unwrap();
        assert_eq!(fs::read_to_string(aside).unwrap(), "{}");
        assert_eq!(file.read().unwrap(), None);
    }

    #[test]
    fn what_is_there_survives_a_write_that_fails() {
        let directory = tempfile::tempdir().unwrap();
        let file = SealedFile::new(directory.path().join("state"), None);
        file.write(b"before").unwrap();
        // A directory stands where the new file would be written.
        fs::create_dir(directory.path().join("state.new")).unwrap();
        let error = file.write(b"after").unwrap_err();
        assert!(matches!(error, SealedFileError::Write { .. }), "{error}");
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"before"[..]));
        let nowhere = SealedFile::new(directory.path().join("missing").join("state"), None);
        assert!(nowhere.write(b"value").is_err());
        assert_eq!(nowhere.read().unwrap(), None);
    }

    #[test]
    fn a_full_disk_is_called_by_its_name() {
        // Every write to this device fails as on a full disk.
        let error = write_synced(Path::new("/dev/full"), b"value").unwrap_err();
        let error = SealedFileError::Write { path: "state".into(), source: error };
        assert_eq!(error.trouble(), SealedTrouble::Full);
        assert!(error.to_string().contains("free space"), "{error}");
    }
}
