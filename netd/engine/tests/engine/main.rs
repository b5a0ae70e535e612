//! The engine from outside: records in, commands out.

mod attempts;
mod beacons;
mod conversations;
mod enforcement;
mod names;
mod support;
