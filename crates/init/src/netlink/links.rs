//! Requests about links, addresses and routes.

use super::{ACK, CREATE, DUMP, EXCLUSIVE, Message};
use std::io;
use std::net::Ipv4Addr;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const UP: u32 = 1;
const INET: u8 = libc::AF_INET as u8;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// The number of the link `name` in this network namespace.
pub fn index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    #[expect(unsafe_code, reason = "a lookup by name has no other wrapper")]
    // SAFETY: the name is NUL-terminated and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Raises a link.
pub fn up(index: u32) -> Message {
    Message::new(NEW_LINK, ACK).raw(&header(index, UP))
}

/// Deletes a link, and its peer with it.
pub fn delete(index: u32) -> Message {
    Message::new(DELETE_LINK, ACK).raw(&header(index, 0))
}

/// Makes a pair: `name` here, `peer` in the network namespace of process `pid`.
pub fn veth(name: &str, peer: &str, pid: i32) -> Message {
    Message::new(NEW_LINK, ACK | CREATE | EXCLUSIVE)
        .raw(&header(0, 0))
        .text(IFLA_IFNAME, name)
        .nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&header(0, 0))
                        .text(IFLA_IFNAME, peer)
                        .attribute(IFLA_NET_NS_PID, &pid.to_ne_bytes())
                })
            })
        })
}

/// Gives a link an address.
pub fn address(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    // struct ifaddrmsg: family, prefix length, flags, scope, index. IFA_ADDRESS 1, IFA_LOCAL 2.
    let mut header = vec![INET, prefix, 0, 0];
    header.extend(index.to_ne_bytes());
    let octets = address.octets();
    Message::new(NEW_ADDRESS, ACK | CREATE | EXCLUSIVE)
        .raw(&header)
        .attribute(1, &octets)
        .attribute(2, &octets)
}

/// Sends everything else to `gateway`.
pub fn default_route(index: u32, gateway: Ipv4Addr) -> Message {
    // struct rtmsg: family, lengths, tos, table main, protocol boot, scope universe, unicast, flags.
    let header = [INET, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    // RTA_GATEWAY 5, RTA_OIF 4.
    Message::new(NEW_ROUTE, ACK | CREATE | EXCLUSIVE)
        .raw(&header)
        .attribute(5, &gateway.octets())
        .attribute(4, &index.to_ne_bytes())
}

/// Asks for all links; read the answers with [`name_of`].
pub fn all() -> Message {
    Message::new(GET_LINK, DUMP).raw(&header(0, 0))
}

/// Asks for all IPv4 addresses; read the answers with [`address_of`].
pub fn addresses() -> Message {
    Message::new(GET_ADDRESS, DUMP).raw(&[INET, 0, 0, 0, 0, 0, 0, 0])
}

/// Number and name in an answer about a link.
pub fn name_of(answer: &[u8]) -> Option<(u32, String)> {
    let index = u32::from_ne_bytes(answer.get(4..8)?.try_into().ok()?);
    let attributes = super::attributes(answer.get(16..)?);
    let (_, name) = attributes.into_iter().find(|(kind, _)| *kind == IFLA_IFNAME)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    Some((index, String::from_utf8_lossy(name).into_owned()))
}

/// The address in an answer about an address.
pub fn address_of(answer: &[u8]) -> Option<Ipv4Addr> {
    let attributes = super::attributes(answer.get(8..)?);
    let (_, octets) = attributes.into_iter().find(|(kind, _)| *kind == 2)?;
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))
}

/// struct ifinfomsg: family, padding, type, index, flags, mask of flags to change.
fn header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = vec![0u8; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header
}
