//! The series of one table as one endpoint gets them.

use outrigger_model::labels::{Labels, LabelsBuilder};

use super::queue::Spread;
use super::settings::Settings;
use crate::batch::ScrapeBatch;
use crate::series::{Memo, SeriesId, SeriesTable, hash_labels};

/// A table with more series is spread over several shards.
const TOO_MANY_FOR_ONE_SHARD: usize = 10_000;

/// What an endpoint remembers about the series of one target: under which labels it gets them.
#[derive(Default)]
pub(crate) struct View {
    generation: u32,
    /// Decided once, so that a series never changes its shard.
    spread: Option<Spread>,
    table: SeriesTable,
    /// By number of the series: its identity, and what it is in `table`.
    rows: Vec<(u64, Row)>,
    /// Of the identities.
    epoch: u32,
    /// Rows of `table` that may no longer be referred to.
    garbage: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Unknown,
    /// `write_relabel_configs` drop it.
    Dropped,
    Series(SeriesId),
}

impl Memo for View {
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.table.heap_bytes() + self.rows.capacity() * size_of::<(u64, Row)>()
    }
}

impl View {
    /// Which shards take the series of the batch's target.
    pub(crate) fn spread(&mut self, batch: &ScrapeBatch<'_>) -> Spread {
        *self.spread.get_or_insert(match batch.series.len() > TOO_MANY_FOR_ONE_SHARD {
            true => Spread::BySeries(batch.target),
            false => Spread::Together(batch.target),
        })
    }

    /// Works out what all series of the batch are under these settings.
    pub(crate) fn prepare(&mut self, batch: &ScrapeBatch<'_>, settings: &Settings) {
        let outgrown = self.garbage > 64 + self.table.len() / 2;
        let renumbered = self.epoch != batch.series.epoch();
        if self.generation != settings.generation || outgrown || renumbered {
            self.generation = settings.generation;
            self.epoch = batch.series.epoch();
            self.rows = Vec::new();
            self.table = SeriesTable::new();
            self.garbage = 0;
        }
        self.rows.resize(batch.series.capacity().max(self.rows.len()), (0, Row::Unknown));
        let mut labels = LabelsBuilder::new();
        let samples = batch.samples.iter().map(|sample| sample.series);
        let histograms = batch.histograms.iter().map(|sample| sample.series);
        let exemplars = batch.exemplars.iter().map(|exemplar| exemplar.series);
        for series in samples.chain(histograms).chain(exemplars) {
            self.learn(batch.series, series, settings, &mut labels);
        }
        self.table.settle();
    }

    #[inline]
    fn learn(&mut self, source: &SeriesTable, id: SeriesId, settings: &Settings, labels: &mut LabelsBuilder) {
        let identity = source.identity(id);
        let (known, row) = self.rows[id.0 as usize];
        if known == identity && row != Row::Unknown {
            return;
        }
        self.garbage += usize::from(matches!(row, Row::Series(_)));
        labels.reset(&Labels::empty());
        for (name, value) in source.labels(id) {
            labels.set(name, value);
        }
        let row = match settings.relabel(labels) {
            false => Row::Dropped,
            true => {
                let hash = hash_labels(labels.iter());
                let found = self.table.find(hash, labels.iter());
                Row::Series(found.unwrap_or_else(|| self.table.insert(hash, labels.iter())))
            }
        };
        self.rows[id.0 as usize] = (identity, row);
    }

    /// The endpoint's series for one of the batch's; `None` when it does not get it.
    #[inline]
    pub(crate) fn resolve(&self, id: SeriesId) -> Option<SeriesId> {
        match self.rows[id.0 as usize].1 {
            Row::Series(id) => Some(id),
            Row::Dropped | Row::Unknown => None,
        }
    }

    pub(crate) fn table(&self) -> &SeriesTable {
        &self.table
    }
}
