//! A request as the command line of curl that sends it.

use super::link::USUAL_AUTHORITY;
use super::{Asked, Client, Server};

/// Longest body that is written into the command; a longer one, or one that is no text, is read from standard input.
const LONGEST_BODY: usize = 4_096;

/// Returns the command. The token is named by its variable, never by its value.
pub(super) fn command(client: &Client, asked: &Asked) -> String {
    let mut words = vec!["curl -sS".to_owned()];
    let origin = match &client.server {
        Server::Unix(path) => {
            words.push(format!("--unix-socket {}", quoted(&path.to_string_lossy())));
            "http://localhost".to_owned()
        }
        Server::Tls(authority) => {
            let ca = client.authority.as_ref().map_or(USUAL_AUTHORITY.into(), |path| path.to_string_lossy());
            words.push(format!("--cacert {}", quoted(&ca)));
            format!("https://{authority}")
        }
        Server::Tcp(authority) => format!("http://{authority}"),
    };
    if asked.method != hyper::Method::GET {
        words.push(format!("-X {}", asked.method));
    }
    if client.token.is_some() {
        words.push("-H \"Authorization: Bearer $NETD_TOKEN\"".to_owned());
    }
    for (name, value) in &asked.headers {
        words.push(format!("-H {}", quoted(&format!("{name}: {value}"))));
    }
    if !asked.body.is_empty() {
        let text = std::str::from_utf8(&asked.body).ok().filter(|text| text.len() <= LONGEST_BODY);
        words.push(match text {
            // What begins with an at-sign would be the name of a file.
            Some(text) => format!("--data-raw {}", quoted(text)),
            None => "--data-binary @-".to_owned(),
        });
    }
    words.push(quoted(&format!("{origin}{}", asked.path)));
    words.join(" ")
}

/// Returns a text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use serde_json::json;

    use super::*;

    fn client(server: &str) -> Client {
        Client::new(server.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_request_is_one_command_and_its_token_stays_secret() {
        let client = client("unix:/run/netd/api.sock").identified(Some("ntd_secret".into()), None);
        let asked = Asked::json(Method::POST, "/api/v1/verdicts", &json!({"reason": "it's"}));

        let command = command(&client, &asked);

        assert_eq!(
            command,
            "curl -sS --unix-socket '/run/netd/api.sock' -X POST -H \"Authorization: Bearer $NETD_TOKEN\" -H \
             'content-type: application/json' --data-raw '{\"reason\":\"it'\\''s\"}' 'http://localhost/api/v1/verdicts'"
        );
    }

    #[test]
    fn tls_is_asked_for_by_its_authority_and_a_long_body_is_read_from_standard_input() {
        let asked = Asked::new(Method::PUT, "/api/v1/blocklists/a").body(vec![b'1'; LONGEST_BODY + 1]);

        let command = command(&client("https://netd.example:9443"), &asked);

        assert_eq!(
            command,
            "curl -sS --cacert '/var/lib/netd/tls/ca.pem' -X PUT --data-binary @- \
             'https://netd.example:9443/api/v1/blocklists/a'"
        );
    }
}
