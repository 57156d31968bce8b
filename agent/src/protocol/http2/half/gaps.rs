//! Bytes of a direction that went by unseen.

use super::super::Flags;
use super::super::frame::PREFACE;
use super::{Half, Item, State, flag, in_memory};
use crate::event::Place;

impl Half {
    /// Goes on where the kernel knows that a frame begins in `bytes`, if the place is lost and the
    /// kernel can be trusted: it never lost its own, or not since it was the same as here.
    pub(in super::super) fn resume(&mut self, place: Place, bytes: &[u8]) -> bool {
        if matches!(self.state, State::Preface(0)) && !bytes.starts_with(&PREFACE[..1]) {
            // It went by unseen.
            self.start_midway();
        }
        let is_sure = place.epoch == 0 || self.agreed == Some(place.epoch);
        if !is_sure || self.lost().is_none() {
            return false;
        }
        self.next_header();
        self.resumed = true;
        true
    }

    /// Where the kernel knows that a frame begins, one begins here, too, or not.
    pub(in super::super) fn agree(&mut self, place: Place) {
        let begins = matches!(self.state, State::Header { have: 0, .. });
        self.agreed = begins.then_some(place.epoch);
    }

    /// So many bytes went by unseen, `None` for an unknown number.
    pub(in super::super) fn gap(
        &mut self,
        count: Option<u64>,
        why: Flags,
    ) -> Option<Item<'static>> {
        let left = match &mut self.state {
            State::Over => return None,
            State::Search(search) => {
                search.gap(count);
                return None;
            }
            State::Preface(_) | State::Header { .. } => return self.lose_all(why),
            State::Collect { left } => *left as u64,
            State::Data { content, padding, .. } => u64::from(*content) + u64::from(*padding),
            State::Pass { left } => u64::from(*left),
        };
        let inside = count.filter(|count| *count <= left);
        let item = self.gap_within(inside.unwrap_or(left), left, why);
        if inside.is_some() {
            return item;
        }
        item.or(self.lose_all(why))
    }

    /// The place is lost. A header block that was begun is given out as far as it came: its request
    /// counts.
    fn lose_all(&mut self, why: Flags) -> Option<Item<'static>> {
        let item = self.block.cut(why);
        self.lose(why, true);
        item
    }

    /// So many of the `left` bytes of the current frame went by unseen.
    fn gap_within(&mut self, count: u64, left: u64, why: Flags) -> Option<Item<'static>> {
        let is_end = count == left;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match &mut self.state {
            State::Collect { left } => {
                *left -= in_memory(count).min(*left);
                self.damaged = Some(self.damaged.map_or(why, |before| before | why));
                if is_end { self.end_collected() } else { None }
            }
            State::Data { content, padding, awaits_padding } => {
                let of_content = count.min(*content);
                // Without the length of the padding that of the content is not known.
                let known = (!*awaits_padding).then_some(of_content);
                *content -= of_content;
                *padding -= (count - of_content).min(*padding);
                *awaits_padding = false;
                let end = is_end && self.frame.has(flag::END_STREAM);
                if is_end {
                    self.next_header();
                }
                Some(Item::Gap { stream: self.frame.stream, count: known, end, why })
            }
            State::Pass { left } => {
                *left -= count.min(*left);
                if is_end {
                    self.next_header();
                }
                None
            }
            _ => None,
        }
    }
}
