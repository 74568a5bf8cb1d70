//! Programs that use too much of everything.

use crate::raw;
use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;

/// Spins for ever with `children` that do too, deaf to SIGTERM; one of them is stopped, one has a
/// session of its own, one is an orphan.
pub(crate) fn spin(children: u32) -> ! {
    raw::ignore(libc::SIGTERM);
    for child in 0..children {
        if raw::fork().expect("forks") {
            match child {
                0 => raw::stop(),
                1 => raw::setsid(),
                2 => {
                    raw::setsid();
                    if !raw::fork().expect("forks") {
                        std::process::exit(0);
                    }
                }
                _ => {}
            }
            loop {
                std::hint::spin_loop();
            }
        }
    }
    println!("ready");
    loop {
        std::hint::spin_loop();
    }
}

/// Leaves `count` processes without a parent, which end at once.
pub(crate) fn orphans(count: u32) {
    for _ in 0..count {
        if raw::fork().expect("forks") {
            let _ = raw::fork().expect("forks");
            std::process::exit(0);
        }
        raw::wait();
    }
    println!("done");
}

/// Prints how many processes have ended and were not reaped.
pub(crate) fn zombies() {
    let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    println!(
        "{}",
        stats
            .filter(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
            .count()
    );
}

/// Takes memory until it is stopped.
pub(crate) fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&eaten);
    }
}

/// Keeps `tmp` MiB in `/tmp` and takes `memory` MiB beside.
pub(crate) fn both(tmp: usize, memory: usize) {
    let mut file = File::create("/tmp/kept").expect("creates");
    let chunk = vec![7u8; 1 << 20];
    for _ in 0..tmp {
        file.write_all(&chunk).expect("writes");
    }
    let taken = vec![1u8; memory << 20];
    std::hint::black_box(&taken);
    println!("done");
}

/// Forks until it is refused; prints how often and the errno.
pub(crate) fn forks() {
    let mut count = 0;
    loop {
        match raw::fork() {
            Ok(true) => loop {
                std::thread::park();
            },
            Ok(false) => count += 1,
            Err(errno) => {
                println!("{count} {errno}");
                return;
            }
        }
    }
}

/// Fills `/tmp` with one file that has no name any more; prints the bytes and the errno.
pub(crate) fn fill() {
    let mut file = File::create("/tmp/full").expect("creates");
    std::fs::remove_file("/tmp/full").expect("removes");
    let chunk = vec![7u8; 1 << 16];
    let mut written = 0;
    loop {
        match file.write(&chunk) {
            Ok(length) => written += length,
            Err(error) => {
                println!("{written} {}", error.raw_os_error().unwrap_or(-1));
                return;
            }
        }
    }
}

/// Creates empty files until it is refused; prints how many and the errno.
pub(crate) fn files() {
    count(|n| File::create(format!("/tmp/{n}")).map(drop));
}

/// Opens files until it is refused; prints how many and the errno.
pub(crate) fn open() {
    let mut held = Vec::new();
    count(|_| File::open("/dev/null").map(|file| held.push(file)));
}

/// Opens sockets until it is refused; prints how many and the errno.
pub(crate) fn sockets() {
    let mut held = Vec::new();
    count(|_| UdpSocket::bind("127.0.0.1:0").map(|socket| held.push(socket)));
}

fn count(mut attempt: impl FnMut(u32) -> std::io::Result<()>) {
    let mut done = 0;
    loop {
        match attempt(done) {
            Ok(()) => done += 1,
            Err(error) => {
                println!("{done} {}", error.raw_os_error().unwrap_or(-1));
                return;
            }
        }
    }
}
