//! The contexts that `BPF_PROG_TEST_RUN` takes and gives back.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct __sk_buff`. The kernel takes `mark`, `ingress_ifindex`, `ifindex` and the two of segmentation offload, and
/// refuses a packet whose other fields are not zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct SkBuff {
    pub(crate) len: u32,
    pub(crate) pkt_type: u32,
    pub(crate) mark: u32,
    pub(crate) before_ingress: [u32; 6],
    pub(crate) ingress_ifindex: u32,
    pub(crate) ifindex: u32,
    pub(crate) before_wire_len: [u32; 29],
    pub(crate) wire_len: u32,
    pub(crate) gso_segs: u32,
    pub(crate) sk: [u32; 2],
    pub(crate) gso_size: u32,
    pub(crate) tstamp_type: u32,
    pub(crate) hwtstamp: [u32; 2],
}

const _: () = assert!(size_of::<SkBuff>() == 192 && std::mem::offset_of!(SkBuff, gso_segs) == 164);

/// `struct xdp_md`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct XdpMd {
    pub(crate) data: u32,
    pub(crate) data_end: u32,
    pub(crate) data_meta: u32,
    pub(crate) ingress_ifindex: u32,
    pub(crate) rx_queue_index: u32,
    pub(crate) egress_ifindex: u32,
}
