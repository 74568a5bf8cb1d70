//! The process of an environment: its variables and what it is called.

use lamplight_env::{Clock, Random, Timestamp};
use lamplight_model::{Language, Runtime, Target};
use lamplight_rpc::RoleCredentials;
use std::path::{Path, PathBuf};

/// Of containers whose image says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the sandbox says about itself.
pub struct Place<'a> {
    /// `AWS_LAMBDA_RUNTIME_API`.
    pub runtime_api: &'a str,
    /// Where the API is; the function may say otherwise.
    pub endpoint: Option<&'a str>,
    /// Of the function's role.
    pub credentials: Option<&'a RoleCredentials>,
    /// Where an inside path is for the process.
    pub locate: &'a dyn Fn(&str) -> PathBuf,
    pub log_stream: &'a str,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization: &'a str,
    /// `AWS_EXECUTION_ENV`; unset on `provided` runtimes.
    pub execution_env: Option<&'a str>,
    /// Whether the runtime client is ours, which writes its messages as frames.
    pub framed: bool,
}

/// AWS: the exact set of lambda.md's section on environment variables. The function's own come
/// first, so that none of them can take the place of a reserved one.
pub fn variables(target: &Target, place: &Place<'_>) -> Vec<(String, String)> {
    let at = |inside: &str| (place.locate)(inside).to_string_lossy().into_owned();
    let (task, runtime, lang) = (at("/var/task"), at("/var/runtime"), at("/var/lang"));
    let opt = at("/opt");
    // The runtime client itself looks at `/opt/python`.
    let elsewhere = if opt == "/opt" { String::new() } else { format!("{opt}/python:") };
    let defaults = [
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("PATH", format!("{lang}/bin:/usr/local/bin:/usr/bin/:/bin:{opt}/bin")),
        (
            "LD_LIBRARY_PATH",
            format!(
                "{lang}/lib:/lib64:/usr/lib64:{runtime}:{runtime}/lib:{task}:{task}/lib:{opt}/lib"
            ),
        ),
        ("NODE_PATH", format!("{opt}/nodejs/node_modules:{runtime}/node_modules:{runtime}:{task}")),
        ("PYTHONPATH", format!("{elsewhere}{runtime}")),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
        ("AWS_LAMBDA_LOG_FORMAT", target.log_format.clone()),
    ];
    with_reserved(target, place, defaults.map(|(name, value)| (name.to_owned(), value)))
}

/// The variables of an image, under those of its function. AWS: no defaults for what an image says
/// itself or does without.
pub fn image_variables(
    target: &Target,
    place: &Place<'_>,
    image: &[String],
) -> Vec<(String, String)> {
    let own = image.iter().filter_map(|variable| variable.split_once('='));
    with_reserved(target, place, own.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// The command with its program as a path: one without a slash is looked for in `PATH` inside the
/// unpacked image at `root`, as a container does.
pub fn looked_up(mut argv: Vec<String>, env: &[(String, String)], root: &Path) -> Vec<String> {
    let Some(program) = argv.first_mut().filter(|program| !program.contains('/')) else {
        return argv;
    };
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, path)| path);
    let places = path.split(':').map(|dir| format!("{}/{program}", dir.trim_end_matches('/')));
    // Links of an image lead somewhere in the image: that one is there has to do.
    let there = |place: &String| {
        place.starts_with('/')
            && std::fs::symlink_metadata(root.join(place.trim_start_matches('/'))).is_ok()
    };
    if let Some(found) = places.into_iter().find(there) {
        *program = found;
    }
    argv
}

