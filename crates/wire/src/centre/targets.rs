//! Targets in messages: each text once, labels as numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::labels::{Labels, LabelsBuilder};
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetId};

use super::{Assign, Inheritance, ResolvedName, Target};

/// Puts targets into an [`Assign`].
#[derive(Debug, Default)]
pub struct AssignBuilder {
    message: Assign,
    places: HashMap<Arc<str>, u32>,
}

/// A target out of an [`Assign`].
#[derive(Debug, Clone, PartialEq)]
pub struct AssignedTarget {
    /// The target.
    pub target: Arc<ScrapeTarget>,
    /// What the owner before left.
    pub inheritance: Option<Inheritance>,
}

/// A target that cannot be read; the others of the message can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target {id} of an assignment: {what}")]
pub struct InvalidTarget {
    /// Identity within the job.
    pub id: TargetId,
    /// What is wrong.
    pub what: &'static str,
}

impl AssignBuilder {
    /// Adds a target.
    pub fn push(&mut self, target: &ScrapeTarget, inheritance: Option<Inheritance>) {
        let labels = target.labels.iter().flat_map(|(name, value)| [name, value]);
        let labels = labels.map(|text| self.place(text)).collect();
        let histograms = &target.histograms;
        let message = Target {
            id: target.id.0,
            job: self.place(&target.job),
            url: self.place(&target.url),
            labels,
            interval_millis: millis(target.interval),
            timeout_millis: millis(target.timeout),
            histograms: u32::from(histograms.native)
                | u32::from(histograms.always_classic) << 1
                | u32::from(histograms.convert_classic) << 2,
            inheritance,
        };
        self.message.targets.push(message);
    }

    /// Adds what is known of a host name of the targets.
    pub fn push_name(&mut self, name: ResolvedName) {
        self.message.names.push(name);
    }

    /// Number of targets so far.
    pub fn len(&self) -> usize {
        self.message.targets.len()
    }

    /// Whether there is no target yet.
    pub fn is_empty(&self) -> bool {
        self.message.targets.is_empty()
    }

    /// The message.
    pub fn build(self, revision: u64) -> Assign {
        Assign { revision, ..self.message }
    }

    fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = u32::try_from(self.message.texts.len()).unwrap_or(u32::MAX);
        self.message.texts.push(text.to_owned());
        self.places.insert(Arc::from(text), place);
        place
    }
}

impl Assign {
    /// The targets that can be read, and what is wrong with the others.
    pub fn read(self) -> (Vec<AssignedTarget>, Vec<InvalidTarget>) {
        let Self { texts, targets, .. } = self;
        let mut jobs: HashMap<u32, Arc<str>> = HashMap::new();
        let mut labels = LabelsBuilder::new();
        let mut good = Vec::with_capacity(targets.len());
        let mut bad = Vec::new();
        for target in targets {
            let id = TargetId(target.id);
            match read_target(target, &texts, &mut jobs, &mut labels) {
                Ok(target) => good.push(target),
                Err(what) => bad.push(InvalidTarget { id, what }),
            }
        }
        (good, bad)
    }
}

fn read_target(
    message: Target,
    texts: &[String],
    jobs: &mut HashMap<u32, Arc<str>>,
    labels: &mut LabelsBuilder,
) -> Result<AssignedTarget, &'static str> {
    let text = |place: u32| texts.get(place as usize).map(String::as_str).ok_or("a text that is not there");
    let job = match jobs.get(&message.job) {
        Some(job) => Arc::clone(job),
        None => {
            let job: Arc<str> = Arc::from(text(message.job)?);
            jobs.insert(message.job, Arc::clone(&job));
            job
        }
    };
    if message.interval_millis == 0 || message.timeout_millis == 0 {
        return Err("an interval or timeout of zero");
    }
    labels.reset(&Labels::empty());
    let (pairs, []) = message.labels.as_chunks::<2>() else { return Err("a label without a value") };
    for [name, value] in pairs {
        labels.set(text(*name)?, text(*value)?);
    }
    let target = ScrapeTarget {
        id: TargetId(message.id),
        job,
        url: text(message.url)?.to_owned(),
        labels: labels.build(),
        interval: Duration::from_millis(message.interval_millis),
        timeout: Duration::from_millis(message.timeout_millis),
        histograms: HistogramOptions {
            native: message.histograms & 1 != 0,
            always_classic: message.histograms & 2 != 0,
            convert_classic: message.histograms & 4 != 0,
        },
    };
    Ok(AssignedTarget { target: Arc::new(target), inheritance: message.inheritance })
}

/// At least one: a time below a millisecond counts as one.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn target(id: u64, instance: &str) -> ScrapeTarget {
        ScrapeTarget {
            id: TargetId(id),
            job: "pods".into(),
            url: format!("http://{instance}/metrics"),
            labels: Labels::from_pairs([("instance", instance), ("job", "pods"), ("namespace", "shop")]),
            interval: Duration::from_secs(15),
            timeout: Duration::from_millis(9_500),
            histograms: HistogramOptions { native: true, always_classic: false, convert_classic: true },
        }
    }

    #[test]
    fn targets_survive_the_way() {
        let targets = [target(u64::MAX, "10.0.0.1:80"), target(7, "10.0.0.2:80")];
        let inheritance =
            Inheritance { last_scrape_millis: 5, last_scrape_age_millis: 6, series: vec![1, 2] };
        let mut builder = AssignBuilder::default();
        builder.push(&targets[0], None);
        builder.push(&targets[1], Some(inheritance.clone()));
        let bytes = builder.build(3).encode_to_vec();
        let message = Assign::decode(&*bytes).expect("what was encoded");
        assert_eq!(message.revision, 3);
        assert_eq!(message.texts.iter().filter(|text| *text == "pods").count(), 1);
        let (good, bad) = message.read();
        assert_eq!(bad, []);
        let read: Vec<ScrapeTarget> = good.iter().map(|assigned| (*assigned.target).clone()).collect();
        assert_eq!(read, targets);
        assert_eq!(good[1].inheritance, Some(inheritance));
    }

    #[test]
    fn a_broken_target_does_not_take_the_others_with_it() {
        let mut builder = AssignBuilder::default();
        (0..4).for_each(|id| builder.push(&target(id, "10.0.0.1:80"), None));
        let mut message = builder.build(1);
        message.targets[0].url = 1_000;
        message.targets[1].labels.pop();
        message.targets[2].interval_millis = 0;
        let (good, bad) = message.read();
        assert_eq!(good.len(), 1);
        assert_eq!(bad.iter().map(|bad| bad.id.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
