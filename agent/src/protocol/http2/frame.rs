//! Frame headers: RFC 9113, section 4.1 and section 6.

/// Bytes of a frame header.
pub(super) const HEADER: usize = 9;

/// What a client sends first (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest payload that may be sent before the peer has allowed more (section 6.5.2).
pub(super) const DEFAULT_MAX: u32 = 1 << 14;

/// Longest payload that is taken for plausible where it is not known what the peers have allowed.
const PLAUSIBLE_MAX: u32 = 1 << 20;

/// The one extension that is in wide use: RFC 9218, section 7.1.
const PRIORITY_UPDATE: u8 = 0x10;

/// Frame types; RFC 9113, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// An extension, which is passed over (section 5.5).
    Other(u8),
}

impl Kind {
    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Other(other),
        }
    }
}

/// Flags of frames.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// One frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of the payload.
    pub(super) length: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Stream, 0 for the connection.
    pub(super) stream: u32,
    /// The bit that must be sent as 0 and is not looked at by receivers.
    reserved: bool,
}

impl Frame {
    pub(super) fn parse(bytes: [u8; HEADER]) -> Self {
        let [high, middle, low, kind, flags, stream @ ..] = bytes;
        let stream = u32::from_be_bytes(stream);
        Self {
            length: u32::from_be_bytes([0, high, middle, low]),
            kind: Kind::from_byte(kind),
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        }
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether no peer would take it: lengths and streams as section 6 asks of each type. Of `inside`
    /// a header block only that stream's CONTINUATION may come (section 4.3).
    pub(super) fn is_malformed(self, inside: Option<u32>) -> bool {
        if let Some(stream) = inside {
            return self.kind != Kind::Continuation || self.stream != stream;
        }
        let on_stream = self.stream != 0;
        !match self.kind {
            Kind::Data | Kind::Headers | Kind::PushPromise => on_stream,
            Kind::Priority => on_stream && self.length == 5,
            Kind::Reset => on_stream && self.length == 4,
            Kind::Settings => {
                !on_stream
                    && self.length.is_multiple_of(6)
                    && (self.length == 0 || !self.has(flag::ACK))
            }
            Kind::Ping => !on_stream && self.length == 8,
            Kind::GoAway => !on_stream && self.length >= 8,
            Kind::WindowUpdate => self.length == 4,
            Kind::Continuation => false,
            Kind::Other(_) => true,
        }
    }

    /// Whether it looks like a frame that real peers send, where it is not known whether these bytes
    /// are one: well-formed, of a type in use, without undefined flags, and of a length that the
    /// peers have allowed, as far as is known.
    pub(super) fn is_plausible(self, max: Option<u32>, inside: Option<u32>) -> bool {
        let flags = match self.kind {
            Kind::Data => flag::END_STREAM | flag::PADDED,
            Kind::Headers => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            Kind::PushPromise => flag::END_HEADERS | flag::PADDED,
            Kind::Continuation => flag::END_HEADERS,
            Kind::Settings | Kind::Ping => flag::ACK,
            Kind::Priority | Kind::Reset | Kind::GoAway | Kind::WindowUpdate => 0,
            Kind::Other(PRIORITY_UPDATE) if self.stream == 0 => 0,
            Kind::Other(_) => return false,
        };
        let length = match self.kind {
            // Nobody sends a block without a field.
            Kind::Headers | Kind::PushPromise => {
                u32::from(self.has(flag::END_HEADERS))..=max.unwrap_or(PLAUSIBLE_MAX)
            }
            Kind::Settings => 0..=6 * 32,
            Kind::GoAway => 8..=4096,
            Kind::Other(_) => 4..=64,
            _ => 0..=max.unwrap_or(PLAUSIBLE_MAX),
        };
        // Streams that are used are begun by the client.
        let stream = !self.stream.is_multiple_of(2) || self.kind != Kind::Headers;
        !self.is_malformed(inside)
            && !self.reserved
            && self.flags & !flags == 0
            && length.contains(&self.length)
            && stream
    }
}

/// Name of an error code (RFC 9113, section 7); `stream_reset` for one that has none or was not
/// seen.
pub(super) fn code_name(code: Option<u32>) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    code.and_then(|code| NAMES.get(usize::try_from(code).ok()?)).copied().unwrap_or("stream_reset")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, kind: u8, flags: u8, stream: u32) -> Frame {
        let head = [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        Frame::parse(head.try_into().unwrap())
    }

    #[test]
    fn plausible_and_malformed() {
        // Length, type, flags, stream; plausible, malformed.
        let cases = [
            ((0, 4, 0, 0), true, false),
            ((0, 4, 1, 0), true, false),
            ((18, 4, 0, 0), true, false),
            ((6, 4, 1, 0), false, true),
            ((5, 4, 0, 0), false, true),
            ((6, 4, 0, 1), false, true),
            ((30, 1, 0x25, 1), true, false),
            ((30, 1, 0x25, 0), false, true),
            ((30, 1, 0x25, 2), false, false),
            ((30, 1, 0x45, 1), false, false),
            ((0, 1, 0x4, 1), false, false),
            ((16384, 0, 1, 3), true, false),
            ((16385, 0, 1, 3), false, false),
            ((4, 3, 0, 1), true, false),
            ((5, 3, 0, 1), false, true),
            ((8, 6, 1, 0), true, false),
            ((8, 6, 1, 1), false, true),
            ((8, 7, 0, 0), true, false),
            ((4, 8, 0, 0), true, false),
            ((4, 8, 0, 0x8000_0001), false, false),
            ((30, 9, 4, 1), false, true),
            ((30, 10, 0, 1), false, false),
        ];
        for ((length, kind, flags, stream), plausible, malformed) in cases {
            let frame = frame(length, kind, flags, stream);
            assert_eq!(frame.is_plausible(Some(DEFAULT_MAX), None), plausible, "{frame:?}");
            assert_eq!(frame.is_malformed(None), malformed, "{frame:?}");
        }
        assert!(!frame(9, 9, 4, 1).is_malformed(Some(1)));
        assert!(frame(9, 9, 4, 3).is_malformed(Some(1)));
        assert!(frame(9, 0, 0, 1).is_malformed(Some(1)));
    }
}
