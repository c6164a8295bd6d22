//! What is wrong with a rules file: where, what, and the way out. Collects; judges nothing itself.
//!
//! The pure parsers return a [`Fault`]; the loader knows the place and makes a [`Problem`] of it by a [`Report`].

use std::fmt;

/// One thing wrong with a file, or a warning of one that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as given in the source; of a CSV table, as the rules file names it.
    pub file: String,
    /// The line it stands on, from 1.
    pub line: usize,
    /// What it stands in, as shown to people: `rule "train"`, `table "accounts"`, `test "a job"`.
    pub within: Option<String>,
    /// The key it is about: `match`, `owner.team`.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: String =
            [&self.within, &self.key].into_iter().flatten().map(|place| format!("{place}: ")).collect();
        let help = self.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
        // One line, whatever words of the file are in it.
        f.write_str(&shown(
            &format!("{}:{}: {places}{}{help}", self.file, self.line, self.message),
            usize::MAX,
        ))
    }
}

/// Everything wrong with the rules files, in the order of files and lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What is wrong, by one who does not know where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key it is about: `match`, `owner.team`.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl Fault {
    /// Without a key and without a way out.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { key: None, message: message.into(), help: None }
    }

    /// Something of this kind that does not exist; offers the nearest of what does.
    #[must_use]
    pub fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let fault = Self::new(format!("unknown {kind} {}", quote(name)));
        match nearest(name, known) {
            Some(near) => fault.help(format!("did you mean {near:?}?")),
            None => fault,
        }
    }

    /// With a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Keeps a help that is already there.
    #[must_use]
    pub fn or_help(self, help: impl Into<String>) -> Self {
        if self.help.is_some() { self } else { self.help(help) }
    }

    /// With the key it is about.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// How many problems are worth reading.
const MOST: usize = 1000;

/// Collects the problems of one file, or of one thing in it.
pub struct Report<'a> {
    file: &'a str,
    within: Option<String>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Report<'a> {
    /// Of the file of this name; adds to these.
    pub fn new(file: &'a str, problems: &'a mut Vec<Problem>) -> Self {
        Self { file, within: None, problems }
    }

    /// The same file, inside one rule, table or test.
    pub fn within(&mut self, subject: impl Into<String>) -> Report<'_> {
        Report { file: self.file, within: Some(subject.into()), problems: self.problems }
    }

    /// Another file, inside the same thing: a table's CSV.
    pub fn of_file<'b>(&'b mut self, file: &'b str) -> Report<'b> {
        Report { file, within: self.within.clone(), problems: self.problems }
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// Problems over a thousand are not kept; the last says that there are more.
    pub fn add(&mut self, line: usize, fault: Fault) {
        let fault = match self.problems.len() {
            0..MOST => fault,
            MOST => Fault::new("more problems follow").help("mend these first"),
            _ => return,
        };
        let Fault { key, message, help } = fault;
        let (file, within) = (self.file.to_owned(), self.within.clone());
        self.problems.push(Problem { file, line, within, key, message, help });
    }

    /// The value, or nothing and its fault reported.
    pub fn check<T>(&mut self, line: usize, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.add(line, fault)).ok()
    }
}

/// How much of a text a message shows, in characters.
const LONGEST_SHOWN: usize = 80;

/// Text as shown in a message: quoted, control characters escaped, cut where it is long.
#[must_use]
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Code as shown in a message: as written, in backquotes, so that its own quotes need no escapes.
pub(super) fn code(text: &str) -> String {
    let cut = if text.chars().nth(LONGEST_SHOWN).is_some() { "…" } else { "" };
    format!("`{}{cut}`", shown(text, LONGEST_SHOWN))
}

/// What a message advises to write between single quotes: the first characters, so many.
pub(super) fn single_quoted(text: &str, most: usize) -> String {
    shown(text, most).replace('\'', "''")
}

/// The first characters of a text, so many, on one line.
fn shown(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().take(most).map(shown).collect()
}

/// The known name most like this one, if any is like it.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let close = |other: &str| name.chars().count().max(other.chars().count()) / 3;
    let scored = known.into_iter().map(|other| (distance(name, other), other));
    scored.filter(|(distance, other)| *distance <= close(other)).min().map(|(_, other)| other)
}

/// How many letters to add, drop, change or swap with the next to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_nearest(name: &str, want: Option<&str>) {
        assert_eq!(nearest(name, ["comm", "cgroup", "cmdline", "owner", "host"]), want);
    }

    #[test]
    fn a_slip_finds_its_word() {
        check_nearest("cgrp", Some("cgroup"));
        check_nearest("conm", Some("comm"));
        check_nearest("onwer", Some("owner"));
        check_nearest("cmd_line", Some("cmdline"));
    }

    #[test]
    fn another_word_finds_none() {
        check_nearest("temperature", None);
        check_nearest("", None);
        check_nearest(&"c".repeat(100_000), None);
    }

    #[test]
    fn a_flood_of_problems_is_cut() {
        let mut problems = Vec::new();
        let mut report = Report::new("teams.yaml", &mut problems);
        (1..5000).for_each(|line| report.add(line, Fault::new("wrong")));
        assert_eq!(problems.len(), MOST + 1);
        assert_eq!(problems[MOST].to_string(), "teams.yaml:1001: more problems follow (mend these first)");
    }

    #[test]
    fn a_problem_reads_as_the_design_shows() {
        let mut problems = Vec::new();
        let mut report = Report::new("teams.yaml", &mut problems);
        report.within("rule \"train\"").add(14, Fault::unknown("field", "cgrp", ["cgroup"]));
        assert_eq!(
            Problems(problems).to_string(),
            r#"teams.yaml:14: rule "train": unknown field "cgrp" (did you mean "cgroup"?)"#
        );
    }
}
