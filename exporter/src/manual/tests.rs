//! The manual pages as groff reads them are tested with the packaging; here, that nothing is missing in them.

use super::*;

fn text(file: &str) -> String {
    let page = pages().expect("memory does not fail").into_iter().find(|page| page.file == file);
    String::from_utf8(page.unwrap_or_else(|| panic!("no page {file}")).text).expect("UTF-8").replace('\\', "")
}

#[test]
fn every_command_has_a_page_with_all_its_flags() {
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let page = text(&format!("wattribute-{}.1", command.get_name()));
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("--{flag}")), "{}: --{flag}", command.get_name());
        }
    }
}

#[test]
fn the_page_of_the_program_names_commands_signals_and_files() {
    let page = text("wattribute.1");
    for part in ["wattribute-serve(1)", "SIGUSR1", "/etc/wattribute/rules.d", "EXIT STATUS", "OPTIONS"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn every_shell_completes_every_flag_of_serve() {
    use clap::ValueEnum;
    for shell in clap_complete::Shell::value_variants() {
        let script = String::from_utf8(completions(*shell)).expect("UTF-8");
        for flag in ["web.listen-address", "rules.file", "state.dir"] {
            assert!(script.contains(flag), "{shell}: {flag}");
        }
    }
}
