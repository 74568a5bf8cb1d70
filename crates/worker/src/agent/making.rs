//! Sandboxes for targets: on the programs of this machine or an installed root for zip files, on
//! their own root for container images; with what to start in them.

use super::environment::{Home, Start};
use super::forking::Brought;
use super::variables::{self, Place};
use super::{Agent, external, forking, image, program, zygotes};
use crate::logs::Identity;
use crate::runtime_api::MOST_EXTENSIONS;
use crate::runtimes::{Client, RuntimePlan, Wanted};
use lamplight_model::{ImageOverrides, Runtime, Target};
use lamplight_rpc::{EnvironmentId, StartError, Worker};
use lamplight_sandbox::{Bind, Mode, Program, System, Zygote, ZygoteSpec};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// What a sandbox shows.
pub(super) struct Shown {
    pub binds: Vec<Bind>,
    pub system: System,
    /// Whether the runtime client writes its messages as frames.
    pub framed: bool,
}

/// A sandbox, and what to start in it.
type Made = (Home, Start);

impl Agent {
    /// The directory to show as `/opt`.
    async fn layers(&self, layers: &[String]) -> Result<PathBuf, StartError> {
        if layers.is_empty() {
            return Ok(self.parts.empty.clone());
        }
        for layer in layers {
            self.code(layer).await?;
        }
        let merged = self.parts.code.merged(layers).await;
        merged.map_err(|error| StartError::Code(error.to_string()))
    }

    /// A sandbox on what the runtime needs.
    pub(super) async fn on_runtime(
        &self,
        id: EnvironmentId,
        target: &Target,
        initialization: &str,
    ) -> Result<Made, StartError> {
        let mut plan = self
            .runtimes()
            .await
            .find(&target.runtime)
            .map_err(|missing| StartError::RuntimeMissing(missing.to_string()))?;
        self.can_run_plan(&plan).map_err(StartError::RuntimeMissing)?;
        let code = self.code(&target.code).await?;
        let opt = self.layers(&target.layers).await?;
        let extensions = external::names(&opt, MOST_EXTENSIONS);
        let can_start = plan.pick_bootstrap(&|inside| {
            [("/var/task/", &code), ("/opt/", &opt)].iter().any(|(prefix, dir)| {
                inside.strip_prefix(prefix).is_some_and(|below| is_executable(&dir.join(below)))
            })
        });
        let bind = |source: PathBuf, target: &str| Bind { source, target: target.into() };
        let mut binds = vec![bind(code.clone(), "/var/task"), bind(opt.clone(), "/opt")];
        binds.extend(plan.binds.iter().map(|(source, inside)| bind(source.clone(), inside)));
        if let Some(client) = plan.client {
            binds.push(bind(client.directory(&self.parts.clients), "/var/runtime"));
        }
        let mut system = System::Host;
        if let Some(root) = &plan.root {
            let shown = image::shown(&root.path, &["/var/task", "/opt"]);
            let (own, links) = shown.map_err(|error| StartError::Code(error.to_string()))?;
            binds.extend(own);
            system = links;
        }
        // Several workers that write at once would mix their frames.
        let framed = plan.is_framed() && target.max_concurrency.is_none();
        let shown = Shown { binds, system, framed };
        let home = self.launch(id, target, shown).await?;
        let program = can_start.then(|| {
            let locate = |inside: &str| home.sandbox.locate(inside);
            let credentials = self.credentials(target);
            let place = Place {
                endpoint: home.visit.as_ref().map(|visit| visit.endpoint.as_str()),
                credentials: credentials.as_ref(),
                fetching: home.fetching.as_ref(),
                runtime_api: home.sandbox.runtime_api(),
                metadata_token: &home.metadata_token,
                locate: &locate,
                log_stream: home.capture.stream(),
                initialization,
                execution_env: plan.execution_env.as_deref(),
                framed,
                image: plan.root.as_ref().map(|root| root.config.environment.as_slice()),
            };
            let env = variables::variables(target, &place);
            let wanted = Wanted { handler: &target.handler, memory_mb: target.memory_mb };
            let mut argv = plan.argv(&locate, wanted);
            if let Some(root) = &plan.root {
                argv = program::looked_up(argv, &env, &root.path);
            }
            if plan.is_wrapped() {
                argv = program::wrapped(argv, target, &locate);
            }
            Program { argv, env, cwd: locate("/var/task").to_string_lossy().into_owned() }
        });
        let arn = Runtime::version_arn(&target.function.scope.region, &target.runtime);
        let identity = identity(target, home.capture.stream(), plan.version(&target.runtime), arn);
        let directory = home.sandbox.locate(external::DIRECTORY);
        let extensions = self::extensions(extensions, &directory, program.as_ref());
        let brought = Brought { code: &code, opt: &opt };
        let zygote = program.as_ref().and_then(|program| self.zygote(target, &plan, program));
        let zygote = zygote.filter(|zygote| !brought.any_of(zygote.modules(), zygote.libraries()));
        let zygote = zygote.map(|zygote| Arc::downgrade(&zygote)).unwrap_or_default();
        let initialization = initialization.to_owned();
        Ok((home, Start { program, extensions, identity, initialization, zygote }))
    }

