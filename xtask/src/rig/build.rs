//! Building the rig's programs from their Go modules, at pinned versions, into a cache outside the tree.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

/// A program of the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    /// etcd.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// kubectl, of the same version as the API server.
    Kubectl,
    /// kwok's controller, which plays the kubelets of fake nodes.
    Kwok,
    /// Prometheus 3 with static, file, http and Kubernetes discovery, without its web pages.
    Prometheus,
    /// Prometheus' checker of configurations and rules.
    Promtool,
    /// kube-state-metrics.
    KubeStateMetrics,
    /// VictoriaMetrics' agent, with the C zstd.
    Vmagent,
    /// prometheus-operator, which makes Prometheus' configuration of ServiceMonitors and the like.
    PrometheusOperator,
    /// Helm 3, which checks and renders the chart.
    Helm,
    /// Debian's `prometheus-node-exporter`; not built, looked up.
    NodeExporter,
}

impl Program {
    /// Every program.
    pub const ALL: [Program; 11] = [
        Program::Etcd,
        Program::KubeApiserver,
        Program::Kubectl,
        Program::Kwok,
        Program::Prometheus,
        Program::Promtool,
        Program::KubeStateMetrics,
        Program::Vmagent,
        Program::PrometheusOperator,
        Program::Helm,
        Program::NodeExporter,
    ];

    /// The name on the command line and of the binary.
    pub fn name(self) -> &'static str {
        match self {
            Program::Etcd => "etcd",
            Program::KubeApiserver => "kube-apiserver",
            Program::Kubectl => "kubectl",
            Program::Kwok => "kwok",
            Program::Prometheus => "prometheus",
            Program::Promtool => "promtool",
            Program::KubeStateMetrics => "kube-state-metrics",
            Program::Vmagent => "vmagent",
            Program::PrometheusOperator => "prometheus-operator",
            Program::Helm => "helm",
            Program::NodeExporter => "node-exporter",
        }
    }

    fn source(self) -> Option<Source> {
        let (module, package) = match self {
            Program::Etcd => (&ETCD, ""),
            Program::KubeApiserver => (&KUBERNETES, "/cmd/kube-apiserver"),
            Program::Kubectl => (&KUBERNETES, "/cmd/kubectl"),
            Program::Kwok => (&KWOK, "/cmd/kwok"),
            Program::Prometheus => (&PROMETHEUS, "/cmd/prometheus"),
            Program::Promtool => (&PROMETHEUS, "/cmd/promtool"),
            Program::KubeStateMetrics => (&KUBE_STATE_METRICS, ""),
            Program::Vmagent => (&VICTORIA_METRICS, "/app/vmagent"),
            Program::PrometheusOperator => (&PROMETHEUS_OPERATOR, "/cmd/operator"),
            Program::Helm => (&HELM, "/cmd/helm"),
            Program::NodeExporter => return None,
        };
        // The clouds' libraries are three quarters of Prometheus. promtool keeps them: its verdict on a
        // configuration depends on the discovery kinds that it knows.
        let tags = if self == Program::Prometheus { "remove_all_sd,enable_kubernetes_sd" } else { "" };
        // With cgo vmagent's zstd is the C library, several times faster than the Go one it falls back to.
        Some(Source { module, package, tags, cgo: self == Program::Vmagent })
    }

    /// Whether the program is built from a Go module.
    pub fn is_built(self) -> bool {
        self.source().is_some()
    }
}

/// A Go module with the versions that are known to build, the default first.
struct Module {
    path: &'static str,
    versions: &'static [ModuleVersion],
    /// `-X` settings of the linker; `{v}` is the version, `{major}` and `{minor}` its parts.
    stamps: &'static [&'static str],
}

/// A released version, and what the module proxy calls it.
struct ModuleVersion {
    release: &'static str,
    module: &'static str,
}

struct Source {
    module: &'static Module,
    package: &'static str,
    tags: &'static str,
    cgo: bool,
}

const ETCD: Module = Module {
    path: "go.etcd.io/etcd/server/v3",
    versions: &[ModuleVersion { release: "3.7.3", module: "v3.7.3" }],
    stamps: &[],
};

