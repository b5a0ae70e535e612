//! What each workload was seen to speak with, written as policies.
//!
//! Names and addresses come from the network: everything that is written is quoted as JSON, which YAML reads as it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::Value;

/// Whose destinations stand together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    #[default]
    Process,
    Container,
}

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
#[derive(Clone, Debug, Default)]
pub(super) struct Proposal(BTreeMap<Workload, BTreeMap<Destination, u64>>);

const DNS_PORT: u64 = 53;

impl Proposal {
    /// Reads the flows that a known workload of this host opened.
    pub(super) fn of(flows: &[Value], by: By) -> Self {
        let mut workloads = BTreeMap::<_, BTreeMap<_, u64>>::new();
        for flow in flows {
            let is_dns = flow["responder_port"].as_u64() == Some(DNS_PORT);
            if let (Some(workload), Some(destination)) = (workload(&flow["process"], by), destination(flow)) {
                let destinations = workloads.entry(workload).or_default();
                // Every policy begins with a rule for it.
                if !is_dns {
                    *destinations.entry(destination).or_default() += 1;
                }
            }
        }
        Self(workloads)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes netd's own policies: a shadow that counts what goes elsewhere.
    pub(super) fn netd(&self, least: u64) -> String {
        let mut text = String::new();
        for (at, (workload, destinations)) in self.0.iter().enumerate() {
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
    pub(super) fn kubernetes(&self, least: u64) -> String {
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
    pub(super) fn cilium(&self, least: u64) -> String {
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
        for (at, (workload, destinations)) in self.0.iter().enumerate() {
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

fn destination(flow: &Value) -> Option<Destination> {
    let name = flow["name"].as_str().map(str::to_ascii_lowercase);
    let address: IpAddr = flow["responder"].as_str()?.parse().ok()?;
    // Nothing that stays on the host or speaks to everybody is egress.
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return None;
    }
    let port = u16::try_from(flow["responder_port"].as_u64()?).ok()?;
    let protocol = flow["protocol"].as_str()?.to_owned();
    let address = name.is_none().then_some(address);
    Some(Destination { name, address, port, protocol })
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
    use netd_engine::policy::{Mode, Policies, Source};
    use serde_json::json;

    use super::*;

    fn flow(name: Option<&str>, responder: &str, port: u16) -> Value {
        let container = json!({"id": "a", "name": "shop", "pod": {"namespace": "web"}});
        let process = json!({"exe": "/usr/bin/curl", "comm": "curl", "container": container});
        json!({"name": name, "responder": responder, "responder_port": port, "protocol": "tcp", "process": process})
    }

    fn flows() -> Vec<Value> {
        let often = (0..3).map(|_| flow(Some("Api.Example"), "198.51.100.7", 443));
        let bare = (0..3).map(|_| flow(None, "203.0.113.7", 8_443));
        let rest = [
            flow(Some("evil\"]\nmode: enforce"), "198.51.100.8", 443),
            flow(None, "198.51.100.53", 53),
            flow(None, "127.0.0.1", 80),
            json!({"responder": "198.51.100.9", "responder_port": 1, "protocol": "tcp", "process": null}),
        ];
        often.chain(bare).chain(rest).collect()
    }

    #[test]
    fn netds_own_proposal_is_a_shadow_that_spares_what_was_seen_often() {
        let text = Proposal::of(&flows(), By::Process).netd(3);

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
        let text = Proposal::of(&flows(), By::Container).cilium(3);
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
        let text = Proposal::of(&flows(), By::Container).kubernetes(3);
        let policy: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));

        let egress = policy["spec"]["egress"].as_array().unwrap();
        assert_eq!(egress[0]["ports"][0]["port"], 53);
        assert_eq!(egress[1]["to"][0]["ipBlock"]["cidr"], "203.0.113.7/32");
        assert_eq!(egress.len(), 2, "{text}");
        assert!(text.contains("a NetworkPolicy takes no names"), "{text}");
    }
}
