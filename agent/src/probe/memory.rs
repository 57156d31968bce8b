//! What the maps take, as the kernel accounts it: `memlock` in `/proc/self/fdinfo`, which the kernel
//! computes for each kind of map, per-CPU copies and administration included.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Ebpf;
use aya::maps::{Map, MapData};

/// One map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// Name in the object.
    pub name: String,
    /// Whether it is a ring.
    pub is_ring: bool,
    /// Entries at most; bytes of a ring.
    pub max_entries: u64,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// All maps of a loaded object, the largest first. To be asked before maps are taken out of it. A map
/// of which the kernel does not tell is left out.
pub(super) fn of(ebpf: &Ebpf) -> Vec<MapMemory> {
    let maps = ebpf.maps().filter_map(|(name, map)| {
        let fd = data(map)?.fd().as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let (max_entries, bytes) = (field(&info, "max_entries:")?, field(&info, "memlock:")?);
        let is_ring = matches!(map, Map::RingBuf(_));
        Some(MapMemory { name: name.to_owned(), is_ring, max_entries, bytes })
    });
    let mut maps: Vec<MapMemory> = maps.collect();
    maps.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    maps
}

/// A number in the kernel's text about a descriptor.
pub(super) fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The map behind a kind. Kinds that vigie has none of give nothing.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::BloomFilter(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::PerfEventArray(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data)
        | Map::StackTraceMap(data) => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let info = "pos:\t0\nmap_type:\t6\nmax_entries:\t18\nmemlock:\t744\nmap_id:\t9\n";
        assert_eq!((field(info, "max_entries:"), field(info, "memlock:")), (Some(18), Some(744)));
        assert_eq!(field(info, "frozen:"), None);
    }
}
