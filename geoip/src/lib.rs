//! Country and autonomous system of addresses, from MMDB files that the operator names.
