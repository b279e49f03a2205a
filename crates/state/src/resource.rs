//! The resources and their families.

use crate::family::{FamilyInfo, FamilyKind, Stability};
use crate::image::Generator;
use crate::labels::label_pairs;
use crate::object::meta::ObjectMeta;
use crate::object::{Encoding, KubernetesObject, Message, ObjectError};
use crate::samples::Samples;
use crate::selection::Selection;

mod configmap;

/// A kind of objects: how they are read and what is said of them.
pub(crate) trait Kind: Send + Sync + 'static {
    /// An object as it is read.
    type Object<'a>: KubernetesObject<'a>;

    /// The resource's families, in the order of their lines.
    const FAMILIES: &'static [Family<Self>];

    /// The labels that all samples of the object begin with.
    fn identity(object: &Self::Object<'_>, samples: &mut Samples);
}

/// Says a family's samples of an object.
type Generate<K> = for<'o, 'a> fn(&'o <K as Kind>::Object<'a>, &mut Samples);

/// A family of a kind.
pub(crate) struct Family<K: Kind + ?Sized> {
    name: &'static str,
    help: &'static str,
    kind: FamilyKind,
    stability: Stability,
    /// The version that deprecated it.
    deprecated: Option<&'static str>,
    opt_in: bool,
    generate: Generate<K>,
}

impl<K: Kind + ?Sized> Family<K> {
    /// A gauge that may change with any version.
    pub(crate) const fn alpha(name: &'static str, help: &'static str, generate: Generate<K>) -> Self {
        let (kind, stability) = (FamilyKind::Gauge, Stability::Alpha);
        Self { name, help, kind, stability, deprecated: None, opt_in: false, generate }
    }

    /// A gauge that is to be relied on.
    pub(crate) const fn stable(name: &'static str, help: &'static str, generate: Generate<K>) -> Self {
        let (kind, stability) = (FamilyKind::Gauge, Stability::Stable);
        Self { name, help, kind, stability, deprecated: None, opt_in: false, generate }
    }

    /// A counter in place of a gauge.
    pub(crate) const fn counter(mut self) -> Self {
        self.kind = FamilyKind::Counter;
        self
    }

    /// Only on request.
    pub(crate) const fn opt_in(mut self) -> Self {
        self.opt_in = true;
        self
    }

    /// Deprecated since a version.
    pub(crate) const fn deprecated(mut self, since: &'static str) -> Self {
        self.deprecated = Some(since);
        self
    }

    fn info(&self) -> FamilyInfo {
        let mut help = String::new();
        if self.stability == Stability::Stable {
            help.push_str("[STABLE] ");
        }
        if let Some(since) = self.deprecated {
            help.push_str("(Deprecated since ");
            help.push_str(since);
            help.push_str(") ");
        }
        help.push_str(self.help);
        FamilyInfo { name: self.name.to_owned(), help, kind: self.kind }
    }
}

/// A resource that state metrics are given of.
pub struct Resource {
    /// Its name in `--resources`, the plural of its kind.
    pub name: &'static str,
    /// Whether it is among the default ones.
    pub default_on: bool,
    /// Only metadata is read of its objects.
    pub metadata_only: bool,
    /// The type as kube-state-metrics' own metrics name it: `*v1.Pod`.
    pub go_type: &'static str,
    build: fn(&str, &Selection) -> Box<dyn Generator>,
}

impl Resource {
    const fn of<K: Kind>(name: &'static str, go_type: &'static str) -> Self {
        Self { name, default_on: true, metadata_only: false, go_type, build: NativeGenerator::<K>::build }
    }

    /// Only served when it is named.
    const fn opt_in(mut self) -> Self {
        self.default_on = false;
        self
    }

    /// Only metadata is read.
    const fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    /// The generator of the families that are wanted.
    pub fn generator(&self, selection: &Selection) -> Box<dyn Generator> {
        (self.build)(self.name, selection)
    }

    /// The resource of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|resource| resource.name == name)
    }
}

