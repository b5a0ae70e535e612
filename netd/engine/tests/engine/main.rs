//! The engine from outside: records in, commands out.

mod attempts;
mod beacons;
mod conversations;
mod dns;
mod enforcement;
mod explanations;
mod host;
mod hunts;
mod intel;
mod lasting;
mod listed;
mod names;
mod protocols;
mod regions;
mod restarts;
mod retold;
mod shells;
mod support;
mod tools;
