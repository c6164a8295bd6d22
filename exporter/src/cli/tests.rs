//! The command line as it is typed, and as the design names it.

use super::serve::duration;
use super::*;
use clap::CommandFactory;

/// The flags of `serve` that the design names, less those that are not built yet, and their defaults.
const FLAGS: &[(&str, &str)] = &[
    ("web.listen-address", "127.0.0.1:19288"),
    ("web.systemd-socket", ""),
    ("web.config.file", ""),
    ("web.telemetry-path", "/metrics"),
    ("web.max-requests", "40"),
    ("web.enable-lifecycle", ""),
    ("web.enable-processes", ""),
    ("rules.file", ""),
    ("sample.interval", "1s"),
    ("exposition.delay", ""), // it depends on the source
    ("state.dir", ""),
    ("processes.max-series", "128"),
    ("workloads.max-series", "1024"),
    ("source", ""),
    ("nvml.library", ""),
    ("path.procfs", "/proc"),
    ("slurm.job-mapping-dir", ""), // the design has the files, and no name for the flag
    #[cfg(feature = "kubernetes")]
    ("kubernetes.pod-resources-socket", "/var/lib/kubelet/pod-resources/kubelet.sock"),
    #[cfg(feature = "kubernetes")]
    ("kubernetes.node-name", ""), // NODE_NAME is looked at later
    #[cfg(feature = "kubernetes")]
    ("kubernetes.service-account", "/var/run/secrets/kubernetes.io/serviceaccount"),
    ("log.level", "info"),
    ("log.format", "logfmt"),
];

#[track_caller]
fn check_flags(command: &clap::Command) {
    let flags = command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
    let flags = flags.map(|flag| {
        let name = flag.get_long().expect("a long name");
        let variable = format!("WATTRIBUTE_{}", name.to_uppercase().replace(['.', '-'], "_"));
        assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(&*variable), "--{name}");
        let default = flag.get_default_values().iter().map(|value| value.to_string_lossy());
        (name.to_owned(), default.filter(|value| value != "false").collect::<String>())
    });
    let want: Vec<_> = FLAGS.iter().map(|(name, default)| ((*name).into(), (*default).into())).collect();
    assert_eq!(flags.collect::<Vec<(String, String)>>(), want);
}

#[test]
fn every_flag_of_the_design_is_there_with_its_variable_and_default() {
    let command = Cli::command();
    check_flags(&command);
    check_flags(command.find_subcommand("serve").expect("the subcommand"));
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[track_caller]
fn parse(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("wattribute").chain(line.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| error.to_string())
}

#[test]
fn no_subcommand_serves() {
    let cli = parse("--source demo --rules.file a --rules.file=b").expect("flags");
    assert!(cli.command.is_none());
    assert_eq!(cli.serve.rules_files, ["a", "b"].map(PathBuf::from));
    let Some(Command::Serve(serve)) = parse("serve --web.listen-address :1").expect("flags").command else {
        panic!("serve is meant")
    };
    assert_eq!(serve.listen_addresses, [":1"]);
}

#[test]
fn the_other_subcommands_take_what_they_need() {
    assert!(
        matches!(parse("check a b").expect("files").command, Some(Command::Check(check)) if check.files.len() == 2)
    );
    assert!(parse("check").is_err());
    let explain = parse("explain --process p.yaml --rules.file r").expect("flags").command;
    assert!(
        matches!(explain, Some(Command::Explain(explain)) if explain.subject.process == Some("p.yaml".into()))
    );
    assert!(parse("explain --rules.file r").is_err());
}

#[test]
fn what_is_not_known_is_refused_with_a_hint() {
    let refusal = parse("serve --sample.intervall 1s").expect_err("a misspelt flag");
    assert!(refusal.contains("--sample.interval"), "{refusal}");
    assert!(parse("--log.level loud").is_err());
    assert!(parse("--source demo check a").is_err());
    assert!(parse("--state.dir=").is_err());
}

#[track_caller]
fn check_duration(text: &str, want: Option<u64>) {
    assert_eq!(duration(text).ok(), want.map(Duration::from_millis), "{text:?}");
}

#[test]
fn durations_are_read_as_prometheus_writes_them() {
    check_duration("500ms", Some(500));
    check_duration("1s", Some(1000));
    check_duration("1m", Some(60_000));
    check_duration("1m30s", Some(90_000));
    check_duration("2h", Some(7_200_000));
    check_duration("0s", Some(0));
    for wrong in ["", "1", "s", "1.5s", "-1s", "1 s", "1d", "1sé", "é", "99999999999s", "1s500"] {
        check_duration(wrong, None);
    }
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_in_a_line() {
    let check = |arguments: &[&str], want: &str| {
        let Err(error) = Cli::try_parse_from([&["wattribute"], arguments].concat()) else {
            panic!("it parses")
        };
        assert_eq!(in_a_line(&error.to_string()), want);
    };
    check(
        &["--sample.intervall=1s"],
        "unexpected argument '--sample.intervall' found: a similar argument exists: '--sample.interval': see --help",
    );
    check(
        &["--log.level=loud"],
        "invalid value 'loud' for '--log.level <LEVEL>': [possible values: error, warn, info, debug]: see --help",
    );
    check(&["check"], "the following required arguments were not provided: <FILE>...: see --help");
}
