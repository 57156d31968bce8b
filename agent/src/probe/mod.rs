//! The kernel side seen from user space: load and attach the programs, set policies and hints, read
//! the rings and the counters.
//!
//! Only this module knows aya. Unsafe code is confined to [`wire`] and [`shared`].

mod attach;
pub mod backend;
mod blocked;
pub mod control;
pub mod cost;
pub mod counters;
pub mod libraries;
pub mod load;
#[cfg(feature = "log")]
mod log;
pub mod memory;
mod order;
pub mod reader;
mod shared;
pub mod sweep;
pub mod undelivered;
mod wire;

pub use backend::{Backend, Choice};
pub use load::{LoadError, ProbeState, Probes, Status};
pub use order::Preemption;

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn check(folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("src/probe") {
                check(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains(concat!("aya", "::")), "{} uses aya", path.display());
            }
        }
    }

    #[test]
    fn nobody_else_knows_aya() {
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    }
}
