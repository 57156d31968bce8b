//! Memory that was freed and is still resident, because the allocator keeps it for later.
//!
//! glibc keeps what lies below the highest piece in use of each arena. After a burst, thousands of
//! connections with large heads say, that is nearly all of it, for good: vigie would be over its
//! memory budget with nothing to give up. Turned down: another allocator (its own memory and its own
//! costs at all times, for a rare event).
#![expect(unsafe_code, reason = "a function of the C library that no crate wraps")]

/// Gives freed memory back to the kernel, in whole pages. Takes some milliseconds for 100 MiB, so not
/// for often. Does nothing with another C library than glibc.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the locks of the allocator itself, and leaves alone what is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::cost;

    const PIECES: usize = 4096;
    const PIECE: usize = 16 << 10;

    #[test]
    fn what_lies_below_a_piece_in_use_is_given_back() {
        // Pieces do not end at pages.
        let least = (PIECES * PIECE / 4) as u64;
        // Other tests take memory at the same time, but not each time so much.
        let tries: Vec<_> = (0..8).map(|_| before_and_after()).collect();
        assert!(tries.iter().any(|(before, after)| after + least < *before), "{tries:?}");
    }

    /// Resident bytes before and after half of many pieces were given back.
    fn before_and_after() -> (u64, u64) {
        let mut pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![1; PIECE]).collect();
        let before = cost::resident_bytes();
        // Each second one stays.
        pieces.retain({
            let mut keep = false;
            move |_| {
                keep = !keep;
                keep
            }
        });
        give_back();
        let after = cost::resident_bytes();
        assert_eq!(pieces.len(), PIECES / 2);
        (before, after)
    }
}
