//! Label sets: sorted, unique names, no empty values, one allocation.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Name of the label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable label set. Names are unique and sorted by bytes; an empty value means the label is absent.
///
/// Stored as one shared buffer of length-prefixed names and values, so a clone is a reference count
/// and a set of ten labels is one allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    /// `len name len value …`, lengths as LEB128, sorted by name.
    data: Arc<[u8]>,
}

impl Labels {
    /// The set without labels.
    pub fn empty() -> Self {
        Self { data: Arc::from([]) }
    }

    /// A set from pairs in any order. Empty values are left out; of equal names the last one wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// The value of `name`, or `None` when absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        for (candidate, value) in self {
            match candidate.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// Pairs in order of name.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.data }
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// FNV-1a of all names and values, separated by 0xff; stable across processes and versions.
    pub fn hash64(&self) -> u64 {
        let mut hash = Fnv1a::new();
        for (name, value) in self {
            hash.update(name.as_bytes());
            hash.update(&[0xff]);
            hash.update(value.as_bytes());
            hash.update(&[0xff]);
        }
        hash.finish()
    }

    /// Bytes this set occupies on the heap when not shared.
    pub fn heap_bytes(&self) -> usize {
        self.data.len() + 16
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(formatter, "{separator}{name}={value:?}")?;
        }
        formatter.write_str("}")
    }
}

/// Iterator over the pairs of a label set, in order of name.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_text(&mut self.rest);
        let value = take_text(&mut self.rest);
        Some((name, value))
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> &'a str {
    let mut length = 0usize;
    let mut shift = 0;
    let mut used = 0;
    for byte in rest.iter() {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        used += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (text, tail) = rest[used..].split_at(length);
    *rest = tail;
    std::str::from_utf8(text).expect("a label set is built from &str only")
}

fn put_text(text: &str, into: &mut Vec<u8>) {
    let mut length = text.len();
    while length >= 0x80 {
        into.push((length as u8) | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
    into.extend_from_slice(text.as_bytes());
}

/// Builds and edits label sets: start empty or from a set, set and delete, then [`build`](Self::build).
///
/// Reusable: [`reset`](Self::reset) keeps the allocation of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelsBuilder {
    /// Sorted by name, unique, values not empty.
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl LabelsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder that starts from `labels`.
    pub fn from_labels(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }

    /// Forgets everything and starts from `labels`.
    pub fn reset(&mut self, labels: &Labels) {
        self.pairs.clear();
        self.pairs.extend(labels.iter().map(|(n, v)| (n.into(), v.into())));
    }

    /// The value of `name`, or `""` when absent.
    pub fn get(&self, name: &str) -> &str {
        match self.position(name) {
            Ok(i) => &self.pairs[i].1,
            Err(_) => "",
        }
    }

    /// Whether `name` is present.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// Sets `name` to `value`; an empty value deletes the label.
    pub fn set(&mut self, name: &str, value: &str) {
        match (self.position(name), value.is_empty()) {
            (Ok(i), true) => drop(self.pairs.remove(i)),
            (Ok(i), false) => self.pairs[i].1 = value.into(),
            (Err(_), true) => {}
            (Err(i), false) => self.pairs.insert(i, (name.into(), value.into())),
        }
    }

    /// Sets `name` to `value` unless it is present already.
    pub fn set_default(&mut self, name: &str, value: &str) {
        if !self.contains(name) {
            self.set(name, value);
        }
    }

    /// Deletes `name`.
    pub fn delete(&mut self, name: &str) {
        self.set(name, "");
    }

    /// Keeps only the labels for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|(name, value)| keep(name, value));
    }

    /// Pairs in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The label set as it now is; the builder keeps its content.
    pub fn build(&self) -> Labels {
        let bytes: usize = self.pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        let mut data = Vec::with_capacity(bytes);
        for (name, value) in &self.pairs {
            put_text(name, &mut data);
            put_text(value, &mut data);
        }
        Labels { data: data.into() }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(candidate, _)| (**candidate).cmp(name))
    }
}

/// 64-bit FNV-1a, for hashes that must be the same in every process.
#[derive(Debug, Clone, Copy)]
pub struct Fnv1a(u64);

impl Fnv1a {
    /// The offset basis.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash of all bytes so far.
    pub fn finish(self) -> u64 {
        self.0
    }
}

impl Default for Fnv1a {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fnv_matches_the_published_vectors() {
        for (text, expected) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c)] {
            let mut hash = Fnv1a::new();
            hash.update(str::as_bytes(text));
            assert_eq!(hash.finish(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_set_behaves_like_a_sorted_map(edits in prop::collection::vec(("[a-d]{1,2}", "[x-y]{0,200}"), 0..20)) {
            let mut map = BTreeMap::new();
            let mut builder = LabelsBuilder::new();
            for (name, value) in &edits {
                builder.set(name, value);
                if value.is_empty() {
                    map.remove(name);
                } else {
                    map.insert(name.clone(), value.clone());
                }
            }
            let labels = builder.build();
            let pairs: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(pairs, map.clone().into_iter().collect::<Vec<_>>());
            for name in ["a", "b", "zz"] {
                prop_assert_eq!(labels.get(name), map.get(name).map(String::as_str));
            }
            prop_assert_eq!(LabelsBuilder::from_labels(&labels), builder);
        }
    }
}
