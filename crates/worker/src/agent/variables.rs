//! The environment variables of a function, as they were recorded on AWS. Pure.
//!
//! Invariants: what the function sets takes the place of defaults, and never of what is reserved.
//! Names that begin with an underscore are the platform's. Ours alone is `AWS_ENDPOINT_URL`, the
//! way to this server.

use super::fetching::Fetching;
use lamplight_model::{Language, Runtime, Target};
use lamplight_rpc::RoleCredentials;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// AWS: where traces are sent to. Nothing listens there; what is sent to it is lost, as on AWS
/// where tracing is off.
const XRAY_PORT: u16 = 2000;

/// What the sandbox says about itself.
pub struct Place<'a> {
    /// `AWS_LAMBDA_RUNTIME_API`, where the metadata are as well.
    pub runtime_api: &'a str,
    /// What opens the metadata.
    pub metadata_token: &'a str,
    /// Where the API is; the function may say otherwise.
    pub endpoint: Option<&'a str>,
    /// Of the function's role.
    pub credentials: Option<&'a RoleCredentials>,
    /// Where to fetch them instead.
    pub fetching: Option<&'a Fetching>,
    /// Where an inside path is for the process.
    pub locate: &'a dyn Fn(&str) -> PathBuf,
    pub log_stream: &'a str,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization: &'a str,
    /// `AWS_EXECUTION_ENV`; unset on `provided` runtimes.
    pub execution_env: Option<&'a str>,
    /// Whether the runtime client writes its messages as frames.
    pub framed: bool,
    /// What the image says of its own variables that the function runs on, as `NAME=VALUE`.
    pub image: Option<&'a [String]>,
}

impl Place<'_> {
    fn at(&self, inside: &str) -> String {
        (self.locate)(inside).to_string_lossy().into_owned()
    }

    fn image(&self) -> impl Iterator<Item = (String, String)> {
        let own = self.image.into_iter().flatten().filter_map(|variable| variable.split_once('='));
        own.map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    fn xray(&self) -> &str {
        self.runtime_api.rsplit_once(':').map_or(self.runtime_api, |(host, _)| host)
    }
}

/// The variables of a function from a zip file. A root that was installed says some itself.
pub fn variables(target: &Target, place: &Place<'_>) -> Vec<(String, String)> {
    let runtime = Runtime::parse(&target.runtime);
    let language = runtime.as_ref().map(|runtime| runtime.language);
    let [task, dir, lang, opt] =
        ["/var/task", "/var/runtime", "/var/lang", "/opt"].map(|inside| place.at(inside));
    // AWS: a function that brings its runtime has no language to look for.
    let of_lang = |below: &str| match language {
        Some(Language::Provided) => String::new(),
        _ => format!("{lang}/{below}:"),
    };
    let libraries = of_lang("lib");
    let mut all = vec![
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("PATH", format!("{}/usr/local/bin:/usr/bin/:/bin:{opt}/bin", of_lang("bin"))),
        (
            "LD_LIBRARY_PATH",
            format!("{libraries}/lib64:/usr/lib64:{dir}:{dir}/lib:{task}:{task}/lib:{opt}/lib"),
        ),
    ];
    // AWS: the start of a runtime sets these, and does otherwise where they are there already. On an
    // installed root that is the image's start.
    let own = language.filter(|_| place.image.is_none());
    match (own, &runtime) {
        (Some(Language::Python), _) => {
            // The runtime client itself looks at `/opt/python`.
            let elsewhere = if opt == "/opt" { String::new() } else { format!("{opt}/python:") };
            all.push(("PYTHONPATH", format!("{elsewhere}{dir}")));
        }
        (Some(Language::Node), Some(runtime)) => {
            let major = runtime.version.split('.').next().unwrap_or_default();
            let layers = format!("{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules");
            all.push(("NODE_PATH", format!("{layers}:{dir}/node_modules:{dir}:{task}")));
        }
        _ => {}
    }
    // AWS: a shell starts these.
    if matches!(own, Some(Language::Python | Language::Node)) {
        all.push(("PWD", task));
        all.push(("SHLVL", "0".to_owned()));
    }
    let defaults = all.into_iter().map(|(name, value)| (name.to_owned(), value));
    with_reserved(target, place, defaults.chain(place.image()))
}

/// The variables of an image, under those of its function. AWS: no defaults for what an image says
/// itself or does without.
pub fn image_variables(target: &Target, place: &Place<'_>) -> Vec<(String, String)> {
    with_reserved(target, place, place.image())
}

