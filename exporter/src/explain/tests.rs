//! The report on one process that has everything, as text and as JSON, and who may see what of it.
//!
//! The golden files are written anew with `UPDATE_GOLDEN=1`.
