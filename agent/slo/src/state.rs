//! An evaluator as bytes, and back: [`Evaluator::encode`](crate::evaluate::Evaluator::encode) and
//! [`Evaluator::decode`](crate::evaluate::Evaluator::decode). What keeps the bytes is not here.
//!
//! Little endian; numbers mostly as LEB128, signed ones in zigzag. Sums are written as differences from
//! entry to entry with equal ones counted, so that a new SLO takes some hundred bytes and a full one of
//! 30 days about 4 bytes an entry instead of 16. What follows from the rest (how many entries, which) is
//! not written and so cannot be wrong.
//!
//! Decoding trusts nothing: what is cut, longer than it should be or out of bounds is [`Unusable`], and
//! memory is taken only for rings that a node may have. There is no checksum: that is for whoever keeps it.
//!
//! Counts mean something only together with what was counted. Digests of indicator and budgeting are
//! written, and if they are not those of the SLO of now, the counts are of something else: start anew.
//! Objective, alerts, period, zones and resolution may change: burn rates follow from the counts at once.
//! States of alerts are kept by the alerts' names.

mod bytes;
mod digest;

pub use bytes::{Reader, Writer};
pub use digest::fingerprint;
pub(crate) use digest::{budgeting, indicator, window};

/// Version of the bytes. They begin with it.
pub const VERSION: u16 = 1;

/// Bytes that cannot be used as the state of an SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Of another version.
    #[error("its format is version {0}, this vigie reads version {VERSION}")]
    Version(u16),
    /// It ends too early.
    #[error("it is cut short")]
    Cut,
    /// It goes on too long.
    #[error("it has bytes after its end")]
    Trailing,
    /// Something in it cannot be.
    #[error("{0} is out of bounds")]
    Invalid(&'static str),
    /// It counted other requests, or others of them as bad.
    #[error(
        "the indicator of the SLO was changed, so what was counted before is of something else"
    )]
    Indicator,
    /// It counted in another unit.
    #[error("the budgeting of the SLO was changed, so what was counted before is in another unit")]
    Budgeting,
}

impl Unusable {
    /// Whether the bytes are not what was written, rather than about something else than the SLO of now.
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::Cut | Self::Trailing | Self::Invalid(_))
    }
}
