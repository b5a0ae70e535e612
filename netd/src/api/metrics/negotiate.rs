//! Which text a scraper takes: OpenMetrics, or the format before it.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};

/// A way to write metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// OpenMetrics 1.0.
    Open,
    /// Prometheus' text format 0.0.4.
    Plain,
}

impl Exposition {
    /// Returns what a client asks for; OpenMetrics unless it prefers the older text.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut open, mut plain) = (None, None);
        for range in accepted.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let weight = weight.filter(|weight| *weight > 0.0);
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                open = open.max(weight.map(thousandths));
            } else if kind.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(weight.map(thousandths));
            }
        }
        if plain > open { Self::Plain } else { Self::Open }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes what was encoded as OpenMetrics.
    pub(super) fn write(self, open: String) -> String {
        match self {
            Self::Open => open,
            Self::Plain => plain(&open),
        }
    }
}

fn thousandths(weight: f32) -> u32 {
    (weight.min(1.0) * 1_000.0) as u32
}

/// In the older text a family bears the name of its samples, and there are neither units nor an end.
fn plain(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        let comment = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        let (keyword, rest) = match comment {
            Some((keyword, rest)) => (keyword, rest),
            None if line.starts_with('#') => continue,
            None => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
        };
        match (keyword, rest.split_once(' ')) {
            ("HELP", Some((_, words))) => help = Some(words),
            ("TYPE", Some((name, kind))) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                if let Some(words) = help.take() {
                    let _ = writeln!(text, "# HELP {name}{suffix} {words}");
                }
                let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
            }
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Exposition {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        Exposition::accepted(&headers)
    }

    #[test]
    fn a_scraper_gets_the_text_it_likes_better() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for open in ["", "*/*", prometheus, "application/openmetrics-text;q=0.5, text/plain;q=0.5", "text/plain;q=0"] {
            assert_eq!(accepted(open), Exposition::Open, "{open}");
        }
        for plain in ["text/plain", "text/plain; version=0.0.4", "TEXT/PLAIN;q=0.9, application/openmetrics-text;q=0.8"]
        {
            assert_eq!(accepted(plain), Exposition::Plain, "{plain}");
        }
    }

    #[test]
    fn the_older_text_names_families_as_their_samples() {
        let open = "# HELP netd_packets Packets.\n# TYPE netd_packets counter\nnetd_packets_total 7\n\
                    # HELP netd_store_bytes Bytes.\n# TYPE netd_store_bytes gauge\n# UNIT netd_store_bytes bytes\n\
                    netd_store_bytes 1\n# HELP netd_build itself.\n# TYPE netd_build info\n\
                    netd_build_info{version=\"1\"} 1\n# EOF\n";

        assert_eq!(
            plain(open),
            "# HELP netd_packets_total Packets.\n# TYPE netd_packets_total counter\nnetd_packets_total 7\n\
             # HELP netd_store_bytes Bytes.\n# TYPE netd_store_bytes gauge\nnetd_store_bytes 1\n\
             # HELP netd_build_info itself.\n# TYPE netd_build_info gauge\nnetd_build_info{version=\"1\"} 1\n"
        );
    }
}
