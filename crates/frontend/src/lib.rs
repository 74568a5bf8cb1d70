//! The way in: HTTP, SigV4, the API operations, and the synchronous invoke path.
