//! Against servers on unix sockets: Docker's API through hyper, the CRI through tonic, which knows nothing of our
//! client.

use std::{collections::HashMap, convert::Infallible, future::ready, path::Path, time::Instant};

use http_body_util::Full;
use hyper::{
    Response,
    body::Bytes,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tonic::{Status, codegen::BoxFuture, server::UnaryService};
use tonic_prost::ProstCodec;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SANDBOX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// Serves Docker's API: `status` and `body` for our container, 404 for others.
fn serve_docker(path: &Path, status: u16, body: &'static str) {
    serve(path, move |stream| async move {
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let is_known = request.uri().path() == format!("/containers/{ID}/json");
            let (status, body) = if is_known { (status, body) } else { (404, r#"{"message":"No such container"}"#) };
            let response = Response::builder().status(status).body(Full::<Bytes>::from(body)).unwrap();
            ready(Ok::<_, Infallible>(response))
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

struct Containers;

impl UnaryService<cri::ContainerStatusRequest> for Containers {
    type Response = cri::ContainerStatusResponse;
    type Future = BoxFuture<tonic::Response<Self::Response>, Status>;

    fn call(&mut self, request: tonic::Request<cri::ContainerStatusRequest>) -> Self::Future {
        let id = request.into_inner().container_id;
        let labels = [("uid", "11-22"), ("name", "shop-1"), ("namespace", "shop")];
        let labels = labels.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.to_owned()));
        let status = cri::ContainerStatus {
            id: id.clone(),
            metadata: Some(cri::ContainerMetadata { name: "web".into() }),
            image: Some(cri::ImageSpec { image: "registry.example/shop:1".into(), ..Default::default() }),
            labels: HashMap::from(labels),
        };
        let known = cri::ContainerStatusResponse { status: Some(status) };
        let answer = if id == ID { Ok(tonic::Response::new(known)) } else { Err(Status::not_found("none")) };
        Box::pin(ready(answer))
    }
}

struct Sandboxes;

impl UnaryService<cri::PodSandboxStatusRequest> for Sandboxes {
    type Response = cri::PodSandboxStatusResponse;
    type Future = BoxFuture<tonic::Response<Self::Response>, Status>;

    fn call(&mut self, request: tonic::Request<cri::PodSandboxStatusRequest>) -> Self::Future {
        let id = request.into_inner().pod_sandbox_id;
        let metadata = cri::PodSandboxMetadata { name: "shop-1".into(), uid: "11-22".into(), namespace: "shop".into() };
        let status = cri::PodSandboxStatus { id: id.clone(), metadata: Some(metadata) };
        let known = cri::PodSandboxStatusResponse { status: Some(status) };
        let answer = if id == SANDBOX { Ok(tonic::Response::new(known)) } else { Err(Status::not_found("none")) };
        Box::pin(ready(answer))
    }
}

fn serve_cri(path: &Path) {
    serve(path, |stream| async move {
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
            let response = match request.uri().path() {
                "/runtime.v1.RuntimeService/ContainerStatus" => {
                    tonic::server::Grpc::new(ProstCodec::default()).unary(Containers, request).await
                }
                "/runtime.v1.RuntimeService/PodSandboxStatus" => {
                    tonic::server::Grpc::new(ProstCodec::default()).unary(Sandboxes, request).await
                }
                _ => Status::unimplemented("").into_http(),
            };
            Ok::<_, Infallible>(response)
        });
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    });
}

/// Answers every connection on a thread of its own for as long as the test runs.
fn serve<F: Future<Output = ()> + 'static>(path: &Path, each: impl Fn(UnixStream) -> F + Send + 'static) {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                each(stream).await;
            }
        });
    });
}

fn sockets(docker: &Path, cri: &Path) -> Sockets {
    Sockets { docker: vec![docker.to_owned()], cri: vec![cri.to_owned()] }
}

fn asked(sockets: &Sockets, id: &str, runtime: Runtime) -> Result<Option<Named>, Error> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(inspect(sockets, id, runtime))
}

const INSPECTED: &str = r#"{"Id":"01","Name":"/web","State":{"Pid":7},"Config":{"Image":"nginx:1","Env":["A=b"]}}"#;

