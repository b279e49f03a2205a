use std::time::Duration;

use outrigger_model::labels::Labels;
use outrigger_model::target::{HistogramOptions, TargetId};
use outrigger_wire::centre::JobConfiguration;

use super::*;

fn target(number: u64) -> Arc<ScrapeTarget> {
    let instance = format!("10.0.0.1:{number}");
    Arc::new(ScrapeTarget {
        id: TargetId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        job: "pods".into(),
        url: format!("http://{instance}/metrics"),
        labels: Labels::from_pairs([("instance", instance.as_str()), ("job", "pods")]),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        histograms: HistogramOptions::default(),
    })
}

fn write(kept: &mut LastKnownGood, targets: &[Arc<ScrapeTarget>]) -> usize {
    let Some(outdated) = kept.take_outdated(targets.len()) else { return 0 };
    let concerned = targets.iter().filter(|target| outdated.concerns(target.id.0)).cloned().collect();
    kept.writer().write(&outdated, concerned).expect("a directory that can be written");
    outdated.buckets.len()
}

fn sorted(mut targets: Vec<Arc<ScrapeTarget>>) -> Vec<Arc<ScrapeTarget>> {
    targets.sort_by_key(|target| target.id);
    targets
}

#[test]
fn a_changed_target_rewrites_its_bucket_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet");
    let (mut kept, recalled) = LastKnownGood::open(path.clone(), None);
    assert!(recalled.targets.is_empty() && recalled.written_millis.is_none());
    let mut targets: Vec<_> = (0..20_000).map(target).collect();
    kept.changed(targets.iter().map(|target| target.id.0));
    let all = write(&mut kept, &targets);
    assert!((16..=32).contains(&all), "{all} buckets");
    assert_eq!(write(&mut kept, &targets), 0, "nothing changed");

    let gone = targets.pop().unwrap();
    kept.changed(std::iter::once(gone.id.0));
    assert_eq!(write(&mut kept, &targets), 1);
    let (_, recalled) = LastKnownGood::open(path, None);
    assert_eq!(sorted(recalled.targets), sorted(targets));
    assert!(recalled.written_millis.is_some());
}

#[test]
fn growing_and_shrinking_regroups_and_leaves_no_old_files() {
    let directory = tempfile::tempdir().unwrap();
    let (mut kept, _) = LastKnownGood::open(directory.path().to_owned(), None);
    for count in [10, 10_000, 100, 30_000, 0] {
        let targets: Vec<_> = (0..count).map(target).collect();
        kept.changed_all();
        write(&mut kept, &targets);
        let (_, recalled) = LastKnownGood::open(directory.path().to_owned(), None);
        assert_eq!(sorted(recalled.targets), sorted(targets));
    }
}

#[test]
fn a_damaged_bucket_costs_its_own_targets_only() {
    let directory = tempfile::tempdir().unwrap();
    let (mut kept, _) = LastKnownGood::open(directory.path().to_owned(), None);
    let targets: Vec<_> = (0..8_000).map(target).collect();
    kept.changed_all();
    let buckets = write(&mut kept, &targets);
    let victim = kept.files().into_iter().next().unwrap();
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&victim, bytes).unwrap();
    let (_, recalled) = LastKnownGood::open(directory.path().to_owned(), None);
    let lost = targets.len() - recalled.targets.len();
    assert!(lost > 0 && lost < 2 * targets.len() / buckets, "{lost} of {} lost", targets.len());
    assert!(!victim.exists(), "it is set aside");
}

#[test]
fn the_configuration_comes_back_without_the_contents_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let key = Arc::new(Key::parse(&"ab".repeat(32)).expect("a key"));
    let (mut kept, _) = LastKnownGood::open(directory.path().to_owned(), Some(key.clone()));
    let bundle = ConfigurationBundle {
        base: "global: {}".to_owned(),
        directory: "/etc".to_owned(),
        jobs: vec![JobConfiguration { job: "a".to_owned(), yaml: "job_name: a".to_owned() }],
        files: vec![outrigger_wire::centre::File {
            path: "/etc/token".to_owned(),
            contents: b"secret".to_vec(),
            missing: false,
        }],
    };
    assert!(kept.set_configuration(bundle.clone()));
    write(&mut kept, &[]);
    assert!(!kept.set_configuration(bundle.clone()));
    assert_eq!(write(&mut kept, &[]), 0);
    let (_, recalled) = LastKnownGood::open(directory.path().to_owned(), Some(key));
    assert_eq!(recalled.configuration, Some(ConfigurationBundle { files: Vec::new(), ..bundle }));
    let (_, recalled) = LastKnownGood::open(directory.path().to_owned(), None);
    assert_eq!(recalled.configuration, None, "it is encrypted");
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet");
    fs::write(&path, "in the way").unwrap();
    let (mut kept, _) = LastKnownGood::open(path.clone(), None);
    let targets: Vec<_> = (0..100).map(target).collect();
    kept.changed_all();
    let outdated = kept.take_outdated(targets.len()).unwrap();
    assert!(kept.writer().write(&outdated, targets.clone()).is_err());
    kept.put_back(outdated);
    fs::remove_file(&path).unwrap();
    write(&mut kept, &targets);
    let (_, recalled) = LastKnownGood::open(path, None);
    assert_eq!(sorted(recalled.targets), sorted(targets));
}

#[test]
fn series_sets_are_kept_by_target_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let sets = SeriesSets::open(directory.path().join("series.redb")).unwrap();
    let job: Arc<str> = "pods".into();
    let change = |id: u64, set: Option<Vec<u8>>| ((job.clone(), id), set);
    let refused = sets
        .apply([change(1, Some(vec![1; 100])), change(2, Some(vec![2; 300 << 10]))].into_iter().collect())
        .unwrap();
    assert_eq!(refused, 1);
    assert_eq!(sets.get("pods", TargetId(1)), vec![1; 100]);
    assert_eq!(sets.get("pods", TargetId(2)), Vec::<u8>::new());
    assert_eq!(sets.get("nodes", TargetId(1)), Vec::<u8>::new());
    sets.apply([change(1, None)].into_iter().collect()).unwrap();
    assert_eq!(sets.get("pods", TargetId(1)), Vec::<u8>::new());
}
