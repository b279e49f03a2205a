use std::collections::BTreeMap;

use proptest::prelude::*;

/// Makes objects from random bytes: the fewer bytes, the emptier the object, so that proptest can shrink it.
#[derive(Debug, Clone)]
pub(super) struct Entropy {
    bytes: Vec<u8>,
    next: usize,
}

pub(super) fn entropy() -> impl Strategy<Value = Entropy> {
    prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| Entropy { bytes, next: 0 })
}

impl Entropy {
    /// A number below `bound`; 0 when the bytes are used up.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(byte) % bound
    }

    pub(super) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(super) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.below(4) == 0 { None } else { Some(make(self)) }
    }

    pub(super) fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub(super) fn word(&mut self) -> String {
        const PARTS: [&str; 8] =
            ["", "a", "web", "Ready", "True", "kubernetes.io/service-name", "é", "-0123456789abcdef"];
        let parts = self.below(3) + 1;
        (0..parts).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.maybe(Self::word)
    }

    pub(super) fn int(&mut self) -> Option<i32> {
        self.maybe(|bytes| match bytes.below(4) {
            0 => 0,
            1 => -1,
            _ => bytes.below(256) as i32 * 257,
        })
    }

    pub(super) fn boolean(&mut self) -> Option<bool> {
        self.maybe(Self::flag)
    }

    pub(super) fn map(&mut self) -> BTreeMap<String, String> {
        self.some(4, |bytes| (bytes.word(), bytes.word())).into_iter().collect()
    }
}
