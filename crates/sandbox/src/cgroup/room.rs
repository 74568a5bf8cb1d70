//! How much memory a group uses, and how much its limit leaves. Files that the kernel can drop from
//! its caches do not count; those of a tmpfs do.

use super::Kind;
use super::files::{read, read_field};
use std::path::Path;

pub(super) fn used(kind: Kind, group: &Path) -> Option<u64> {
    let (usage, fields) = match kind {
        Kind::All => ("memory.current", ["inactive_file", "active_file"]),
        _ => ("memory.usage_in_bytes", ["total_inactive_file", "total_active_file"]),
    };
    let caches = fields.map(|field| read_field(group, "memory.stat", field).unwrap_or(0));
    Some(read(group, usage)?.saturating_sub(caches.iter().sum()))
}

/// How much is left below the limit, short of what is `kept` of it. Absent where there is no limit.
pub(super) fn left(kind: Kind, group: &Path, kept: fn(u64) -> u64) -> Option<u64> {
    let file = if kind == Kind::All { "memory.max" } else { "memory.limit_in_bytes" };
    // v1: without a limit this is the largest number of whole pages; v2: a word.
    let limit = read(group, file).filter(|limit| *limit < 1 << 62)?;
    Some(limit.saturating_sub(kept(limit)).saturating_sub(used(kind, group)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let group = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(group.path().join(name), text).unwrap();
        }
        group
    }

    #[test]
    fn caches_do_not_count_and_no_limit_is_none() {
        let new = group(&[
            ("memory.current", "1000\n"),
            ("memory.max", "1500\n"),
            ("memory.stat", "anon 500\nshmem 100\ninactive_file 300\nactive_file 100\n"),
        ]);
        assert_eq!(used(Kind::All, new.path()), Some(600));
        let left = |kind, group: &Path| left(kind, group, |limit| limit / 4);
        assert_eq!(left(Kind::All, new.path()), Some(1500 - 375 - 600));
        std::fs::write(new.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(left(Kind::All, new.path()), None);
        let old = group(&[
            ("memory.usage_in_bytes", "2000\n"),
            ("memory.limit_in_bytes", "1500\n"),
            ("memory.stat", "inactive_file 7\ntotal_inactive_file 100\n"),
        ]);
        assert_eq!(used(Kind::Memory, old.path()), Some(1900));
        assert_eq!(left(Kind::Memory, old.path()), Some(0));
        std::fs::write(old.path().join("memory.limit_in_bytes"), "9223372036854771712").unwrap();
        assert_eq!(left(Kind::Memory, old.path()), None);
    }
}
