use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers each name with what the test says, and counts.
#[derive(Default)]
struct Table {
    addresses: Vec<IpAddr>,
    asked: AtomicUsize,
}

impl Table {
    fn of(addresses: &[&str]) -> Self {
        Self { addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(), asked: AtomicUsize::new(0) }
    }
}

impl Resolve for Table {
    async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.addresses.clone())
    }
}

fn request(url: &Url) -> Request<'_> {
    Request { url, allow_private: false, etag: None, modified: None, certificates: None }
}

/// An https server on loopback for `feeds.example`, which answers each connection with `answer(path, request)`.
struct Server {
    port: u16,
    certificate: Vec<u8>,
}

impl Server {
    async fn start(answer: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["feeds.example".to_owned()]).unwrap();
        let certificate = made.cert.pem().into_bytes();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = stream.write_all(&answer(&path, &head)).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, certificate }
    }

    async fn get(&self, path: &str, etag: Option<&str>) -> Result<Fetched, Error> {
        let url: Url = format!("https://feeds.example:{}{path}", self.port).parse().unwrap();
        let certificates = Some(self.certificate.as_slice());
        let request = Request { url: &url, allow_private: true, etag, modified: None, certificates };
        fetch(&Table::of(&["127.0.0.1"]), &request).await
    }
}

fn ok(body: &[u8], more: &str) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_name_with_an_address_inside_is_not_asked() {
    let url: Url = "https://feeds.example/list.txt".parse().unwrap();
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
    {
        for addresses in [vec![inside], vec!["8.8.8.8", inside]] {
            let fetched = fetch(&Table::of(&addresses), &request(&url)).await;

            assert!(matches!(fetched, Err(Error::Forbidden(Forbidden::Address { .. }))), "{addresses:?}: {fetched:?}");
        }
    }
    let nowhere = fetch(&Table::of(&[]), &request(&url)).await;
    assert!(matches!(nowhere, Err(Error::Forbidden(Forbidden::NoAddress { .. }))));
}

#[tokio::test]
async fn localhost_of_the_hosts_own_resolver_is_not_asked() {
    let url: Url = "https://localhost/".parse().unwrap();

    let fetched = fetch(&System, &request(&url)).await;

    assert!(matches!(fetched, Err(Error::Forbidden(_) | Error::Resolve { .. })), "{fetched:?}");
}

#[tokio::test]
async fn a_name_is_resolved_once_so_it_cannot_change_its_mind() {
    let server = Server::start(|_, _| ok(b"192.0.2.1\n", "")).await;
    let url: Url = format!("https://feeds.example:{}/", server.port).parse().unwrap();
    let table = Table::of(&["127.0.0.1"]);
    let certificates = Some(server.certificate.as_slice());

    fetch(&table, &Request { allow_private: true, certificates, ..request(&url) }).await.unwrap();

    assert_eq!(table.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn content_is_fetched_and_known_content_is_not_fetched_again() {
    let server = Server::start(|_, head| match head.contains("if-none-match: \"v1\"") {
        true => b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_vec(),
        false => ok(b"192.0.2.1\n", "etag: \"v1\"\r\n"),
    })
    .await;

    let first = server.get("/list.txt", None).await.unwrap();
    let again = server.get("/list.txt", Some("\"v1\"")).await.unwrap();

    let etag = Some("\"v1\"".to_owned());
    assert_eq!(first, Fetched::Content { bytes: b"192.0.2.1\n".to_vec(), etag, modified: None });
    assert_eq!(again, Fetched::NotModified);
}

#[tokio::test]
async fn two_redirects_are_followed_and_no_third() {
    let server = Server::start(|path, _| match path {
        "/3" => redirect("/2"),
        "/2" => redirect("/1"),
        "/1" => redirect("/0"),
        _ => ok(b"192.0.2.1\n", ""),
    })
    .await;

    assert!(matches!(server.get("/2", None).await, Ok(Fetched::Content { .. })));
    assert!(matches!(server.get("/3", None).await, Err(Error::Redirects)));
}

#[tokio::test]
async fn a_redirect_by_another_scheme_is_not_followed() {
    for target in ["http://feeds.example/", "file:///etc/passwd", "gopher://127.0.0.1/", "//user:x@feeds.example/"] {
        let server = Server::start(move |_, _| redirect(target)).await;

        let fetched = server.get("/", None).await;

        assert!(matches!(fetched, Err(Error::Forbidden(_))), "{target}: {fetched:?}");
    }
}

#[tokio::test]
async fn each_hop_is_checked_as_the_first_one_is() {
    let from: Url = "https://feeds.example/".parse().unwrap();
    let mut headers = HeaderMap::new();
    for text in crate::feeds::location::HOSTILE.lines() {
        let Ok(value) = text.parse() else { continue };
        headers.insert(LOCATION, value);
        // Relative ones stay where they are.
        let Ok(url) = next(&from, &headers) else { continue };
        if url.host_str() != Some("feeds.example") {
            let found = addresses(&Table::of(&["127.0.0.1"]), &url, false).await;
            assert!(matches!(found, Err(Error::Forbidden(_))), "{text}: {found:?}");
        }
    }
}

#[tokio::test]
async fn what_is_cut_short_or_no_content_is_no_copy() {
    let server = Server::start(|path, _| match path {
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n192.0.2.1\n".to_vec(),
        "/chunks" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n192.0.2.1\n\r\n".to_vec(),
        "/large" => b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec(),
        "/partial" => b"HTTP/1.1 206 Partial Content\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec(),
    })
    .await;

    assert!(matches!(server.get("/short", None).await, Err(Error::Http(_))));
    assert!(matches!(server.get("/chunks", None).await, Err(Error::Http(_))));
    assert!(matches!(server.get("/large", None).await, Err(Error::TooLarge(_))));
    assert!(matches!(server.get("/partial", None).await, Err(Error::Status(206))));
    assert!(matches!(server.get("/other", None).await, Err(Error::Status(503))));
}

#[tokio::test]
async fn a_server_without_a_trusted_certificate_is_not_believed() {
    let server = Server::start(|_, _| ok(b"192.0.2.1\n", "")).await;
    let url: Url = format!("https://feeds.example:{}/", server.port).parse().unwrap();

    let fetched = fetch(&Table::of(&["127.0.0.1"]), &Request { allow_private: true, ..request(&url) }).await;

    assert!(matches!(fetched, Err(Error::Http(_))), "{fetched:?}");
}

#[test]
fn gzip_is_undone_up_to_a_limit() {
    let pack = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };

    assert_eq!(unpacked(pack(b"192.0.2.1\n")).unwrap(), b"192.0.2.1\n");
    assert!(matches!(unpacked(pack(&vec![b'#'; LARGEST_CONTENT + 1])), Err(Error::TooLarge(_))));
    let mut cut = pack(b"192.0.2.1\n");
    cut.truncate(cut.len() - 4);
    assert!(matches!(unpacked(cut), Err(Error::Gzip(_))));
}
