//! The engine from outside: records in, commands out.

mod beacons;
mod conversations;
mod enforcement;
mod explanations;
mod intel;
mod lasting;
mod names;
mod protocols;
mod shells;
mod support;
mod tools;
