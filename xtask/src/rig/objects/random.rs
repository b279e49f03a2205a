//! A seeded source of choices, and the odd values that objects are made of.

use serde_json::{Value, json};

/// Label keys that meet after mapping (`fooBar`, `foo-bar`, `foo.bar` …), that begin with digits, or that look like a
/// name which the resolution of such conflicts makes.
const LABEL_KEYS: [&str; 26] = [
    "app",
    "App",
    "fooBar",
    "foo-bar",
    "foo_bar",
    "foo.bar",
    "FooBar",
    "FOO-bar",
    "foo_bar_conflict1",
    "foo-bar-conflict2",
    "app.kubernetes.io/name",
    "app-kubernetes-io/name",
    "app.kubernetes.io/Name",
    "app_kubernetes_io_name",
    "example.com/HTTPServerURL",
    "example.com/0digit",
    "0digit",
    "9",
    "a__b",
    "a_b",
    "aB",
    "XMLHttp2Request",
    "topology.kubernetes.io/zone",
    "x",
    "a.very-long.prefix.of-a-label.example.org/a.name_that-has.the.greatest.length.that.is.allowed.for.a-namex",
    "label_app",
];
const LABEL_VALUES: [&str; 8] = ["", "v", "1", "mysql-server", "with.dot_and-dash", "UPPER", "0", "true"];
const ANNOTATION_VALUES: [&str; 12] = [
    "",
    "v",
    "say \"hello\"",
    "back\\slash and \\n that is no newline",
    "two\nlines\n",
    "tab\tand\rreturn",
    "naïve café 日本語 🚀",
    "{\"json\": [1, 2, {\"a\": null}]}",
    "trailing space ",
    "\u{1}\u{7f}\u{a0}\u{2028}",
    "{}=,\"",
    "# HELP x y",
];
const TIMES: [&str; 12] = [
    "1970-01-01T00:00:01Z",
    "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "1999-12-31T23:59:59Z",
    "2001-09-09T01:46:40Z",
    "2017-07-14T02:40:00Z",
    "2024-02-29T12:34:56Z",
    "2024-03-31T00:59:59Z",
    "2026-10-25T01:30:00+02:00",
    "2038-01-19T03:14:08Z",
    "9999-12-31T23:59:59Z",
];
/// Amounts of a countable thing, small ones first.
const CPUS: [&str; 16] = [
    "0",
    "1n",
    "999n",
    "1u",
    "100m",
    "0.5",
    "1500m",
    "1.5",
    "2",
    "3e0",
    "12",
    "0.1k",
    "1e3",
    "2Ki",
    "1M",
    "9223372036854775807",
];
const BYTES: [&str; 18] = [
    "0",
    "1n",
    "100m",
    "0.5",
    "1",
    "999",
    "1e3",
    "2Ki",
    "1.5Ki",
    "128974848",
    "129e6",
    "64Mi",
    "1234567.5",
    "1Gi",
    "1.5G",
    "3Ti",
    "1E",
    "7Ei",
];
const WHOLE: [&str; 8] = ["0", "1", "2", "8", "100", "1k", "1e6", "1Ki"];

