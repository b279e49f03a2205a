//! Bodies of the load: what the targets of a shape expose, with values of which six in ten move.

mod cadvisor;
mod node;
mod state_metrics;

use std::io::Write as _;

use anyhow::{Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Of ten series, this many have another value in every variant of a body.
const MOVING_OF_TEN: u64 = 6;

/// What a target looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A kubelet's cAdvisor, 1,000 series a target: long labels, the same ones on every family.
    Cadvisor,
    /// node_exporter on a machine with 48 processors, 1,512 series.
    Node,
    /// One kube-state-metrics body of 100,000 series.
    Large,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Shape; 3] = [Shape::Cadvisor, Shape::Node, Shape::Large];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Cadvisor => "cadvisor",
            Shape::Node => "node",
            Shape::Large => "large",
        }
    }

    /// The shape of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self> {
        let Some(shape) = Self::ALL.into_iter().find(|shape| shape.name() == name) else {
            bail!("`{name}` is none of the shapes: cadvisor, node, large");
        };
        Ok(shape)
    }

    /// Series that one target of this shape exposes.
    pub fn series_of_target(self) -> usize {
        match self {
            Shape::Cadvisor => 1_000,
            Shape::Node => 1_512,
            Shape::Large => 100_000,
        }
    }

    /// Metric relabelling of the shape's job: two families dropped, and one label replaced.
    pub fn metric_relabel_configs(self) -> &'static str {
        match self {
            Shape::Cadvisor => {
                "  - {source_labels: [__name__], regex: container_tasks_state|container_memory_failures_total, action: drop}\n  \
                 - {source_labels: [image], regex: '([^/]+)/.*', target_label: registry, replacement: $1}\n"
            }
            Shape::Node => {
                "  - {source_labels: [__name__], regex: node_scrape_collector_duration_seconds|node_network_flags, action: drop}\n  \
                 - {source_labels: [device], regex: '(eth|cali|nvme).*', target_label: device_kind, replacement: $1}\n"
            }
            Shape::Large => {
                "  - {source_labels: [__name__], regex: kube_pod_tolerations|kube_pod_status_phase, action: drop}\n  \
                 - {source_labels: [pod], regex: '(.*)-[a-z0-9]+-[a-z0-9]+', target_label: workload, replacement: $1}\n"
            }
        }
    }

    /// The body of a target; variants differ in their values only. A target's labels are its own.
    pub fn body(self, target: u32, variant: u32) -> Vec<u8> {
        let mut body = Body::new(target, variant, self.series_of_target());
        match self {
            Shape::Cadvisor => cadvisor::write(&mut body),
            Shape::Node => node::write(&mut body),
            Shape::Large => state_metrics::write(&mut body),
        }
        body.text
    }

    /// [`body`](Self::body), gzipped as an exporter would.
    pub fn compressed_body(self, target: u32, variant: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(5));
        let text = self.body(target, variant);
        encoder.write_all(&text).and_then(|()| encoder.finish()).expect("a Vec takes every write")
    }
}

/// A body in the making.
struct Body {
    text: Vec<u8>,
    target: u32,
    variant: u32,
    written: usize,
    limit: usize,
}

/// How a family's values look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Grows; whole numbers.
    Count,
    /// Grows; seconds with fractions.
    Seconds,
    /// Goes up and down; whole numbers such as bytes.
    Level,
    /// One, or a Boolean.
    Flag,
}

impl Body {
    fn new(target: u32, variant: u32, limit: usize) -> Self {
        Self { text: Vec::with_capacity(limit * 200), target, variant, written: 0, limit }
    }

    fn is_full(&self) -> bool {
        self.written >= self.limit
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        if !self.is_full() {
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
    }

    /// Appends one series unless the body has all of its series.
    fn series(&mut self, name: &str, labels: std::fmt::Arguments<'_>, kind: Kind) {
        if self.is_full() {
            return;
        }
        let value = self.value(kind);
        let _ = writeln!(self.text, "{name}{labels} {value}");
        self.written += 1;
    }

    fn value(&self, kind: Kind) -> String {
        let seed = mix(u64::from(self.target) << 32 | self.written as u64);
        let step = if seed % 10 < MOVING_OF_TEN { u64::from(self.variant) } else { 0 };
        let size = 1u64 << (seed >> 8 & 31);
        match kind {
            Kind::Count => {
                go_float((seed >> 16) as f64 % size as f64 + (step * (1 + (seed >> 40) % 5_000)) as f64)
            }
            Kind::Seconds => {
                let micros = (seed >> 16) % 100_000_000_000 + step * (1 + (seed >> 40) % 9_999_999);
                go_float(micros as f64 / 1e6)
            }
            Kind::Level => {
                let pages = (seed >> 16) % 1_000_000 + step * (1 + (seed >> 40) % 97);
                go_float((pages * 4_096) as f64)
            }
            Kind::Flag => (((seed >> 16) + step) & 1).to_string(),
        }
    }
}

/// A float as Go's exposition writers print it: the shortest digits, with an exponent from 1e+06 on and below 1e-04.
fn go_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// SplitMix64's finaliser: spreads neighbouring numbers.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(body: &[u8]) -> Vec<(String, String)> {
        let text = std::str::from_utf8(body).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(s, v)| (s.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn every_shape_has_its_number_of_different_series_and_six_in_ten_move() {
        for shape in Shape::ALL {
            let (first, second) = (series(&shape.body(3, 0)), series(&shape.body(3, 1)));
            assert_eq!(first.len(), shape.series_of_target(), "{shape:?}");
            let names: std::collections::HashSet<_> = first.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), first.len(), "{shape:?}");
            assert!(first.iter().zip(&second).all(|(a, b)| a.0 == b.0), "{shape:?}");
            let moved = first.iter().zip(&second).filter(|(a, b)| a.1 != b.1).count();
            let share = moved as f64 / first.len() as f64;
            assert!((0.5..0.65).contains(&share), "{shape:?}: {share}");
        }
    }

    #[test]
    fn targets_of_shapes_with_long_labels_share_no_series() {
        for shape in [Shape::Cadvisor, Shape::Large] {
            let (first, second) = (series(&shape.body(1, 0)), series(&shape.body(2, 0)));
            let names: std::collections::HashSet<_> = first.iter().map(|(name, _)| name).collect();
            assert!(second.iter().all(|(name, _)| !names.contains(name)), "{shape:?}");
        }
    }

    #[test]
    fn floats_look_as_go_prints_them() {
        let cases = [
            (0.0, "0"),
            (1.5, "1.5"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (2_505_609_216.0, "2.505609216e+09"),
            (0.000_012, "1.2e-05"),
        ];
        for (value, text) in cases {
            assert_eq!(go_float(value), text);
        }
    }
}
