//! The variants of the matrix, by the tool that they are made of.

use super::variant::Variant;

mod implants;
mod interpreters;
mod netcat;
mod shells;
mod terminals;

/// Returns all variants, in the order of the table.
pub fn all() -> impl Iterator<Item = Variant> {
    [shells::ALL, netcat::ALL, terminals::ALL, interpreters::ALL, implants::ALL].into_iter().flatten().copied()
}
