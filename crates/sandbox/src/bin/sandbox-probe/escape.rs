//! Every way out that we could think of, one line each: `name=errno`, 0 for success.

use crate::raw::{call, clone};
use std::fs::OpenOptions;

pub(crate) fn try_all() {
    for (name, number, arguments) in calls() {
        println!("{name}={}", call(number, arguments));
    }
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mnt", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
    ] {
        println!("clone_{name}={}", clone(flag));
    }
    for path in [
        "/proc/1/root",
        "/proc/1/environ",
        "/proc/kmsg",
        "/sys/fs/cgroup/release_agent",
        "/sys/kernel/uevent_helper",
        "/dev/mem",
        "/dev/kvm",
        "/dev/fuse",
        "/etc/shadow",
        "/run/docker.sock",
        "/root/.ssh",
    ] {
        let error = OpenOptions::new().read(true).open(path).err();
        println!("read_{path}={}", error.map_or(0, |error| error.raw_os_error().unwrap_or(-1)));
    }
    for path in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/drop_caches",
        "/proc/self/exe",
        "/usr/bin/env",
        "/etc/passwd",
        "/dev/new",
    ] {
        let error = OpenOptions::new().write(true).create(true).truncate(false).open(path).err();
        println!("write_{path}={}", error.map_or(0, |error| error.raw_os_error().unwrap_or(-1)));
    }
    // What is hidden reads as empty.
    for path in ["/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list"] {
        let length = std::fs::read(path).map_or(-1, |bytes| bytes.len() as i64);
        println!("length_{path}={length}");
    }
    println!("neighbours={}", neighbours());
    println!("descriptors={}", descriptors());
    println!("capabilities={}", capabilities());
}

type Call = (&'static str, libc::c_long, [usize; 6]);

fn calls() -> Vec<Call> {
    let root = c"/".as_ptr() as usize;
    let tmp = c"/tmp".as_ptr() as usize;
    let tmpfs = c"tmpfs".as_ptr() as usize;
    let device = c"/tmp/device".as_ptr() as usize;
    let socket = |family: i32, kind: i32, protocol: i32| {
        [family as usize, kind as usize, protocol as usize, 0, 0, 0]
    };
    let packet = libc::SOCK_RAW;
    vec![
        ("mount", libc::SYS_mount, [tmpfs, tmp, tmpfs, 0, 0, 0]),
        ("umount2", libc::SYS_umount2, [tmp, 2, 0, 0, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [root, root, 0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [tmp, 0, 0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [0, root, 1, 0, 0, 0]),
        ("move_mount", libc::SYS_move_mount, [0, root, 0, tmp, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [tmpfs, 0, 0, 0, 0, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [0, root, 0, 0, 0, 0]),
        ("unshare_user", libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0, 0]),
        ("unshare_mnt", libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0; 6]),
        ("ptrace_1", libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, 1, 0, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0, 0]),
        ("kcmp", libc::SYS_kcmp, [1, 1, 0, 0, 0, 0]),
        ("kill_1", libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0; 6]),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 6]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0; 6]),
        ("add_key", libc::SYS_add_key, [0; 6]),
        ("request_key", libc::SYS_request_key, [0; 6]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [0; 6]),
        ("name_to_handle_at", libc::SYS_name_to_handle_at, [0; 6]),
        ("fanotify_init", libc::SYS_fanotify_init, [0; 6]),
        ("vmsplice", libc::SYS_vmsplice, [1, 0, 0, 0, 0, 0]),
        (
            "mknod_device",
            libc::SYS_mknodat,
            [libc::AT_FDCWD as usize, device, (libc::S_IFCHR | 0o666) as usize, 0x101, 0, 0],
        ),
        ("setuid_0", libc::SYS_setuid, [0; 6]),
        ("setgid_0", libc::SYS_setgid, [0; 6]),
        ("setgroups", libc::SYS_setgroups, [0; 6]),
        ("sethostname", libc::SYS_sethostname, [root, 1, 0, 0, 0, 0]),
        ("settimeofday", libc::SYS_settimeofday, [0; 6]),
        ("syslog", libc::SYS_syslog, [3, 0, 0, 0, 0, 0]),
        ("reboot", libc::SYS_reboot, [0; 6]),
        ("swapon", libc::SYS_swapon, [root, 0, 0, 0, 0, 0]),
        ("quotactl", libc::SYS_quotactl, [0; 6]),
        ("acct", libc::SYS_acct, [0; 6]),
        ("init_module", libc::SYS_init_module, [0; 6]),
        ("finit_module", libc::SYS_finit_module, [0; 6]),
        ("kexec_load", libc::SYS_kexec_load, [0; 6]),
        ("personality", libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]),
        ("tiocsti", libc::SYS_ioctl, [0, 0x5412, root, 0, 0, 0]),
        ("tioclinux", libc::SYS_ioctl, [0, 0x541C, root, 0, 0, 0]),
        ("socket_alg", libc::SYS_socket, socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
        ("socket_vsock", libc::SYS_socket, socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
        ("socket_packet", libc::SYS_socket, socket(libc::AF_PACKET, packet, 0)),
        ("socket_xdp", libc::SYS_socket, socket(libc::AF_XDP, packet, 0)),
        ("socket_xfrm", libc::SYS_socket, socket(libc::AF_NETLINK, packet, libc::NETLINK_XFRM)),
        (
            "socket_netfilter",
            libc::SYS_socket,
            socket(libc::AF_NETLINK, packet, libc::NETLINK_NETFILTER),
        ),
        ("socket_rxrpc", libc::SYS_socket, socket(libc::AF_RXRPC, libc::SOCK_DGRAM, 0)),
        ("socket_key", libc::SYS_socket, socket(libc::AF_KEY, packet, 2)),
        ("socket_raw", libc::SYS_socket, socket(libc::AF_INET, packet, libc::IPPROTO_ICMP)),
    ]
}

/// Processes that are seen and are neither this one nor the one that started it.
fn neighbours() -> usize {
    let own = [std::process::id(), std::os::unix::process::parent_id()].map(|pid| pid.to_string());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && !own.contains(name))
        .count()
}

/// Open descriptors, less the one that lists them.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count()) - 1
}

/// All five sets, or-ed.
fn capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let sets = status.lines().filter(|line| line.starts_with("Cap"));
    sets.filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok())
        .fold(0, |all, set| all | set)
}
