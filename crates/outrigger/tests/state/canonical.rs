//! When two expositions are equal: the headers in the same sequence, and within each family's block the same lines, each
//! as often, byte for byte; their order within a block is kube-state-metrics' own accident (it walks hash maps).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::exposition::Answer;

/// Lines that a difference shows of each side.
const SHOWN: usize = 4;

/// An answer without what may differ between two scrapes of the same state.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Canonical {
    status: u16,
    content_type: String,
    content_encoding: String,
    /// Whether the last line is whole.
    ends_with_newline: bool,
    blocks: Vec<Block>,
}

/// Header lines and the samples that follow them.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Block {
    headers: Vec<Vec<u8>>,
    /// Of the samples.
    name: Vec<u8>,
    /// Each with how often it is there.
    samples: BTreeMap<Vec<u8>, usize>,
}

impl Canonical {
    pub(crate) fn of(answer: &Answer) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            if line.starts_with(b"#") {
                match blocks.last_mut() {
                    Some(block) if block.samples.is_empty() => block.headers.push(line.to_vec()),
                    _ => blocks.push(Block {
                        headers: vec![line.to_vec()],
                        name: Vec::new(),
                        samples: BTreeMap::new(),
                    }),
                }
                continue;
            }
            let name = name_of(line);
            match blocks.last_mut() {
                Some(block) if block.samples.is_empty() || block.name == name => block.add(name, line),
                // A family that was announced before: its samples stand without a header.
                _ => {
                    let mut block = Block { headers: Vec::new(), name: Vec::new(), samples: BTreeMap::new() };
                    block.add(name, line);
                    blocks.push(block);
                }
            }
        }
        Canonical {
            status: answer.status,
            content_type: answer.content_type.clone(),
            content_encoding: answer.content_encoding.clone(),
            ends_with_newline: answer.body.is_empty() || answer.body.ends_with(b"\n"),
            blocks,
        }
    }

    /// Samples in all.
    pub(crate) fn samples(&self) -> usize {
        self.blocks.iter().map(Block::count).sum()
    }

    /// Families that have samples.
    pub(crate) fn families(&self) -> usize {
        self.blocks.iter().filter(|block| !block.samples.is_empty()).count()
    }

    /// What differs, one text for each block; empty if the two are equal.
    pub(crate) fn differences(&self, other: &Canonical) -> Vec<String> {
        let mut all = Vec::new();
        for (what, ours, theirs) in [
            ("status", self.status.to_string(), other.status.to_string()),
            ("Content-Type", self.content_type.clone(), other.content_type.clone()),
            ("Content-Encoding", self.content_encoding.clone(), other.content_encoding.clone()),
            ("ends with a newline", self.ends_with_newline.to_string(), other.ends_with_newline.to_string()),
        ] {
            if ours != theirs {
                all.push(format!("{what}: {ours:?} and {theirs:?}"));
            }
        }
        all.extend(self.sequence_difference(other));
        let theirs: BTreeMap<_, _> = other.blocks.iter().map(|block| (block.key(), block)).collect();
        for block in &self.blocks {
            if let Some(their) = theirs.get(&block.key()) {
                all.extend(block.difference(their));
            }
        }
        if all.is_empty() && self != other {
            all.push("blocks of the same family differ".to_owned());
        }
        all
    }

    /// The first place where the sequence of blocks differs.
    fn sequence_difference(&self, other: &Canonical) -> Option<String> {
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (self.blocks.iter().map(Block::key).collect(), other.blocks.iter().map(Block::key).collect());
        let place = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        let place = place.or_else(|| (ours.len() != theirs.len()).then_some(ours.len().min(theirs.len())))?;
        let missing: Vec<_> = theirs.iter().filter(|key| !ours.contains(key)).take(SHOWN).collect();
        let surplus: Vec<_> = ours.iter().filter(|key| !theirs.contains(key)).take(SHOWN).collect();
        let at = |keys: &[String]| keys.get(place).cloned().unwrap_or_else(|| "the end".to_owned());
        Some(format!(
            "block {place} of {} and {}: {:?} and {:?}\n  only the second: {missing:?}\n  only the first: {surplus:?}",
            ours.len(),
            theirs.len(),
            at(&ours),
            at(&theirs)
        ))
    }
}

