//! Sandboxes: namespaces and process mode, the jail, cgroups, seccomp, network. The home of unsafe.
