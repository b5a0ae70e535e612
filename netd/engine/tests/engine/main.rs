//! The engine from outside: records in, commands out.

mod beacons;
mod conversations;
mod dns;
mod enforcement;
mod intel;
mod names;
mod support;
