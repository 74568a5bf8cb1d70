//! Memory for environments that are made ahead of calls: how many of those that are wished for the
//! machine has room for. Pure.
//!
//! Each counts with all the memory that its function may use, because that is what provisioning
//! promises. Who was given room keeps it; the rest is given out in the order of the wishes.

/// A wish for environments of one version.
pub(super) struct Wanted {
    /// For how many it has room already.
    pub had: u32,
    pub wanted: u32,
    pub memory_mb: u32,
}

/// For how many environments of each wish there is room.
pub(super) fn share(wishes: &[Wanted], room_mb: u64) -> Vec<u32> {
    let mut left = room_mb;
    let mut take = |count: u32, memory_mb: u32| {
        let memory = u64::from(memory_mb.max(1));
        let taken = u64::from(count).min(left / memory);
        left -= taken * memory;
        // No more than `count`.
        u32::try_from(taken).unwrap_or(count)
    };
    let kept: Vec<u32> =
        wishes.iter().map(|wish| take(wish.had.min(wish.wanted), wish.memory_mb)).collect();
    let more = wishes.iter().zip(kept);
    more.map(|(wish, kept)| kept + take(wish.wanted - kept, wish.memory_mb)).collect()
}

/// Why there are fewer than wished for; none where there are not.
pub(super) fn shortage(wish: &Wanted, given: u32, room_mb: u64) -> Option<String> {
    let Wanted { wanted, memory_mb, .. } = wish;
    (given < *wanted).then(|| {
        format!(
            "This machine has no room for {wanted} environments of {memory_mb} MB each: it has \
             {room_mb} MB of memory for all provisioned concurrency, and keeps {given} of them \
             ready."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(had: u32, wanted: u32, memory_mb: u32) -> Wanted {
        Wanted { had, wanted, memory_mb }
    }

    #[test]
    fn what_was_given_stays_and_the_rest_is_first_come() {
        let wishes = [wish(0, 10, 512), wish(2, 3, 1024), wish(0, 1, 128)];
        assert_eq!(share(&wishes, 100_000), [10, 3, 1]);
        assert_eq!(share(&wishes, 2048 + 1024), [2, 2, 0]);
        assert_eq!(share(&wishes, 2048 + 128), [0, 2, 1]);
        assert_eq!(share(&wishes, 0), [0, 0, 0]);
        assert_eq!(share(&[wish(5, 2, 512)], 100_000), [2], "fewer are wished for than before");
        assert_eq!(share(&[wish(0, u32::MAX, 0)], u64::MAX), [u32::MAX]);
    }

    #[test]
    fn the_reason_names_what_is_short() {
        let short = shortage(&wish(0, 3, 1024), 2, 2048).unwrap();
        assert!(short.contains("no room for 3 environments of 1024 MB"), "{short}");
        assert!(short.contains("keeps 2 of them ready"), "{short}");
        assert_eq!(shortage(&wish(0, 3, 1024), 3, 4096), None);
    }
}
