use proptest::prelude::*;

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "8ac6a7bc-9f0c-4c3b-8f8e-2f6f3a0d6a11";
const SLICE: &str = "8ac6a7bc_9f0c_4c3b_8f8e_2f6f3a0d6a11";

fn container(path: &str) -> Option<(Runtime, String, Option<String>)> {
    let container =
        place(&path.replace("$A", A).replace("$B", B).replace("$UID", UID).replace("$SLICE", SLICE)).container?;
    Some((container.runtime, container.id.clone(), container.pod.as_ref().map(|pod| pod.uid.clone())))
}

#[test]
fn every_runtimes_cgroup_names_its_container() {
    let table = [
        ("/docker/$A", Runtime::Docker),
        ("/system.slice/docker-$A.scope", Runtime::Docker),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-$A.scope", Runtime::Docker),
        ("/system.slice/docker-$A.scope/init.scope", Runtime::Docker),
        ("/ecs/$A", Runtime::Docker),
        ("/k8s.io/$A", Runtime::Containerd),
        ("/moby/$A", Runtime::Containerd),
        ("/system.slice/nerdctl-$A.scope", Runtime::Containerd),
        ("/machine.slice/libpod-$A.scope", Runtime::Podman),
        ("/machine.slice/libpod-$A.scope/container", Runtime::Podman),
        ("/libpod_parent/libpod-$A", Runtime::Podman),
        ("/system.slice/web.service/libpod-payload-$A", Runtime::Podman),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$A.scope/container", Runtime::Podman),
        ("/machine.slice/crio-$A.scope", Runtime::CriO),
        ("/somewhere/$A", Runtime::Unknown),
        ("/../../docker/$A", Runtime::Docker),
    ];
    for (path, runtime) in table {
        assert_eq!(container(path), Some((runtime, A.to_owned(), None)), "{path}");
    }
}

#[test]
fn a_pods_containers_name_the_pod() {
    let table = [
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod$SLICE.slice/cri-containerd-$A.scope",
            Runtime::Containerd,
        ),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod$SLICE.slice/crio-$A.scope", Runtime::CriO),
        ("/kubepods.slice/kubepods-pod$SLICE.slice/docker-$A.scope", Runtime::Docker),
        ("/kubepods/burstable/pod$UID/$A", Runtime::Unknown),
        ("/kubepods/pod$UID/crio-$A", Runtime::CriO),
        ("/system.slice/containerd.service/kubepods-burstable-pod$SLICE.slice:cri-containerd:$A", Runtime::Containerd),
        (
            "/docker/$B/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod$SLICE.slice/cri-containerd-$A.scope",
            Runtime::Containerd,
        ),
    ];
    for (path, runtime) in table {
        assert_eq!(container(path), Some((runtime, A.to_owned(), Some(UID.to_owned()))), "{path}");
    }
}

#[test]
fn the_uid_of_a_static_pod_has_no_dashes() {
    let path = "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/$A";

    assert_eq!(container(path).unwrap().2.as_deref(), Some("0123456789abcdef0123456789abcdef"));
}

#[test]
fn the_innermost_of_nested_containers_counts() {
    assert_eq!(container("/docker/$B/docker/$A"), Some((Runtime::Docker, A.to_owned(), None)));
    assert_eq!(container("/system.slice/docker-$B.scope/libpod-$A.scope"), Some((Runtime::Podman, A.to_owned(), None)));
}

#[test]
fn a_container_inside_a_pods_belongs_to_the_pod() {
    assert_eq!(container("/kubepods/burstable/pod$UID/$B/docker/$A").unwrap().2.as_deref(), Some(UID));
}

#[test]
fn lxc_and_nspawn_containers_are_known_by_name() {
    let table = [
        ("/lxc.payload.web/system.slice/nginx.service", "web"),
        ("/lxc/web/init.scope", "web"),
        ("/machine.slice/machine-my\\x2dbox.scope/payload", "my-box"),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service", "web"),
    ];
    for (path, name) in table {
        assert_eq!(container(path), Some((Runtime::Unknown, name.to_owned(), None)), "{path}");
    }
}

#[test]
fn a_runtimes_helpers_are_in_no_container() {
    for path in [
        "/machine.slice/libpod-conmon-$A.scope",
        "/kubepods.slice/kubepods-pod$SLICE.slice/crio-conmon-$A.scope",
        "/lxc.monitor.web",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/system.slice/containerd.service",
        "/kubepods.slice/kubepods-pod$SLICE.slice",
    ] {
        assert_eq!(container(path), None, "{path}");
    }
}

#[test]
fn what_only_resembles_an_id_is_none() {
    for path in ["/docker/1234", "/docker/ABCDEF", "/docker-.scope", "/docker/$A$A", "/", "", "/lxc", "//docker//"] {
        assert_eq!(container(path), None, "{path}");
    }
}

#[test]
fn the_innermost_unit_is_named() {
    let table = [
        ("/system.slice/ssh.service", Some("ssh.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
        ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo.service", Some("app-foo.service")),
        ("/init.scope", Some("init.scope")),
        ("/system.slice/web.service/libpod-payload-$A", Some("web.service")),
        ("/system.slice/docker-$A.scope", None),
        ("/user.slice", None),
        ("/", None),
    ];
    for (path, unit) in table {
        assert_eq!(place(&path.replace("$A", A)).unit.as_deref(), unit, "{path}");
    }
}

proptest! {
    #[test]
    fn no_path_makes_the_reader_panic(path in "[/:a-z0-9@.\\\\x-]{0,200}|\\PC{0,80}") {
        let _ = place(&path);
    }

    #[test]
    fn every_name_is_unescaped_without_panic(name in "[\\\\x0-9a-fé]{0,40}") {
        let _ = unescape(&name);
    }
}
