//! The samples of one metric: a gauge, an info or a state set.

use std::borrow::Cow;

use serde_json::Value;

use super::go_text::go_type;
use super::labels::{LabelPaths, Labels};
use super::number::to_float;
use super::path::Path;
use super::problem::ValueError;

/// `each` of a metric, compiled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Each {
    pub(super) path: Path,
    /// Relative to the element that the path leads to.
    pub(super) labels: LabelPaths,
    pub(super) kind: EachKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum EachKind {
    Gauge { label_from_key: String, value_from: Path, nil_is_zero: bool },
    Info { label_from_key: String },
    StateSet { label_name: String, list: Vec<String>, value_from: Path },
}

/// A sample with the labels that the metric's own configuration gives it.
#[derive(Debug, PartialEq)]
pub(super) struct EachValue<'a> {
    pub(super) labels: Labels<'a>,
    pub(super) number: f64,
}

/// What a value gave.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome<'a> {
    pub(super) values: Vec<EachValue<'a>>,
    pub(super) errors: Vec<ValueError>,
}

impl<'a> Outcome<'a> {
    fn push(&mut self, labels: Labels<'a>, number: f64) {
        self.values.push(EachValue { labels, number });
    }
}

impl Each {
    /// All samples of an object, sorted by their labels.
    pub(super) fn values<'a>(&'a self, object: &'a Value) -> Outcome<'a> {
        let mut outcome = Outcome::default();
        let value = self.path.get(object);
        match &self.kind {
            EachKind::Gauge { label_from_key, value_from, nil_is_zero } => {
                let gauge = Gauge { each: self, label_from_key, value_from, nil_is_zero: *nil_is_zero };
                gauge.add(value.unwrap_or(&Value::Null), &mut outcome);
            }
            EachKind::Info { label_from_key } => {
                if let Some(value) = value {
                    self.add_info(label_from_key, value, &mut outcome);
                }
            }
            EachKind::StateSet { label_name, list, value_from } => {
                let set = StateSet { each: self, label_name, list, value_from };
                match value {
                    Some(Value::Array(elements)) => {
                        elements.iter().for_each(|element| set.add(element, &mut outcome))
                    }
                    Some(value) => set.add(value, &mut outcome),
                    None => {}
                }
            }
        }
        outcome.values.sort_by(|one, other| one.labels.cmp(&other.labels));
        outcome
    }

    fn add_info<'a>(&'a self, label_from_key: &'a str, value: &'a Value, outcome: &mut Outcome<'a>) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| self.add_labelled(element, outcome)),
            Value::Object(members) => {
                let own = self.labels_of(value);
                if own.contains_key(label_from_key) {
                    let (path, label) = (self.path.to_string(), label_from_key.to_owned());
                    outcome.errors.push(ValueError::Conflict { path, label });
                }
                for (key, element) in members {
                    let mut labels = key_label(label_from_key, key);
                    self.labels.add(element, &mut labels);
                    if !labels.is_empty() {
                        outcome.push(labels, 1.0);
                    }
                }
                if !own.is_empty() {
                    outcome.push(own, 1.0);
                }
            }
            _ => self.add_labelled(value, outcome),
        }
    }

    /// A sample if there are labels.
    fn add_labelled<'a>(&'a self, value: &'a Value, outcome: &mut Outcome<'a>) {
        let labels = self.labels_of(value);
        if !labels.is_empty() {
            outcome.push(labels, 1.0);
        }
    }

    fn labels_of<'a>(&'a self, value: &'a Value) -> Labels<'a> {
        let mut labels = Labels::new();
        self.labels.add(value, &mut labels);
        labels
    }
}

/// The label that has an element's key as its value.
fn key_label<'a>(label_from_key: &'a str, key: &'a str) -> Labels<'a> {
    let mut labels = Labels::new();
    if !key.is_empty() && !label_from_key.is_empty() {
        labels.insert(Cow::Borrowed(label_from_key), Cow::Borrowed(key));
    }
    labels
}

struct Gauge<'a> {
    each: &'a Each,
    label_from_key: &'a str,
    value_from: &'a Path,
    nil_is_zero: bool,
}

impl<'a> Gauge<'a> {
    fn add(&self, value: &'a Value, outcome: &mut Outcome<'a>) {
        match value {
            Value::Object(members) => {
                for (key, element) in members {
                    self.add_member(value, key, element, outcome);
                }
            }
            Value::Array(elements) => {
                for (place, element) in elements.iter().enumerate() {
                    self.add_element(element, Some(place), outcome);
                }
            }
            value => self.add_element(value, None, outcome),
        }
    }

    /// A member of a mapping: `valueFrom` may name it, or something in it. That it has nothing there is no error.
    fn add_member(&self, mapping: &'a Value, key: &'a str, element: &'a Value, outcome: &mut Outcome<'a>) {
        let number = if self.value_from.single_key() == Some(key) {
            match to_float(element, self.nil_is_zero) {
                Ok(number) => number,
                Err(cause) => {
                    let error = ValueError::number(&self.each.path, Some(key.to_owned()), None, cause);
                    outcome.errors.push(error);
                    return;
                }
            }
        } else {
            match self.value_from.get(element) {
                None if self.nil_is_zero => 0.0,
                None => return,
                Some(value) => match to_float(value, self.nil_is_zero) {
                    Ok(number) => number,
                    Err(_) => return,
                },
            }
        };
        let mut labels = key_label(self.label_from_key, key);
        self.each.labels.add(element, &mut labels);
        self.each.labels.add(mapping, &mut labels);
        outcome.push(labels, number);
    }

    fn add_element(&self, element: &'a Value, place: Option<usize>, outcome: &mut Outcome<'a>) {
        let place = place.map(|place| place.to_string());
        let number = match self.value_from.get(element) {
            None if self.nil_is_zero => Ok(0.0),
            None if element.is_null() => {
                let mut path = self.each.path.to_string();
                if let Some(place) = place {
                    path = format!("{path}: [{place}]");
                }
                Err(ValueError::Nothing { path })
            }
            None => return,
            Some(value) => to_float(value, self.nil_is_zero)
                .map_err(|cause| ValueError::number(&self.each.path, place, Some(self.value_from), cause)),
        };
        match number {
            Ok(number) => outcome.push(self.each.labels_of(element), number),
            Err(error) => outcome.errors.push(error),
        }
    }
}

struct StateSet<'a> {
    each: &'a Each,
    label_name: &'a str,
    list: &'a [String],
    value_from: &'a Path,
}

impl<'a> StateSet<'a> {
    fn add(&self, value: &'a Value, outcome: &mut Outcome<'a>) {
        let state = match self.value_from.get(value) {
            None => return,
            Some(Value::String(state)) => state,
            Some(other) => {
                let path = self.each.path.join(self.value_from).to_string();
                outcome.errors.push(ValueError::NotText { path, kind: go_type(other) });
                return;
            }
        };
        for entry in self.list {
            let mut labels = Labels::new();
            labels.insert(Cow::Borrowed(self.label_name), Cow::Borrowed(entry));
            self.each.labels.add(value, &mut labels);
            outcome.push(labels, f64::from(u8::from(state == entry)));
        }
    }
}
