//! One event in the words of its stream: server-sent events, or a JSON object a line.

use std::fmt::Write as _;

use axum::body::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `text/event-stream` of the HTML standard.
    ServerSentEvents,
    /// `{"event":…,"id":…,"data":{…}}`, one a line.
    Ndjson,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EventKind")]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Kind {
    /// A finding was reported, or rose or fell.
    Finding,
    /// A conversation ended.
    Flow,
    /// A verdict came or went.
    Verdict,
    /// Events between the last one and the next are lost to this reader; the list may still have them.
    Gap,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Flow => "flow",
            Self::Verdict => "verdict",
            Self::Gap => "gap",
        }
    }
}

/// Says that events are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::api) struct Gap {
    /// The id of the last event before them.
    pub(super) after: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Event")]
pub(in crate::api) struct Line<T> {
    /// What it is about.
    pub(super) event: Kind,
    /// What `Last-Event-ID` names when a reader comes back; a gap has the number before it.
    pub(super) id: String,
    /// What happened.
    pub(super) data: T,
}

impl Encoding {
    /// Returns what a request asks for: server-sent events unless it accepts NDJSON and not those.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        let accepts = |wanted: &str| {
            let types = accept.unwrap_or_default().split(',');
            types
                .map(|one| one.split(';').next().unwrap_or_default().trim())
                .any(|one| one.eq_ignore_ascii_case(wanted))
        };
        let ndjson = accepts("application/x-ndjson") || accepts("application/jsonl");
        if ndjson && !accepts("text/event-stream") { Self::Ndjson } else { Self::ServerSentEvents }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::ServerSentEvents => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Writes an event. JSON has no line breaks of its own, so that data is one line in either encoding.
    pub(super) fn write<T: Serialize>(self, line: &Line<T>) -> Option<Bytes> {
        let mut text = String::new();
        match self {
            Self::ServerSentEvents => {
                let data = serde_json::to_string(&line.data).ok()?;
                write!(text, "id: {}\nevent: {}\ndata: {data}\n\n", line.id, line.event.name()).ok()?;
            }
            Self::Ndjson => {
                text = serde_json::to_string(line).ok()?;
                text.push('\n');
            }
        }
        Some(Bytes::from(text))
    }

    /// Says that there is somebody, and nothing to tell.
    pub(super) const fn heartbeat(self) -> Bytes {
        match self {
            Self::ServerSentEvents => Bytes::from_static(b": heartbeat\n\n"),
            Self::Ndjson => Bytes::from_static(b"\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_accept_header_chooses_the_encoding() {
        for accept in [None, Some("*/*"), Some("text/event-stream"), Some("application/x-ndjson, text/event-stream")] {
            assert_eq!(Encoding::accepted(accept), Encoding::ServerSentEvents, "{accept:?}");
        }
        for accept in ["application/x-ndjson", "text/html, Application/X-NDJSON;q=0.9"] {
            assert_eq!(Encoding::accepted(Some(accept)), Encoding::Ndjson, "{accept}");
        }
    }

    #[test]
    fn text_of_strangers_cannot_begin_an_event_of_its_own() {
        let line = Line { event: Kind::Finding, id: "1-1".into(), data: json!({"name": "a\n\ndata: {}\r\n\u{2028}"}) };

        for encoding in [Encoding::ServerSentEvents, Encoding::Ndjson] {
            let text = String::from_utf8(encoding.write(&line).unwrap().to_vec()).unwrap();
            let data: Vec<&str> = text.lines().filter(|line| line.contains("name")).collect();
            assert_eq!((data.len(), text.contains('\r')), (1, false), "{text}");
            assert_eq!(text.matches("\n\n").count(), usize::from(encoding == Encoding::ServerSentEvents), "{text}");
        }
    }
}
