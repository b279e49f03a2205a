//! What the mischievous targets do, scrape by scrape. `@N@` in a body is the start of the test plus N milliseconds, in
//! milliseconds; `@sN@` the same in seconds.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::families;
use super::target::Answer;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// One target with what its job says besides the usual.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Further keys of the job, as flow YAML.
    pub(crate) config: &'static str,
    pub(crate) answers: Vec<Answer>,
}

fn typed(content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::Http { status: 200, headers: vec![("Content-Type", content_type.to_owned())], body: body.into() }
}

fn text(body: &str) -> Answer {
    typed(TEXT, body)
}

fn openmetrics(body: &str) -> Answer {
    typed(OPENMETRICS, format!("{body}# EOF\n"))
}

fn status(status: u16, body: &str) -> Answer {
    Answer::Http { status, headers: vec![("Content-Type", TEXT.to_owned())], body: body.into() }
}

fn redirect(to: &str) -> Answer {
    Answer::Http { status: 302, headers: vec![("Location", to.to_owned())], body: Vec::new() }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn encoded(encoding: &str, body: Vec<u8>) -> Answer {
    let headers = vec![("Content-Type", TEXT.to_owned()), ("Content-Encoding", encoding.to_owned())];
    Answer::Http { status: 200, headers, body }
}

fn script(name: &'static str, config: &'static str, answers: Vec<Answer>) -> Script {
    Script { name, config, answers }
}

/// A body that is good, one that is the subject, and the good one again: shows what a failure costs.
fn between(name: &'static str, config: &'static str, subject: Answer) -> Script {
    script(name, config, vec![text("good 1\n"), subject, text("good 2\n")])
}

/// The same, for bodies of text.
fn body(name: &'static str, subject: &str) -> Script {
    between(name, "", text(subject))
}

pub(crate) fn all(base: i64) -> Vec<Script> {
    let mut scripts =
        [series(), timestamps(), duplicates(), limits(), bodies(), values(), transport(), labels()]
            .concat_all();
    scripts.extend([types(), open_metrics(), histograms(), shuffled()].concat_all());
    for answer in scripts.iter_mut().flat_map(|script| &mut script.answers) {
        if let Answer::Http { body, .. } = answer {
            *body = with_times(body, base);
        }
    }
    scripts
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Script>;
}

impl<const N: usize> ConcatAll for [Vec<Script>; N] {
    fn concat_all(self) -> Vec<Script> {
        self.into_iter().flatten().collect()
    }
}

/// Fills in `@N@` and `@sN@`; a body that is no text has none.
fn with_times(body: &[u8], base: i64) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(body) else { return body.to_vec() };
    let mut filled = String::new();
    for (index, part) in text.split('@').enumerate() {
        match (index % 2, part.strip_prefix('s')) {
            (0, _) => filled.push_str(part),
            (_, Some(offset)) => {
                let millis = base + offset.parse::<i64>().unwrap();
                filled.push_str(&format!("{}.{:03}", millis / 1_000, millis % 1_000));
            }
            (_, None) => filled.push_str(&(base + part.parse::<i64>().unwrap()).to_string()),
        }
    }
    filled.into_bytes()
}

/// Series that come, go and change places.
fn series() -> Vec<Script> {
    vec![
        script(
            "vanishes-and-returns",
            "",
            vec![text("a 1\nb 1\n"), text("b 2\n"), text("b 3\na 3\n"), text("a 4\n"), text("a 5\nb 5\n")],
        ),
        script(
            "changes-places",
            "",
            vec![
                text("a 1\nb{x=\"1\"} 1\nc 1\nd 1\n"),
                text("d 2\nc 2\nb{x=\"1\"} 2\na 2\n"),
                text("b{x=\"1\"} 3\nd 3\na 3\nc 3\n"),
                text("b{x=\"2\"} 4\nd 4\na 4\nc 4\n"),
            ],
        ),
        script(
            "grows-and-shrinks",
            "",
            vec![
                text("a 1\n"),
                text("# HELP b B.\n# TYPE b counter\nb 1\na 2\n"),
                text("b 2\nb{x=\"y\"} 2\n\n\na 3\nc 3\n"),
                text("c 4\n"),
                text(""),
                text("a 6\n"),
            ],
        ),
        script(
            "same-value-for-ever",
            "",
            vec![text("a 1\nb 2\n"), text("a 1\nb 2\n"), text("a 1\nb 2\n"), text("a 1\n")],
        ),
        script(
            "one-letter-differs",
            "",
            vec![
                text("metric_a{x=\"1\"} 1\nmetric_b{x=\"1\"} 1\n"),
                text("metric_a{x=\"2\"} 2\nmetric_b{x=\"1\"} 2\n"),
                text("metric_a{x=\"1\" } 3\nmetric_b{x=\"1\",} 3\n"),
                text("metric_a {x=\"1\"} 4\nmetric_b\t{ x = \"1\" , } \t 4\n"),
            ],
        ),
        script(
            "fails-and-returns",
            "",
            vec![
                text("a 1\nb 1\n"),
                status(500, "a 2\n"),
                status(500, "a 3\n"),
                text("a 4\n"),
                Answer::HangUp,
                text("a 6\nb 6\n"),
            ],
        ),
    ]
}

