//! The Lamplight binary.
fn main() {}
