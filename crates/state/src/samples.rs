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

/// The samples of one object, family after family.
#[derive(Debug, Default)]
pub struct Samples {
    pub(crate) family: u16,
    /// The object's own labels, rendered: `namespace="a",pod="b"`.
    pub(crate) identity: Vec<u8>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Escaped texts of all words and values.
    pub(crate) texts: Vec<u8>,
    pub(crate) words: Vec<DraftWord>,
    recent: RecentWords,
    pub(crate) values: Vec<DraftValue>,
    pub(crate) samples: Vec<DraftSample>,
    labels: KeyFilter,
    annotations: KeyFilter,
    /// UTC when it is not set.
    local_time_zone: Option<TimeZone>,
}

/// A text among [`Samples::texts`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextSpan {
    start: u32,
    end: u32,
}

impl TextSpan {
    #[inline]
    pub(crate) fn of(self, texts: &[u8]) -> &[u8] {
        &texts[self.start as usize..self.end as usize]
    }
}

/// A value of a sample.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DraftValue {
    /// One of [`Samples::words`], by number.
    Word(u32),
    Text(TextSpan),
}

/// A word of the object. Most words that it uses again are counted here only.
#[derive(Debug)]
pub(crate) struct DraftWord {
    pub(crate) text: TextSpan,
    pub(crate) uses: u32,
}

/// Numbers of words, one more than they are, in places by what the words look like.
#[derive(Debug)]
struct RecentWords([u32; 64]);

impl Default for RecentWords {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl RecentWords {
    #[inline]
    fn place(&mut self, text: &[u8]) -> &mut u32 {
        let byte = |place: usize| text.get(place).map_or(0, |byte| usize::from(*byte));
        let end = text.len().wrapping_sub(1);
        let mixed = text.len() ^ (byte(0) * 3) ^ (byte(end) * 5) ^ (byte(text.len() / 2) * 11);
        &mut self.0[mixed % 64]
    }
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
        self.words.clear();
        self.recent = RecentWords::default();
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
        let start = self.texts.len() as u32;
        for (place, (name, value)) in pairs.iter().enumerate() {
            if place > 0 {
                self.texts.push(b',');
            }
            put_pair(name, value, &mut self.texts);
        }
        let text = TextSpan { start, end: self.texts.len() as u32 };
        self.words.push(DraftWord { text, uses: 1 });
        self.values.push(DraftValue::Word(self.words.len() as u32 - 1));
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
            let value = match value {
                Value::Word(text) => DraftValue::Word(self.word(text)),
                Value::Text(text) => DraftValue::Text(self.put_text(text)),
            };
            self.values.push(value);
        }
    }

    fn put_text(&mut self, text: &str) -> TextSpan {
        let start = self.texts.len() as u32;
        put_escaped(text, &mut self.texts);
        TextSpan { start, end: self.texts.len() as u32 }
    }

    /// The number of a word.
    fn word(&mut self, text: &str) -> u32 {
        let recent = *self.recent.place(text.as_bytes());
        if let Some(word) = recent.checked_sub(1).map(|recent| &mut self.words[recent as usize])
            && word.text.of(&self.texts) == text.as_bytes()
        {
            word.uses += 1;
            return recent - 1;
        }
        let span = self.put_text(text);
        self.words.push(DraftWord { text: span, uses: 1 });
        let number = self.words.len() as u32;
        // Only a text that is not written otherwise can be told from others by its bytes.
        if (span.end - span.start) as usize == text.len() {
            *self.recent.place(text.as_bytes()) = number;
        }
        number - 1
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
    if memchr::memchr3(b'\\', b'\n', b'"', value.as_bytes()).is_none() {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_keep_their_texts_and_uses(words in proptest::collection::vec("[ab\\\\\n\"]{0,4}", 0..200)) {
            let mut samples = Samples::default();
            for round in 0..2 {
                samples.clear();
                for word in &words {
                    samples.add(&["one", "other"], &[Value::Word(word), Value::Text(word)], f64::from(round));
                }
                let mut uses = vec![0; samples.words.len()];
                for (place, value) in samples.values.iter().enumerate() {
                    let mut escaped = Vec::new();
                    put_escaped(&words[place / 2], &mut escaped);
                    let span = match *value {
                        DraftValue::Word(number) => {
                            uses[number as usize] += 1;
                            samples.words[number as usize].text
                        }
                        DraftValue::Text(span) => span,
                    };
                    prop_assert_eq!(span.of(&samples.texts), &*escaped);
                }
                prop_assert_eq!(samples.words.iter().map(|word| word.uses).collect::<Vec<_>>(), uses);
            }
        }
    }
}