const KUBERNETES: Module = Module {
    path: "k8s.io/kubernetes",
    versions: &[
        ModuleVersion { release: "1.37.2", module: "v1.37.2" },
        ModuleVersion { release: "1.36.3", module: "v1.36.3" },
        ModuleVersion { release: "1.35.4", module: "v1.35.4" },
        ModuleVersion { release: "1.34.4", module: "v1.34.4" },
    ],
    stamps: &[
        "k8s.io/component-base/version.gitVersion=v{v}",
        "k8s.io/component-base/version.gitMajor={major}",
        "k8s.io/component-base/version.gitMinor={minor}",
        "k8s.io/component-base/version.gitTreeState=clean",
    ],
};

const KWOK: Module = Module {
    path: "sigs.k8s.io/kwok",
    versions: &[ModuleVersion { release: "0.8.0", module: "v0.8.0" }],
    stamps: &["sigs.k8s.io/kwok/pkg/consts.Version=v{v}"],
};

const PROMETHEUS: Module = Module {
    path: "github.com/prometheus/prometheus",
    versions: &[
        ModuleVersion { release: "3.16.0", module: "v0.316.0" },
        ModuleVersion { release: "3.15.1", module: "v0.315.1" },
    ],
    stamps: &["github.com/prometheus/common/version.Version={v}"],
};

const KUBE_STATE_METRICS: Module = Module {
    path: "k8s.io/kube-state-metrics/v2",
    versions: &[ModuleVersion { release: "2.20.0", module: "v2.20.0" }],
    stamps: &["github.com/prometheus/common/version.Version={v}"],
};

const VICTORIA_METRICS: Module = Module {
    path: "github.com/VictoriaMetrics/VictoriaMetrics",
    versions: &[ModuleVersion { release: "1.151.0", module: "v1.151.0" }],
    stamps: &["github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=vmagent-v{v}"],
};

const PROMETHEUS_OPERATOR: Module = Module {
    path: "github.com/prometheus-operator/prometheus-operator",
    versions: &[ModuleVersion { release: "0.85.0", module: "v0.85.0" }],
    stamps: &["github.com/prometheus/common/version.Version={v}"],
};

const HELM: Module = Module {
    path: "helm.sh/helm/v3",
    versions: &[ModuleVersion { release: "3.22.0", module: "v3.22.0" }],
    // Else it takes itself to be for Kubernetes 1.20; the minor is that of its k8s.io/client-go.
    stamps: &[
        "helm.sh/helm/v3/internal/version.version=v{v}",
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
    ],
};

/// A program at a version: what `rig build` takes as `NAME` or `NAME@VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// Which program.
    pub program: Program,
    release: &'static str,
    module_version: &'static str,
}

impl Pin {
    /// The program at its default version, or at the one that `version` is or begins (`1.34` for `1.34.4`).
    pub fn new(program: Program, version: Option<&str>) -> Result<Self> {
        let Some(source) = program.source() else {
            if let Some(version) = version {
                bail!("{} comes from Debian, not at a version of choice: drop `@{version}`", program.name());
            }
            return Ok(Pin { program, release: "", module_version: "" });
        };
        let wanted = version.unwrap_or(source.module.versions[0].release).trim_start_matches('v');
        let begins = |v: &&ModuleVersion| v.release == wanted || v.release.starts_with(&format!("{wanted}."));
        let Some(found) = source.module.versions.iter().find(begins) else {
            let known: Vec<_> = source.module.versions.iter().map(|v| v.release).collect();
            bail!("{} {wanted} is not pinned; take one of {}", program.name(), known.join(", "));
        };
        Ok(Pin { program, release: found.release, module_version: found.module })
    }

    /// Reads `NAME` or `NAME@VERSION`.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, version) =
            text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let program = Program::ALL.into_iter().find(|program| program.name() == name);
        let program = program.with_context(|| {
            let names: Vec<_> = Program::ALL.iter().map(|program| program.name()).collect();
            format!("`{name}` is none of the rig's programs: {}", names.join(", "))
        })?;
        Pin::new(program, version)
    }

    /// The version, such as `1.37.2`; empty for a program that comes from Debian.
    pub fn release(self) -> &'static str {
        self.release
    }
}

