use std::fs;

use super::*;

fn put(key: &str, value: &str) -> StateChange {
    StateChange::Put { key: key.to_owned(), value: value.as_bytes().to_vec(), lease: 0 }
}

fn delete(key: &str) -> StateChange {
    StateChange::Delete { key: key.to_owned() }
}

fn entry(value: &str, create_revision: u64, revision: u64) -> StateEntry {
    StateEntry { value: value.as_bytes().to_vec(), create_revision, revision, lease: 0 }
}

#[test]
fn commits_are_there_after_opening_anew_with_their_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/for/it/state.redb");
    let file = StateFile::open(&path).unwrap();
    assert_eq!((file.revision().unwrap(), file.get("a").unwrap()), (0, None));
    assert_eq!(file.commit(&[put("workers/a", "1"), put("workers/b", "2"), put("x", "3")]).unwrap(), 1);
    assert_eq!(file.commit(&[put("workers/a", "4"), delete("x"), delete("y")]).unwrap(), 2);
    assert!(matches!(StateFile::open(&path), Err(StateFileError::InUse { .. })));
    drop(file);
    let file = StateFile::open(&path).unwrap();
    assert_eq!(file.set_aside(), None);
    assert_eq!(file.revision().unwrap(), 2);
    assert_eq!(file.get("workers/a").unwrap(), Some(entry("4", 1, 2)));
    let expected =
        vec![("workers/a".to_owned(), entry("4", 1, 2)), ("workers/b".to_owned(), entry("2", 1, 1))];
    assert_eq!(file.list("workers/").unwrap(), expected);
    assert_eq!(file.list("").unwrap(), expected);
    file.replace(7, &[("z".to_owned(), entry("9", 3, 5))]).unwrap();
    assert_eq!(file.list("").unwrap(), [("z".to_owned(), entry("9", 3, 5))]);
    assert_eq!(file.commit(&[put("z", "10")]).unwrap(), 8);
    assert_eq!(file.get("z").unwrap(), Some(entry("10", 3, 8)));
}

#[test]
fn damage_anywhere_is_found_and_the_file_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let file = StateFile::open(&path).unwrap();
    for number in 0..200 {
        file.commit(&[put(&format!("workers/{number}"), &"value".repeat(number))]).unwrap();
    }
    drop(file);
    let whole = fs::read(&path).unwrap();
    // Nothing of a redb file, its header, and its pages: overwritten, and cut.
    let mut damaged = vec![b"not a database".to_vec(), vec![0; 4096], whole[..whole.len() / 2].to_vec()];
    for place in (0..whole.len()).step_by(whole.len() / 64) {
        let mut content = whole.clone();
        let end = (place + 2_000).min(content.len());
        content[place..end].fill(0x5a);
        damaged.push(content);
    }
    let mut found = 0;
    for content in damaged {
        fs::write(&path, &content).unwrap();
        let file = StateFile::open(&path).unwrap();
        let entries = file.list("").unwrap();
        if let Some(aside) = file.set_aside() {
            assert_eq!(fs::read(aside).unwrap().len(), content.len());
            assert!(entries.is_empty());
            found += 1;
        } else {
            // The damage was where nothing stands.
            assert_eq!(entries.len(), 200);
        }
        assert!(file.commit(&[put("new", "value")]).is_ok());
        drop(file);
    }
    assert!(found > 10, "{found}");
}

#[test]
fn a_newer_format_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let file = StateFile::open(&path).unwrap();
    file.run(|database| {
        let transaction = database.begin_write()?;
        transaction.open_table(NUMBERS)?.insert(FORMAT, FORMAT_VERSION + 1)?;
        transaction.commit()?;
        Ok(())
    })
    .unwrap();
    drop(file);
    let error = StateFile::open(&path).unwrap_err();
    assert_eq!(error.trouble(), StateTrouble::Newer);
    assert!(error.to_string().contains("format 2"), "{error}");
}
