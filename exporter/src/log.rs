//! Writes events with their fields to standard error, one line each, as logfmt or JSON.
//!
//! Started once by `main`; everybody else uses the macros of `tracing`. Values are escaped, so that no process can
//! forge a line by its name.

use crate::cli::{LogFormat, LogLevel};
use crate::settings::Log;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Sends the events of the whole program to standard error from now on. A second call changes nothing.
pub fn start(log: Log) {
    // It only fails where a subscriber is set already.
    let _ = tracing::subscriber::set_global_default(subscriber(log, std::io::stderr));
}

fn subscriber<W>(log: Log, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer);
    builder.event_format(Lines(log.format)).finish()
}

/// One event, one line.
struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line { format: self.0, text: String::new() };
        line.pair("time", &time);
        line.pair("level", level_name(*event.metadata().level()));
        event.record(&mut line);
        match self.0 {
            LogFormat::Logfmt => writeln!(writer, "{}", line.text),
            LogFormat::Json => writeln!(writer, "{{{}}}", line.text),
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The pairs of one event, as they are collected.
struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    fn key(&mut self, key: &str) {
        let key = if key == "message" { "msg" } else { key };
        let (separator, quote, equals) = match self.format {
            LogFormat::Logfmt => (" ", "", "="),
            LogFormat::Json => (",", "\"", ":"),
        };
        if !self.text.is_empty() {
            self.text.push_str(separator);
        }
        self.text.extend([quote, key, quote, equals]);
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.key(key);
        let is_plain = |character: char| !character.is_control() && !" =\"\\".contains(character);
        if self.format == LogFormat::Logfmt && !value.is_empty() && value.chars().all(is_plain) {
            self.text.push_str(value);
        } else {
            quote(&mut self.text, value);
        }
    }

    fn bare(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        let _ = write!(self.text, "{value}");
    }
}

/// A string in quotes as JSON has it, which logfmt reads as well.
fn quote(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.pair(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.pair(field.name(), &value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field.name(), value);
        } else {
            self.pair(field.name(), &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the events are written as, less the time, which is checked to be there.
    #[track_caller]
    fn check(format: LogFormat, events: fn(), want: &str) {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = subscriber(Log { level: LogLevel::Info, format }, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let bytes = memory.0.lock().expect("one thread").clone();
        let text = String::from_utf8(bytes).expect("text");
        let timeless = text.lines().map(|line| {
            let start = line.find("20").expect("a year");
            let end = start + line[start..].find('Z').expect("UTC") + 1;
            assert!((20..=27).contains(&(end - start)), "{line}");
            format!("{}T{}\n", &line[..start], &line[end..])
        });
        assert_eq!(timeless.collect::<String>(), want);
    }

    fn events() {
        let error = io::Error::other("it \"broke\"");
        tracing::info!(address = %"127.0.0.1:1", count = 3_u64, ratio = 0.5, ok = true, "listening on all");
        tracing::warn!(%error, comm = "a b\n=level=error\u{1b}", empty = "", name = ?Some(1), "odd");
        tracing::debug!("not at this level");
    }

    #[test]
    fn logfmt_is_pairs() {
        let want = "time=T level=info msg=\"listening on all\" address=127.0.0.1:1 count=3 ratio=0.5 ok=true\n\
                    time=T level=warn msg=odd error=\"it \\\"broke\\\"\" comm=\"a b\\n=level=error\\u001b\" empty=\"\" \
                    name=Some(1)\n";
        check(LogFormat::Logfmt, events, want);
    }

    #[test]
    fn json_is_an_object() {
        let want = "{\"time\":\"T\",\"level\":\"info\",\"msg\":\"listening on all\",\"address\":\"127.0.0.1:1\",\
                    \"count\":3,\"ratio\":0.5,\"ok\":true}\n\
                    {\"time\":\"T\",\"level\":\"warn\",\"msg\":\"odd\",\"error\":\"it \\\"broke\\\"\",\
                    \"comm\":\"a b\\n=level=error\\u001b\",\"empty\":\"\",\"name\":\"Some(1)\"}\n";
        check(LogFormat::Json, events, want);
    }
}
