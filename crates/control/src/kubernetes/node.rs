//! Role `node` (Prometheus `discovery/kubernetes/node.go`).

use outrigger_mirror::NodeView;

use super::{GroupWriter, RoleView, join_host_port};

/// Address types, the preferred first.
const ADDRESS_TYPES: [&str; 6] =
    ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

impl RoleView {
    pub(super) fn write_node(&self, node: NodeView<'_>, writer: &mut GroupWriter) {
        if !self.selection.has_node(node) {
            return;
        }
        let Some(address) = preferred_address(node) else { return };
        let group = &mut writer.group;
        group.set("node_provider_id", node.provider_id());
        for (kind, status) in node.conditions() {
            group.sanitized("node_condition_", &kind.to_lowercase(), &status.to_lowercase());
        }
        group.object("node", node.name(), node.labels(), node.annotations());

        let target = &mut writer.target;
        target.address(&join_host_port(address, node.kubelet_port()));
        target.plain("instance", node.name());
        // The first address of a type is the one shown, so it is written last.
        let addresses: Vec<_> = node.addresses().collect();
        for (kind, address) in addresses.into_iter().rev() {
            target.sanitized("node_address_", kind, address);
        }
        writer.push_target();
    }
}

fn preferred_address(node: NodeView<'_>) -> Option<&str> {
    ADDRESS_TYPES
        .into_iter()
        .find_map(|wanted| node.addresses().find(|(kind, _)| *kind == wanted).map(|(_, address)| address))
}
