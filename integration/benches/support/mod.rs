//! Loading, running and timing programs; the table.

pub(crate) mod kernel;
pub(crate) mod lists;
pub(crate) mod memory;
pub(crate) mod netd;
pub(crate) mod options;
pub(crate) mod race;
pub(crate) mod report;
