//! Finding out what a receiver takes, and what waits on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use outrigger_collect::batch::{
    BatchExemplar, BatchHistogram, BatchSample, MetricMetadata, SampleSink, ScrapeBatch,
};
use outrigger_collect::remote_write::{DropReason, QueueBounds};
use outrigger_config::prometheus::{RemoteWriteConfig, RemoteWriteMessage};
use outrigger_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram};
use outrigger_model::labels::Labels;
use outrigger_model::sample::{Exemplar, Timestamp};
use outrigger_wire::exposition::MetricType;
use outrigger_wire::remote_write::{self, TimeSeries, WriteRequest, v2};
use parking_lot::Mutex;

use crate::delivery::Sender;
use crate::servers::{Body, Server, full};
use crate::world::{START, until};

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Version 2.0 with zstd.
    Modern,
    /// Version 2.0 as specified: snappy only, 415 for anything else.
    V2,
    /// Version 1.0 with zstd; takes any message for that version (VictoriaMetrics).
    V1Zstd,
    /// Version 1.0; looks at no header and answers 400 to what it cannot decompress.
    V1Blind,
    /// Version 1.0; 415 for anything else.
    V1,
    /// Away.
    Down,
}

struct Receiver {
    server: Server,
    kind: Arc<Mutex<Kind>>,
    accepted: Arc<Mutex<Vec<TimeSeries>>>,
    /// Content type and encoding of all requests.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

fn answer(status: u16) -> Response<Body> {
    Response::builder().status(status).body(full("")).unwrap()
}

/// The request as this kind of receiver sees it, or the status of its refusal.
fn read(kind: Kind, content_type: &str, encoding: &str, body: &[u8]) -> Result<WriteRequest, u16> {
    let is_v2 = content_type == "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let snappy = || snap::raw::Decoder::new().decompress_vec(body).map_err(|_| 400u16);
    let v1 = |message: Vec<u8>| remote_write::decode(&message).map_err(|_| 400);
    match kind {
        Kind::Down => Err(503),
        Kind::Modern | Kind::V2 if kind == Kind::V2 && encoding != "snappy" => Err(415),
        Kind::Modern | Kind::V2 => {
            let message = match encoding {
                "zstd" => zstd::decode_all(body).map_err(|_| 400u16)?,
                _ => snappy()?,
            };
            if is_v2 { v2::decode(&message).map_err(|_| 400) } else { v1(message) }
        }
        Kind::V1Zstd if encoding == "zstd" => v1(zstd::decode_all(body).map_err(|_| 400u16)?),
        Kind::V1Zstd | Kind::V1Blind => v1(snappy()?),
        Kind::V1 if is_v2 || encoding != "snappy" => Err(415),
        Kind::V1 => v1(snappy()?),
    }
}

impl Receiver {
    async fn new(kind: Kind) -> Self {
        let kind = Arc::new(Mutex::new(kind));
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::clone(&kind), Arc::clone(&accepted), Arc::clone(&asked));
        let server = Server::start(move |request: Request<Incoming>| {
            let (kind, accepted, asked) =
                (Arc::clone(&shared.0), Arc::clone(&shared.1), Arc::clone(&shared.2));
            async move {
                let header = |name: &str| {
                    let value = request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                    value.unwrap_or_default()
                };
                let (content_type, encoding) = (header("content-type"), header("content-encoding"));
                asked.lock().push((content_type.clone(), encoding.clone()));
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let kind = *kind.lock();
                let message = match read(kind, &content_type, &encoding, &body) {
                    Ok(message) => message,
                    Err(status) => return answer(status),
                };
                let samples: usize =
                    message.series.iter().map(|series| series.samples.len() + series.histograms.len()).sum();
                for series in &message.series {
                    series.check_labels().unwrap();
                }
                accepted.lock().extend(message.series);
                let mut response = answer(204);
                if matches!(kind, Kind::Modern | Kind::V2) {
                    let name = "x-prometheus-remote-write-samples-written";
                    response.headers_mut().insert(name, samples.into());
                }
                response
            }
        })
        .await;
        Self { server, kind, accepted, asked }
    }

    fn config(&self, message: Option<RemoteWriteMessage>) -> RemoteWriteConfig {
        RemoteWriteConfig {
            protobuf_message: message,
            send_exemplars: true,
            send_native_histograms: true,
            ..RemoteWriteConfig::new("receiver", &self.server.url("/write"))
        }
    }

