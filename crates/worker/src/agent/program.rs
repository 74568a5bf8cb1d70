//! The command of an environment, and the names of its log.

use lamplight_env::{Clock, Random, Timestamp};
use lamplight_model::Target;
use std::path::{Path, PathBuf};

/// Of containers whose image says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

/// What AWS's managed runtimes do about a wrapper, in the same words: exit codes and all.
const WRAP: &str = r#"if [ ! -f "$0" ]; then echo "$0: does not exist"; exit 127; fi
if [ ! -x "$0" ]; then echo "$0: is not an executable"; exit 126; fi
exec "$0" "$@""#;

/// The command as `AWS_LAMBDA_EXEC_WRAPPER` has it.
pub fn wrapped(
    argv: Vec<String>,
    target: &Target,
    locate: &dyn Fn(&str) -> PathBuf,
) -> Vec<String> {
    match target.environment.get("AWS_LAMBDA_EXEC_WRAPPER") {
        Some(wrapper) if !wrapper.is_empty() => {
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
pub(super) mod tests {
    use super::*;
    use lamplight_env::{ManualClock, SeededRandom};
    use lamplight_model::{AccountId, FunctionArn, Qualifier, Scope};
    use std::time::Duration;

    pub fn target() -> Target {
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
            durable: None,
            max_concurrency: None,
            snap_start: false,
        }
    }

    #[test]
    fn a_wrapper_goes_around_the_command() {
        let locate = |inside: &str| PathBuf::from(inside);
        let wrapped = |target: &Target| super::wrapped(vec!["python".into()], target, &locate);
        let mut target = target();
        assert_eq!(wrapped(&target), ["python"]);
        target.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/opt/wrap".into());
        assert_eq!(wrapped(&target)[..2], ["/bin/sh", "-c"]);
        assert_eq!(wrapped(&target)[3..], ["/opt/wrap", "python"]);
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
