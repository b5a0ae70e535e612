//! The daemon: a thin shell around [`netd_engine`].
//!
//! Rooms: `source` reads captures, `kernel` alone names aya, `host` knows processes and sockets, `verdicts` owns what
//! is enforced, `query` is the filter language, `store` remembers, `sinks` writes and sends what happens, `export`
//! is findings in others' formats, `rehearsal` holds policies against what was seen, `api` alone
//! names axum, `signals` stops and kills processes, `cli` is one file a subcommand, `pipeline` alone spawns, `privileges` gives up what root could do.

pub mod address;
pub mod api;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod export;
pub mod feeds;
pub mod host;
pub mod kernel;
pub mod pipeline;
pub mod privileges;
pub mod query;
pub mod rehearsal;
pub mod signals;
pub mod sinks;
pub mod source;
pub mod store;
pub mod time;
pub mod verdicts;
