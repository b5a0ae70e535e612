//! A beacon through the gateway.

use netd_lab::lab::Lab;
use netd_lab::require_root;

use crate::implants::found_cut_and_released;

#[test]
fn a_beacon_through_the_gateway_is_found_cut_and_released_and_nobody_else_notices() {
    require_root!();

    found_cut_and_released(&Lab::gateway().unwrap(), "gateway");
}
