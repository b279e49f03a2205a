use hashbrown::HashTable;

use crate::dictionary::{shrink, shrink_index};

/// No row.
const NONE: u32 = u32::MAX;

/// Rows by a key of which each row has at most one: a doubly linked list of rows for each key.
///
/// Keys are hashes; whoever iterates checks that a row has the key meant. Insert and remove take constant time,
/// whatever the length of the list.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    heads: HashTable<Head>,
    /// By row: (next, previous).
    links: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    key: u64,
    row: u32,
}

impl Chain {
    /// Adds a row that is in no list.
    pub(crate) fn insert(&mut self, key: u64, row: u32) {
        let position = row as usize;
        if self.links.len() <= position {
            self.links.resize(position + 1, (NONE, NONE));
        }
        let mut next = NONE;
        match self.heads.find_mut(key, |head| head.key == key) {
            Some(head) => {
                next = std::mem::replace(&mut head.row, row);
                self.links[next as usize].1 = row;
            }
            None => drop(self.heads.insert_unique(key, Head { key, row }, |head| head.key)),
        }
        self.links[position] = (next, NONE);
    }

    /// Takes a row out of the list it was inserted into.
    pub(crate) fn remove(&mut self, key: u64, row: u32) {
        let (next, previous) = std::mem::replace(&mut self.links[row as usize], (NONE, NONE));
        if next != NONE {
            self.links[next as usize].1 = previous;
        }
        if previous != NONE {
            self.links[previous as usize].0 = next;
        } else if let Ok(mut head) = self.heads.find_entry(key, |head| head.key == key) {
            if next == NONE {
                head.remove();
            } else {
                head.get_mut().row = next;
            }
        }
        if self.heads.is_empty() {
            self.links.clear();
        }
        shrink(&mut self.links);
        shrink_index(&mut self.heads, |head| head.key);
    }

    /// The rows inserted under `key`, the newest first.
    pub(crate) fn rows(&self, key: u64) -> impl Iterator<Item = u32> {
        let mut row = self.heads.find(key, |head| head.key == key).map_or(NONE, |head| head.row);
        std::iter::from_fn(move || {
            let current = (row != NONE).then_some(row)?;
            row = self.links[current as usize].0;
            Some(current)
        })
    }

    pub(crate) fn memory(&self) -> usize {
        self.heads.allocation_size() + self.links.capacity() * size_of::<(u32, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_the_rows_of_each_key(steps in prop::collection::vec((0u32..20, 0u64..4), 0..200)) {
            let mut chain = Chain::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (row, key) in steps {
                match model.remove(&row) {
                    Some(old) => chain.remove(old, row),
                    None => {
                        chain.insert(key, row);
                        model.insert(row, key);
                    }
                }
                for key in 0..4 {
                    let mut found: Vec<u32> = chain.rows(key).collect();
                    found.sort_unstable();
                    let expected: Vec<u32> = model.iter().filter(|(_, k)| **k == key).map(|(r, _)| *r).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
