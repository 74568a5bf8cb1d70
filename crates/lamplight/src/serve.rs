//! The one-machine server: every role in this process, wired by hand, top to bottom.

use crate::config::Config;
use crate::credentials::{Credentials, ENDPOINT};
use crate::data_dir::DataDir;
use crate::output::say;
use anyhow::{Context, Result};
use lamplight_control::catalog::{self, FunctionCatalog};
use lamplight_control::counting::AccountCounting;
use lamplight_control::documents::StoredDocuments;
use lamplight_control::durable::{Executions, Ways};
use lamplight_control::layers::StoredLayers;
use lamplight_control::manager::{self, EnvironmentManager};
use lamplight_control::placement::OneMachine;
use lamplight_env::{Env, SteadyClock, Tasks, faults};
use lamplight_events::{self as events, Events, Routes};
use lamplight_frontend::auth::{Caller, Keys};
use lamplight_frontend::{
    Auth, Downloads, FunctionDocuments, Functions, Guests, Options, Parts, ServiceGrants,
};
use lamplight_remote::{ObjectStore, OtherServers, Registries};
use lamplight_rpc::{Documents, LogSink, Worker};
use lamplight_sandbox::{Launcher, Mode, Swept};
use lamplight_services::destinations::{Queues, Topics};
use lamplight_services::iam::Iam;
use lamplight_services::logs::Logs;
use lamplight_services::sns::{self, Sns};
use lamplight_services::sqs::Sqs;
use lamplight_services::sts::{SealingKey, Sessions, Sts};
use lamplight_store::Store;
use lamplight_wire::sigv4::Secret;
use lamplight_worker::agent::{self, Agent};
use lamplight_worker::code::CodeCache;
use lamplight_worker::runtimes::{
    Finding, InstallError, Installed, Installer, Runtimes, install_clients,
};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How long calls in flight may take to end once a stop was asked for.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the rest may take after that.
const WIND_UP: Duration = Duration::from_secs(10);

/// A server that runs.
pub struct Server {
    pub address: SocketAddr,
    pub credentials: Credentials,
    pub region: String,
    data_dir: DataDir,
    env: Env,
    /// Of the frontend alone: connections and the calls that came through them end first.
    front: Tasks,
    agent: Arc<Agent>,
    store: Arc<lamplight_store::Sqlite>,
}

/// `lamplight serve`.
pub async fn run(config: Config) -> Result<ExitCode> {
    let signals = Signals::listen()?;
    let server = Server::start(config).await?;
    if let Err(error) = server.introduce() {
        tracing::warn!(%error, "standard output cannot be written");
    }
    server.until_stopped(signals).await
}

