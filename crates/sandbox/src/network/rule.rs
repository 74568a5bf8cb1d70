//! Rules of the packet filter, expression by expression, as the kernel reads them.

use lamplight_init::netlink::Message;
use std::net::Ipv4Addr;

pub(super) const META_IIFNAME: u32 = 6;
pub(super) const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
pub(super) const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;
/// NFT_GOTO is -4.
pub(super) const GOTO: u32 = u32::MAX - 3;
pub(super) const IP_SOURCE: u32 = 12;
pub(super) const IP_DESTINATION: u32 = 16;
pub(super) const EQUAL: u32 = 0;
pub(super) const NOT_EQUAL: u32 = 1;
/// Bits of a connection's state: established, related.
pub(super) const ANSWERS: u32 = 2 | 4;
pub(super) const NEW: u32 = 8;
/// Matches what is over a limit rather than what is within.
const INVERT: u32 = 1;

/// A limit that something has to be over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    /// Packets in a second, and how many may come at once.
    Rate(u64, u32),
    /// Connections that are tracked at one time.
    Count(u32),
}

pub(super) fn number_attribute(message: Message, kind: u16, value: u32) -> Message {
    message.attribute(kind, &value.to_be_bytes())
}

/// A rule: expressions that pass a value on in register 1, until one does not match.
pub(super) struct Rule {
    expressions: Vec<Box<dyn FnOnce(Message) -> Message>>,
}

impl Rule {
    pub(super) fn new() -> Self {
        Self { expressions: Vec::new() }
    }

    /// The rule behind what says where it stands.
    pub(super) fn append_to(self, head: Message) -> Message {
        head.nest(4, |m| {
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
    pub(super) fn link(self, key: u32, prefix: &str) -> Self {
        self.meta(key).compare(EQUAL, prefix.as_bytes())
    }

    pub(super) fn address(
        self,
        offset: u32,
        (network, length): (Ipv4Addr, u8),
        operator: u32,
    ) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let network = u32::from(network) & mask;
        self.load((1, offset, 4)).mask(mask.to_be_bytes()).compare(operator, &network.to_be_bytes())
    }

    pub(super) fn port(self, protocol: i32, port: u16) -> Self {
        self.protocol(protocol).load((2, 2, 2)).compare(EQUAL, &port.to_be_bytes())
    }

    pub(super) fn protocol(self, protocol: i32) -> Self {
        self.meta(META_L4PROTO).compare(EQUAL, &[protocol as u8])
    }

    /// Packets of connections in one of these states.
    pub(super) fn state(self, states: u32) -> Self {
        // NFT_CT_STATE is key 0; its value is in the machine's order.
        let state = self.expression("ct", |m| number_attribute(number_attribute(m, 1, 1), 2, 0));
        state.mask(states.to_ne_bytes()).compare(NOT_EQUAL, &[0; 4])
    }

    /// What goes beyond `over`, counted in `set` for each source by itself.
    pub(super) fn over(self, set: &'static str, over: Over) -> Self {
        self.load((1, IP_SOURCE, 4)).expression("dynset", move |m| {
            // 0 adds an element where it is missing, 1 renews its time as well.
            let operation = u32::from(matches!(over, Over::Rate(..)));
            let m = number_attribute(number_attribute(m.text(1, set), 3, operation), 4, 1);
            m.nest(7, |m| match over {
                Over::Rate(rate, burst) => m.text(1, "limit").nest(2, |m| {
                    let m = m.attribute(1, &rate.to_be_bytes()).attribute(2, &1u64.to_be_bytes());
                    number_attribute(
                        number_attribute(number_attribute(m, 3, burst), 4, 0),
                        5,
                        INVERT,
                    )
                }),
                Over::Count(count) => m
                    .text(1, "connlimit")
                    .nest(2, |m| number_attribute(number_attribute(m, 1, count), 2, INVERT)),
            })
        })
    }

    pub(super) fn verdict(self, code: u32, chain: Option<&'static str>) -> Self {
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
    pub(super) fn reset(self) -> Self {
        self.expression("reject", |m| number_attribute(m, 1, 1))
    }

    /// NFT_REJECT_ICMP_UNREACH with the code for ports.
    pub(super) fn unreachable(self) -> Self {
        self.expression("reject", |m| number_attribute(m, 1, 0).attribute(2, &[3]))
    }

    pub(super) fn masquerade(self) -> Self {
        self.expression("masq", |m| m)
    }
}
