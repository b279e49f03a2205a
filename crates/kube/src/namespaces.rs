//! One resource watched namespace by namespace, shown to the sink as one.

use std::collections::HashSet;
use std::sync::Arc;

use outrigger_wire::kubernetes::{ResourceKind, object_meta};
use outrigger_wire::protobuf::Writer;
use parking_lot::Mutex;

use crate::{ObjectError, WatchChange, WatchSink};

/// Joins the watches of several namespaces: their first lists together are one generation of the sink; a later list
/// of one namespace becomes deletions of what it no longer has.
pub(crate) struct FanIn {
    resource: ResourceKind,
    sink: Arc<dyn WatchSink>,
    /// Namespaces whose first list is still to come.
    unsettled: Mutex<usize>,
}

/// The sink of one namespace.
pub(crate) struct Space {
    fan_in: Arc<FanIn>,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    namespace: String,
    /// Objects the sink has.
    known: HashSet<Box<str>>,
    /// Objects of the list that is arriving.
    listed: Option<HashSet<Box<str>>>,
    settled: bool,
}

impl FanIn {
    /// Starts the sink's generation and gives one sink for each namespace; the generation is committed when all
    /// of them have settled.
    pub(crate) fn spaces(resource: ResourceKind, count: usize, sink: Arc<dyn WatchSink>) -> Vec<Arc<Space>> {
        sink.begin_generation(resource);
        let fan_in = Arc::new(Self { resource, sink, unsettled: Mutex::new(count) });
        (0..count).map(|_| Arc::new(Space { fan_in: fan_in.clone(), names: Mutex::default() })).collect()
    }

    fn settle_one(&self) {
        let mut unsettled = self.unsettled.lock();
        *unsettled = unsettled.saturating_sub(1);
        if *unsettled == 0 {
            self.sink.commit_generation(self.resource);
        }
    }
}

impl Space {
    /// The namespace brings nothing for now (it is forbidden): the others need not wait for it.
    pub(crate) fn settle(&self) {
        let first = !std::mem::replace(&mut self.names.lock().settled, true);
        if first {
            self.fan_in.settle_one();
        }
    }
}

impl WatchSink for Space {
    fn begin_generation(&self, _: ResourceKind) {
        self.names.lock().listed = Some(HashSet::new());
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        self.fan_in.sink.apply(resource, change, object)?;
        let Ok(meta) = object_meta(object) else { return Ok(()) };
        let names = &mut *self.names.lock();
        if names.namespace.is_empty() {
            meta.namespace.clone_into(&mut names.namespace);
        }
        for set in [Some(&mut names.known), names.listed.as_mut()].into_iter().flatten() {
            match change {
                WatchChange::Upsert if !set.contains(meta.name) => drop(set.insert(meta.name.into())),
                WatchChange::Upsert => {}
                WatchChange::Delete => drop(set.remove(meta.name)),
            }
        }
        Ok(())
    }

    fn commit_generation(&self, resource: ResourceKind) {
        let gone: Vec<(String, Box<str>)> = {
            let names = &mut *self.names.lock();
            let Some(listed) = names.listed.take() else { return };
            let known = std::mem::replace(&mut names.known, listed);
            let gone = known.into_iter().filter(|name| !names.known.contains(name));
            gone.map(|name| (names.namespace.clone(), name)).collect()
        };
        for (namespace, name) in gone {
            let object = identity(&namespace, &name);
            // The sink has taken this object over, so it knows its name.
            if let Err(error) = self.fan_in.sink.apply(resource, WatchChange::Delete, &object) {
                tracing::warn!(%resource, namespace, %name, %error, "cannot delete an object that is gone");
            }
        }
        self.settle();
    }
}

/// An object with nothing but its name: `metadata { name = 1, namespace = 3 }`.
fn identity(namespace: &str, name: &str) -> Vec<u8> {
    let mut object = Vec::new();
    Writer::new(&mut object).message(1, |meta| {
        meta.string(1, name);
        meta.string(3, namespace);
    });
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl WatchSink for Log {
        fn begin_generation(&self, _: ResourceKind) {
            self.0.lock().push("begin".to_owned());
        }

        fn apply(&self, _: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
            let meta = object_meta(object).map_err(|error| error.to_string())?;
            let sign = if change == WatchChange::Upsert { '+' } else { '-' };
            self.0.lock().push(format!("{sign}{}/{}", meta.namespace, meta.name));
            Ok(())
        }

        fn commit_generation(&self, _: ResourceKind) {
            self.0.lock().push("commit".to_owned());
        }
    }

    #[test]
    fn first_lists_are_one_generation_and_later_lists_become_deletions() {
        const POD: ResourceKind = ResourceKind::Pod;
        let log = Arc::new(Log::default());
        let spaces = FanIn::spaces(POD, 3, log.clone());
        let list = |space: usize, names: &[&str]| {
            spaces[space].begin_generation(POD);
            for name in names {
                spaces[space].apply(POD, WatchChange::Upsert, &identity(&format!("n{space}"), name)).unwrap();
            }
            spaces[space].commit_generation(POD);
        };
        list(0, &["a", "b"]);
        spaces[2].settle();
        spaces[2].settle();
        list(1, &["a"]);
        spaces[0].apply(POD, WatchChange::Delete, &identity("n0", "a")).unwrap();
        spaces[0].apply(POD, WatchChange::Upsert, &identity("n0", "c")).unwrap();
        list(0, &["b", "d"]);
        list(2, &["z"]);
        let expected = "begin +n0/a +n0/b +n1/a commit -n0/a +n0/c +n0/b +n0/d -n0/c +n2/z";
        assert_eq!(log.0.lock().join(" "), expected);
    }
}
