//! The system call filter: everything is refused with EPERM unless it is listed.
//!
//! Written by hand rather than with a filter library, because three answers are needed in one
//! program (allow, EPERM, ENOSYS) and a binary search over ranges installs several times faster
//! than one comparison for each call.
//!
//! Absent on purpose: mounts, namespaces, bpf, perf, io_uring, userfaultfd, keyrings, ptrace and its
//! kin, file handles, modules, kexec, vmsplice. Sockets open for unix, inet, inet6 and route
//! netlink only, so the kernel's rarer protocols cannot be reached.

mod assembler;
mod calls;

use assembler::{Assembler, Target};
use lamplight_env::faults;

/// Namespace flags of clone.
// As Docker masks them; a time namespace cannot be asked for by clone.
const CLONE_NAMESPACES: u32 = 0x7E02_0000;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;
/// The personalities that Docker allows: Linux, 2.6 uname, both, no randomisation, query.
const PERSONALITIES: [u32; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// The filter as the kernel's instructions, one in each number.
pub(crate) fn filter() -> Vec<u64> {
    let mut a = special_calls();
    a.search(&ranges(calls::allowed()));
    a.finish()
}

/// What comes before the list: architectures, and calls whose arguments decide. The rest of the
/// program finds the number of the call loaded.
fn special_calls() -> Assembler {
    let mut a = Assembler::new();
    // Offsets in struct seccomp_data.
    a.load(4);
    a.jump_if_equal(ARCHITECTURE, Target::Next, Target::Kill);
    a.load(0);
    // x32 calls have bit 30 set.
    #[cfg(target_arch = "x86_64")]
    a.jump_if_at_least(0x4000_0000, Target::Kill, Target::Next);

    a.jump_if_equal(number(libc::SYS_clone3), Target::NoSuchCall, Target::Next);
    a.on_argument(number(libc::SYS_clone), 0, |a| {
        a.jump_if_any_bit(CLONE_NAMESPACES, Target::Refuse, Target::Allow);
    });
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        a.on_argument(number(call), 0, |a| {
            for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
                a.jump_if_equal(family as u32, Target::Allow, Target::Next);
            }
            if faults::bug("allow-rare-sockets") {
                a.leave(Target::Allow);
            }
            a.jump_if_equal(libc::AF_NETLINK as u32, Target::Next, Target::Refuse);
            a.load_argument(2);
            a.jump_if_equal(libc::NETLINK_ROUTE as u32, Target::Allow, Target::Refuse);
        });
    }
    a.on_argument(number(libc::SYS_personality), 0, |a| {
        for personality in PERSONALITIES {
            a.jump_if_equal(personality, Target::Allow, Target::Next);
        }
        a.leave(Target::Refuse);
    });
    a.on_argument(number(libc::SYS_ioctl), 1, |a| {
        a.jump_if_equal(TIOCSTI, Target::Refuse, Target::Next);
        a.jump_if_equal(TIOCLINUX, Target::Refuse, Target::Allow);
    });
    a
}

fn number(call: libc::c_long) -> u32 {
    call as u32
}

