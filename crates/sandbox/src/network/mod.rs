//! The way out of a sandbox: a veth pair for each, and one packet filter table for all.
//!
//! Addresses: each instance takes one /16 out of 100.64.0.0/10, each sandbox a /31 in it (the
//! host's end is even, the sandbox's odd). All rules stand on the host's side, by interface name,
//! so nothing inside can change them, and they see addresses after DNS. There is no IPv6: the links
//! have it switched off. What one sandbox sends is bounded, so that a flood stays its own.
//!
//! Sets `net.ipv4.ip_forward` when it is off, and leaves it on: others may rely on it by then.

mod rule;
mod table;

use crate::{Egress, Prefix};
use lamplight_init::netlink::{Socket, links};
use lamplight_init::protocol::{LINK, Link};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// 100.64.0.0, the first of 64 blocks of 65536 addresses.
const POOL: u32 = 0x6440_0000;
const BLOCKS: u32 = 64;
const BLOCK_SIZE: u32 = 1 << 16;

/// Networks that no sandbox reaches, whatever the options say.
const BLOCKED: [(Ipv4Addr, u8); 13] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(168, 63, 129, 16), 32), // the metadata address of Azure
];

/// The launcher's part of the network.
pub(crate) struct Network {
    instance: String,
    base: u32,
}

impl Network {
    /// Loads the table. `None` when egress is denied.
    ///
    /// # Errors
    /// Without the right to administer the network.
    pub(crate) fn set_up(instance: &str, egress: &Egress) -> io::Result<Option<Self>> {
        let Egress::Internet { resolvers, also_blocked, rates } = egress else { return Ok(None) };
        let base = free_block(instance)?;
        let blocked = BLOCKED.iter().copied().chain(also_blocked.iter().filter_map(v4));
        let plan = table::Plan {
            name: table_name(instance),
            links: link_prefix(instance),
            pool: (Ipv4Addr::from(base), 16),
            resolvers: resolvers.iter().filter_map(only_v4).collect(),
            blocked: blocked.collect(),
            rates: *rates,
        };
        table::load(&plan)?;
        if std::fs::read_to_string(FORWARD)?.trim() == "0" {
            tracing::warn!(
                "switching net.ipv4.ip_forward on, so that sandboxes reach the internet"
            );
            std::fs::write(FORWARD, "1")?;
        }
        Ok(Some(Self { instance: instance.to_owned(), base }))
    }

    /// Links the network namespace of process `pid` to the outside.
    pub(crate) fn connect(&self, slot: u32, pid: i32) -> io::Result<Link> {
        let name = self.link(slot);
        let gateway = Ipv4Addr::from(self.base + 2 * slot);
        let address = Ipv4Addr::from(self.base + 2 * slot + 1);
        let socket = Socket::route()?;
        socket.ask(links::veth(&name, LINK, pid))?;
        let index = links::index(&name)?;
        // Absent when the kernel has no IPv6 at all.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        socket.ask(links::address(index, gateway, 31))?;
        socket.ask(links::up(index))?;
        Ok(Link { address, gateway, prefix: 31 })
    }

    /// Takes the link away; it may be gone already, with its namespace.
    pub(crate) fn disconnect(&self, slot: u32) {
        if let Ok(index) = links::index(&self.link(slot)) {
            let deleted = Socket::route().and_then(|socket| socket.ask(links::delete(index)));
            if let Err(error) = deleted
                && error.raw_os_error() != Some(libc::ENODEV)
            {
                tracing::error!(%error, "a sandbox's link stays behind");
            }
        }
    }

    /// Removes the table.
    pub(crate) fn remove(&self) {
        if let Err(error) = table::unload(&table_name(&self.instance)) {
            tracing::warn!(%error, "the packet filter table stays behind");
        }
    }

    fn link(&self, slot: u32) -> String {
        format!("{}{slot:04x}", link_prefix(&self.instance))
    }
}

/// Removes what a launcher that was killed has left of `instance`: how many links.
pub(crate) fn sweep(instance: &str) -> usize {
    // Without the right there was no way to make any.
    let _ = table::unload(&table_name(instance));
    let Ok(socket) = Socket::route() else { return 0 };
    let prefix = link_prefix(instance);
    let found = socket.dump(links::all()).unwrap_or_default();
    let ours = found.iter().filter_map(|answer| links::name_of(answer));
    let ours = ours.filter(|(_, name)| name.starts_with(&prefix));
    ours.filter(|(index, _)| socket.ask(links::delete(*index)).is_ok()).count()
}

/// Whether this user could load a table.
pub(crate) fn may_filter() -> io::Result<()> {
    table::probe()
}

fn table_name(instance: &str) -> String {
    format!("lamplight-{instance}")
}

/// Link names have at most 15 characters: 10 of prefix and 4 of slot.
fn link_prefix(instance: &str) -> String {
    format!("ll{instance}")
}

/// A block in which this host has no address; different instances begin to look at different ones.
fn free_block(instance: &str) -> io::Result<u32> {
    let answers = Socket::route()?.dump(links::addresses())?;
    let taken: Vec<u32> =
        answers.iter().filter_map(|answer| links::address_of(answer)).map(u32::from).collect();
    let first = u32::from_str_radix(instance, 16).unwrap_or(0) % BLOCKS;
    (0..BLOCKS)
        .map(|n| POOL + (first + n) % BLOCKS * BLOCK_SIZE)
        .find(|base| !taken.iter().any(|address| address & !(BLOCK_SIZE - 1) == *base))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))
}

fn only_v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

fn v4(prefix: &Prefix) -> Option<(Ipv4Addr, u8)> {
    only_v4(&prefix.address).map(|address| (address, prefix.length.min(32)))
}
