//! From a discovered label set to a scrape target (Prometheus `scrape/target.go`, `PopulateLabels`).

use std::sync::Arc;
use std::time::Duration;

use outrigger_config::prometheus::ScrapeConfig;
use outrigger_config::relabel;
use outrigger_model::duration::{self, ParseDurationError};
use outrigger_model::labels::{Fnv1a, Labels, LabelsBuilder};
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetId};

/// Where a target listens.
pub(crate) const ADDRESS_LABEL: &str = "__address__";
/// Path of a Unix socket that is dialled instead of the address.
const UNIX_SOCKET_LABEL: &str = "__unix_socket__";
const SCHEME_LABEL: &str = "__scheme__";
const METRICS_PATH_LABEL: &str = "__metrics_path__";
const INTERVAL_LABEL: &str = "__scrape_interval__";
const TIMEOUT_LABEL: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";
const RESERVED_PREFIX: &str = "__";
const JOB_LABEL: &str = "job";
const INSTANCE_LABEL: &str = "instance";
/// Labels that turn histogram options on or off for one target, with what Prometheus calls them in errors.
const BOOLEAN_LABELS: [(&str, &str); 3] = [
    (CONVERT_CLASSIC_LABEL, "convert classic histograms to nhcb"),
    (ALWAYS_CLASSIC_LABEL, "always scrape classic histograms"),
    (NATIVE_LABEL, "scrape native histograms"),
];
const CONVERT_CLASSIC_LABEL: &str = "__convert_classic_histograms_to_nhcb__";
const ALWAYS_CLASSIC_LABEL: &str = "__always_scrape_classic_histograms__";
const NATIVE_LABEL: &str = "__scrape_native_histograms__";

/// What becomes of one discovered label set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Populated {
    /// It is scraped.
    Keep(ScrapeTarget),
    /// Relabelling dropped it.
    Drop,
    /// It cannot be scraped as it is.
    Error(TargetError),
}

/// Why a label set is not a target. Worded as Prometheus words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `__address__` is empty after relabelling.
    #[error("no address")]
    NoAddress,
    /// `__address__` holds a slash, so it is a URL or a path and not a host.
    #[error("{0:?} is not a valid hostname")]
    NotAHost(String),
    /// `__scrape_interval__` is not a duration.
    #[error("error parsing scrape interval: {0}")]
    Interval(ParseDurationError),
    /// `__scrape_interval__` is zero.
    #[error("scrape interval cannot be 0")]
    ZeroInterval,
    /// `__scrape_timeout__` is not a duration.
    #[error("error parsing scrape timeout: {0}")]
    Timeout(ParseDurationError),
    /// `__scrape_timeout__` is zero.
    #[error("scrape timeout cannot be 0")]
    ZeroTimeout,
    /// The timeout is longer than the interval.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutAboveInterval {
        /// `__scrape_timeout__`.
        timeout: String,
        /// `__scrape_interval__`.
        interval: String,
    },
    /// `__unix_socket__` with another scheme than `http`.
    #[error("scheme {0:?} over a unix socket: only http is spoken there")]
    UnixSocketScheme(String),
    /// One of the histogram labels is not a boolean.
    #[error("error parsing {what}: {value:?} is not true or false")]
    NotABoolean {
        /// What the label decides.
        what: &'static str,
        /// Its value.
        value: String,
    },
}

/// Turns the discovered label sets of one job into targets. Holds what it reuses from one set to the next.
#[derive(Debug)]
pub struct Populator {
    config: Arc<ScrapeConfig>,
    interval_text: String,
    timeout_text: String,
    builder: LabelsBuilder,
}

impl Populator {
    /// For the targets of `config`.
    pub fn new(config: Arc<ScrapeConfig>) -> Self {
        Self {
            interval_text: duration::format(config.scrape_interval),
            timeout_text: duration::format(config.scrape_timeout),
            builder: LabelsBuilder::new(),
            config,
        }
    }

    /// The job.
    pub fn config(&self) -> &Arc<ScrapeConfig> {
        &self.config
    }

    /// The labels of a target before relabelling: its own, then those of its group, then the job's defaults,
    /// each only where the label is absent (Prometheus 3.14 and later, `PopulateDiscoveredLabels`).
    pub fn discovered(&mut self, group: &Labels, target: &Labels) -> Labels {
        self.set_discovered(group, target);
        self.builder.build()
    }

