//! bpf(2): the commands aya does not offer (batches, link update and detach of every link type, creation of a link by
//! interface index, maps that a running daemon makes).
//!
//! Every function here is safe to call: buffers are checked against what the kernel says of the map's sizes by
//! [`super::table`], the only caller that hands over buffers of another length than their type.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Numbers of bpf(2) commands (`enum bpf_cmd`).
mod command {
    pub(super) const MAP_CREATE: libc::c_int = 0;
    pub(super) const MAP_LOOKUP_ELEM: libc::c_int = 1;
    pub(super) const MAP_UPDATE_ELEM: libc::c_int = 2;
    pub(super) const MAP_DELETE_ELEM: libc::c_int = 3;
    pub(super) const MAP_GET_NEXT_KEY: libc::c_int = 4;
    pub(super) const OBJ_PIN: libc::c_int = 6;
    pub(super) const OBJ_GET: libc::c_int = 7;
    pub(super) const PROG_TEST_RUN: libc::c_int = 10;
    pub(super) const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    pub(super) const PROG_QUERY: libc::c_int = 16;
    pub(super) const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
    pub(super) const MAP_LOOKUP_BATCH: libc::c_int = 24;
    pub(super) const MAP_UPDATE_BATCH: libc::c_int = 26;
    pub(super) const MAP_DELETE_BATCH: libc::c_int = 27;
    pub(super) const LINK_CREATE: libc::c_int = 28;
    pub(super) const LINK_UPDATE: libc::c_int = 29;
    pub(super) const LINK_DETACH: libc::c_int = 34;
}

/// Where a program can be attached by a link (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachType(pub(super) u32);

impl AttachType {
    pub(super) const SOCK_OPS: Self = Self(3);
    pub(super) const CONNECT4: Self = Self(10);
    pub(super) const CONNECT6: Self = Self(11);
    pub(super) const POST_BIND4: Self = Self(12);
    pub(super) const POST_BIND6: Self = Self(13);
    pub(super) const SENDMSG4: Self = Self(14);
    pub(super) const SENDMSG6: Self = Self(15);
    pub(super) const GETPEERNAME4: Self = Self(29);
    pub(super) const GETPEERNAME6: Self = Self(30);
    pub(super) const SOCK_RELEASE: Self = Self(34);
    pub(super) const XDP: Self = Self(37);
    pub(super) const TCX_INGRESS: Self = Self(46);
    pub(super) const TCX_EGRESS: Self = Self(47);
}

/// TCX: run before every program that is there.
pub(super) const BEFORE: u32 = 1 << 3;
/// XDP: in the stack, for any device.
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// XDP: in the driver.
pub(super) const XDP_NATIVE: u32 = 1 << 2;

/// Kinds of link (`enum bpf_link_type`).
pub(super) const LINK_CGROUP: u32 = 3;
pub(super) const LINK_XDP: u32 = 6;
pub(super) const LINK_TCX: u32 = 11;

/// What the kernel says of a map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct MapInfo {
    pub(super) map_type: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
    name: [u8; 16],
}

/// What the kernel says of a program (`struct bpf_prog_info`): how often it ran and for how long, which is counted only
/// while somebody has statistics on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct ProgramInfo {
    identity: [u64; 24],
    pub(super) run_time_ns: u64,
    pub(super) runs: u64,
}

/// What the kernel says of a link; the last two words depend on its kind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct LinkInfo {
    pub(super) link_type: u32,
    pub(super) id: u32,
    pub(super) program: u32,
    pad: u32,
    target: [u32; 4],
}

impl LinkInfo {
    /// Returns the interface of a TCX or XDP link; 0 when the interface is gone.
    pub(super) const fn ifindex(&self) -> u32 {
        self.target[0]
    }

