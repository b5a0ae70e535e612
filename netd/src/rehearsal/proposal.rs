//! What each workload was seen to speak with, written as policies.
//!
//! Names and addresses come from the network: everything that is written is quoted as JSON, which YAML reads as it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::Value;

use super::notation::{By, Notation};
use crate::store::history::Flow;

/// Who opened flows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Workload {
    /// An executable, a process's name, or a container.
    name: String,
    /// Kubernetes' namespace, where there is one.
    namespace: Option<String>,
}

/// Whom they lead to: a name where one is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    name: Option<String>,
    /// None where the name says it.
    address: Option<IpAddr>,
    port: u16,
    protocol: String,
}

/// Each workload's destinations, and how many flows led there.
#[derive(Clone, Debug)]
pub struct Proposal {
    by: By,
    workloads: BTreeMap<Workload, BTreeMap<Destination, u64>>,
    /// Workloads and destinations kept.
    size: usize,
    /// Flows whose workload or destination found no room.
    left_out: u64,
}

const DNS_PORT: u16 = 53;
/// Workloads and destinations that a proposal holds: nobody reads more, and names and addresses come from the network.
const MOST: usize = 20_000;

impl Proposal {
    #[must_use]
    pub fn new(by: By) -> Self {
        Self { by, workloads: BTreeMap::new(), size: 0, left_out: 0 }
    }

    /// Takes a flow in that a known workload of this host opened.
    pub fn observe(&mut self, flow: &Flow) {
        let process = flow.process.as_ref().and_then(|process| workload(process, self.by));
        let (Some(workload), Some(destination)) = (process, destination(flow)) else { return };
        let is_full = self.size >= MOST;
        if is_full && !self.workloads.contains_key(&workload) {
            self.left_out += 1;
            return;
        }
        let destinations = self.workloads.entry(workload).or_insert_with(|| {
            self.size += 1;
            BTreeMap::new()
        });
        // Every policy begins with a rule for it.
        if flow.responder_port == DNS_PORT {
            return;
        }
        if is_full && !destinations.contains_key(&destination) {
            self.left_out += 1;
            return;
        }
        *destinations.entry(destination).or_insert_with(|| {
            self.size += 1;
            0
        }) += 1;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty()
    }

    /// Returns how many flows have no place in it because it is as long as it may be.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes it down. Destinations with fewer than `least` flows are comments.
    #[must_use]
    pub fn write(&self, notation: Notation, least: u64) -> String {
        match notation {
            Notation::Netd => self.netd(least),
            Notation::Kubernetes => self.kubernetes(least),
            Notation::Cilium => self.cilium(least),
        }
    }

    /// Writes netd's own policies: a shadow that counts what goes elsewhere.
    fn netd(&self, least: u64) -> String {
        let mut text = String::new();
        for (at, (workload, destinations)) in self.workloads.iter().enumerate() {
            let separator = if at == 0 { "" } else { "---\n" };
            let subject = match &workload.namespace {
                Some(namespace) => format!("namespaces: [{}], containers: [{}]", json(namespace), json(&workload.name)),
                None => format!("processes: [{}]", json(&workload.name)),
            };
            let policy = slug(&workload.name);
            let _ = write!(
                text,
                "{separator}apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: {}}}\nspec:\n  mode: shadow\n  \
                 match: {{directions: [outbound], {subject}}}\n  except:\n    ports: [53]\n",
                json(&format!("{policy}-{at}"))
            );
            let named = destinations.iter().filter_map(|(to, flows)| Some((json(to.name.as_deref()?), *flows)));
            list(&mut text, "names", &summed(named), least);
            let bare = destinations.iter().filter_map(|(to, flows)| Some((json(&to.address?.to_string()), *flows)));
            list(&mut text, "destinations", &summed(bare), least);
        }
        text
    }

    /// Writes NetworkPolicies. They know no names: those stand as comments beside.
    fn kubernetes(&self, least: u64) -> String {
        let dns = "  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: \
                   {matchLabels: {k8s-app: kube-dns}}}]\n    ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]\n";
        self.each(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "podSelector",
            "  policyTypes: [Egress]\n",
            dns,
            |to, flows| {
                let ports = format!("[{{port: {}, protocol: {}}}]", to.port, to.protocol.to_uppercase());
                let Some(address) = to.address else {
                    let name = json(to.name.as_deref().unwrap_or_default());
                    return Rule {
                        lines: vec![format!(
                            "# {name}, port {}: a NetworkPolicy takes no names; name its addresses",
                            to.port
                        )],
                        is_certain: false,
                    };
                };
                let lines = vec![
                    format!("- to: [{{ipBlock: {{cidr: {}}}}}]", json(&cidr(address))),
                    format!("  ports: {ports}"),
                ];
                Rule { lines, is_certain: flows >= least }
            },
        )
    }