    /// Relabels one discovered label set and checks the result.
    pub fn populate(&mut self, group: &Labels, target: &Labels) -> Populated {
        self.set_discovered(group, target);
        if !relabel::apply(&self.config.relabel, &mut self.builder) {
            return Populated::Drop;
        }
        match self.check() {
            Err(error) => Populated::Error(error),
            Ok((interval, timeout)) => Populated::Keep(self.finish(interval, timeout)),
        }
    }

    /// All labels of the target that [`populate`](Self::populate) kept last, those with a leading `__` included.
    pub fn relabelled(&self) -> Labels {
        self.builder.build()
    }

    fn set_discovered(&mut self, group: &Labels, target: &Labels) {
        let config = &*self.config;
        let builder = &mut self.builder;
        builder.reset(group);
        for (name, value) in target {
            builder.set(name, value);
        }
        builder.set_default(JOB_LABEL, &config.job_name);
        builder.set_default(INTERVAL_LABEL, &self.interval_text);
        builder.set_default(TIMEOUT_LABEL, &self.timeout_text);
        builder.set_default(METRICS_PATH_LABEL, &config.metrics_path);
        builder.set_default(SCHEME_LABEL, &config.scheme);
        let options = [
            config.convert_classic_histograms_to_nhcb,
            config.always_scrape_classic_histograms,
            config.scrape_native_histograms,
        ];
        for ((name, _), on) in BOOLEAN_LABELS.into_iter().zip(options) {
            builder.set_default(name, if on { "true" } else { "false" });
        }
        for (name, values) in &config.params {
            if let Some(first) = values.first() {
                builder.set_default(&format!("{PARAM_PREFIX}{name}"), first);
            }
        }
    }

    /// The checks of `PopulateLabels` after relabelling, in its order.
    fn check(&self) -> Result<(Duration, Duration), TargetError> {
        let address = self.builder.get(ADDRESS_LABEL);
        if address.is_empty() {
            return Err(TargetError::NoAddress);
        }
        if address.contains('/') {
            return Err(TargetError::NotAHost(address.to_owned()));
        }
        let interval_text = self.builder.get(INTERVAL_LABEL);
        let interval = duration::parse(interval_text).map_err(TargetError::Interval)?;
        if interval.is_zero() {
            return Err(TargetError::ZeroInterval);
        }
        let timeout_text = self.builder.get(TIMEOUT_LABEL);
        let timeout = duration::parse(timeout_text).map_err(TargetError::Timeout)?;
        if timeout.is_zero() {
            return Err(TargetError::ZeroTimeout);
        }
        if timeout > interval {
            return Err(TargetError::TimeoutAboveInterval {
                timeout: timeout_text.to_owned(),
                interval: interval_text.to_owned(),
            });
        }
        let scheme = self.builder.get(SCHEME_LABEL);
        if self.builder.contains(UNIX_SOCKET_LABEL) && scheme != "http" {
            return Err(TargetError::UnixSocketScheme(scheme.to_owned()));
        }
        for (name, what) in BOOLEAN_LABELS {
            let value = self.builder.get(name);
            if !value.is_empty() && parse_go_bool(value).is_none() {
                return Err(TargetError::NotABoolean { what, value: value.to_owned() });
            }
        }
        Ok((interval, timeout))
    }

    fn finish(&mut self, interval: Duration, timeout: Duration) -> ScrapeTarget {
        self.builder.retain(|name, _| !name.starts_with(META_PREFIX));
        if !self.builder.contains(INSTANCE_LABEL) {
            let address = self.builder.get(ADDRESS_LABEL).to_owned();
            self.builder.set(INSTANCE_LABEL, &address);
        }
        let url = target_url(&self.builder, &self.config.params);
        ScrapeTarget {
            id: target_id(&self.builder, &url),
            job: Arc::clone(&self.config.job_name),
            labels: public_labels(&self.builder),
            url,
            interval,
            timeout,
            histograms: self.histograms(),
        }
    }

    /// The options after relabelling; a label that relabelling removed leaves the job's.
    fn histograms(&self) -> HistogramOptions {
        let config = &*self.config;
        let is_on = |name, of_job| parse_go_bool(self.builder.get(name)).unwrap_or(of_job);
        HistogramOptions {
            native: is_on(NATIVE_LABEL, config.scrape_native_histograms),
            always_classic: is_on(ALWAYS_CLASSIC_LABEL, config.always_scrape_classic_histograms),
            convert_classic: is_on(CONVERT_CLASSIC_LABEL, config.convert_classic_histograms_to_nhcb),
        }
    }
}

