//! Where packets come from without a kernel: capture files, through the same accounting and engine as live traffic.

pub mod accounting;
pub mod capture;
pub mod job;
pub mod replay;
pub mod summary;
pub mod watch;
