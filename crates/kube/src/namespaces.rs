//! One resource watched namespace by namespace, shown to the sink as one.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_wire::kubernetes::{ResourceKind, object_meta};
use outrigger_wire::protobuf::Writer;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::machine::WatchPhase;
use crate::sink::Sink;
use crate::{ObjectError, ObjectSink, WatchChange, WatchSink};

/// Joins the watches of several namespaces: their first lists together are one generation of the sink; a later list
/// of one namespace becomes deletions of what it no longer has.
pub(crate) struct FanIn {
    sink: Sink,
    /// Namespaces whose first list is still to come.
    unsettled: Mutex<usize>,
}

/// The sink of one namespace.
pub(crate) struct Space {
    fan_in: Arc<FanIn>,
    names: Mutex<Names>,
}

/// Names of objects with their uids.
type Known = HashMap<Box<str>, Box<str>>;

#[derive(Default)]
struct Names {
    namespace: String,
    /// Objects the sink has.
    known: Known,
    /// Objects of the list that is arriving.
    listed: Option<Known>,
    settled: bool,
}

impl FanIn {
    /// Starts the sink's generation and gives one sink for each namespace; the generation is committed when all
    /// of them have settled.
    pub(crate) fn spaces(sink: &Sink, count: usize) -> Vec<Sink> {
        sink.begin_generation();
        // The sinks of the namespaces make objects of rows; from there on they are objects.
        let joined = match sink {
            Sink::Table(kind, sink) => Sink::Protobuf(*kind, sink.clone()),
            other => other.clone(),
        };
        let fan_in = Arc::new(Self { sink: joined, unsettled: Mutex::new(count) });
        let space = || Arc::new(Space { fan_in: fan_in.clone(), names: Mutex::default() });
        let sink = |space: Arc<Space>| match sink {
            Sink::Protobuf(kind, _) => Sink::Protobuf(*kind, space),
            Sink::Table(kind, _) => Sink::Table(*kind, space),
            Sink::Json(resource, _) => Sink::Json(resource.clone(), space),
        };
        (0..count).map(|_| sink(space())).collect()
    }

    fn settle_one(&self) {
        let mut unsettled = self.unsettled.lock();
        *unsettled = unsettled.saturating_sub(1);
        if *unsettled == 0 {
            self.sink.commit_generation();
        }
    }
}

impl Space {
    /// The namespace has brought what it has for now: the others need not wait for it.
    fn settle(&self) {
        let first = !std::mem::replace(&mut self.names.lock().settled, true);
        if first {
            self.fan_in.settle_one();
        }
    }

    fn begin(&self) {
        self.names.lock().listed = Some(HashMap::new());
    }

    fn take_over(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let sink = &self.fan_in.sink;
        let Some(identity) = sink.identity(object) else { return sink.apply(change, object) };
        let names = &mut *self.names.lock();
        let (name, uid) = (&*identity.name, &*identity.uid);
        if let Some(old) = names.known.get(name).filter(|old| ***old != *uid && change == WatchChange::Upsert)
        {
            // Deleted and created anew while nobody watched.
            let old =
                Identity { namespace: identity.namespace.clone(), name: name.into(), uid: (&**old).into() };
            sink.apply(WatchChange::Delete, &sink.named(&old))?;
        }
        sink.apply(change, object)?;
        if names.namespace.is_empty() {
            names.namespace = identity.namespace.to_string();
        }
        for known in [Some(&mut names.known), names.listed.as_mut()].into_iter().flatten() {
            match (change, known.get(name)) {
                (WatchChange::Upsert, Some(same)) if **same == *uid => {}
                (WatchChange::Upsert, _) => drop(known.insert(name.into(), uid.into())),
                (WatchChange::Delete, _) => drop(known.remove(name)),
            }
        }
        Ok(())
    }

    fn commit(&self) {
        let (namespace, gone) = {
            let names = &mut *self.names.lock();
            let Some(listed) = names.listed.take() else { return };
            let mut known = std::mem::replace(&mut names.known, listed);
            known.retain(|name, _| !names.known.contains_key(name));
            (names.namespace.clone(), known)
        };
        for (name, uid) in gone {
            let identity =
                Identity { namespace: (&namespace).into(), name: (&*name).into(), uid: (&*uid).into() };
            // The sink has taken this object over, so it knows its name.
            if let Err(error) =
                self.fan_in.sink.apply(WatchChange::Delete, &self.fan_in.sink.named(&identity))
            {
                let resource = self.fan_in.sink.resource();
                tracing::warn!(%resource, namespace, %name, %error, "cannot delete an object that is gone");
            }
        }
        self.settle();
    }
}

impl WatchSink for Space {
    fn begin_generation(&self, _: ResourceKind) {
        self.begin();
    }

    fn apply(&self, _: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        self.take_over(change, object)
    }

    fn commit_generation(&self, _: ResourceKind) {
        self.commit();
    }

    fn unavailable(&self, _: ResourceKind, phase: WatchPhase) {
        self.fan_in.sink.unavailable(phase);
        self.settle();
    }
}