    /// Returns the cgroup's number of a cgroup link; 0 when the cgroup is gone.
    pub(super) const fn cgroup(&self) -> u64 {
        self.target[0] as u64 | (self.target[1] as u64) << 32
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
    ifindex: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Element {
    map: i32,
    pad: u32,
    key: u64,
    /// Value, or the next key.
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Batch {
    cursor_in: u64,
    cursor_out: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: i32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Object {
    /// Or a tracepoint's name.
    path: u64,
    fd: i32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Info {
    fd: i32,
    len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct LinkCreate {
    program: i32,
    /// Interface index or cgroup descriptor.
    target: u32,
    attach_type: u32,
    flags: u32,
    /// TCX: the neighbour to be placed beside, none.
    relative: u32,
    pad: u32,
    expected_revision: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    pad: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct LinkChange {
    link: i32,
    program: i32,
    flags: u32,
    old_program: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct TestRun {
    program: i32,
    answer: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// Calls bpf(2).
///
/// # Safety
///
/// Every address in `attributes` must be valid for what `command` reads or writes there.
unsafe fn bpf<T: IntoBytes + FromBytes + KnownLayout>(command: libc::c_int, attributes: &mut T) -> io::Result<i64> {
    let bytes = attributes.as_mut_bytes();
    // SAFETY: pointer and length are those of one live buffer; the kernel treats what follows a shorter
    // `union bpf_attr` as zero. The addresses inside are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, bytes.as_mut_ptr(), bytes.len()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

/// What a new map is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapShape {
    pub(super) map_type: u32,
    pub(super) key_size: usize,
    pub(super) value_size: usize,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// Makes a map; `name` is what other tools show, cut to 15 characters.
pub(super) fn map_create(name: &str, shape: MapShape) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        map_type: shape.map_type,
        key_size: shape.key_size as u32,
        value_size: shape.value_size as u32,
        max_entries: shape.max_entries,
        flags: shape.flags,
        ..MapCreate::default()
    };
    let length = name.len().min(attributes.name.len() - 1);
    attributes.name[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: the attributes hold no address.
    let fd = unsafe { bpf(command::MAP_CREATE, &mut attributes)? };
    owned(fd)
}

/// Runs a program of packets over one, and returns its answer.
pub(super) fn test_run(program: impl AsFd, packet: &[u8]) -> io::Result<u32> {
    let size_in = u32::try_from(packet.len()).map_err(io::Error::other)?;
    let mut attributes =
        TestRun { program: raw(&program), size_in, data_in: address(packet), repeat: 1, ..TestRun::default() };
    // SAFETY: the packet is live and of this size, the kernel only reads it; no room for an answer is offered.
    unsafe { bpf(command::PROG_TEST_RUN, &mut attributes)? };
    Ok(attributes.answer)
}

/// Opens what is pinned at `path`.
pub(super) fn object_get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Object { path: address(path.as_bytes_with_nul()), ..Object::default() };
    // SAFETY: the path is a live, terminated string; the kernel only reads it.
    let fd = unsafe { bpf(command::OBJ_GET, &mut attributes)? };
    owned(fd)
}

/// Pins `object` at `path`.
pub(super) fn object_pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Object { path: address(path.as_bytes_with_nul()), fd: raw(&object), flags: 0 };
    // SAFETY: the path is a live, terminated string; the kernel only reads it.
    unsafe { bpf(command::OBJ_PIN, &mut attributes) }.map(drop)
}

pub(super) fn map_info(map: impl AsFd) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    object_info(&map, &mut info)?;
    Ok(info)
}

pub(super) fn program_info(program: impl AsFd) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo::default();
    object_info(&program, &mut info)?;
    Ok(info)
}

pub(super) fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    object_info(&link, &mut info)?;
    Ok(info)
}

fn object_info<T: IntoBytes + FromBytes + KnownLayout>(object: &impl AsFd, info: &mut T) -> io::Result<()> {
    let bytes = info.as_mut_bytes();
    let mut attributes =
        Info { fd: raw(object), len: bytes.len() as u32, info: bytes.as_mut_ptr().expose_provenance() as u64 };
    // SAFETY: the kernel writes at most `len` bytes to `info`, a live buffer of that length.
    unsafe { bpf(command::OBJ_GET_INFO_BY_FD, &mut attributes) }.map(drop)
}

/// Attaches `program` to an interface by a link.
pub(super) fn link_interface(
    program: impl AsFd,
    ifindex: u32,
    attach_type: AttachType,
    flags: u32,
) -> io::Result<OwnedFd> {
    link_create(&program, ifindex, attach_type, flags)
}

/// Attaches `program` to a cgroup by a link, beside whatever others have attached there.
pub(super) fn link_cgroup(program: impl AsFd, cgroup: impl AsFd, attach_type: AttachType) -> io::Result<OwnedFd> {
    // Cgroup links are always "multi"; the kernel refuses flags (bpf: Implement bpf_link-based cgroup BPF program
    // attachment, af6eea57437a, 5.7).
    link_create(&program, raw(&cgroup).cast_unsigned(), attach_type, 0)
}

fn link_create(program: &impl AsFd, target: u32, attach_type: AttachType, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes =
        LinkCreate { program: raw(program), target, attach_type: attach_type.0, flags, ..LinkCreate::default() };
    // SAFETY: the attributes hold no address.
    let fd = unsafe { bpf(command::LINK_CREATE, &mut attributes)? };
    owned(fd)
}

/// Returns the number of the link that packets meet first at an interface's TCX hook, 0 for a program without one; `None`
/// when nothing is attached there.
pub(super) fn first_link(ifindex: u32, attach_type: AttachType) -> io::Result<Option<u32>> {
    /// The kernel lets no more be attached.
    const MOST: usize = 64;
    let (mut programs, mut links) = ([0_u32; MOST], [0_u32; MOST]);
    let mut attributes = Query {
        target: ifindex,
        attach_type: attach_type.0,
        programs: programs.as_mut_bytes().as_mut_ptr().expose_provenance() as u64,
        links: links.as_mut_bytes().as_mut_ptr().expose_provenance() as u64,
        count: MOST as u32,
        ..Query::default()
    };
    // SAFETY: both arrays are alive and hold `count` numbers.
    unsafe { bpf(command::PROG_QUERY, &mut attributes)? };
    Ok((attributes.count > 0).then_some(links[0]))
}

/// Runs `program` at a tracepoint of the kernel's, for as long as what is returned is open.
pub(super) fn raw_tracepoint(program: impl AsFd, tracepoint: &str) -> io::Result<OwnedFd> {
    let name = CString::new(tracepoint)?;
    let mut attributes = Object { path: address(name.as_bytes_with_nul()), fd: raw(&program), flags: 0 };
    // SAFETY: the name is a live, terminated string; the kernel only reads it.
    let fd = unsafe { bpf(command::RAW_TRACEPOINT_OPEN, &mut attributes)? };
    owned(fd)
}

/// Replaces a link's program in one step: no packet passes in between.
pub(super) fn link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attributes = LinkChange { link: raw(&link), program: raw(&program), flags: 0, old_program: 0 };
    // SAFETY: the attributes hold no address.
    unsafe { bpf(command::LINK_UPDATE, &mut attributes) }.map(drop)
}

/// Detaches a link now, whoever else holds it.
pub(super) fn link_detach(link: impl AsFd) -> io::Result<()> {
    let mut attributes = raw(&link);
    // SAFETY: the attributes hold no address.
    unsafe { bpf(command::LINK_DETACH, &mut attributes) }.map(drop)
}

/// Reads the value of `key` into `value`; false when there is none.
///
/// # Safety
///
/// `key` and `value` must be as long as the map's keys and values (of all possible CPUs for a per-CPU map).
pub(super) unsafe fn lookup(map: &impl AsFd, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut attributes = Element {
        map: raw(map),
        key: address(key),
        value: value.as_mut_ptr().expose_provenance() as u64,
        ..Element::default()
    };
    // SAFETY: the caller's promise.
    found(unsafe { bpf(command::MAP_LOOKUP_ELEM, &mut attributes) })
}

/// Sets the value of `key`.
///
/// # Safety
///
/// As [`lookup`].
pub(super) unsafe fn update(map: &impl AsFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attributes = Element { map: raw(map), key: address(key), value: address(value), ..Element::default() };
    // SAFETY: the caller's promise.
    unsafe { bpf(command::MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Deletes `key`; false when there was none.
///
/// # Safety
///
/// `key` must be as long as the map's keys.
pub(super) unsafe fn delete(map: &impl AsFd, key: &[u8]) -> io::Result<bool> {
    let mut attributes = Element { map: raw(map), key: address(key), ..Element::default() };
    // SAFETY: the caller's promise.
    found(unsafe { bpf(command::MAP_DELETE_ELEM, &mut attributes) })
}

/// Writes the key after `key` (the first for `None`) to `next`; false at the end.
///
/// # Safety
///
/// `key` and `next` must be as long as the map's keys.
pub(super) unsafe fn next_key(map: &impl AsFd, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let mut attributes = Element {
        map: raw(map),
        key: key.map_or(0, address),
        value: next.as_mut_ptr().expose_provenance() as u64,
        ..Element::default()
    };
    // SAFETY: the caller's promise.
    found(unsafe { bpf(command::MAP_GET_NEXT_KEY, &mut attributes) })
}

/// How far a batch went, and why it stopped.
pub(super) struct Progress {
    pub(super) done: u32,
    pub(super) result: io::Result<()>,
}

/// Sets `count` keys to their values.
///
/// # Safety
///
/// `keys` and `values` must hold `count` keys and values of the map's sizes.
pub(super) unsafe fn update_batch(map: &impl AsFd, keys: &[u8], values: &[u8], count: u32) -> Progress {
    let mut attributes =
        Batch { keys: address(keys), values: address(values), count, map: raw(map), ..Batch::default() };
    // SAFETY: the caller's promise; the kernel only reads both.
    let result = unsafe { bpf(command::MAP_UPDATE_BATCH, &mut attributes) };
    progress(result, attributes.count, count)
}

/// Deletes `count` keys; stops at the first that is not there.
///
/// # Safety
///
/// `keys` must hold `count` keys of the map's size.
pub(super) unsafe fn delete_batch(map: &impl AsFd, keys: &[u8], count: u32) -> Progress {
    let mut attributes = Batch { keys: address(keys), count, map: raw(map), ..Batch::default() };
    // SAFETY: the caller's promise; the kernel only reads the keys.
    let result = unsafe { bpf(command::MAP_DELETE_BATCH, &mut attributes) };
    progress(result, attributes.count, count)
}

/// Where a batched reading stands, and its buffers.
pub(super) struct Chunk<'a> {
    /// `None` at the start.
    pub(super) cursor_in: Option<&'a [u8]>,
    pub(super) cursor_out: &'a mut [u8],
    pub(super) keys: &'a mut [u8],
    pub(super) values: &'a mut [u8],
    pub(super) count: u32,
}

/// Reads up to `count` entries; `ENOENT` with a number says that these were the last.
///
/// # Safety
///
/// `keys` and `values` must have room for `count` keys and values of the map's sizes, both cursors for one key and
/// at least four bytes.
pub(super) unsafe fn lookup_batch(map: &impl AsFd, chunk: Chunk<'_>) -> Progress {
    let mut attributes = Batch {
        cursor_in: chunk.cursor_in.map_or(0, address),
        cursor_out: chunk.cursor_out.as_mut_ptr().expose_provenance() as u64,
        keys: chunk.keys.as_mut_ptr().expose_provenance() as u64,
        values: chunk.values.as_mut_ptr().expose_provenance() as u64,
        count: chunk.count,
        map: raw(map),
        ..Batch::default()
    };
    // SAFETY: the caller's promise.
    let result = unsafe { bpf(command::MAP_LOOKUP_BATCH, &mut attributes) };
    let at_end = result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT));
    if at_end {
        return Progress { done: attributes.count.min(chunk.count), result: result.map(drop) };
    }
    progress(result, attributes.count, chunk.count)
}

/// The kernel writes the count back even when it fails, except for errors that come before it has begun; those leave
/// the whole count in place.
fn progress(result: io::Result<i64>, done: u32, asked: u32) -> Progress {
    match result {
        Ok(_) => Progress { done: done.min(asked), result: Ok(()) },
        Err(error) => Progress { done: if done < asked { done } else { 0 }, result: Err(error) },
    }
}

fn found(result: io::Result<i64>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn raw(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

fn owned(fd: i64) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us (close-on-exec is its default), nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
