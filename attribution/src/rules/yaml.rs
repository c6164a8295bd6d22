//! YAML text to a tree of nodes that know their lines. Scalars stay as written: `0042` and `on` are text.
//!
//! Refuses what a rules file never needs and an attacker might: size, depth, alias bombs, several documents.
//! The parser works on a stack of its own, and nothing is built beyond the limits. Called by the loader.

use std::collections::HashMap;
use std::mem;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

use super::problem::{Fault, Report, quote};

/// The largest file, in bytes.
const LARGEST: usize = 4 << 20;
/// The deepest nesting of lists and maps.
const DEEPEST: usize = 64;
/// How much anchors and aliases may copy in one file, by the weight of nodes.
const MOST_COPIES: usize = 20_000;
/// So many bytes of text weigh as much as a node.
const BYTES_OF_A_NODE: usize = 64;

/// The smallest rules file.
pub(super) const NO_RULES: &str = "rules: []";

const QUOTING: &str =
    "a value that holds `: `, ` #`, a bracket or a quotation mark must stand in single quotes";

/// A value and the line it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// What stands there.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key without a value.
    Empty,
    /// A scalar, as written.
    Text(String),
    /// Items, in the order of the file.
    List(Vec<Node>),
    /// Keys and values, in the order of the file; no key twice.
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written.
    pub key: String,
    /// Where the key stands, from 1.
    pub line: usize,
    /// What stands behind it.
    pub value: Node,
}

impl Node {
    /// What it is, for a message.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Empty => "nothing".into(),
            Kind::Text(text) => quote(text),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match &self.kind {
            Kind::Empty | Kind::Text(_) => Box::new(std::iter::empty()),
            Kind::List(items) => Box::new(items.iter()),
            Kind::Map(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
        }
    }

    /// What a copy of it costs.
    fn weight(&self) -> usize {
        let text = match &self.kind {
            Kind::Empty | Kind::List(_) => 0,
            Kind::Text(text) => text.len(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.key.len()).sum(),
        };
        1 + text / BYTES_OF_A_NODE + self.children().map(Self::weight).sum::<usize>()
    }

    /// How many lists and maps are nested in it, itself included.
    fn height(&self) -> usize {
        let nests = matches!(self.kind, Kind::List(_) | Kind::Map(_));
        usize::from(nests) + self.children().map(Self::height).max().unwrap_or_default()
    }
}

/// The tree of a text. Nothing, and the reason reported, if it is not one YAML document within the limits;
/// duplicate keys are reported and the first is kept. The smallest such file is shown to who gives an empty one.
pub fn parse(text: &str, smallest: &str, report: &mut Report<'_>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err((line, fault)) = check_text(text) {
        report.add(line, fault);
        return None;
    }
    let mut builder = Builder { report, open: Vec::new(), root: None, anchors: HashMap::new(), copies: 0 };
    let built = builder.build(Parser::new_from_str(text), text);
    let root = builder.root.take();
    match built {
        Err((line, fault)) => report.add(line, fault),
        Ok(()) if root.as_ref().is_none_or(|root| root.kind == Kind::Empty) => {
            report.add(1, Fault::new("the file is empty").help(format!("write at least `{smallest}`")));
        }
        Ok(()) => return root,
    }
    None
}

type Located = (usize, Fault);

/// The same limit holds for rules files and tables.
pub(super) fn check_size(text: &str) -> Result<(), Fault> {
    if text.len() <= LARGEST {
        return Ok(());
    }
    let fault = Fault::new(format!("the file has {} bytes, over the limit of 4 MiB", text.len()));
    Err(fault.help("split it"))
}

fn check_text(text: &str) -> Result<(), Located> {
    check_size(text).map_err(|fault| (1, fault))?;
    let control = |&(_, &byte): &(usize, &u8)| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    match text.as_bytes().iter().enumerate().find(control) {
        Some((at, byte)) => {
            let line = 1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
            Err((
                line,
                Fault::new(format!("control character {byte:#04x}")).help("such a file is plain text"),
            ))
        }
        None => Ok(()),
    }
}

/// A list or map whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<(String, usize)> },
}

struct Builder<'r, 'f> {
    report: &'r mut Report<'f>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    copies: usize,
}