/// Sorted numbers as inclusive ranges.
fn ranges(mut numbers: Vec<u32>) -> Vec<(u32, u32)> {
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number <= last.saturating_add(1) => *last = number.max(*last),
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::assembler::trace;
    use super::*;
    use std::collections::BTreeSet;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;
    const KILL: u32 = 0x8000_0000;

    fn interpret(filter: &[u64], architecture: u32, call: u32, arguments: &[u64]) -> u32 {
        trace(filter, architecture, call, arguments).0
    }

    fn verdict(call: libc::c_long, arguments: &[u64]) -> u32 {
        interpret(&filter(), ARCHITECTURE, number(call), arguments)
    }

    #[test]
    fn exactly_the_listed_calls_pass() {
        let filter = filter();
        let listed = calls::allowed();
        let special = [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_personality,
            libc::SYS_ioctl,
        ];
        for call in 0..2000u32 {
            if special.iter().any(|special| number(*special) == call) {
                continue;
            }
            let wanted = if listed.contains(&call) { ALLOW } else { EPERM };
            assert_eq!(interpret(&filter, ARCHITECTURE, call, &[]), wanted, "call {call}");
        }
    }

    #[test]
    fn what_must_never_pass_does_not() {
        let never = [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_mount_setattr,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_userfaultfd,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_kcmp,
            libc::SYS_open_by_handle_at,
            libc::SYS_name_to_handle_at,
            libc::SYS_fanotify_init,
            libc::SYS_fanotify_mark,
            libc::SYS_quotactl,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_reboot,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_vmsplice,
            libc::SYS_chroot,
            libc::SYS_acct,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_syslog,
            libc::SYS_sethostname,
        ];
        for call in never {
            assert_eq!(verdict(call, &[]), EPERM, "call {call}");
        }
    }

    #[test]
    fn arguments_decide_for_clone_sockets_personality_and_terminals() {
        assert_eq!(verdict(libc::SYS_clone3, &[]), ENOSYS);
        assert_eq!(verdict(libc::SYS_clone, &[libc::SIGCHLD as u64]), ALLOW);
        for bit in [
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWNS,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWCGROUP,
        ] {
            assert_eq!(verdict(libc::SYS_clone, &[(bit | libc::SIGCHLD) as u64]), EPERM);
        }
        for family in 0..64u64 {
            let open = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
                .iter()
                .any(|f| *f as u64 == family);
            assert_eq!(
                verdict(libc::SYS_socket, &[family, 1, 0]) == ALLOW,
                open,
                "family {family}"
            );
        }
        assert_eq!(
            verdict(libc::SYS_socket, &[libc::AF_NETLINK as u64, 3, libc::NETLINK_XFRM as u64]),
            EPERM
        );
        // The kernel reads the family as 32 bits; what is above must not confuse us.
        assert_eq!(verdict(libc::SYS_socket, &[1 << 32 | libc::AF_ALG as u64, 5, 0]), EPERM);
        assert_eq!(verdict(libc::SYS_personality, &[0xffff_ffff]), ALLOW);
        assert_eq!(verdict(libc::SYS_personality, &[0x0040_0000]), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, &[0, TIOCSTI.into()]), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, &[0, 1 << 32 | u64::from(TIOCSTI)]), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, &[0, TIOCLINUX.into()]), EPERM);
        assert_eq!(verdict(libc::SYS_ioctl, &[0, 0x5401]), ALLOW);
    }

    #[test]
    fn other_architectures_are_killed() {
        let filter = filter();
        for architecture in [0x4000_0003, 0, 0xC000_00B7, 0xC000_003E] {
            let verdict = interpret(&filter, architecture, 1, &[]);
            assert_eq!(verdict == KILL, architecture != ARCHITECTURE, "{architecture:x}");
        }
        #[cfg(target_arch = "x86_64")]
        assert_eq!(interpret(&filter, ARCHITECTURE, 0x4000_0001, &[]), KILL);
    }

    /// No instruction is there that nothing can reach: one that is would be a rule that was meant
    /// and does not hold.
    #[test]
    fn every_instruction_is_reached() {
        let filter = filter();
        let special = special_calls().finish().len();
        let mut reached = BTreeSet::new();
        let mut run = |architecture: u32, call: u32, arguments: &[u64]| {
            reached.extend(trace(&filter, architecture, call, arguments).1);
        };
        for architecture in [ARCHITECTURE, 0x4000_0003, 0xC000_00B7, 0xC000_003E] {
            for call in (0..1000).chain([0x4000_0000, u32::MAX]) {
                run(architecture, call, &[]);
            }
        }
        for bit in 0..32 {
            run(ARCHITECTURE, number(libc::SYS_clone), &[1 << bit]);
            run(ARCHITECTURE, number(libc::SYS_personality), &[1 << bit]);
            for family in 0..64 {
                for call in [libc::SYS_socket, libc::SYS_socketpair] {
                    run(ARCHITECTURE, number(call), &[family, 1, bit]);
                }
            }
        }
        for personality in PERSONALITIES {
            run(ARCHITECTURE, number(libc::SYS_personality), &[personality.into()]);
        }
        for request in [TIOCSTI, TIOCLINUX, 0x5401] {
            run(ARCHITECTURE, number(libc::SYS_ioctl), &[0, request.into()]);
        }
        let missed: Vec<usize> = (0..special).filter(|at| !reached.contains(at)).collect();
        assert_eq!(missed, Vec::<usize>::new());

        // The list by itself, which refuses what has been answered before, too.
        let mut list = Assembler::new();
        list.load(0);
        list.search(&ranges(calls::allowed()));
        let list = list.finish();
        assert_eq!(special + list.len() - 1, filter.len());
        let reached: BTreeSet<usize> =
            (0..1000).flat_map(|call| trace(&list, ARCHITECTURE, call, &[]).1).collect();
        assert_eq!(reached.len(), list.len());
    }

    #[test]
    fn the_kernel_would_take_its_length() {
        assert!(filter().len() < 400, "{}", filter().len());
    }
}