    /// Writes CiliumNetworkPolicies. Names are allowed, never denied: a client chooses which name it asks for.
    fn cilium(&self, least: u64) -> String {
        let dns = "  - toEndpoints: [{matchLabels: {\"k8s:io.kubernetes.pod.namespace\": kube-system, \"k8s:k8s-app\": \
                   kube-dns}}]\n    toPorts: [{ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: \"*\"}]}}]\n";
        self.each("cilium.io/v2", "CiliumNetworkPolicy", "endpointSelector", "", dns, |to, flows| {
            let whom = match (&to.name, to.address) {
                (Some(name), _) => format!("- toFQDNs: [{{matchName: {}}}]", json(name)),
                (None, Some(address)) => format!("- toCIDR: [{}]", json(&cidr(address))),
                (None, None) => String::new(),
            };
            let port = format!("{{port: \"{}\", protocol: {}}}", to.port, to.protocol.to_uppercase());
            Rule { lines: vec![whom, format!("  toPorts: [{{ports: [{port}]}}]")], is_certain: flows >= least }
        })
    }

    /// Writes a policy for each workload of a namespace: its DNS rule, then `rule` of each destination.
    fn each(
        &self,
        version: &str,
        kind: &str,
        selector: &str,
        types: &str,
        dns: &str,
        rule: impl Fn(&Destination, u64) -> Rule,
    ) -> String {
        let mut text = String::new();
        for (at, (workload, destinations)) in self.workloads.iter().enumerate() {
            let separator = if at == 0 { "" } else { "---\n" };
            let namespace = workload.namespace.as_deref().unwrap_or("default");
            let flows: u64 = destinations.values().sum();
            let _ = write!(
                text,
                "{separator}apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}\n  namespace: {}\n  \
                 annotations: {{netd.dev/flows: \"{flows}\"}}\nspec:\n  # netd knows the container, not the pod's labels: \
                 say which pods these are.\n  {selector}: {{matchLabels: {{app: {}}}}}\n{types}  egress:\n{dns}",
                json(&format!("{}-egress", slug(&workload.name))),
                json(namespace),
                json(&workload.name),
            );
            for (destination, flows) in destinations {
                // Neither format has ports of other protocols.
                if !matches!(destination.protocol.as_str(), "tcp" | "udp" | "sctp") {
                    continue;
                }
                let Rule { lines, is_certain } = rule(destination, *flows);
                for line in lines {
                    let comment = if is_certain || line.starts_with('#') { "" } else { "# " };
                    let _ = writeln!(text, "  {comment}{line}");
                }
            }
        }
        text
    }
}

/// A rule's lines, and whether it stands as one: as a comment where it was seen too seldom.
struct Rule {
    lines: Vec<String>,
    is_certain: bool,
}

fn workload(process: &Value, by: By) -> Option<Workload> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let container = &process["container"];
    match by {
        By::Process => {
            Some(Workload { name: text(&process["exe"]).or_else(|| text(&process["comm"]))?, namespace: None })
        }
        By::Container => {
            let id = || text(&container["id"]).map(|id| id.chars().take(12).collect());
            let name = text(&container["name"]).or_else(id)?;
            Some(Workload {
                name,
                namespace: Some(text(&container["pod"]["namespace"]).unwrap_or_else(|| "default".into())),
            })
        }
    }
}

fn destination(flow: &Flow) -> Option<Destination> {
    let address = flow.responder;
    // Nothing that stays on the host or speaks to everybody is egress.
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return None;
    }
    let name = flow.name.as_deref().map(str::to_ascii_lowercase);
    let address = name.is_none().then_some(address);
    Some(Destination { name, address, port: flow.responder_port, protocol: flow.protocol.clone() })
}

fn summed(values: impl Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (value, flows) in values {
        *sums.entry(value).or_default() += flows;
    }
    sums
}

fn list(text: &mut String, key: &str, values: &BTreeMap<String, u64>, least: u64) {
    let is_rule = values.values().any(|flows| *flows >= least);
    let _ = writeln!(text, "    {key}:{}", if is_rule { "" } else { " []" });
    for (value, flows) in values {
        let comment = if *flows >= least { "" } else { "# " };
        let _ = writeln!(text, "      {comment}- {value} # {flows} flows");
    }
}

