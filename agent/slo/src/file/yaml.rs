//! YAML as a tree in which every value knows its line and column, and scalars are as they were written.
//!
//! Aliases are followed, but what they stand for counts each time against [`MAX_NODES`], so files that
//! multiply ("billion laughs") end there.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

/// Keys and values in one file, aliases counted.
pub const MAX_NODES: usize = 50_000;
/// How deep maps and lists may be nested.
pub const MAX_DEPTH: usize = 32;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A scalar. `plain`: without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// Why a text is no YAML that is taken.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) advice: String,
}

impl Unreadable {
    fn new(place: Place, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { place, message: message.into(), advice: advice.into() }
    }

    fn too_deep(place: Place) -> Self {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        Self::new(place, message, "no SLO needs that: check the indentation")
    }
}

impl From<ScanError> for Unreadable {
    fn from(error: ScanError) -> Self {
        if error.info().starts_with("recursion limit") {
            return Self::too_deep(place(*error.marker()));
        }
        let place = place(*error.marker());
        Self::new(place, format!("not YAML: {}", error.info()), "mend the syntax at this place")
    }
}

fn place(marker: saphyr_parser::Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// All documents of a text. Documents without content are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    read(text).map_err(|error| match indented_by_tab(text, error.place.line) {
        Some(line) if error.message.contains("tab") => {
            let advice = "YAML allows only blanks for indentation: write blanks";
            Unreadable::new(Place { line, column: 1 }, "a tab at the beginning of the line", advice)
        }
        _ => error,
    })
}

/// The first line from `line` on that is indented by a tab: the scanner's own place may be where the
/// value before it began.
fn indented_by_tab(text: &str, line: usize) -> Option<usize> {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let mut lines = text.lines().enumerate().skip(line.saturating_sub(1));
    lines
        .find(|(_, text)| text.get(..indent(text)).is_some_and(|indent| indent.contains('\t')))
        .map(|(index, _)| index + 1)
}

fn read(text: &str) -> Result<Vec<Node>, Unreadable> {
    let mut walk = Walk { parser: Parser::new_from_str(text), nodes: 0, anchors: HashMap::new() };
    let mut documents = Vec::new();
    loop {
        let (event, span) = walk.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                walk.anchors.clear();
                let first = walk.next()?;
                let node = walk.node(first, 0)?;
                if !node.is_null() {
                    documents.push(node);
                }
            }
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            _ => {
                return Err(Unreadable::new(
                    place(span.start),
                    "a value out of place",
                    "remove it",
                ));
            }
        }
    }
}

struct Walk<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
    /// What anchors stand for, and how many nodes that is. None while the anchored value is read.
    anchors: HashMap<usize, (Node, usize)>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Unreadable> {
        match self.parser.next_event() {
            Some(event) => Ok(event?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Unreadable> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values, aliases counted");
        Err(Unreadable::new(place, message, "split the file, or write less by aliases"))
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Node, Unreadable> {
        let here = place(span.start);
        if depth > MAX_DEPTH {
            return Err(Unreadable::too_deep(here));
        }
        self.count(1, here)?;
        let before = self.nodes;
        let (value, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                (Value::Scalar { text: text.into_owned(), plain }, anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        event => list.push(self.node(event, depth + 1)?),
                    }
                }
                (Value::List(list), anchor, tag)
            }
            Event::MappingStart(anchor, tag) => (self.map(depth)?, anchor, tag),
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
                    let message = "an alias within the value that it stands for";
                    return Err(Unreadable::new(here, message, "write the value out"));
                };
                self.count(nodes, here)?;
                return Ok(node);
            }
            _ => return Err(Unreadable::new(here, "the document ends here", "complete it")),
        };
        if let Some(tag) = tag {
            return Err(Unreadable::new(here, format!("the tag {tag}"), "remove the tag"));
        }
        let node = Node { place: here, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<Value, Unreadable> {
        let mut map: Vec<(Key, Node)> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(map)),
                event => self.node(event, depth + 1)?,
            };
            let Value::Scalar { text: name, .. } = key.value else {
                return Err(Unreadable::new(key.place, "a key that is no text", "write a name"));
            };
            if name == "<<" {
                let advice = "write the keys out: merge keys are no part of YAML 1.2";
                return Err(Unreadable::new(key.place, "a merge key", advice));
            }
            if !seen.insert(name.clone()) {
                let message = format!("{name}: the key is given twice");
                return Err(Unreadable::new(key.place, message, "keep one of the two"));
            }
            let value = self.next()?;
            let value = self.node(value, depth + 1)?;
            map.push((Key { name, place: key.place }, value));
        }
    }
}

impl Node {
    /// Whether there is nothing: an empty value, `null` or `~` without quotes.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}
