#![no_main]

use std::io::Cursor;
use std::path::Path;

#[allow(dead_code, unused_imports, unreachable_pub, reason = "the daemon's room as it is; a fuzz target uses less of it")]
#[path = "../../netd/src/source/capture/mod.rs"]
mod capture;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut capture) = capture::Capture::read(Path::new("fuzz"), Cursor::new(bytes.to_vec())) else { return };
    while let Ok(Some(frame)) = capture.next_frame() {
        let _ = capture::network_layer(frame.link, frame.data);
    }
});
