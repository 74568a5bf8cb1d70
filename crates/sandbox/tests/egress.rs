//! What a sandbox reaches of the world: a host and an internet made of network namespaces, so that
//! this machine's own network is not touched (case S11).

mod support;

use lamplight_init::netlink::{Socket, links};
use lamplight_sandbox::{Egress, Mode, Prefix};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
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

fn serve() {
    for port in [80, 53] {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
    }
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
    drop(link);
    internet.join().unwrap();
}

async fn reach() {
    let also_blocked = [(PRIVATE[2], 32), (ROUTER, 24)];
    let prefix = |(address, length): (Ipv4Addr, u8)| Prefix { address: address.into(), length };
    let egress = Egress::Internet {
        resolvers: vec![ROUTER.into()],
        also_blocked: also_blocked.map(prefix).to_vec(),
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

    sandbox.destroy().await;
    neighbour.destroy().await;
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
    let remaining = Socket::route().unwrap().dump(links::all()).unwrap();
    let remaining: Vec<_> = remaining.iter().filter_map(|answer| links::name_of(answer)).collect();
    assert!(!remaining.iter().any(|(_, name)| name.starts_with("ll")), "{remaining:?}");
    bench.launcher.shut_down().await;
}
