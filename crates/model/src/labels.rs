//! Label sets: sorted, unique names, no empty values, one allocation.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
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
/// Reusable: after [`reset`](Self::reset) its allocations serve again, so that editing many sets one after the
/// other allocates nothing but the results.
#[derive(Clone, Default)]
pub struct LabelsBuilder {
    /// Names and values in the order in which they came; what was replaced or deleted is still there.
    text: String,
    /// Sorted by name, unique, values not empty.
    pairs: Vec<Pair>,
    /// Bytes of `text` that `pairs` refer to.
    live: usize,
}

/// Where a name and its value stand in the text.
#[derive(Debug, Clone, Copy)]
struct Pair {
    name: Span,
    value: Span,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }
}

impl LabelsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder that starts from `labels`.
    pub fn from_labels(labels: &Labels) -> Self {
        let mut builder = Self::new();
        builder.reset(labels);
        builder
    }

    /// Forgets everything and starts from `labels`.
    pub fn reset(&mut self, labels: &Labels) {
        self.text.clear();
        self.pairs.clear();
        self.live = 0;
        for (name, value) in labels {
            let pair = self.append(name, value);
            self.pairs.push(pair);
        }
    }

    /// The value of `name`, or `""` when absent.
    pub fn get(&self, name: &str) -> &str {
        match self.position(name) {
            Ok(i) => &self.text[self.pairs[i].value.range()],
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
            (Ok(i), true) => {
                let pair = self.pairs.remove(i);
                self.live -= (pair.name.length + pair.value.length) as usize;
            }
            (Ok(i), false) => {
                self.live -= self.pairs[i].value.length as usize;
                self.pairs[i].value = self.append_text(value);
            }
            (Err(_), true) => return,
            (Err(i), false) => {
                let pair = self.append(name, value);
                self.pairs.insert(i, pair);
            }
        }
        self.compact();
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
        let Self { text, pairs, live } = self;
        pairs.retain(|pair| {
            let keep = keep(&text[pair.name.range()], &text[pair.value.range()]);
            if !keep {
                *live -= (pair.name.length + pair.value.length) as usize;
            }
            keep
        });
    }

    /// Pairs in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|pair| (&self.text[pair.name.range()], &self.text[pair.value.range()]))
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
        let mut data = Vec::with_capacity(self.live + 4 * self.pairs.len());
        for (name, value) in self.iter() {
            put_text(name, &mut data);
            put_text(value, &mut data);
        }
        Labels { data: data.into() }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        let text = self.text.as_bytes();
        self.pairs.binary_search_by(|pair| text[pair.name.range()].cmp(name.as_bytes()))
    }

    fn append(&mut self, name: &str, value: &str) -> Pair {
        Pair { name: self.append_text(name), value: self.append_text(value) }
    }

    fn append_text(&mut self, text: &str) -> Span {
        let position = |bytes| u32::try_from(bytes).expect("the labels of one set are far below 4 GiB");
        let span = Span { start: position(self.text.len()), length: position(text.len()) };
        self.text.push_str(text);
        self.live += text.len();
        span
    }

    /// Drops replaced and deleted text once there is much of it.
    fn compact(&mut self) {
        if self.text.len() < 4096 || self.text.len() / 4 < self.live {
            return;
        }
        *self = Self::from_labels(&self.build());
    }
}

impl PartialEq for LabelsBuilder {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for LabelsBuilder {}

impl fmt::Debug for LabelsBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
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

    #[test]
    fn editing_one_set_for_ever_does_not_grow() {
        let mut builder = LabelsBuilder::from_labels(&Labels::from_pairs([("kept", "value")]));
        for round in 0..10_000 {
            builder.set("changed", &format!("round {round}"));
            builder.set(&format!("name{}", round % 7), if round % 3 == 0 { "" } else { "x" });
        }
        assert!(builder.text.capacity() < 64 << 10, "{} bytes", builder.text.capacity());
        assert_eq!((builder.get("kept"), builder.get("changed")), ("value", "round 9999"));
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
