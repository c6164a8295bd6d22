//! Who may ask, and how robustly they are answered: TLS, passwords and limits against curl and a real Prometheus, and
//! beside Debian's node exporter, which reads the same web configuration file.

#[cfg(test)]
mod authorities;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod same;
#[cfg(test)]
mod scrape;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sockets;

/// bcrypt of `secret`.
#[cfg(test)]
const SECRET: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
/// bcrypt of `other`.
#[cfg(test)]
const OTHER: &str = "$2y$05$abcdefghijklmnopqrstuuVQd15VhR/oN1H3pzUR5lME0fZO6.qRW";