impl Builder<'_, '_> {
    fn build(&mut self, mut parser: Parser<'_, StrInput<'_>>, text: &str) -> Result<(), Located> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| not_yaml(&error, text))?;
            self.take(event, span.start.line())?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Located> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err((
                    line,
                    Fault::new("a second document").help("one file is one document: drop `---`"),
                ));
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err((
                    line,
                    Fault::new("a YAML tag").help("put a value that starts with `!` in quotes"),
                ));
            }
            Event::Scalar(text, style, anchor, None) => {
                let empty = text.is_empty() && style == ScalarStyle::Plain;
                let kind = if empty { Kind::Empty } else { Kind::Text(text.into_owned()) };
                return self.close(Node { line, kind }, anchor);
            }
            Event::SequenceStart(anchor, None) => return self.enter(line, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, None) => {
                let map = Content::Map { entries: Vec::new(), lines: HashMap::new(), key: None };
                return self.enter(line, anchor, map);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.leave(),
            Event::Alias(anchor) => return self.expand(line, anchor),
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn enter(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Located> {
        if self.open.len() >= DEEPEST {
            return Err((line, too_deep()));
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Located> {
        let Some(Open { line, anchor, content }) = self.open.pop() else { return Ok(()) };
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        self.close(Node { line, kind }, anchor)
    }

    /// A node is complete: remembers it under its anchor, and puts it where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Located> {
        if anchor > 0 {
            self.count_copy(node.line, &node)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node);
        Ok(())
    }

    fn expand(&mut self, line: usize, anchor: usize) -> Result<(), Located> {
        let Some(node) = self.anchors.remove(&anchor) else {
            return Err((line, Fault::new("an alias inside the value it stands for")));
        };
        self.count_copy(line, &node)?;
        if self.open.len() + node.height() > DEEPEST {
            return Err((line, too_deep()));
        }
        self.place(node.clone());
        self.anchors.insert(anchor, node);
        Ok(())
    }

    fn count_copy(&mut self, line: usize, node: &Node) -> Result<(), Located> {
        self.copies += node.weight();
        if self.copies > MOST_COPIES {
            return Err((
                line,
                Fault::new("anchors and aliases stand for too much").help("write the values out"),
            ));
        }
        Ok(())
    }

    fn place(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { key: key @ None, .. } => {
                let line = node.line;
                let name = match node.kind {
                    Kind::Text(text) => text,
                    _ => {
                        self.report.add(line, Fault::new("a key must be a text").help(QUOTING));
                        String::new()
                    }
                };
                *key = Some((name, line));
            }
            Content::Map { entries, lines, key } => {
                let Some((key, line)) = mem::take(key) else { return };
                match lines.get(&key) {
                    Some(first) => {
                        let fault = format!("duplicate key {} (first in line {first})", quote(&key));
                        self.report.add(line, Fault::new(fault));
                    }
                    None => {
                        lines.insert(key.clone(), line);
                        entries.push(Entry { key, line, value: node });
                    }
                }
            }
        }
    }
}

fn too_deep() -> Fault {
    Fault::new(format!("nested deeper than {DEEPEST}"))
}

fn not_yaml(error: &ScanError, text: &str) -> Located {
    let line = error.marker().line();
    if error.info() == "recursion limit exceeded" {
        return (line, too_deep());
    }
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indent = written.len() - written.trim_start().len();
    let info = error.info();
    let help = match info {
        _ if written[..indent].contains('\t') => "indent with spaces, not with tabs",
        _ if info.contains("unknown anchor") => "a value that starts with `*` must stand in quotes",
        _ if info.contains("indicator") || info.contains("indent") => "check the indentation of this line",
        _ => QUOTING,
    };
    (line, Fault::new(format!("not YAML: {}", error.info())).help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut problems = Vec::new();
        let node = parse(text, NO_RULES, &mut Report::new("f", &mut problems));
        let got = match node {
            Some(node) if problems.is_empty() => print(&node),
            _ => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(got, want);
    }

    fn print(node: &Node) -> String {
        match &node.kind {
            Kind::Empty => "-".into(),
            Kind::Text(text) => format!("{}:{text:?}", node.line),
            Kind::List(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entry = |entry: &Entry| format!("{}={}", entry.key, print(&entry.value));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn scalars_stay_as_written() {
        check("a: 0042\nb: on\nc:\nd: ''\ne: 1.50", r#"{a=1:"0042" b=2:"on" c=- d=4:"" e=5:"1.50"}"#);
    }

    #[test]
    fn a_byte_order_mark_and_crlf_are_read_over() {
        check("\u{feff}a:\r\n- b\r\n- c\r\n", r#"{a=[2:"b" 3:"c"]}"#);
    }

    #[test]
    fn aliases_stand_for_their_values() {
        check("a: &x {b: c}\nd: [*x, *x]", r#"{a={b=1:"c"} d=[{b=1:"c"} {b=1:"c"}]}"#);
    }

    #[test]
    fn sixty_four_levels_are_deep_enough() {
        let nest = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
        check(&nest(64, ""), &nest(64, ""));
        check(&nest(65, ""), "f:1: nested deeper than 64");
        let alias = |depth| format!("- &a {}\n- {}", nest(32, ""), nest(depth, "*a"));
        check(&alias(31), &format!("[{} {}]", nest(32, ""), nest(63, "")));
        check(&alias(32), "f:2: nested deeper than 64");
    }

    #[test]
    fn a_comment_alone_is_an_empty_file() {
        check("# nothing\n", "f:1: the file is empty (write at least `rules: []`)");
    }
}
