//! A small reader of BTF, the kernel's type information (Documentation/bpf/btf.rst).
//!
//! aya reads BTF too, but keeps members' offsets to itself. This one answers one question: at which
//! byte of a structure is a member, also through anonymous structures and unions.

use std::path::Path;

use thiserror::Error;

/// Why type information could not be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The kernel shows none.
    #[error("cannot read {path}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF=y")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not BTF, or damaged.
    #[error("the kernel's type information is damaged at byte {0}")]
    Damaged(usize),
    /// A structure or member is not in this kernel.
    #[error("this kernel has no `{0}`")]
    Missing(String),
}

const MAGIC: u16 = 0xeb9f;

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Type information of a kernel.
pub struct Btf {
    bytes: Vec<u8>,
    /// Start of the strings in `bytes`.
    strings: usize,
    /// Start of each type in `bytes`, by type id; id 0 is void.
    types: Vec<u32>,
    /// Ids of what is looked for by name, by kind: a hundred look-ups each go through those of one kind
    /// only. To index the names themselves would take longer than that, and more memory.
    named: Named,
}

/// Ids of types in the order in which they come.
#[derive(Default)]
struct Named {
    /// Structures and unions with members.
    structures: Vec<u32>,
    enumerations: Vec<u32>,
    typedefs: Vec<u32>,
    functions: Vec<u32>,
}

/// How many structures may be nested in each other.
const MAX_DEPTH: u32 = 16;

