//! Version 1 of the Container Runtime Interface, which containerd and CRI-O serve to the kubelet: two of its calls, and
//! of their messages the fields that are read.

use std::{collections::HashMap, path::Path};

use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use netd_engine::process::Pod;
use prost::Message;

use super::{
    Error, Named, cut,
    http::{Version, ask},
};

/// gRPC's `NOT_FOUND`; containerd answers `UNKNOWN` or `INVALID_ARGUMENT` for some ids that it does not have.
const NOT_FOUND: [u32; 3] = [5, 2, 3];

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "8")]
    pub(super) image: Option<ImageSpec>,
    #[prost(map = "string, string", tag = "12")]
    pub(super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    /// As the pod's author wrote it; `image` may be a digest.
    #[prost(string, tag = "18")]
    pub(super) user_specified_image: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<PodSandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// Asks for container `id`, or the pod whose sandbox it is; `None` when this runtime knows neither.
pub(super) async fn inspect(socket: &Path, id: &str) -> Result<Option<Named>, Error> {
    let request = ContainerStatusRequest { container_id: id.to_owned() };
    let answer: Option<ContainerStatusResponse> = call(socket, "ContainerStatus", &request).await?;
    if let Some(status) = answer.and_then(|answer| answer.status) {
        return Ok(Some(named(status)));
    }
    let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned() };
    let answer: Option<PodSandboxStatusResponse> = call(socket, "PodSandboxStatus", &request).await?;
    let Some(metadata) = answer.and_then(|answer| answer.status?.metadata) else { return Ok(None) };
    let pod = cut(&metadata.uid).map(|uid| Pod { uid, name: cut(&metadata.name), namespace: cut(&metadata.namespace) });
    Ok(Some(Named { name: None, image: None, pod }))
}

fn named(status: ContainerStatus) -> Named {
    let label = |name| status.labels.get(name).and_then(|value| cut(value));
    let pod = label("io.kubernetes.pod.uid").map(|uid| Pod {
        uid,
        name: label("io.kubernetes.pod.name"),
        namespace: label("io.kubernetes.pod.namespace"),
    });
    let image = status.image.as_ref().and_then(|image| cut(&image.user_specified_image).or_else(|| cut(&image.image)));
    Named { name: status.metadata.as_ref().and_then(|metadata| cut(&metadata.name)), image, pod }
}

/// One call of gRPC; `None` when the runtime says that there is no such thing.
async fn call<A: Message + Default>(socket: &Path, method: &str, message: &impl Message) -> Result<Option<A>, Error> {
    let request = Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(framed(message).into()))
        .map_err(|_| Error::Request)?;
    let answer = ask(socket, Version::Two, request).await?;
    if answer.status != StatusCode::OK {
        return Err(Error::Status { status: answer.status.as_u16().into() });
    }
    match answer.grpc_status {
        Some(0) => {}
        Some(status) if NOT_FOUND.contains(&status) => return Ok(None),
        Some(status) => return Err(Error::Status { status }),
        None => return Err(Error::Body),
    }
    // One byte says whether it is compressed, which we never asked for; four are the length.
    let [0, a, b, c, d, rest @ ..] = &*answer.body else { return Err(Error::Body) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    let message = rest.get(..length).ok_or(Error::Body)?;
    A::decode(message).map(Some).map_err(|_| Error::Body)
}

fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len() as u32;
    [&[0], length.to_be_bytes().as_slice(), &message.encode_to_vec()].concat()
}
