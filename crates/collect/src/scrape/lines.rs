//! Lines of a body in few bytes: ten as long as series and lengths are small, sixteen else.

use outrigger_wire::exposition::MetricType;

use crate::series::{SeriesId, for_slack};

/// What a line leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leads {
    /// A series.
    Series(SeriesId),
    /// Metric relabelling drops it.
    Dropped,
    /// A series limit leaves it out.
    OverLimit,
    /// A `# TYPE` line: the type of the series that follow.
    Type(MetricType),
    /// Any other line that is no sample.
    Comment,
}

/// A line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// At most [`HASH_MASK`].
    pub(crate) hash: u64,
    /// Bytes up to the value, or of the whole line where there is none.
    pub(crate) length: u32,
    leads: u32,
}

/// The bits of a hash that are remembered.
pub(crate) const HASH_MASK: u64 = (1 << 48) - 1;

const DROPPED: u32 = u32::MAX;
const COMMENT: u32 = u32::MAX - 1;
/// And the seven numbers before it.
const TYPE: u32 = u32::MAX - 2;
const OVER_LIMIT: u32 = TYPE - 8;
const FIRST_SPECIAL: u32 = OVER_LIMIT;

const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

impl Line {
    pub(crate) fn new(hash: u64, length: usize, leads: Leads) -> Self {
        let leads = match leads {
            Leads::Series(id) => id.0,
            Leads::Dropped => DROPPED,
            Leads::OverLimit => OVER_LIMIT,
            Leads::Comment => COMMENT,
            Leads::Type(metric_type) => TYPE - metric_type as u32,
        };
        Self { hash, length: length as u32, leads }
    }

    /// Whether it is the line with this hash and number of bytes.
    pub(crate) fn is(&self, hash: u64, length: usize) -> bool {
        self.hash == hash && self.length as usize == length
    }

    #[inline]
    pub(crate) fn leads(&self) -> Leads {
        match self.leads {
            id if id < FIRST_SPECIAL => Leads::Series(SeriesId(id)),
            DROPPED => Leads::Dropped,
            OVER_LIMIT => Leads::OverLimit,
            COMMENT => Leads::Comment,
            code => Leads::Type(TYPES[(TYPE - code) as usize]),
        }
    }
}

/// Lines, in order.
#[derive(Debug)]
pub(crate) enum Lines {
    Small(Vec<SmallLine>),
    Large(Vec<Line>),
}

/// The hash in three parts, length, and what the line leads to.
type SmallLine = [u16; 5];

/// Numbers from here on are special in both widths: so far below the greatest they stand.
const SPECIAL: u32 = u32::MAX - FIRST_SPECIAL + 1;

impl Default for Lines {
    fn default() -> Self {
        Lines::Small(Vec::new())
    }
}

impl Line {
    fn small(self) -> Option<SmallLine> {
        let leads = match self.leads {
            special if special >= FIRST_SPECIAL => u16::MAX - (u32::MAX - special) as u16,
            id => u16::try_from(id).ok().filter(|id| *id <= u16::MAX - SPECIAL as u16)?,
        };
        let [low, middle, high] = [0, 16, 32].map(|shift| (self.hash >> shift) as u16);
        Some([low, middle, high, u16::try_from(self.length).ok()?, leads])
    }

    #[inline]
    fn from_small([low, middle, high, length, leads]: SmallLine) -> Self {
        let leads = match u16::MAX - leads {
            below if u32::from(below) < SPECIAL => u32::MAX - u32::from(below),
            _ => u32::from(leads),
        };
        let hash = u64::from(high) << 32 | u64::from(middle) << 16 | u64::from(low);
        Self { hash, length: u32::from(length), leads }
    }
}

impl Lines {
    pub(crate) fn len(&self) -> usize {
        match self {
            Lines::Small(lines) => lines.len(),
            Lines::Large(lines) => lines.len(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<Line> {
        match self {
            Lines::Small(lines) => lines.get(at).copied().map(Line::from_small),
            Lines::Large(lines) => lines.get(at).copied(),
        }
    }

    /// The line at a position below the length.
    #[inline]
    pub(crate) fn at(&self, at: u32) -> Line {
        self.get(at as usize).expect("positions are those of lines")
    }

    pub(crate) fn push(&mut self, line: Line) {
        if let Lines::Small(lines) = self {
            match line.small() {
                Some(small) => return lines.push(small),
                None => *self = Lines::Large(self.iter().collect()),
            }
        }
        if let Lines::Large(lines) = self {
            lines.push(line);
        }
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        match self {
            Lines::Small(lines) => lines.truncate(length),
            Lines::Large(lines) => lines.truncate(length),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Line> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// Gives back memory beyond an eighth.
    pub(crate) fn shrink(&mut self) {
        match self {
            Lines::Small(lines) => for_slack(lines),
            Lines::Large(lines) => for_slack(lines),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Lines::Small(lines) => lines.capacity() * size_of::<SmallLine>(),
            Lines::Large(lines) => lines.capacity() * size_of::<Line>(),
        }
    }
}

impl FromIterator<Line> for Lines {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        let lines = lines.into_iter();
        let mut collected = Lines::Small(Vec::with_capacity(lines.size_hint().0));
        lines.for_each(|line| collected.push(line));
        collected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_in_both_widths() {
        let series = |id| Leads::Series(SeriesId(id));
        let mut all = vec![Leads::Dropped, Leads::OverLimit, Leads::Comment];
        all.extend(TYPES.map(Leads::Type));
        all.extend([0, 1, 65_000, 65_523, 65_524, 65_535, 65_536, 4_000_000].map(series));
        let mut lines = Lines::default();
        assert_eq!(size_of::<SmallLine>(), 10);
        for (at, leads) in all.iter().enumerate() {
            let line = Line::new(HASH_MASK - at as u64, 70_000 * (at / 12), *leads);
            lines.push(line);
            let found: Vec<Leads> = lines.iter().map(|line| line.leads()).collect();
            assert_eq!(found, all[..=at]);
            assert!(lines.at(at as u32).is(line.hash, line.length as usize));
        }
        assert!(matches!(lines, Lines::Large(_)));
    }
}
