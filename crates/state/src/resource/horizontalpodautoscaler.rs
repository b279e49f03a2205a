//! HorizontalPodAutoscalers.

use super::{Family, Kind, annotations, conditions, created, deleted, generation, labels, number};
use crate::object::condition::Condition;
use crate::object::meta::Quantity;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v2.HorizontalPodAutoscaler`.
    pub struct HorizontalPodAutoscaler {
        2 "spec" spec: Nested<'a, HorizontalPodAutoscalerSpec<'a>>,
        3 "status" status: Nested<'a, HorizontalPodAutoscalerStatus<'a>>,
    }
}

message! {
    /// `v2.HorizontalPodAutoscalerSpec`.
    pub struct HorizontalPodAutoscalerSpec {
        1 "scaleTargetRef" scale_target: Nested<'a, ScaleTarget<'a>>,
        2 "minReplicas" min_replicas: Option<i32>,
        3 "maxReplicas" max_replicas: i32,
        4 "metrics" metrics: Repeated<'a, MetricSpec<'a>>,
        5 "behavior" behavior: Nested<'a, Behavior<'a>>,
    }

    /// `v2.CrossVersionObjectReference`.
    pub struct ScaleTarget {
        1 "kind" kind: &'a str,
        2 "name" name: &'a str,
        3 "apiVersion" api_version: &'a str,
    }

    /// `v2.HorizontalPodAutoscalerBehavior`.
    pub struct Behavior {
        1 "scaleUp" scale_up: Nested<'a, ScalingRules<'a>>,
        2 "scaleDown" scale_down: Nested<'a, ScalingRules<'a>>,
    }

    /// `v2.HPAScalingRules`.
    pub struct ScalingRules {
        4 "tolerance" tolerance: Option<Quantity<'a>>,
    }

    /// `v2.MetricSpec`.
    pub struct MetricSpec {
        1 "type" kind: &'a str,
        2 "object" object: Nested<'a, ObjectTarget<'a>>,
        3 "pods" pods: Nested<'a, NamedTarget<'a>>,
        4 "resource" resource: Nested<'a, ResourceTarget<'a>>,
        5 "external" external: Nested<'a, NamedTarget<'a>>,
        7 "containerResource" container_resource: Nested<'a, ResourceTarget<'a>>,
    }

    /// `v2.ObjectMetricSource`.
    pub struct ObjectTarget {
        2 "target" target: Nested<'a, MetricTarget<'a>>,
        3 "metric" metric: Nested<'a, MetricIdentifier<'a>>,
    }

    /// `v2.PodsMetricSource` and `v2.ExternalMetricSource`.
    pub struct NamedTarget {
        1 "metric" metric: Nested<'a, MetricIdentifier<'a>>,
        2 "target" target: Nested<'a, MetricTarget<'a>>,
    }

    /// `v2.ResourceMetricSource` and `v2.ContainerResourceMetricSource`; only the latter has a container.
    pub struct ResourceTarget {
        1 "name" name: &'a str,
        2 "target" target: Nested<'a, MetricTarget<'a>>,
        3 "container" container: &'a str,
    }

    /// `v2.MetricIdentifier`.
    pub struct MetricIdentifier {
        1 "name" name: &'a str,
    }

    /// `v2.MetricTarget`.
    pub struct MetricTarget {
        2 "value" value: Option<Quantity<'a>>,
        3 "averageValue" average_value: Option<Quantity<'a>>,
        4 "averageUtilization" average_utilization: Option<i32>,
    }

    /// `v2.HorizontalPodAutoscalerStatus`.
    pub struct HorizontalPodAutoscalerStatus {
        3 "currentReplicas" current_replicas: i32,
        4 "desiredReplicas" desired_replicas: i32,
        5 "currentMetrics" current_metrics: Repeated<'a, MetricStatus<'a>>,
        6 "conditions" conditions: Repeated<'a, Condition<'a>>,
    }

    /// `v2.MetricStatus`.
    pub struct MetricStatus {
        1 "type" kind: &'a str,
        2 "object" object: Nested<'a, NamedStatus<'a>>,
        3 "pods" pods: Nested<'a, NamedStatus<'a>>,
        4 "resource" resource: Nested<'a, ResourceStatus<'a>>,
        5 "external" external: Nested<'a, NamedStatus<'a>>,
        7 "containerResource" container_resource: Nested<'a, ResourceStatus<'a>>,
    }

    /// `v2.ObjectMetricStatus`, `v2.PodsMetricStatus` and `v2.ExternalMetricStatus`.
    pub struct NamedStatus {
        1 "metric" metric: Nested<'a, MetricIdentifier<'a>>,
        2 "current" current: Nested<'a, MetricValueStatus<'a>>,
    }

    /// `v2.ResourceMetricStatus` and `v2.ContainerResourceMetricStatus`; only the latter has a container.
    pub struct ResourceStatus {
        1 "name" name: &'a str,
        2 "current" current: Nested<'a, MetricValueStatus<'a>>,
        3 "container" container: &'a str,
    }

    /// `v2.MetricValueStatus`.
    pub struct MetricValueStatus {
        1 "value" value: Option<Quantity<'a>>,
        2 "averageValue" average_value: Option<Quantity<'a>>,
        3 "averageUtilization" average_utilization: Option<i32>,
    }
}

pub(crate) struct HorizontalPodAutoscalers;

impl Kind for HorizontalPodAutoscalers {
    type Object<'a> = HorizontalPodAutoscaler<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_info",
            "Information about this autoscaler.",
            info,
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_metadata_generation",
            "The generation observed by the HorizontalPodAutoscaler controller.",
            |scaler, samples| generation(&scaler.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_spec_max_replicas",
            "Upper limit for the number of pods that can be set by the autoscaler; cannot be smaller than MinReplicas.",
            |scaler, samples| number(scaler.spec.max_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_spec_min_replicas",
            "Lower limit for the number of pods that can be set by the autoscaler, default 1.",
            |scaler, samples| number(scaler.spec.min_replicas.unwrap_or(1), samples),
        ),
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_spec_target_metric",
            "The metric specifications used by this autoscaler when calculating the desired replica count.",
            target_metrics,
        ),
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_spec_behavior_scale_down_tolerance",
            "The tolerance on the ratio between the current and desired metric value below which no scale down occurs.",
            |scaler, samples| tolerance(&scaler.spec.behavior.scale_down, samples),
        ),
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_spec_behavior_scale_up_tolerance",
            "The tolerance on the ratio between the current and desired metric value below which no scale up occurs.",
            |scaler, samples| tolerance(&scaler.spec.behavior.scale_up, samples),
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_status_target_metric",
            "The current metric status used by this autoscaler when calculating the desired replica count.",
            current_metrics,
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_status_current_replicas",
            "Current number of replicas of pods managed by this autoscaler.",
            |scaler, samples| number(scaler.status.current_replicas, samples),
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_status_desired_replicas",
            "Desired number of replicas of pods managed by this autoscaler.",
            |scaler, samples| number(scaler.status.desired_replicas, samples),
        ),
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |scaler, samples| annotations(&scaler.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |scaler, samples| labels(&scaler.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_horizontalpodautoscaler_status_condition",
            "The condition of this autoscaler.",
            |scaler, samples| conditions(&scaler.status.conditions, samples),
        ),
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_created",
            "Unix creation timestamp",
            |scaler, samples| created(&scaler.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_horizontalpodautoscaler_deletion_timestamp",
            "Unix deletion timestamp",
            |scaler, samples| deleted(&scaler.metadata, samples),
        ),
    ];

    fn identity(scaler: &HorizontalPodAutoscaler<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", scaler.metadata.namespace);
        samples.add_identity("horizontalpodautoscaler", scaler.metadata.name);
    }
}

fn info(scaler: &HorizontalPodAutoscaler<'_>, samples: &mut Samples) {
    let target = &scaler.spec.scale_target;
    let [version, kind, name] = [target.api_version, target.kind, target.name].map(Value::Word);
    if target.api_version.is_empty() {
        samples.add(&["scaletargetref_kind", "scaletargetref_name"], &[kind, name], 1.0);
    } else {
        const LABELS: &[&str] = &["scaletargetref_api_version", "scaletargetref_kind", "scaletargetref_name"];
        samples.add(LABELS, &[version, kind, name], 1.0);
    }
}

fn tolerance(rules: &ScalingRules<'_>, samples: &mut Samples) {
    if let Some(quantity) = rules.tolerance.and_then(Quantity::parse) {
        samples.add(&[], &[], quantity.approximate_float());
    }
}

/// What a metric is to be, or is: as a value, in per cent, or on average.
#[derive(Default)]
struct Amounts<'a> {
    value: Option<Quantity<'a>>,
    utilization: Option<i32>,
    average: Option<Quantity<'a>>,
}

impl<'a> From<&MetricTarget<'a>> for Amounts<'a> {
    fn from(target: &MetricTarget<'a>) -> Self {
        Self { value: target.value, utilization: target.average_utilization, average: target.average_value }
    }
}

impl<'a> From<&MetricValueStatus<'a>> for Amounts<'a> {
    fn from(status: &MetricValueStatus<'a>) -> Self {
        Self { value: status.value, utilization: status.average_utilization, average: status.average_value }
    }
}

/// A row for each amount of a metric that is there.
fn amounts<'a>(metric: &str, container: &str, amounts: impl Into<Amounts<'a>>, samples: &mut Samples) {
    let Amounts { value, utilization, average } = amounts.into();
    let float = |quantity: Quantity<'_>| quantity.parse().map(|quantity| quantity.to_float());
    let rows = [
        ("value", value.and_then(float)),
        ("utilization", utilization.map(f64::from)),
        ("average", average.and_then(float)),
    ];
    for (kind, number) in rows {
        if let Some(number) = number {
            let values = [metric, kind, container].map(Value::Word);
            samples.add(&["metric_name", "metric_target_type", "container"], &values, number);
        }
    }
}

/// Kinds of metrics that are unknown are left out.
fn target_metrics(scaler: &HorizontalPodAutoscaler<'_>, samples: &mut Samples) {
    for metric in &*scaler.spec.metrics {
        let resource = |source: &ResourceTarget<'_>, container: &str, samples: &mut Samples| {
            amounts(source.name, container, &*source.target, samples);
        };
        match metric.kind {
            "Object" => amounts(metric.object.metric.name, "", &*metric.object.target, samples),
            "Pods" => amounts(metric.pods.metric.name, "", &*metric.pods.target, samples),
            "Resource" => resource(&metric.resource, "", samples),
            "ContainerResource" => {
                resource(&metric.container_resource, metric.container_resource.container, samples);
            }
            "External" => amounts(metric.external.metric.name, "", &*metric.external.target, samples),
            _ => {}
        }
    }
}

fn current_metrics(scaler: &HorizontalPodAutoscaler<'_>, samples: &mut Samples) {
    for metric in &*scaler.status.current_metrics {
        let resource = |source: &ResourceStatus<'_>, container: &str, samples: &mut Samples| {
            amounts(source.name, container, &*source.current, samples);
        };
        match metric.kind {
            "Object" => amounts(metric.object.metric.name, "", &*metric.object.current, samples),
            "Pods" => amounts(metric.pods.metric.name, "", &*metric.pods.current, samples),
            "Resource" => resource(&metric.resource, "", samples),
            "ContainerResource" => {
                resource(&metric.container_resource, metric.container_resource.container, samples);
            }
            "External" => amounts(metric.external.metric.name, "", &*metric.external.current, samples),
            _ => {}
        }
    }
}
