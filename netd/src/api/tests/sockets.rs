use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::api::{Error, Listen};

async fn answer_to(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_honest_request_is_answered() {
    let api = Api::new();
    let (address, _shutdown, _serving) = api.listen().await;

    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    assert!(answer_to(address, request).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_connection_that_dawdles_is_closed_within_the_limit() {
    let api = Api::new();
    let (address, _shutdown, _serving) = api.listen().await;
    let began = Instant::now();
    let half = |head: &'static str| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset, either is an end.
        let _ = stream.read_to_end(&mut rest).await;
        began.elapsed()
    };

    let (silent, slow_line, slow_headers) =
        tokio::join!(half(""), half("GET / HT"), half("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: "));

    for took in [silent, slow_line, slow_headers] {
        assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn a_body_that_dawdles_is_refused() {
    let api = Api::new();
    let (address, _shutdown, _serving) = api.listen().await;
    let began = Instant::now();

    let request = "PUT /api/v1/blocklists/corp HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
                   Content-Length: 100\r\nConnection: close\r\n\r\n192.0.2.1\n";
    let answer = answer_to(address, request).await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(14));
}

#[tokio::test]
async fn a_request_head_too_long_is_refused() {
    let api = Api::new();
    let (address, _shutdown, _serving) = api.listen().await;
    let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(256 << 10));

    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;

    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

#[tokio::test]
async fn shutdown_ends_serving_even_with_connections_open() {
    let api = Api::new();
    let (address, shutdown, serving) = api.listen().await;
    let _idle = TcpStream::connect(address).await.unwrap();

    shutdown.cancel();

    tokio::time::timeout(Duration::from_secs(8), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_unix_socket_serves_its_owner_and_group_and_a_stale_one_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let api = Api::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let listener = Listener::bind(&Listen::Unix(path.clone()), &Means::default()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    tokio::spawn(serve(listener, api.router.clone(), CancellationToken::new()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert_eq!(mode & 0o777, 0o660);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(matches!(Listener::bind(&Listen::Unix(path), &Means::default()), Err(Error::InUse(_))));
}

#[tokio::test]
async fn what_is_not_a_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").unwrap();

    assert!(matches!(Listener::bind(&Listen::Unix(path.clone()), &Means::default()), Err(Error::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn an_address_others_can_reach_is_served_with_tls_or_not_at_all() {
    for address in ["0.0.0.0:9443", "[::]:9443", "192.0.2.1:9443"] {
        let listen: Listen = address.parse().unwrap();
        assert_eq!(listen, Listen::Tls(address.parse().unwrap()));
        assert!(matches!(Listener::bind(&listen, &Means::default()), Err(Error::NoTls(_))), "{address}");
        let listen = Listen::Tcp(address.parse().unwrap());
        assert!(matches!(Listener::bind(&listen, &Means::default()), Err(Error::NotLoopback(_))), "{address}");
    }
}

#[tokio::test]
async fn silent_connections_beyond_the_cap_do_not_hold_an_honest_one_up() {
    let api = Api::new();
    let (address, _shutdown, _serving) = api.listen().await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }

    let began = Instant::now();
    let answer = answer_to(address, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    // Well before the silent ones are given up.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
