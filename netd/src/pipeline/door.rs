//! Opens the API's sockets before anything else, and keeps their certificates current.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Options;
use crate::api::{Listen, Listener, Means, Tls, TlsSource};
use crate::config::TlsMode;
use crate::host::addresses::Addresses;
use crate::store::disk;
use crate::time;

/// Between two looks at the certificates' files.
const POLL: Duration = Duration::from_secs(5);

/// Binds every address. A second daemon fails here and has touched nothing.
pub(super) fn open(options: &Options) -> anyhow::Result<(Vec<Listener>, Option<Arc<Tls>>)> {
    let api = &options.api;
    let is_tls = |listen: &Listen| matches!(listen, Listen::Tls(_));
    let tls = match tls_source(options)? {
        Some(source) if api.listen.iter().any(is_tls) => {
            let client_ca = (!api.tls.client_ca.as_os_str().is_empty()).then(|| api.tls.client_ca.clone());
            Some(Arc::new(Tls::open(source, client_ca, time::now()).context("cannot serve TLS")?))
        }
        Some(_) | None => None,
    };
    let group = (!api.group.is_empty()).then(|| api.group.clone());
    let means = Means { tls: tls.clone(), group };
    let bind = |listen| Listener::bind(listen, &means).with_context(|| format!("cannot serve the API on {listen}"));
    Ok((api.listen.iter().map(bind).collect::<anyhow::Result<_>>()?, tls))
}

fn tls_source(options: &Options) -> anyhow::Result<Option<TlsSource>> {
    let tls = &options.api.tls;
    Ok(match tls.mode {
        TlsMode::Off => None,
        TlsMode::Files => Some(TlsSource::Files { certificate: tls.certificate.clone(), key: tls.key.clone() }),
        TlsMode::Auto => {
            let folder = options.state_dir.as_deref().map_or_else(PathBuf::new, |state| state.join(disk::TLS));
            Some(TlsSource::Own { folder, names: names(options)? })
        }
    })
}

/// Returns every name and address that clients may call this host by.
fn names(options: &Options) -> anyhow::Result<Vec<String>> {
    let mut names = options.api.hosts.clone();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    // A name that no certificate can carry is none that a client could check.
    if !hostname.is_empty() && hostname.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
        names.push(hostname);
    }
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    let addresses = Addresses::current().context("cannot learn this host's addresses")?;
    names.extend(addresses.own.iter().map(ToString::to_string));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// Takes changed certificates over until `shutdown`, at the latest at SIGHUP, which ends nothing.
pub(super) async fn follow(tls: Option<Arc<Tls>>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
            _ = hang_up.recv() => {}
        }
        let Some(tls) = &tls else { continue };
        match tls.reload(time::now()) {
            Ok(true) => info!("the API's certificate was replaced"),
            Ok(false) => {}
            Err(error) => warn!(%error, "the API's new certificate cannot be used; the old one stays"),
        }
    }
}
