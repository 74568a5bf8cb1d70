//! The numbers of the Lambda quota page. Sizes are bytes unless the name says otherwise.

use std::time::Duration;

/// A request or response payload of a synchronous invocation.
pub const SYNC_PAYLOAD: usize = 6 * 1024 * 1024;
/// What a runtime may post as its response. AWS: 6 MiB and 100 bytes, as its messages say.
pub const RESPONSE_PAYLOAD: usize = 6_291_556;
/// What a function may stream. AWS: 200 MB since 2025-07.
pub const STREAMED_RESPONSE: usize = 200 * 1024 * 1024;
/// The payload of an event. AWS: 1 MB since 2025-10.
pub const EVENT_PAYLOAD: usize = 1024 * 1024;
/// The base64 text of `X-Amz-Client-Context`.
pub const CLIENT_CONTEXT: usize = 3_583;
/// The name of a function without ARN and qualifier, in characters.
pub const FUNCTION_NAME: usize = 64;
/// A zip file sent inline.
pub const ZIPPED_CODE: usize = 52_428_800;
/// Code and layers, unpacked.
pub const UNZIPPED_CODE: u64 = 262_144_000;
/// Layers of an image as its registry has them, all together. AWS: 10 GB, unpacked.
pub const IMAGE_PACKED: usize = 512 * 1024 * 1024;
/// An image, unpacked.
pub const IMAGE: u64 = 10 * 1024 * 1024 * 1024;
/// Layers of a function.
pub const LAYERS: usize = 5;
/// Entries of one zip file.
pub const ZIP_ENTRIES: usize = 100_000;
/// A whole CreateFunction or UpdateFunctionCode request, base64 included.
pub const CODE_REQUEST: usize = 70_167_211;
/// Any other request body.
pub const REQUEST: usize = 8 * 1024 * 1024;
/// All environment variables of a function as JSON.
pub const ENVIRONMENT: usize = 4 * 1024;
/// Code storage of an account. AWS: 300 GB since 2026-06.
pub const CODE_STORAGE: u64 = 300 * 1024 * 1024 * 1024;
/// Environments of an account that may run at the same time.
pub const CONCURRENT_EXECUTIONS: u32 = 1_000;
/// What reserved concurrency must leave to functions without any.
pub const UNRESERVED_MINIMUM: u32 = 100;
/// Tags of a resource.
pub const TAGS: usize = 50;
/// The part of a call's log that `LogType: Tail` returns.
pub const LOG_TAIL: usize = 4 * 1024;
/// How long an on-demand environment may take to ask for its first event.
pub const INIT: Duration = Duration::from_secs(10);
/// How long one that is made ahead of calls may take, unless the function's timeout is longer.
pub const PROVISIONED_INIT: Duration = Duration::from_secs(130);
/// How long a presigned code location can be downloaded.
pub const CODE_LOCATION: Duration = Duration::from_secs(600);
/// How long the credentials of a function's role are good.
pub const ROLE_CREDENTIALS: Duration = Duration::from_secs(12 * 3600);
/// How long an environment is used: so much less than its credentials that its longest call, and a
/// clock that stood still for a while, fit in between.
pub const ENVIRONMENT_LIFE: Duration = Duration::from_secs(6 * 3600);
/// One log event; a longer line is cut and marked.
pub const LOG_EVENT: usize = 256 * 1024;
/// What one call may log; the rest is dropped and said so.
pub const LOG_PER_CALL: usize = 64 * 1024 * 1024;

pub const MEMORY_MB_DEFAULT: u32 = 128;
pub const TIMEOUT_SECONDS_DEFAULT: u32 = 3;
pub const TMP_MB_DEFAULT: u32 = 512;

/// Of functions without a capacity provider, at most.
pub const MEMORY_MB: u32 = 10_240;
pub const TIMEOUT_SECONDS: u32 = 900;
pub const TMP_MB: u32 = 10_240;
