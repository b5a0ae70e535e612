//! What the kernel tells of changes unasked.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SocketFlags, recv},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{messages, open_socket};

/// The kernel puts at most so much into a datagram of news.
const BUFFER: usize = 32 * 1024;

/// A piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told<'d> {
    /// A message: its kind and its body.
    Message(u16, &'d [u8]),
    /// There was too much to keep: anything may have happened.
    Missed,
}

/// A socket that hears of changes, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct News {
    socket: OwnedFd,
    ready: Option<AsyncFd<OwnedFd>>,
}

impl News {
    /// Hears of changes in `groups` (`RTMGRP_*`) from here on.
    pub(crate) fn of(groups: i32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Self { socket: open_socket(None, flags, groups.cast_unsigned())?, ready: None })
    }

    /// Waits until there may be news. Must be called in a tokio runtime.
    pub(crate) async fn wait(&mut self) -> io::Result<()> {
        if self.ready.is_none() {
            let socket = self.socket.try_clone()?;
            // SAFETY: the descriptor is owned by what is registered, so it stays open and the same as long as that.
            self.ready = Some(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?);
        }
        if let Some(ready) = &self.ready {
            ready.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// Calls `each` with all news there is, at once; returns whether there was any.
    pub(crate) fn drain(&self, mut each: impl FnMut(Told<'_>)) -> bool {
        let mut buffer = [0; BUFFER];
        let mut any = false;
        loop {
            match recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
                Ok((_, len)) => {
                    any = true;
                    for (header, body) in messages(buffer.get(..len).unwrap_or_default()) {
                        each(Told::Message(header.kind, body));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => {
                    any = true;
                    each(Told::Missed);
                }
                Err(_) => return any,
            }
        }
    }
}
