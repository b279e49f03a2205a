//! What a generator says of an object.

use jiff::tz::TimeZone;

use crate::labels::KeyFilter;

/// The value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text that other objects have too: kept once for all of them.
    Word(&'a str),
    /// A text of this object alone.
    Text(&'a str),
}

impl<'a> Value<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Text(text) => text,
        }
    }
}

/// The samples of one object, family after family.
#[derive(Debug, Default)]
pub struct Samples {
    pub(crate) family: u16,
    /// The object's own labels, rendered: `namespace="a",pod="b"`.
    pub(crate) identity: Vec<u8>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Escaped texts of all values.
    pub(crate) texts: Vec<u8>,
    pub(crate) values: Vec<DraftValue>,
    pub(crate) samples: Vec<DraftSample>,
    labels: KeyFilter,
    annotations: KeyFilter,
    /// UTC when it is not set.
    local_time_zone: Option<TimeZone>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct DraftValue {
    pub(crate) is_word: bool,
    /// End of its text; it begins at the end of the one before.
    pub(crate) end: u32,
}

#[derive(Debug)]
pub(crate) struct DraftSample {
    pub(crate) family: u16,
    pub(crate) labels: LabelNames,
    /// Values of this and all samples before. With pairs, they are the last value, rendered.
    pub(crate) values_end: u32,
    pub(crate) pairs: bool,
    pub(crate) number: f64,
}

/// Label names of a sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LabelNames {
    Static(&'static [&'static str]),
    /// Known at run time only.
    Named(Box<[Box<str>]>),
}

impl LabelNames {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let (fixed, named): (&[&str], &[Box<str>]) = match self {
            Self::Static(names) => (names, &[]),
            Self::Named(names) => (&[], names),
        };
        fixed.iter().copied().chain(named.iter().map(|name| &**name))
    }
}

impl Samples {
    /// Samples whose label and annotation families give the keys that these filters allow.
    pub fn new(labels: KeyFilter, annotations: KeyFilter) -> Self {
        Self { labels, annotations, ..Self::default() }
    }

    /// With the time zone of schedules that name none.
    pub fn in_time_zone(mut self, local: TimeZone) -> Self {
        self.local_time_zone = Some(local);
        self
    }

    /// The time zone of schedules that name none.
    pub fn local_time_zone(&self) -> &TimeZone {
        const UTC: &TimeZone = &TimeZone::UTC;
        self.local_time_zone.as_ref().unwrap_or(UTC)
    }

    /// Label keys to give.
    pub fn label_filter(&self) -> &KeyFilter {
        &self.labels
    }

    /// Annotation keys to give.
    pub fn annotation_filter(&self) -> &KeyFilter {
        &self.annotations
    }

    /// Forgets everything that was said.
    pub fn clear(&mut self) {
        self.family = 0;
        self.identity.clear();
        self.namespace.clear();
        self.name.clear();
        self.uid.clear();
        self.texts.clear();
        self.values.clear();
        self.samples.clear();
    }

    /// Which object this is: its key in the table and, by `uid`, its shard.
    pub fn set_object(&mut self, namespace: &str, name: &str, uid: &str) {
        self.namespace.replace_range(.., namespace);
        self.name.replace_range(.., name);
        self.uid.replace_range(.., uid);
    }

    /// One more label that all samples of the object begin with. Before the first sample.
    pub fn add_identity(&mut self, name: &str, value: &str) {
        if !self.identity.is_empty() {
            self.identity.push(b',');
        }
        put_pair(name, value, &mut self.identity);
    }

    /// What follows is of this family, a position in the generator's list. Positions only grow.
    pub fn begin_family(&mut self, family: u16) {
        self.family = family;
    }

    /// A sample with these labels after the object's own; as many names as values.
    pub fn add(&mut self, labels: &'static [&'static str], values: &[Value<'_>], number: f64) {
        debug_assert_eq!(labels.len(), values.len(), "{labels:?}");
        self.push_values(values);
        self.push(LabelNames::Static(labels), false, number);
    }

    /// As [`add`](Self::add), with more labels behind whose names come from the object.
    pub fn add_pairs(
        &mut self,
        labels: &'static [&'static str],
        values: &[Value<'_>],
        pairs: &[(String, &str)],
        number: f64,
    ) {
        if pairs.is_empty() {
            return self.add(labels, values, number);
        }
        debug_assert_eq!(labels.len(), values.len(), "{labels:?}");
        self.push_values(values);
        for (place, (name, value)) in pairs.iter().enumerate() {
            if place > 0 {
                self.texts.push(b',');
            }
            put_pair(name, value, &mut self.texts);
        }
        self.values.push(DraftValue { is_word: true, end: self.texts.len() as u32 });
        self.push(LabelNames::Static(labels), true, number);
    }

    /// A sample whose label names are known at run time only, but are the same for most objects: each different
    /// list of names is kept for good.
    pub fn add_named(&mut self, labels: &[(&str, Value<'_>)], number: f64) {
        for (_, value) in labels {
            self.push_values(&[*value]);
        }
        let names = labels.iter().map(|(name, _)| Box::from(*name)).collect();
        self.push(LabelNames::Named(names), false, number);
    }

    fn push_values(&mut self, values: &[Value<'_>]) {
        for value in values {
            put_escaped(value.text(), &mut self.texts);
            let is_word = matches!(value, Value::Word(_));
            self.values.push(DraftValue { is_word, end: self.texts.len() as u32 });
        }
    }

    fn push(&mut self, labels: LabelNames, pairs: bool, number: f64) {
        let values_end = self.values.len() as u32;
        self.samples.push(DraftSample { family: self.family, labels, values_end, pairs, number });
    }
}

fn put_pair(name: &str, value: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b"=\"");
    put_escaped(value, into);
    into.push(b'"');
}

/// Appends a label value with `\`, newline and `"` escaped, all other bytes as they are.
pub(crate) fn put_escaped(value: &str, into: &mut Vec<u8>) {
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b'\n' | b'"')) {
        into.extend_from_slice(value.as_bytes());
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'"' => into.extend_from_slice(b"\\\""),
            _ => into.push(byte),
        }
    }
}