/// All resources, sorted by name.
pub const ALL: &[Resource] =
    &[Resource::of::<configmap::ConfigMaps>("configmaps", "*v1.ConfigMap").metadata_only()];

/// The wanted families of a kind.
struct NativeGenerator<K: Kind> {
    infos: Vec<FamilyInfo>,
    generate: Vec<Generate<K>>,
    empty: fn(&Self) -> Samples,
    selection: Selection,
    resource: String,
}

impl<K: Kind> NativeGenerator<K> {
    fn build(resource: &str, selection: &Selection) -> Box<dyn Generator> {
        let families = K::FAMILIES.iter().filter(|family| selection.wants_family(family.name, family.opt_in));
        let (infos, generate) = families.map(|family| (family.info(), family.generate)).unzip();
        Box::new(Self {
            infos,
            generate,
            empty: |generator| {
                let labels = generator.selection.labels(&generator.resource).clone();
                Samples::new(labels, generator.selection.annotations(&generator.resource).clone())
            },
            selection: selection.clone(),
            resource: resource.to_owned(),
        })
    }

    fn say(&self, object: &K::Object<'_>, samples: &mut Samples) -> Result<(), ObjectError> {
        name_object(object.metadata(), samples)?;
        K::identity(object, samples);
        for (place, generate) in self.generate.iter().enumerate() {
            samples.begin_family(place as u16);
            generate(object, samples);
        }
        object.check()
    }
}

fn name_object(metadata: &ObjectMeta<'_>, samples: &mut Samples) -> Result<(), ObjectError> {
    samples.set_object(metadata.namespace, metadata.name, metadata.uid);
    Ok(())
}

impl<K: Kind> Generator for NativeGenerator<K> {
    fn families(&self) -> &[FamilyInfo] {
        &self.infos
    }

    fn samples(&self) -> Samples {
        (self.empty)(self)
    }

    fn generate(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError> {
        read::<K>(encoding, object, |object| self.say(object, samples))
    }

    fn identify(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError> {
        read::<K>(encoding, object, |object| name_object(object.metadata(), samples))
    }
}

/// Reads an object in either encoding.
fn read<K: Kind>(
    encoding: Encoding,
    object: &[u8],
    take: impl FnOnce(&K::Object<'_>) -> Result<(), ObjectError>,
) -> Result<(), ObjectError> {
    match encoding {
        Encoding::Protobuf => take(&<K::Object<'_>>::from_protobuf(object)?),
        Encoding::Json => {
            let value: serde_json::Value =
                serde_json::from_slice(object).map_err(|error| ObjectError::NotJson(error.to_string()))?;
            take(&<K::Object<'_>>::from_json(&value)?)
        }
    }
}

/// `kube_<kind>_labels`: the allowed labels of an object; a sample without them once any are allowed.
pub(crate) fn labels(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if samples.label_filter().is_empty() {
        return;
    }
    let filter = samples.label_filter();
    let allowed = metadata.labels.iter().filter(|(key, _)| filter.allows(key));
    let pairs = label_pairs("label", allowed.map(|(key, value)| (key, *value)).collect());
    samples.add_pairs(&[], &[], &pairs, 1.0);
}

/// `kube_<kind>_annotations`: as [`labels`].
pub(crate) fn annotations(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if samples.annotation_filter().is_empty() {
        return;
    }
    let filter = samples.annotation_filter();
    let allowed = metadata.annotations.iter().filter(|(key, _)| filter.allows(key));
    let pairs = label_pairs("annotation", allowed.map(|(key, value)| (key, *value)).collect());
    samples.add_pairs(&[], &[], &pairs, 1.0);
}

/// `kube_<kind>_created`.
pub(crate) fn created(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if let Some(seconds) = metadata.creation_timestamp.unix() {
        samples.add(&[], &[], seconds as f64);
    }
}

/// `kube_<kind>_metadata_resource_version`, where it is a number.
pub(crate) fn resource_version(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if let Ok(version) = metadata.resource_version.parse::<f64>() {
        samples.add(&[], &[], version);
    }
}
