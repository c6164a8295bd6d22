//! The `wattribute` binary. What it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    wattribute_exporter::main()
}
