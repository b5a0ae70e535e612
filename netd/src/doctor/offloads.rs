//! Whether an interface joins packets in hardware, asked of the kernel as `ethtool` asks.

use std::io;
use std::os::fd::AsRawFd as _;

/// `ETHTOOL_GFLAGS`, and its bit for large receive offload.
const GET_FLAGS: u32 = 0x25;
const LARGE_RECEIVE: u32 = 1 << 15;
const SIOCETHTOOL: u32 = 0x8946;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Returns whether large receive offload is on.
pub(super) fn has_large_receive(interface: &str) -> io::Result<bool> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    let mut value = EthtoolValue { command: GET_FLAGS, data: 0 };
    // SAFETY: `ifreq` is plain numbers and pointers, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1));
    name.for_each(|(to, from)| *to = from.cast_signed() as libc::c_char);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: both structures outlive the call, and the command writes no more than `EthtoolValue` has.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL.into(), &raw mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value.data & LARGE_RECEIVE != 0)
}
