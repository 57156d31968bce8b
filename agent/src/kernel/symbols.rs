//! Addresses of kernel symbols.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

/// Address of a symbol from `/proc/kallsyms`, `None` where the kernel hides addresses.
pub fn address_of(symbol: &str) -> Option<u64> {
    let mut lines = BufReader::new(File::open("/proc/kallsyms").ok()?);
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        let mut words = line.split_ascii_whitespace();
        if let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
            && name == symbol
        {
            return u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
        }
        line.clear();
    }
    None
}
