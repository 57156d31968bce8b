//! Bytes of a direction that went by unseen.

use super::super::Flags;
use super::{Half, Item, State, flag, in_memory};

impl Half {
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
            State::Preface(_) | State::Header { .. } => {
                self.lose(why, true);
                return None;
            }
            State::Collect { left } => *left as u64,
            State::Data { content, padding, .. } => u64::from(*content) + u64::from(*padding),
            State::Pass { left } => u64::from(*left),
        };
        let inside = count.filter(|count| *count <= left);
        let item = self.gap_within(inside.unwrap_or(left), left, why);
        if inside.is_none() {
            self.lose(why, true);
        }
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
