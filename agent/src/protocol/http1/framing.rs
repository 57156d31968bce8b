//! How long a body is: RFC 9112, section 6.3.

/// What the head fields say about the length of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) length: Length,
    pub(super) transfer: Transfer,
}

/// `Content-Length`, all of its field lines together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    #[default]
    Absent,
    Bytes(u64),
    /// Not a number, or numbers that differ.
    Invalid,
}

/// `Transfer-Encoding`, all of its field lines together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Transfer {
    #[default]
    Absent,
    /// `chunked` is the last coding.
    Chunked,
    /// Another coding is the last one.
    Other,
}

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Counted(u64),
    Chunked,
    UntilEnd,
    /// The head contradicts itself; the receiver must answer 400 or close.
    Faulty,
}

impl Fields {
    /// Takes in one `Content-Length` field line. Equal repetitions are one value.
    pub(super) fn add_length(&mut self, value: &[u8]) {
        for item in value.split(|byte| *byte == b',') {
            let parsed = decimal(item.trim_ascii());
            self.length = match (self.length, parsed) {
                (Length::Absent, Some(bytes)) => Length::Bytes(bytes),
                (Length::Bytes(before), Some(bytes)) if before == bytes => Length::Bytes(bytes),
                _ => Length::Invalid,
            };
        }
    }

    /// Takes in one `Transfer-Encoding` field line. The last coding of the last line decides.
    pub(super) fn add_transfer(&mut self, value: &[u8]) {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        self.transfer =
            if last.eq_ignore_ascii_case(b"chunked") { Transfer::Chunked } else { Transfer::Other };
    }

    /// For a request.
    pub(super) fn request(self) -> Framing {
        match (self.transfer, self.length) {
            (Transfer::Chunked, _) => Framing::Chunked,
            (Transfer::Other, _) | (_, Length::Invalid) => Framing::Faulty,
            (Transfer::Absent, Length::Absent | Length::Bytes(0)) => Framing::None,
            (Transfer::Absent, Length::Bytes(bytes)) => Framing::Counted(bytes),
        }
    }

    /// For a final response that may have a body.
    pub(super) fn response(self) -> Framing {
        match (self.transfer, self.length) {
            (Transfer::Chunked, _) => Framing::Chunked,
            (Transfer::Absent, Length::Invalid) => Framing::Faulty,
            (Transfer::Absent, Length::Bytes(0)) => Framing::None,
            (Transfer::Absent, Length::Bytes(bytes)) => Framing::Counted(bytes),
            (Transfer::Other, _) | (Transfer::Absent, Length::Absent) => Framing::UntilEnd,
        }
    }
}

/// `1*DIGIT` that fits.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lengths: &[&str], transfers: &[&str]) -> Fields {
        let mut fields = Fields::default();
        for value in lengths {
            fields.add_length(value.as_bytes());
        }
        for value in transfers {
            fields.add_transfer(value.as_bytes());
        }
        fields
    }

    #[test]
    fn follows_rfc_9112() {
        let cases: &[(&[&str], &[&str], Framing, Framing)] = &[
            (&[], &[], Framing::None, Framing::UntilEnd),
            (&["0"], &[], Framing::None, Framing::None),
            (&["5"], &[], Framing::Counted(5), Framing::Counted(5)),
            (&["5", "5"], &[], Framing::Counted(5), Framing::Counted(5)),
            (&["5, 5"], &[], Framing::Counted(5), Framing::Counted(5)),
            (&["5", "6"], &[], Framing::Faulty, Framing::Faulty),
            (&["+5"], &[], Framing::Faulty, Framing::Faulty),
            (&[""], &[], Framing::Faulty, Framing::Faulty),
            (&["99999999999999999999"], &[], Framing::Faulty, Framing::Faulty),
            (&["5"], &["chunked"], Framing::Chunked, Framing::Chunked),
            (&[], &["gzip, Chunked"], Framing::Chunked, Framing::Chunked),
            (&[], &["gzip", "chunked"], Framing::Chunked, Framing::Chunked),
            (&[], &["chunked, gzip"], Framing::Faulty, Framing::UntilEnd),
            (&[], &["identity"], Framing::Faulty, Framing::UntilEnd),
        ];
        for (lengths, transfers, request, response) in cases {
            let fields = fields(lengths, transfers);
            assert_eq!(fields.request(), *request, "request {lengths:?} {transfers:?}");
            assert_eq!(fields.response(), *response, "response {lengths:?} {transfers:?}");
        }
    }
}