impl Btf {
    /// Reads the running kernel's.
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        Self::from_file(Path::new("/sys/kernel/btf/vmlinux"))
    }

    /// Reads a file of raw BTF.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path)
            .map_err(|source| BtfError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(bytes)
    }

    /// Takes raw BTF in the byte order of this machine.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let damaged = BtfError::Damaged(0);
        if bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(damaged);
        }
        let field = |at| word(&bytes, at).map(|value| value as usize);
        let (Some(header), Some(type_offset), Some(type_length), Some(string_offset)) =
            (field(4), field(8), field(12), field(16))
        else {
            return Err(damaged);
        };
        let mut at = header + type_offset;
        let end = at + type_length;
        let mut types = vec![0];
        let mut named = Named::default();
        while at < end {
            let id = u32::try_from(types.len()).map_err(|_| BtfError::Damaged(at))?;
            types.push(u32::try_from(at).map_err(|_| BtfError::Damaged(at))?);
            let info = word(&bytes, at + 4).ok_or(BtfError::Damaged(at))?;
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            match kind {
                kind::STRUCT | kind::UNION if count > 0 => named.structures.push(id),
                kind::ENUM => named.enumerations.push(id),
                kind::TYPEDEF => named.typedefs.push(id),
                kind::FUNC => named.functions.push(id),
                _ => {}
            }
            at += 12
                + match kind {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
                    kind::ENUM | kind::FUNC_PROTO => 8 * count,
                    _ => 0,
                };
        }
        Ok(Self { strings: header + string_offset, bytes, types, named })
    }

    /// Byte offset of a member, given as `structure.member` or `structure.member.member`.
    pub fn offset_of(&self, path: &str) -> Result<u32, BtfError> {
        let missing = || BtfError::Missing(path.to_owned());
        let mut parts = path.split('.');
        let structure = parts.next().ok_or_else(missing)?;
        let mut id = self.find(&self.named.structures, structure).ok_or_else(missing)?;
        let mut bits = 0;
        for name in parts {
            let (offset, member) = self.member(id, name, MAX_DEPTH).ok_or_else(missing)?;
            bits += offset;
            id = member;
        }
        Ok(bits / 8)
    }

    /// Whether there is a type definition of this name, such as `btf_trace_sys_enter`.
    pub fn has_typedef(&self, name: &str) -> bool {
        self.find(&self.named.typedefs, name).is_some()
    }

    /// Value of an enumerator such as `ITER_UBUF`, whatever enumeration it is in.
    pub fn enumerator(&self, name: &str) -> Result<u32, BtfError> {
        let enumerations = self.named.enumerations.iter();
        let values = enumerations.filter_map(|id| self.value_in(*id as usize, name));
        values.min().ok_or_else(|| BtfError::Missing(name.to_owned()))
    }

    /// Whether there is a function of this name.
    pub fn has_function(&self, name: &str) -> bool {
        self.find(&self.named.functions, name).is_some()
    }

    fn value_in(&self, id: usize, name: &str) -> Option<u32> {
        let (_, count, _) = self.head(id)?;
        let start = *self.types.get(id)? as usize + 12;
        (0..count).find_map(|index| {
            let at = start + index * 8;
            self.string_is(word(&self.bytes, at)?, name).then(|| word(&self.bytes, at + 4))?
        })
    }

    /// The first of these types that has this name.
    fn find(&self, ids: &[u32], name: &str) -> Option<usize> {
        ids.iter().map(|id| *id as usize).find(|id| self.name_is(*id, name))
    }

    /// Bit offset and type of a member, looked for in anonymous members too.
    fn member(&self, id: usize, name: &str, depth: u32) -> Option<(u32, usize)> {
        let id = self.resolve(id)?;
        let (kind, count, has_bitfields) = self.head(id)?;
        if !matches!(kind, kind::STRUCT | kind::UNION) || depth == 0 {
            return None;
        }
        let start = *self.types.get(id)? as usize + 12;
        for index in 0..count {
            let at = start + index * 12;
            let member_type = word(&self.bytes, at + 4)? as usize;
            let offset = word(&self.bytes, at + 8)?;
            // With bit fields in the structure the upper byte is the size in bits.
            let offset = if has_bitfields { offset & 0x00ff_ffff } else { offset };
            let text = word(&self.bytes, at)?;
            if self.string_is(text, name) {
                return Some((offset, member_type));
            }
            if self.string_is(text, "")
                && let Some((inner, found)) = self.member(member_type, name, depth - 1)
            {
                return Some((offset + inner, found));
            }
        }
        None
    }

    /// Follows type definitions and qualifiers.
    fn resolve(&self, mut id: usize) -> Option<usize> {
        for _ in 0..MAX_DEPTH {
            match self.head(id)?.0 {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = word(&self.bytes, *self.types.get(id)? as usize + 8)? as usize;
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Kind, number of members, and whether members have bit sizes.
    fn head(&self, id: usize) -> Option<(u32, usize, bool)> {
        let info = word(&self.bytes, *self.types.get(id).filter(|_| id > 0)? as usize + 4)?;
        Some((info >> 24 & 0x1f, (info & 0xffff) as usize, info >> 31 == 1))
    }

    fn name_is(&self, id: usize, name: &str) -> bool {
        self.types
            .get(id)
            .and_then(|&at| word(&self.bytes, at as usize))
            .is_some_and(|offset| self.string_is(offset, name))
    }

    /// Whether the string at this place is this one: all of them end with a zero.
    fn string_is(&self, offset: u32, text: &str) -> bool {
        let rest = self.bytes.get(self.strings + offset as usize..);
        let rest = rest.and_then(|rest| rest.strip_prefix(text.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, kind, size or type, members as name, type, bit offset.
    type Type<'a> = (&'a str, u32, u32, &'a [(&'a str, u32, u32)]);

    /// Raw BTF of types.
    fn raw(types: &[Type<'_>]) -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut name = |text: &str| {
            if text.is_empty() {
                return 0;
            }
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(text.bytes().chain([0]));
            at
        };
        let mut body: Vec<u32> = Vec::new();
        for (text, kind, size, members) in types {
            let count = u32::try_from(members.len()).unwrap();
            body.extend([name(text), kind << 24 | count, *size]);
            if *kind == kind::INT {
                body.push(32);
            }
            for (text, id, bits) in *members {
                body.extend([name(text), *id, *bits]);
            }
        }
        let length = u32::try_from(body.len() * 4).unwrap();
        let header = [0x0001_eb9f, 24, 0, length, length, u32::try_from(strings.len()).unwrap()];
        let words = header.into_iter().chain(body).flat_map(u32::to_ne_bytes);
        words.chain(strings).collect()
    }

    #[test]
    fn offsets_lead_through_nested_and_anonymous_members() {
        let btf = Btf::parse(raw(&[
            ("u32", kind::INT, 4, &[]),
            ("", kind::UNION, 4, &[("x", 1, 0), ("y", 1, 0)]),
            ("inner", kind::STRUCT, 8, &[("a", 1, 0), ("b", 1, 32)]),
            ("inner_t", kind::TYPEDEF, 3, &[]),
            ("outer", kind::STRUCT, 24, &[("first", 1, 0), ("", 2, 64), ("in", 4, 128)]),
        ]))
        .unwrap();
        let check = |path: &str, expected: Option<u32>| {
            assert_eq!(btf.offset_of(path).ok(), expected, "{path}");
        };
        check("outer.first", Some(0));
        check("outer.x", Some(8));
        check("outer.y", Some(8));
        check("outer.in", Some(16));
        check("outer.in.b", Some(20));
        check("outer.missing", None);
        check("nothing.first", None);
        assert!(btf.has_typedef("inner_t") && !btf.has_typedef("inner"));
    }

    #[test]
    fn damage_is_an_error() {
        let good = raw(&[("u32", kind::INT, 4, &[])]);
        assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Damaged(_))));
        assert!(matches!(Btf::parse(vec![0; 64]), Err(BtfError::Damaged(_))));
        for length in 0..good.len() {
            // Short of a panic, anything will do.
            drop(Btf::parse(good.get(..length).unwrap().to_vec()));
        }
    }

    #[test]
    fn the_running_kernel_has_every_offset() {
        let Ok(btf) = Btf::of_running_kernel() else { return };
        let offsets = super::super::offsets::resolve(&btf).unwrap();
        // The same from 5.10 to 7.2.
        assert_eq!(offsets.socket_sk, 24);
        assert_eq!(btf.offset_of("msghdr.msg_iter").unwrap(), 16);
        assert_eq!(btf.offset_of("iov_iter.nr_segs").unwrap(), 32);
    }
}
