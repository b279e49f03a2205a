use outrigger_config::relabel::{RelabelRaw, RelabelRule};
use outrigger_model::names::NameValidation;

use super::*;

fn job() -> ScrapeConfig {
    let mut config = ScrapeConfig::new("job");
    config.scheme = "https".to_owned();
    config.scrape_interval = Duration::from_secs(1);
    config.scrape_timeout = Duration::from_secs(1);
    config
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn populate(config: ScrapeConfig, target: &[(&str, &str)]) -> (Populated, Labels) {
    let mut populator = Populator::new(Arc::new(config));
    let populated = populator.populate(&Labels::empty(), &labels(target));
    (populated, populator.relabelled())
}

/// The labels without those of the histogram options, which every target has.
fn without_options(all: &Labels) -> Labels {
    let is_option = |name: &str| BOOLEAN_LABELS.iter().any(|(option, _)| *option == name);
    Labels::from_pairs(all.iter().filter(|(name, _)| !is_option(name)).collect::<Vec<_>>())
}

fn kept(config: ScrapeConfig, target: &[(&str, &str)]) -> ScrapeTarget {
    match populate(config, target).0 {
        Populated::Keep(target) => target,
        other => panic!("{target:?} gave {other:?}"),
    }
}

fn replace(source: &str, target: &str) -> RelabelRule {
    let raw = RelabelRaw {
        source_labels: Some(vec![source.to_owned()]),
        target_label: Some(target.to_owned()),
        ..RelabelRaw::default()
    };
    RelabelRule::new(raw, NameValidation::Utf8).expect("a valid rule")
}

#[test]
fn defaults_fill_only_what_is_absent() {
    for (target, expected) in [
        (
            &[("__address__", "1.2.3.4:1000"), ("custom", "value")][..],
            &[
                ("__address__", "1.2.3.4:1000"),
                ("__metrics_path__", "/metrics"),
                ("__scheme__", "https"),
                ("__scrape_interval__", "1s"),
                ("__scrape_timeout__", "1s"),
                ("custom", "value"),
                ("instance", "1.2.3.4:1000"),
                ("job", "job"),
            ][..],
        ),
        (
            &[
                ("__address__", "1.2.3.4"),
                ("__scheme__", "http"),
                ("__metrics_path__", "/custom"),
                ("job", "custom-job"),
                ("__scrape_interval__", "2s"),
                ("__scrape_timeout__", "2s"),
                ("__tmp_kept", "x"),
                ("__meta_gone", "y"),
            ],
            &[
                ("__address__", "1.2.3.4"),
                ("__metrics_path__", "/custom"),
                ("__scheme__", "http"),
                ("__scrape_interval__", "2s"),
                ("__scrape_timeout__", "2s"),
                ("__tmp_kept", "x"),
                ("instance", "1.2.3.4"),
                ("job", "custom-job"),
            ],
        ),
        (
            &[("__address__", "[::1]"), ("instance", "custom-instance")],
            &[
                ("__address__", "[::1]"),
                ("__metrics_path__", "/metrics"),
                ("__scheme__", "https"),
                ("__scrape_interval__", "1s"),
                ("__scrape_timeout__", "1s"),
                ("instance", "custom-instance"),
                ("job", "job"),
            ],
        ),
    ] {
        let (populated, relabelled) = populate(job(), target);
        assert!(matches!(populated, Populated::Keep(_)), "{target:?}");
        assert_eq!(without_options(&relabelled), labels(expected), "{target:?}");
    }
}

#[test]
fn a_target_that_cannot_be_scraped_says_why() {
    for (target, message) in [
        (&[("custom", "value")][..], "no address"),
        (&[("__address__", "http://a")], "\"http://a\" is not a valid hostname"),
        (
            &[("__address__", "a"), ("__scrape_interval__", "2notseconds")],
            "error parsing scrape interval: not a valid duration string: \"2notseconds\" (write for example 30s, 1m30s or 2h)",
        ),
        (
            &[("__address__", "a"), ("__scrape_timeout__", "-")],
            "error parsing scrape timeout: not a valid duration string: \"-\" (write for example 30s, 1m30s or 2h)",
        ),
        (&[("__address__", "a"), ("__scrape_interval__", "0s")], "scrape interval cannot be 0"),
        (&[("__address__", "a"), ("__scrape_timeout__", "0s")], "scrape timeout cannot be 0"),
        (
            &[("__address__", "a"), ("__scrape_timeout__", "2s")],
            "scrape timeout cannot be greater than scrape interval (\"2s\" > \"1s\")",
        ),
        (
            &[("__address__", "a"), ("__scrape_native_histograms__", "maybe")],
            "error parsing scrape native histograms: \"maybe\" is not true or false",
        ),
    ] {
        match populate(job(), target).0 {
            Populated::Error(error) => assert_eq!(error.to_string(), message),
            other => panic!("{target:?} gave {other:?}"),
        }
    }
}

#[test]
fn the_labels_of_the_target_win_over_those_of_its_group() {
    let mut populator = Populator::new(Arc::new(job()));
    let group = labels(&[("a", "group"), ("b", "group"), ("__address__", "group")]);
    let discovered = populator.discovered(&group, &labels(&[("a", "target"), ("__address__", "target")]));
    assert_eq!(discovered.get("a"), Some("target"));
    assert_eq!(discovered.get("b"), Some("group"));
    assert_eq!(discovered.get("__address__"), Some("target"));
}

#[test]
fn the_url_is_written_as_go_writes_it() {
    let mut with_params = job();
    with_params.params = vec![
        ("abc".to_owned(), vec!["foo".to_owned(), "bar".to_owned(), "b z".to_owned()]),
        ("empty".to_owned(), Vec::new()),
        ("xyz".to_owned(), vec!["hoo&".to_owned()]),
    ];
    for (config, target, url) in [
        (
            with_params,
            &[("__address__", "example.com:1234"), ("__param_abc", "over/write"), ("__param_cde", "huu")][..],
            "https://example.com:1234/metrics?abc=over%2Fwrite&abc=bar&abc=b+z&cde=huu&xyz=hoo%26",
        ),
        (job(), &[("__address__", "[::1]:80"), ("__metrics_path__", "m é")], "https://[::1]:80/m%20%C3%A9"),
        (job(), &[("__address__", "a:80"), ("__metrics_path__", "*")], "https://a:80/*"),
        (job(), &[("__address__", "a%z"), ("__metrics_path__", "/%41?b=c")], "https://a%25z/%2541%3Fb=c"),
        (
            job(),
            &[("__address__", "a b:80"), ("__metrics_path__", "/!'()*[]")],
            "https://a%20b:80/%21%27%28%29%2A%5B%5D",
        ),
    ] {
        assert_eq!(kept(config, target).url, url);
    }
}

#[test]
fn a_unix_socket_takes_the_place_of_the_address_in_the_url() {
    let mut config = job();
    config.scheme = "http".to_owned();
    let target = kept(config, &[("__address__", "app:80"), ("__unix_socket__", "/run/app.sock")]);
    assert_eq!(target.url, "http+unix://%2Frun%2Fapp.sock/metrics");
    assert_eq!(target.labels.get("instance"), Some("app:80"));
    let refused = populate(job(), &[("__address__", "app:80"), ("__unix_socket__", "/run/app.sock")]).0;
    assert_eq!(refused, Populated::Error(TargetError::UnixSocketScheme("https".to_owned())));
}

#[test]
fn identity_covers_reserved_labels_and_the_url_but_not_meta_labels() {
    let id = |target: &[(&str, &str)]| kept(job(), target).id;
    let plain = id(&[("__address__", "a:1")]);
    assert_eq!(plain, id(&[("__address__", "a:1"), ("__meta_x", "y")]));
    assert_ne!(plain, id(&[("__address__", "a:1"), ("__tmp_x", "y")]));
    assert_ne!(plain, id(&[("__address__", "a:1"), ("__metrics_path__", "/b")]));
    assert_ne!(plain, id(&[("__address__", "a:1"), ("x", "y")]));
    let mut with_second_value = job();
    with_second_value.params = vec![("m".to_owned(), vec!["1".to_owned(), "2".to_owned()])];
    let mut without = job();
    without.params = vec![("m".to_owned(), vec!["1".to_owned()])];
    let target = &[("__address__", "a:1")][..];
    assert_ne!(kept(with_second_value, target).id, kept(without, target).id);
}

#[test]
fn relabelling_runs_before_the_checks_and_before_the_instance_default() {
    let mut config = job();
    config.relabel = vec![replace("custom", "__address__")];
    let target = kept(config, &[("custom", "host:1234")]);
    assert_eq!(target.labels, labels(&[("custom", "host:1234"), ("instance", "host:1234"), ("job", "job")]));
    assert_eq!(target.url, "https://host:1234/metrics");
    assert_eq!((target.interval, target.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
}

#[test]
fn histogram_options_are_labels_that_a_target_may_set_itself() {
    let mut config = job();
    config.scrape_native_histograms = true;
    let mut populator = Populator::new(Arc::new(config));
    let target = labels(&[("__address__", "a"), ("__always_scrape_classic_histograms__", "1")]);
    let discovered = populator.discovered(&Labels::empty(), &target);
    for (name, value) in [
        ("__scrape_native_histograms__", "true"),
        ("__convert_classic_histograms_to_nhcb__", "false"),
        ("__always_scrape_classic_histograms__", "1"),
    ] {
        assert_eq!(discovered.get(name), Some(value));
    }
}

#[test]
fn a_target_has_the_histogram_options_that_relabelling_leaves_it() {
    let mut config = job();
    config.scrape_native_histograms = true;
    config.convert_classic_histograms_to_nhcb = true;
    let address = ("__address__", "a");
    // native, classic too, converted
    for (target, expected) in [
        (&[address][..], (true, false, true)),
        (&[address, ("__scrape_native_histograms__", "false")], (false, false, true)),
        (&[address, ("__always_scrape_classic_histograms__", "T")], (true, true, true)),
        (&[address, ("__convert_classic_histograms_to_nhcb__", "0")], (true, false, false)),
    ] {
        let found = kept(config.clone(), target).histograms;
        assert_eq!((found.native, found.always_classic, found.convert_classic), expected, "{target:?}");
    }
    // Removed by relabelling: the job's again.
    config.relabel = vec![replace("empty", "__scrape_native_histograms__")];
    let target = [address, ("__scrape_native_histograms__", "false")];
    assert!(kept(config, &target).histograms.native);
}
