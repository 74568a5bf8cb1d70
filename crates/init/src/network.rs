//! The sandbox's network namespace: loopback, the link to the outside, the Runtime API's listener.
//!
//! IPv4 only: a sandbox has no IPv6 address but loopback's, so no rule has to be written twice.

use crate::fault::{At, Fault, Step};
use crate::netlink::{ACK, CREATE, EXCLUSIVE, Message, Socket};
use crate::protocol::{Link, RUNTIME_API};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const UP: u32 = 1;
const LOOPBACK: u32 = 1;
/// Connections that may wait to be accepted; a storm of clients must not meet SYN retries.
const BACKLOG: i32 = 4096;

/// Raises loopback with the Runtime API's address on it, and the link when there is one.
pub fn raise(link: Option<Link>) -> Result<(), Fault> {
    let socket = Socket::route().at(Step::RaiseLoopback, "netlink")?;
    socket.ask(up(LOOPBACK)).at(Step::RaiseLoopback, "lo")?;
    socket.ask(address(LOOPBACK, RUNTIME_API.0, 32)).at(Step::RaiseLoopback, "169.254.100.1")?;
    let Some(link) = link else { return Ok(()) };
    socket.ask(address(link.index, link.address, link.prefix)).at(Step::RaiseLink, "address")?;
    socket.ask(up(link.index)).at(Step::RaiseLink, "link")?;
    socket.ask(default_route(link)).at(Step::RaiseLink, "route")
}

/// A listener on `address`.
pub fn listener(address: (Ipv4Addr, u16)) -> Result<OwnedFd, Fault> {
    let on = format!("{}:{}", address.0, address.1);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
        .at(Step::BindRuntimeApi, &on)?;
    sockopt::set_socket_reuseaddr(&socket, true).at(Step::BindRuntimeApi, &on)?;
    bind(&socket, &SocketAddrV4::new(address.0, address.1)).at(Step::BindRuntimeApi, &on)?;
    listen(&socket, BACKLOG).at(Step::BindRuntimeApi, &on)?;
    Ok(socket)
}

fn up(index: u32) -> Message {
    // struct ifinfomsg: family, padding, type, index, flags, mask of flags to change.
    let mut header = vec![0u8; 4];
    header.extend(index.to_ne_bytes());
    header.extend(UP.to_ne_bytes());
    header.extend(UP.to_ne_bytes());
    Message::new(NEW_LINK, ACK).raw(&header)
}

fn address(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    // struct ifaddrmsg: family, prefix length, flags, scope, index. IFA_ADDRESS 1, IFA_LOCAL 2.
    let mut header = vec![libc::AF_INET as u8, prefix, 0, 0];
    header.extend(index.to_ne_bytes());
    let octets = address.octets();
    Message::new(NEW_ADDRESS, ACK | CREATE | EXCLUSIVE)
        .raw(&header)
        .attribute(1, &octets)
        .attribute(2, &octets)
}

fn default_route(link: Link) -> Message {
    // struct rtmsg: family, dst_len, src_len, tos, table main, protocol boot, scope universe, unicast.
    let header = [libc::AF_INET as u8, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    // RTA_GATEWAY 5, RTA_OIF 4.
    Message::new(NEW_ROUTE, ACK | CREATE | EXCLUSIVE)
        .raw(&header)
        .attribute(5, &link.gateway.octets())
        .attribute(4, &link.index.to_ne_bytes())
}
