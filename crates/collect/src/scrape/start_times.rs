//! Since when the series of a scrape have counted: as the format says it of a sample (protobuf), or as OpenMetrics does in
//! lines of their own, `x_created`, after the samples of the same labels (Prometheus `OpenMetricsParser.StartTimestamp`).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher as _};

use outrigger_model::labels::METRIC_NAME;
use outrigger_model::sample::Timestamp;
use outrigger_wire::exposition::{MetricType, Series};
use rapidhash::fast::GlobalState;

use crate::batch::BatchStart;
use crate::series::SeriesId;

/// The start times of one scrape.
#[derive(Debug, Default)]
pub(crate) struct StartTimes {
    /// The family of the last TYPE line, where it is one that counts.
    family: Option<(String, MetricType)>,
    /// `x_created` by family and labels.
    created: HashMap<u64, Timestamp>,
    /// Series with the key that one of those lines may have.
    waiting: Vec<(SeriesId, u64)>,
    known: Vec<BatchStart>,
}

impl StartTimes {
    /// The body has this TYPE line.
    pub(crate) fn see_type(&mut self, name: &str, metric_type: MetricType) {
        let counts = matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary);
        self.family = counts.then(|| (name.to_owned(), metric_type));
    }

    /// Takes an `x_created` line in; false for any other.
    pub(crate) fn take_created(&mut self, exposed: &Series<'_>) -> bool {
        if exposed.start_timestamp().is_some() {
            return false;
        }
        let Some(key) = self.key(exposed, &["_created"]) else { return false };
        // Whatever else it is, it is no time: there is none then.
        if exposed.value.is_finite() {
            self.created.insert(key, Timestamp::from_millis((exposed.value * 1_000.0) as i64));
        }
        true
    }

    /// Notes a sample of a series that is taken.
    pub(crate) fn note(&mut self, series: SeriesId, exposed: &Series<'_>) {
        if let Some(start) = exposed.start_timestamp() {
            self.known.push(BatchStart { series, start });
            return;
        }
        let suffixes: &[&str] = match self.family {
            Some((_, MetricType::Counter)) => &["_total", ""],
            Some((_, MetricType::Histogram)) => &["_bucket", "_count", "_sum"],
            Some((_, MetricType::Summary)) => &["", "_count", "_sum"],
            _ => return,
        };
        if let Some(key) = self.key(exposed, suffixes) {
            self.waiting.push((series, key));
        }
    }

    /// Of family and labels, without those that tell the buckets of a histogram or the quantiles of a summary apart;
    /// none if the metric is not of the family.
    fn key(&self, exposed: &Series<'_>, suffixes: &[&str]) -> Option<u64> {
        let (family, metric_type) = self.family.as_ref()?;
        let of_part = match metric_type {
            MetricType::Histogram => "le",
            MetricType::Summary => "quantile",
            _ => "",
        };
        let mut hasher = GlobalState::default().build_hasher();
        hasher.write(family.as_bytes());
        let mut is_of_family = false;
        exposed.for_each_label(|name, value| {
            if name == METRIC_NAME {
                is_of_family = value.strip_prefix(&**family).is_some_and(|rest| suffixes.contains(&rest));
            } else if name != of_part {
                for text in [name, value] {
                    hasher.write_usize(text.len());
                    hasher.write(text.as_bytes());
                }
            }
        });
        is_of_family.then(|| hasher.finish())
    }

    /// Series with their start, once the whole body was read.
    pub(crate) fn resolve(self) -> Vec<BatchStart> {
        let (created, mut known) = (self.created, self.known);
        let found = self
            .waiting
            .into_iter()
            .filter_map(|(series, key)| Some(BatchStart { series, start: *created.get(&key)? }));
        known.extend(found);
        known
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use outrigger_wire::exposition::{Entry, Format, Options, Reader};

    use super::*;

    /// Each series by its text with its start in milliseconds; what `take_created` takes is no series.
    fn starts(body: &str) -> Vec<(String, Option<i64>)> {
        let (mut starts, mut taken) = (StartTimes::default(), Vec::new());
        let mut reader = Reader::new(Format::OpenMetrics, Options::default());
        let read = reader.read(body.as_bytes(), true, |entry| {
            match entry {
                Entry::Type { name, metric_type } => starts.see_type(&name, metric_type),
                Entry::Series(series) if !starts.take_created(&series) => {
                    starts.note(SeriesId(taken.len() as u32), &series);
                    taken.push(String::from_utf8_lossy(series.raw()).into_owned());
                }
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        assert!(read.is_ok(), "{read:?}");
        let known = starts.resolve();
        let start =
            |id: u32| known.iter().find(|start| start.series.0 == id).map(|start| start.start.millis());
        taken.into_iter().enumerate().map(|(id, text)| (text, start(id as u32))).collect()
    }

    #[test]
    fn created_belongs_to_the_series_of_the_same_family_and_labels() {
        let cases: [(&str, &[Option<i64>]); 7] = [
            ("# TYPE c counter\nc_total 1\nc_created 1.5\n", &[Some(1500)]),
            (
                "# TYPE c counter\nc_total{x=\"1\"} 1\nc_created{x=\"1\"} 2\nc_total{x=\"2\"} 1\nc_created{x=\"2\"} 3\n",
                &[Some(2000), Some(3000)],
            ),
            (
                "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\nh_created 4\n",
                &[Some(4000); 4],
            ),
            ("# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 1\ns_sum 1\ns_created 5\n", &[Some(5000); 3]),
            ("# TYPE c counter\nc_total{x=\"1\"} 1\nc_created{x=\"2\"} 2\n", &[None]),
            ("# TYPE g gauge\ng 1\n# TYPE x_created gauge\nx_created 7\n", &[None, None]),
            ("# TYPE c counter\nc_total 1\n# TYPE d counter\nd_total 1\nd_created 2\n", &[None, Some(2000)]),
        ];
        for (body, expected) in cases {
            let found = starts(&format!("{body}# EOF\n"));
            let times: Vec<_> = found.iter().map(|(_, start)| *start).collect();
            assert_eq!(times, expected, "{found:?}");
        }
    }
}