impl ObjectSink for Space {
    fn begin_generation(&self) {
        self.begin();
    }

    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        self.take_over(change, object)
    }

    fn commit_generation(&self) {
        self.commit();
    }

    fn unavailable(&self, phase: WatchPhase) {
        self.fan_in.sink.unavailable(phase);
        self.settle();
    }
}

/// What tells one object from another.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Identity<'a> {
    #[serde(borrow)]
    namespace: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    uid: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    metadata: Identity<'a>,
}

impl Sink {
    /// The identity of an object, as far as it can be read.
    fn identity<'a>(&self, object: &'a [u8]) -> Option<Identity<'a>> {
        match self {
            Self::Protobuf(..) | Self::Table(..) => {
                let meta = object_meta(object).ok()?;
                Some(Identity {
                    namespace: meta.namespace.into(),
                    name: meta.name.into(),
                    uid: meta.uid.into(),
                })
            }
            Self::Json(..) => Some(serde_json::from_slice::<Named<'_>>(object).ok()?.metadata),
        }
    }

    /// An object with nothing but its identity.
    fn named(&self, identity: &Identity<'_>) -> Vec<u8> {
        let (namespace, name, uid) = (&*identity.namespace, &*identity.name, &*identity.uid);
        match self {
            Self::Protobuf(..) | Self::Table(..) => {
                // `metadata { name = 1, namespace = 3, uid = 5 }`.
                let mut object = Vec::new();
                Writer::new(&mut object).message(1, |meta| {
                    meta.string(1, name);
                    meta.string(3, namespace);
                    meta.string(5, uid);
                });
                object
            }
            Self::Json(..) => {
                let metadata = serde_json::json!({ "namespace": namespace, "name": name, "uid": uid });
                serde_json::json!({ "metadata": metadata }).to_string().into_bytes()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::kubernetes::CustomResource;

    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Log {
        fn apply(&self, change: WatchChange, identity: &Identity<'_>) {
            let sign = if change == WatchChange::Upsert { '+' } else { '-' };
            self.0.lock().push(format!("{sign}{}/{}:{}", identity.namespace, identity.name, identity.uid));
        }
    }

    impl WatchSink for Log {
        fn begin_generation(&self, _: ResourceKind) {
            self.0.lock().push("begin".to_owned());
        }

        fn apply(&self, _: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
            let meta = object_meta(object).map_err(|error| error.to_string())?;
            let (namespace, name, uid) = (meta.namespace.into(), meta.name.into(), meta.uid.into());
            self.apply(change, &Identity { namespace, name, uid });
            Ok(())
        }

        fn commit_generation(&self, _: ResourceKind) {
            self.0.lock().push("commit".to_owned());
        }
    }

    impl ObjectSink for Log {
        fn begin_generation(&self) {
            self.0.lock().push("begin".to_owned());
        }

        fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
            let named: Named<'_> = serde_json::from_slice(object).map_err(|error| error.to_string())?;
            self.apply(change, &named.metadata);
            Ok(())
        }

        fn commit_generation(&self) {
            self.0.lock().push("commit".to_owned());
        }
    }

    /// What a sink is told while three namespaces are listed and change.
    fn story(sink: &Sink) {
        let spaces = FanIn::spaces(sink, 3);
        let object = |space: usize, name: &str| {
            let (name, uid) = name.split_once(':').unwrap_or((name, "1"));
            let namespace = format!("n{space}");
            sink.named(&Identity { namespace: (&namespace).into(), name: name.into(), uid: uid.into() })
        };
        let list = |space: usize, names: &[&str]| {
            spaces[space].begin_generation();
            for name in names {
                spaces[space].apply(WatchChange::Upsert, &object(space, name)).unwrap();
            }
            spaces[space].commit_generation();
        };
        list(0, &["a", "b"]);
        spaces[2].unavailable(WatchPhase::Forbidden);
        spaces[2].unavailable(WatchPhase::Forbidden);
        list(1, &["a"]);
        spaces[0].apply(WatchChange::Delete, &object(0, "a")).unwrap();
        spaces[0].apply(WatchChange::Upsert, &object(0, "c")).unwrap();
        list(0, &["b:2", "d"]);
        list(2, &["z"]);
    }

    #[test]
    fn first_lists_are_one_generation_and_later_lists_become_deletions() {
        const CUSTOM: CustomResource = CustomResource::namespaced("example.com", "v1", "things", "Thing");
        for json in [false, true] {
            let log = Arc::new(Log::default());
            story(&match json {
                false => Sink::Protobuf(ResourceKind::Pod, log.clone()),
                true => Sink::Json(CUSTOM, log.clone()),
            });
            let told = log.0.lock().join(" ");
            let (start, deletions) = told.split_once(" -n0/a:1 ").expect("a deletion");
            assert_eq!(start, "begin +n0/a:1 +n0/b:1 +n1/a:1 commit");
            // An object that was created anew under the same name is gone with its old uid first.
            assert_eq!(deletions, "+n0/c:1 -n0/b:1 +n0/b:2 +n0/d:1 -n0/c:1 +n2/z:1");
        }
    }
}
