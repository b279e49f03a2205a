//! Rows that lie together, copied together when they are changed while somebody reads them.

/// Rows of a block.
pub(crate) const ROWS: usize = 128;

/// Up to [`ROWS`] rows. What all samples of a row begin with lies apart: each family needs it of each row, and memory is
/// read fastest in its own order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    identities: Arena,
    samples: Arena,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    used: bool,
    identity: Span,
    samples: Span,
    object: ObjectHashes,
}

/// What tells an object from others: hashes, for which the texts need not be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct ObjectHashes {
    /// Two hashes of namespace and name.
    pub(crate) key: (u64, u64),
    /// By which it belongs to a shard.
    pub(crate) uid: u64,
}

/// A row's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowBytes<'a> {
    /// The object's own labels, rendered.
    pub(crate) identity: &'a [u8],
    /// Its samples, packed.
    pub(crate) samples: &'a [u8],
}

impl Block {
    /// The bytes of a row that is there.
    #[inline]
    pub(crate) fn row(&self, place: usize) -> Option<RowBytes<'_>> {
        let row = self.rows[place];
        row.used.then(|| RowBytes {
            identity: self.identities.get(row.identity),
            samples: self.samples.get(row.samples),
        })
    }

    /// Places, used or not.
    #[inline]
    pub(crate) fn places(&self) -> usize {
        self.rows.len()
    }

    /// Whose row it is.
    #[inline]
    pub(crate) fn object(&self, place: usize) -> ObjectHashes {
        self.rows[place].object
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| !row.used)
    }

    /// Stores a row's bytes.
    pub(crate) fn put(&mut self, place: usize, bytes: RowBytes<'_>, object: ObjectHashes) {
        // Until the last place is taken the block is being filled.
        let filling = self.rows.len() < ROWS;
        if place >= self.rows.len() {
            self.rows.resize(place + 1, Row::default());
        }
        let row = self.rows[place];
        let identity = self.identities.put(row.identity, bytes.identity, filling);
        let samples = self.samples.put(row.samples, bytes.samples, filling);
        self.rows[place] = Row { used: true, identity, samples, object };
        if filling && self.rows.len() == ROWS {
            self.identities.bytes.shrink_to_fit();
            self.samples.bytes.shrink_to_fit();
            self.rows.shrink_to_fit();
        }
        self.tidy();
    }

    pub(crate) fn remove(&mut self, place: usize) {
        let row = std::mem::take(&mut self.rows[place]);
        self.identities.garbage += row.identity.length as usize;
        self.samples.garbage += row.samples.length as usize;
        self.tidy();
    }

    /// Leaves no more than a quarter of the bytes to what is gone.
    fn tidy(&mut self) {
        if self.identities.is_untidy() {
            self.identities.compact(self.rows.iter_mut().map(|row| &mut row.identity));
        }
        if self.samples.is_untidy() {
            self.samples.compact(self.rows.iter_mut().map(|row| &mut row.samples));
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        let bytes = self.identities.bytes.capacity() + self.samples.bytes.capacity();
        bytes + self.rows.capacity() * size_of::<Row>() + size_of::<Self>()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    length: u32,
}

/// Bytes of all rows.
#[derive(Debug, Clone, Default)]
struct Arena {
    bytes: Vec<u8>,
    /// Bytes that no row has any more.
    garbage: usize,
}

impl Arena {
    #[inline]
    fn get(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..][..span.length as usize]
    }

    /// Stores bytes in place of those of `old`.
    fn put(&mut self, old: Span, bytes: &[u8], filling: bool) -> Span {
        let length = bytes.len() as u32;
        self.garbage += old.length as usize;
        if length <= old.length {
            self.bytes[old.start as usize..][..bytes.len()].copy_from_slice(bytes);
            self.garbage -= bytes.len();
            return Span { start: old.start, length };
        }
        // While it is being filled it doubles as vectors do; then it grows by a little.
        if !filling && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.reserve_exact(bytes.len() + self.bytes.len() / 16);
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span { start, length }
    }

    fn is_untidy(&self) -> bool {
        self.garbage * 4 > self.bytes.len()
    }

    fn compact<'r>(&mut self, rows: impl Iterator<Item = &'r mut Span>) {
        let live = self.bytes.len() - self.garbage;
        let mut bytes = Vec::with_capacity(live + live / 16);
        for span in rows {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(self.get(*span));
            span.start = start;
        }
        self.bytes = bytes;
        self.garbage = 0;
    }
}
