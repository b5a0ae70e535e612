//! Processes of this host that wait on a port.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use netd_engine::engine::Listening;
use netd_engine::flow::protocol_name;
use netd_engine::process::Process;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Live, Parameters, Wanted, number};
use crate::api::Context;
use crate::api::explain::ask;
use crate::api::input::Params;
use crate::api::problem::Problem;
use crate::query::{Field, Table, Value};

/// Somebody who waits for connections or datagrams.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Listener")]
pub(in crate::api) struct View {
    /// `0.0.0.0` or `::` for every address.
    address: IpAddr,
    /// The port.
    port: u16,
    /// The transport protocol's name, or its IANA number.
    protocol: String,
    /// Who listens.
    process: Process,
}

pub(in crate::api) async fn get(
    State(context): State<Context>,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(parameters, Table::Listeners)?;
    let mut listening = ask(&context, |engine| engine.listening()).await?;
    let looked_at = listening.len();
    listening.sort_by_key(|known| (known.proto, known.port, known.address));
    let (chosen, is_cut) =
        wanted.chosen(listening, |known: &Listening| Live { fields: fields(known), now: wanted.now });
    let views: Vec<View> = chosen.into_iter().map(view).collect();
    Ok(wanted.answer((views, is_cut), looked_at))
}

fn fields(known: &Listening) -> Vec<(Field, Value<'_>)> {
    let process = &known.process;
    let container = process.container.as_deref();
    let pod = container.and_then(|container| container.pod.as_ref());
    vec![
        (Field::Dst, Value::Address(known.address)),
        (Field::DstPort, number(known.port)),
        (Field::Protocol, number(known.proto)),
        (Field::Process, Some(process.comm.as_str()).into()),
        (Field::Exe, process.exe.as_deref().into()),
        (Field::Pid, number(process.id.pid)),
        (Field::User, process.user.as_deref().into()),
        (Field::Container, container.map(|c| c.name.as_deref().unwrap_or(&c.id)).into()),
        (Field::Namespace, pod.and_then(|pod| pod.namespace.as_deref()).into()),
        (Field::Pod, pod.and_then(|pod| pod.name.as_deref()).into()),
    ]
}

fn view(Listening { proto, address, port, process }: Listening) -> View {
    View { address, port, protocol: protocol_name(proto), process: Process::clone(&process) }
}
