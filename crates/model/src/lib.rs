//! The vocabulary of Lamplight: ids, ARNs, function settings, limits, error kinds.
