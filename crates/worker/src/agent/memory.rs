//! How much memory is left for environments. What the kernel can take back without harm, the caches
//! of files, counts as free.

use lamplight_sandbox::Launcher;

/// What is not for environments of so many bytes, of the machine or of a limit: the server needs some,
/// and so does what comes in one moment, for at the end of it the kernel ends whatever it finds.
fn kept_free(of: u64) -> u64 {
    (of / 16).clamp(64 << 20, 512 << 20).min(of / 4)
}

/// In bytes. `most` is what all environments together may use.
pub(super) fn left(launcher: &Launcher, most: Option<u64>) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = text.as_deref().and_then(of_machine);
    let own = most.and_then(|most| Some(most.saturating_sub(launcher.memory_used()?)));
    [machine, own, launcher.memory_left(kept_free)].into_iter().flatten().min()
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.saturating_mul(1024))
    };
    Some(field("MemAvailable")?.saturating_sub(kept_free(field("MemTotal")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_machine_is_kept_free() {
        let info = |total: u64, available: u64| {
            format!("MemTotal: {total} kB\nMemFree: 7 kB\nMemAvailable:   {available} kB\n")
        };
        let mb = 1024;
        assert_eq!(of_machine(&info(2048 * mb, 1024 * mb)), Some((1024 - 128) << 20));
        assert_eq!(of_machine(&info(512 * mb, 60 * mb)), Some(0));
        assert_eq!(of_machine(&info(64 * 1024 * mb, 8 * 1024 * mb)), Some((8192 - 512) << 20));
        assert_eq!(of_machine("MemTotal: 12 kB"), None);
        assert_eq!(kept_free(40 << 20), 10 << 20, "never most of it");
    }
}
