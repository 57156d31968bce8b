//! One message of DNS (RFC 1035, section 4), as far as a look-up is told by it.
//!
//! The crate `hickory-proto` parses. Datagrams come here by their first bytes, so most of this is about
//! being strict: what is not whole to its last byte is no question. An answer is only taken where its
//! question was seen, so records in it that cannot be read cost nothing but addresses.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Header, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

/// The class of nearly all questions.
pub const INTERNET: u16 = 1;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Name, lower case, without the dot at its end; `.` for the root.
    pub name: Box<str>,
    /// Type: `A`, `AAAA`, `TYPE65280`.
    pub kind: Box<str>,
    /// Class by number, mostly [`INTERNET`].
    pub class: u16,
}

/// A response, beside its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its code by name.
    pub code: &'static str,
    /// Records in its answer section.
    pub answers: u16,
    /// Whether it was cut to fit into a datagram.
    pub truncated: bool,
    /// Addresses in it, with the seconds for which they hold.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Identification, chosen by who asks.
    pub id: u16,
    /// What is in it.
    pub content: Content,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A question.
    Question(Arc<Question>),
    /// An answer, with the question that it repeats. Some servers leave it out where they refuse.
    Answer(Option<Arc<Question>>, Response),
}

/// Addresses that are taken out of one answer at most.
const MAX_ADDRESSES: usize = 64;

/// Records behind a question at most: EDNS, a signature, what IXFR needs.
const MAX_EXTRA: u16 = 4;

impl Message {
    /// Parses a message of which the first bytes are here, all of them if `is_whole`. `None` for what
    /// is no look-up.
    pub fn parse(bytes: &[u8], is_whole: bool) -> Option<Self> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).ok()?;
        if header.op_code != OpCode::Query || header.counts.queries > 1 {
            return None;
        }
        let question = if header.counts.queries == 1 {
            Some(Arc::new(question(&Query::read(&mut decoder).ok()?)?))
        } else {
            None
        };
        let content = match header.message_type {
            MessageType::Response => {
                let response = response(&header, decoder);
                if question.is_none() && (response.code == "NOERROR" || response.answers > 0) {
                    return None;
                }
                Content::Answer(question, response)
            }
            MessageType::Query => {
                let extra = header.counts.authorities.checked_add(header.counts.additionals)?;
                if header.counts.answers > 0 || extra > MAX_EXTRA || !is_whole {
                    return None;
                }
                for _ in 0..extra {
                    Record::<RData>::read(&mut decoder).ok()?;
                }
                if !decoder.is_empty() {
                    return None;
                }
                Content::Question(question?)
            }
        };
        Some(Self { id: header.id, content })
    }
}

fn question(query: &Query) -> Option<Question> {
    let class = u16::from(query.query_class());
    let known =
        matches!(query.query_class(), DNSClass::IN | DNSClass::CH | DNSClass::HS | DNSClass::ANY);
    let kind = match query.query_type() {
        RecordType::ZERO => return None,
        RecordType::Unknown(number) => format!("TYPE{number}").into(),
        kind => <&str>::from(kind).into(),
    };
    known.then(|| Question { name: text(query.name()), kind, class })
}

/// As people write it. Bytes that are no printable ASCII are escaped.
fn text(name: &Name) -> Box<str> {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text.into()
}

/// The records are read up to the first one that cannot be.
fn response(header: &Header, mut decoder: BinDecoder<'_>) -> Response {
    let counts = header.counts;
    let mut code = u16::from(header.response_code);
    let mut addresses = Vec::new();
    let all =
        u32::from(counts.answers) + u32::from(counts.authorities) + u32::from(counts.additionals);
    for index in 0..all {
        let Ok(record) = Record::<RData>::read(&mut decoder) else { break };
        if index < u32::from(counts.answers)
            && addresses.len() < MAX_ADDRESSES
            && let Some(address) = record.data.ip_addr()
        {
            addresses.push((address, record.ttl));
        }
        if record.record_type() == RecordType::OPT {
            // Its first byte of four is the upper part of the code (RFC 6891, section 6.1.3).
            code |= u16::try_from(record.ttl >> 24).unwrap_or(0) << 4;
        }
    }
    Response {
        code: code_name(code),
        answers: counts.answers,
        truncated: header.truncation,
        addresses,
    }
}

/// Names of response codes (IANA, "DNS RCODEs").
fn code_name(code: u16) -> &'static str {
    const NAMES: [&str; 24] = [
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
        "RCODE12",
        "RCODE13",
        "RCODE14",
        "RCODE15",
        "BADVERS",
        "BADKEY",
        "BADTIME",
        "BADMODE",
        "BADNAME",
        "BADALG",
        "BADTRUNC",
        "BADCOOKIE",
    ];
    NAMES.get(usize::from(code)).copied().unwrap_or("RCODE_OTHER")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, refuse};
    use super::*;

    fn check(bytes: &[u8], expected: Option<(&str, &str)>) {
        let found = Message::parse(bytes, true).map(|found| match found.content {
            Content::Question(question) => format!("{} {}", question.kind, question.name),
            answer @ Content::Answer(..) => format!("{answer:?}"),
        });
        assert_eq!(found, expected.map(|(kind, name)| format!("{kind} {name}")));
    }

    fn response(bytes: &[u8], is_whole: bool) -> (u16, Response) {
        let found = Message::parse(bytes, is_whole).unwrap();
        let Content::Answer(_, response) = found.content else { panic!("{found:?}") };
        (found.id, response)
    }

    #[test]
    fn questions() {
        check(&ask(1, "Example.ORG", "A"), Some(("A", "example.org")));
        check(&ask(1, ".", "NS"), Some(("NS", ".")));
        check(&ask(1, "a.b", "TYPE65280"), Some(("TYPE65280", "a.b")));
        let whole = ask(7, "example.org", "AAAA");
        for length in 0..whole.len() {
            check(&whole[..length], None);
        }
        let mut longer = whole;
        longer.push(0);
        check(&longer, None);
    }

    #[test]
    fn what_is_cut_is_no_question() {
        assert_eq!(Message::parse(&ask(1, "a.b", "A"), false), None);
        assert!(Message::parse(&answer(1, "a.b", "A", 0, &["10.0.0.1"]), false).is_some());
    }

    #[test]
    fn answers() {
        let bytes = answer(3, "db.local", "A", 0, &["10.0.0.1", "10.0.0.2"]);
        let (id, found) = response(&bytes, true);
        assert_eq!((id, found.code, found.answers), (3, "NOERROR", 2));
        let address = |last| (IpAddr::from([10, 0, 0, last]), 60);
        assert_eq!(found.addresses, [address(1), address(2)]);
        assert_eq!(response(&answer(3, "db.local", "A", 5, &[]), true).1.code, "REFUSED");
        // The code and the number of answers are in the header.
        let cut = response(&bytes[..bytes.len() - 3], false).1;
        assert_eq!((cut.code, cut.answers, cut.addresses.len()), ("NOERROR", 2, 1));
    }

    #[test]
    fn an_answer_without_its_question_is_a_refusal() {
        let refused = Message::parse(&refuse(3, 1), true).unwrap();
        let Content::Answer(None, response) = refused.content else { panic!("{refused:?}") };
        assert_eq!((refused.id, response.code), (3, "FORMERR"));
        assert_eq!(Message::parse(&refuse(3, 0), true), None);
    }

    #[test]
    fn upper_part_of_the_code() {
        let mut bytes = answer(3, "a.b", "A", 0, &[]);
        bytes[11] = 1;
        bytes.extend([0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]);
        assert_eq!(response(&bytes, true).1.code, "BADVERS");
    }
}