/// The folder of built programs.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$OUTRIGGER_RIG_CACHE`, else `$XDG_CACHE_HOME/outrigger-rig`, else `~/.cache/outrigger-rig`.
    pub fn from_environment() -> Result<Self> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("OUTRIGGER_RIG_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("outrigger-rig")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/outrigger-rig")))
            .context(
                "none of OUTRIGGER_RIG_CACHE, XDG_CACHE_HOME and HOME is set: no place for the rig's cache",
            )?;
        Ok(Cache { root: std::path::absolute(root)? })
    }

    /// The cache's root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the binary is, or says how to get it.
    pub fn find(&self, pin: Pin) -> Result<PathBuf> {
        let name = pin.program.name();
        if !pin.program.is_built() {
            return find_in_path("prometheus-node-exporter")
                .context("prometheus-node-exporter is missing: apt-get install prometheus-node-exporter");
        }
        let path = self.binary(pin);
        if !path.exists() {
            bail!("{name} {} is not built: cargo xtask rig build {name}@{}", pin.release, pin.release);
        }
        Ok(path)
    }

    /// Whether the program is there.
    pub fn has(&self, pin: Pin) -> bool {
        self.find(pin).is_ok()
    }

    /// The manifests of prometheus-operator's custom resources, which are kept beside its binary.
    pub fn operator_manifests(&self) -> Result<PathBuf> {
        let pin = Pin::new(Program::PrometheusOperator, None)?;
        self.find(pin)?;
        Ok(self.binary(pin).with_extension("manifests"))
    }

    fn binary(&self, pin: Pin) -> PathBuf {
        self.root.join("bin").join(format!("{}-{}", pin.program.name(), pin.release))
    }

    /// Builds the program unless its binary exists, and tells how long that took.
    pub fn build(&self, pin: Pin) -> Result<Built> {
        let Some(source) = pin.program.source() else {
            return Ok(Built { path: self.find(pin)?, minutes: None });
        };
        let path = self.binary(pin);
        if path.exists() {
            return Ok(Built { path, minutes: None });
        }
        fs::create_dir_all(self.root.join("bin"))
            .with_context(|| format!("create {}", self.root.display()))?;
        let lock_path = self.root.join("build.lock");
        let lock = File::create(&lock_path).with_context(|| format!("create {}", lock_path.display()))?;
        // One build at a time; whoever waited finds the binary made.
        lock.lock().with_context(|| format!("lock {}", lock_path.display()))?;
        if path.exists() {
            return Ok(Built { path, minutes: None });
        }
        let started = Instant::now();
        self.compile(pin, &source, &path)
            .with_context(|| format!("build {} {}", pin.program.name(), pin.release))?;
        Ok(Built { path, minutes: Some(started.elapsed().as_secs_f64() / 60.0) })
    }

    fn compile(&self, pin: Pin, source: &Source, path: &Path) -> Result<()> {
        let dir = self.root.join(format!("build-{}-{}", pin.program.name(), pin.release));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let module = write_go_module(&dir, source.module, pin.module_version)?;
        if pin.program == Program::PrometheusOperator {
            let manifests = path.with_extension("manifests");
            copy_files(&module.join("example/prometheus-operator-crd"), &manifests)?;
        }
        let package = format!("{}{}", source.module.path, source.package);
        let linked = linker_flags(source.module.stamps, pin.release);
        let output = dir.join("program");
        let build = ["build", "-mod=mod", "-trimpath", "-tags", source.tags, "-ldflags", &linked, "-o"];
        go(
            &dir,
            source.cgo,
            build.map(OsStr::new).into_iter().chain([output.as_os_str(), OsStr::new(&package)]),
        )?;
        fs::rename(&output, path).with_context(|| format!("move the binary to {}", path.display()))?;
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
    }
}

/// What [`Cache::build`] made or found.
#[derive(Debug)]
pub struct Built {
    /// The binary.
    pub path: PathBuf,
    /// Minutes of building; none if it was there.
    pub minutes: Option<f64>,
}

fn linker_flags(stamps: &[&str], release: &str) -> String {
    let mut parts = release.split('.');
    let (major, minor) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let mut flags = "-s -w".to_owned();
    for stamp in stamps {
        let stamp = stamp.replace("{v}", release).replace("{major}", major).replace("{minor}", minor);
        flags.push_str(&format!(" -X {stamp}"));
    }
    flags
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let text = fs::read(entry.path()).with_context(|| format!("read {}", entry.path().display()))?;
        // Written anew: the module's own files are read-only.
        let copy = to.join(entry.file_name());
        let _ = fs::remove_file(&copy);
        fs::write(&copy, text).with_context(|| format!("write {}", copy.display()))?;
    }
    Ok(())
}

