//! The configuration as it is shown: what its file sets, without what must stay secret.

use serde_json::Value;

/// What stands for a secret.
const HIDDEN: &str = "[hidden]";

/// Parts of the names of keys whose values are secret.
const SECRETS: [&str; 6] = ["password", "secret", "token", "key", "webhook", "authorization"];

/// Returns what a configuration file sets, secrets hidden.
#[must_use]
pub fn shown(text: &str) -> Value {
    let mut value = toml::from_str(text).unwrap_or_default();
    hide(&mut value);
    value
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_secret = SECRETS.iter().any(|secret| name.to_ascii_lowercase().contains(secret));
                // A table is looked into; only values are secret.
                if is_secret && !value.is_object() {
                    *value = Value::from(HIDDEN);
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::String(text) => {
            if let Some(shown) = url(text) {
                *value = Value::from(shown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns where a URL leads, without what may be secret: user, path and query, which webhooks know their callers by.
fn url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let hidden = if path.trim_matches('/').is_empty() { "" } else { "/[hidden]" };
    Some(format!("{scheme}://{host}{hidden}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_and_secrets_are_not() {
        let text = r#"
            mode = "enforce"
            [api]
            listen = ["127.0.0.1:9443"]
            api_key = "hush"
            [[outputs]]
            url = "https://user:hush@example.net/x"
            [[sink]]
            type = "webhook"
            url = "https://hooks.example.net/services/hush?k=hush"
            webhook_url = "https://example.net/hush"
        "#;

        let shown = shown(text);

        assert_eq!((&shown["mode"], &shown["api"]["listen"][0]), (&"enforce".into(), &"127.0.0.1:9443".into()));
        assert_eq!(shown["sink"][0]["url"], "https://hooks.example.net/[hidden]");
        assert!(!shown.to_string().contains("hush"), "{shown}");
    }
}