fn with_reserved(
    target: &Target,
    place: &Place<'_>,
    defaults: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let text = |text: &str| Some(text.to_owned());
    let xray = place.xray();
    let overridable = [
        ("AWS_XRAY_CONTEXT_MISSING", text("LOG_ERROR")),
        ("AWS_XRAY_DAEMON_ADDRESS", Some(format!("{xray}:{XRAY_PORT}"))),
        // AWS: functions with text logs have neither.
        ("AWS_LAMBDA_LOG_FORMAT", text(&target.log_format).filter(|format| format == "JSON")),
        ("AWS_LAMBDA_LOG_LEVEL", target.application_log_level.clone()),
        ("AWS_ENDPOINT_URL", place.endpoint.map(str::to_owned)),
    ];
    let region = &*target.function.scope.region;
    let credentials = |of: fn(&RoleCredentials) -> &String| place.credentials.map(of).cloned();
    let reserved = [
        ("_HANDLER", text(&target.handler).filter(|handler| !handler.is_empty())),
        ("_AWS_XRAY_DAEMON_ADDRESS", text(xray)),
        ("_AWS_XRAY_DAEMON_PORT", Some(XRAY_PORT.to_string())),
        ("AWS_REGION", text(region)),
        ("AWS_DEFAULT_REGION", text(region)),
        ("AWS_EXECUTION_ENV", place.execution_env.map(str::to_owned)),
        ("AWS_ACCESS_KEY_ID", credentials(|c| &c.access_key)),
        ("AWS_SECRET_ACCESS_KEY", credentials(|c| &c.secret)),
        ("AWS_SESSION_TOKEN", credentials(|c| &c.session_token)),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.fetching.map(|at| at.uri.clone())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", place.fetching.map(|at| at.token.clone())),
        ("AWS_LAMBDA_FUNCTION_NAME", text(&target.function.name)),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", Some(target.memory_mb.to_string())),
        ("AWS_LAMBDA_FUNCTION_VERSION", Some(target.version.to_string())),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", text(place.initialization)),
        ("AWS_LAMBDA_LOG_GROUP_NAME", text(&target.log_group)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", text(place.log_stream)),
        ("AWS_LAMBDA_MAX_CONCURRENCY", target.max_concurrency.map(|most| most.to_string())),
        ("AWS_LAMBDA_METADATA_API", text(place.runtime_api)),
        ("AWS_LAMBDA_METADATA_TOKEN", text(place.metadata_token)),
        ("AWS_LAMBDA_RUNTIME_API", text(place.runtime_api)),
        ("LAMBDA_TASK_ROOT", Some(place.at("/var/task"))),
        ("LAMBDA_RUNTIME_DIR", Some(place.at("/var/runtime"))),
        // Standard output, in order with all else. Other clients would write frames to it in a way
        // that fails on a full pipe.
        ("_LAMBDA_TELEMETRY_LOG_FD", place.framed.then(|| "1".to_owned())),
    ];
    let present = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?));
    let mut all: BTreeMap<String, String> = overridable.into_iter().filter_map(present).collect();
    all.extend(defaults);
    all.extend(target.environment.clone());
    all.extend(reserved.into_iter().filter_map(present));
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::program::tests::target;
    use super::*;

    type All = BTreeMap<String, String>;

    fn place() -> Place<'static> {
        Place {
            runtime_api: "169.254.100.1:9001",
            metadata_token: "m",
            endpoint: None,
            credentials: None,
            fetching: None,
            locate: &|inside| inside.into(),
            log_stream: "s",
            initialization: "on-demand",
            execution_env: None,
            framed: false,
            image: None,
        }
    }

    fn of(runtime: &str, handler: &str) -> All {
        let target = Target {
            runtime: runtime.into(),
            handler: handler.into(),
            environment: BTreeMap::new(),
            ..target()
        };
        variables(&target, &place()).into_iter().collect()
    }

    /// What every function has, in the order of their names.
    const ALWAYS: &str = "AWS_DEFAULT_REGION=r AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128 \
        AWS_LAMBDA_FUNCTION_NAME=thumbs AWS_LAMBDA_FUNCTION_VERSION=$LATEST \
        AWS_LAMBDA_INITIALIZATION_TYPE=on-demand AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/thumbs \
        AWS_LAMBDA_LOG_STREAM_NAME=s AWS_LAMBDA_METADATA_API=169.254.100.1:9001 \
        AWS_LAMBDA_METADATA_TOKEN=m AWS_LAMBDA_RUNTIME_API=169.254.100.1:9001 AWS_REGION=r \
        AWS_XRAY_CONTEXT_MISSING=LOG_ERROR AWS_XRAY_DAEMON_ADDRESS=169.254.100.1:2000 \
        LAMBDA_RUNTIME_DIR=/var/runtime LAMBDA_TASK_ROOT=/var/task \
        _AWS_XRAY_DAEMON_ADDRESS=169.254.100.1 _AWS_XRAY_DAEMON_PORT=2000";

    fn expected(more: &str) -> All {
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        ALWAYS.split_whitespace().chain(more.split_whitespace()).map(pair).collect()
    }

    #[test]
    fn each_runtime_has_exactly_what_was_recorded() {
        const LIBRARIES: &str =
            "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib";
        const PATH: &str = "/usr/local/bin:/usr/bin/:/bin:/opt/bin";
        let own = format!(
            "LANG=en_US.UTF-8 TZ=:UTC PATH={PATH} LD_LIBRARY_PATH={LIBRARIES} _HANDLER=f.handler"
        );
        assert_eq!(of("provided.al2023", "f.handler"), expected(&own));
        let managed = format!(
            "LANG=en_US.UTF-8 TZ=:UTC PATH=/var/lang/bin:{PATH} \
             LD_LIBRARY_PATH=/var/lang/lib:{LIBRARIES} _HANDLER=f.handler"
        );
        assert_eq!(of("java21", "f.handler"), expected(&managed));
        let shell = format!("{managed} PWD=/var/task SHLVL=0");
        assert_eq!(
            of("python3.11", "f.handler"),
            expected(&format!("{shell} PYTHONPATH=/var/runtime"))
        );
        assert_eq!(
            of("nodejs22.x", "f.handler"),
            expected(&format!(
                "{shell} NODE_PATH=/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:\
                 /var/runtime/node_modules:/var/runtime:/var/task"
            ))
        );
    }

    #[test]
    fn an_image_has_what_it_says_itself() {
        let target = Target {
            runtime: String::new(),
            handler: String::new(),
            environment: BTreeMap::new(),
            ..target()
        };
        let image = ["PATH=/app", "_X=1", "AWS_REGION=mars"].map(str::to_owned);
        let place = Place { image: Some(&image), ..place() };
        let all: All = image_variables(&target, &place).into_iter().collect();
        assert_eq!(all, expected("PATH=/app _X=1"));
        // A function on an installed root has the defaults as well.
        let target = Target { runtime: "python3.11".into(), ..target };
        let all: All = variables(&target, &place).into_iter().collect();
        assert!(!all.contains_key("PYTHONPATH"));
        assert_eq!((all["PATH"].as_str(), all["LANG"].as_str()), ("/app", "en_US.UTF-8"));
        assert_eq!(all["AWS_REGION"], "r");
    }

    #[test]
    fn reserved_variables_win_and_defaults_give_way() {
        let credentials = RoleCredentials {
            access_key: "ASIA1".into(),
            secret: "s".into(),
            session_token: "t".into(),
            expires: lamplight_env::Timestamp::from_millis(0),
        };
        let place = Place {
            endpoint: Some("http://169.254.100.1:9002"),
            credentials: Some(&credentials),
            execution_env: Some("AWS_Lambda_python3.11"),
            framed: true,
            ..place()
        };
        let mut target = target();
        target.environment.insert("AWS_XRAY_CONTEXT_MISSING".into(), "IGNORE".into());
        let all: All = variables(&target, &place).into_iter().collect();
        for (name, value) in [
            ("AWS_REGION", "r"),
            ("LANG", "C"),
            ("STAGE", "test"),
            ("AWS_XRAY_CONTEXT_MISSING", "IGNORE"),
            ("AWS_ACCESS_KEY_ID", "ASIA1"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "t"),
            ("AWS_ENDPOINT_URL", "http://169.254.100.1:9002"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
            ("_LAMBDA_TELEMETRY_LOG_FD", "1"),
        ] {
            assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn credentials_are_told_or_fetched() {
        let fetching = Fetching { uri: "http://127.0.0.1:9001/c".into(), token: "t".into() };
        let place = Place { fetching: Some(&fetching), ..place() };
        let all: All = variables(&target(), &place).into_iter().collect();
        assert_eq!(all["AWS_CONTAINER_CREDENTIALS_FULL_URI"], "http://127.0.0.1:9001/c");
        assert_eq!(all["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "t");
        assert!(!all.contains_key("AWS_ACCESS_KEY_ID"));
    }

    #[test]
    fn the_log_is_spoken_of_where_it_is_json() {
        let json = |environment: &[(&str, &str)]| {
            let environment =
                environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let target = Target {
                log_format: "JSON".into(),
                application_log_level: Some("WARN".into()),
                environment: environment.collect(),
                ..target()
            };
            let all: All = variables(&target, &place()).into_iter().collect();
            ["AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"].map(|name| all[name].clone())
        };
        assert_eq!(json(&[]), ["JSON", "WARN"]);
        // AWS: neither is reserved.
        assert_eq!(json(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]), ["JSON", "DEBUG"]);
    }
}
