//! Reading the rings.
//!
//! The kernel wakes the reader only when a ring fills up; else the reader looks by itself at each
//! end of a short interval. A burst so costs few wake-ups, and an idle machine a few look-ups.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::wire;
use crate::event::Event;

/// The rings of all shards.
pub struct Reader {
    rings: Vec<RingBuf<MapData>>,
    epoll: OwnedFd,
    /// Records that could not be decoded.
    pub undecodable: u64,
}

/// Records taken from one ring before the next has its turn.
pub const RUN: usize = 4096;

impl Reader {
    /// Reads these rings.
    pub fn try_new(rings: Vec<RingBuf<MapData>>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for ring in &rings {
            // Edge-triggered: a level would be high whenever there is a single record.
            let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, ring.as_fd(), epoll::EventData::new_u64(0), events)?;
        }
        Ok(Self { rings, epoll, undecodable: 0 })
    }

    /// Gives every record that is there now to `each`, at most [`RUN`] from each ring. Returns how
    /// many there were.
    pub fn drain(&mut self, mut each: impl FnMut(&Event<'_>)) -> usize {
        let mut total = 0;
        for ring in &mut self.rings {
            let mut taken = 0;
            while taken < RUN
                && let Some(item) = ring.next()
            {
                taken += 1;
                match wire::decode(&item) {
                    Some(event) => each(&event),
                    None => self.undecodable += 1,
                }
            }
            total += taken;
        }
        total
    }

    /// Waits until a ring fills up or `time` has passed.
    pub fn wait(&self, time: Duration) {
        let mut events = Vec::with_capacity(self.rings.len());
        let timeout = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        // A signal ends the wait early, and the caller looks around anyway.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
    }
}
