use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::api::tls::Error;
use crate::api::{Tls, TlsSource, own_authority};
use crate::cli::client::{Client, Server};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn own(folder: &Path) -> TlsSource {
    TlsSource::Own { folder: folder.to_owned(), names: vec!["localhost".into(), "127.0.0.1".into()] }
}

/// An authority and files of a certificate that it signed for `name`.
struct Signed {
    authority: std::path::PathBuf,
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
}

fn signed(folder: &Path, name: &str, year: i32) -> Signed {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |file: String, text: String| {
        let path = folder.join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    Signed {
        authority: write(format!("{name}-{year}-ca.pem"), authority.pem()),
        certificate: write(format!("{name}-{year}.pem"), certificate.pem()),
        key: write(format!("{name}-{year}.key"), key.serialize_pem()),
    }
}

fn year() -> i32 {
    let seconds = crate::time::now().0 / 1_000_000_000;
    1970 + i32::try_from(seconds / 31_556_952).unwrap()
}

/// Serves the API with TLS, and asks it for its status as `ask` says.
async fn asked(tls: Tls, token: Option<&str>, trusts: &Path, host: &str) -> Result<Value, String> {
    let api = Api::with(Audit::none(), None);
    let (_, real) = api.tokens.create("t".into(), vec![Scope::Read], crate::time::now(), None).unwrap();
    let token = token.map_or_else(|| real.reveal().to_owned(), str::to_owned);
    let means = Means { tls: Some(Arc::new(tls)), group: None };
    let listener = Listener::bind(&"tls:127.0.0.1:0".parse().unwrap(), &means).unwrap();
    let port = listener.tcp_address().unwrap().port();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, api.router.clone(), shutdown.clone()));
    let (server, trusts) = (Server::Tls(format!("{host}:{port}")), trusts.to_owned());
    let answer = tokio::task::spawn_blocking(move || {
        let client = Client::new(server).unwrap().identified(Some(token), Some(trusts));
        client.get("/api/v1/status").map_err(|error| error.to_string())
    });
    let answer = answer.await.unwrap();
    shutdown.cancel();
    serving.await.unwrap();
    answer
}

#[tokio::test]
async fn who_trusts_netds_own_authority_and_has_a_token_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Tls::open(own(folder.path()), None, crate::time::now()).unwrap();
    let authority = own_authority(folder.path());

    let answer = asked(open(), None, &authority, "localhost").await.unwrap();
    assert_eq!(answer["kill_switch"], false);
    // The next start signs another certificate, and the authority stays.
    assert!(asked(open(), None, &authority, "127.0.0.1").await.is_ok());
    let refused = asked(open(), Some("ntd_guess"), &authority, "localhost").await.unwrap_err();

    assert!(refused.contains("the token is not accepted"), "{refused}");
    let mode = std::fs::metadata(folder.path().join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_server_that_is_expired_foreign_or_of_another_name_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let good = signed(folder.path(), "localhost", year());
    let expired = signed(folder.path(), "localhost", 2001);
    let other = signed(folder.path(), "other.example", year());
    let tls = |signed: &Signed| {
        let source = TlsSource::Files { certificate: signed.certificate.clone(), key: signed.key.clone() };
        Tls::open(source, None, NOW).unwrap()
    };

    assert!(asked(tls(&good), None, &good.authority, "localhost").await.is_ok());
    for (case, server, trusts, expected) in [
        ("expired", &expired, &expired.authority, "expired"),
        ("another name", &other, &other.authority, "not valid for name"),
        ("foreign", &good, &other.authority, "invalid peer certificate"),
    ] {
        let error = asked(tls(server), None, trusts, "localhost").await.unwrap_err();
        assert!(error.contains(expected), "{case}: {error}");
    }
}

#[tokio::test]
async fn where_clients_must_show_a_certificate_a_token_alone_is_not_enough() {
    let folder = tempfile::tempdir().unwrap();
    let clients = signed(folder.path(), "client", year());
    let tls = Tls::open(own(folder.path()), Some(clients.authority), crate::time::now()).unwrap();

    let refused = asked(tls, None, &own_authority(folder.path()), "localhost").await;

    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let signed = signed(folder.path(), "localhost", year());
    let source = TlsSource::Files { certificate: signed.certificate.clone(), key: signed.key.clone() };
    std::fs::set_permissions(&signed.key, std::fs::Permissions::from_mode(0o644)).unwrap();

    let error = Tls::open(source.clone(), None, NOW).unwrap_err();
    assert!(matches!(error, Error::KeyOpen { mode: 0o644, .. }));
    assert!(error.to_string().contains("chmod 600"));

    std::fs::set_permissions(&signed.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&signed.certificate, "no certificate").unwrap();
    assert!(matches!(Tls::open(source, None, NOW), Err(Error::Pem { .. })));
}

#[test]
fn changed_files_are_taken_over_once_and_bad_ones_leave_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let first = signed(folder.path(), "localhost", year());
    let second = signed(folder.path(), "other.example", year());
    let source = TlsSource::Files { certificate: first.certificate.clone(), key: first.key.clone() };
    let tls = Tls::open(source, None, NOW).unwrap();
    let current = || Arc::as_ptr(tls.acceptor().config());
    let before = current();

    assert!(!tls.reload(NOW).unwrap());
    std::fs::write(&first.certificate, "half of a certifi").unwrap();
    assert!(tls.reload(NOW).is_err());
    assert_eq!(current(), before);
    assert!(!tls.reload(NOW).unwrap());
    std::fs::copy(&second.certificate, &first.certificate).unwrap();
    std::fs::copy(&second.key, &first.key).unwrap();
    assert!(tls.reload(NOW).unwrap());
    assert_ne!(current(), before);
}

#[test]
fn a_certificate_of_netds_own_is_replaced_long_before_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open(own(folder.path()), None, NOW).unwrap();

    assert!(!tls.reload(NOW.plus_secs(29.0 * 86_400.0)).unwrap());
    assert!(tls.reload(NOW.plus_secs(31.0 * 86_400.0)).unwrap());
    assert!(!tls.reload(NOW.plus_secs(32.0 * 86_400.0)).unwrap());
}
