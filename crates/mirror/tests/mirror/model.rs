//! Random sequences of events against a map of decoded objects.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_mirror::{Change, Mirror, ObjectError, ObjectKey, RowId};
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::protobuf::Writer;
use proptest::prelude::*;

use crate::facts::{self, Facts};
use crate::objects::{Entropy, NAMES, NAMESPACES, NODES, random};

#[derive(Debug, Clone)]
enum Step {
    /// An object with a name and content made of the bytes.
    Upsert {
        name: usize,
        bytes: Vec<u8>,
    },
    /// An object that is there already, with other invisible fields.
    Touch {
        name: usize,
    },
    /// An object that is there already, with one visible field set.
    Amend {
        name: usize,
        on: bool,
    },
    Delete {
        name: usize,
    },
    /// An object that has a name and cannot be read after that.
    Broken {
        name: usize,
    },
    Begin,
    Commit,
    /// The consumer reads the feed.
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len() * NAMESPACES.len();
    prop_oneof![
        8 => (name.clone(), prop::collection::vec(any::<u8>(), 0..120)).prop_map(|(name, bytes)| Step::Upsert { name, bytes }),
        2 => name.clone().prop_map(|name| Step::Touch { name }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, on)| Step::Amend { name, on }),
        3 => name.clone().prop_map(|name| Step::Delete { name }),
        1 => name.prop_map(|name| Step::Broken { name }),
        1 => Just(Step::Begin),
        1 => Just(Step::Commit),
        3 => Just(Step::Poll),
    ]
}

/// One resource of the model and one consumer of its feed.
#[derive(Default)]
struct Model {
    objects: BTreeMap<ObjectKey, (Vec<u8>, Facts)>,
    seen: BTreeSet<ObjectKey>,
    committed: bool,
    cursor: u64,
    copy: BTreeMap<ObjectKey, Facts>,
    /// Every row there ever was.
    rows: Vec<(RowId, ObjectKey)>,
}

fn key_of(resource: ResourceKind, name: usize) -> ObjectKey {
    let namespace = NAMESPACES[name % NAMESPACES.len()];
    ObjectKey::new(if resource.namespaced() { namespace } else { "" }, NAMES[name / NAMESPACES.len()])
}

impl Model {
    fn run(&mut self, mirror: &mut Mirror, resource: ResourceKind, step: &Step, log_capacity: usize) {
        let before = mirror.version();
        match step {
            Step::Upsert { name, bytes } => {
                let key = key_of(resource, *name);
                let message = random(resource, &key.namespace, &key.name, &mut Entropy::new(bytes.clone()));
                self.upsert(mirror, resource, key, message);
            }
            Step::Touch { name } => {
                let key = key_of(resource, *name);
                let Some((message, _)) = self.objects.get(&key) else { return };
                let message = touched(message);
                self.upsert(mirror, resource, key, message);
                assert_eq!(mirror.version(), before, "what nobody sees is no change");
            }
            Step::Amend { name, on } => {
                let key = key_of(resource, *name);
                let Some((message, _)) = self.objects.get(&key) else { return };
                let message = amended(resource, message, *on);
                self.upsert(mirror, resource, key, message);
            }
            Step::Delete { name } => {
                let key = key_of(resource, *name);
                let message = random(resource, &key.namespace, &key.name, &mut Entropy::new(Vec::new()));
                mirror.apply(resource, Change::Delete, &message).unwrap();
                let existed = self.objects.remove(&key).is_some();
                self.seen.remove(&key);
                assert_eq!(mirror.version() - before, u64::from(existed));
            }
            Step::Broken { name } => {
                let key = key_of(resource, *name);
                let mut message = random(resource, &key.namespace, &key.name, &mut Entropy::new(Vec::new()));
                message.extend([0x12, 0x7f]);
                let error = mirror.apply(resource, Change::Upsert, &message).unwrap_err();
                assert!(matches!(error, ObjectError::Malformed { key: Some(found), .. } if found == key));
                assert_eq!(mirror.version(), before);
                if self.objects.contains_key(&key) {
                    self.seen.insert(key);
                }
            }
            Step::Begin => {
                mirror.begin_generation(resource);
                self.seen.clear();
                assert_eq!(mirror.version(), before);
            }
            Step::Commit => {
                mirror.commit_generation(resource);
                let count = self.objects.len();
                self.objects.retain(|key, _| self.seen.contains(key));
                let expected = count - self.objects.len() + usize::from(!self.committed);
                assert_eq!(mirror.version() - before, expected as u64);
                self.committed = true;
            }
            Step::Poll => self.poll(mirror, resource, log_capacity),
        }
    }

