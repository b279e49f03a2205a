//! A growing set of small numbers.

/// One bit for each number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    #[inline]
    pub(crate) fn contains(&self, at: u32) -> bool {
        self.words.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Adds a number; true when it was not there.
    #[inline]
    pub(crate) fn insert(&mut self, at: u32) -> bool {
        let word = at as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let mask = 1 << (at % 64);
        let fresh = self.words[word] & mask == 0;
        self.words[word] |= mask;
        fresh
    }

    pub(crate) fn remove(&mut self, at: u32) {
        if let Some(word) = self.words.get_mut(at as usize / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    /// Adds all numbers below `end`.
    pub(crate) fn insert_below(&mut self, end: u32) {
        (0..end).for_each(|at| {
            self.insert(at);
        });
    }

    /// Removes all, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// In increasing order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(at, &word)| ones(at, word))
    }

    /// Those that are not in `other`, in increasing order.
    pub(crate) fn without<'a>(&'a self, other: &'a Bits) -> impl Iterator<Item = u32> {
        self.words
            .iter()
            .enumerate()
            .flat_map(move |(at, &word)| ones(at, word & !other.words.get(at).copied().unwrap_or_default()))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

fn ones(at: usize, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(at as u32 * 64 + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_numbers() {
        let (mut a, mut b) = (Bits::default(), Bits::default());
        assert!([0, 3, 64, 200].iter().all(|at| a.insert(*at)));
        assert!(!a.insert(64));
        b.insert_below(64);
        assert_eq!(a.without(&b).collect::<Vec<_>>(), [64, 200]);
        a.remove(200);
        assert_eq!(a.iter().collect::<Vec<_>>(), [0, 3, 64]);
        assert!(a.contains(3) && !a.contains(200) && !a.contains(9_999));
        a.clear();
        assert_eq!(a.iter().count(), 0);
    }
}
