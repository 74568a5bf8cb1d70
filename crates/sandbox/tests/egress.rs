//! What a sandbox reaches of the world: a host and an internet made of network namespaces, so that
//! this machine's own network is not touched (cases S11 and S12).

mod support;

use lamplight_init::netlink::{Socket, links};
use lamplight_sandbox::{Egress, Mode, Prefix, Rates};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use support::leftovers::leftovers;
use support::{Bench, is_root, probe, run, skip};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// All of these answer, so that a refusal can only be ours.
const PRIVATE: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 9, 9, 9),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(203, 0, 113, 200),
];

fn own_network() {
    #[expect(unsafe_code, reason = "entering a namespace needs a promise")]
    // SAFETY: a new network namespace for this thread leaves its descriptors as they are.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
}

fn add(link: &str, address: Ipv4Addr, prefix: u8) {
    let socket = Socket::route().unwrap();
    let index = links::index(link).unwrap();
    socket.ask(links::address(index, address, prefix)).unwrap();
    socket.ask(links::up(index)).unwrap();
}

/// The rest of the world: accepts on ports 80 and 53 of every address it has.
fn internet(tell: &mpsc::Sender<i32>, linked: &mpsc::Receiver<()>) {
    own_network();
    tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
    linked.recv().unwrap();
    add("inet0", ROUTER, 24);
    for address in PRIVATE.into_iter().chain([PUBLIC]) {
        add("lo", address, 32);
    }
    serve();
    tell.send(0).unwrap();
    // Holds the namespace until the test is over.
    let _ = linked.recv();
}

/// Datagrams that have come through.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

fn serve() {
    for port in [80, 53] {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        std::thread::spawn(move || {
            // Held, so that they count as long as the sandbox holds them.
            let held: Vec<_> = listener.incoming().flatten().map(redirect).collect();
            drop(held);
        });
    }
    let names = UdpSocket::bind(("0.0.0.0", 53)).unwrap();
    std::thread::spawn(move || {
        let mut query = [0u8; 512];
        while let Ok((length, from)) = names.recv_from(&mut query) {
            // The question again, as an answer of one record: the metadata address.
            let mut answer = query[..length].to_vec();
            answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04");
            answer.extend(PRIVATE[1].octets());
            let _ = names.send_to(&answer, from);
        }
    });
    let sink = UdpSocket::bind(("0.0.0.0", 9)).unwrap();
    std::thread::spawn(move || {
        while sink.recv(&mut [0u8; 16]).is_ok() {
            ARRIVED.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Sends whoever asks something to the metadata address.
fn redirect(stream: TcpStream) -> TcpStream {
    let mut answering = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        if answering.read(&mut [0u8; 512]).is_ok_and(|length| length > 0) {
            let place = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\n\r\n", PRIVATE[1]);
            let _ = answering.write_all(place.as_bytes());
            let _ = answering.shutdown(std::net::Shutdown::Write);
        }
    });
    stream
}

#[test]
fn s11_only_the_public_internet_is_reached() {
    if !is_root() {
        return skip(
            "s11_only_the_public_internet_is_reached",
            "needs root for network namespaces",
        );
    }
    // A thread of its own: the runtime's threads inherit the namespace it enters.
    std::thread::spawn(world).join().unwrap();
}

fn world() {
    own_network();
    let (tell, told) = mpsc::channel();
    let (link, linked) = mpsc::channel();
    let internet = std::thread::spawn(move || internet(&tell, &linked));
    let socket = Socket::route().unwrap();
    socket.ask(links::veth("uplink", "inet0", told.recv().unwrap())).unwrap();
    add("lo", Ipv4Addr::new(127, 0, 0, 2), 8);
    add("uplink", HOST, 24);
    socket.ask(links::default_route(links::index("uplink").unwrap(), ROUTER)).unwrap();
    link.send(()).unwrap();
    told.recv().unwrap();
    serve();
    for address in PRIVATE.into_iter().chain([PUBLIC, HOST]) {
        assert!(TcpStream::connect((address, 80)).is_ok(), "the host itself reaches {address}");
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(reach());
    runtime.block_on(floods());
    drop(link);
    internet.join().unwrap();
}

async fn reach() {
    let also_blocked = [(PRIVATE[2], 32), (ROUTER, 24)];
    let prefix = |(address, length): (Ipv4Addr, u8)| Prefix { address: address.into(), length };
    let egress = Egress::Internet {
        resolvers: vec![ROUTER.into()],
        also_blocked: also_blocked.map(prefix).to_vec(),
        rates: Rates::default(),
    };
    let bench = Bench::with_egress(Mode::Namespaces, egress);
    let (sandbox, neighbour) = (bench.sandbox("out").await, bench.sandbox("next").await);

    let gateway = run(&sandbox, support::shell("cat /proc/net/route")).await.0;
    let gateway = gateway.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next()? == "00000000").then(|| u32::from_str_radix(fields.next()?, 16).ok())?
    });
    let gateway = Ipv4Addr::from(gateway.expect("a default route").to_be());
    // Sandboxes have neighbouring pairs of addresses; the other one's end is two further.
    let other = Ipv4Addr::from(u32::from(gateway) ^ 3);
    let allowed = [format!("{PUBLIC}:80"), format!("{ROUTER}:53")];
    let refused = [
        format!("{ROUTER}:80"),
        format!("{HOST}:80"),
        format!("{HOST}:53"),
        format!("{gateway}:80"),
        format!("{other}:80"),
        format!("{}:80", PRIVATE[0]),
        format!("{}:80", PRIVATE[1]),
        format!("{}:80", PRIVATE[2]),
        "127.0.0.2:80".to_owned(),
        // The same addresses in other clothes.
        "[::ffff:169.254.169.254]:80".to_owned(),
        "[::ffff:10.9.9.9]:80".to_owned(),
    ];
    let addresses: Vec<&str> = allowed.iter().chain(&refused).map(String::as_str).collect();
    let (text, _) = run(&sandbox, probe(&sandbox, &[vec!["connect"], addresses].concat())).await;
    for address in &allowed {
        assert!(text.contains(&format!("{address}=0\n")), "{address} is refused:\n{text}");
    }
    for address in &refused {
        assert!(
            text.contains(&format!("{address}={}\n", libc::ECONNREFUSED)),
            "{address}:\n{text}"
        );
    }
    let (text, _) = run(&sandbox, probe(&sandbox, &["connect", "[fd00:ec2::254]:80"])).await;
    assert!(!text.contains("=0"), "{text}");
    // By a name that has come to mean another address, and by a redirect.
    let public = format!("{PUBLIC}:80");
    for way in [vec!["resolve"], vec!["follow", &public]] {
        let (text, _) = run(&sandbox, probe(&sandbox, &way)).await;
        assert_eq!(text, format!("{}:80={}\n", PRIVATE[1], libc::ECONNREFUSED), "{way:?}");
    }

    sandbox.destroy().await;
    neighbour.destroy().await;
    bench.launcher.shut_down().await;
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
    let remaining = Socket::route().unwrap().dump(links::all()).unwrap();
    let remaining: Vec<_> = remaining.iter().filter_map(|answer| links::name_of(answer)).collect();
    assert!(!remaining.iter().any(|(_, name)| name.starts_with("ll")), "{remaining:?}");
}

