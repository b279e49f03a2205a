//! LimitRanges.

use super::{Family, Kind, created};
use crate::object::meta::Quantity;
use crate::object::{Map, Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.LimitRange`.
    pub struct LimitRange {
        2 "spec" spec: Nested<'a, LimitRangeSpec<'a>>,
    }
}

message! {
    /// `v1.LimitRangeSpec`.
    pub struct LimitRangeSpec {
        1 "limits" limits: Repeated<'a, LimitRangeItem<'a>>,
    }

    /// `v1.LimitRangeItem`.
    pub struct LimitRangeItem {
        1 "type" kind: &'a str,
        2 "max" max: Map<'a, Quantity<'a>>,
        3 "min" min: Map<'a, Quantity<'a>>,
        4 "default" default: Map<'a, Quantity<'a>>,
        5 "defaultRequest" default_request: Map<'a, Quantity<'a>>,
        6 "maxLimitRequestRatio" max_limit_request_ratio: Map<'a, Quantity<'a>>,
    }
}

pub(crate) struct LimitRanges;

impl Kind for LimitRanges {
    type Object<'a> = LimitRange<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_limitrange", "Information about limit range.", limits),
        Family::<Self>::stable("kube_limitrange_created", "Unix creation timestamp", |range, samples| {
            created(&range.metadata, samples)
        }),
    ];

    fn identity(range: &LimitRange<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", range.metadata.namespace);
        samples.add_identity("limitrange", range.metadata.name);
    }
}

/// Each limit, with the name of its resource as it is.
fn limits(range: &LimitRange<'_>, samples: &mut Samples) {
    for item in &*range.spec.limits {
        let constraints = [
            ("min", &item.min),
            ("max", &item.max),
            ("default", &item.default),
            ("defaultRequest", &item.default_request),
            ("maxLimitRequestRatio", &item.max_limit_request_ratio),
        ];
        for (constraint, quantities) in constraints {
            for (resource, number) in quantities.iter().filter_map(to_number) {
                let values = [resource, item.kind, constraint].map(Value::Word);
                samples.add(&["resource", "type", "constraint"], &values, number);
            }
        }
    }
}

fn to_number<'a>((resource, quantity): (&'a str, &Quantity<'_>)) -> Option<(&'a str, f64)> {
    Some((resource, quantity.parse()?.to_float()))
}
