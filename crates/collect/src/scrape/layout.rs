//! The lines of one target's body as they came last time, in order: a line that comes again at its place costs one
//! hash, whatever became of it.
//!
//! A line is known by the hash of its bytes up to the value (48 bits under a seed that is random in each process: two lines
//! of one target that are equally long are taken for each other once in 2^48 comparisons) and their number. A pass over a body follows
//! the order of the last one; where it leaves it, lines are looked up one by one, and the new order is remembered, unless the
//! target has no order (a body made from a hash map).

use hashbrown::HashTable;

use super::bits::Bits;
use super::lines::{Leads, Line, Lines};
use crate::series::{Habit, SeriesId};

/// A line that was found by its hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) leads: Leads,
    /// It came before in this pass.
    pub(crate) repeated: bool,
}

/// The lines of one target, and how far a pass over the next body has come.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    lines: Lines,
    /// Lines after the last successful pass.
    successful: usize,
    index: Option<HashTable<u32>>,
    /// How often the index was needed lately.
    habit: Habit,
    /// All lines were forgotten since the last successful pass.
    cleared: bool,
    pass: Pass,
}

/// The running pass.
#[derive(Debug, Default)]
struct Pass {
    /// The line that is expected next.
    next: u32,
    /// The lines in the order of this pass; empty while it follows the last one.
    order: Vec<u32>,
    strayed: bool,
    /// Lines that came, once the pass has strayed.
    seen: Bits,
    seen_count: usize,
    /// Lines that stood elsewhere than expected.
    jumps: usize,
    /// Lines before this pass.
    known: usize,
}

impl Layout {
    /// Forgets all lines: what each leads to has to be found out again.
    pub(crate) fn clear(&mut self) {
        self.lines = Lines::default();
        self.index = None;
        self.cleared = true;
    }

    /// Whether this is the first pass since all lines were forgotten.
    pub(crate) fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// Begins a pass.
    pub(crate) fn begin(&mut self) {
        let pass = &mut self.pass;
        pass.next = 0;
        pass.order.clear();
        pass.strayed = false;
        pass.seen.clear();
        pass.seen_count = 0;
        pass.jumps = 0;
        pass.known = self.lines.len();
    }

    /// The line that is expected after `skip` others.
    #[inline]
    pub(crate) fn expected(&self, skip: usize) -> Option<Line> {
        self.lines.get(self.pass.next as usize + skip)
    }

    /// The line expected after `skip` others has come. True when it came before in this pass.
    #[inline]
    pub(crate) fn take_expected(&mut self, skip: usize) -> bool {
        if skip > 0 {
            self.stray();
        }
        let at = self.pass.next + skip as u32;
        self.take_at(at)
    }

    #[inline]
    fn take_at(&mut self, at: u32) -> bool {
        let pass = &mut self.pass;
        pass.next = at + 1;
        if !pass.strayed {
            pass.seen_count += 1;
            return false;
        }
        let fresh = pass.seen.insert(at);
        if fresh {
            pass.seen_count += 1;
            pass.order.push(at);
        }
        !fresh
    }

    /// From here on the pass does not follow the last one.
    fn stray(&mut self) {
        let pass = &mut self.pass;
        if !pass.strayed {
            pass.strayed = true;
            pass.order.extend(0..pass.next);
            pass.seen.insert_below(pass.next);
        }
    }

    /// Finds a line, at its place or elsewhere.
    pub(crate) fn take(&mut self, hash: u64, length: usize) -> Option<Found> {
        match self.expected(0) {
            Some(line) if line.is(hash, length) => {
                Some(Found { leads: line.leads(), repeated: self.take_expected(0) })
            }
            _ => self.find(hash, length),
        }
    }

