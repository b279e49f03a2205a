//! node_exporter 1.5's families, HELP and TYPE on a machine with many processors, interfaces and disks.

use super::{Body, Kind};

/// One line a family's HELP, TYPE or series, with `@cpu`, `@interface`, `@disk`, `@mount`, `@address` and `@node`
/// for what a machine has several of or of its own.
const FAMILIES: &str = include_str!("node_exporter.txt");

const PROCESSORS: u32 = 48;
const INTERFACES: u32 = 12;
const DISKS: u32 = 5;

pub(super) fn write(body: &mut Body) {
    let mut kind = Kind::Level;
    for line in FAMILIES.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            if let Some((name, type_name)) =
                comment.strip_prefix("TYPE ").and_then(|family| family.split_once(' '))
            {
                kind = kind_of(name, type_name);
            }
            body.text.extend_from_slice(line.as_bytes());
            body.text.push(b'\n');
        } else {
            series(body, line, kind);
        }
    }
}

fn kind_of(name: &str, type_name: &str) -> Kind {
    if name.contains("seconds") {
        Kind::Seconds
    } else if type_name == "counter" || type_name == "untyped" {
        Kind::Count
    } else if name.contains("bytes") {
        Kind::Level
    } else if ["_info", "_success", "_up", "_carrier", "_readonly", "_error"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        Kind::Flag
    } else {
        Kind::Count
    }
}

fn series(body: &mut Body, line: &str, kind: Kind) {
    let (count, holder) = if line.contains("@cpu") {
        (PROCESSORS, "@cpu")
    } else if line.contains("@interface") {
        (INTERFACES, "@interface")
    } else if line.contains("@disk") {
        (DISKS, "@disk")
    } else {
        (1, "@node")
    };
    let (name, labels) = line.split_at(line.find('{').unwrap_or(line.len()));
    for index in 0..count {
        let value = match holder {
            "@cpu" => index.to_string(),
            "@interface" => format!("cali{:08x}", super::mix(u64::from(index)) >> 32),
            "@disk" => format!("nvme{index}n1"),
            _ => format!("node-{:05}", body.target),
        };
        let labels = labels
            .replace(holder, &value)
            .replace("@mount", &format!("/var/lib/data-{index}"))
            .replace("@address", &format!("ee:ee:ee:ee:{:02x}:{index:02x}", body.target & 255))
            .replace("@node", &format!("node-{:05}", body.target));
        body.series(name, format_args!("{labels}"), kind);
    }
}
