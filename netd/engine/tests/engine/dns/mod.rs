//! What questions and answers betray, and what they do not.

mod benign;
mod domains;
mod hunted;
mod idle;
mod support;
mod tunnels;
