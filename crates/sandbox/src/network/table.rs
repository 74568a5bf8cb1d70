//! The packet filter table, in the kernel's own language (nf_tables over netlink).
//!
//! ```text
//! raw          from a sandbox: foreign source: drop; too many packets: drop (before connections
//!              are tracked, so that a flood costs neither)
//! forward      from a sandbox: go to `leaving`
//!              to a sandbox: answers only
//! leaving      too many new connections, or too many at all: refuse
//!              resolvers' port 53: pass; blocked networks: refuse
//! input        from a sandbox: as `leaving`, but only resolvers' port 53 passes
//! refused      TCP: reset; all else: ICMP port-unreachable
//! postrouting  from the pool to anywhere: masquerade
//! ```
//! A program sees both refusals at once, as ECONNREFUSED. TCP gets resets because the kernel limits
//! how many ICMP messages it sends in a second.

use super::rule::{ACCEPT, DROP, GOTO, META_IIFNAME, META_OIFNAME, Over};
use super::rule::{
    ANSWERS, EQUAL, IP_DESTINATION, IP_SOURCE, NEW, NOT_EQUAL, Rule, number_attribute,
};
use crate::Rates;
use lamplight_init::netlink::{ACK, APPEND, CREATE, DUMP, Message, Socket};
use std::io;
use std::net::Ipv4Addr;

/// What the rules say.
pub(super) struct Plan {
    pub(super) name: String,
    /// How the names of our links begin.
    pub(super) links: String,
    pub(super) pool: (Ipv4Addr, u8),
    pub(super) resolvers: Vec<Ipv4Addr>,
    pub(super) blocked: Vec<(Ipv4Addr, u8)>,
    pub(super) rates: Rates,
}

const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const SUBSYSTEM: u16 = 10;
/// Before connections are tracked.
const RAW: i32 = -300;
const PACKETS: &str = "packets";
const NEW_CONNECTIONS: &str = "connections";
const TRACKED: &str = "tracked";
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const NEW_SET: u16 = 9;

const HOOK_PREROUTING: u32 = 0;
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_POSTROUTING: u32 = 4;

/// More sandboxes than there are slots.
const SANDBOXES: u32 = 65_536;
/// After which silence a sandbox's packets are counted anew, milliseconds.
const FORGET: u64 = 60_000;

/// Replaces the table.
pub(super) fn load(plan: &Plan) -> io::Result<()> {
    unload(&plan.name)?;
    let mut messages = vec![
        message(NEW_TABLE, CREATE).text(1, &plan.name),
        set(plan, PACKETS, 1),
        set(plan, NEW_CONNECTIONS, 2),
        set(plan, TRACKED, 3),
        chain(plan, "raw", Some(("filter", HOOK_PREROUTING, RAW))),
        chain(plan, "refused", None),
        chain(plan, "leaving", None),
        chain(plan, "forward", Some(("filter", HOOK_FORWARD, 0))),
        chain(plan, "input", Some(("filter", HOOK_INPUT, 0))),
        chain(plan, "postrouting", Some(("nat", HOOK_POSTROUTING, 100))),
    ];
    let from_sandbox = || Rule::new().link(META_IIFNAME, &plan.links);
    let to_sandbox = || Rule::new().link(META_OIFNAME, &plan.links);
    let mut add = |chain: &str, rule: Rule| {
        let head = message(NEW_RULE, CREATE | APPEND).text(1, &plan.name).text(2, chain);
        messages.push(rule.append_to(head));
    };

    add("refused", Rule::new().protocol(libc::IPPROTO_TCP).reset());
    add("refused", Rule::new().unreachable());

    add("forward", from_sandbox().verdict(GOTO, Some("leaving")));
    add("forward", to_sandbox().state(ANSWERS).verdict(ACCEPT, None));
    add("forward", to_sandbox().verdict(DROP, None));

    let Rates { packets_per_second: packets, connections_per_second: new, connections } =
        plan.rates;
    let packets = Over::Rate(packets.into(), packets);
    let new = Over::Rate(new.into(), new.saturating_mul(2));
    add("raw", from_sandbox().address(IP_SOURCE, plan.pool, NOT_EQUAL).verdict(DROP, None));
    add("raw", from_sandbox().over(PACKETS, packets).verdict(DROP, None));
    for chain in ["leaving", "input"] {
        for (set, over) in [(NEW_CONNECTIONS, new), (TRACKED, Over::Count(connections))] {
            let too_much = from_sandbox().state(NEW).over(set, over);
            add(chain, too_much.verdict(GOTO, Some("refused")));
        }
    }
    for resolver in &plan.resolvers {
        for protocol in [libc::IPPROTO_UDP, libc::IPPROTO_TCP] {
            let to = (*resolver, 32);
            let dns = |rule: Rule| {
                rule.address(IP_DESTINATION, to, EQUAL).port(protocol, 53).verdict(ACCEPT, None)
            };
            add("leaving", dns(Rule::new()));
            add("input", dns(from_sandbox()));
        }
    }
    for network in &plan.blocked {
        add(
            "leaving",
            Rule::new().address(IP_DESTINATION, *network, EQUAL).verdict(GOTO, Some("refused")),
        );
    }
    add("input", from_sandbox().verdict(GOTO, Some("refused")));
    add("postrouting", Rule::new().address(IP_SOURCE, plan.pool, EQUAL).masquerade());
    batch(messages)
}