fn timestamps() -> Vec<Script> {
    let own = || {
        vec![
            text("a 1 @-1500@\nb 1\n"),
            text("a 2 @-1400@\nb 2\n"),
            text("b 3\n"),
            text("a 4 @-1300@\nb 4\n"),
            text("a 5 @-1200@\n"),
            text("a 6 @500000@\n"),
        ]
    };
    vec![
        script("own-timestamps", "", own()),
        script("own-timestamps-not-honoured", "honor_timestamps: false", own()),
        script("own-timestamps-tracked", "track_timestamps_staleness: true", own()),
        script(
            "own-timestamps-fail",
            "track_timestamps_staleness: true",
            vec![text("a 1 @-1000@\nb 1\n"), status(500, ""), text("a 3 @500000@\nb 3\n")],
        ),
        script(
            "equal-timestamps",
            "",
            vec![text("a 1 @1000@\n"), text("a 1 @1000@\n"), text("a 2 @1000@\n"), text("a 3 @1001@\n")],
        ),
        script(
            "decreasing-timestamps",
            "",
            vec![text("a 1 @5000@\n"), text("a 2 @3000@\n"), text("a 3 @6000@\n")],
        ),
        script(
            "two-timestamps-in-one-scrape",
            "",
            vec![text("a 1 @1000@\na 2 @2000@\n"), text("a 3 @3000@\na 4 @2500@\na 5 @3500@\n")],
        ),
        script(
            "past-and-future",
            "",
            vec![
                text("old 1 @-1000@\nsoon 1 @300000@\nlate 1 @1200000@\n"),
                text("old 2 @-999@\nsoon 2 @301000@\nlate 2 @1201000@\n"),
            ],
        ),
        script("long-past", "", vec![text("a 1 0\nb 1 1\nb 2 2\n"), text("a 2 1000000000000\n")]),
        script(
            "from-own-to-scrape-timestamps",
            "",
            vec![text("a 1 @-1000@\n"), text("a 2\n"), text("a 3\n"), text("a 4 @500000@\n"), text("a 5\n")],
        ),
        body("negative-timestamp", "a 1 -1\nb 1\n"),
        body("fractional-timestamp", "a 1 1.5\n"),
        body("huge-timestamp", "a 1 99999999999999999999\n"),
    ]
}

fn duplicates() -> Vec<Script> {
    vec![
        script(
            "duplicates",
            "",
            vec![
                text("a 1\na 2\nb 1\n"),
                text("a 3\nb 3\na 4\nb 4\n"),
                text("b 5\na 5\na 5\n"),
                text("a 6\n"),
            ],
        ),
        script(
            "same-labels-in-another-order",
            "",
            vec![
                text("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n"),
                text("a{y=\"2\",x=\"1\"} 3\na{x=\"1\",y=\"2\"} 4\n"),
                text("a{y=\"2\",x=\"1\"} 5\n"),
            ],
        ),
        script(
            "an-empty-label-is-no-label",
            "",
            vec![
                text("a{x=\"\"} 1\n"),
                text("a 2\n"),
                text("a{x=\"\"} 3\na 4\n"),
                text("a{x=\"\",y=\"\"} 5\n"),
            ],
        ),
        script(
            "relabelled-into-duplicates",
            "metric_relabel_configs: [{action: labeldrop, regex: x}]",
            vec![
                text("a{x=\"1\"} 1\na{x=\"2\"} 2\n"),
                text("a{x=\"2\"} 3\na{x=\"1\"} 4\n"),
                text("a{x=\"3\"} 5\n"),
            ],
        ),
        body("a-label-twice", "a{x=\"1\",x=\"2\"} 1\nb 1\n"),
        body("a-label-twice-alike", "a{x=\"1\",x=\"1\"} 1\nb 1\n"),
    ]
}

