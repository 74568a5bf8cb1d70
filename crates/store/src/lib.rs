//! What is durable: metadata in SQLite, blobs in content-addressed files, behind seams with one conformance suite.