/// A seeded source of choices (SplitMix64): the same seed makes the same objects on every machine.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, stream: &str, index: usize) -> Self {
        // FNV-1a keeps the streams apart, so that a change in one resource leaves the others as they were.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
        for byte in stream.bytes().chain(index.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Random(hash)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is above zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap_or(0)
    }

    pub(super) fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Null in the other cases; the caller drops nulls.
    pub(super) fn maybe(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.chance(percent) { make(self) } else { Value::Null }
    }

    pub(super) fn one_of(&mut self, all: &[Value]) -> Value {
        all[self.below(all.len())].clone()
    }

    pub(super) fn text(&mut self, all: &[&str]) -> Value {
        json!(self.pick(all))
    }

    /// Between `from` and `to` items.
    pub(super) fn list(
        &mut self,
        from: usize,
        to: usize,
        mut make: impl FnMut(&mut Self, usize) -> Value,
    ) -> Value {
        let length = self.between(from, to);
        Value::Array((0..length).map(|index| make(self, index)).collect())
    }

    /// Up to `to` of these, each at most once, in their order.
    pub(super) fn some_of<T: Copy>(&mut self, all: &[T], to: usize) -> Vec<T> {
        let mut kept: Vec<T> = all.iter().copied().filter(|_| self.chance(60)).collect();
        while kept.len() > to {
            kept.remove(self.below(kept.len()));
        }
        kept
    }

    /// A count as a status has it: unset, zero, small, or large.
    pub(super) fn count(&mut self) -> Value {
        match self.below(6) {
            0 => Value::Null,
            1 => json!(0),
            2 => json!(1),
            3 => json!(self.below(100)),
            4 => json!(1_000_000 + self.below(9)),
            _ => json!(i32::MAX),
        }
    }

    /// Unset, true or false.
    pub(super) fn flag(&mut self) -> Value {
        self.one_of(&[Value::Null, json!(true), json!(false)])
    }

    pub(super) fn time(&mut self) -> Value {
        if self.chance(50) {
            let (day, second) = (self.between(1, 28), self.below(60));
            return json!(format!(
                "20{:02}-0{}-{day:02}T0{}:1{}:{second:02}Z",
                self.between(10, 39),
                self.between(1, 9),
                self.below(10),
                self.below(10)
            ));
        }
        self.text(&TIMES)
    }

    /// A time that is neither unset nor odd, so that it may be compared with another.
    pub(super) fn plain_time(&mut self, year: usize) -> Value {
        json!(format!("{year}-05-{:02}T1{}:00:00Z", self.between(1, 28), self.below(10)))
    }

    pub(super) fn cpu(&mut self) -> Value {
        self.text(&CPUS)
    }

    pub(super) fn bytes(&mut self) -> Value {
        self.text(&BYTES)
    }

    pub(super) fn whole(&mut self) -> Value {
        self.text(&WHOLE)
    }

    /// Any quantity, negative ones too.
    pub(super) fn quantity(&mut self) -> Value {
        match self.below(4) {
            0 => self.cpu(),
            1 => self.bytes(),
            2 => self.whole(),
            _ => self.text(&[
                "-1",
                "-100m",
                "-0.5",
                "-2Ki",
                "-1e3",
                "-1n",
                "123456789123456789",
                "0.000001",
                "1e-3",
                "1e18",
            ]),
        }
    }

    pub(super) fn labels(&mut self) -> Value {
        self.pairs(&LABEL_KEYS, &LABEL_VALUES, 9)
    }

    /// Labels or annotations whose keys stay apart when every odd character becomes `_`: custom resource state drops
    /// all but one of those that meet, and which one is an accident.
    pub(super) fn plain_labels(&mut self) -> Value {
        self.pairs(
            &["app", "App", "fooBar", "foo-bar", "example.com/x", "9", "a__b", "a_b"],
            &LABEL_VALUES,
            6,
        )
    }

    pub(super) fn annotations(&mut self) -> Value {
        self.pairs(&LABEL_KEYS, &ANNOTATION_VALUES, 6)
    }

    fn pairs(&mut self, keys: &[&str], values: &[&str], most: usize) -> Value {
        if self.chance(15) {
            return Value::Null;
        }
        let keys = self.some_of(keys, most);
        Value::Object(keys.into_iter().map(|key| (key.to_owned(), self.text(values))).collect())
    }

    pub(super) fn uid(&mut self) -> Value {
        let (high, low) = (self.number(), self.number());
        json!(format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        ))
    }

    /// Up to three owners, at most one of which is the controller.
    pub(super) fn owners(&mut self) -> Value {
        if self.chance(35) {
            return Value::Null;
        }
        let mut controlled = false;
        self.list(1, 3, |random, index| {
            let controller =
                if controlled { random.one_of(&[Value::Null, json!(false)]) } else { random.flag() };
            controlled |= controller == true;
            let (version, kind) = *random.pick(&[
                &("apps/v1", "ReplicaSet"),
                &("batch/v1", "Job"),
                &("apps/v1", "StatefulSet"),
                &("v1", "Node"),
                &("example.com/v1alpha1", "Weird_Kind"),
            ]);
            json!({
                "apiVersion": version,
                "kind": kind,
                "name": format!("{}-{index}", random.pick(&["owner", "other.owner", "a"])),
                "uid": random.uid(),
                "controller": controller,
                "blockOwnerDeletion": random.flag(),
            })
        })
    }

    /// An address of version 4 or 6.
    pub(super) fn address(&mut self) -> String {
        if self.chance(70) {
            format!("10.{}.{}.{}", self.below(256), self.below(256), self.between(1, 254))
        } else {
            format!("fd00::{:x}:{:x}", self.between(1, 0xffff), self.between(1, 0xffff))
        }
    }

    /// Conditions of these types, each at most once unless `twice`, with these reasons.
    pub(super) fn conditions(&mut self, types: &[&str], reasons: &[&str], twice: bool) -> Value {
        let mut types = self.some_of(types, 6);
        if twice && !types.is_empty() && self.chance(20) {
            types.push(types[0]);
        }
        let conditions = types.into_iter().map(|kind| {
            without_nulls(json!({
                "type": kind,
                "status": self.text(&["True", "False", "Unknown", "True", "False"]),
                "reason": self.text(reasons),
                "message": self.text(&ANNOTATION_VALUES),
                "lastTransitionTime": self.maybe(80, Random::time),
            }))
        });
        Value::Array(conditions.collect())
    }
}

/// Removes members that are null, at every depth.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(key, member)| (key, without_nulls(member)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_alike_and_streams_differ() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream, 3);
            (0..4).map(|_| random.number()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "pods"), draw(1, "pods"));
        assert_ne!(draw(1, "pods"), draw(1, "nodes"));
        assert_ne!(draw(1, "pods"), draw(2, "pods"));
    }
}
