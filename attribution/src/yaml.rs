//! How rules files are read, for other files that shall be read alike: every node knows its line, and all errors are
//! found at once, each with its place and the way out.
//!
//! ```
//! use wattribute::yaml::{self, Fault, Report};
//!
//! let mut problems = Vec::new();
//! let mut report = Report::new("prices.yaml", &mut problems);
//! let root = yaml::parse("currency: EUR\nzone: UTC\n", "currency: EUR", &mut report).expect("a document");
//! let entries = yaml::map(&root, "", &mut report).expect("a map");
//! yaml::check_keys(entries, &["currency", "time_zone"], &mut report);
//! assert_eq!(problems[0].to_string(), r#"prices.yaml:2: unknown key "zone" (known: currency, time_zone)"#);
//! ```

pub use crate::rules::pattern::Pattern;
pub use crate::rules::problem::{Fault, Report, quote};
pub use crate::rules::schema::{check_keys, get, list, map, text};
pub use crate::rules::yaml::{Entry, Kind, Node, parse};
