//! A process that does nothing: ignores its arguments and ends when its standard input does, so also when whoever
//! started it dies.

use std::io;

fn main() -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
