//! The engine from outside: records in, commands out.

mod attempts;
mod beacons;
mod conversations;
mod enforcement;
mod explanations;
mod intel;
mod names;
mod regions;
mod restarts;
mod support;