    /// Names and values of what was accepted.
    fn values(&self) -> Vec<(String, f64)> {
        let accepted = self.accepted.lock();
        let name = |series: &TimeSeries| series.labels[0].1.clone();
        accepted
            .iter()
            .flat_map(|series| series.samples.iter().map(|sample| (name(series), sample.value)))
            .collect()
    }
}

fn bounds(disk_bytes: u64) -> QueueBounds {
    QueueBounds { memory_bytes: 64 << 20, disk_bytes }
}

fn named(values: &[(&str, f64)]) -> Vec<(String, f64)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_receiver_gets_everything_once_in_a_protocol_that_it_takes() {
    let (v1, v2) = (Some(RemoteWriteMessage::V1), Some(RemoteWriteMessage::V2));
    for (kind, configured, settled) in [
        (Kind::Modern, None, "2.0, zstd"),
        (Kind::V2, None, "2.0, snappy"),
        (Kind::V1Zstd, None, "1.0, zstd"),
        (Kind::V1Blind, None, "1.0, snappy"),
        (Kind::V1, None, "1.0, snappy"),
        (Kind::V2, v2, "2.0, snappy"),
        (Kind::Modern, v2, "2.0, snappy"),
        (Kind::V1, v2, "1.0, snappy"),
        (Kind::V1Blind, v2, "1.0, snappy"),
        (Kind::Modern, v1, "1.0, snappy"),
    ] {
        let receiver = Receiver::new(kind).await;
        let mut sender = Sender::new(&[receiver.config(configured)]);
        sender.append(&[("a", 1.0), ("b", f64::NAN), ("c", 3.0)], 0);
        sender.pass_deadline().await;
        until("the first batch arrived", || sender.status().samples_sent == 3).await;
        sender.append(&[("a", 4.0)], 1_000);
        sender.pass_deadline().await;
        until("the second batch arrived", || sender.status().samples_sent == 4).await;
        let values = receiver.values();
        assert_eq!(values.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "a"]);
        assert_eq!((values[0].1, values[2].1, values[3].1), (1.0, 3.0, 4.0), "{kind:?}");
        let info =
            format!("outrigger_remote_write_protocol_info{{endpoint=\"receiver\",protocol=\"{settled}\"}}");
        assert_eq!(sender.metric(&info), 1.0, "{kind:?}");
        let asked = receiver.asked.lock().len();
        assert!(asked <= 5, "{kind:?}: {asked} requests for two batches");
        sender.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn histograms_exemplars_and_metadata_arrive_in_both_versions() {
    let v2 = Some(RemoteWriteMessage::V2);
    // The last one is asked in version 2.0 first: what waits is then translated.
    for (message, kind) in
        [(Some(RemoteWriteMessage::V1), Kind::Modern), (v2, Kind::Modern), (None, Kind::V1)]
    {
        let receiver = Receiver::new(kind).await;
        let mut sender = Sender::new(&[receiver.config(message)]);
        {
            let mut table = sender.table.lock();
            let custom = table.intern(&Labels::from_pairs([("__name__", "custom"), ("job", "j")]));
            let total = table.intern(&Labels::from_pairs([("__name__", "a_total"), ("job", "j")]));
            let native = table.intern(&Labels::from_pairs([("__name__", "h"), ("job", "j")]));
            let timestamp = Timestamp::from_millis(START);
            let exemplar =
                Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 0.5, timestamp: None };
            let family = |metric_type, family: &str| {
                Arc::new(MetricMetadata {
                    metric_type,
                    family: family.into(),
                    help: "Help.".into(),
                    unit: "seconds".into(),
                })
            };
            sender.remote_write.append(&ScrapeBatch {
                job: &"j".into(),
                target: 1,
                series: &table,
                samples: &[BatchSample { series: total, timestamp, value: 1.0 }],
                histograms: &[
                    BatchHistogram { series: native, timestamp, histogram: Box::new(Histogram::stale()) },
                    BatchHistogram {
                        series: custom,
                        timestamp,
                        histogram: Box::new(Histogram {
                            schema: CUSTOM_BUCKETS_SCHEMA,
                            custom_values: vec![1.0],
                            ..Histogram::stale()
                        }),
                    },
                ],
                exemplars: &[BatchExemplar { series: total, timestamp, exemplar }],
                starts: &[],
                metadata: &[family(MetricType::Counter, "a"), family(MetricType::Histogram, "h")],
            });
        }
        sender.pass_deadline().await;
        // Version 1.0 does not know custom buckets.
        let unsupported = u64::from(message != v2);
        until("the batch arrived", || sender.status().samples_sent == 3 - unsupported).await;
        let dropped =
            "outrigger_remote_write_samples_dropped_total{endpoint=\"receiver\",reason=\"unsupported\"}";
        assert_eq!(sender.metric(dropped), unsupported as f64);
        assert_eq!(
            sender.metric("outrigger_remote_write_samples_filtered_total{endpoint=\"receiver\"}"),
            0.0
        );
        let mut of_name: BTreeMap<String, TimeSeries> = BTreeMap::new();
        for series in receiver.accepted.lock().iter() {
            // A sample, its exemplars and what is said about its series stand together.
            let before = of_name.insert(series.labels[0].1.clone(), series.clone());
            assert!(before.is_none(), "{series:?}");
        }
        assert_eq!(of_name.contains_key("custom"), message == v2);
        let (total, native) = (&of_name["a_total"], &of_name["h"]);
        assert_eq!((total.samples.len(), total.exemplars.len(), native.histograms.len()), (1, 1, 1));
        assert_eq!(total.exemplars[0].timestamp, Some(Timestamp::from_millis(START)));
        assert!(native.histograms[0].1.is_stale());
        let known = |series: &TimeSeries| {
            let known = series.metadata.as_ref()?;
            Some((known.metric_type, known.help.to_string(), known.unit.to_string()))
        };
        let expected =
            |metric_type| (message == v2).then(|| (metric_type, "Help.".to_owned(), "seconds".to_owned()));
        assert_eq!(known(total), expected(MetricType::Counter));
        assert_eq!(known(native), expected(MetricType::Histogram));
        sender.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_receiver_did_not_get_survives_a_restart_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::new(Kind::Down).await;
    let start = || {
        let path = Some(directory.path().to_owned());
        Sender::keeping(&[receiver.config(None)], &Labels::empty(), bounds(64 << 20), path)
    };
    let mut expected = Vec::new();
    for run in 0..3 {
        let mut sender = start();
        let waiting = sender.status().pending_samples;
        assert_eq!(waiting, expected.len() as u64, "what was kept waits again");
        for step in 0..4 {
            let value = f64::from(run * 10 + step);
            sender.append(&[("a", value), ("b", value)], i64::from(run * 10 + step));
            expected.extend(named(&[("a", value), ("b", value)]));
            sender.pass_deadline().await;
        }
        sender.give_up().await;
        assert_eq!(sender.status().samples_dropped, []);
    }
    *receiver.kind.lock() = Kind::V1;
    let mut sender = start();
    sender.append(&[("a", 100.0)], 100);
    expected.extend(named(&[("a", 100.0)]));
    sender
        .pass_time_until("everything arrived", || sender.status().samples_sent == expected.len() as u64)
        .await;
    // Series of one metric stand together in a request; what counts is the order within each.
    let by_series = |mut values: Vec<(String, f64)>| {
        values.sort_by(|(a, _), (b, _)| a.cmp(b));
        values
    };
    assert_eq!(by_series(receiver.values()), by_series(expected), "in order and once");
    sender.end().await;
    let sender = start();
    assert_eq!(sender.status().pending_samples, 0, "what arrived does not wait again");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_queue_drops_the_oldest_and_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::new(Kind::Down).await;
    let path = Some(directory.path().to_owned());
    let config = RemoteWriteConfig { ..receiver.config(Some(RemoteWriteMessage::V2)) };
    let mut sender = Sender::keeping(&[config], &Labels::empty(), bounds(64 << 10), path);
    let mut appended = 0;
    for step in 0..400 {
        // Texts that do not compress make the batches large enough.
        let names: Vec<String> = (0..20)
            .map(|n| format!("m_{:x}", (step * 20 + n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let samples: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        sender.append(&samples, step as i64);
        appended += 20;
        sender.pass_deadline().await;
    }
    let dropped = |sender: &Sender| {
        let dropped = sender.status().samples_dropped;
        dropped.iter().find(|(reason, _)| *reason == DropReason::QueueFull).map_or(0, |(_, samples)| *samples)
    };
    until("the disk queue was full", || dropped(&sender) > 0).await;
    *receiver.kind.lock() = Kind::V2;
    let rest = |sender: &Sender| sender.status().samples_sent + dropped(sender);
    sender.pass_time_until("the rest arrived", || rest(&sender) == appended).await;
    let last = receiver.values().last().cloned();
    assert!(last.is_some(), "the newest arrived");
    sender.end().await;
}