/// S12: one sandbox's floods end at its bounds, and its neighbour's connections do not.
async fn floods() {
    let few = Rates { packets_per_second: 20, ..Rates::default() };
    let slow = Rates { connections_per_second: 10, ..Rates::default() };
    let narrow = Rates { connections: 15, ..Rates::default() };
    let public = format!("{PUBLIC}:80");
    for rates in [few, slow, narrow] {
        let egress = Egress::Internet { resolvers: Vec::new(), also_blocked: Vec::new(), rates };
        let bench = Bench::with_egress(Mode::Namespaces, egress);
        let (sandbox, neighbour) = (bench.sandbox("flood").await, bench.sandbox("calm").await);
        if rates == few {
            let sink = format!("{PUBLIC}:9");
            let before = ARRIVED.load(Ordering::Relaxed);
            let (text, _) = run(&sandbox, probe(&sandbox, &["flood", &sink, "20000"])).await;
            assert_eq!(text, "sent=20000\n");
            let arrived = ARRIVED.load(Ordering::Relaxed) - before;
            assert!((1..10_000).contains(&arrived), "{arrived}");
        } else {
            let (text, _) = run(&sandbox, probe(&sandbox, &["dial", &public, "200"])).await;
            let (open, errno) = text.trim().split_once(' ').unwrap();
            let open: u32 = open.parse().unwrap();
            let most = if rates == slow { 150 } else { rates.connections };
            assert!((1..=most).contains(&open), "{rates:?}: {text}");
            assert_eq!(errno, libc::ECONNREFUSED.to_string(), "{rates:?}");
        }
        let (text, _) = run(&neighbour, probe(&neighbour, &["dial", &public, "1"])).await;
        assert_eq!(text, "1 0\n", "{rates:?}: the neighbour");
        sandbox.destroy().await;
        neighbour.destroy().await;
        bench.launcher.shut_down().await;
    }
}
