//! The kitchen.
fn main() {}
