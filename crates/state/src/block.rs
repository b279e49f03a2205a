//! Rows that lie together, copied together when they are changed while somebody reads them.

/// Rows of a block.
pub(crate) const ROWS: usize = 128;

/// Up to [`ROWS`] rows, each a run of bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// Bytes that no row has any more.
    garbage: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    start: u32,
    /// Zero for a row that is not there: a row has at least the length of its own labels.
    length: u32,
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

impl Block {
    /// The bytes of a row, none for one that is not there.
    #[inline]
    pub(crate) fn row(&self, place: usize) -> &[u8] {
        let row = self.rows[place];
        &self.bytes[row.start as usize..][..row.length as usize]
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
        self.rows.iter().all(|row| row.length == 0)
    }

    /// Stores a row's bytes.
    pub(crate) fn put(&mut self, place: usize, bytes: &[u8], object: ObjectHashes) {
        if place >= self.rows.len() {
            self.rows.resize(place + 1, Row::default());
        }
        let old = self.rows[place];
        self.garbage += old.length as usize;
        if bytes.len() <= old.length as usize {
            self.bytes[old.start as usize..][..bytes.len()].copy_from_slice(bytes);
            self.garbage -= bytes.len();
            self.rows[place] = Row { start: old.start, length: bytes.len() as u32, object };
        } else {
            self.rows[place].length = 0;
            self.reserve(bytes.len());
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(bytes);
            self.rows[place] = Row { start, length: bytes.len() as u32, object };
        }
        // The last place is filled: this block grows no more, unless rows do.
        if place + 1 == ROWS && old.length == 0 {
            self.bytes.shrink_to_fit();
            self.rows.shrink_to_fit();
        }
    }

    /// Makes room: a block that is being filled doubles, a full one grows by a little.
    fn reserve(&mut self, more: usize) {
        if self.bytes.len() + more <= self.bytes.capacity() {
            return;
        }
        if self.rows.len() < ROWS && self.garbage == 0 {
            return;
        }
        if self.garbage * 4 > self.bytes.len() {
            self.compact(more);
        } else {
            self.bytes.reserve_exact(more + self.bytes.len() / 16);
        }
    }

    fn compact(&mut self, more: usize) {
        let live = self.bytes.len() - self.garbage + more;
        let mut bytes = Vec::with_capacity(live + live / 16);
        for row in &mut self.rows {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[row.start as usize..][..row.length as usize]);
            row.start = start;
        }
        self.bytes = bytes;
        self.garbage = 0;
    }

    pub(crate) fn remove(&mut self, place: usize) {
        self.garbage += self.rows[place].length as usize;
        self.rows[place] = Row::default();
        if self.garbage * 2 > self.bytes.len() {
            self.compact(0);
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.rows.capacity() * size_of::<Row>() + size_of::<Self>()
    }
}