    fn upsert(&mut self, mirror: &mut Mirror, resource: ResourceKind, key: ObjectKey, message: Vec<u8>) {
        let before = mirror.version();
        mirror.apply(resource, Change::Upsert, &message).unwrap();
        let facts = facts::expected(resource, &message);
        self.seen.insert(key.clone());
        let old = self.objects.insert(key.clone(), (message, facts.clone()));
        let changed = old.is_none_or(|(_, old)| old != facts);
        assert_eq!(mirror.version() - before, u64::from(changed), "{resource} {key}: {facts:?}");
        let row = facts::get(mirror, resource, &key).unwrap();
        self.rows.push((row, key));
    }

    /// Brings the consumer's copy up to date by the feed alone.
    fn poll(&mut self, mirror: &Mirror, resource: ResourceKind, log_capacity: usize) {
        let changes = mirror.changes_since(resource, self.cursor);
        if changes.reset {
            assert!(changes.next - self.cursor > log_capacity as u64);
            self.copy =
                facts::table(mirror, resource).into_iter().map(|(_, key, facts)| (key, facts)).collect();
        }
        let rows: BTreeMap<RowId, ObjectKey> =
            facts::table(mirror, resource).into_iter().map(|(row, key, _)| (row, key)).collect();
        let distinct: BTreeSet<&RowId> = changes.changed.iter().collect();
        assert_eq!(distinct.len(), changes.changed.len(), "a row is there once");
        for row in &changes.changed {
            self.copy.insert(rows[row].clone(), facts::shown(mirror, resource, *row).unwrap());
        }
        for key in &changes.deleted {
            assert_eq!(facts::get(mirror, resource, key), None);
            self.copy.remove(key);
        }
        self.cursor = changes.next;
        let expected: BTreeMap<_, _> =
            self.objects.iter().map(|(key, (_, facts))| (key.clone(), facts.clone())).collect();
        assert_eq!(self.copy, expected, "{resource}");
    }

    fn check(&self, mirror: &Mirror, resource: ResourceKind) {
        let table = facts::table(mirror, resource);
        let found: BTreeMap<ObjectKey, Facts> =
            table.iter().map(|(_, key, facts)| (key.clone(), facts.clone())).collect();
        assert_eq!(found.len(), table.len());
        let expected: BTreeMap<_, _> =
            self.objects.iter().map(|(key, (_, facts))| (key.clone(), facts.clone())).collect();
        assert_eq!(found, expected, "{resource}");
        assert_eq!(mirror.synced(resource), self.committed);
        for (row, key, _) in &table {
            assert_eq!(facts::get(mirror, resource, key), Some(*row));
        }
        for (row, key) in &self.rows {
            let current = facts::get(mirror, resource, key) == Some(*row);
            assert_eq!(facts::shown(mirror, resource, *row).is_some(), current, "{resource} {key}");
        }
        let memory = mirror.memory()[resource.index()];
        assert_eq!((memory.resource, memory.rows), (resource, table.len()));
    }
}

/// Deletes everything by an empty relist: nothing may be left that a row referred to.
fn check_that_nothing_stays(mirror: &mut Mirror) {
    for resource in ResourceKind::MIRRORED {
        mirror.begin_generation(resource);
        mirror.commit_generation(resource);
        let memory = mirror.memory()[resource.index()];
        assert_eq!((memory.rows, memory.texts), (0, 0), "{resource}");
    }
    check_indexes(mirror);
}

/// The object with another resourceVersion and more managed fields.
fn touched(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    Writer::new(&mut message).message(1, |meta| {
        meta.string(6, "another");
        meta.message(17, |entry| entry.string(1, "kubectl"));
    });
    message
}

/// The object with a field set that has a column of its own, where its kind has such a field.
fn amended(resource: ResourceKind, message: &[u8], on: bool) -> Vec<u8> {
    let mut message = message.to_vec();
    let word = if on { "Running" } else { "Pending" };
    let mut writer = Writer::new(&mut message);
    match resource {
        ResourceKind::Pod => writer.message(3, |status| status.string(1, word)),
        ResourceKind::Node => writer.message(2, |spec| spec.boolean(4, on)),
        ResourceKind::Service | ResourceKind::Ingress => writer.message(2, |spec| spec.string(4, word)),
        ResourceKind::EndpointSlice => writer.string(4, word),
        _ => {}
    }
    message
}