fn limits() -> Vec<Script> {
    vec![
        script(
            "sample-limit",
            "sample_limit: 2, extra_scrape_metrics: true",
            vec![text("a 1\nb 1\n"), text("a 2\nb 2\nc 2\nd 2\n"), text("a 3\n"), text("c 4\nd 4\n")],
        ),
        script(
            "sample-limit-after-relabelling",
            "sample_limit: 2, metric_relabel_configs: [{source_labels: [__name__], regex: drop.*, action: drop}]",
            vec![
                text("a 1\nb 1\ndrop_a 1\ndrop_b 1\n"),
                text("a 2\nb 2\nc 2\ndrop_a 2\n"),
                text("drop_a 3\ndrop_b 3\ndrop_c 3\n"),
            ],
        ),
        script(
            "sample-limit-and-duplicates",
            "sample_limit: 2",
            vec![text("a 1\na 2\na 3\n"), text("a 1\na 2\n")],
        ),
        script(
            "label-limit",
            "label_limit: 5",
            vec![text("a{x=\"1\"} 1\n"), text("a{x=\"1\",y=\"2\",z=\"3\"} 2\nb 2\n"), text("a{x=\"1\"} 3\n")],
        ),
        script(
            "label-name-length-limit",
            "label_name_length_limit: 9",
            vec![text("a{short=\"1\"} 1\n"), text("a{muchlonger=\"1\"} 2\n"), text("a{short=\"1\"} 3\n")],
        ),
        script(
            "label-value-length-limit",
            "label_value_length_limit: 40",
            vec![
                text("a{x=\"1\"} 1\n"),
                text("a{x=\"12345678901234567890123456789012345678901\"} 2\n"),
                text("a{x=\"1\"} 3\n"),
            ],
        ),
        script(
            "body-size-limit",
            "body_size_limit: 40B, extra_scrape_metrics: true",
            vec![
                text("a 1\n"),
                text("a 22222222222222222222222222222222222222\n"),
                text("a 22222222222222222222222222222222222222222222\n"),
                text("a 2222222222222222222222222222222222222\n"),
                encoded("gzip", gzip("a 4                                               \n".as_bytes())),
                text("a 5\n"),
            ],
        ),
        script(
            "extra-metrics",
            "extra_scrape_metrics: true, scrape_timeout: 700ms, sample_limit: 9",
            vec![text("a 1\n"), status(500, ""), text(""), encoded("gzip", gzip(b"a 4\nb 4\n"))],
        ),
    ]
}

