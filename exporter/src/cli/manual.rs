//! What `wattribute manual` and `wattribute completions` take.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Where to write the manual pages.
#[derive(Args, Clone, Debug)]
pub struct Manual {
    /// Folder for the pages, such as /usr/local/share/man/man1; it is made where it is missing
    #[arg(long = "out", value_name = "DIR", required = true)]
    pub out: PathBuf,
}

/// Which shell to complete for.
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}
