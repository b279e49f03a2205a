//! Names that this worker has resolved, for workers that take its targets over while their name server is away, and
//! what they have resolved for this one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_rt::resolver::Resolver;
use outrigger_wire::centre::{Names, ResolvedName};

/// Most names in one message.
const MAX_NAMES: usize = 2_000;

/// What one master knows of the names.
#[derive(Debug, Default)]
pub(crate) struct NameTeller {
    /// Addresses of each name in order: a server that turns them round has no news.
    told: HashMap<Arc<str>, Vec<IpAddr>>,
    /// [`Resolver::changes`] when everything was told.
    seen: Option<u64>,
}

impl NameTeller {
    /// It knows nothing.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The next message, if there is news.
    pub(crate) fn next(&mut self, resolver: &Resolver) -> Option<Names> {
        let changes = resolver.changes();
        if self.seen == Some(changes) {
            return None;
        }
        let mut names = Vec::new();
        let remembered = resolver.remembered();
        if self.told.len() > remembered.len() {
            let known: std::collections::HashSet<_> = remembered.iter().map(|(name, _)| name).collect();
            self.told.retain(|name, _| known.contains(name));
        }
        for (name, addresses) in remembered {
            let mut sorted = addresses.to_vec();
            sorted.sort_unstable();
            if self.told.get(&name) == Some(&sorted) {
                continue;
            }
            if names.len() == MAX_NAMES {
                return Some(Names { names });
            }
            let addresses = addresses.iter().map(IpAddr::to_string).collect();
            names.push(ResolvedName { host: name.to_string(), addresses });
            self.told.insert(name, sorted);
        }
        self.seen = Some(changes);
        (!names.is_empty()).then_some(Names { names })
    }
}

/// Has a resolver know what other workers have resolved, where it has no answer of its own.
pub(crate) fn recall(resolver: &Resolver, names: Vec<ResolvedName>) {
    let names = names.into_iter().map(|ResolvedName { host, addresses }| {
        let addresses = addresses.iter().filter_map(|address| address.parse().ok());
        (Arc::from(host), addresses.collect::<Arc<[IpAddr]>>())
    });
    resolver.recall(names);
}

#[cfg(test)]
mod tests {
    use outrigger_rt::resolver::ResolverOptions;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn every_name_is_told_once_and_again_to_one_that_knows_nothing() {
        let resolver = Resolver::new(ResolverOptions::default());
        let mut teller = NameTeller::default();
        assert_eq!(teller.next(&resolver), None);
        let names = (0..MAX_NAMES + 5).map(|number| {
            (Arc::from(format!("n{number}")), Arc::from([address("10.0.0.1"), address("::1")]))
        });
        resolver.recall(names);
        let counts: Vec<_> =
            std::iter::from_fn(|| teller.next(&resolver)).map(|told| told.names.len()).collect();
        assert_eq!(counts, [MAX_NAMES, 5]);
        resolver.recall([(Arc::from("another"), Arc::from([address("10.0.0.2")]))]);
        let told = teller.next(&resolver).expect("news");
        let another = ResolvedName { host: "another".to_owned(), addresses: vec!["10.0.0.2".to_owned()] };
        assert_eq!(told.names, [another]);
        teller.forget();
        assert_eq!(teller.next(&resolver).expect("everything").names.len(), MAX_NAMES);
    }

    #[tokio::test]
    async fn what_others_have_resolved_stands_in_for_an_answer() {
        let resolver = Resolver::new(ResolverOptions::default());
        let name = |host: &str, address: &str| ResolvedName {
            host: host.to_owned(),
            addresses: vec![address.to_owned(), "nonsense".to_owned()],
        };
        recall(&resolver, vec![name("a", "10.0.0.1"), name("b", "nonsense")]);
        recall(&resolver, vec![name("a", "10.0.0.9")]);
        let remembered = resolver.remembered();
        assert_eq!(remembered, [(Arc::from("a"), Arc::from([address("10.0.0.1")]))]);
    }
}
