//! What the manual pages say beyond the flags: signals, files, exit status.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::NAME;

/// A term and what it means.
type Item = (&'static str, &'static str);

const SIGNALS: &[Item] = &[
    (
        "SIGHUP",
        "Read the rules again. A bad file leaves the last good ones in force, and the log says what is wrong.",
    ),
    ("SIGTERM, SIGINT", "Stop within two seconds; what was accounted is saved first."),
    ("SIGUSR1", "Let go of the GPUs, so that one can be reset or the driver be unloaded."),
    ("SIGUSR2", "Take the GPUs again."),
];

const EXIT: &[Item] = &[
    ("0", "Done, or stopped by a signal."),
    (
        "1",
        "It failed: no driver, a port that is taken, rules with errors, a report that differs under --strict.",
    ),
    ("2", "The command line cannot be meant: an unknown flag, flags that contradict each other."),
];

/// Where the Debian package and its unit have things.
const FILES: &[Item] = &[
    ("/etc/wattribute/rules.d/*.yaml", "The rules, in the order of their names."),
    ("/etc/default/wattribute", "Flags of the service, as variables."),
    ("/var/lib/wattribute/", "The ledger, which outlives restarts."),
    ("/usr/share/wattribute/", "Rules to start from, rules for Prometheus, dashboards."),
    ("/usr/share/doc/wattribute/", "The documents."),
];

const EXAMPLES: &[Item] = &[
    ("wattribute --source demo", "Try it without a GPU, then open http://127.0.0.1:19288/."),
    (
        "wattribute check --strict /etc/wattribute/rules.d",
        "Find what is wrong with the rules before they are in force.",
    ),
    (
        "wattribute explain --pid 4711 --rules.file /etc/wattribute/rules.d",
        "Say who pays for a process, and why.",
    ),
];

const OPTIONS: &str = "Without a command it serves, and takes the flags of wattribute-serve(1). -V prints the version, -h a \
    summary of the command before it, --help all of it.";
const ENVIRONMENT: &str = "Each flag of wattribute serve can be set by a variable: WATTRIBUTE_ and the flag's name in \
    capitals, dots and dashes as underscores. Several values are separated by commas. What is typed goes first.";

/// The end of wattribute(1).
pub fn of_the_program() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["OPTIONS"]).text([roman(OPTIONS)]);
    roff.control("SH", ["ENVIRONMENT"]).text([roman(ENVIRONMENT)]);
    list(&mut roff, "SIGNALS", SIGNALS, bold);
    list(&mut roff, "EXIT STATUS", EXIT, bold);
    list(&mut roff, "FILES", FILES, italic);
    list(&mut roff, "EXAMPLES", EXAMPLES, bold);
    roff
}

/// The end of the page of a command.
pub fn of_a_command() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text([bold(NAME), roman("(1) has signals, files and the exit status.")]);
    roff
}

fn list(roff: &mut Roff, title: &str, items: &[Item], font: fn(&'static str) -> Inline) {
    roff.control("SH", [title]);
    for (term, meaning) in items {
        roff.control("TP", []).text([font(term)]).text([roman(*meaning)]);
    }
}
