//! What the page says of the exporter itself: notices of what is wrong, and the state of source, rules and accounts.

use std::fmt::{self, Write};

use super::text::{Count, Escaped, Moment, Number};
use super::view::{State, View};
use crate::expose::overview::Rules;

/// Writes what a reader must know before anything else.
pub fn notices(out: &mut String, view: &View) -> fmt::Result {
    let state = &view.state;
    match state.source.as_str() {
        "nvml" | "" => {}
        "demo" => out.push_str(
            "<div class=\"notice warn\"><strong>Simulated data</strong> \
             These GPUs do not exist: the exporter runs with <code>--source demo</code>.</div>\n",
        ),
        other => writeln!(
            out,
            "<div class=\"notice warn\"><strong>Not live data</strong> \
             These readings are replayed: the source is a {}.</div>",
            Escaped(other)
        )?,
    }
    if let Rules::Refused { errors } = &state.rules {
        writeln!(
            out,
            "<div class=\"notice bad\"><strong>The rules were refused</strong> \
             Those loaded before stay in force.<pre>{}</pre></div>",
            Escaped(errors)
        )?;
    }
    let notes = [
        (
            !view.is_ready,
            "<div class=\"notice warn\"><strong>Starting</strong> The first complete sample is not in yet.</div>\n",
        ),
        (
            view.is_ready && view.gpus.iter().all(|gpu| !gpu.is_up),
            "<div class=\"notice bad\"><strong>No GPU answers</strong> Their energy is booked when they do again, where \
             they have a counter.</div>\n",
        ),
        (
            state.residual_joules != 0.0,
            "<div class=\"notice bad\"><strong>The accounts do not balance</strong> The teams were not given what the \
             GPUs drew: this is a bug of the exporter.</div>\n",
        ),
        (
            state.state_write_failed == Some(true),
            "<div class=\"notice bad\"><strong>The ledger cannot be written</strong> Accounting goes on, but a restart \
             would begin at zero. The log says why.</div>\n",
        ),
        (
            state.pid_namespace_mismatch,
            "<div class=\"notice bad\"><strong>Another PID namespace</strong> The driver speaks of processes that are not \
             to be seen from here: run the exporter in the host's PID namespace.</div>\n",
        ),
    ];
    notes.iter().filter(|(holds, _)| *holds).for_each(|(_, note)| out.push_str(note));
    Ok(())
}

/// Writes the section at the end.
pub fn write(out: &mut String, view: &View, telemetry_path: &str) -> fmt::Result {
    let state = &view.state;
    out.push_str(
        "<section aria-labelledby=\"state\">\n<h2 id=\"state\">Accounting</h2>\n<dl class=\"panel facts\">\n",
    );
    writeln!(out, "<div><dt>Source</dt><dd>{}</dd></div>", Driver(state))?;
    writeln!(out, "<div><dt>Rules</dt><dd>{}</dd></div>", InForce(view))?;
    let verdict = if state.residual_joules == 0.0 {
        ": on every GPU the teams were given what it drew, to the millijoule"
    } else {
        " were given that no GPU drew, or the other way round"
    };
    writeln!(
        out,
        "<div><dt>Residual</dt><dd>{} J{verdict}</dd></div>",
        Number(Some(state.residual_joules), 1.0, if state.residual_joules == 0.0 { 0 } else { 3 })
    )?;
    writeln!(
        out,
        "<div><dt>Delay</dt><dd>The counters in <a href=\".{}\">the metrics</a> are {} s behind this page, which is live: \
         Prometheus must see a new series at 0 before energy is in it, or that energy is lost to it.</dd></div>",
        Escaped(telemetry_path),
        Number(Some(state.delay_seconds), 1.0, 0)
    )?;
    let ledger = match state.state_write_failed {
        None => "Not kept: the counters begin at 0 with every start",
        Some(false) => "Kept on disk: no counter is shown before it is there",
        Some(true) => "Cannot be written: a restart would begin at 0",
    };
    writeln!(out, "<div><dt>Ledger</dt><dd>{ledger}</dd></div>\n</dl>\n</section>")
}

struct Driver<'a>(&'a State);

impl fmt::Display for Driver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0;
        match state.source.as_str() {
            "nvml" | "" => {
                write!(f, "NVIDIA driver {}", Escaped(&state.drivers.join(", ")))?;
                let failed = usize::try_from(state.failed_calls).unwrap_or(usize::MAX);
                if failed == 0 {
                    Ok(())
                } else {
                    write!(f, "; {} failed", Count(failed, "call to it", "calls to it"))
                }
            }
            "demo" => f.write_str("Simulation: not real"),
            other => write!(f, "{}: not live", Escaped(other)),
        }
    }
}

struct InForce<'a>(&'a View);

impl fmt::Display for InForce<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let View { state, now, .. } = self.0;
        if state.rules == Rules::None {
            return f.write_str("None: everything is unattributed");
        }
        let count = Count(state.rule_count, "rule", "rules");
        write!(f, "{count} in force since {}", Moment(&state.rules_since, now))?;
        let refused = matches!(state.rules, Rules::Refused { .. });
        f.write_str(if refused { "; the files on disk were refused, see above" } else { "" })
    }
}