/// JSON's strings are YAML's: nothing in them ends the line or the quotes.
fn json(text: &str) -> String {
    Value::from(text).to_string()
}

fn cidr(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// A name of lower-case letters, digits and hyphens, as Kubernetes and netd take it.
fn slug(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let plain: String =
        last.chars().take(40).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "workload".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use netd_engine::flow::EndReason;
    use netd_engine::policy::{Mode, Policies, Source};
    use serde_json::json;

    use super::*;
    use crate::store::Row;
    use crate::store::flows_for_tests::conversation;
    use crate::store::history::Scores;

    fn flow(name: Option<&str>, responder: &str, port: u16) -> Flow {
        let container = json!({"id": "a", "name": "shop", "pod": {"namespace": "web"}});
        let process = json!({"exe": "/usr/bin/curl", "comm": "curl", "container": container});
        let row = Row {
            sequence: 1,
            ended: None,
            conversation: conversation(40_000, EndReason::Idle),
            written: Default::default(),
        };
        Flow {
            name: name.map(str::to_owned),
            responder: responder.parse().unwrap(),
            responder_port: port,
            process: Some(process),
            ..Flow::of(&row, None, &Scores::new())
        }
    }

    fn flows() -> Vec<Flow> {
        let often = (0..3).map(|_| flow(Some("Api.Example"), "198.51.100.7", 443));
        let bare = (0..3).map(|_| flow(None, "203.0.113.7", 8_443));
        let rest = [
            flow(Some("evil\"]\nmode: enforce"), "198.51.100.8", 443),
            flow(None, "198.51.100.53", 53),
            flow(None, "127.0.0.1", 80),
            Flow { process: None, ..flow(None, "198.51.100.9", 1) },
        ];
        often.chain(bare).chain(rest).collect()
    }

    fn proposal(by: By) -> Proposal {
        let mut proposal = Proposal::new(by);
        flows().iter().for_each(|flow| proposal.observe(flow));
        proposal
    }

    #[test]
    fn netds_own_proposal_is_a_shadow_that_spares_what_was_seen_often() {
        let text = proposal(By::Process).write(Notation::Netd, 3);

        let policies =
            Policies::read(&[Source { file: "proposal", text: &text }]).unwrap_or_else(|e| panic!("{e:?}\n{text}"));

        let spec = &policies.get("curl-0").expect("the policy").spec;
        assert_eq!((spec.mode, spec.matching.processes.as_slice()), (Mode::Shadow, &["/usr/bin/curl".to_owned()][..]));
        assert_eq!(spec.exceptions.names, ["api.example"]);
        assert_eq!(spec.exceptions.destinations, ["203.0.113.7/32".parse().unwrap()]);
        assert!(text.contains(r#"# - "evil\"]\nmode: enforce""#), "{text}");
    }

    #[test]
    fn dns_comes_first_and_names_are_only_allowed() {
        let text = proposal(By::Container).write(Notation::Cilium, 3);
        let policy: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));

        let egress = policy["spec"]["egress"].as_array().unwrap();
        assert_eq!(policy["metadata"]["namespace"], "web");
        assert_eq!(egress[0]["toPorts"][0]["ports"][0]["port"], "53");
        assert_eq!(egress[1]["toCIDR"][0], "203.0.113.7/32");
        assert_eq!(egress[2]["toFQDNs"][0]["matchName"], "api.example");
        assert_eq!(egress.len(), 3, "{text}");
    }

    #[test]
    fn a_network_policy_allows_addresses_and_says_what_it_cannot() {
        let text = proposal(By::Container).write(Notation::Kubernetes, 3);
        let policy: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));

        let egress = policy["spec"]["egress"].as_array().unwrap();
        assert_eq!(egress[0]["ports"][0]["port"], 53);
        assert_eq!(egress[1]["to"][0]["ipBlock"]["cidr"], "203.0.113.7/32");
        assert_eq!(egress.len(), 2, "{text}");
        assert!(text.contains("a NetworkPolicy takes no names"), "{text}");
    }

    #[test]
    fn a_proposal_has_an_end_however_many_destinations_there_are() {
        let mut proposal = Proposal::new(By::Process);
        for number in 0..MOST + 9 {
            proposal.observe(&flow(Some(&format!("n{number}.example")), "198.51.100.7", 443));
        }
        proposal.observe(&flow(Some("n1.example"), "198.51.100.7", 443));

        assert_eq!((proposal.size, proposal.left_out()), (MOST, 10));
    }
}