fn bodies() -> Vec<Script> {
    vec![
        body("garbage", "a 2\n!!! garbage\nb 2\n"),
        body("no-last-line-end", "a 2\nb 2"),
        body("only-comments", "# a comment\n#\n# HELP\n# TYPE\n#HELP a A.\n"),
        body("odd-comments", "# just a comment\n#TYPE a counter\n# TYPEa counter\n#\ta 1\na 2\n"),
        body("blank-lines-and-tabs", "\n\n  \t\na\t2\n\n  b  2  \n\t c 2\n"),
        body("carriage-returns", "a 2\r\nb 2\r\n"),
        body("nul-byte", "a 2\n\0b 2\n"),
        body("nul-in-a-line", "a 2\nb \0 2\n"),
        body("unknown-type", "# TYPE a wombat\na 2\n"),
        body("type-without-type", "# TYPE a\na 2\n"),
        body("help-twice-type-twice", "# HELP a A.\n# HELP a B.\n# TYPE a counter\n# TYPE a gauge\na 2\n"),
        body("exemplar-in-text", "a_total 2 # {x=\"1\"} 3\n"),
        body("end-marker-in-text", "a 2\n# EOF\nb 2\n"),
        body("unclosed-braces", "a{x=\"1\" 2\n"),
        body("unclosed-quotes", "a{x=\"1} 2\n"),
        body("no-value", "a\nb 2\n"),
        body("three-numbers", "a 1 2 3\n"),
        body("trailing-comma", "a{x=\"1\",} 2\nb{,} 2\n"),
        body("comma-only", "a{,x=\"1\"} 2\n"),
        body("no-comma", "a{x=\"1\" y=\"2\"} 2\n"),
        body("single-quotes", "a{x='1'} 2\n"),
        body("digit-first", "1a 2\n"),
        body("colons-and-dashes", "a:b:c 2\n:a 2\n_a 2\n"),
        body("dash-in-name", "a-b 2\n"),
        body("escapes", "a{x=\"\\\\ \\\" \\n \\t \\x \\é\"} 2\n# HELP a \\\\ \\n \\t \\\"\n"),
        body("line-end-in-label", "a{x=\"1\n2\"} 2\n"),
        body("utf8-label-values", "a{x=\"日本語 🦀 é\"} 2\n"),
        between("invalid-utf8-label-value", "", typed(TEXT, b"a{x=\"\xff\xfe\"} 2\nb 2\n".to_vec())),
        between("invalid-utf8-help", "", typed(TEXT, b"# HELP a \xff\na 2\n".to_vec())),
        between("invalid-utf8-comment", "", typed(TEXT, b"# \xff\na 2\n".to_vec())),
        between("byte-order-mark", "", typed(TEXT, b"\xef\xbb\xbfa 2\n".to_vec())),
        body("utf8-names", "{\"a.b\"} 2\n{\"a b\",x=\"1\"} 2\n{\"é\",\"l.m\"=\"1\"} 2\na{\"l.m\"=\"2\"} 2\n"),
        body("name-in-braces", "{\"plain\"} 2\n{\"plain\",x=\"1\"} 2\n{x=\"1\",\"plain\"} 2\n"),
        body("two-names-in-braces", "{\"a\",\"b\"} 2\n"),
        body("no-name", "{x=\"1\"} 2\n"),
        body("name-label", "a{__name__=\"b\"} 2\n"),
        body("empty-name-in-braces", "{\"\"} 2\n"),
        body("empty-label-name", "a{=\"1\"} 2\n"),
        body("empty-quoted-label-name", "a{\"\"=\"1\"} 2\n"),
        script(
            "legacy-names",
            "metric_name_validation_scheme: legacy, metric_name_escaping_scheme: underscores",
            vec![text("a 1\n"), text("a 2\n{\"a.b\"} 2\n"), text("a 3\nc{\"l.m\"=\"2\"} 3\n"), text("a 4\n")],
        ),
    ]
}

fn values() -> Vec<Script> {
    let mut scripts = vec![
        body("infinities", "a +Inf\nb -inf\nc Infinity\nd INF\ne -Infinity\n"),
        body("not-a-number", "a NaN\nb nan\nc NAN\nd +NaN\n"),
        body("not-a-number-alone", "a NaN\nb nan\n"),
        body("zeros", "a 0\nb -0\nc 0.0\nd -0.0\ne 0e9\n"),
        body("extremes", "a 1.7976931348623157e308\nb 4.9e-324\nc 1e-400\nd 9007199254740993\n"),
        body("forms", "a 1.\nb .5\nc +1\nd 1e+3\ne 1E3\nf 00012\n"),
        script(
            "between-numbers-and-not",
            "",
            vec![
                text("a NaN\n"),
                text("a 1\n"),
                text("a NaN\n"),
                text("a -0\n"),
                text("a 0\n"),
                text("b NaN\n"),
            ],
        ),
    ];
    for (name, value) in [
        ("value-out-of-range", "1e400"),
        ("value-hexadecimal", "0x10"),
        ("value-hexadecimal-exponent", "0x1p3"),
        ("value-underscore", "1_000"),
        ("value-comma", "1,000"),
        ("value-word", "one"),
        ("value-two-signs", "--1"),
        ("value-exponent-alone", "e5"),
        ("value-half-exponent", "1e"),
        ("value-infinite", "infinit"),
    ] {
        scripts.push(body(name, &format!("a {value}\n")));
    }
    scripts
}

