//! The sandbox's network namespace: loopback, the link to the outside, the Runtime API's listener.
//!
//! IPv4 only: a sandbox has no IPv6 address but loopback's, so no rule has to be written twice.

use crate::fault::{At, Fault, Step};
use crate::netlink::{Socket, links};
use crate::protocol::{LINK, Link, RUNTIME_API};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

const LOOPBACK: u32 = 1;
/// Connections that may wait to be accepted; a storm of clients must not meet SYN retries.
const BACKLOG: i32 = 4096;

/// Raises loopback with the Runtime API's address on it, and the link when there is one.
pub fn raise(link: Option<Link>) -> Result<(), Fault> {
    let socket = Socket::route().at(Step::RaiseLoopback, "netlink")?;
    socket.ask(links::up(LOOPBACK)).at(Step::RaiseLoopback, "lo")?;
    let address = links::address(LOOPBACK, RUNTIME_API.0, 32);
    socket.ask(address).at(Step::RaiseLoopback, "169.254.100.1")?;
    let Some(link) = link else { return Ok(()) };
    let index = links::index(LINK).at(Step::RaiseLink, LINK)?;
    let address = links::address(index, link.address, link.prefix);
    socket.ask(address).at(Step::RaiseLink, "address")?;
    socket.ask(links::up(index)).at(Step::RaiseLink, LINK)?;
    socket.ask(links::default_route(index, link.gateway)).at(Step::RaiseLink, "route")
}

/// A listener on `address`.
pub fn listener(address: (Ipv4Addr, u16)) -> Result<OwnedFd, Fault> {
    let on = format!("{}:{}", address.0, address.1);
    let socket = socket()?;
    sockopt::set_socket_reuseaddr(&socket, true).at(Step::BindRuntimeApi, &on)?;
    bind(&socket, &SocketAddrV4::new(address.0, address.1)).at(Step::BindRuntimeApi, &on)?;
    listen(&socket, BACKLOG).at(Step::BindRuntimeApi, &on)?;
    Ok(socket)
}

/// The Runtime API's listener, then those of `ports` beside it; with port 0, all where there is room.
pub fn listeners((host, port): (Ipv4Addr, u16), ports: &[u16]) -> Result<Vec<OwnedFd>, Fault> {
    let beside = ports.iter().map(|beside| if port == 0 { 0 } else { *beside });
    std::iter::once(port).chain(beside).map(|port| listener((host, port))).collect()
}

/// A TCP socket of this network, for whoever is in another one.
pub fn socket() -> Result<OwnedFd, Fault> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
        .at(Step::BindRuntimeApi, "socket")
}
