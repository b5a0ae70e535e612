#![expect(clippy::print_stdout, reason = "a command speaks to whoever typed it")]
fn main() {
    let seed = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let quick = std::env::args().nth(2).is_some();
    if seed == 0 { println!("{}", netd_lab::accuracy::try_timing(quick)); return; }
    println!("{}", netd_lab::accuracy::try_day(seed, quick));
}