impl Block {
    fn add(&mut self, name: &[u8], line: &[u8]) {
        if self.name.is_empty() {
            self.name = name.to_vec();
        }
        *self.samples.entry(line.to_vec()).or_default() += 1;
    }

    fn count(&self) -> usize {
        self.samples.values().sum()
    }

    /// Headers and, where there are samples, their name.
    fn key(&self) -> String {
        let headers = self.headers.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        let headers: Vec<_> = headers.collect();
        format!("{}\n{}", headers.join("\n"), String::from_utf8_lossy(&self.name))
    }

    fn difference(&self, other: &Block) -> Option<String> {
        if self.samples == other.samples {
            return None;
        }
        let mut text = format!(
            "{}: {} and {} samples",
            String::from_utf8_lossy(&self.name),
            self.count(),
            other.count()
        );
        for (side, samples, others) in
            [("first", &self.samples, &other.samples), ("second", &other.samples, &self.samples)]
        {
            let lacking: Vec<_> = samples
                .iter()
                .filter(|(line, times)| others.get(*line).is_none_or(|others| others < times))
                .collect();
            for (line, times) in lacking.iter().take(SHOWN) {
                let _ = write!(text, "\n  only the {side} ({times}x): {}", String::from_utf8_lossy(line));
            }
            if lacking.len() > SHOWN {
                let _ = write!(text, "\n  and {} more of the {side}", lacking.len() - SHOWN);
            }
        }
        Some(text)
    }
}

fn name_of(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| matches!(byte, b'{' | b' ')).unwrap_or(line.len());
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(body: &str) -> Canonical {
        let text = "text/plain".to_owned();
        Canonical::of(&Answer {
            status: 200,
            content_type: text,
            content_encoding: String::new(),
            body: body.into(),
        })
    }

    const BODY: &str = "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n# HELP b B.\n# TYPE b gauge\n# HELP c C.\n# TYPE c gauge\nc 3\n";

    #[test]
    fn order_within_a_family_does_not_matter() {
        let other = BODY.replace("a{x=\"1\"} 1\na{x=\"2\"} 2\n", "a{x=\"2\"} 2\na{x=\"1\"} 1\n");
        assert_ne!(other, BODY);
        assert_eq!(canonical(BODY).differences(&canonical(&other)), [""; 0]);
        assert_eq!((canonical(BODY).samples(), canonical(BODY).families()), (3, 2));
    }

    #[test]
    fn everything_else_does() {
        let moved = BODY.replace("a{x=\"2\"} 2\n", "") + "a{x=\"2\"} 2\n";
        for (other, what) in [
            (BODY.replace("x=\"1\"} 1", "x=\"1\"} 1.0"), "a value"),
            (BODY.replace("{x=\"1\"}", "{ x=\"1\"}"), "a space"),
            (BODY.replace("a{x=\"1\"} 1\n", "a{x=\"1\"} 1\na{x=\"1\"} 1\n"), "a repeated sample"),
            (BODY.replace("a{x=\"1\"} 1\n", ""), "a missing sample"),
            (moved, "a sample outside its block"),
            (BODY.replace("# HELP b B.\n# TYPE b gauge\n", ""), "a missing header"),
            (
                BODY.replace("# HELP b B.\n# TYPE b gauge\n", "# TYPE b gauge\n# HELP b B.\n"),
                "headers the other way round",
            ),
            (BODY.replace("B.", "B"), "a help text"),
            (BODY.trim_end().to_owned(), "an unfinished last line"),
            (BODY.to_owned() + "# EOF\n", "an end mark"),
            (String::new(), "nothing at all"),
        ] {
            assert_ne!(canonical(BODY).differences(&canonical(&other)), [""; 0], "{what}");
            assert_ne!(canonical(&other).differences(&canonical(BODY)), [""; 0], "{what}");
        }
        let mut other = canonical(BODY);
        other.content_type = "application/openmetrics-text".to_owned();
        assert_eq!(canonical(BODY).differences(&other).len(), 1);
    }
}