/// Removes a table, if it is there.
pub(super) fn unload(name: &str) -> io::Result<()> {
    match batch(vec![message(DELETE_TABLE, 0).text(1, name)]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Asks for the list of tables, which takes the same right as changing them.
pub(super) fn probe() -> io::Result<()> {
    let request = Message::new(SUBSYSTEM << 8 | GET_TABLE, DUMP).raw(&family());
    Socket::netfilter()?.dump(request).map(|_| ())
}

/// All or nothing: the kernel takes a batch as one change.
fn batch(messages: Vec<Message>) -> io::Result<()> {
    let acks = messages.len();
    // struct nfgenmsg naming the subsystem, in network order.
    let edge = |kind| Message::new(kind, 0).raw(&[0, 0, 0, SUBSYSTEM as u8]);
    let all = [edge(BATCH_BEGIN)].into_iter().chain(messages).chain([edge(BATCH_END)]).collect();
    Socket::netfilter()?.ask_all(all, acks)
}

fn family() -> [u8; 4] {
    // NFPROTO_IPV4, version 0, no resource.
    [2, 0, 0, 0]
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, ACK | flags).raw(&family())
}

/// A set that rules fill themselves: addresses of sandboxes, and what is counted of each.
fn set(plan: &Plan, name: &str, id: u32) -> Message {
    const TIMEOUT: u32 = 0x10;
    const DYNAMIC: u32 = 0x20;
    // What counts connections forgets by itself; the kernel wants no time from it.
    let flags = if name == TRACKED { DYNAMIC } else { DYNAMIC | TIMEOUT };
    let message = message(NEW_SET, CREATE).text(1, &plan.name).text(2, name);
    // Key type 7 is an IPv4 address to tools that list the table; 5 is its length.
    let message = [(3, flags), (4, 7), (5, 4), (10, id)]
        .into_iter()
        .fold(message, |m, (kind, value)| number_attribute(m, kind, value))
        .nest(9, |m| number_attribute(m, 1, SANDBOXES));
    if flags & TIMEOUT == 0 { message } else { message.attribute(11, &FORGET.to_be_bytes()) }
}

fn chain(plan: &Plan, name: &str, hook: Option<(&str, u32, i32)>) -> Message {
    let message = message(NEW_CHAIN, CREATE).text(1, &plan.name).text(3, name);
    let Some((kind, number, priority)) = hook else { return message };
    let hook = |m: Message| number_attribute(number_attribute(m, 1, number), 2, priority as u32);
    number_attribute(message.nest(4, hook), 5, ACCEPT).text(7, kind)
}
