//! The jail on its own, for the tests of this crate; the `lamplight` binary carries it too.

fn main() {
    lamplight_sandbox::jail_main()
}