fn with_reserved(
    target: &Target,
    place: &Place<'_>,
    defaults: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let at = |inside: &str| (place.locate)(inside).to_string_lossy().into_owned();
    let reserved = [
        ("_HANDLER", target.handler.clone()),
        ("AWS_REGION", target.function.scope.region.to_string()),
        ("AWS_DEFAULT_REGION", target.function.scope.region.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", target.function.name.to_string()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", target.memory_mb.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", target.version.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", place.initialization.to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", target.log_group.clone()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", place.log_stream.to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", place.runtime_api.to_owned()),
        ("LAMBDA_TASK_ROOT", at("/var/task")),
        ("LAMBDA_RUNTIME_DIR", at("/var/runtime")),
    ];
    let optional = [
        ("AWS_EXECUTION_ENV", place.execution_env.map(str::to_owned)),
        // Standard output, in order with all else. Other clients would write frames to it in a way
        // that fails on a full pipe.
        ("_LAMBDA_TELEMETRY_LOG_FD", place.framed.then(|| "1".to_owned())),
        ("AWS_LAMBDA_LOG_LEVEL", target.application_log_level.clone()),
    ];
    let credentials = place.credentials.map(|credentials| {
        [
            ("AWS_ACCESS_KEY_ID", credentials.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret.clone()),
            ("AWS_SESSION_TOKEN", credentials.session_token.clone()),
        ]
    });
    let endpoint = place.endpoint.map(|url| ("AWS_ENDPOINT_URL", url.to_owned()));
    let mut all = std::collections::BTreeMap::new();
    let name = |(name, value): (&str, String)| (name.to_owned(), value);
    all.extend(defaults);
    all.extend(endpoint.map(name));
    all.extend(target.environment.clone());
    all.extend(reserved.map(name));
    all.extend(credentials.into_iter().flatten().map(name));
    all.extend(optional.into_iter().filter_map(|(n, value)| Some(name((n, value?)))));
    all.into_iter().collect()
}

/// What AWS's managed runtimes do about a wrapper, in the same words: exit codes and all.
const WRAP: &str = r#"if [ ! -f "$0" ]; then echo "$0: does not exist"; exit 127; fi
if [ ! -x "$0" ]; then echo "$0: is not an executable"; exit 126; fi
exec "$0" "$@""#;

/// The command as `AWS_LAMBDA_EXEC_WRAPPER` has it. AWS: a runtime that the function brings itself
/// sees to that itself.
pub fn wrapped(
    argv: Vec<String>,
    target: &Target,
    locate: &dyn Fn(&str) -> PathBuf,
) -> Vec<String> {
    let own = Runtime::parse(&target.runtime).is_some_and(|r| r.language == Language::Provided);
    match target.environment.get("AWS_LAMBDA_EXEC_WRAPPER") {
        Some(wrapper) if !own && !wrapper.is_empty() => {
            let wrapper = locate(wrapper).to_string_lossy().into_owned();
            let shell = ["/bin/sh", "-c", WRAP].map(str::to_owned);
            shell.into_iter().chain([wrapper]).chain(argv).collect()
        }
        _ => argv,
    }
}

/// `YYYY/MM/DD/[VERSION]<32 hex>`. AWS: a custom log group is shared by functions, so there the
/// function's name is part of the stream.
pub fn log_stream(target: &Target, clock: &dyn Clock, random: &dyn Random) -> String {
    let day = date(clock.now());
    let (version, id) = (&target.version, random.hex(16));
    if target.log_group == format!("/aws/lambda/{}", target.function.name) {
        format!("{day}/[{version}]{id}")
    } else {
        format!("{day}/{}[{version}]{id}", target.function.name)
    }
}

fn date(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.millis()) {
        Ok(at) => at.strftime("%Y/%m/%d").to_string(),
        Err(_) => "1970/01/01".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{ManualClock, SeededRandom};
    use lamplight_model::{AccountId, FunctionArn, Qualifier, Scope};
    use std::time::Duration;

    fn target() -> Target {
        let scope = Scope { account: AccountId::new("000000000000").unwrap(), region: "r".into() };
        Target {
            function: FunctionArn::new(&scope, "thumbs"),
            version: Qualifier::Latest,
            generation: 1,
            runtime: "python3.11".into(),
            handler: "app.handler".into(),
            role: String::new(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            tmp_mb: 512,
            environment: [("STAGE", "test"), ("AWS_REGION", "mars"), ("LANG", "C")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            code: String::new(),
            image: None,
            layers: Vec::new(),
            log_group: "/aws/lambda/thumbs".into(),
            log_format: "Text".into(),
            application_log_level: None,
            system_log_level: None,
            tenant_isolation: false,
        }
    }

    #[test]
    fn reserved_variables_win_and_defaults_give_way() {
        let place = Place {
            runtime_api: "169.254.100.1:9001",
            endpoint: Some("http://169.254.100.1:9002"),
            credentials: Some(&RoleCredentials {
                access_key: "ASIA1".into(),
                secret: "s".into(),
                session_token: "t".into(),
            }),
            locate: &|inside| inside.into(),
            log_stream: "s",
            initialization: "on-demand",
            execution_env: Some("AWS_Lambda_python3.11"),
            framed: false,
        };
        let all: std::collections::BTreeMap<_, _> =
            variables(&target(), &place).into_iter().collect();
        assert_eq!(all["AWS_REGION"], "r");
        assert_eq!(all["LANG"], "C");
        assert_eq!(all["AWS_ACCESS_KEY_ID"], "ASIA1");
        assert_eq!(all["AWS_SESSION_TOKEN"], "t");
        assert_eq!(all["AWS_ENDPOINT_URL"], "http://169.254.100.1:9002");
        assert_eq!(all["STAGE"], "test");
        assert_eq!(all["_HANDLER"], "app.handler");
        assert_eq!(all["LAMBDA_TASK_ROOT"], "/var/task");
        assert_eq!(all["AWS_EXECUTION_ENV"], "AWS_Lambda_python3.11");
    }

    #[test]
    fn a_wrapper_goes_around_managed_runtimes_only() {
        let locate = |inside: &str| PathBuf::from(inside);
        let wrapped = |target: &Target| super::wrapped(vec!["python".into()], target, &locate);
        let mut target = target();
        assert_eq!(wrapped(&target), ["python"]);
        target.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/opt/wrap".into());
        assert_eq!(wrapped(&target)[..2], ["/bin/sh", "-c"]);
        assert_eq!(wrapped(&target)[3..], ["/opt/wrap", "python"]);
        target.runtime = "provided.al2023".into();
        assert_eq!(wrapped(&target), ["python"]);
    }

    #[test]
    fn streams_are_named_as_on_aws() {
        let clock = ManualClock::at(Timestamp::from_millis(1_795_000_000_000));
        let random = SeededRandom::new(1);
        let mut target = target();
        let name = log_stream(&target, &clock, &random);
        assert!(name.starts_with("2026/11/18/[$LATEST]"), "{name}");
        assert_eq!(name.len(), "2026/11/18/[$LATEST]".len() + 32);
        target.log_group = "shared".into();
        assert!(log_stream(&target, &clock, &random).starts_with("2026/11/18/thumbs[$LATEST]"));
    }
}