fn transport() -> Vec<Script> {
    let bare =
        |headers: Vec<(&'static str, String)>| Answer::Http { status: 200, headers, body: b"a 2\n".to_vec() };
    vec![
        between("empty-body", "", text("")),
        between("no-content-type", "", bare(Vec::new())),
        between(
            "no-content-type-fallback",
            "fallback_scrape_protocol: PrometheusText0.0.4",
            bare(Vec::new()),
        ),
        between("html", "", typed("text/html", "a 2\n")),
        between(
            "html-fallback",
            "fallback_scrape_protocol: PrometheusText0.0.4",
            typed("text/html", "a 2\n"),
        ),
        between("json", "", typed("application/json", "a 2\n")),
        between("plain-without-version", "", typed("text/plain", "a 2\n")),
        between("plain-of-another-version", "", typed("text/plain; version=0.0.5", "a 2\n")),
        between("plain-in-capitals", "", typed("TEXT/PLAIN; VERSION=0.0.4", "a 2\n")),
        between("bad-content-type", "", typed("text/plain; version", "a 2\n")),
        between(
            "bad-content-type-fallback",
            "fallback_scrape_protocol: OpenMetricsText1.0.0",
            typed("text/plain; version", "a 2\n# EOF\n"),
        ),
        between("openmetrics-without-version", "", typed("application/openmetrics-text", "a 2\n# EOF\n")),
        between("status-201", "", status(201, "a 2\n")),
        between("status-204", "", Answer::Http { status: 204, headers: Vec::new(), body: Vec::new() }),
        between("status-404", "", status(404, "a 2\n")),
        between("status-503", "", status(503, "a 2\n")),
        between("redirected", "", redirect("/redirect-goal")),
        script("redirect-goal", "", vec![text("goal 1\n")]),
        between("redirected-for-ever", "", redirect("/redirected-for-ever-loop")),
        script("redirected-for-ever-loop", "", vec![redirect("/redirected-for-ever-loop")]),
        between("redirects-not-followed", "follow_redirects: false", redirect("/redirect-goal")),
        between(
            "redirect-without-goal",
            "",
            Answer::Http { status: 302, headers: Vec::new(), body: Vec::new() },
        ),
        between("hangs-up", "", Answer::HangUp),
        between("silent", "scrape_timeout: 500ms", Answer::Silence),
        between("truncated", "", Answer::Truncated { content_type: TEXT, body: b"a 2\nb 2\n".to_vec() }),
        between("gzip", "", encoded("gzip", gzip(b"a 2\nb 2\n"))),
        between("gzip-not-asked-for", "enable_compression: false", encoded("gzip", gzip(b"a 2\n"))),
        between(
            "gzip-cut",
            "",
            encoded("gzip", {
                let mut cut = gzip(b"a 2\nb 2\nc 2\n");
                cut.truncate(cut.len() - 6);
                cut
            }),
        ),
        between(
            "gzip-wrong-checksum",
            "",
            encoded("gzip", {
                let mut wrong = gzip(b"a 2\nb 2\n");
                let at = wrong.len() - 6;
                wrong[at] ^= 1;
                wrong
            }),
        ),
        between("gzip-of-two-members", "", encoded("gzip", [gzip(b"a 2\n"), gzip(b"b 2\n")].concat())),
        between("gzip-that-is-none", "", encoded("gzip", b"a 2\n".to_vec())),
        between("deflate", "", encoded("deflate", gzip(b"a 2\n"))),
        between("identity-by-name", "", encoded("identity", b"a 2\n".to_vec())),
        between("brotli-that-is-plain", "", encoded("br", b"a 2\n".to_vec())),
        script("text-only", "scrape_protocols: [PrometheusText0.0.4]", vec![text("a 1\n")]),
        script(
            "protobuf-first",
            "scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]",
            vec![text("a 1\n")],
        ),
        script("old-openmetrics-only", "scrape_protocols: [OpenMetricsText0.0.1]", vec![text("a 1\n")]),
    ]
}

fn labels() -> Vec<Script> {
    let clash = "a{job=\"own\",instance=\"own\",scenario_label=\"x\",exported_job=\"e\"} 1\nb{job=\"\",instance=\"\"} 1\nc{exported_job=\"1\",exported_exported_job=\"2\",job=\"3\"} 1\n";
    vec![
        script("labels-clash", "", vec![text(clash)]),
        script("labels-clash-honoured", "honor_labels: true", vec![text(clash)]),
        script(
            "drops-and-renames",
            "metric_relabel_configs: [{source_labels: [__name__], regex: drop.*, action: drop}, {source_labels: [__name__], regex: old_(.+), target_label: __name__, replacement: new_$1}, {source_labels: [x], target_label: y}, {regex: z, action: labeldrop}]",
            vec![
                text("drop_me 1\nold_a{x=\"1\"} 1\nkeep{z=\"1\"} 1\n"),
                text("old_a{x=\"2\"} 2\ndrop_me 2\nkeep{z=\"2\"} 2\ndrop_too 2\n"),
                text("keep 3\nold_a 3\nnew_a 4\n"),
            ],
        ),
        script(
            "name-relabelled-away",
            "metric_relabel_configs: [{source_labels: [__name__], regex: bad, target_label: __name__, replacement: ''}]",
            vec![text("a 1\n"), text("a 2\nbad 2\n"), text("a 3\n")],
        ),
        script(
            "name-made-odd",
            "metric_relabel_configs: [{source_labels: [__name__], regex: bad, target_label: __name__, replacement: 'a b'}]",
            vec![text("a 1\n"), text("a 2\nbad 2\n"), text("a 3\n")],
        ),
        script(
            "private-labels-stay",
            "metric_relabel_configs: [{source_labels: [__name__], target_label: __was}, {source_labels: [x], target_label: __tmp_x}]",
            vec![text("a{x=\"1\"} 1\n")],
        ),
        script(
            "labelmap-and-hashmod",
            "metric_relabel_configs: [{action: labelmap, regex: 'x_(.+)'}, {source_labels: [y], modulus: 7, target_label: shard, action: hashmod}, {source_labels: [y], target_label: loud, action: uppercase}]",
            vec![text("a{x_one=\"1\",x_two=\"2\",y=\"why\"} 1\n")],
        ),
        script("report-series-by-name", "", vec![text("up 5\nscrape_duration_seconds 7\n")]),
        script(
            "job-label-relabelled",
            "metric_relabel_configs: [{target_label: job, replacement: other}]",
            vec![text("a 1\n"), text("")],
        ),
    ]
}

fn types() -> Vec<Script> {
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2.50\"} 2\nh_bucket{le=\"1e3\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 5\nh_count 4\n";
    vec![
        script(
            "bounds-normalised",
            "",
            vec![text(histogram), text(histogram), text(&histogram.replace("# TYPE h histogram\n", ""))],
        ),
        script(
            "quantiles-normalised",
            "",
            vec![text(
                "# TYPE s summary\ns{quantile=\"0.50\"} 1\ns{quantile=\"1\"} 2\ns{quantile=\"x\"} 3\ns_sum 3\ns_count 2\n",
            )],
        ),
        script(
            "the-last-type-counts",
            "",
            vec![text(
                "# TYPE other histogram\nh_bucket{le=\"1\"} 1\n# TYPE again gauge\nh_bucket{le=\"2\"} 1\n# TYPE s summary\nh_bucket{le=\"3\",quantile=\"4\"} 1\n",
            )],
        ),
        script(
            "bounds-that-become-equal",
            "",
            vec![text("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 2\n")],
        ),
        script(
            "metadata",
            "",
            vec![
                text(
                    "# HELP a Some help with \\\\ and \\n.\n# TYPE a counter\na 1\n# HELP b\n# TYPE b gauge\nb 1\n# TYPE c untyped\nc 1\n",
                ),
                text("# HELP a Other help.\n# TYPE a gauge\na 2\nb 2\nc 2\n"),
                text("a 3\nb 3\nc 3\n"),
            ],
        ),
        // Version 1.0 tells metadata by family, whichever target it is from: these names occur nowhere else.
        script(
            "family-metadata",
            "",
            vec![
                openmetrics(
                    "# HELP only_counter C.\n# TYPE only_counter counter\nonly_counter_total 1\n# TYPE only_late gauge\n",
                ),
                openmetrics(
                    "# HELP only_counter Changed.\n# TYPE only_counter counter\nonly_counter_total 2\n# TYPE only_late gauge\n# UNIT only_late late\nonly_late 1\n# TYPE only_stateset stateset\nonly_stateset{only_stateset=\"a\"} 1\n# TYPE \"only.dotted\" counter\n{\"only.dotted_total\"} 1\n",
                ),
            ],
        ),
        script(
            "to-custom-buckets",
            "convert_classic_histograms_to_nhcb: true, scrape_native_histograms: true",
            vec![
                text(histogram),
                text(&histogram.replace(" 4\n", " 6\n")),
                text("a 1\n"),
                text(&histogram.replace("h_sum 5\n", "")),
                text(&histogram.replace("\"+Inf\"} 4", "\"+Inf\"} 2")),
            ],
        ),
        script(
            "to-custom-buckets-and-classic",
            "convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: true, scrape_native_histograms: true",
            vec![
                text(&format!("before 1\n{histogram}after 1\n")),
                text(&histogram.replace("} ", ",x=\"1\"} ")),
            ],
        ),
    ]
}

fn open_metrics() -> Vec<Script> {
    vec![
        script(
            "om-counter",
            "",
            vec![
                openmetrics(
                    "# TYPE a counter\n# UNIT a seconds\n# HELP a A.\na_total 1\na_created @s-5000@\n",
                ),
                openmetrics(
                    "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds A.\na_seconds_total 2\na_seconds_created @s-5000@\n",
                ),
            ],
        ),
        script(
            "om-exemplars",
            "",
            vec![
                openmetrics(
                    "# TYPE a counter\na_total 1 # {trace=\"x\"} 0.5\n# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {trace=\"b\"} 0.7 @s1000@\nh_bucket{le=\"+Inf\"} 2 # {} 3 @s900@\nh_sum 3\nh_count 2\n",
                ),
                openmetrics(
                    "# TYPE a counter\na_total 2 # {trace=\"x\"} 0.5\n# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {trace=\"b\"} 0.7 @s1000@\nh_bucket{le=\"+Inf\"} 3 # {trace=\"é\"} 3 @s2000@\nh_sum 3\nh_count 2\n",
                ),
                openmetrics("# TYPE a counter\na_total 3 # {trace=\"y\"} 0.6 @s-500@\n"),
            ],
        ),
        between(
            "om-long-exemplar",
            "",
            openmetrics(&format!("# TYPE a counter\na_total 2 # {{trace=\"{}\"}} 1\n", "x".repeat(140))),
        ),
        script(
            "om-types",
            "",
            vec![openmetrics(
                "# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"a\"} 1\ns{s=\"b\"} 0\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\ng_bucket{le=\"+Inf\"} 2\ng_gcount 2\ng_gsum 3\n# TYPE u unknown\nu 1\n# TYPE q summary\nq{quantile=\"0.5\"} 1\nq_count 1\nq_sum 1\nq_created 1\n",
            )],
        ),
        script(
            "om-timestamps",
            "",
            vec![openmetrics("a 1 @s-900@\nb 1 @s1000@5\n"), openmetrics("a 2 @s2000@\nb 2\n")],
        ),
        between("om-negative-timestamp", "", openmetrics("a 1 -1\n")),
        between("om-without-end", "", typed(OPENMETRICS, "a 2\n")),
        between("om-more-after-end", "", typed(OPENMETRICS, "a 2\n# EOF\nb 2\n")),
        between("om-end-without-line-end", "", typed(OPENMETRICS, "a 2\n# EOF")),
        between("om-blank-line", "", openmetrics("a 2\n\nb 2\n")),
        between("om-comment", "", openmetrics("# a comment\na 2\n")),
        between("om-space-at-end", "", openmetrics("a 2 \n")),
        between("om-two-spaces", "", openmetrics("a  2\n")),
        between("om-counter-without-total", "", openmetrics("# TYPE a counter\na 2\n")),
        between("om-unit-mismatch", "", openmetrics("# TYPE a gauge\n# UNIT a seconds\na 2\n")),
        between("om-untyped", "", openmetrics("# TYPE a untyped\na 2\n")),
        between("om-not-a-number", "", openmetrics("a NaN\nb +Inf\nc -Inf\n")),
        between("om-carriage-return", "", openmetrics("a 2\r\n")),
        between("om-utf8-names", "", openmetrics("# TYPE \"a.b\" counter\n{\"a.b_total\",x=\"1\"} 2\n")),
        between(
            "om-old-version",
            "",
            typed("application/openmetrics-text; version=0.0.1", "# TYPE a counter\na_total 2\n# EOF\n"),
        ),
        between(
            "om-unknown-version",
            "",
            typed("application/openmetrics-text; version=9.0.0", "a 2\n# EOF\n"),
        ),
        script("om-then-text", "", vec![openmetrics("a 1\nb 1\n"), text("a 2\nb 2\n"), openmetrics("a 3\n")]),
        script(
            "om-to-custom-buckets",
            "convert_classic_histograms_to_nhcb: true, scrape_native_histograms: true",
            vec![
                openmetrics(
                    "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {trace=\"b\"} 0.7 @s1000@\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nh_created 5\n# TYPE a gauge\na 1\n",
                ),
                openmetrics(
                    "# TYPE h histogram\nh_bucket{le=\"1.0\"} 2 # {trace=\"c\"} 0.7 @s2000@\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n",
                ),
            ],
        ),
    ]
}

fn histograms() -> Vec<Script> {
    let native = |step: u64| typed(PROTOBUF, families::native(step));
    let both = |step: u64| typed(PROTOBUF, families::native_and_classic(step));
    vec![
        script(
            "pb-simple",
            "",
            vec![
                typed(PROTOBUF, families::simple(1.0)),
                typed(PROTOBUF, families::simple(2.0)),
                text("a 1\n"),
            ],
        ),
        script(
            "pb-native",
            "scrape_native_histograms: true",
            vec![native(1), native(2), text("a 1\n"), native(3)],
        ),
        script("pb-native-not-wanted", "", vec![both(1), both(2)]),
        script(
            "pb-native-and-classic",
            "scrape_native_histograms: true, always_scrape_classic_histograms: true",
            vec![both(1), both(2)],
        ),
        script("pb-native-preferred", "scrape_native_histograms: true", vec![both(1), both(2)]),
        script(
            "pb-to-custom-buckets",
            "scrape_native_histograms: true, convert_classic_histograms_to_nhcb: true",
            vec![typed(PROTOBUF, families::classic(1)), typed(PROTOBUF, families::classic(2))],
        ),
        script(
            "pb-bucket-limit",
            "scrape_native_histograms: true, native_histogram_bucket_limit: 3",
            vec![native(1), native(2)],
        ),
        script(
            "pb-bucket-factor",
            "scrape_native_histograms: true, native_histogram_min_bucket_factor: 1.5",
            vec![native(1), native(2)],
        ),
        script(
            "pb-limit-of-one",
            "scrape_native_histograms: true, native_histogram_bucket_limit: 1",
            vec![text("a 1\n"), native(2), text("a 3\n")],
        ),
        between(
            "pb-cut",
            "",
            typed(PROTOBUF, {
                let mut cut = families::simple(2.0);
                cut.truncate(cut.len() - 3);
                cut
            }),
        ),
        between("pb-nonsense", "", typed(PROTOBUF, vec![5, 0xff, 0xff, 0xff, 0xff, 0xff])),
        between("pb-empty", "", typed(PROTOBUF, Vec::new())),
        script(
            "pb-sample-limit",
            "scrape_native_histograms: true, sample_limit: 2",
            vec![native(1), typed(PROTOBUF, families::simple(2.0)), native(3)],
        ),
    ]
}

/// A few hundred series, shuffled, thinned out, doubled and with other values at every scrape.
fn shuffled() -> Vec<Script> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut answers = Vec::new();
    for step in 0..8 {
        let mut lines: Vec<String> = (0..300)
            .filter(|_| next(10) > 0)
            .map(|index| {
                let (family, value) = (index / 20, if index % 3 == 0 { step } else { 7 });
                format!("family_{family}{{index=\"{index}\"}} {value}\n")
            })
            .collect();
        if step % 2 == 1 {
            for _ in 0..20 {
                let (from, to) = (next(lines.len()), next(lines.len()));
                lines.swap(from, to);
            }
            let twice = lines[next(lines.len())].clone();
            lines.insert(next(lines.len()), twice);
        }
        if step == 4 {
            lines.reverse();
        }
        answers.push(text(&lines.concat()));
    }
    vec![
        Script { name: "shuffled", config: "", answers: answers.clone() },
        Script {
            name: "shuffled-and-relabelled",
            config: "metric_relabel_configs: [{source_labels: [index], regex: '.*5', action: drop}, {source_labels: [__name__, index], regex: 'family_(.+);(.)', target_label: short, replacement: $1-$2}]",
            answers,
        },
    ]
}
