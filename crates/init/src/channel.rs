//! Messages and descriptors over a seqpacket socket.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes in the largest message. The kernel's default send buffer is a little larger.
pub const LARGEST: usize = 160 * 1024;

/// Descriptors that can come with one message.
pub const MOST_DESCRIPTORS: usize = 32;

/// Two connected ends, both closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends `message` and lends `fd` to the other side.
///
/// # Errors
/// `InvalidInput` when the message is too large, else what the kernel says (`WouldBlock` too).
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    send_all(socket, message, &fds)
}

/// The same with several descriptors.
///
/// # Errors
/// As [`send`].
pub fn send_all<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_bytes(socket, &serde_json::to_vec(message).map_err(io::Error::other)?, fds)
}

/// The same with bytes that are no message of this kind.
///
/// # Errors
/// As [`send`].
pub fn send_bytes(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > LARGEST {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// The next message and the descriptor that came with it; `None` once the other side has closed.
///
/// # Errors
/// `InvalidData` when it is not a message of this kind, else what the kernel says.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let received = receive_all(socket)?;
    Ok(received.map(|(message, fds)| (message, fds.into_iter().next())))
}

/// The same with all descriptors that came with it.
///
/// # Errors
/// As [`receive`].
pub fn receive_all<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0u8; LARGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut next = || {
        rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(&socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })
    };
    // The other side closed without having read everything. Told once, before what it last said.
    let got = match next() {
        Err(rustix::io::Errno::CONNRESET) => next()?,
        other => other?,
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let fds = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let message = serde_json::from_slice(bytes.get(..got.bytes).unwrap_or_default())
        .map_err(io::Error::from)?;
    Ok(Some((message, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_travels_with_its_message_and_closing_is_seen() {
        let (a, b) = pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(&a, &"hello", Some(writer.as_fd())).unwrap();
        drop(writer);
        let (text, fd) = receive::<String>(&b).unwrap().unwrap();
        assert_eq!(text, "hello");
        rustix::io::write(fd.unwrap(), b"x").unwrap();
        let mut one = [0u8; 1];
        assert_eq!(rustix::io::read(&reader, &mut one).unwrap(), 1);
        drop(a);
        assert!(receive::<String>(&b).unwrap().is_none());
    }

    #[test]
    fn last_words_are_heard_from_one_who_did_not_listen() {
        let (a, b) = pair().unwrap();
        send(&b, &"unread", None).unwrap();
        send(&a, &"last words", None).unwrap();
        drop(a);
        assert_eq!(receive::<String>(&b).unwrap().unwrap().0, "last words");
        assert!(receive::<String>(&b).unwrap().is_none());
    }

    #[test]
    fn too_large_is_refused_before_it_is_sent() {
        let (a, _b) = pair().unwrap();
        let error = send(&a, &"x".repeat(LARGEST), None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
    }
}