/// Ctrl-C and SIGTERM. Listened for from the first moment: one that comes while the server is still
/// starting stops it in order, too.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Server {
    pub async fn start(config: Config) -> Result<Self> {
        arm(config.faults.as_deref())?;
        let env = Env::system();
        let dir = config.data_dir.create()?;
        let store = Store::open(dir.path(), &env).context("the store cannot be opened")?;
        let credentials = Credentials::open(&dir, &config.account, &*env.random)?;
        // Before anything is made on the machine that a refusal would leave behind.
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("cannot listen on {}: choose another address with --listen", config.listen)
        })?;
        let worker = worker(&config, &dir, &env).await?;
        let agent = Arc::clone(&worker.agent);
        let ground = Ground { dir, env, store, credentials };
        match Self::assemble(config, ground, listener, worker).await {
            Ok(server) => Ok(server),
            Err(error) => {
                // What sandboxes share on this machine has to go with us.
                agent.shut_down().await;
                Err(error)
            }
        }
    }

    async fn assemble(
        config: Config,
        ground: Ground,
        listener: TcpListener,
        worker: WorkerParts,
    ) -> Result<Self> {
        let Ground { dir, env, store, credentials } = ground;
        let WorkerParts { agent, logs, ended, ready } = worker;
        let address = listener.local_addr()?;
        let placement = Arc::new(OneMachine(Arc::clone(&agent) as Arc<dyn Worker>));
        let options = manager::Options {
            keep: config.keep,
            idle_most: config.idle_most.or_else(open_files_allow),
            provisioned_mb: memory_mb(),
            ..manager::Options::default()
        };
        let manager = EnvironmentManager::new(env.clone(), placement, options);
        manager.look_after(ended);
        let counting = AccountCounting::new(config.concurrent_executions, Arc::clone(&env.clock));
        let counting = Arc::new(counting);
        let labels = lamplight_frontend::labels;
        let documents =
            StoredDocuments::load(Arc::clone(&store.meta) as _, env.tasks.clone(), labels);
        let documents: Arc<dyn Documents> = Arc::new(documents.await.map_err(anyhow::Error::msg)?);
        let front = Tasks::new();
        let front_env = Env { tasks: front.clone(), ..env.clone() };
        let durable = Executions::load(Arc::clone(&store.meta) as _, front_env.clone());
        let durable = Arc::new(durable.await.map_err(anyhow::Error::msg)?);
        let catalog = FunctionCatalog::load(catalog::Parts {
            meta: Arc::clone(&store.meta) as _,
            blobs: Arc::clone(&store.blobs) as _,
            worker: Arc::clone(&agent) as _,
            manager: Arc::clone(&manager) as _,
            counting: Arc::clone(&counting) as _,
            belongings: Arc::new(FunctionDocuments {
                documents: Arc::clone(&documents),
                durable: Arc::clone(&durable) as _,
            }),
            env: env.clone(),
        })
        .await
        .context("the functions cannot be read")?;
        let catalog = Arc::new(catalog);
        agent.set_code_source(Arc::clone(&catalog) as _);
        let layers =
            StoredLayers::load(Arc::clone(&store.meta) as _, Arc::clone(&catalog), env.clone())
                .await
                .map_err(anyhow::Error::msg)?;

        let identities = Identities::new(&documents, &credentials, &env);
        // Whatever is stored with a time to come has one clock.
        let steady =
            Env { clock: Arc::new(SteadyClock::new(Arc::clone(&env.clock))), ..front_env.clone() };
        let sqs = Sqs::new(Arc::clone(&documents), Arc::clone(&store.meta) as _, steady.clone());
        // Parsed now, so that no first caller waits for it.
        lamplight_wire::services();

        let functions = Arc::new(Functions {
            env: front_env.clone(),
            catalog: Arc::clone(&catalog) as _,
            counting,
            manager: Arc::clone(&manager) as _,
            durable: Arc::clone(&durable) as _,
            documents: Arc::clone(&documents),
        });
        let topics = Arc::new(Topics::default());
        let events = Events::load(events::Parts {
            env: steady.clone(),
            options: config.events.clone(),
            queue: Arc::clone(&store.meta) as _,
            invoker: Arc::clone(&functions) as _,
            catalog: Arc::clone(&catalog) as _,
            documents: Arc::clone(&documents),
            routes: Routes::default()
                .with("sqs", Arc::new(Queues(Arc::clone(&sqs))))
                .with("sns", Arc::clone(&topics) as _),
        })
        .await
        .context("the queued events cannot be read")?;
        let sns = Sns::new(sns::Around {
            documents: Arc::clone(&documents),
            queue: Arc::clone(&store.meta) as _,
            sqs: Arc::clone(&sqs),
            events: events.queue(),
            grants: Arc::new(ServiceGrants {
                documents: Arc::clone(&documents),
                enforce: config.enforce,
            }),
            web: Arc::new(OtherServers::new(&env)),
            env: steady,
            base: format!("http://{address}"),
        });
        topics.set(Arc::clone(&sns));
        let parts = Arc::new(Parts {
            options: Options {
                region: config.region.clone(),
                concurrent_executions: config.concurrent_executions,
                enforce: config.enforce,
                stream_rate: config.stream_rate,
            },
            auth: auth(&config, &credentials, &identities),
            sns: Arc::clone(&sns),
            sqs,
            sts: Sts::new(Arc::clone(&identities.iam), Arc::clone(&identities.sessions)),
            iam: identities.iam,
            catalog: Arc::clone(&catalog) as _,
            code: Arc::clone(&catalog) as _,
            images: Arc::new(Registries::new(&env, config.registries.access()?)),
            objects: Arc::new(ObjectStore::new(env.clone(), config.s3.clone())),
            layers: Arc::new(layers),
            documents,
            manager,
            functions: Arc::clone(&functions),
            durable: Arc::clone(&durable) as _,
            events: events.queue(),
            desk: events.desk(),
            logs,
            downloads: Downloads::new(&*env.random),
            env: front_env,
        });
        agent.set_guests(Arc::new(Guests::new(Arc::clone(&parts))));
        // From here on environments may be made, which have to have everything.
        catalog.start();
        let (finding, tracing) = (Arc::clone(&functions), Arc::clone(&functions));
        durable.go_on(Ways {
            resolve: Box::new(move |function, tenant| finding.resolve(function, tenant)),
            trace: Box::new(move |given, own, caller| tracing.onward(given, own, caller)),
            invoker: functions,
        });
        events.start();
        sns.start();
        front.spawn(lamplight_frontend::serve(listener, parts));
        let server = Self {
            address,
            credentials,
            region: config.region,
            data_dir: dir,
            env,
            front,
            agent,
            store: store.meta,
        };
        server.data_dir.write(ENDPOINT, &format!("{}\n{}\n", server.url(), server.region))?;
        let _ = ready.send(());
        Ok(server)
    }

    /// The interpreters of this machine.
    pub async fn runtimes(&self) -> Arc<Runtimes> {
        self.agent.runtimes().await
    }

    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says how to reach it.
    fn introduce(&self) -> std::io::Result<()> {
        say!("listening on {}", self.url())?;
        say!(
            "for AWS tools:  eval \"$(lamplight env --data-dir {})\"",
            self.data_dir.path().display()
        )?;
        Ok(())
    }

    /// Serves until a signal, or until the store fails.
    pub async fn until_stopped(self, mut signals: Signals) -> Result<ExitCode> {
        let failed = tokio::select! {
            () = signals.next() => None,
            why = self.store.failed() => Some(why),
        };
        match &failed {
            None => tracing::info!("stopping; a second signal stops at once"),
            // After a failed write nobody knows what is on disk: only a restart finds out.
            Some(why) => tracing::error!(why, "the store has failed; stopping"),
        }
        tokio::select! {
            () = self.stop() => {}
            () = signals.next() => tracing::warn!("stopped without waiting"),
        }
        Ok(if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Lets calls in flight end, then ends every environment and writes what is not yet written.
    pub async fn stop(&self) {
        if !self.front.shut_down(DRAIN).await {
            tracing::warn!("calls were still running after {DRAIN:?} and are cut off");
        }
        self.agent.shut_down().await;
        if !self.env.tasks.shut_down(WIND_UP).await {
            tracing::warn!("some tasks did not end within {WIND_UP:?}");
        }
        let _ = std::fs::remove_file(self.data_dir.join(ENDPOINT));
        for (point, times) in faults::passed() {
            tracing::info!(point, times, "fault point passed");
        }
    }
}

/// Nobody should run a build that can fail on purpose without being told.
fn arm(faults: Option<&str>) -> Result<()> {
    if faults::built_in() {
        tracing::error!(
            ?faults,
            "THIS BUILD CAN FAIL ON PURPOSE (feature `faults`): it is for tests, and for nothing else"
        );
    }
    match faults {
        Some(list) => faults::arm(list).map_err(anyhow::Error::msg).context("faults"),
        None => Ok(()),
    }
}

/// What a server stands on.
struct Ground {
    dir: DataDir,
    env: Env,
    store: Store,
    credentials: Credentials,
}

struct WorkerParts {
    agent: Arc<Agent>,
    logs: Arc<Logs>,
    ended: tokio::sync::mpsc::UnboundedReceiver<lamplight_rpc::EnvironmentId>,
    /// To be told when the server answers: it starts quicker than several interpreters beside it.
    ready: oneshot::Sender<()>,
}

async fn worker(config: &Config, dir: &DataDir, env: &Env) -> Result<WorkerParts> {
    let (instance, run_dir) = (dir.instance(), dir.join("run"));
    let swept = lamplight_sandbox::sweep(&instance, &run_dir);
    if swept != Swept::default() {
        tracing::info!(?swept, "removed what an earlier run left behind");
    }
    if config.mode == Mode::Process {
        tracing::warn!(
            "isolation \"process\": functions run as this user, with its files and its network. Use it for your own code only"
        );
    }
    if config.open {
        tracing::warn!("auth \"none\": everybody on this machine may do everything here");
    }
    let launcher = Launcher::new(
        lamplight_sandbox::Options {
            mode: config.mode,
            instance,
            run_dir,
            jail: std::env::current_exe().context("this binary cannot be found")?,
            egress: config.egress.clone(),
            ports: vec![agent::API_PORT],
            ahead: true,
        },
        env.clone(),
    )
    .context("sandboxes cannot be made here; `lamplight doctor` says more")?;
    let cache = dir.join("cache");
    let empty = cache.join("empty");
    std::fs::create_dir_all(&empty).with_context(|| format!("{}", empty.display()))?;
    let clients = cache.join("clients");
    install_clients(&clients)?;
    let logs = Logs::open(&dir.join("logs"), env.clone()).context("the logs cannot be opened")?;
    let (sender, ended) = tokio::sync::mpsc::unbounded_channel();
    let (ready, is_ready) = oneshot::channel();
    let agent = Agent::new(agent::Parts {
        env: env.clone(),
        launcher,
        code: CodeCache::open(&cache.join("code")).context("the code cache cannot be opened")?,
        runtimes: runtimes(config, dir, env, is_ready),
        logs: Arc::clone(&logs) as Arc<dyn LogSink>,
        ended: sender,
        clients,
        empty,
        zone: config.zone.clone(),
        memory_most: config.memory_most,
    });
    Ok(WorkerParts { agent, logs, ended, ready })
}

/// Those of this machine, and those that are installed in the data directory.
fn runtimes(config: &Config, dir: &DataDir, env: &Env, ready: oneshot::Receiver<()>) -> Finding {
    let remembered = dir.join("cache").join("interpreters.json");
    let dir = dir.join(crate::runtime::INSTALLED);
    if dir.is_dir() {
        // No environment runs yet. Where somebody is installing, the next start sweeps.
        let swept = match Installer::open(&dir) {
            Ok(installer) => installer.sweep(),
            Err(InstallError::Busy(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::warn!(%error, "old files of runtimes stay behind");
        }
    }
    let explicit = config.runtimes.clone();
    Finding::start(&env.tasks, async move {
        // Where the start has failed, nobody waits for the answers either.
        let _ = ready.await;
        let found = Runtimes::discover(&explicit, Some(&remembered)).await;
        found.with_installed(Installed::new(&dir))
    })
}

/// For how many idle environments this process may have files open.
fn open_files_allow() -> Option<usize> {
    /// Of one environment; it has fewer than this.
    const FILES: u64 = 16;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    usize::try_from(most / FILES).ok()
}

/// Of this machine.
fn memory_mb() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::unnecessary_cast, reason = "the width differs between architectures")]
    let (total, unit) = (info.totalram as u64, u64::from(info.mem_unit));
    total.saturating_mul(unit) >> 20
}

fn auth(config: &Config, credentials: &Credentials, iam: &Identities) -> Auth {
    let caller = Caller::root(&credentials.account);
    let open = config.open.then(|| caller.clone());
    let secret = Secret { secret_key: credentials.secret.clone(), session_token: None };
    let owner = (credentials.access_key.clone(), secret, caller);
    let keys = Keys { owner, iam: Arc::clone(&iam.iam), sessions: Arc::clone(&iam.sessions) };
    Auth { keys, open }
}

/// Who there is, and for how long.
struct Identities {
    iam: Arc<Iam>,
    sessions: Arc<Sessions>,
}

impl Identities {
    fn new(documents: &Arc<dyn Documents>, credentials: &Credentials, env: &Env) -> Self {
        let account = credentials.account.clone();
        let iam = Iam::new(Arc::clone(documents), env.clone(), account);
        // Whoever has the owner's secret may do everything anyway.
        let key = SealingKey::from_secret(&credentials.secret);
        Self { iam: Arc::new(iam), sessions: Arc::new(Sessions::new(env.clone(), key)) }
    }
}
