//! Network namespaces around a hub that drops packets between those that are to be apart. Needs root and iproute2.

use std::process::Command;

use anyhow::{Context, Result, bail};

const IP: &str = "/usr/sbin/ip";

/// The words that run a program in a namespace.
pub(super) fn enter(namespace: &str) -> Vec<String> {
    [IP, "netns", "exec", namespace].map(str::to_owned).to_vec()
}

/// Namespaces, each with an address of its own; dropping it removes them.
#[derive(Debug)]
pub(super) struct Network {
    hub: String,
    spokes: Vec<Spoke>,
    /// Pairs that are apart.
    cut: Vec<(String, String)>,
    /// Third number of the first address, so that drills run side by side.
    net: u8,
}

/// A namespace of a [`Network`].
#[derive(Debug, Clone)]
pub(super) struct Spoke {
    /// By the name that `ip netns` knows; `None` is the one that the drill itself is in.
    pub(super) namespace: Option<String>,
    /// Its address.
    pub(super) address: String,
}

impl Network {
    /// The namespace of the drill itself, as the first spoke, and one for each further spoke.
    pub(super) fn new(count: usize) -> Result<Self> {
        let id = std::process::id();
        let net = u8::try_from(16 + id % 200).unwrap_or(16);
        let hub = format!("odrill-{id}-hub");
        let mut network = Self { hub: hub.clone(), spokes: Vec::new(), cut: Vec::new(), net };
        ip(&["netns", "add", &hub])?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(IP, &["netns", "exec", &hub, "sh", "-c", forward])?;
        for index in 0..=count {
            network.add(index)?;
        }
        Ok(network)
    }

    fn add(&mut self, index: usize) -> Result<()> {
        let id = std::process::id();
        let (near, far) = (format!("od{id}n{index}"), format!("od{id}f{index}"));
        let namespace = (index > 0).then(|| format!("odrill-{id}-{index}"));
        let (address, gateway) = (self.address(index, 2), self.address(index, 1));
        if let Some(namespace) = &namespace {
            ip(&["netns", "add", namespace])?;
        }
        self.spokes.push(Spoke { namespace: namespace.clone(), address: address.clone() });
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])?;
        ip(&["link", "set", &far, "netns", &self.hub])?;
        ip(&["-n", &self.hub, "address", "add", &format!("{gateway}/24"), "dev", &far])?;
        ip(&["-n", &self.hub, "link", "set", &far, "up"])?;
        if let Some(namespace) = &namespace {
            ip(&["link", "set", &near, "netns", namespace])?;
        }
        self.within(&namespace, &["link", "set", "lo", "up"])?;
        self.within(&namespace, &["address", "add", &format!("{address}/24"), "dev", &near])?;
        self.within(&namespace, &["link", "set", &near, "up"])?;
        self.within(&namespace, &["route", "add", &format!("10.{}.0.0/16", self.net), "via", &gateway])
    }

    fn within(&self, namespace: &Option<String>, words: &[&str]) -> Result<()> {
        match namespace {
            Some(namespace) => ip(&[&["-n", namespace], words].concat()),
            None => ip(words),
        }
    }

    fn address(&self, index: usize, host: u8) -> String {
        format!("10.{}.{index}.{host}", self.net)
    }

    /// The namespaces, the drill's own first.
    pub(super) fn spokes(&self) -> &[Spoke] {
        &self.spokes
    }

    /// Drops every packet between two spokes from now on.
    pub(super) fn cut(&mut self, one: usize, other: usize) -> Result<()> {
        let (one, other) = (self.spokes[one].address.clone(), self.spokes[other].address.clone());
        self.rule("add", &one, &other)?;
        self.rule("add", &other, &one)?;
        self.cut.push((one, other));
        Ok(())
    }

    /// Lets every packet through again.
    pub(super) fn heal(&mut self) -> Result<()> {
        for (one, other) in std::mem::take(&mut self.cut) {
            self.rule("del", &one, &other)?;
            self.rule("del", &other, &one)?;
        }
        Ok(())
    }

    fn rule(&self, verb: &str, from: &str, to: &str) -> Result<()> {
        ip(&["-n", &self.hub, "rule", verb, "from", from, "to", to, "priority", "100", "blackhole"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let namespaces = self.spokes.iter().filter_map(|spoke| spoke.namespace.as_ref());
        for namespace in namespaces.chain([&self.hub]) {
            // Their interfaces go with them; whatever is left goes with the next boot.
            let _ = ip(&["netns", "delete", namespace]);
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    run(IP, words)
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output().with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