fn sorted(rows: impl Iterator<Item = RowId>) -> Vec<RowId> {
    let mut rows: Vec<RowId> = rows.collect();
    rows.sort_unstable();
    rows
}

/// The indexes against a look at every row.
fn check_indexes(mirror: &Mirror) {
    for node in NODES {
        let on_node = |name: &str| !node.is_empty() && name == node;
        let pods = mirror.pods().iter().filter(|(_, pod)| on_node(pod.node_name()));
        assert_eq!(sorted(mirror.pods().on_node(node)), sorted(pods.map(|(row, _)| row)));
        let endpoints = mirror.endpoints().iter().filter(|(_, endpoints)| {
            endpoints.subsets().flat_map(|subset| subset.addresses()).any(|a| on_node(a.node_name))
        });
        assert_eq!(sorted(mirror.endpoints().on_node(node)), sorted(endpoints.map(|(row, _)| row)));
        let slices = mirror
            .endpoint_slices()
            .iter()
            .filter(|(_, slice)| slice.endpoints().any(|endpoint| endpoint.node_name.is_some_and(on_node)));
        assert_eq!(sorted(mirror.endpoint_slices().on_node(node)), sorted(slices.map(|(row, _)| row)));
    }
    for namespace in NAMESPACES {
        let pods = mirror.pods().iter().filter(|(_, pod)| pod.namespace() == namespace);
        assert_eq!(sorted(mirror.pods().in_namespace(namespace)), sorted(pods.map(|(row, _)| row)));
        for name in NAMES {
            check_indexes_of(mirror, namespace, name);
        }
        for service in ["", "a", "TCP", "http"] {
            let slices = mirror.endpoint_slices().iter().filter(|(_, slice)| {
                !service.is_empty() && slice.namespace() == namespace && slice.service_name() == service
            });
            let found = mirror.endpoint_slices().of_service(namespace, service);
            assert_eq!(sorted(found), sorted(slices.map(|(row, _)| row)));
        }
    }
}

fn check_indexes_of(mirror: &Mirror, namespace: &str, name: &str) {
    let is_target = |target: outrigger_mirror::TargetView<'_>| {
        target.kind == "Pod" && target.namespace == namespace && target.name == name
    };
    let endpoints = mirror.endpoints().iter().filter(|(_, endpoints)| {
        endpoints.subsets().flat_map(|subset| subset.addresses()).any(|address| is_target(address.target))
    });
    let found = mirror.endpoints().targeting_pod(namespace, name);
    assert_eq!(sorted(found), sorted(endpoints.map(|(row, _)| row)));
    let slices = mirror
        .endpoint_slices()
        .iter()
        .filter(|(_, slice)| slice.endpoints().any(|endpoint| is_target(endpoint.target)));
    let found = mirror.endpoint_slices().targeting_pod(namespace, name);
    assert_eq!(sorted(found), sorted(slices.map(|(row, _)| row)));
    for kind in ["ReplicaSet", "Job"] {
        let pods = mirror.pods().iter().filter(|(_, pod)| {
            pod.namespace() == namespace
                && pod.controller().is_some_and(|owner| owner.kind == kind && owner.name == name)
        });
        let found = mirror.pods().controlled_by(namespace, kind, name);
        assert_eq!(sorted(found), sorted(pods.map(|(row, _)| row)));
    }
}

proptest! {
    #[test]
    fn every_sequence_of_events_ends_as_in_a_map_of_objects(
        steps in prop::collection::vec((0usize..10, step()), 0..120),
        log_capacity in prop::sample::select(vec![1usize, 4, 1000]),
    ) {
        let mut mirror = Mirror::with_log_capacity(log_capacity);
        let mut models: Vec<Model> = ResourceKind::MIRRORED.iter().map(|_| Model::default()).collect();
        for (kind, step) in &steps {
            let resource = ResourceKind::MIRRORED[*kind];
            models[*kind].run(&mut mirror, resource, step, log_capacity);
        }
        for (resource, model) in ResourceKind::MIRRORED.into_iter().zip(&mut models) {
            model.check(&mirror, resource);
            model.poll(&mirror, resource, log_capacity);
        }
        check_indexes(&mirror);
        check_that_nothing_stays(&mut mirror);
    }

    /// As above, on one table, so that rows meet each other more often.
    #[test]
    fn rows_of_one_table_do_not_disturb_each_other(
        kind in 0usize..10, steps in prop::collection::vec(step(), 0..150),
    ) {
        let resource = ResourceKind::MIRRORED[kind];
        let mut mirror = Mirror::with_log_capacity(20);
        let mut model = Model::default();
        for step in &steps {
            model.run(&mut mirror, resource, step, 20);
            model.check(&mirror, resource);
        }
        check_indexes(&mirror);
        check_that_nothing_stays(&mut mirror);
    }

    #[test]
    fn garbage_is_refused_and_changes_nothing(
        kind in 0usize..10, object in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let resource = ResourceKind::MIRRORED[kind];
        let mut mirror = Mirror::new();
        for change in [Change::Upsert, Change::Delete] {
            if mirror.apply(resource, change, &object).is_err() {
                prop_assert_eq!(mirror.version(), 0);
            }
        }
    }
}