    /// What a function can be forked from, by now.
    fn zygote(
        &self,
        target: &Target,
        plan: &RuntimePlan,
        program: &Program,
    ) -> Option<Arc<Zygote>> {
        if self.parts.launcher.mode() != Mode::Namespaces || !forking::is_forkable(target, plan) {
            return None;
        }
        let account = target.function.scope.account.clone();
        let key = zygotes::Key { account, runtime: target.runtime.clone() };
        self.zygotes.find(&key, |id| {
            let bind = |source, target: &str| Bind { source, target: target.to_owned() };
            // With `lib` in them: what the loader of libraries once did not find it never looks for
            // again, and a fork's function may have some there.
            let bare = self.parts.clients.join("bare");
            if let Err(error) = std::fs::create_dir_all(bare.join("lib")) {
                tracing::warn!(%error, "a zygote has no directories");
            }
            let mut binds = vec![bind(bare.clone(), "/var/task"), bind(bare, "/opt")];
            binds.extend(plan.binds.iter().map(|(source, inside)| bind(source.clone(), inside)));
            let client = Client::Python.directory(&self.parts.clients);
            binds.push(bind(client, "/var/runtime"));
            let env = program.env.iter().filter(|(name, _)| forking::matters(name));
            let env = env.cloned().collect();
            ZygoteSpec { id, binds, program: Program { env, ..program.clone() } }
        })
    }

    /// Runtimes that were installed as images need what images need.
    pub(super) fn can_run_plan(&self, plan: &RuntimePlan) -> Result<(), String> {
        match plan.root {
            Some(_) => self.can_run_images(),
            None => Ok(()),
        }
    }

    /// A sandbox on a container image.
    pub(super) async fn on_image(
        &self,
        id: EnvironmentId,
        (target, overrides): (&Target, &ImageOverrides),
        initialization: &str,
    ) -> Result<Made, StartError> {
        self.can_run_images().map_err(StartError::Code)?;
        let root = self.code(&target.code).await?;
        let config = self.parts.code.image(&target.code);
        let config = config.ok_or_else(|| StartError::Code("it is no image".to_owned()))?;
        let (binds, system) =
            image::shown(&root, &[]).map_err(|error| StartError::Code(error.to_string()))?;
        let shown = Shown { binds, system, framed: false };
        let home = self.launch(id, target, shown).await?;
        let (argv, cwd) = config.start(overrides);
        let credentials = self.credentials(target);
        let place = Place {
            endpoint: home.visit.as_ref().map(|visit| visit.endpoint.as_str()),
            credentials: credentials.as_ref(),
            fetching: home.fetching.as_ref(),
            runtime_api: home.sandbox.runtime_api(),
            metadata_token: &home.metadata_token,
            locate: &|inside| inside.into(),
            log_stream: home.capture.stream(),
            initialization,
            // AWS: only there.
            execution_env: target.max_concurrency.map(|_| "AWS_Lambda_Image"),
            framed: false,
            image: Some(&config.environment),
        };
        let env = variables::image_variables(target, &place);
        let argv = program::looked_up(argv, &env, &root);
        let program = (!argv.is_empty()).then_some(Program { argv, env, cwd });
        // An image has no runtime version to tell of.
        let identity = identity(target, home.capture.stream(), String::new(), String::new());
        let names = external::names(&root.join("opt"), MOST_EXTENSIONS);
        let extensions = extensions(names, Path::new(external::DIRECTORY), program.as_ref());
        let initialization = initialization.to_owned();
        let zygote = Weak::new();
        Ok((home, Start { program, extensions, identity, initialization, zygote }))
    }
}

fn identity(
    target: &Target,
    stream: &str,
    runtime_version: String,
    runtime_version_arn: String,
) -> Identity {
    Identity {
        instance: stream.to_owned(),
        memory_mb: target.memory_mb,
        runtime_version,
        runtime_version_arn,
        function: target.function.name.to_string(),
        version: target.version.to_string(),
    }
}

/// The programs of external extensions, which see what the runtime sees but for what is its own.
fn extensions(
    names: Vec<String>,
    directory: &Path,
    runtime: Option<&Program>,
) -> Vec<(String, Program)> {
    let env = runtime.map(|program| external::variables(&program.env)).unwrap_or_default();
    let program = |name: &String| Program {
        argv: vec![directory.join(name).to_string_lossy().into_owned()],
        env: env.clone(),
        cwd: "/".to_owned(),
    };
    names.into_iter().map(|name| (name.clone(), program(&name))).collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
