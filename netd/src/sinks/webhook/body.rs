//! What is posted: one text in the words of each receiver.

use netd_engine::finding::Severity;
use serde_json::{Value, json};

use super::Template;
use super::gate::Summary;
use crate::sinks::format::{Format, Record, Site, text};

/// A message before it has its receiver's form.
pub(super) struct Body {
    title: String,
    text: String,
    severity: Option<Severity>,
    /// netd's own JSON.
    event: Value,
}

impl Body {
    pub(super) fn of(record: &Record<'_>, site: &Site) -> Self {
        let mut line = Vec::new();
        Format::Jsonl.write(record, site, &mut |_, lines| line.extend_from_slice(lines));
        let (title, severity) = match record {
            Record::Finding(finding) => {
                let severity = finding.severity;
                (format!("{} finding: {}", severity.name(), finding.detector.replace('_', " ")), Some(severity))
            }
            Record::Flow(_) => ("flow".to_owned(), None),
            Record::Lookup { .. } => ("look-up".to_owned(), None),
            Record::Verdict { .. } => ("verdict".to_owned(), None),
            Record::Stats { .. } => ("statistics".to_owned(), None),
        };
        Self {
            title: text::tame(&on(&title, site)),
            text: text::line(record),
            severity,
            event: serde_json::from_slice(&line).unwrap_or(Value::Null),
        }
    }

    /// What the rate limit held back.
    pub(super) fn summary(summary: &Summary, site: &Site) -> Self {
        let mut parts: Vec<String> = summary
            .findings
            .iter()
            .rev()
            .map(|((severity, detector), count)| format!("{count} {} {detector}", severity.name()))
            .collect();
        if summary.others > 0 {
            parts.push(format!("{} other events", summary.others));
        }
        let text = format!("{} more were held back: {}", summary.count(), parts.join(", "));
        Self {
            title: text::tame(&on("summary", site)),
            text: text::tame(&text),
            severity: summary.worst(),
            event: json!({"event": "summary", "held_back": summary.count()}),
        }
    }

    pub(super) fn write(self, template: Template, topic: Option<&str>) -> Vec<u8> {
        let Self { title, text, severity, event } = self;
        let body = match template {
            Template::Generic => json!({"title": title, "text": text, "event": event}),
            Template::Slack => json!({"text": format!("*{}*\n{}", escape_slack(&title), escape_slack(&text))}),
            Template::Ntfy => json!({
                "topic": topic,
                "title": title,
                "message": text,
                "priority": priority(severity),
                "tags": ["netd", severity.map_or("info", Severity::name)],
            }),
        };
        body.to_string().into_bytes()
    }
}

fn on(title: &str, site: &Site) -> String {
    if site.host.is_empty() { format!("netd: {title}") } else { format!("netd on {}: {title}", site.host) }
}

/// Slack takes these three for its own; escaped, a name can neither be a link nor call everybody.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// ntfy: 5 rings, 3 is usual.
const fn priority(severity: Option<Severity>) -> u8 {
    match severity {
        Some(Severity::Critical) => 5,
        Some(Severity::High) => 4,
        Some(Severity::Medium) | None => 3,
        Some(Severity::Low) => 2,
        Some(Severity::Info) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::findings_for_tests::finding;

    fn posted(template: Template, topic: Option<&str>) -> Value {
        let mut hostile = finding(7, Severity::Critical, 0.99);
        hostile.name = Some("<!channel> & \"x\"".into());
        let site = Site { host: "web-1".into(), ..Site::default() };
        serde_json::from_slice(&Body::of(&Record::Finding(&hostile), &site).write(template, topic)).unwrap()
    }

    #[test]
    fn a_generic_body_holds_text_and_event() {
        let body = posted(Template::Generic, None);

        assert_eq!(body["title"], "netd on web-1: critical finding: beacon");
        assert!(body["text"].as_str().unwrap().contains("10.0.0.7 -> 198.51.100.9:443"), "{body}");
        assert_eq!((&body["event"]["event"], &body["event"]["id"]), (&"finding".into(), &7.into()));
    }

    #[test]
    fn a_name_calls_nobody_in_slack() {
        let text = posted(Template::Slack, None)["text"].as_str().unwrap().to_owned();

        assert!(text.contains("&lt;!channel&gt; &amp; \"x\"") && !text.contains("<!"), "{text}");
    }

    #[test]
    fn ntfy_hears_topic_and_urgency() {
        let body = posted(Template::Ntfy, Some("alarms"));

        assert_eq!((&body["topic"], &body["priority"]), (&"alarms".into(), &5.into()));
        assert_eq!(body["tags"][1], "critical");
    }
}