    /// Finds a line that is not the expected one.
    pub(crate) fn find(&mut self, hash: u64, length: usize) -> Option<Found> {
        self.stray();
        self.habit.needed = true;
        let lines = &self.lines;
        let index = self.index.get_or_insert_with(|| index_of(lines));
        let &at = index.find(spread(hash), |&at| lines.at(at).is(hash, length))?;
        self.pass.jumps += 1;
        let repeated = self.take_at(at);
        Some(Found { leads: self.lines.at(at).leads(), repeated })
    }

    /// Adds a line that [`find`](Self::find) did not find.
    pub(crate) fn insert(&mut self, hash: u64, length: usize, leads: Leads) {
        self.stray();
        let at = self.lines.len() as u32;
        self.lines.push(Line::new(hash, length, leads));
        let lines = &self.lines;
        if let Some(index) = &mut self.index {
            index.insert_unique(spread(hash), at, |&at| spread(lines.at(at).hash));
        }
        let pass = &mut self.pass;
        pass.seen.insert(at);
        pass.seen_count += 1;
        pass.order.push(at);
    }

    /// The body was not read to its end: the pass did not take place.
    pub(crate) fn abandon(&mut self) {
        self.lines.truncate(self.pass.known);
        self.index = None;
    }

    /// Ends the pass. Lines that did not come are forgotten after a successful one, and after a failed one when failing
    /// passes have made the layout grow too much: labels that vary from one failing scrape to the next must not fill the
    /// memory (Prometheus `scrapeCache.iterDone`).
    pub(crate) fn end(&mut self, succeeded: bool) -> Ended {
        let count = self.lines.len();
        let forced = !succeeded && count > self.successful * 2 + 1_000;
        let forgotten = (succeeded || forced) && self.pass.seen_count < count;
        if forgotten && !self.pass.strayed {
            self.lines.truncate(self.pass.next as usize);
            self.index = None;
        } else if self.pass.strayed && (succeeded || forced) {
            self.reorder(forgotten);
        }
        let cleared = succeeded && std::mem::take(&mut self.cleared);
        if succeeded {
            self.successful = self.lines.len();
        }
        if !self.habit.keeps() {
            self.index = None;
        }
        self.lines.shrink();
        if self.pass.strayed {
            self.pass.order = Vec::new();
        }
        Ended { forced, forgotten: forgotten || cleared }
    }

    /// Whether the running pass finds lines where they were before, on the whole.
    pub(crate) fn has_order(&self) -> bool {
        self.pass.jumps <= 16 + self.pass.seen_count / 4
    }

    fn reorder(&mut self, forgotten: bool) {
        let lines = &self.lines;
        // Without an order, remembering one would be in vain.
        if !self.has_order() {
            if !forgotten {
                return;
            }
            let seen = &self.pass.seen;
            let kept = (0..lines.len() as u32).filter(|at| seen.contains(*at));
            self.lines = kept.map(|at| lines.at(at)).collect();
        } else {
            self.lines = self.pass.order.iter().map(|&at| lines.at(at)).collect();
        }
        // Needed again only if the next pass strays, too.
        self.index = None;
    }

    /// The series that lines lead to.
    pub(crate) fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.lines.iter().filter_map(|line| match line.leads() {
            Leads::Series(id) => Some(id),
            Leads::Dropped | Leads::OverLimit | Leads::Type(_) | Leads::Comment => None,
        })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.lines.heap_bytes()
            + self.index.as_ref().map_or(0, |index| index.capacity() * 5)
            + self.pass.seen.heap_bytes()
            + self.pass.order.capacity() * size_of::<u32>()
    }
}

/// What the end of a pass led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Lines were forgotten although the pass failed.
    pub(crate) forced: bool,
    /// Lines were forgotten.
    pub(crate) forgotten: bool,
}

/// A hash table looks at the first bits, too.
fn spread(hash: u64) -> u64 {
    hash ^ hash << 16
}

fn index_of(lines: &Lines) -> HashTable<u32> {
    let mut index = HashTable::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        index.insert_unique(spread(line.hash), at as u32, |&at| spread(lines.at(at).hash));
    }
    index
}