fn public_labels(builder: &LabelsBuilder) -> Labels {
    Labels::from_pairs(builder.iter().filter(|(name, _)| !name.starts_with(RESERVED_PREFIX)))
}

/// The identity of a target within its job: FNV-1a over all labels after relabelling, then its URL.
fn target_id(builder: &LabelsBuilder, url: &str) -> TargetId {
    let mut hash = Fnv1a::new();
    for (name, value) in builder.iter() {
        hash.update(name.as_bytes());
        hash.update(&[0xff]);
        hash.update(value.as_bytes());
        hash.update(&[0xff]);
    }
    hash.update(url.as_bytes());
    TargetId(hash.finish())
}

/// The URL that is scraped, written as Go's `url.URL.String` writes it; with `__unix_socket__`, one of the scheme
/// `http+unix` whose host is the socket.
///
/// A `__param_<name>` label replaces the first value of that parameter; further values stay.
fn target_url(labels: &LabelsBuilder, params: &[(String, Vec<String>)]) -> String {
    let mut url = String::with_capacity(64);
    let (scheme, socket) = (labels.get(SCHEME_LABEL), labels.get(UNIX_SOCKET_LABEL));
    if socket.is_empty() {
        if !scheme.is_empty() {
            url.push_str(scheme);
            url.push(':');
        }
        url.push_str("//");
        escape(labels.get(ADDRESS_LABEL), HOST_UNESCAPED, &mut url);
    } else {
        url.push_str("http+unix://");
        escape(socket, QUERY_UNESCAPED, &mut url);
    }
    let path = labels.get(METRICS_PATH_LABEL);
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    if path == "*" {
        url.push('*');
    } else {
        escape(path, PATH_UNESCAPED, &mut url);
    }
    encode_query(labels, params, &mut url);
    url
}

/// Appends `?` and the parameters as Go's `url.Values.Encode` does: sorted by name.
fn encode_query(labels: &LabelsBuilder, params: &[(String, Vec<String>)], url: &mut String) {
    let mut separator = '?';
    let mut put = |name: &str, value: &str, url: &mut String| {
        url.push(std::mem::replace(&mut separator, '&'));
        query_escape(name, url);
        url.push('=');
        query_escape(value, url);
    };
    let mut configured = params.iter().peekable();
    let from_labels =
        labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(PARAM_PREFIX)?, value)));
    for (name, value) in from_labels {
        while let Some((earlier, values)) = configured.next_if(|(other, _)| other.as_str() < name) {
            values.iter().for_each(|value| put(earlier, value, url));
        }
        put(name, value, url);
        if let Some((_, values)) = configured.next_if(|(other, _)| other == name) {
            values.iter().skip(1).for_each(|value| put(name, value, url));
        }
    }
    for (name, values) in configured {
        values.iter().for_each(|value| put(name, value, url));
    }
}

/// What Go leaves as it is in a path, besides letters and digits (`net/url`, mode `encodePath`).
const PATH_UNESCAPED: &[u8] = b"$&+,-./:;=@_~";
/// The same for a host (`encodeHost`).
const HOST_UNESCAPED: &[u8] = b"!\"$&'()*+,-.:;<=>[]_~";
/// The same for a query component (`encodeQueryComponent`).
const QUERY_UNESCAPED: &[u8] = b"-._~";

fn escape(text: &str, unescaped: &[u8], into: &mut String) {
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || unescaped.contains(&byte) {
            into.push(char::from(byte));
        } else {
            push_percent(byte, into);
        }
    }
}

fn query_escape(text: &str, into: &mut String) {
    for &byte in text.as_bytes() {
        match byte {
            b' ' => into.push('+'),
            _ if byte.is_ascii_alphanumeric() || QUERY_UNESCAPED.contains(&byte) => {
                into.push(char::from(byte))
            }
            _ => push_percent(byte, into),
        }
    }
}

fn push_percent(byte: u8, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    into.push('%');
    into.push(char::from(DIGITS[usize::from(byte >> 4)]));
    into.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Go's `strconv.ParseBool`.
fn parse_go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
