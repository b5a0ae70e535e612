//! Tests that cannot run here say so, past the test harness that swallows what tests print.

use std::io::Write as _;

/// Returns from the calling test, saying that it was left out, unless it runs as root.
#[macro_export]
macro_rules! require_root {
    () => {
        if !$crate::namespace::is_root() {
            $crate::left_out!("needs root");
            return;
        }
    };
}

/// Says that the calling test is left out, and why.
#[macro_export]
macro_rules! left_out {
    ($why:expr) => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        $crate::left_out::say(name.trim_end_matches("::here"), $why);
    }};
}

/// Writes `left out: <why>: <test>` to standard error itself: the harness only keeps what the printing macros write.
pub fn say(test: &str, why: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "left out: {why}: {test}");
}
