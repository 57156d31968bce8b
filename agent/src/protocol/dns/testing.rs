//! Messages for tests.

use std::net::Ipv4Addr;

fn header(id: u16, flags: u16, answers: usize) -> Vec<u8> {
    let answers = u16::try_from(answers).unwrap();
    [id, flags, 1, answers, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

fn question(name: &str, kind: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    let number: u16 = match kind {
        "A" => 1,
        "NS" => 2,
        "AAAA" => 28,
        other => other.strip_prefix("TYPE").unwrap().parse().unwrap(),
    };
    bytes.extend(number.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// A question that wants recursion.
pub(crate) fn ask(id: u16, name: &str, kind: &str) -> Vec<u8> {
    let mut bytes = header(id, 0x0100, 0);
    bytes.extend(question(name, kind));
    bytes
}

/// An answer with these addresses, which hold for a minute.
pub(crate) fn answer(id: u16, name: &str, kind: &str, code: u16, addresses: &[&str]) -> Vec<u8> {
    let mut bytes = header(id, 0x8180 | code, addresses.len());
    bytes.extend(question(name, kind));
    for address in addresses {
        let address: Ipv4Addr = address.parse().unwrap();
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(address.octets());
    }
    bytes
}

/// An answer that was cut: to be asked for again over TCP.
pub(crate) fn cut(id: u16, name: &str, kind: &str) -> Vec<u8> {
    let mut bytes = header(id, 0x8380, 0);
    bytes.extend(question(name, kind));
    bytes
}

/// A refusal that is nothing but a header.
pub(crate) fn refuse(id: u16, code: u16) -> Vec<u8> {
    let mut bytes = header(id, 0x8180 | code, 0);
    bytes[5] = 0;
    bytes
}
