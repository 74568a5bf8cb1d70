//! Ways to an address that go through something else, and too many of them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Asks `address` by HTTP and goes where it says.
pub(crate) fn follow(address: &str) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sends");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let place = answer.split("Location: http://").nth(1).and_then(|rest| rest.split('/').next());
    let address: Ipv4Addr = place.expect("a place").parse().expect("an address");
    report((address, 80).into());
}

/// Asks the sandbox's resolver for a name and connects to what it says.
pub(crate) fn resolve() {
    let settings = std::fs::read_to_string("/etc/resolv.conf").expect("is there");
    let resolver = settings.lines().find_map(|line| line.strip_prefix("nameserver "));
    let resolver: IpAddr = resolver.expect("a resolver").trim().parse().expect("an address");
    let socket = UdpSocket::bind("0.0.0.0:0").expect("binds");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("sets");
    // A query of one question: rebound.test, type A, class IN.
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07rebound\x04test\0\0\x01\0\x01";
    socket.send_to(query, (resolver, 53)).expect("sends");
    let mut answer = [0u8; 512];
    let (length, _) = socket.recv_from(&mut answer).expect("receives");
    let octets: [u8; 4] = answer[length - 4..length].try_into().expect("an address");
    report((Ipv4Addr::from(octets), 80).into());
}

fn report(address: SocketAddr) {
    let error = TcpStream::connect(address).err();
    println!("{address}={}", error.map_or(0, |error| error.raw_os_error().unwrap_or(-1)));
}

/// Sends `count` datagrams.
pub(crate) fn flood(address: &str, count: u32) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("binds");
    let sent = (0..count).filter(|_| socket.send_to(b"x", address).is_ok()).count();
    println!("sent={sent}");
}

/// Opens `count` connections and holds them; how many there are, and the last errno.
pub(crate) fn dial(address: &str, count: u32) {
    let (mut held, mut last) = (Vec::new(), 0);
    for _ in 0..count {
        match TcpStream::connect(address) {
            Ok(stream) => held.push(stream),
            Err(error) => last = error.raw_os_error().unwrap_or(-1),
        }
    }
    println!("{} {last}", held.len());
}
