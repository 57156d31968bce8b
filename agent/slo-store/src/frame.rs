//! Files that are written at once: 4 bytes that say what, version, length and CRC-32 of what follows.

/// Bytes before the content.
const HEADER: usize = 16;
/// Version of the files of this crate; that of an evaluator's state is its own.
pub(crate) const VERSION: u16 = 1;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The state of an SLO.
    Snapshot,
    /// Others' bytes.
    Blob,
    /// A segment of the journal. Has only the first 8 bytes, as it grows.
    Journal,
}

impl Kind {
    const fn magic(self) -> [u8; 4] {
        match self {
            Self::Snapshot => *b"vgSS",
            Self::Blob => *b"vgSB",
            Self::Journal => *b"vgSJ",
        }
    }

    /// The first 8 bytes.
    pub(crate) fn start(self) -> [u8; 8] {
        let ([a, b, c, d], [low, high]) = (self.magic(), VERSION.to_le_bytes());
        [a, b, c, d, low, high, 0, 0]
    }

    /// What comes after the first 8 bytes.
    pub(crate) fn after_start(self, bytes: &[u8]) -> Result<&[u8], Damage> {
        let ([a, b, c, d, low, high, rest_of_start @ ..], rest) =
            bytes.split_first_chunk::<8>().ok_or(Damage::Cut)?;
        if [*a, *b, *c, *d] != self.magic() || *rest_of_start != [0, 0] {
            return Err(Damage::Foreign);
        }
        match u16::from_le_bytes([*low, *high]) {
            VERSION => Ok(rest),
            other => Err(Damage::Version(other)),
        }
    }
}

/// Why the content of a file is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is cut short")]
    Cut,
    #[error("it does not begin as such a file does")]
    Foreign,
    #[error("its format is version {0}, this vigie reads version {VERSION}")]
    Version(u16),
    #[error("its length is not the one written in it")]
    Length,
    #[error("its checksum does not match")]
    Checksum,
}

/// A whole file.
pub(crate) fn seal(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER + content.len());
    file.extend(kind.start());
    file.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    file.extend(crc32fast::hash(content).to_le_bytes());
    file.extend(content);
    file
}

/// The content of a whole file.
pub(crate) fn unseal(kind: Kind, file: &[u8]) -> Result<&[u8], Damage> {
    let rest = kind.after_start(file)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Damage::Cut)?;
    let (crc, content) = rest.split_first_chunk::<4>().ok_or(Damage::Cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if content.len() < length {
        return Err(Damage::Cut);
    }
    if content.len() > length {
        return Err(Damage::Length);
    }
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Err(Damage::Checksum);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let file = seal(Kind::Snapshot, b"some content");
        assert_eq!(unseal(Kind::Snapshot, &file), Ok(b"some content".as_slice()));
        assert_eq!(unseal(Kind::Blob, &file), Err(Damage::Foreign));
        for length in 0..file.len() {
            assert_eq!(unseal(Kind::Snapshot, &file[..length]), Err(Damage::Cut));
        }
        for bit in 0..file.len() * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Kind::Snapshot, &file).is_err(), "bit {bit}");
        }
    }
}
