//! Remote write requests of both versions.

use outrigger_wire::exposition::MetricType;
use outrigger_wire::remote_write::{self, MetricMetadata, WriteRequest, v2};

/// What was decoded is encoded and decoded again to the same.
pub(crate) fn decode(data: &[u8]) {
    let Some((choice, message)) = crate::split_choice(data) else { return };
    if choice & 1 == 0 {
        let Ok(request) = remote_write::decode(message) else { return };
        for series in &request.series {
            let _ = series.check_labels();
        }
        let mut encoded = Vec::new();
        remote_write::put_request(&request, &mut encoded);
        let again = remote_write::decode(&encoded).expect("our own encoding");
        assert_eq!(format!("{request:?}"), format!("{again:?}"));
    } else {
        let Ok(mut request) = v2::decode(message) else { return };
        // Metadata that says nothing is not written.
        for series in &mut request.series {
            series.metadata = series.metadata.take().filter(says_something);
        }
        let mut encoded = Vec::new();
        v2::put_request(&request, &mut encoded);
        let again = v2::decode(&encoded).expect("our own encoding");
        assert_eq!(in_any_order(&request), in_any_order(&again));
    }
}

/// The series of a request as text, sorted: the encoder orders them as they compress best. Text, because a NaN is not
/// equal to itself.
fn in_any_order(request: &WriteRequest) -> Vec<String> {
    let mut series: Vec<String> = request.series.iter().map(|series| format!("{series:?}")).collect();
    series.sort_unstable();
    series
}

fn says_something(metadata: &MetricMetadata) -> bool {
    metadata.metric_type != MetricType::Unknown || !metadata.help.is_empty() || !metadata.unit.is_empty()
}