/// Writes a `go.mod` and `go.sum` that build a package of `module` with exactly the module's own dependencies, and
/// tells where the module's files are.
fn write_go_module(dir: &Path, module: &Module, version: &str) -> Result<PathBuf> {
    let answer =
        go(dir, false, ["mod", "download", "-json", &format!("{}@{version}", module.path)].map(OsStr::new))?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).context("parse go's answer")?;
    let source = answer["Dir"].as_str().context("go names no folder of the module")?;
    let original =
        fs::read_to_string(Path::new(source).join("go.mod")).context("read the module's go.mod")?;
    fs::write(dir.join("go.mod"), derived_go_mod(&original, module.path, version)?)
        .context("write go.mod")?;
    let sums = fs::read(Path::new(source).join("go.sum")).context("read the module's go.sum")?;
    fs::write(dir.join("go.sum"), sums).context("write go.sum")?;
    Ok(PathBuf::from(source))
}

/// The module's own `go.mod` under another name, requiring the module itself. Its replacements by folders, which
/// the published module lacks, become the modules that those folders are published as: Kubernetes requires
/// `k8s.io/api v0.0.0` from `./staging/src/k8s.io/api`, published as `k8s.io/api v0.37.2`; etcd requires the
/// right versions in the first place.
fn derived_go_mod(original: &str, path: &str, version: &str) -> Result<String> {
    let mut derived = String::new();
    for line in original.lines() {
        if line.starts_with("module ") {
            derived.push_str("module outrigger-rig");
        } else if let Some((replaced, folder)) = line.split_once("=> ./staging/src/") {
            let rest = version
                .strip_prefix("v1.")
                .context("staging folders in a module that is not Kubernetes v1")?;
            derived.push_str(&format!("{replaced}=> {} v0.{rest}", folder.trim()));
        } else if line.contains("=> ./") || line.contains("=> ../") {
            continue;
        } else {
            derived.push_str(line);
        }
        derived.push('\n');
    }
    derived.push_str(&format!("\nrequire {path} {version}\n"));
    Ok(derived)
}

fn go<'a>(dir: &Path, cgo: bool, args: impl IntoIterator<Item = &'a OsStr>) -> Result<Vec<u8>> {
    let output = Command::new("go")
        .args(args)
        .current_dir(dir)
        .env("CGO_ENABLED", if cgo { "1" } else { "0" })
        .env("GOWORK", "off")
        .env("GOFLAGS", "-buildvcs=false")
        .output()
        .context("run go, which must be installed and in PATH")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = text.lines().collect();
        bail!("go failed:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
    }
    Ok(output.stdout)
}

/// The file of that name in `$PATH` or where Debian puts it.
pub(super) fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_found_by_name_and_by_beginning_of_the_version() {
        let newest = Pin::parse("kube-apiserver").unwrap();
        assert_eq!(newest.release(), KUBERNETES.versions[0].release);
        assert_eq!(Pin::parse("kube-apiserver@1.34").unwrap().release(), "1.34.4");
        assert_eq!(Pin::parse("prometheus@3.15.1").unwrap().module_version, "v0.315.1");
        for (text, part) in [
            ("kube-apiserver@1.3", "is not pinned"),
            ("etct", "none of the rig's"),
            ("node-exporter@1", "Debian"),
        ] {
            let message = format!("{:#}", Pin::parse(text).unwrap_err());
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn staging_folders_become_published_modules() {
        let original = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        let derived = derived_go_mod(original, "k8s.io/kubernetes", "v1.37.2").unwrap();
        assert_eq!(
            derived,
            "module outrigger-rig\n\ngo 1.26.0\n\nreplace (\n\tk8s.io/api => k8s.io/api v0.37.2\n)\n\nrequire k8s.io/kubernetes v1.37.2\n"
        );
    }

    #[test]
    fn other_folders_give_way_to_the_required_versions() {
        let original = "module etcd\n\nreplace (\n\tetcd/api => ../api\n\tother => other v1.0.0\n)\n";
        let derived = derived_go_mod(original, "etcd", "v3.7.3").unwrap();
        assert_eq!(
            derived,
            "module outrigger-rig\n\nreplace (\n\tother => other v1.0.0\n)\n\nrequire etcd v3.7.3\n"
        );
    }

    #[test]
    fn stamps_carry_the_version() {
        assert_eq!(
            linker_flags(&["a.Version=v{v}", "a.Minor={minor}"], "1.37.2"),
            "-s -w -X a.Version=v1.37.2 -X a.Minor=37"
        );
    }
}