#[test]
fn docker_tells_name_and_image() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    serve_docker(&socket, 200, INSPECTED);

    let named = asked(&sockets(&socket, Path::new("/none")), ID, Runtime::Docker).unwrap().unwrap();

    assert_eq!((named.name.as_deref(), named.image.as_deref()), (Some("web"), Some("nginx:1")));
}

#[test]
fn cri_tells_name_image_and_pod() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    serve_cri(&socket);

    let named = asked(&sockets(Path::new("/none"), &socket), ID, Runtime::Containerd).unwrap().unwrap();

    let pod = Pod { uid: "11-22".into(), name: Some("shop-1".into()), namespace: Some("shop".into()) };
    let image = Some("registry.example/shop:1".into());
    assert_eq!(named, Named { name: Some("web".into()), image, pod: Some(pod) });
}

#[test]
fn a_pods_sandbox_names_the_pod_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    serve_cri(&socket);

    let named = asked(&sockets(Path::new("/none"), &socket), SANDBOX, Runtime::CriO).unwrap().unwrap();

    assert_eq!((named.name, named.pod.unwrap().name.as_deref()), (None, Some("shop-1")));
}

#[test]
fn a_container_whose_runtime_is_unknown_is_asked_for_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let (docker, cri) = (directory.path().join("docker.sock"), directory.path().join("cri.sock"));
    serve_docker(&docker, 404, "{}");
    serve_cri(&cri);

    let named = asked(&sockets(&docker, &cri), ID, Runtime::Unknown).unwrap().unwrap();

    assert_eq!(named.name.as_deref(), Some("web"));
}

#[test]
fn what_no_runtime_knows_has_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let (docker, cri) = (directory.path().join("docker.sock"), directory.path().join("cri.sock"));
    serve_docker(&docker, 200, INSPECTED);
    serve_cri(&cri);

    assert_eq!(asked(&sockets(&docker, &cri), &"e".repeat(64), Runtime::Unknown).unwrap(), None);
}

#[test]
fn an_answer_that_is_no_description_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for (index, (status, body)) in [(200, "[]"), (200, "{"), (500, "{}")].into_iter().enumerate() {
        let socket = directory.path().join(index.to_string());
        serve_docker(&socket, status, body);

        assert!(asked(&sockets(&socket, Path::new("/none")), ID, Runtime::Docker).is_err(), "{body}");
    }
}

#[test]
fn docker_answering_a_grpc_call_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    serve_docker(&socket, 200, INSPECTED);

    assert!(asked(&sockets(Path::new("/none"), &socket), ID, Runtime::Containerd).is_err());
}

#[test]
fn an_answer_without_end_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n");
        while io::Write::write_all(&mut stream, &[b' '; 65_536]).is_ok() {}
    });

    assert!(asked(&sockets(&socket, Path::new("/none")), ID, Runtime::Docker).is_err());
}

#[test]
fn a_runtime_that_hangs_is_counted_and_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let names = Names::start(sockets(&socket, Path::new("/none"))).unwrap();
    let container = Container { id: ID.into(), runtime: Runtime::Docker, ..Container::default() };

    let before = Instant::now();
    names.ask(&container);

    assert!(before.elapsed() < Duration::from_millis(100));
    let deadline = Instant::now() + Duration::from_secs(10);
    while names.counts.failed.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the question is still open");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_answer_comes_back_by_the_containers_id() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    serve_docker(&socket, 200, INSPECTED);
    let names = Names::start(sockets(&socket, Path::new("/none"))).unwrap();

    names.ask(&Container { id: ID.into(), runtime: Runtime::Docker, ..Container::default() });

    let deadline = Instant::now() + Duration::from_secs(10);
    let (id, named) = loop {
        assert!(Instant::now() < deadline, "no answer");
        if let Some(answer) = names.answers().next() {
            break answer;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!((id.as_str(), named.name.as_deref()), (ID, Some("web")));
}

#[test]
fn a_name_has_no_control_characters_and_an_end() {
    assert_eq!(cut("a\x1b[31m\nb").as_deref(), Some("a[31mb"));
    assert_eq!(cut(&"é".repeat(1_000)).unwrap().len(), MAX_NAME);
    assert_eq!(cut("\n"), None);
}
