//! The AWS dialects: routing, validation and encoding driven by the service models, and SigV4.
