//! The built library, as a program sees it.

#[cfg(test)]
mod raw;
#[cfg(test)]
mod world;
#[cfg(test)]
mod wrapped;
