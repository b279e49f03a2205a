//! The text that the registry renders.

use outrigger_rt::metrics::{MetricKind, Registry, register_process_metrics};

#[test]
fn the_text_is_valid_and_always_in_the_same_order() {
    let registry = Registry::new();
    let scrapes = registry.counter_family("outrigger_scrapes_total", "Scrapes.", &["job", "result"]);
    let (failed, good) = (scrapes.with(&["b", "failed"]), scrapes.with(&["a", "good"]));
    failed.inc();
    good.add(41);
    scrapes.with(&["a", "good"]).inc();
    scrapes.with(&["gone", "good"]).inc();
    scrapes.remove(&["gone", "good"]);
    registry.gauge("outrigger_age_seconds", "With \"quotes\",\nlines and \\.", &[]).set(0.25);
    let odd = registry.gauge_family("outrigger_odd", "Odd values.", &["value"]);
    for (name, value) in [
        ("nan", f64::NAN),
        ("inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("big", 1e22),
        ("small", -1.5e-9),
        ("\"q\" \\ \n", -0.5),
    ] {
        odd.with(&[name]).set(value);
    }
    let latency =
        registry.histogram("outrigger_latency_seconds", "Latency.", &[("to", "x")], &[0.5, 0.1, 2.5]);
    for value in [0.1, 0.2, 3.0, 0.5] {
        latency.observe(value);
    }
    registry.collector(|exposition| {
        let mut rows = exposition.family("outrigger_mirror_rows", "Rows.", MetricKind::Gauge);
        rows.sample(&[("resource", "pods")], 3.0);
        rows.sample(&[], 1e6);
        exposition.family("outrigger_without_samples", "Left out.", MetricKind::Counter);
    });
    let expected = r#"# HELP outrigger_age_seconds With "quotes",\nlines and \\.
# TYPE outrigger_age_seconds gauge
outrigger_age_seconds 0.25
# HELP outrigger_latency_seconds Latency.
# TYPE outrigger_latency_seconds histogram
outrigger_latency_seconds_bucket{to="x",le="0.1"} 1
outrigger_latency_seconds_bucket{to="x",le="0.5"} 3
outrigger_latency_seconds_bucket{to="x",le="2.5"} 3
outrigger_latency_seconds_bucket{to="x",le="+Inf"} 4
outrigger_latency_seconds_sum{to="x"} 3.8
outrigger_latency_seconds_count{to="x"} 4
# HELP outrigger_mirror_rows Rows.
# TYPE outrigger_mirror_rows gauge
outrigger_mirror_rows{resource="pods"} 3
outrigger_mirror_rows 1000000
# HELP outrigger_odd Odd values.
# TYPE outrigger_odd gauge
outrigger_odd{value="\"q\" \\ \n"} -0.5
outrigger_odd{value="-inf"} -Inf
outrigger_odd{value="big"} 1e22
outrigger_odd{value="inf"} +Inf
outrigger_odd{value="nan"} NaN
outrigger_odd{value="small"} -1.5e-9
# HELP outrigger_scrapes_total Scrapes.
# TYPE outrigger_scrapes_total counter
outrigger_scrapes_total{job="a",result="good"} 42
outrigger_scrapes_total{job="b",result="failed"} 1
"#;
    assert_eq!(registry.render(), expected);
    assert_eq!(registry.clone().render(), expected);
}

#[test]
fn wrong_use_yields_handles_that_work_and_are_not_rendered() {
    let registry = Registry::new();
    registry.counter("outrigger_a_total", "A.", &[("x", "1")]).inc();
    let before = registry.render();
    registry.gauge("outrigger_a_total", "A.", &[("x", "1")]).set(5.0);
    registry.counter("outrigger_a_total", "A.", &[("y", "1")]).inc();
    registry.counter("no name", "A.", &[]).inc();
    registry.counter("outrigger_b_total", "A.", &[("no-name", "")]).inc();
    let lost = registry.counter("outrigger_c:total", "A.", &[("a:b", "")]);
    lost.inc();
    assert_eq!(lost.get(), 1);
    assert_eq!(registry.render(), before);
}

#[test]
fn gauges_are_tracked_by_guards_and_updates_from_many_threads_add_up() {
    let registry = Registry::new();
    let gauge = registry.gauge("outrigger_in_flight", "In flight.", &[]);
    let histogram = registry.histogram("outrigger_h", "H.", &[], &[1.0]);
    {
        let _one = gauge.track();
        let _two = gauge.track();
        assert_eq!(gauge.get(), 2.0);
    }
    assert_eq!(gauge.get(), 0.0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    gauge.add(0.5);
                    histogram.observe(0.25);
                }
            });
        }
    });
    assert_eq!((gauge.get(), histogram.count(), histogram.sum()), (2000.0, 4000, 1000.0));
}

#[test]
fn the_process_is_described() {
    let registry = Registry::new();
    register_process_metrics(&registry);
    let text = registry.render();
    let value = |name: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} {text}"));
        line.trim().parse::<f64>().unwrap()
    };
    assert!(value("process_cpu_seconds_total ") >= 0.0);
    assert!(value("process_resident_memory_bytes ") > 1e6);
    assert!(value("process_virtual_memory_bytes ") > 1e6);
    assert!(value("process_open_fds ") >= 3.0);
    assert!(value("process_max_fds ") > 3.0);
    assert!(value("process_start_time_seconds ") > 1.6e9);
}
