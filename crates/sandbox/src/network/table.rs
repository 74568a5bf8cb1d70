//! The packet filter table, in the kernel's own language (nf_tables over netlink).
//!
//! ```text
//! forward      from a sandbox: go to `leaving`
//!              to a sandbox: answers only
//! leaving      foreign source: drop; resolvers' port 53: pass; blocked networks: refuse
//! input        from a sandbox: resolvers' port 53 passes, all else is refused
//! refused      TCP: reset; all else: ICMP port-unreachable
//! postrouting  from the pool to anywhere: masquerade
//! ```
//! A program sees both refusals at once, as ECONNREFUSED. TCP gets resets because the kernel limits
//! how many ICMP messages it sends in a second.

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
}

const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_POSTROUTING: u32 = 4;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// NFT_GOTO is -4.
const GOTO: u32 = u32::MAX - 3;
const IP_SOURCE: u32 = 12;
const IP_DESTINATION: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// Bits of a connection's state: established, related.
const ANSWERS: u32 = 2 | 4;

/// Replaces the table.
pub(super) fn load(plan: &Plan) -> io::Result<()> {
    unload(&plan.name)?;
    let mut messages = vec![
        message(NEW_TABLE, CREATE).text(1, &plan.name),
        chain(plan, "refused", None),
        chain(plan, "leaving", None),
        chain(plan, "forward", Some(("filter", HOOK_FORWARD, 0))),
        chain(plan, "input", Some(("filter", HOOK_INPUT, 0))),
        chain(plan, "postrouting", Some(("nat", HOOK_POSTROUTING, 100))),
    ];
    let from_sandbox = || Rule::new().link(META_IIFNAME, &plan.links);
    let to_sandbox = || Rule::new().link(META_OIFNAME, &plan.links);
    let mut add = |chain: &str, rule: Rule| messages.push(rule.message(plan, chain));

    add("refused", Rule::new().protocol(libc::IPPROTO_TCP).reset());
    add("refused", Rule::new().unreachable());

    add("forward", from_sandbox().verdict(GOTO, Some("leaving")));
    add("forward", to_sandbox().answers().verdict(ACCEPT, None));
    add("forward", to_sandbox().verdict(DROP, None));

    add("leaving", Rule::new().address(IP_SOURCE, plan.pool, NOT_EQUAL).verdict(DROP, None));
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

fn chain(plan: &Plan, name: &str, hook: Option<(&str, u32, u32)>) -> Message {
    let message = message(NEW_CHAIN, CREATE).text(1, &plan.name).text(3, name);
    let Some((kind, number, priority)) = hook else { return message };
    let hook = |m: Message| number_attribute(number_attribute(m, 1, number), 2, priority);
    number_attribute(message.nest(4, hook), 5, ACCEPT).text(7, kind)
}

fn number_attribute(message: Message, kind: u16, value: u32) -> Message {
    message.attribute(kind, &value.to_be_bytes())
}

/// A rule: expressions that pass a value on in register 1, until one does not match.
struct Rule {
    expressions: Vec<Box<dyn FnOnce(Message) -> Message>>,
}

impl Rule {
    fn new() -> Self {
        Self { expressions: Vec::new() }
    }

    fn message(self, plan: &Plan, chain: &str) -> Message {
        message(NEW_RULE, CREATE | APPEND).text(1, &plan.name).text(2, chain).nest(4, |m| {
            self.expressions.into_iter().fold(m, |m, expression| m.nest(1, expression))
        })
    }

    fn expression(
        mut self,
        name: &'static str,
        data: impl FnOnce(Message) -> Message + 'static,
    ) -> Self {
        self.expressions.push(Box::new(move |m| m.text(1, name).nest(2, data)));
        self
    }

    /// Passes on what is in the packet's header: 1 of the network, 2 of the transport.
    fn load(self, (header, offset, length): (u32, u32, u32)) -> Self {
        self.expression("payload", move |m| {
            [1, header, offset, length]
                .iter()
                .zip(1..)
                .fold(m, |m, (value, kind)| number_attribute(m, kind, *value))
        })
    }

    fn meta(self, key: u32) -> Self {
        self.expression("meta", move |m| number_attribute(number_attribute(m, 1, 1), 2, key))
    }

    fn compare(self, operator: u32, value: &[u8]) -> Self {
        let value = value.to_vec();
        self.expression("cmp", move |m| {
            number_attribute(number_attribute(m, 1, 1), 2, operator)
                .nest(3, |m| m.attribute(1, &value))
        })
    }

    fn mask(self, mask: [u8; 4]) -> Self {
        self.expression("bitwise", move |m| {
            [1, 1, 4]
                .iter()
                .zip(1..)
                .fold(m, |m, (value, kind)| number_attribute(m, kind, *value))
                .nest(4, |m| m.attribute(1, &mask))
                .nest(5, |m| m.attribute(1, &[0; 4]))
        })
    }

    /// Links whose name begins with `prefix`: a shorter value compares as far as it goes.
    fn link(self, key: u32, prefix: &str) -> Self {
        self.meta(key).compare(EQUAL, prefix.as_bytes())
    }

    fn address(self, offset: u32, (network, length): (Ipv4Addr, u8), operator: u32) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let network = u32::from(network) & mask;
        self.load((1, offset, 4)).mask(mask.to_be_bytes()).compare(operator, &network.to_be_bytes())
    }

    fn port(self, protocol: i32, port: u16) -> Self {
        self.protocol(protocol).load((2, 2, 2)).compare(EQUAL, &port.to_be_bytes())
    }

    fn protocol(self, protocol: i32) -> Self {
        self.meta(META_L4PROTO).compare(EQUAL, &[protocol as u8])
    }

    fn answers(self) -> Self {
        // NFT_CT_STATE is key 0; its value is in the machine's order.
        let state = self.expression("ct", |m| number_attribute(number_attribute(m, 1, 1), 2, 0));
        state.mask(ANSWERS.to_ne_bytes()).compare(NOT_EQUAL, &[0; 4])
    }

    fn verdict(self, code: u32, chain: Option<&'static str>) -> Self {
        self.expression("immediate", move |m| {
            number_attribute(m, 1, 0).nest(2, |m| {
                m.nest(2, |m| {
                    let m = number_attribute(m, 1, code);
                    match chain {
                        Some(chain) => m.text(2, chain),
                        None => m,
                    }
                })
            })
        })
    }

    /// NFT_REJECT_TCP_RST.
    fn reset(self) -> Self {
        self.expression("reject", |m| number_attribute(m, 1, 1))
    }

    /// NFT_REJECT_ICMP_UNREACH with the code for ports.
    fn unreachable(self) -> Self {
        self.expression("reject", |m| number_attribute(m, 1, 0).attribute(2, &[3]))
    }

    fn masquerade(self) -> Self {
        self.expression("masq", |m| m)
    }
}
