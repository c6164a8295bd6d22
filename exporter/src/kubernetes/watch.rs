//! Reads the stream of changes of pods: one JSON object per line.
//!
//! Pure. Caller: `api`.

use serde::Deserialize;

use super::api::Failure;
use super::pods::{Pod, Written};

/// How long a line may be. A pod has 1.5 MiB at most in the store.
const LONGEST: usize = 8 << 20;

/// What the API server tells, with the version of the list that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub version: String,
    pub what: What,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A pod is new, or has changed.
    Put(Pod),
    /// A pod is there no longer.
    Deleted(Pod),
    /// Nothing of ours.
    Nothing,
}

/// The lines of a stream, as they come in pieces.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    read: usize,
    /// How far there is no end of a line.
    searched: usize,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type")]
    name: &'a str,
}

#[derive(Deserialize)]
struct Of<T> {
    object: T,
}

/// What the server says where it ends a stream for a reason.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Refusal {
    code: u16,
    message: String,
}

impl Lines {
    /// Takes the next piece.
    pub fn extend(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next change; `None` where its line is not complete.
    ///
    /// # Errors
    /// Where a line is too long or makes no sense, or says that the stream ends.
    pub fn next(&mut self) -> Result<Option<Change>, Failure> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|end| self.searched + end) else {
                self.searched = self.buffer.len();
                let is_long = self.buffer.len() - self.read > LONGEST;
                return if is_long { Err(Failure::Malformed("a line is too long".into())) } else { Ok(None) };
            };
            let line = &self.buffer[self.read..end];
            let change = if line.trim_ascii().is_empty() { None } else { Some(parse(line)?) };
            (self.read, self.searched) = (end + 1, end + 1);
            if change.is_some() {
                return Ok(change);
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Change, Failure> {
    let kind: Kind<'_> = read(line)?;
    if kind.name == "ERROR" {
        let Of { object: Refusal { code, message } } = read(line)?;
        // Such as 504: this server is behind the one that was asked before.
        return Err(if code == 410 {
            Failure::Gone
        } else {
            Failure::Unreachable(format!("it ends the stream: {message}"))
        });
    }
    let Of { object: pod } = read::<Of<Written>>(line)?;
    let version = pod.metadata.resource_version.clone();
    let what = match kind.name {
        "ADDED" | "MODIFIED" => What::Put(pod.into()),
        "DELETED" => What::Deleted(pod.into()),
        _ => What::Nothing,
    };
    Ok(Change { version, what })
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = r#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"uid":"u","resourceVersion":"7"},"status":{}}}"#;
    const BOOKMARK: &str = r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"12","creationTimestamp":null}}}"#;
    const DELETED: &str = r#"{"type":"DELETED","object":{"metadata":{"uid":"u","resourceVersion":"13"}}}"#;

    /// What a stream says that comes in pieces of this length: kind, version and uid.
    #[track_caller]
    fn check(text: &str, piece: usize, want: &[(&str, &str, &str)]) {
        let (mut lines, mut said) = (Lines::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            lines.extend(piece);
            while let Some(change) = lines.next().expect("it makes sense") {
                let (kind, uid) = match change.what {
                    What::Put(pod) => ("put", pod.uid),
                    What::Deleted(pod) => ("deleted", pod.uid),
                    What::Nothing => ("nothing", String::new()),
                };
                said.push((kind, change.version, uid));
            }
        }
        let said: Vec<_> = said.iter().map(|(kind, version, uid)| (*kind, &**version, &**uid)).collect();
        assert_eq!(said, want);
    }

    #[test]
    fn lines_are_changes_however_they_are_cut() {
        let text = format!("{ADDED}\n{BOOKMARK}\n\n{DELETED}\n");
        for piece in [1, 2, 7, 100, 1000] {
            check(&text, piece, &[("put", "7", "u"), ("nothing", "12", ""), ("deleted", "13", "u")]);
        }
        check(ADDED, 1000, &[]);
    }

    #[track_caller]
    fn check_failure(line: &str, want: &Failure) {
        let mut lines = Lines::default();
        lines.extend(line.as_bytes());
        let failure = lines.next().expect_err(line);
        assert_eq!(std::mem::discriminant(&failure), std::mem::discriminant(want), "{failure}");
    }

    #[test]
    fn an_error_ends_the_stream() {
        let error = |code| {
            format!(
                "{{\"type\":\"ERROR\",\"object\":{{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":{code},\"message\":\"m\"}}}}\n"
            )
        };
        check_failure(&error(410), &Failure::Gone);
        check_failure(&error(504), &Failure::Unreachable(String::new()));
    }

    #[test]
    fn nonsense_is_refused() {
        let malformed = Failure::Malformed(String::new());
        check_failure("nonsense\n", &malformed);
        check_failure("{\"type\":\"ADDED\",\"object\":7}\n", &malformed);
        check_failure(&"x".repeat(LONGEST + 1), &malformed);
    }
}
