//! Operations on words that the compiler has no other way to say for this target.

/// Adds to a word in one instruction, as others write to it, too: other CPUs, or a thread that comes in
/// between on this one. `core`'s atomics for this target have loads and stores only.
///
/// # Safety
/// `word` must be valid for writes.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: changes only what `word` points to.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({0} + 0) += {1}",
            in(reg) word,
            in(reg) amount,
            options(nostack)
        );
    }
}

/// A zero that the compiler does not know to be one. Neighbouring fields that are set to the zero that
/// it knows become a call of `memset`, which goes byte by byte.
#[inline(always)]
pub(crate) fn zero() -> u64 {
    let zero: u64;
    // SAFETY: changes only the register that it is given.
    unsafe { core::arch::asm!("{0} = 0", out(reg) zero, options(pure, nomem, nostack)) };
    zero
}

/// Sets words to zero, each by one instruction.
///
/// # Safety
/// `words` must be valid for writes of `count` words.
#[inline(always)]
pub(crate) unsafe fn clear(words: *mut u64, count: usize) {
    let mut index = 0;
    while index < count {
        // SAFETY: see above.
        unsafe { words.add(index).write(zero()) };
        index += 1;
    }
}

/// At most `N`, by instructions that the compiler cannot fold into an earlier comparison: the
/// verifier does not connect that one with this register.
#[inline(always)]
pub(crate) fn clamp<const N: usize>(length: u32) -> u32 {
    let mut clamped = u64::from(length);
    // SAFETY: changes only the register that it names.
    unsafe {
        core::arch::asm!(
            "if {0} <= {1} goto +1",
            "{0} = {1}",
            inout(reg) clamped,
            const N,
            options(pure, nomem, nostack)
        );
    }
    clamped as u32
}

/// The word modulo `N`, a power of two, by an instruction that the compiler cannot take for needless: the
/// verifier then knows a bound, and the same one whatever way led here.
#[inline(always)]
pub(crate) fn modulo<const N: usize>(word: u32) -> u32 {
    let mut modulo = u64::from(word);
    // SAFETY: changes only the register that it names.
    unsafe {
        core::arch::asm!("{0} &= {1}", inout(reg) modulo, const N - 1, options(pure, nomem, nostack));
    }
    modulo as u32
}
