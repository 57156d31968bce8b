//! The read-only global that user space fills in before loading.

use vigie_common::params::{Offsets, Params, Settings};

/// Overwritten by the loader. Volatile reads keep the compiler from using the zeros it sees here;
/// the verifier knows the real values as constants, because the map behind is frozen.
#[unsafe(no_mangle)]
static PARAMS: Params = Params { settings: ZERO_SETTINGS, offsets: ZERO_OFFSETS };

// SAFETY: both are plain integers, for which all-zero is a value.
const ZERO_SETTINGS: Settings = unsafe { core::mem::zeroed() };
// SAFETY: as above.
const ZERO_OFFSETS: Offsets = unsafe { core::mem::zeroed() };

/// Reads one setting.
macro_rules! setting {
    ($field:ident) => {
        crate::params::load(&crate::params::global().settings.$field)
    };
}

/// Reads one offset, as `usize`.
macro_rules! offset {
    ($field:ident) => {
        crate::params::load(&crate::params::global().offsets.$field) as usize
    };
}

pub(crate) use {offset, setting};

#[inline(always)]
pub(crate) fn global() -> &'static Params {
    &PARAMS
}

#[inline(always)]
pub(crate) fn load<T: Copy>(place: &'static T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(place) }
}