#[test]
fn objects_without_a_name_or_namespace_are_refused() {
    let mut mirror = Mirror::new();
    let empty = random(ResourceKind::Pod, "default", "", &mut Entropy::new(Vec::new()));
    let error = mirror.apply(ResourceKind::Pod, Change::Upsert, &empty).unwrap_err();
    assert_eq!(error.to_string(), "object of pods has no usable metadata.name");
    let homeless = random(ResourceKind::Pod, "", "web-0", &mut Entropy::new(Vec::new()));
    let error = mirror.apply(ResourceKind::Pod, Change::Upsert, &homeless).unwrap_err();
    assert_eq!(error.to_string(), "object \"web-0\" of pods has no usable metadata.namespace");
    assert!(mirror.pods().is_empty());
}

#[test]
fn text_that_is_not_utf8_is_shown_with_replacement_characters() {
    let mut pod = Vec::new();
    let mut writer = Writer::new(&mut pod);
    writer.message(1, |meta| {
        meta.string(1, "web-0");
        meta.string(3, "default");
        for map in [11, 12] {
            meta.message(map, |entry| {
                entry.bytes(1, b"key-\xff");
                entry.bytes(2, b"\xffvalue");
            });
        }
    });
    writer.message(2, |spec| {
        spec.bytes(10, b"node-\xff");
        spec.message(2, |container| container.bytes(1, b"\xfe"));
    });
    let mut mirror = Mirror::new();
    for _ in 0..2 {
        mirror.apply(ResourceKind::Pod, Change::Upsert, &pod).unwrap();
        assert_eq!(mirror.version(), 1);
    }
    let view = mirror.pods().find("default", "web-0").unwrap();
    assert_eq!(view.label("key-\u{fffd}"), Some("\u{fffd}value"));
    assert_eq!(view.annotation("key-\u{fffd}"), Some("\u{fffd}value"));
    assert_eq!(view.node_name(), "node-\u{fffd}");
    assert_eq!(view.containers().next().unwrap().name, "\u{fffd}");
    assert_eq!(mirror.pods().on_node("node-\u{fffd}").count(), 1);
}

#[test]
fn an_interrupted_relist_loses_nothing() {
    let resource = ResourceKind::Pod;
    let pod = |name: &str| random(resource, "default", name, &mut Entropy::new(Vec::new()));
    let mut mirror = Mirror::new();
    mirror.begin_generation(resource);
    for name in ["a", "b", "c"] {
        mirror.apply(resource, Change::Upsert, &pod(name)).unwrap();
    }
    mirror.commit_generation(resource);
    let cursor = mirror.changes_since(resource, 0).next;

    // A relist that saw only one pod and was cut off, then a whole one that saw the other two.
    mirror.begin_generation(resource);
    mirror.apply(resource, Change::Upsert, &pod("a")).unwrap();
    assert_eq!(mirror.pods().len(), 3);
    mirror.begin_generation(resource);
    mirror.apply(resource, Change::Upsert, &pod("b")).unwrap();
    mirror.apply(resource, Change::Upsert, &pod("c")).unwrap();
    assert_eq!(mirror.pods().len(), 3);
    mirror.commit_generation(resource);

    let changes = mirror.changes_since(resource, cursor);
    assert_eq!(changes.deleted, [ObjectKey::new("default", "a")]);
    assert!(changes.changed.is_empty() && !changes.reset);
}

#[test]
fn a_cursor_from_elsewhere_is_a_reset() {
    let mirror = Mirror::new();
    assert!(mirror.changes_since(ResourceKind::Pod, 7).reset);
    assert!(!mirror.changes_since(ResourceKind::Pod, 0).reset);
}
